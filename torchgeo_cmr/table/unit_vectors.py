"""The vectors of a table, made of those that a user gives: of length 1, or packed codes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import ArchiveError

#: Rows that are scaled together.
_BLOCK = 65_536


def read_vectors(vectors: ArrayLike, ids: Sequence[str], metric: str) -> NDArray[Any]:
    """Check vectors and give a read-only copy, for ``'cosine'`` float32 of length 1.

    Args:
        vectors: Array (n, dim) of numbers; for ``'hamming'`` packed codes (n, bytes), uint8.
        ids: The ``patch_id`` of each.
        metric: ``'cosine'`` or ``'hamming'``.

    Raises:
        ArchiveError: If they have another shape or type, or one is not finite or only zeros; the
            message names its patch.
    """
    return _codes(vectors, ids) if metric == 'hamming' else _unit_rows(vectors, ids)


def _codes(vectors: ArrayLike, ids: Sequence[str]) -> NDArray[np.uint8]:
    """Check packed codes and give a read-only copy."""
    given = np.asarray(vectors)
    if given.ndim != 2 or given.shape[1] == 0 or given.dtype != np.uint8:
        raise ArchiveError(
            f'binary codes have shape {given.shape} and type {given.dtype}; give packed bits, '
            'uint8 (n, bytes)'
        )
    _check_count(given, ids)
    codes = given.copy()
    codes.flags.writeable = False
    return codes


def _unit_rows(vectors: ArrayLike, ids: Sequence[str]) -> NDArray[np.float32]:
    """Check vectors and give a read-only float32 copy of unit norm."""
    try:
        given = np.asarray(vectors)
    except ValueError as error:
        raise ArchiveError(
            'the vectors have different lengths; give an (n, dim) array'
        ) from error
    if given.ndim != 2 or given.shape[1] == 0 or given.dtype.kind not in 'fiu':
        raise ArchiveError(
            f'vectors have shape {given.shape} and type {given.dtype}; give real numbers (n, dim)'
        )
    _check_count(given, ids)
    unit = np.empty(given.shape, dtype=np.float32)
    for start in range(0, len(given), _BLOCK):
        block = given[start : start + _BLOCK].astype(np.float64)
        largest = np.abs(block).max(axis=1, keepdims=True)
        for fault, bad in (
            ('NaN or infinite numbers', ~np.isfinite(largest)),
            ('only zeros', largest == 0),
        ):
            if bad.any():
                first = ids[start + int(np.argmax(bad))]
                raise ArchiveError(
                    f'the vector of patch_id {first!r} holds {fault}; leave that patch out'
                )
        # By the largest number first, so that squares neither overflow nor vanish.
        block /= largest
        unit[start : start + _BLOCK] = block / np.linalg.norm(
            block, axis=1, keepdims=True
        )
    unit.flags.writeable = False
    return unit


def _check_count(vectors: NDArray[Any], ids: Sequence[str]) -> None:
    if len(vectors) != len(ids):
        raise ArchiveError(
            f'{len(ids)} rows and {len(vectors)} vectors do not form a table; '
            'give one vector per row'
        )
