"""Whether bounds rule out enough: seen from a sample, before anything is scanned.

Heads and codes are read several times faster than vectors, but each pair of query and row that
they cannot rule out costs many times what a pair costs in a scan. Where scores lie so close
together that bounds overlap, vectors are scanned, for the price of the samples.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from . import integer_products
from .candidates import kth
from .hidden_rows import HiddenRows
from .int8_codes import SHORTEST
from .integer_products import Products, round_queries
from .margin import Margin
from .principal_heads import Heads
from .scan import Sink, scan_codes, scan_heads
from .vectors import Vectors

#: Rows, and numbers of their vectors, below which bounds are not worth their fixed costs.
LEAST_ROWS, LEAST_NUMBERS = 16_384, 6_000_000
#: Rows of the sample, and the share of all that it is at most.
_SAMPLE, _SHARE = 4_096, 32
#: Share of rows that may be left for one query, and of pairs for many.
_LEFT, _LEFT_OF_MANY = 0.02, 0.002
_FEW = 4
#: What rounding the deciding score to float32, and adding up, may change.
_TINY = 2.0**-19


class Bounds(Protocol):
    """Scores that are quick to get and off by no more than a margin.

    Args:
        name: What is scanned.
        unit: What scores of each query are multiplied by (num_queries,).
        margin: What they may be off by, in units.
    """

    name: str
    unit: NDArray[np.float32]
    margin: Margin

    def sample(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score some rows: (num_queries, m)."""
        ...

    def scan[S: Sink](self, rows: NDArray[np.int64], make: Callable[[], S]) -> list[S]:
        """Score rows as :func:`~torchgeo_cmr.search.rank.scan.scan` does."""
        ...


class CodeBounds:
    """Scores of byte codes, which the vectors must have."""

    name = 'int8 codes'

    def __init__(
        self, vectors: Vectors, queries: NDArray[np.float32], *, fine: bool
    ) -> None:
        """Round the queries; *fine* keeps their remainders."""
        assert vectors.coded is not None  # see _has_codes
        self._codes = vectors.coded
        self._queries = round_queries(queries, fine=fine)
        self.unit = self._queries.unit
        tiny = (_TINY / self.unit).astype(np.float32)
        highest = ((1 - _TINY) / self.unit).astype(np.float32)
        self.margin = Margin(
            self._queries.off + tiny, self._queries.norm, self._codes.lost, highest
        )

    def sample(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score some rows: (num_queries, m)."""
        made = np.empty((len(rows), len(self._queries)), dtype=np.float32)
        Products(self._queries, len(rows)).scores(self._codes, rows, made)
        return np.ascontiguousarray(made.T)

    def scan[S: Sink](self, rows: NDArray[np.int64], make: Callable[[], S]) -> list[S]:
        """Score rows as :func:`~torchgeo_cmr.search.rank.scan.scan` does."""
        return scan_codes(self._codes, rows, self._queries, make)


class HeadBounds:
    """Scores of heads."""

    def __init__(self, heads: Heads, queries: NDArray[np.float32]) -> None:
        """Turn the queries."""
        self._heads, self._queries = heads, heads.turned(queries)
        self.name = f'the first {heads.axes.shape[1]} principal axes'
        self.unit = np.ones(len(queries), np.float32)
        self.margin = heads.margin(queries)

    def sample(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score some rows: (num_queries, m)."""
        return self._queries @ self._heads.coordinates[rows].T

    def scan[S: Sink](self, rows: NDArray[np.int64], make: Callable[[], S]) -> list[S]:
        """Score rows as :func:`~torchgeo_cmr.search.rank.scan.scan` does."""
        return scan_heads(self._heads, rows, self._queries, make)


def has_use(vectors: Vectors, rows: int) -> bool:
    """Say whether so many rows have bounds that may be quicker than whole vectors.

    Without kernels NumPy takes two to three times as long for bytes as for float32 vectors, but an index
    of bytes may have whole vectors that do not fit into memory.
    """
    bytes_alone = vectors.kind == 'int8'
    enough = rows >= LEAST_ROWS if bytes_alone else is_enough(rows, vectors.dim)
    return enough and (vectors.heads is not None or _has_codes(vectors))


def is_enough(rows: int, dim: int) -> bool:
    """Say whether float32 vectors are so many that bounds may be quicker than they are."""
    return rows >= LEAST_ROWS and rows * dim >= LEAST_NUMBERS


def _has_codes(vectors: Vectors) -> bool:
    quick = integer_products.KERNELS and vectors.dim >= SHORTEST
    return vectors.coded is not None and (quick or vectors.kind == 'int8')


@dataclass(frozen=True, eq=False)
class Prospect:
    """What a sample promises.

    Args:
        bounds: What was sampled.
        least: What a score must reach, or the k-th best of each query is at least, in units.
        left: Share of pairs of query and row that are left.
    """

    bounds: Bounds
    least: NDArray[np.float32]
    left: float

    @property
    def good(self) -> bool:
        """Whether it is worth a scan."""
        few = len(self.least) <= _FEW
        return self.left <= (_LEFT if few else _LEFT_OF_MANY)


def prospect(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[np.float32],
    withheld: HiddenRows | None,
    *,
    k: int = 1,
    min_score: float | None = None,
) -> Prospect | None:
    """Look at a sample of the rows, and give the bounds that are worth a scan, if any are.

    Args:
        vectors: Vectors that :func:`has_use` finds bounds of.
        rows: Rows that may be found (m,), sorted.
        queries: Unit rows.
        withheld: Rows hidden from some queries.
        k: How many are requested.
        min_score: Least score that is requested instead.
    """
    if vectors.heads is not None:
        heads = HeadBounds(vectors.heads, queries)
        seen = _sampled(heads, rows, withheld, k, min_score)
        if seen.good:
            return seen
    if _has_codes(vectors):
        for fine in (False, True) if len(queries) <= integer_products.FEW else (False,):
            codes = CodeBounds(vectors, queries, fine=fine)
            seen = _sampled(codes, rows, withheld, k, min_score)
            # Remainders are worth their time where without them much is left.
            if seen.good and (fine or seen.left <= _LEFT_OF_MANY):
                return seen
    return None


def _sampled(
    bounds: Bounds,
    rows: NDArray[np.int64],
    withheld: HiddenRows | None,
    k: int,
    min_score: float | None,
) -> Prospect:
    """Sample some bounds."""
    size = max(1, min(_SAMPLE, len(rows) // _SHARE))
    sample = rows[np.arange(size) * len(rows) // size]
    scores, margin = bounds.sample(sample), bounds.margin
    if withheld is not None:
        withheld.hide(sample, scores)
        withheld.hide_times(sample, scores)
    off = margin.mean(sample)
    if min_score is not None:
        least = margin.capped((min_score / bounds.unit).astype(np.float32), slice(None))
        left = (scores >= (least - off)[:, None]).mean()
        return Prospect(bounds, least, float(left))
    place = min(size, ceil(k * size / len(rows)))
    bar = kth(scores, place) if place > 1 else scores.max(axis=1)
    left = (scores >= (bar - 2 * off)[:, None]).mean()
    least = np.full(len(bounds.unit), -np.inf, np.float32)
    if k <= size:
        least = margin.capped(kth(scores, k) - margin.most(sample), slice(None))
    return Prospect(bounds, least, float(left))
