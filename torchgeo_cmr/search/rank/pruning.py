"""Whether codes rule out enough: seen from a sample, before they are scanned.

Codes are read several times faster than vectors, but each pair of query and row that they cannot
rule out costs many times what a pair costs in a scan. Where scores lie so close together that
bounds overlap, vectors are scanned, for the price of the sample.
"""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from . import integer_products
from .candidates import kth
from .hidden_rows import HiddenRows
from .integer_products import Int8Queries, Products, round_queries
from .margin import Margin
from .vectors import Vectors

#: Rows below which codes are not worth their fixed costs.
LEAST_ROWS = 16_384
#: Rows of the sample, and the share of all that it is at most.
_SAMPLE, _SHARE = 4_096, 32
#: Share of rows that may be left for one query, and of pairs for many.
_LEFT, _LEFT_OF_MANY = 0.02, 0.002
_FEW = 4
#: What rounding the deciding score to float32, and adding up, may change.
_TINY = 2.0**-19


@dataclass(frozen=True, eq=False)
class Prospect:
    """What the sample promises.

    Args:
        queries: The queries, rounded.
        margin: What a score of codes may be off by.
        least: What the k-th best score of each query is at least, in units.
        left: Share of pairs of query and row that are left.
    """

    queries: Int8Queries
    margin: Margin
    least: NDArray[np.float32]
    left: float

    @property
    def good(self) -> bool:
        """Whether codes are worth it."""
        few = len(self.queries) <= _FEW
        return self.left <= (_LEFT if few else _LEFT_OF_MANY)


def has_use(vectors: Vectors, rows: int) -> bool:
    """Say whether so many rows have codes that may be quicker than what they stand for.

    Without kernels NumPy takes two to three times as long for bytes as for float32 vectors, but an index
    of bytes may have whole vectors that do not fit into memory.
    """
    if vectors.coded is None or rows < LEAST_ROWS:
        return False
    return integer_products.KERNELS or vectors.kind == 'int8'


def margin_of(vectors: Vectors, queries: Int8Queries) -> Margin:
    """Give what scores of codes may be off by, in units of the queries."""
    codes = vectors.coded
    assert codes is not None  # who has none does not ask
    tiny = (_TINY / queries.unit).astype(np.float32)
    highest = ((1 - _TINY) / queries.unit).astype(np.float32)
    return Margin(queries.off + tiny, queries.norm, codes.lost, highest)


def prospect(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[np.float32],
    k: int,
    withheld: HiddenRows | None,
) -> Prospect:
    """Look at a sample of the rows.

    Args:
        vectors: Vectors with codes.
        rows: Rows that may be found (m,), sorted.
        queries: Unit rows.
        k: How many are requested.
        withheld: Rows hidden from some queries.
    """
    rounded = round_queries(queries)
    margin = margin_of(vectors, rounded)
    size = max(1, min(_SAMPLE, len(rows) // _SHARE))
    sample = rows[np.arange(size) * len(rows) // size]
    codes = vectors.coded
    assert codes is not None
    made = np.empty((size, len(queries)), dtype=np.float32)
    Products(rounded, size).scores(codes, sample, made)
    scores = np.ascontiguousarray(made.T)
    if withheld is not None:
        withheld.hide(sample, scores)
        withheld.hide_times(sample, scores)
    off = rounded.off + rounded.norm * codes.lost[sample].mean()
    place = min(size, ceil(k * size / len(rows)))
    bar = kth(scores, place) if place > 1 else scores.max(axis=1)
    left = (scores >= (bar - 2 * off)[:, None]).mean()
    least = np.full(len(queries), -np.inf, np.float32)
    if k <= size:
        least = margin.capped(kth(scores, k) - margin.most(sample), slice(None))
    return Prospect(rounded, margin, least, float(left))
