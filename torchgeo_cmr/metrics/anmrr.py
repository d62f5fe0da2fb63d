"""ANMRR, the rank metric of MPEG-7: lower is better."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ranking import blank, read_ranked
from .ties import Ties, mixed

__all__ = ('anmrr', 'nmrr')


def nmrr(
    ranked: ArrayLike,
    *,
    num_relevant: ArrayLike | None = None,
    largest: int | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    r"""Normalised modified retrieval rank of each query.

    With :math:`NG` relevant items and :math:`K = \min(4 NG, 2 GTM)`, where :math:`GTM` is the
    largest NG of any query, the rank of a relevant item counts as it is up to K and as
    :math:`1.25 K` behind it. Of their mean AVR,

    .. math::

       NMRR = \frac{AVR - 0.5 - NG / 2}{1.25 K - 0.5 (1 + NG)}

    Here MRR in the MPEG-7 papers means the numerator, not the mean reciprocal rank.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        largest: GTM, if the queries are a part of the data set; the largest R of these
            queries by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), 0 for a perfect ranking, 1 if nothing is found up to rank K, NaN
        where R is 0.

    Raises:
        ValueError: If the ranking is cut before rank K, so that a hit could be missed, or
            *largest* is less than an R.
    """
    hits, total = read_ranked(ranked, num_relevant)
    most = int(total.max(initial=0))
    if largest is not None and largest < most:
        raise ValueError(
            f'largest is the most relevant items of any query, {most} or more, found {largest}'
        )
    limit = np.minimum(4 * total, 2 * (most if largest is None else largest))
    cut = (hits.shape[1] < limit) & (hits.sum(axis=1) < total)
    if cut.any():
        query = int(np.argmax(cut))
        raise ValueError(
            f'the ranking of query {query} ends at rank {hits.shape[1]}, but ANMRR needs '
            f'{limit[query]} ranks: do not cut it'
        )
    near = hits[:, : int(limit.max(initial=0))]
    ranks = np.arange(1, near.shape[1] + 1)
    near = near & (ranks <= limit[:, None])
    if ties is not None:
        runs, exact = mixed(ties.before(near.shape[1]), hits)
        runs.fill(near, False)
    found, sums = near.sum(axis=1), (near * ranks).sum(axis=1)
    if ties is not None:
        drawn = np.clip(limit[runs.query] - runs.start, 0, runs.size)
        share = exact / runs.size * drawn
        middle = runs.start + (drawn + 1) / 2
        found = found + np.bincount(runs.query, share, len(near))
        sums = sums + np.bincount(runs.query, share * middle, len(near))
    ng = np.maximum(total, 1)
    average = (sums + (total - found) * 1.25 * limit) / ng
    worst = 1.25 * limit - 0.5 * (1 + ng)
    return blank(total > 0, (average - 0.5 - ng / 2) / np.where(total > 0, worst, 1))


def anmrr(ranked: ArrayLike, *, num_relevant: ArrayLike | None = None) -> float:
    """Mean of :func:`nmrr` over the queries that have a relevant item.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.

    Returns:
        In [0, 1], lower is better; NaN if no query has a relevant item.
    """
    values = nmrr(ranked, num_relevant=num_relevant)
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float('nan')
