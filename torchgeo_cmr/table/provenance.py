"""Where an answer comes from: fingerprints of tables, and versions of what computed it."""

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
    return fingerprint_rows(
        table.frame['patch_id'].tolist(), table.vectors.shape, [table.vectors]
    )


def fingerprint_rows(
    ids: Sequence[str], shape: tuple[int, ...], blocks: Iterable[NDArray[Any]]
) -> str:
    """Give the fingerprint of rows that are read block by block.

    Args:
        ids: Patch ids, in order.
        shape: Shape of all vectors together.
        blocks: The vectors, some rows at a time.

    Returns:
        What :func:`fingerprint` gives for a table of them.

    .. versionadded:: 0.1
    """
    made = hashlib.sha256(json.dumps(list(ids)).encode())
    made.update(str(tuple(shape)).encode())
    for block in blocks:
        made.update(np.ascontiguousarray(block, dtype='<f4').tobytes())
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
