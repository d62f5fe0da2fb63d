"""Metrics of relevant or not: precision, recall, F1, hit rate and the rank of the first hit."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ranking import blank, check_k, for_each, read_ranked
from .ties import Ties, any_hit, count, first_runs, mean_reciprocal_rank

__all__ = (
    'f1',
    'first_rank',
    'hit_rate',
    'median_rank',
    'precision',
    'recall',
    'reciprocal_rank',
)


def precision(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Share of the first *k* ranks that is relevant, P@k.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default. Ranks that do not exist (an archive smaller
            than *k*) count as not relevant.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.
    """
    hits, total = read_ranked(ranked, num_relevant)
    k = hits.shape[1] if k is None else check_k(k)
    return blank(total > 0, count(hits, k, ties) / max(k, 1))


def recall(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Share of the relevant items that is found in the first *k* ranks, R@k.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.
    """
    hits, total = read_ranked(ranked, num_relevant)
    k = hits.shape[1] if k is None else check_k(k)
    return blank(total > 0, count(hits, k, ties) / np.maximum(total, 1))


def f1(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Harmonic mean of :func:`precision` and :func:`recall` of each query, F1@k.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], 0 without any hit, NaN where R is 0.
    """
    p = precision(ranked, k, num_relevant=num_relevant, ties=ties)
    r = recall(ranked, k, num_relevant=num_relevant, ties=ties)
    return harmonic_mean(p, r)


def harmonic_mean(
    p: NDArray[np.float64], r: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Join precision and recall of each query; 0 if both are."""
    both = p + r
    return np.where(both == 0, both, 2 * p * r / np.where(both == 0, 1, both))


def hit_rate(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Whether anything relevant is among the first *k* ranks.

    With one relevant item a query (its own pair) this is the same as :func:`recall`.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), 0 or 1, with ties between them, NaN where R is 0.
    """
    hits, total = read_ranked(ranked, num_relevant)
    k = hits.shape[1] if k is None else check_k(k)
    if ties is None:
        return blank(total > 0, hits[:, :k].any(axis=1).astype(np.float64))
    return blank(total > 0, any_hit(hits, min(k, hits.shape[1]), ties))


def first_rank(
    ranked: ArrayLike,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Rank of the first relevant item, counted from 1.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), at least 1; infinite if relevant items exist but none is in *ranked*;
        NaN where R is 0.
    """
    hits, total = read_ranked(ranked, num_relevant)
    first = _first(hits)
    if ties is not None:
        runs, found = first_runs(hits, first, ties)
        # R items cut the others into R + 1 gaps of equal length on average
        first[runs.query] = runs.start + (runs.size + 1) / (found + 1)
    return blank(total > 0, first)


def _first(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Rank of the first hit as the ranking stands, infinite without one."""
    first = hits.argmax(axis=1) + 1.0 if hits.shape[1] else np.zeros(len(hits))
    return np.where(hits.any(axis=1), first, np.inf)


def reciprocal_rank(
    ranked: ArrayLike,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """One over the rank of the first relevant item; its mean over queries is MRR.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.
    """
    hits, total = read_ranked(ranked, num_relevant)
    first = _first(hits)
    value = 1 / first
    if ties is not None:
        runs, found = first_runs(hits, first, ties)
        value[runs.query] = for_each(mean_reciprocal_rank, runs.start, found, runs.size)
    return blank(total > 0, value)


def median_rank(ranked: ArrayLike, *, num_relevant: ArrayLike | None = None) -> float:
    """Median over queries of the rank of the first relevant item.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.

    Returns:
        The median rank, at least 1; NaN if no query has a relevant item.
    """
    ranks = first_rank(ranked, num_relevant=num_relevant)
    ranks = np.sort(ranks[~np.isnan(ranks)])
    if not len(ranks):
        return float('nan')
    low, high = ranks[(len(ranks) - 1) // 2], ranks[len(ranks) // 2]
    return float(low if low == high else (low + high) / 2)
