r"""Equal scores: metrics as their mean over all orders of the items that are tied.

A ranking that puts tied items in the order of the archive scores what that order is worth, not
what the encoder is: one that gives every item the same score is perfect on an archive that
happens to be sorted. The mean over all orders has a closed form for each metric: F. McSherry
and M. Najork, "Computing information retrieval performance measures efficiently in the presence
of tied scores", ECIR 2008, https://doi.org/10.1007/978-3-540-78646-7_38. A constant encoder then
scores the level of chance.

Scores are tied if they are equal in float32, the type in which :func:`rank_blocks` gives them;
those that differ in their last bit are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ('Ties', 'find_ties')

#: Tied ranks processed at once (memory only).
_RANKS = 2**16

type _Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ties:
    """Runs of equal scores in some rankings, in the order of queries and ranks."""

    #: Query of each run, shape (runs,).
    query: NDArray[np.int64]
    #: Ranks before the run, shape (runs,).
    start: NDArray[np.int64]
    #: Items of the run, 2 or more, shape (runs,).
    size: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the runs."""
        return len(self.query)

    def take(self, chosen: NDArray[np.bool_]) -> 'Ties':
        """Give some of the runs."""
        return Ties(self.query[chosen], self.start[chosen], self.size[chosen])

    def before(self, k: int) -> 'Ties':
        """Give the runs that begin among the first *k* ranks."""
        return self.take(self.start < k)

    def end(self, k: int) -> int:
        """Count the ranks to look at for a cut-off: those of runs that reach over it too."""
        near = self.start < k
        return int(max(k, (self.start + self.size)[near].max(initial=0)))

    def sums(self, values: NDArray[Any], *, count: bool = False) -> _Floats:
        """Add up the values of each run.

        Args:
            values: One for each query and rank, to the end of each run at least.
            count: Count those above 0 instead.

        Returns:
            Shape (runs,).
        """
        flat = values.ravel()
        found = [np.empty(0)]
        for _, size, ranks in self._ranks(values.shape[1], self.size):
            first = np.cumsum(size) - size
            found_values = flat[ranks] > 0 if count else flat[ranks]
            found.append(np.add.reduceat(found_values, first, dtype=np.float64))
        return np.concatenate(found)

    def smooth(self, values: NDArray[Any], k: int | None = None) -> _Floats:
        """Give each tied item the mean of its run.

        Args:
            values: One for each query and rank, to the end of each run that begins before *k*.
            k: Cut-off; all ranks by default.

        Returns:
            Expected value at each rank, shape (queries, at most k).
        """
        runs = self if k is None else self.before(k)
        top = np.array(values[:, :k], dtype=np.float64, order='C')
        runs.fill(top, runs.sums(values) / runs.size)
        return top

    def fill(self, values: NDArray[Any], means: ArrayLike) -> None:
        """Write one number into all ranks of each run that *values* has, in place."""
        flat, width = values.reshape(-1), values.shape[1]
        means = np.broadcast_to(means, len(self))
        within = np.minimum(self.size, width - self.start)
        for part, size, ranks in self._ranks(width, within):
            flat[ranks] = np.repeat(means[part], size)

    def _ranks(
        self, width: int, size: NDArray[np.int64]
    ) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
        """Give runs, their sizes and the flat positions of their ranks, some at a time."""
        ends = np.cumsum(size)
        begin = self.query * width + self.start
        first = 0
        while first < len(self):
            done = ends[first - 1] if first else 0
            last = int(np.searchsorted(ends, done + _RANKS, 'right'))
            part = slice(first, max(last, first + 1))
            sizes = size[part]
            offset = begin[part] - (np.cumsum(sizes) - sizes)
            yield part, sizes, np.repeat(offset, sizes) + np.arange(sizes.sum())
            first = part.stop


def find_ties(scores: NDArray[np.floating]) -> Ties | None:
    """Find the runs of equal scores.

    Args:
        scores: Scores in ranked order, shape (queries, ranks); NaN is tied with nothing.

    Returns:
        The runs, None without any.
    """
    # Whether each item scores as the one before it; the last one closes a run at the end.
    same = np.zeros(scores.size + 1, dtype=bool)
    equal = same[:-1].reshape(scores.shape)
    np.equal(scores[:, 1:], scores[:, :-1], out=equal[:, 1:])
    edges = np.flatnonzero(same[1:] != same[:-1])
    if not len(edges):
        return None
    first, last = edges[::2], edges[1::2]
    query, start = np.divmod(first, scores.shape[1])
    return Ties(query, start, last - first + 1)


def count(values: NDArray[Any], k: int | None, ties: Ties | None) -> NDArray[Any]:
    """Add up hits or gains of the first *k* ranks, shape (queries,)."""
    top = values[:, :k] if ties is None else ties.smooth(values, k)
    return top.sum(axis=1)


def mixed(ties: Ties, gains: NDArray[Any]) -> tuple[Ties, NDArray[np.int64]]:
    """Give the runs in which the order counts, and the hits of each.

    Args:
        ties: Runs.
        gains: Relevance or gains in ranked order.

    Returns:
        Runs with a hit, and of relevance those with something else too; hits, shape (runs,).
    """
    hits = ties.sums(gains, count=True).astype(np.int64)
    partly = hits > 0
    if gains.dtype == bool:
        partly &= hits < ties.size
    return ties.take(partly), hits[partly]


