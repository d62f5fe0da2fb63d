"""Retrieval metrics as pure NumPy functions of ranked relevance, and their chance levels.

All functions that judge a ranking take *ranked*: shape (queries, k), entry [q, i] says whether
(bool) or how much (any number, relevant if above 0) the item at rank i + 1 of query q is
relevant. They never see a score, so neither the sign nor the scale of a similarity can matter;
:func:`rank_relevance` makes *ranked* from scores. Each returns one value a query, float64; a
query without any relevant item has no value (NaN), and :func:`mean_over_queries` leaves such
queries out and counts them.

*num_relevant* is the number of relevant items in the whole archive, shape (queries,), called R
below. It may be left out if *ranked* is the full ranking.

Functions named ``expected_*`` are the exact mean over all orders of an archive: what a random
ranking scores. No metric of a table means anything without that number beside it.

The module is long because each of its many short functions states shapes, range and formula.

.. versionadded:: 0.1
"""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = (
    'QueryMean',
    'average_precision',
    'expected_average_precision',
    'expected_hit_rate',
    'expected_precision',
    'expected_recall',
    'f1',
    'first_rank',
    'hit_rate',
    'mean_over_queries',
    'median_rank',
    'precision',
    'rank_relevance',
    'recall',
    'reciprocal_rank',
)

Normalization = Literal['min', 'hits', 'R']


class QueryMean(NamedTuple):
    """A metric averaged over queries.

    .. versionadded:: 0.1
    """

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

    Higher scores come first and equal scores in the order of the archive, so a constant
    encoder earns what chance earns. NaN scores come last.

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

    .. versionadded:: 0.1
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
        _check_k(k)
    order = np.argsort(-scores, axis=1, kind='stable')[:, :k]
    return np.take_along_axis(relevance, order, axis=1)


