"""From vectors and a truth to the values of named metrics, one per query, in bounded memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .chunked import (
    MEMORY,
    Exclude,
    Similarity,
    blocks,
    dot_product,
    excluded,
    rank_blocks,
)
from .ranking import QueryMean, check_k
from .registry import METRICS, Ranking, RankingMetric
from .ties import Ties, find_ties
from .truth import Judgement, Truth

__all__ = ('Scored', 'score_ranking')


@dataclass(frozen=True)
class Scored:
    """Metrics of every query, to be averaged, resampled or broken down."""

    #: Values by printed name: shape (queries,), or (queries, 2) for ``f1@k_of_means``.
    values: dict[str, NDArray[np.float64]]
    #: The metric behind each printed name.
    metrics: dict[str, RankingMetric]
    #: Relevant items of each query, shape (queries,).
    num_relevant: NDArray[np.int64]
    #: Items that each query ranked (those not excluded), shape (queries,).
    num_items: NDArray[np.int64]

    def means(
        self,
        queries: ArrayLike | None = None,
        *,
        empty: Literal['skip', 'worst'] = 'skip',
    ) -> dict[str, QueryMean]:
        """Average over queries.

        Args:
            queries: Row numbers or a bool mask of the queries to average over, for a breakdown
                or a bootstrap; all by default.
            empty: As in :meth:`RankingMetric.summarize`.

        Returns:
            Mean and counts by printed name.
        """
        chosen = slice(None) if queries is None else np.asarray(queries)
        return {
            name: self.metrics[name].summarize(values[chosen], empty=empty)
            for name, values in self.values.items()
        }


def score_ranking(
    queries: ArrayLike,
    archive: ArrayLike,
    truth: Truth,
    *,
    names: Iterable[str],
    ks: Sequence[int] = (5, 10),
    exclude: Exclude | None = None,
    similarity: Similarity = dot_product,
    memory: int = MEMORY,
) -> Scored:
    """Rank an archive for all queries and compute named metrics, block by block.

    Where items score the same, to the last bit of float32, a value is the mean over all their
    orders, so that a constant encoder scores what chance does in any order of the archive.

    Args:
        queries: Query rows, shape (queries, dim).
        archive: Archive rows that may be retrieved, shape (items, dim).
        truth: What is relevant, such as
            :class:`~torchgeo_cmr.metrics.functional.LabelTruth`.
        names: Names of :data:`METRICS`. If none of them needs the full ranking, only the
            deepest cut-off is sorted, which is much faster.
        ks: Cut-offs for the names that have one.
        exclude: What a query may not retrieve, as in
            :func:`~torchgeo_cmr.metrics.functional.rank_blocks`; it counts as not relevant.
        similarity: As there; :class:`~torchgeo_cmr.metrics.functional.RandomOrder` gives the
            chance level.
        memory: Bytes that a block may take, about; half as much again where all items are tied.

    Returns:
        The values of every query.

    Raises:
        ValueError: If a name is unknown, a cut-off is below 1, the truth does not fit the
            archive or lacks the labels that a metric needs.
    """
    queries, archive = np.asarray(queries), np.asarray(archive)
    chosen = _choose(names)
    wanted = {metric.label(k): (metric, k) for metric in chosen for k in _check_ks(ks)}
    top = _depth(chosen, ks)
    full = any(metric.depth == 'all' for metric in chosen)
    largest = None
    if any(metric.name == 'anmrr' for metric in chosen):
        counts = (
            _judge(truth, part, excluded(exclude, part), len(archive)).relevant.sum(
                axis=1
            )
            for part in blocks(len(queries), len(archive), memory)
        )
        largest = int(max((c.max(initial=0) for c in counts), default=0))
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in wanted}
    found, items = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for block in rank_blocks(
        queries,
        archive,
        k=None if full else top,
        exclude=exclude,
        similarity=similarity,
        memory=memory,
        ties=True,
    ):
        ties = find_ties(block.scores)
        leave = excluded(exclude, block.queries)
        judged = _judge(truth, block.queries, leave, len(archive))
        ranking = _ranking(judged, block.rows, top, ties)
        deep = ranking
        if full:
            every = np.take_along_axis(judged.relevant, block.rows, axis=1)
            deep = Ranking(every, ranking.num_relevant, largest=largest, ties=ties)
        for name, (metric, k) in wanted.items():
            source = deep if metric.depth == 'all' else ranking
            # a copy, for a column would keep its block alive
            values[name].append(metric.values(source, k).copy())
        found.append(ranking.num_relevant)
        left = np.zeros(len(block.rows), int) if leave is None else leave.sum(axis=1)
        items.append(len(archive) - left)
    return Scored(
        {name: np.concatenate(part or [np.empty(0)]) for name, part in values.items()},
        {name: metric for name, (metric, _) in wanted.items()},
        np.concatenate(found),
        np.concatenate(items),
    )


def _choose(names: Iterable[str]) -> list[RankingMetric]:
    """Look up metrics by name."""
    chosen = []
    for name in dict.fromkeys(names):
        if name not in METRICS:
            raise ValueError(f'no metric {name!r}: choose from {", ".join(METRICS)}')
        chosen.append(METRICS[name])
    return chosen


def _check_ks(ks: Sequence[int]) -> Sequence[int]:
    """Refuse no cut-off, and cut-offs below 1."""
    if not ks:
        raise ValueError('ks needs at least one cut-off, found none')
    for k in ks:
        check_k(k)
    return ks


def _depth(metrics: Iterable[RankingMetric], ks: Sequence[int]) -> int:
    """Count the ranks that metrics with a cut-off look at."""
    depths = [metric.depth for metric in metrics]
    return max([*ks, *(depth for depth in depths if isinstance(depth, int))])


def _judge(
    truth: Truth, queries: slice, leave: NDArray[np.bool_] | None, num_items: int
) -> Judgement:
    """Get the relevance, without what may not be retrieved."""
    judged = truth(queries)
    shape = queries.stop - queries.start, num_items
    if judged.relevant.shape != shape or judged.gains.shape != shape:
        raise ValueError(
            f'the truth must judge (queries, items), {shape}, found '
            f'{judged.relevant.shape}: give relevance or labels of these queries and archive'
        )
    if leave is None:
        return judged
    return judged._replace(
        relevant=judged.relevant & ~leave,
        gains=np.where(leave, np.float32(0), judged.gains),
    )


def _ranking(
    judged: Judgement, rows: NDArray[np.int64], depth: int, ties: Ties | None
) -> Ranking:
    """Put a judgement into ranked order, as deep as needed and to the end of the ties there."""
    rows = rows[:, : depth if ties is None else ties.end(depth)]
    depth = min(depth, rows.shape[1])
    best = -judged.gains
    if 0 < depth < best.shape[1]:
        best = np.partition(best, depth - 1, axis=1)[:, :depth]
    sizes = judged.item_sizes
    return Ranking(
        relevant=np.take_along_axis(judged.relevant, rows, axis=1),
        num_relevant=judged.relevant.sum(axis=1),
        gains=np.take_along_axis(judged.gains, rows, axis=1),
        ideal=-np.sort(best, axis=1),
        query_sizes=judged.query_sizes,
        item_sizes=None if sizes is None else sizes[rows],
        ties=None if ties is None else ties.before(depth),
    )
