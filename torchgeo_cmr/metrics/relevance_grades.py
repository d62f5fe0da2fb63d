"""Metrics of graded relevance: ACG, WAP and NDCG.

They take *gains*, shape (queries, ranks): how relevant the item at each rank is, 0 or more;
for label sets the number of shared labels. A query without any relevant item has no value.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .ranking import blank, check_k, read_ranked
from .ties import Ties, count, mean_gains

__all__ = ('average_cumulative_gain', 'ndcg', 'weighted_average_precision')

Gain = Literal['exp', 'linear']


def average_cumulative_gain(
    gains: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Mean gain of the first *k* ranks, ACG@k.

    Args:
        gains: Gain of each query and rank, shape (queries, ranks).
        k: Cut-off; the whole ranking by default. Ranks that do not exist have gain 0.
        num_relevant: Items of the archive with a gain, shape (queries,); counted in *gains*
            by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), at least 0, NaN where nothing is relevant.
    """
    gains, total = _read(gains, num_relevant)
    k = gains.shape[1] if k is None else check_k(k)
    return blank(total > 0, count(gains, k, ties) / max(k, 1))


def weighted_average_precision(
    gains: ArrayLike,
    k: int | None = None,
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    r"""ACG averaged over the ranks of the relevant items, WAP@k; its mean is WMAP.

    .. math::

       WAP@k = \frac{\sum_{i \le k} ACG@i \cdot [g_i > 0]}{\sum_{i \le k} [g_i > 0]}

    Like ``map@k_hits`` it divides by what was found, and forgives what was not.

    Args:
        gains: Gain of each query and rank, shape (queries, ranks).
        k: Cut-off; the whole ranking by default.
        num_relevant: Items of the archive with a gain, shape (queries,); counted in *gains*
            by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), at least 0, 0 without any hit, NaN where nothing is relevant.
    """
    gains, total = _read(gains, num_relevant)
    cut = None if k is None else check_k(k)
    return blank(total > 0, mean_gains(gains, cut, ties, per_hit=True))


def ndcg(
    gains: ArrayLike,
    k: int | None = None,
    *,
    ideal: ArrayLike | None = None,
    gain: Gain = 'exp',
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    r"""Discounted cumulative gain over that of the best possible order, NDCG@k.

    :math:`DCG@k = \sum_{i \le k} \frac{2^{g_i} - 1}{\log_2(1 + i)}`, or with :math:`g_i`
    itself as the numerator if *gain* is ``'linear'``, as in torchmetrics.

    The best order is that of the **whole archive**. A ranking that was cut must come with
    *ideal*: taken from what was retrieved, it calls a bad ranking perfect.

    Args:
        gains: Gain of each query and rank, shape (queries, ranks).
        k: Cut-off; as many ranks as *gains* has by default, to which *ideal* is cut too.
        ideal: The best gains of the archive for each query, shape (queries, any), in any
            order, at least the best *k*; *gains* itself by default, which is right for a
            full ranking.
        gain: ``'exp'`` or ``'linear'``.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where nothing is relevant.

    Raises:
        ValueError: If *gain* is unknown, a gain is negative, *ideal* is not the best, or the
            ranking ends before *k* although more could have been found.

    Example:
        >>> ndcg([[2, 0, 3, 2]], 2).round(6).tolist()
        [0.337352]
    """
    if gain not in get_args(Gain):
        raise ValueError(f"gain must be 'exp' or 'linear', found {gain!r}")
    cut = None if k is None else check_k(k)
    gains = _read(gains, None)[0]
    best = gains if ideal is None else _read(ideal, None)[0]
    if len(best) != len(gains):
        raise ValueError(
            f'ideal has one row per query, {len(gains)}, found {len(best)}'
        )
    wide = gains.shape[1]
    cut = wide if cut is None else cut
    best = -np.sort(-best, axis=1)[:, :cut]
    if best.shape[1] < min(cut, wide):
        raise ValueError(
            f'ideal has {best.shape[1]} gains and the ranking {min(cut, wide)}: give the best '
            'gains of the whole archive, as many as the ranking'
        )
    if (best[:, wide:] > 0).any():
        raise ValueError(
            f'the ranking ends at rank {wide} and its ideal has gains up to rank {cut}: rank '
            f'{cut} items, or give k={wide}'
        )
    value = _worth(gains, gain)
    found = _discounted(value[:, :cut] if ties is None else ties.smooth(value, cut))
    most = dcg(best, gain)
    if (found > most * (1 + 1e-9)).any():
        raise ValueError(
            'a ranking has more gain than its ideal: give the best gains of the whole archive'
        )
    return blank(most > 0, found / np.where(most > 0, most, 1))


def dcg(gains: NDArray[np.float64], gain: Gain) -> NDArray[np.float64]:
    """Sum gains, discounted by the logarithm of their rank."""
    return _discounted(_worth(gains, gain))


def _worth(gains: NDArray[np.float64], gain: Gain) -> NDArray[np.float64]:
    return np.exp2(gains) - 1 if gain == 'exp' else gains


def _discounted(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    return (worth / np.log2(np.arange(2, worth.shape[1] + 2))).sum(axis=1)


def _read(
    gains: ArrayLike, num_relevant: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Check gains, and count what is relevant in the archive."""
    gains = np.asarray(gains, dtype=np.float64)
    total = read_ranked(gains, num_relevant)[1]
    if (gains < 0).any() or not np.isfinite(gains).all():
        raise ValueError('gains are finite and at least 0, found others')
    return gains, total
