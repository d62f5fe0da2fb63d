"""Pairs of query and row that may be among the k best, picked from scores that come in blocks.

The k-th best score of each query so far, less what a score may be off, is a bound, and only what
may reach it is looked at. Bounds are raised not with every block but when twice as many
pairs have come together as were needed: a bound that lags lets a few more in and costs nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .hidden_rows import HiddenRows
from .margin import Margin

#: Pairs for each that is requested, and pairs of all, before bounds are raised.
_SPARE, _LEAST = 4, 2_048
#: Groups of scores for each that is requested, of which only the best is examined.
_GROUPS = 8
#: Bound to begin with: only what is withheld is below.
LOWEST = np.finfo(np.float32).min


class Pool:
    """Pairs that may be among the k best of their query; a sink of a scan.

    Args:
        num_queries: Number of queries.
        k: How many are requested, at least 1.
        margin: How far a score may be off.
        withheld: Rows hidden from some queries.
        least: What the k-th best score of each query is known to be at least.
    """

    def __init__(
        self,
        num_queries: int,
        k: int,
        margin: Margin,
        withheld: HiddenRows | None = None,
        least: NDArray[np.float32] | None = None,
    ) -> None:
        """Start empty."""
        self.k, self.margin, self.withheld = k, margin, withheld
        self.least = np.full(num_queries, LOWEST, dtype=np.float32)
        if least is not None:
            np.fmax(self.least, least, out=self.least)
        self.owner, self.row = np.empty(0, np.int64), np.empty(0, np.int64)
        self.score = np.empty(0, np.float32)
        self._new: list[tuple[NDArray[Any], ...]] = []
        self._room = max(_SPARE * k * num_queries, _LEAST)

    def add(self, rows: NDArray[np.int64], scores: NDArray[np.floating]) -> None:
        """Take scores (num_queries, b) of rows (b,)."""
        held, most = self.withheld, self.margin.most(rows)
        if held is not None:
            held.hide(rows, scores)
        if self.least.min() == LOWEST and len(rows) >= self.k:
            if held is not None:
                # Later only for what reaches a bound.
                held.hide_times(rows, scores)
            self._raise(slice(None), kth(scores, self.k) - most)
        near = scores >= (self.least - most)[:, None]
        if not near.any():
            return
        owner, column = where(near)
        keep = None if held is None else held.in_time(owner, rows[column])
        if keep is not None:
            owner, column = owner[keep], column[keep]
        self._new.append((owner, rows[column], scores[owner, column]))
        self._room -= len(owner)
        if self._room < 0:
            self.settle()

    def settle(self) -> None:
        """Raise the bounds and drop what is below them now."""
        pairs = [(self.owner, self.row, self.score), *self._new]
        owner, row, score = (np.concatenate(part) for part in zip(*pairs, strict=True))
        off = self.margin.of(owner, row)
        low = score - off
        order = np.lexsort((-low, owner))
        queries = np.arange(len(self.least))
        last = np.searchsorted(owner[order], queries) + self.k - 1
        full = np.searchsorted(owner[order], queries, side='right') > last
        self._raise(full, low[order[last[full]]])
        still = ~(score + off < self.least[owner])
        self.owner, self.row, self.score = owner[still], row[still], score[still]
        self._new = []
        self._room = max(_SPARE * self.k * len(self.least), len(self.owner), _LEAST)

    def _raise(self, queries: Any, least: NDArray[np.float32]) -> None:
        """Raise the bounds of some queries to what their k-th best scores are at least."""
        least = self.margin.capped(least, queries)
        self.least[queries] = np.fmax(self.least[queries], least)


def kth(scores: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Give about the k-th best score of each query, at most that: of the best of groups."""
    queries, rows = scores.shape
    width = rows // (_GROUPS * k)
    if width > 1:
        groups = scores[:, : rows // width * width].reshape(queries, -1, width)
        scores = groups.max(axis=2)
    return np.partition(scores, scores.shape[1] - k, axis=1)[:, -k]


def gathered(pools: Sequence[Pool]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give query and row of the pairs that all pools together cannot rule out.

    Of one pool with few pairs too many, all are given: sorting them costs more.
    """
    first, *others = pools
    for other in others:
        np.maximum(first.least, other.least, out=first.least)
        first._new += [(other.owner, other.row, other.score), *other._new]
    sure = first.margin.lost is None
    if sure and not others and not len(first.owner) and len(first._new) == 1:
        owner, row, _ = first._new[0]
        return owner, row
    first.settle()
    return first.owner, first.row


def where(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give rows and columns of the few True; several times faster than a 2-d nonzero."""
    if len(mask) == 1:
        second = np.flatnonzero(mask)
        return np.zeros(len(second), np.int64), second
    if mask.flags.c_contiguous:
        first, second = np.divmod(np.flatnonzero(mask), mask.shape[1])
        return first, second
    second, first = np.divmod(np.flatnonzero(mask.T), mask.shape[0])
    return first, second
