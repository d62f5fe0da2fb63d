"""Average precision under its four normalisations, and the mean of precisions named map."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .binary import precision
from .ranking import blank, check_k, read_ranked
from .ties import Ties, mean_gains

__all__ = ('average_precision', 'mean_of_precisions')

Normalization = Literal['min', 'hits', 'R']


def average_precision(
    ranked: ArrayLike,
    k: int | None = None,
    *,
    normalization: Normalization = 'min',
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
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
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    Raises:
        ValueError: If *normalization* is unknown.

    Example:
        >>> average_precision([[1, 0, 1, 1, 0, 0, 1, 0]], 3).round(6).tolist()
        [0.555556]
    """
    if normalization not in get_args(Normalization):
        raise ValueError(
            f"normalization must be 'min', 'hits' or 'R', found {normalization!r}"
        )
    hits, total = read_ranked(ranked, num_relevant)
    cut = None if k is None else check_k(k)
    sums = mean_gains(hits, cut, ties, per_hit=normalization == 'hits')
    if normalization == 'hits':
        return blank(total > 0, sums)
    whole = normalization == 'R' or cut is None
    by = total if whole else np.minimum(total, cut)
    return blank(total > 0, sums / np.maximum(by, 1))


def mean_of_precisions(
    ranked: ArrayLike,
    ks: Sequence[int] = tuple(range(10, 101, 10)),
    *,
    num_relevant: ArrayLike | None = None,
    ties: Ties | None = None,
) -> NDArray[np.float64]:
    """Mean of P@k over some cut-offs: what the CMIR-NET scripts call map.

    It is not an average precision: a ranking with fewer relevant items than the largest cut-off
    cannot score 1, and the order between two cut-offs does not count. Their scripts go to 100,
    the one for DSRSID to 50.

    Args:
        ranked: Ranked relevance, shape (queries, ranks).
        ks: Cut-offs; 10, 20, ..., 100 by default.
        num_relevant: R of each query, shape (queries,); counted in *ranked* by default.
        ties: Runs of equal scores (:func:`find_ties`): the mean over all their orders.

    Returns:
        Shape (queries,), in [0, 1], NaN where R is 0.

    Raises:
        ValueError: If there is no cut-off, or one below 1.

    Example:
        >>> mean_of_precisions([[1, 0, 1, 1, 0, 0, 1, 0]], (2, 4, 6, 8)).tolist()
        [0.5625]
    """
    if not ks:
        raise ValueError('ks needs at least one cut-off, found none')
    each = [precision(ranked, k, num_relevant=num_relevant, ties=ties) for k in ks]
    return np.mean(each, axis=0)
