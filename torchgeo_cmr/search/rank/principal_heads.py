"""Heads: vectors along the few axes in which an archive varies most, and the length of the rest.

Vectors of trained networks fill a small part of their space, so that most of a score is known
from few numbers. With orthonormal axes A a row is x = A c + t, a query q = A p + u, and what a
head leaves open is bounded by Cauchy and Schwarz::

    |q.x - p.c| <= |u| |t|

The axes are those of the largest eigenvalues of the second moment about zero, so that inner
products are kept. Whether heads rule anything out is seen when they are made.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.progress.bars import steps

from .margin import Margin

#: Numbers of a head that are tried; it takes at most half the bytes of int8 codes.
_LENGTHS = (8, 16, 32)
_BYTES = 8
#: Rows that axes are learned from, and queries and rows that they are tried with.
_LEARNED, _TRIED, _QUERIES = 20_000, 4_096, 64
#: Share of rows that may be left for heads to be kept, and so few that longer ones are not tried.
_LEFT, _FEW = 0.02, 0.0005
_K = 10
_ROWS = 16_384
#: What products in float32 may be off by, for each number of a vector, several times over.
_ROUNDED = 2.0**-22


@dataclass(frozen=True, eq=False)
class Heads:
    """The heads of some rows.

    Args:
        axes: Orthonormal columns (dim, length).
        coordinates: Rows along the axes (n, length).
        tail: Length of what the axes leave of each row (n,), rounded up.
    """

    axes: NDArray[np.float32]
    coordinates: NDArray[np.float32]
    tail: NDArray[np.float32]

    def margin(self, queries: NDArray[np.float32]) -> Margin:
        """Give what products of heads may be off by for queries (num_queries, dim)."""
        exact = queries.astype(np.float64)
        along = (exact @ self.axes) @ self.axes.T.astype(np.float64)
        rest = np.linalg.norm(exact - along, axis=1)
        rounding = (len(self.axes) + 64) * _ROUNDED
        off = np.full(len(queries), rounding, np.float32)
        return Margin(
            off, (rest + rounding).astype(np.float32), self.tail, np.ones_like(off)
        )

    def turned(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the heads of queries (num_queries, length)."""
        return (queries.astype(np.float64) @ self.axes).astype(np.float32)


def heads_of(vectors: NDArray[np.float32]) -> Heads | None:
    """Make the shortest heads that leave fewest rows open; None if none leave few.

    Args:
        vectors: Unit rows (n, dim).
    """
    n, dim = vectors.shape
    lengths = [length for length in _LENGTHS if length * _BYTES <= dim]
    if not lengths or n < _QUERIES:
        return None
    sample = vectors[_spread(n, _LEARNED)]
    axes = np.linalg.eigh(sample.T.astype(np.float64) @ sample)[1][:, ::-1]
    tried = sample[_spread(len(sample), _TRIED)]
    found = {}
    for length in lengths:
        kept = np.ascontiguousarray(axes[:, :length], np.float32)
        found[length] = _left(tried, kept)
        if found[length] <= _FEW:
            break
    # Longer ones that leave as many open are not worth their bytes.
    length = min(found, key=lambda length: max(found[length], _FEW))
    if found[length] > _LEFT:
        return None
    return _made(vectors, np.ascontiguousarray(axes[:, :length], np.float32))


def _left(rows: NDArray[np.float32], axes: NDArray[np.float32]) -> float:
    """Give the share of rows that heads leave open beyond the best, for some as queries."""
    heads = _made(rows, axes)
    picked = _spread(len(rows), _QUERIES)
    queries, every = rows[picked], np.arange(_QUERIES)
    scores = queries @ rows.T
    highest = queries.astype(np.float64) @ axes @ heads.coordinates.T
    highest += (
        np.linalg.norm(
            queries - heads.coordinates[picked] @ axes.T, axis=1, keepdims=True
        )
        * heads.tail
    )
    scores[every, picked] = -1
    # The tenth best, for rows that are there twice tell nothing.
    bar = np.partition(scores, -_K, axis=1)[:, -_K, None]
    return float((highest >= bar).mean()) - _K / len(rows)


def _spread(total: int, most: int) -> NDArray[np.int64]:
    """Give some positions among so many, evenly."""
    size = min(total, most)
    return np.arange(size) * total // size


def _made(vectors: NDArray[np.float32], axes: NDArray[np.float32]) -> Heads:
    """Turn rows."""
    n, length = len(vectors), axes.shape[1]
    made = Heads(axes, np.empty((n, length), np.float32), np.empty(n, np.float32))
    rounding = np.float32((len(axes) + 64) * _ROUNDED)
    for start in steps(range(0, n, _ROWS), 'block', 'turn'):
        part = slice(start, start + _ROWS)
        turned = vectors[part] @ axes
        rest = vectors[part] - turned @ axes.T
        made.coordinates[part] = turned
        made.tail[part] = np.sqrt(np.vecdot(rest, rest)) + rounding
    return made
