"""Exact ranking of selected rows: blocked products, then a second look at the best.

A matrix product over blocks of rows gives scores quickly, but the last bit of a score
depends on where a row stands in its block, so two equal vectors may come out unequal and
their order would change with the order of the archive. Therefore the product only proposes:
every row whose score lies within the rounding error of the k-th best is kept, the kept rows
are scored again in float64 in one fixed order of addition, rounded to float32, and sorted by
score and then by tie. The result depends on vectors and ids alone.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_ROWS = 8_192
_QUERIES = 512
_PAIRS = 65_536


def top_k(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    queries: NDArray[np.float32],
    k: int,
    *,
    ties: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k best of some rows for each query by inner product.

    Args:
        vectors: Archive (n, dim) of unit rows.
        rows: Numbers of the rows that may be found, (m,), each once.
        queries: Queries (num_queries, dim) of unit rows.
        k: How many to find, at least 1.
        ties: Rank of each archive row (n,) among equal scores; lower wins.

    Returns:
        Row numbers and scores in -1..1, both (num_queries, min(k, m)), best first.

    .. versionadded:: 0.1
    """
    k = min(k, len(rows))
    found = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    if k == 0:
        return found, scores
    for start in range(0, len(queries), _QUERIES):
        chunk = slice(start, start + _QUERIES)
        asked = np.ascontiguousarray(queries[chunk], dtype=np.float32)
        owner, row = _propose(vectors, rows, asked, k)
        exact = _scores(asked, owner, vectors, row)
        order = np.lexsort((ties[row], -exact, owner))
        first = np.searchsorted(owner[order], np.arange(len(asked)))
        best = order[(first[:, None] + np.arange(k)).ravel()]
        found[chunk] = row[best].reshape(-1, k)
        scores[chunk] = exact[best].reshape(-1, k)
    return found, scores


def _propose(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    queries: NDArray[np.float32],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give (query, row) pairs that hold the k best of every query, ties included."""
    # A product of unit rows is off by at most dim * 2**-24, on both sides of the comparison;
    # rounding the exact score to float32 adds 2**-24 to each.
    slack = np.float32(2 * (vectors.shape[1] + 2) * 2.0**-24)
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    kept: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
    for numbers, block in _blocks(vectors, rows):
        product = queries @ block.T
        pool = np.concatenate([best, product], axis=1)
        best = np.partition(pool, pool.shape[1] - k, axis=1)[:, -k:]
        owner, column = np.nonzero(product >= best.min(axis=1)[:, None] - slack)
        kept.append((owner, numbers[column], product[owner, column]))
    owner, row, score = (np.concatenate(part) for part in zip(*kept, strict=True))
    still = score >= best.min(axis=1)[owner] - slack
    return owner[still], row[still]


def _blocks(
    vectors: NDArray[np.float32], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Give the selected rows block by block, as a view where they are all the rows."""
    everything = len(rows) == len(vectors)
    for start in range(0, len(rows), _ROWS):
        numbers = rows[start : start + _ROWS]
        yield (
            numbers,
            vectors[start : start + _ROWS] if everything else vectors[numbers],
        )


def _scores(
    queries: NDArray[np.float32],
    owner: NDArray[np.int64],
    vectors: NDArray[np.float32],
    row: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Score pairs in float64, where products of float32 are exact and order is fixed."""
    scores = np.empty(len(row), dtype=np.float32)
    pairs = max(1, _PAIRS // vectors.shape[1])
    for start in range(0, len(row), pairs):
        part = slice(start, start + pairs)
        product = queries[owner[part]].astype(np.float64) * vectors[row[part]]
        scores[part] = product.sum(axis=1)
    return np.clip(scores, -1, 1, out=scores)
