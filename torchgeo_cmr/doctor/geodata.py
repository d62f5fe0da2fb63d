"""GDAL and PROJ: their versions, drivers, and data of another installation."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from .fact import Fact

#: Variables by which another installation of GDAL or PROJ gets in the way.
_FOREIGN = ('PROJ_DATA', 'PROJ_LIB', 'GDAL_DATA', 'GDAL_DRIVER_PATH')
_GROUP = 'geodata'


def foreign_settings() -> list[str]:
    """Name the variables that are set and may lead to data of another installation."""
    return [name for name in _FOREIGN if name in os.environ]


def geodata_facts(probed: Mapping[str, Mapping[str, Any]]) -> Iterator[Fact]:
    """Say which GDAL and PROJ are used, and what is wrong with them.

    Args:
        probed: Module -> what :func:`~torchgeo_cmr.doctor.probes.probe` found.
    """
    broken = any(
        'error' in probed.get(m, {}) for m in ('rasterio', 'pyproj', 'pyogrio')
    )
    for name in foreign_settings():
        text = f'{os.environ[name]}, set by the environment'
        if broken:
            cure = f'unset {name}: each package brings its own data'
            yield Fact(_GROUP, name, text, 'fault', cure)
        else:
            yield Fact(_GROUP, name, text)
    pyproj = probed.get('pyproj', {})
    if 'proj' in pyproj:
        yield Fact(
            _GROUP, 'PROJ of pyproj', f'{pyproj["proj"]}, data in {pyproj["data"]}'
        )
    for module, what in (('rasterio', 'rasters'), ('pyogrio', 'vector files')):
        facts = probed.get(module, {})
        if 'gdal' not in facts:
            continue
        missing = facts['missing_drivers']
        text = f'{facts["gdal"]}, for {what}'
        if missing:
            yield Fact(
                _GROUP,
                f'GDAL of {module}',
                f'{text}, without the driver {", ".join(missing)}',
                'fault',
                f'pip install --force-reinstall --no-deps {module}: its wheels have these drivers',
            )
        else:
            yield Fact(_GROUP, f'GDAL of {module}', text)