def any_hit(hits: NDArray[np.bool_], k: int, ties: Ties) -> _Floats:
    """Give the probability of a hit among the first *k* ranks, shape (queries,)."""
    value = hits[:, :k].any(axis=1).astype(np.float64)
    across = ties.take((ties.start < k) & (ties.start + ties.size > k))
    runs, found = mixed(across, hits)
    before = np.arange(k) < runs.start[:, None]
    sure = (hits[runs.query, :k] & before).any(axis=1)
    drawn, miss = k - runs.start, np.ones(len(runs))
    for i in range(int(drawn.max(initial=0))):
        left = np.clip(runs.size - found - i, 0, None) / np.maximum(runs.size - i, 1)
        miss *= np.where(i < drawn, left, 1)
    value[runs.query] = np.where(sure, 1, 1 - miss)
    return value


def first_runs(
    hits: NDArray[np.bool_], first: _Floats, ties: Ties
) -> tuple[Ties, NDArray[np.int64]]:
    """Give the runs, with their hits, that hold the first hit of a query.

    Args:
        hits: Ranked relevance.
        first: Rank of the first hit, from 1, as the ranking stands.
        ties: Runs.
    """
    rank = first[ties.query]
    holds = (ties.start < rank) & (rank <= ties.start + ties.size)
    return mixed(ties.take(holds), hits)


def mean_reciprocal_rank(start: int, hits: int, items: int) -> float:
    """Mean of 1 / rank of the first of some hits in a run of items, over all its orders."""
    # First at place i: not before (a product), and then with the hits among what is left.
    left = items - np.arange(items - hits + 1)
    before = np.concatenate([[1.0], np.cumprod((left[:-1] - hits) / left[:-1])])
    return float((before * hits / left / (start + 1 + np.arange(len(left)))).sum())


def mean_gains(
    gains: NDArray[Any],
    k: int | NDArray[np.int64] | None,
    ties: Ties | None,
    *,
    per_hit: bool,
) -> _Floats:
    r"""Add up, over the hits i among the first *k*, the mean gain of the first i ranks.

    Of relevance that is :math:`S_k = \sum_{i \le k} P@i \cdot rel_i`.

    Args:
        gains: Relevance or gains in ranked order.
        k: Cut-off, of all queries or of each, shape (queries,); all ranks by default.
        ties: Runs of equal scores.
        per_hit: Divide by the number of hits among the first *k*.

    Returns:
        Shape (queries,).
    """
    deepest = int(k.max(initial=0)) if isinstance(k, np.ndarray) else k
    top = gains[:, :deepest]
    width = top.shape[1]
    hits = top if top.dtype == bool else top > 0
    held = np.cumsum(top, axis=1)
    depth = np.full(len(top), width)
    if isinstance(k, np.ndarray):
        depth = np.minimum(k, width)
        hits = hits & (np.arange(width) < depth[:, None])
    terms = np.where(hits, held / np.arange(1, width + 1), 0)
    if ties is None:
        sums = terms.sum(axis=1)
        return sums / np.maximum(hits.sum(axis=1), 1) if per_hit else sums
    near = ties.take(ties.start < depth[ties.query])
    runs, found = mixed(near, gains)
    runs.fill(terms, 0)
    gain = runs.sums(gains) / found
    before = runs.start > 0
    at = runs.query, np.maximum(runs.start - 1, 0)
    earlier = np.where(before, held[at], 0)
    drawn = np.minimum(runs.size, depth[runs.query] - runs.start)
    extra = _sums(runs.start, drawn, runs.size, found, earlier, gain)
    sums = terms.sum(axis=1)
    if not per_hit:
        return sums + np.bincount(runs.query, extra, len(sums))
    over = runs.start + runs.size > depth[runs.query]
    extra[over] = 0
    sums += np.bincount(runs.query, extra, len(sums))
    value = sums / np.maximum(hits.sum(axis=1), 1)
    counts = np.cumsum(hits, axis=1)
    sure = np.where(before, counts[at], 0)[over]
    last, rows = runs.take(over), runs.query[over]
    m, r, t = last.size, found[over], drawn[over]
    value[rows] = 0
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, m.max(initial=0) + 1)))])
    for h in range(int(np.minimum(t, r).max(initial=-1)) + 1):
        cells = np.flatnonzero((h <= r) & (h <= t) & (t - h <= m - r) & (sure + h > 0))
        mm, rr, tt, row = m[cells], r[cells], t[cells], rows[cells]
        share = np.exp(
            _choose(log, rr, h) + _choose(log, mm - rr, tt - h) - _choose(log, mm, tt)
        )
        part_sums = _sums(
            last.start[cells],
            tt,
            tt,
            np.full(len(cells), h),
            earlier[over][cells],
            gain[over][cells],
        )
        value[row] += share * (sums[row] + part_sums) / (sure[cells] + h)
    return value


def _sums(
    start: NDArray[np.int64],
    drawn: NDArray[np.int64],
    size: NDArray[np.int64],
    hits: NDArray[np.int64],
    earlier: NDArray[Any],
    gain: NDArray[Any],
) -> _Floats:
    """Give the expected sum of :func:`mean_gains` over the first places of a run.

    The place at rank i is a hit with the probability *hits* / *size*, with the mean gain, and
    so is each of those before it with (*hits* - 1) / (*size* - 1).
    """
    harmonic = np.cumsum(1 / np.arange(1, int((start + drawn).max(initial=0)) + 1))
    harmonic = np.concatenate([[0.0], harmonic])
    each = gain * (hits - 1) / np.maximum(size - 1, 1)
    whole = (earlier + gain - each * (start + 1)) * (
        harmonic[start + drawn] - harmonic[start]
    )
    return hits / np.maximum(size, 1) * (whole + each * drawn)


def _choose(log: _Floats, n: NDArray[np.int64], k: NDArray[np.int64] | int) -> _Floats:
    """Logarithm of the binomial coefficient."""
    return log[n] - log[k] - log[n - k]
