"""Ranked relevance, which every metric starts from, and the mean over queries."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = (
    'QueryMean',
    'blank',
    'check_k',
    'for_each',
    'mean_over_queries',
    'rank_relevance',
    'read_ranked',
)


class QueryMean(NamedTuple):
    """A metric averaged over queries."""

    #: Mean over the counted queries; NaN if there are none.
    mean: float
    #: Queries that were counted.
    num_queries: int
    #: Queries without any relevant item.
    num_empty: int


def rank_relevance(
    scores: ArrayLike,
    relevance: ArrayLike,
    *,
    exclude: ArrayLike | None = None,
    k: int | None = None,
) -> NDArray[Any]:
    """Put relevance into the order of the scores.

    Higher scores come first, equal scores in the order of the archive, NaN last. What that order
    of equal scores earns is luck: :func:`score_ranking` takes the mean over all of them, as does
    any metric that is given the :class:`Ties` of the ranked scores.

    Args:
        scores: Similarities, shape (queries, items), higher is closer.
        relevance: Relevance of every item to every query, same shape, bool or number.
        exclude: True where an item may not be retrieved by a query (its own patch), same
            shape. Such items are moved behind all others and count as not relevant; subtract
            them from the number of items when computing chance.
        k: Number of ranks to return; all by default.

    Returns:
        Shape (queries, min(k, items)), dtype of *relevance*.

    Raises:
        ValueError: If the shapes differ or *k* is below 1.

    Example:
        >>> rank_relevance([[0.1, 0.9, 0.9]], [[1, 0, 1]]).tolist()
        [[0, 1, 1]]
    """
    scores, relevance = np.asarray(scores), np.asarray(relevance)
    if scores.ndim != 2 or scores.shape != relevance.shape:
        raise ValueError(
            f'scores and relevance are (queries, items) both, found shapes {scores.shape} '
            f'and {relevance.shape}'
        )
    if exclude is not None:
        exclude = np.asarray(exclude, dtype=bool)
        if exclude.shape != scores.shape:
            raise ValueError(
                f'exclude has the shape of scores, {scores.shape}, found {exclude.shape}'
            )
        relevance = np.where(exclude, np.zeros((), relevance.dtype), relevance)
        # NaN sorts last, after -inf
        scores = np.where(exclude, np.nan, scores)
    if k is not None:
        check_k(k)
    order = np.argsort(-scores, axis=1, kind='stable')[:, :k]
    return np.take_along_axis(relevance, order, axis=1)


def mean_over_queries(
    values: ArrayLike, *, empty: Literal['skip', 'zero'] = 'skip'
) -> QueryMean:
    """Average a metric over queries and say how many had nothing to find.

    Args:
        values: One value per query, NaN for queries without any relevant item.
        empty: Whether such queries are skipped (``'skip'``) or count as 0 (``'zero'``).

    Returns:
        The mean, the number of counted queries and the number of empty ones.

    Raises:
        ValueError: If *empty* is unknown.
    """
    if empty not in ('skip', 'zero'):
        raise ValueError(f"empty must be 'skip' or 'zero', found {empty!r}")
    values = np.asarray(values, dtype=np.float64)
    none = np.isnan(values)
    counted = np.where(none, 0, values) if empty == 'zero' else values[~none]
    mean = float(counted.mean()) if len(counted) else float('nan')
    return QueryMean(mean, len(counted), int(none.sum()))


def for_each(
    function: Callable[..., float], *counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute once for each set of whole numbers: many queries share few.

    Args:
        function: Function of one number of each.
        *counts: Whole numbers, of one shape.

    Returns:
        The values, in that shape.
    """
    columns = np.stack([each.ravel() for each in counts])
    sets, which = np.unique(columns, axis=1, return_inverse=True)
    values = [function(*each) for each in sets.T.tolist()]
    found = np.array(values, dtype=np.float64)[which.reshape(-1)]
    return found.reshape(counts[0].shape)


def check_k(k: int) -> int:
    """Refuse cut-offs below 1."""
    if k < 1:
        raise ValueError(f'k must be at least 1, found {k}')
    return k


def blank(known: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float64]:
    """Blank out the queries that have no value."""
    return np.where(known, values, np.nan)


def read_ranked(
    ranked: ArrayLike, num_relevant: ArrayLike | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Turn ranked relevance into hits and R, and check that they can belong together."""
    hits = np.asarray(ranked)
    if hits.dtype != bool:
        hits = hits > 0
    if hits.ndim != 2:
        raise ValueError(
            f'ranked relevance is (queries, ranks), found shape {hits.shape}'
        )
    found = hits.sum(axis=1)
    if num_relevant is None:
        return hits, found
    total = np.asarray(num_relevant, dtype=np.int64)
    if total.shape != found.shape:
        raise ValueError(
            f'num_relevant has one number per query, {len(found)}, found shape {total.shape}'
        )
    if (found > total).any():
        query = int(np.argmax(found > total))
        raise ValueError(
            f'query {query} has {found[query]} relevant items in its ranking but '
            f'num_relevant is {total[query]}'
        )
    return hits, total
