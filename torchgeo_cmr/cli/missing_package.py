"""A package that an installation without torch leaves out: what to install for it."""

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

#: Module -> the package that brings it, where that alone is enough.
_ALONE = {
    'affine': 'rasterio',
    'faiss': 'faiss-cpu',
    'matplotlib': 'matplotlib',
    'mcp': 'mcp',
    'mcp_types': 'mcp',
    'rasterio': 'rasterio',
    'rioxarray': 'rioxarray',
    'scipy': 'scipy',
    'shtab': 'shtab',
    'xarray': 'rioxarray',
}


def cure(error: ModuleNotFoundError, command: str) -> str | None:
    """Say what to install.

    Args:
        error: What an import met.
        command: The command that imported.

    Returns:
        A sentence; None if no package of ours is missing, but a module is not where it should be.

    Examples:
        >>> cure(ModuleNotFoundError(name='torchgeo_cmr.gone'), 'info') is None
        True
    """
    module = (error.name or '').partition('.')[0]
    if not module or find_spec(module) is not None:
        return None
    package = _ALONE.get(module)
    if package is not None:
        return (
            f'what {command} was told to do needs {package}, which is not installed: '
            f'pip install {package}'
        )
    if module.replace('_', '-') not in _required():
        return None
    return (
        f'what {command} was told to do needs torch and TorchGeo, and {module} is not installed: '
        'pip install torchgeo-cmr adds all that is missing'
    )


def _required() -> set[str]:
    """List the packages that a whole installation has."""
    try:
        stated = requires('torchgeo-cmr') or ()
    except PackageNotFoundError:  # run from its folder
        return set()
    names = (re.match(r'[\w.-]+', line) for line in stated)
    return {name[0].lower() for name in names if name}
