"""Metrics whose cut-off fits the number of relevant items: R-precision, MAP@R, capped recall.

R differs from query to query, and with a fixed cut-off recall cannot exceed k/R. Here a perfect
ranking scores 1 whatever R is, but for :func:`capped_f1`, whose precision still needs *k* hits.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .binary import harmonic_mean, precision
from .ranking import blank, check_k, read_ranked
from .ties import Ties, count, mean_gains

__all__ = ('average_precision_at_r', 'capped_f1', 'capped_recall', 'r_precision')


def r_precision(
    ranked: ArrayLike,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Share of the first R ranks that is relevant; precision and recall are equal there.

    Args:
        ranked: Ranked relevance of the full ranking, shape (queries, ranks). Ranks that do not
            exist count as not relevant.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    Example:
        >>> r_precision([[1, 0, 1, 1, 0, 0, 1, 0]]).tolist()
        [0.75]
    """
    hits, total = read_ranked(ranked, num_relevant)
    top = hits if ties is None else ties.smooth(hits)
    found = np.where(np.arange(top.shape[1]) < total[:, None], top, 0).sum(axis=1)
    return blank(total > 0, found / np.maximum(total, 1))


def average_precision_at_r(
    ranked: ArrayLike,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    r"""Precision summed over the hits among the first R ranks, over R; its mean is MAP@R.

    :math:`\frac{1}{R} \sum_{i \le R} P@i \cdot rel_i`, from K. Musgrave et al., "A Metric Learning
    Reality Check", ECCV 2020, as in pytorch-metric-learning. It is never above
    :func:`r_precision`, and differs from ``map@k_R``, whose cut-off is the same for all queries.

    Args:
        ranked: Ranked relevance of the full ranking, shape (queries, ranks). Ranks that do not
            exist count as not relevant.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    Example:
        >>> average_precision_at_r([[1, 0, 1, 1, 0, 0, 1, 0]]).round(6).tolist()
        [0.604167]
    """
    hits, total = read_ranked(ranked, num_relevant)
    sums = mean_gains(hits, total, ties, per_hit=False)
    return blank(total > 0, sums / np.maximum(total, 1))


def capped_recall(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Share of what the first *k* ranks could hold at most: hits / min(k, R).

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0. With R of at least *k* it is P@k, with R
        of at most *k* it is R@k.
    """
    hits, total = read_ranked(ranked, num_relevant)
    k = max(hits.shape[1], 1) if k is None else check_k(k)
    most = np.maximum(np.minimum(total, k), 1)
    return blank(total > 0, count(hits, k, ties) / most)


def capped_f1(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Harmonic mean of precision and :func:`capped_recall`: 2 hits / (k + min(k, R)).

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], 0 without any hit, NaN where R is 0. A perfect ranking
        scores 1 only if R is at least *k*: precision is not capped.
    """
    p = precision(ranked, k, num_relevant=num_relevant, ties=ties)
    r = capped_recall(ranked, k, num_relevant=num_relevant, ties=ties)
    return harmonic_mean(p, r)
