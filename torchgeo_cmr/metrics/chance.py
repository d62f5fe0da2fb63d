"""Chance levels: the exact mean score over all orders of an archive."""

from collections.abc import Callable
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .average import Normalization
from .ranking import blank, check_k, for_each
from .ties import mean_reciprocal_rank

__all__ = (
    'expected_average_precision',
    'expected_average_precision_at_r',
    'expected_hit_rate',
    'expected_precision',
    'expected_recall',
    'expected_reciprocal_rank',
)


def expected_precision(
    num_relevant: ArrayLike, num_items: ArrayLike
) -> NDArray[np.float64]:
    """P@k of a random ranking: the share of relevant items, whatever *k* up to the archive.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.

    Returns:
        Shape of the arguments, NaN where R is 0.
    """
    r, n = _counts(num_relevant, num_items)
    return blank(r > 0, r / np.maximum(n, 1))


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
    """
    r, n = _counts(num_relevant, num_items)
    return blank(r > 0, np.minimum(check_k(k), n) / np.maximum(n, 1))


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
    """
    r, n = _counts(num_relevant, num_items)
    miss = np.ones(r.shape)
    for drawn in range(min(check_k(k), int(n.max(initial=0)))):
        left = np.maximum(n - drawn, 1)
        miss = miss * np.where(n > drawn, np.clip(n - r - drawn, 0, None) / left, 1)
    return blank(r > 0, 1 - miss)


def expected_average_precision(
    num_relevant: ArrayLike,
    num_items: ArrayLike,
    k: int | None = None,
    *,
    normalization: Normalization = 'min',
) -> NDArray[np.float64]:
    r"""Average precision of a random ranking.

    The item at rank *i* is relevant with probability R/N, and then each of the *i* - 1 items
    above it with probability (R-1)/(N-1), so

    .. math::

       E[S_k] = \frac{R}{N} \sum_{i=1}^{k} \frac{1}{i}
       \left( 1 + (i - 1) \frac{R - 1}{N - 1} \right)

    divided by the constant that *normalization* names in :func:`average_precision`. The
    ``'hits'`` normalisation divides by a random number: given *h* hits among the first *k*,
    which is hypergeometric, their order is random, so the mean is that of a full ranking of
    *k* items with *h* relevant.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.
        k: Cut-off; the whole ranking by default.
        normalization: ``'min'``, ``'hits'`` or ``'R'``.

    Returns:
        Shape of the arguments, NaN where R is 0.

    Raises:
        ValueError: If *normalization* is unknown.

    Example:
        >>> float(expected_average_precision(1, 2))  # first or second: (1 + 1/2) / 2
        0.75
    """
    if normalization not in get_args(Normalization):
        raise ValueError(
            f"normalization must be 'min', 'hits' or 'R', found {normalization!r}"
        )
    r, n = _counts(num_relevant, num_items)
    if normalization == 'hits' and k is not None:
        return for_each(_over_hits(check_k(k), int(n.max(initial=0))), r, n)
    depth = n if k is None else np.minimum(check_k(k), n)
    by = r if normalization == 'R' or k is None else np.minimum(r, k)
    return blank(r > 0, _sums(r, n, depth) / np.maximum(by, 1))


def expected_average_precision_at_r(
    num_relevant: ArrayLike, num_items: ArrayLike
) -> NDArray[np.float64]:
    """Average precision over the first R ranks of a random ranking, as in MAP@R.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.

    Returns:
        Shape of the arguments, NaN where R is 0.
    """
    r, n = _counts(num_relevant, num_items)
    return blank(r > 0, _sums(r, n, r) / np.maximum(r, 1))


def expected_reciprocal_rank(
    num_relevant: ArrayLike, num_items: ArrayLike
) -> NDArray[np.float64]:
    r"""Reciprocal rank of a random ranking.

    The first relevant item is at rank *i* with the probability
    :math:`\frac{R}{N - i + 1} \binom{N - R}{i - 1} / \binom{N}{i - 1}`.

    Args:
        num_relevant: R of each query, any shape.
        num_items: Number of items each query ranks, N, same shape or one number.

    Returns:
        Shape of the arguments, NaN where R is 0.
    """
    r, n = _counts(num_relevant, num_items)
    return for_each(
        lambda r, n: mean_reciprocal_rank(0, r, n) if r else float('nan'), r, n
    )


def _sums(
    r: NDArray[np.int64], n: NDArray[np.int64], depth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Precision summed over the hits among the first *depth* ranks, on average."""
    harmonic = np.concatenate(
        [[0.0], np.cumsum(1 / np.arange(1, int(depth.max(initial=0)) + 1))]
    )[depth]
    share = (r - 1) / np.maximum(n - 1, 1)
    return r / np.maximum(n, 1) * (harmonic + share * (depth - harmonic))


def _over_hits(k: int, most: int) -> Callable[[int, int], float]:
    """Make the average precision over hits of R among N, up to *most* items."""
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])

    def choose(n: int, h: NDArray[np.int64] | int) -> NDArray[np.float64]:
        return log[n] - log[h] - log[n - h]

    def one(r: int, n: int) -> float:
        if not r:
            return float('nan')
        drawn = min(k, n)
        h = np.arange(max(1, drawn - (n - r)), min(drawn, r) + 1)
        share = np.exp(choose(r, h) + choose(n - r, drawn - h) - choose(n, drawn))
        return float((share * expected_average_precision(h, drawn)).sum())

    return one


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
