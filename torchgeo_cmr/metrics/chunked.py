"""Ranking in blocks of queries, within a stated amount of memory.

A table of 120,000 x 120,000 scores does not fit anywhere; the few rows of it that belong to a
block of queries do.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ranking import check_k

__all__ = (
    'MEMORY',
    'RandomOrder',
    'RankedBlock',
    'blocks',
    'dot_product',
    'rank_blocks',
)

#: Bytes that a block may take, by default.
MEMORY = 256 * 2**20

#: Bytes per query and item while a block is ranked and scored (measured: see the tests).
_BYTES = 56

#: Items whose products are held in float64 at once.
_ITEMS = 4096

type Similarity = Callable[[NDArray, NDArray], NDArray]
type Exclude = Callable[[slice], NDArray[np.bool_] | None] | ArrayLike


class RankedBlock(NamedTuple):
    """The ranking of some queries."""

    #: Which queries.
    queries: slice
    #: Rows of the archive, best first, shape (queries of the block, ranks), int64.
    rows: NDArray[np.int64]
    #: Their scores, same shape, float32; NaN where excluded.
    scores: NDArray[np.float32]


def dot_product(queries: NDArray, archive: NDArray) -> NDArray[np.float32]:
    """Multiply every query with every item, the same way wherever they stand.

    The last bit of a float32 product depends on where a row stands in its block, so that equal
    items would come out unequal. Summed in float64 and rounded to float32 they are equal.

    Args:
        queries: Rows, shape (queries, dim).
        archive: Rows, shape (items, dim).

    Returns:
        Shape (queries, items), float32; the cosine for rows of unit length.
    """
    scores = np.empty((len(queries), len(archive)), dtype=np.float32)
    precise = queries.astype(np.float64)
    for start in range(0, len(archive), _ITEMS):
        part = slice(start, start + _ITEMS)
        scores[:, part] = precise @ archive[part].astype(np.float64).T
    return scores


class RandomOrder:
    """A random similarity, for the chance level of any metric.

    The same seed gives the same order, whatever the size of the blocks, if a new instance is
    used for every ranking.
    """

    def __init__(self, seed: int = 0) -> None:
        """Initialize a new RandomOrder instance.

        Args:
            seed: Seed of the order.
        """
        self._random = np.random.default_rng(seed)

    def __call__(self, queries: NDArray, archive: NDArray) -> NDArray[np.float32]:
        """Give each pair a random score in [0, 1)."""
        return self._random.random((len(queries), len(archive)), dtype=np.float32)


def blocks(num_queries: int, num_items: int, memory: int = MEMORY) -> Iterator[slice]:
    """Divide queries so that a block stays within *memory* bytes; at least one a block."""
    size = max(1, int(memory) // (_BYTES * max(num_items, 1)))
    for start in range(0, num_queries, size):
        yield slice(start, min(start + size, num_queries))


def excluded(exclude: Exclude | None, queries: slice) -> NDArray[np.bool_] | None:
    """Give the items that the queries of a block may not retrieve."""
    if exclude is None:
        return None
    part = exclude(queries) if callable(exclude) else np.asarray(exclude)[queries]
    return None if part is None else np.asarray(part, dtype=bool)


def rank_blocks(
    queries: ArrayLike,
    archive: ArrayLike,
    *,
    k: int | None = None,
    exclude: Exclude | None = None,
    similarity: Similarity = dot_product,
    memory: int = MEMORY,
    ties: bool = False,
) -> Iterator[RankedBlock]:
    """Rank the archive for every query, a block of queries at a time.

    Higher scores come first, equal scores in the order of the archive, NaN last, as in
    :func:`~torchgeo_cmr.metrics.functional.rank_relevance`.

    Args:
        queries: Query rows, shape (queries, dim).
        archive: Archive rows that may be retrieved, shape (items, dim).
        k: Number of ranks to give; the full ranking by default.
        exclude: True where an item may not be retrieved by a query (its own patch), shape
            (queries, items), or a function that gives this, or None, for a slice of the
            queries. Such items go behind all others.
        similarity: Function of some queries and the archive that gives their scores, shape
            (queries of the block, items), higher is closer.
        memory: Bytes that a block may take, about; one query is the least.
        ties: Whether a block goes on behind rank *k* as long as any of its queries has items
            there that score as its *k*-th does.

    Yields:
        The ranking of each block, in order of the queries.

    Raises:
        ValueError: If *k* is below 1, or a shape does not fit.

    Example:
        >>> [block] = rank_blocks([[1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]])
        >>> block.rows.tolist()
        [[1, 0]]
    """
    queries, archive = np.asarray(queries), np.asarray(archive)
    if queries.ndim != 2 or archive.ndim != 2 or queries.shape[1] != archive.shape[1]:
        raise ValueError(
            'queries and archive are (rows, dim) with one dim, found shapes '
            f'{queries.shape} and {archive.shape}'
        )
    if k is not None:
        check_k(k)
    for part in blocks(len(queries), len(archive), memory):
        yield _rank(
            queries[part], archive, part, k, excluded(exclude, part), similarity, ties
        )


def _rank(
    block: NDArray,
    archive: NDArray,
    part: slice,
    k: int | None,
    leave: NDArray[np.bool_] | None,
    similarity: Similarity,
    ties: bool,
) -> RankedBlock:
    """Rank the archive for one block."""
    scores = np.asarray(similarity(block, archive), dtype=np.float32)
    shape = len(block), len(archive)
    for name, table in (('similarity', scores), ('exclude', leave)):
        if table is not None and table.shape != shape:
            raise ValueError(
                f'{name} must give (queries, items), {shape}, found {table.shape}'
            )
    if leave is not None:
        scores = np.where(leave, np.float32(np.nan), scores)
    k = shape[1] if k is None else min(k, shape[1])
    rows = _order(-scores, k, ties)
    found = np.take_along_axis(scores, rows, axis=1)
    if ties and np.isnan(found).any():
        lost = np.isnan(scores) if leave is None else np.isnan(scores) & ~leave
        if lost.any():
            # Tied with one another behind all others, but before what is excluded.
            scores = np.where(lost, np.float32(-np.inf), scores)
            rows = _order(-scores, k, ties)
            found = np.take_along_axis(scores, rows, axis=1)
    return RankedBlock(part, rows, found)


def _order(costs: NDArray[np.float32], k: int, ties: bool) -> NDArray[np.int64]:
    """Give the columns of the *k* lowest costs of each row, ties by column, NaN last."""
    if 4 * k >= costs.shape[1]:
        order = np.argsort(costs, axis=1, kind='stable')
        if ties and 0 < k < costs.shape[1]:
            limit = np.take_along_axis(costs, order[:, k - 1 : k], axis=1)
            k = max(k, int((costs <= limit).sum(axis=1).max(initial=0)))
        return order[:, :k]
    order = np.empty((len(costs), k), dtype=np.int64)
    limits = np.partition(costs, k - 1, axis=1)[:, k - 1]
    deepest = k
    for row, limit in enumerate(limits):
        cost = costs[row]
        # behind a limit that is NaN there is no order to cut in
        near = (
            np.arange(cost.size) if np.isnan(limit) else np.flatnonzero(cost <= limit)
        )
        order[row] = near[np.argsort(cost[near], kind='stable')[:k]]
        if not np.isnan(limit):
            deepest = max(deepest, near.size)
    return _order(costs, deepest, False) if ties and deepest > k else order
