"""Imports and small trials, in a process of their own: what is broken may end it.

This file is run by its path and imports nothing of the package, so that a broken installation can be
looked at. Arguments are names of modules; each is tried in turn, and what came of it is one line.
"""

import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

#: How each line begins that is not a word of an imported package.
MARK = 'import_probe: '
#: Drivers that raster and vector files are written with, and those that read common products.
RASTER_DRIVERS = ('GTiff', 'COG', 'VRT', 'PNG', 'JPEG', 'JP2OpenJPEG')
VECTOR_DRIVERS = ('GPKG', 'GeoJSON', 'FlatGeobuf', 'ESRI Shapefile')
#: A place in UTM zone 32: longitude, latitude, and its easting there.
_LON, _LAT, _EAST, _CODE = 9.0, 45.0, 500_000.0, 32632


def _numkong(module: Any) -> dict[str, Any]:
    """Multiply bytes as an exact search does, and compare with NumPy."""
    import numpy as np

    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (64, 48), dtype=np.int8)
    queries = rng.integers(-127, 128, (3, 48), dtype=np.int8)
    memory = module.zeros((64, 3), dtype='int32')
    module.dots_packed(codes, module.dots_pack(queries), out=memory)
    right = codes.astype(np.int32) @ queries.T.astype(np.int32)
    if not np.array_equal(np.asarray(memory), right):
        raise ArithmeticError('its kernels multiply wrongly on this processor')
    return {}


def _rasterio(module: Any) -> dict[str, Any]:
    from rasterio.warp import transform

    with module.Env() as environment:
        drivers = [*environment.drivers()]
        east = transform(f'EPSG:{4326}', f'EPSG:{_CODE}', [_LON], [_LAT])[0][0]
    _check_east(east)
    missing = [name for name in RASTER_DRIVERS if name not in drivers]
    return {'gdal': module.__gdal_version__, 'missing_drivers': missing}


def _pyogrio(module: Any) -> dict[str, Any]:
    drivers = module.list_drivers()
    missing = [name for name in VECTOR_DRIVERS if name not in drivers]
    gdal = '.'.join(map(str, module.__gdal_version__))
    return {'gdal': gdal, 'missing_drivers': missing}


def _pyproj(module: Any) -> dict[str, Any]:
    facts = {'proj': module.proj_version_str, 'data': module.datadir.get_data_dir()}
    turn = module.Transformer.from_crs(4326, _CODE, always_xy=True)
    _check_east(turn.transform(_LON, _LAT)[0])
    return facts


def _check_east(east: float) -> None:
    if not abs(east - _EAST) < 1:
        raise ArithmeticError(f'PROJ puts {_LON:g},{_LAT:g} at {east:g} m in zone 32')


def _torch(module: Any) -> dict[str, Any]:
    devices = [
        module.cuda.get_device_name(number)
        for number in range(module.cuda.device_count())
        if module.cuda.is_available()
    ]
    if module.backends.mps.is_available():
        devices.append('Apple mps')
    return {
        'devices': devices,
        'cuda': module.version.cuda,
        'threads': module.get_num_threads(),
    }


_TRIALS: dict[str, Callable[[Any], dict[str, Any]]] = {
    'numkong': _numkong,
    'pyogrio': _pyogrio,
    'pyproj': _pyproj,
    'rasterio': _rasterio,
    'torch': _torch,
}


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(f'\n{MARK}{json.dumps(content)}\n')
    sys.stdout.flush()


def _main(names: list[str]) -> None:
    for name in names:
        _say({'begins': name})
        facts: dict[str, Any] = {'name': name}
        try:
            module = importlib.import_module(name)
            facts['version'] = str(getattr(module, '__version__', '') or '')
            facts |= _TRIALS[name](module) if name in _TRIALS else {}
        except BaseException as error:  # noqa: BLE001 - also SystemExit of a package
            facts['error'] = f'{type(error).__name__}: {error}'[:300]
            facts['missing'] = getattr(error, 'name', None) or ''
        _say(facts)


if __name__ == '__main__':
    _main(sys.argv[1:])