def precision(
    ranked: ArrayLike, k: int | None = None, *, num_relevant: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Share of the first *k* ranks that is relevant, P@k.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default. Ranks that do not exist (an archive smaller
            than *k*) count as not relevant.
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    .. versionadded:: 0.1
    """
    hits, total = _read(ranked, num_relevant)
    k = hits.shape[1] if k is None else _check_k(k)
    return _only(total > 0, hits[:, :k].sum(axis=1) / max(k, 1))


def recall(
    ranked: ArrayLike, k: int | None = None, *, num_relevant: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Share of the relevant items that is found in the first *k* ranks, R@k.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    .. versionadded:: 0.1
    """
    hits, total = _read(ranked, num_relevant)
    k = hits.shape[1] if k is None else _check_k(k)
    return _only(total > 0, hits[:, :k].sum(axis=1) / np.maximum(total, 1))


def f1(
    ranked: ArrayLike, k: int | None = None, *, num_relevant: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Harmonic mean of :func:`precision` and :func:`recall` of each query, F1@k.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        Shape (queries,), in [0, 1], 0 without any hit, NaN where R is 0.

    .. versionadded:: 0.1
    """
    p = precision(ranked, k, num_relevant=num_relevant)
    r = recall(ranked, k, num_relevant=num_relevant)
    both = p + r
    return np.where(both == 0, both, 2 * p * r / np.where(both == 0, 1, both))


def hit_rate(
    ranked: ArrayLike, k: int | None = None, *, num_relevant: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Whether anything relevant is among the first *k* ranks.

    With one relevant item a query (its own pair) this is the same as :func:`recall`.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        Shape (queries,), 0 or 1, NaN where R is 0.

    .. versionadded:: 0.1
    """
    hits, total = _read(ranked, num_relevant)
    k = hits.shape[1] if k is None else _check_k(k)
    return _only(total > 0, hits[:, :k].any(axis=1).astype(np.float64))


def first_rank(
    ranked: ArrayLike, *, num_relevant: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Rank of the first relevant item, counted from 1.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        Shape (queries,), at least 1; infinite if relevant items exist but none is in *ranked*;
        NaN where R is 0.

    .. versionadded:: 0.1
    """
    hits, total = _read(ranked, num_relevant)
    found = hits.any(axis=1)
    first = hits.argmax(axis=1) + 1.0 if hits.shape[1] else np.zeros(len(hits))
    return _only(total > 0, np.where(found, first, np.inf))


def reciprocal_rank(
    ranked: ArrayLike, *, num_relevant: ArrayLike | None = None
) -> NDArray[np.float64]:
    """One over the rank of the first relevant item; its mean over queries is MRR.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    .. versionadded:: 0.1
    """
    return 1 / first_rank(ranked, num_relevant=num_relevant)


def median_rank(ranked: ArrayLike, *, num_relevant: ArrayLike | None = None) -> float:
    """Median over queries of the rank of the first relevant item.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        The median rank, at least 1; NaN if no query has a relevant item.

    .. versionadded:: 0.1
    """
    ranks = first_rank(ranked, num_relevant=num_relevant)
    ranks = np.sort(ranks[~np.isnan(ranks)])
    if not len(ranks):
        return float('nan')
    low, high = ranks[(len(ranks) - 1) // 2], ranks[len(ranks) // 2]
    return float(low if low == high else (low + high) / 2)


def average_precision(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    normalization: Normalization = 'min',
    num_relevant: ArrayLike | None = None,
) -> NDArray[np.float64]:
    r"""Precision averaged over the ranks of the relevant items.

    :math:`S_k = \sum_{i \le k} P@i \cdot rel_i` divided by what *normalization* names:

    * ``'min'``: :math:`\min(k, R)`; a perfect ranking scores 1 at every *k* (our ``map@k``);
    * ``'hits'``: the relevant items among the first *k*, as in torchmetrics; forgives what was
      not found;
    * ``'R'``: all relevant items; cannot reach 1 if *k* is below R.

    Without *k*, over the full ranking, ``'min'`` and ``'R'`` are the same: plain ``ap``, whose
    mean is ``map``. Published tables mix these names freely; say which one you print.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        normalization: ``'min'``, ``'hits'`` or ``'R'``.
        num_relevant: R of each query, shape (queries,); counted in *ranked* if left out.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    Raises:
        ValueError: If *normalization* is unknown.

    Example:
        >>> average_precision([[1, 0, 1, 1, 0, 0, 1, 0]], 3).round(6).tolist()
        [0.555556]

    .. versionadded:: 0.1
    """
    if normalization not in get_args(Normalization):
        raise ValueError(
            f"normalization must be 'min', 'hits' or 'R', found {normalization!r}"
        )
    hits, total = _read(ranked, num_relevant)
    cut = None if k is None else _check_k(k)
    top = hits[:, :cut]
    at = np.cumsum(top, axis=1) / np.arange(1, top.shape[1] + 1)
    sums = np.where(top, at, 0).sum(axis=1)
    if normalization == 'hits':
        by = top.sum(axis=1)
    elif normalization == 'R' or cut is None:
        by = total
    else:
        by = np.minimum(total, cut)
    return _only(total > 0, sums / np.maximum(by, 1))


def mean_over_queries(
    values: ArrayLike, *, empty: Literal['skip', 'zero'] = 'skip'
) -> QueryMean:
    """Average a metric over queries and say how many had nothing to find.

    Args:
        values: One value a query, NaN for queries without any relevant item.
        empty: Whether such queries are left out (``'skip'``) or count as 0 (``'zero'``).

    Returns:
        The mean, the number of counted queries and the number of empty ones.

    Raises:
        ValueError: If *empty* is unknown.

    .. versionadded:: 0.1
    """
    if empty not in ('skip', 'zero'):
        raise ValueError(f"empty must be 'skip' or 'zero', found {empty!r}")
    values = np.asarray(values, dtype=np.float64)
    none = np.isnan(values)
    counted = np.where(none, 0, values) if empty == 'zero' else values[~none]
    mean = float(counted.mean()) if len(counted) else float('nan')
    return QueryMean(mean, len(counted), int(none.sum()))


def expected_precision(
    num_relevant: ArrayLike, num_items: ArrayLike
) -> NDArray[np.float64]:
    """P@k of a random ranking: the share of relevant items, whatever *k* up to the archive.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.

    Returns:
        Shape of the arguments, NaN where R is 0.

    .. versionadded:: 0.1
    """
    r, n = _counts(num_relevant, num_items)
    return _only(r > 0, r / np.maximum(n, 1))


def expected_recall(
    num_relevant: ArrayLike, num_items: ArrayLike, k: int
) -> NDArray[np.float64]:
    """R@k of a random ranking: min(k, N) / N, whatever R.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.
        k: Cut-off.

    Returns:
        Shape of the arguments, NaN where R is 0.

    .. versionadded:: 0.1
    """
    r, n = _counts(num_relevant, num_items)
    return _only(r > 0, np.minimum(_check_k(k), n) / np.maximum(n, 1))


def expected_hit_rate(
    num_relevant: ArrayLike, num_items: ArrayLike, k: int
) -> NDArray[np.float64]:
    r"""Hit rate of a random ranking, :math:`1 - \binom{N - R}{k} / \binom{N}{k}`.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.
        k: Cut-off.

    Returns:
        Shape of the arguments, NaN where R is 0.

    .. versionadded:: 0.1
    """
    r, n = _counts(num_relevant, num_items)
    miss = np.ones(r.shape)
    for drawn in range(min(_check_k(k), int(n.max(initial=0)))):
        left = np.maximum(n - drawn, 1)
        miss = miss * np.where(n > drawn, np.clip(n - r - drawn, 0, None) / left, 1)
    return _only(r > 0, 1 - miss)


def expected_average_precision(
    num_relevant: ArrayLike,
    num_items: ArrayLike,
    k: int | None = None,
    *,
    normalization: Literal['min', 'R'] = 'min',
) -> NDArray[np.float64]:
    r"""Average precision of a random ranking.

    The item at rank *i* is relevant with probability R/N, and then each of the *i* - 1 items
    above it with probability (R-1)/(N-1), so

    .. math::

       E[S_k] = \frac{R}{N} \sum_{i=1}^{k} \frac{1}{i}
       \left( 1 + (i - 1) \frac{R - 1}{N - 1} \right)

    divided by the constant that *normalization* names in :func:`average_precision`. The
    ``'hits'`` normalisation divides by a random number and is not offered.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.
        k: Cut-off; the whole ranking by default.
        normalization: ``'min'`` or ``'R'``.

    Returns:
        Shape of the arguments, NaN where R is 0.

    Raises:
        ValueError: If *normalization* is unknown.

    Example:
        >>> float(expected_average_precision(1, 2))  # first or second: (1 + 1/2) / 2
        0.75

    .. versionadded:: 0.1
    """
    if normalization not in ('min', 'R'):
        raise ValueError(f"normalization must be 'min' or 'R', found {normalization!r}")
    r, n = _counts(num_relevant, num_items)
    depth = n if k is None else np.minimum(_check_k(k), n)
    harmonic = np.concatenate(
        [[0.0], np.cumsum(1 / np.arange(1, int(depth.max(initial=0)) + 1))]
    )[depth]
    share = (r - 1) / np.maximum(n - 1, 1)
    sums = r / np.maximum(n, 1) * (harmonic + share * (depth - harmonic))
    by = r if normalization == 'R' or k is None else np.minimum(r, k)
    return _only(r > 0, sums / np.maximum(by, 1))


def _check_k(k: int) -> int:
    """Refuse cut-offs below 1."""
    if k < 1:
        raise ValueError(f'k must be at least 1, found {k}')
    return k


def _only(known: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float64]:
    """Blank out the queries that have no value."""
    return np.where(known, values, np.nan)


def _read(
    ranked: ArrayLike, num_relevant: ArrayLike | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Turn ranked relevance into hits and R, and check that they can belong together."""
    hits = np.asarray(ranked) > 0
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
            f'num_relevant says {total[query]}'
        )
    return hits, total


def _counts(
    num_relevant: ArrayLike, num_items: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Broadcast R and N against each other and check that R fits into N."""
    r, n = np.broadcast_arrays(
        np.asarray(num_relevant, dtype=np.int64), np.asarray(num_items, dtype=np.int64)
    )
    if (r < 0).any() or (r > n).any():
        raise ValueError(
            'num_relevant must lie between 0 and num_items for every query, found '
            f'{r[(r < 0) | (r > n)].flat[0]} of {n[(r < 0) | (r > n)].flat[0]}'
        )
    return r, n
