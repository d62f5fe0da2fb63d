"""Packages: versions, what is missing for what, and what is installed and broken."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Any

from torchgeo_cmr import __version__

from .fact import Fact
from .geodata import foreign_settings

#: Package -> its module, of all that a whole installation has.
MODULES = {
    'docstring-parser': 'docstring_parser',
    'faiss-cpu': 'faiss',
    'filelock': 'filelock',
    'geopandas': 'geopandas',
    'h5py': 'h5py',
    'huggingface-hub': 'huggingface_hub',
    'jsonargparse': 'jsonargparse',
    'kornia': 'kornia',
    'lightning': 'lightning',
    'matplotlib': 'matplotlib',
    'msgspec': 'msgspec',
    'numkong': 'numkong',
    'numpy': 'numpy',
    'pandas': 'pandas',
    'pyarrow': 'pyarrow',
    'pyogrio': 'pyogrio',
    'pyproj': 'pyproj',
    'rasterio': 'rasterio',
    'rioxarray': 'rioxarray',
    'safetensors': 'safetensors',
    'scipy': 'scipy',
    'shapely': 'shapely',
    'shtab': 'shtab',
    'timm': 'timm',
    'torch': 'torch',
    'torchgeo': 'torchgeo',
    'torchmetrics': 'torchmetrics',
    'tqdm': 'tqdm',
    'xarray': 'xarray',
}
#: Those that a light installation has too.
LIGHT = (
    *('docstring-parser', 'filelock', 'geopandas', 'msgspec', 'numpy', 'pandas'),
    *('pyarrow', 'pyogrio', 'pyproj', 'shapely', 'shtab', 'tqdm'),
)
#: Extra -> its packages, as above, and what it is for.
EXTRAS = {
    'cubes': ({'netcdf4': 'netCDF4', 'zarr': 'zarr'}, 'NetCDF and Zarr as scenes'),
    'mcp': ({'mcp': 'mcp'}, 'serve'),
    'onnx': (
        {'onnx': 'onnx', 'onnxruntime': 'onnxruntime', 'onnxscript': 'onnxscript'},
        'embed --runtime onnx',
    ),
    'postgres': ({'psycopg': 'psycopg'}, 'load, and archives in PostgreSQL'),
    'ray': ({'ray': 'ray'}, 'embed --engine ray'),
    'speech': ({'espeakng-loader': 'espeakng_loader'}, 'speak without espeak-ng'),
    'stac': (
        {'pystac': 'pystac', 'stac-geoparquet': 'stac_geoparquet'},
        'places in .stac.json, and .stac.parquet',
    ),
}
_OLDEST = (3, 12)


def modules() -> list[str]:
    """Name the modules to probe: those that are installed."""
    extra = {m for packages, _ in EXTRAS.values() for m in packages.values()}
    return [name for name in [*MODULES.values(), *sorted(extra)] if _is_there(name)]


def package_facts(probed: Mapping[str, Mapping[str, Any]]) -> Iterator[Fact]:
    """Say which versions are installed, and what is missing, too old or broken.

    Args:
        probed: Module -> what :func:`~torchgeo_cmr.doctor.probes.probe` found.

    Yields:
        Python, this package, then each package in the order of the alphabet.
    """
    group = 'packages'
    found = '.'.join(map(str, sys.version_info[:3]))
    old = sys.version_info < _OLDEST
    yield Fact(
        group,
        'python',
        f'{found} ({sys.executable})',
        'fault' if old else 'ok',
        'use Python 3.12 or newer' if old else '',
    )
    yield Fact(group, 'torchgeo-cmr', __version__)
    bounds = _bounds()
    whole = 'torch' in probed
    for package, module in MODULES.items():
        if module in probed:
            yield _installed(group, package, probed[module], bounds.get(package, ''))
        elif package in LIGHT or (whole and package != 'numkong'):
            cure = f'pip install "{package}{bounds.get(package, "")}"'
            yield Fact(group, package, 'missing', 'fault', cure)
        elif package == 'numkong':
            use = 'absent; exact searches of int8 indexes read more without it'
            yield Fact(group, package, use, 'absent', 'pip install numkong')
        else:
            use = 'absent; a light installation does without'
            yield Fact(group, package, use, 'absent', 'pip install torchgeo-cmr')
    for extra, (packages, use) in EXTRAS.items():
        for package, module in packages.items():
            name = f'{package} [{extra}]'
            if module in probed:
                bound = bounds.get(package, '')
                yield _installed(group, package, probed[module], bound, name)
            else:
                cure = f'pip install "torchgeo-cmr[{extra}]"'
                yield Fact(group, name, f'absent; for {use}', 'absent', cure)


def _installed(
    group: str, package: str, facts: Mapping[str, Any], bound: str, name: str = ''
) -> Fact:
    """Judge a package that is there."""
    try:
        number = version(package)
    except PackageNotFoundError:  # built by somebody else, under another name
        number = str(facts.get('version') or 'unknown version')
    name = name or package
    if 'error' in facts:
        again = f'pip install --force-reinstall "{package}{bound}"'
        if 'PROJ' in facts['error'] and (foreign := foreign_settings()):
            again = f'unset {" ".join(foreign)}'
        text = f'{number} is broken ({facts["error"]})'
        return Fact(group, name, text, 'fault', again)
    if bound and not _is_new_enough(number, bound):
        text = f'{number}, {bound} is needed'
        return Fact(group, name, text, 'fault', f'pip install "{package}{bound}"')
    return Fact(group, name, number)


def _bounds() -> dict[str, str]:
    """Give the versions that this package states it needs, also of its extras."""
    try:
        lines = requires('torchgeo-cmr') or []
    except PackageNotFoundError:  # run from its folder
        return {}
    split = (
        re.match(r'([\w.-]+)(?:\[[^]]*\])?\s*([<>=!~][^;\s]*)?', line) for line in lines
    )
    return {m[1].lower(): m[2] or '' for m in split if m}


def _is_new_enough(number: str, bound: str) -> bool:
    """Compare versions; one that cannot be read passes."""
    try:
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(bound).contains(number, prereleases=True)
    except (ImportError, ValueError):
        return True


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
