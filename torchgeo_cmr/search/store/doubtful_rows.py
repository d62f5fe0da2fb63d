"""The best rows first, then the tests that an area left open: of those rows only."""

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.search.where.border import Border

type _Rows = NDArray[np.int64]
type Answer = tuple[_Rows, NDArray[np.float32]]

#: Hits of all queries up to which fewer are tested among the best than at borders of areas.
LATE = 256
#: Rows requested beyond those that borders are expected to cost.
_SPARE = 8


def best_tested(
    best: Callable[..., Answer],
    chosen: _Rows,
    borders: Sequence[Border],
    k: int,
    num_queries: int,
) -> Answer:
    """Give the best rows that pass at every border.

    More than k are found and tested. Where too few of them pass, the rest of the borders is
    tested too, and the search starts again.

    Args:
        best: Gives the best of some sorted rows, at most *k*, for each query.
        chosen: Sorted rows, those at borders untested (n,).
        borders: Rows that are not known to pass.
        k: Rows per query.
        num_queries: How many queries there are.

    Returns:
        Rows and scores, as many of the best as hold k for each query, in the order in which *best*
        gives them; the score of those that do not pass is -inf.
    """
    doubtful = sum(map(len, borders))
    # Otherwise nearly as many would be tested among the best.
    if doubtful > num_queries * k:
        share = min(1.0, doubtful / len(chosen)) if len(chosen) else 0.0
        found, scores = best(chosen, k=k + ceil(k * share) + _SPARE)
        for border in borders:
            scores[border.fail(found)] = -np.inf
        passed = np.isfinite(scores).cumsum(axis=1)
        if found.shape[1] == len(chosen) or passed[:, -1:].min(initial=k) >= k:
            wide = int((passed < k).sum(axis=1).max(initial=0)) + 1
            return found[:, :wide], scores[:, :wide]
    for border in borders:
        chosen = border.tested(chosen)
    return best(chosen, k=k)


def without(
    out: NDArray[np.bool_], found: _Rows, scores: NDArray[np.float32], k: int
) -> Answer:
    """Leave some hits out and keep k; where too few are left, the last score -inf."""
    if not out.any():
        return found[:, :k], scores[:, :k]
    order = out.argsort(axis=1, kind='stable')[:, :k]
    queries = np.arange(len(out))[:, None]
    kept = np.where(out[queries, order], np.float32(-np.inf), scores[queries, order])
    return found[queries, order], kept
