"""Where an answer comes from: fingerprints of tables, and versions of what computed it."""

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import numpy as np

from torchgeo_cmr import __version__

if TYPE_CHECKING:
    from .table import EmbeddingTable

_LIBRARIES = ('numpy', 'pandas', 'geopandas', 'shapely', 'pyproj', 'rasterio')


def fingerprint(table: 'EmbeddingTable') -> str:
    """Give the SHA-256 over the patch ids, in order, and the vectors of a table.

    Args:
        table: The table.

    Returns:
        64 hexadecimal digits; equal for equal ids and bit-equal vectors.

    .. versionadded:: 0.1
    """
    made = hashlib.sha256(json.dumps(table.frame['patch_id'].tolist()).encode())
    vectors = np.ascontiguousarray(table.vectors, dtype='<f4')
    made.update(str(vectors.shape).encode())
    made.update(vectors.tobytes())
    return made.hexdigest()


def versions() -> dict[str, str]:
    """Give the versions of what computes scores, footprints and layers.

    Returns:
        Name to version, the package first.

    .. versionadded:: 0.1
    """
    found = {'torchgeo_cmr': __version__, 'python': platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = 'unknown'
    return found
