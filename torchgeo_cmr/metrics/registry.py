"""All metrics of ranked relevance under the names that tables print.

The names are long where the literature uses one name for several things: four normalisations
of average precision, three F1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .anmrr import nmrr
from .average import average_precision, mean_of_precisions
from .binary import f1, first_rank, hit_rate, precision, recall, reciprocal_rank
from .multilabel import ItemScores, item_scores, mean_at_k
from .ranking import QueryMean, blank, check_k
from .relevance_grades import average_cumulative_gain, ndcg, weighted_average_precision
from .relevant_depth import (
    average_precision_at_r,
    capped_f1,
    capped_recall,
    r_precision,
)
from .ties import Ties

__all__ = ('METRICS', 'Ranking', 'RankingMetric')


@dataclass(frozen=True)
class Ranking:
    """All that a metric may need of the ranking of some queries."""

    #: Whether the item at each rank is relevant, shape (queries, ranks), bool.
    relevant: NDArray[np.bool_]
    #: Relevant items of each query in the whole archive, shape (queries,).
    num_relevant: NDArray[np.int64]
    #: Gain of the item at each rank, shape (queries, ranks).
    gains: NDArray[Any] | None = None
    #: The best gains of the whole archive, shape (queries, ranks).
    ideal: NDArray[Any] | None = None
    #: Number of labels of each query, shape (queries,).
    query_sizes: NDArray[Any] | None = None
    #: Number of labels of the item at each rank, shape (queries, ranks).
    item_sizes: NDArray[Any] | None = None
    #: Largest *num_relevant* of the whole data set (ANMRR's GTM).
    largest: int | None = None
    #: Runs of equal scores; each array above goes on to the end of those that begin in it.
    ties: Ties | None = None


@dataclass(frozen=True)
class RankingMetric:
    """One metric of :data:`METRICS`."""

    #: Name in the registry.
    name: str
    #: Formula in one line.
    formula: str
    #: Value of each query, shape (queries,), or (queries, 2) if they are joined later.
    values: Callable[[Ranking, int], NDArray[np.float64]]
    #: What the ranking must hold besides relevance.
    needs: Literal['relevance', 'gains', 'labels'] = 'relevance'
    #: Ranks needed: the cut-off (``'k'``), the full ranking (``'all'``), or a number.
    depth: Literal['k', 'all'] | int = 'k'
    #: Whether more is better.
    higher_is_better: bool = True
    #: How values of queries become one number.
    reduce: Callable[[NDArray[np.float64]], float] = np.mean
    #: What a query without any relevant item counts if it is not skipped.
    worst: float = 0.0

    def label(self, k: int) -> str:
        """Name with its cut-off, for a table: ``map@k_hits`` at 5 is ``map@5_hits``."""
        if '@k' in self.name:
            return self.name.replace('@k', f'@{k}')
        return f'{self.name}_{k}' if self.depth == 'k' else self.name

    def summarize(
        self, values: ArrayLike, *, empty: Literal['skip', 'worst'] = 'skip'
    ) -> QueryMean:
        """Join the values of queries into one number.

        Args:
            values: What *values* gave, for all queries or any choice of them.
            empty: Whether queries without any relevant item (NaN) are skipped, or count as
                the worst value: 0, 1 for ANMRR, infinite for ranks.

        Returns:
            The number, the queries that count and those that are empty.

        Raises:
            ValueError: If *empty* is unknown.
        """
        if empty not in ('skip', 'worst'):
            raise ValueError(f"empty must be 'skip' or 'worst', found {empty!r}")
        values = np.asarray(values, dtype=np.float64)
        none = np.isnan(values) if values.ndim == 1 else np.isnan(values).any(axis=1)
        counted = values[~none]
        if empty == 'worst':
            counted = np.where(np.isnan(values), self.worst, values)
        mean = float(self.reduce(counted)) if len(counted) else float('nan')
        return QueryMean(mean, len(counted), int(none.sum()))


def _median(values: NDArray[np.float64]) -> float:
    """Take the median of ranks that may be infinite."""
    ranks = np.sort(values)
    low, high = ranks[(len(ranks) - 1) // 2], ranks[len(ranks) // 2]
    return float(low if low == high else (low + high) / 2)


def _harmonic(values: NDArray[np.float64]) -> float:
    """Take the harmonic mean of the two means."""
    p, r = values.mean(axis=0)
    return float(2 * p * r / (p + r)) if p + r else 0.0


def _items(ranking: Ranking) -> ItemScores:
    """Judge the labels of each retrieved item."""
    if (
        ranking.gains is None
        or ranking.query_sizes is None
        or ranking.item_sizes is None
    ):
        raise ValueError('this metric compares label sets: give labels, not relevance')
    return item_scores(ranking.gains, ranking.query_sizes, ranking.item_sizes)


def _gains(ranking: Ranking) -> NDArray[Any]:
    """Look up the gains."""
    if ranking.gains is None:
        raise ValueError('this metric needs gains: give graded relevance or labels')
    return ranking.gains


def _of(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Make a metric of relevance with a cut-off."""

    def values(r: Ranking, k: int) -> NDArray[np.float64]:
        # Ranks behind the cut-off and its ties are ignored.
        ties = None if r.ties is None else r.ties.before(k)
        top = r.relevant[:, : k if ties is None else ties.end(k)]
        return function(top, k, num_relevant=r.num_relevant, ties=ties, **options)

    return values


#: Their scripts cut at 10, 20, ..., 100.
_cmir = _of(lambda ranked, k, **options: mean_of_precisions(ranked, **options))


def _full(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a metric of relevance without a cut-off."""
    return lambda r, k: function(r.relevant, num_relevant=r.num_relevant, ties=r.ties)


def _ndcg(gain: Literal['exp', 'linear']) -> Callable[..., Any]:
    """Make NDCG with the ideal of the whole archive."""

    def values(r: Ranking, k: int) -> NDArray[np.float64]:
        value = ndcg(_gains(r), k, ideal=r.ideal, gain=gain, ties=r.ties)
        return _known(r, value)

    return values


def _graded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a metric of gains with a cut-off."""

    def values(r: Ranking, k: int) -> NDArray[np.float64]:
        gains = _gains(r)
        # an exact rule can leave a query empty although items share a label
        ranks = np.where(r.num_relevant > 0, gains.shape[1], 0)
        gains = np.where(ranks[:, None] > 0, gains, 0)
        return function(gains, k, num_relevant=ranks, ties=r.ties)

    return values


def _item(field: str) -> Callable[..., Any]:
    """Make a mean over retrieved items."""
    return lambda r, k: _known(r, mean_at_k(getattr(_items(r), field), k, ties=r.ties))


def _of_means(ranking: Ranking, k: int) -> NDArray[np.float64]:
    """Give mean precision and mean recall of each query."""
    items = _items(ranking)
    return _known(
        ranking,
        np.stack(
            [
                mean_at_k(means, k, ties=ranking.ties)
                for means in (items.precision, items.recall)
            ],
            axis=1,
        ),
    )


def _at_rank(ranking: Ranking, k: int) -> NDArray[np.float64]:
    """Give the F1 of the k-th item."""
    f1 = _items(ranking).f1
    found = np.zeros(len(f1))
    if check_k(k) <= f1.shape[1]:
        found = (f1 if ranking.ties is None else ranking.ties.smooth(f1, k))[:, k - 1]
    return _known(ranking, found)


def _known(ranking: Ranking, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blank out the queries without any relevant item."""
    known = ranking.num_relevant > 0
    return blank(known if values.ndim == 1 else known[:, None], values)


_ALL: tuple[RankingMetric, ...] = (
    RankingMetric('precision@k', 'hits among the first k / k', _of(precision)),
    RankingMetric('recall@k', 'hits among the first k / R', _of(recall)),
    RankingMetric('f1@k_binary', '2 P@k R@k / (P@k + R@k)', _of(f1)),
    RankingMetric(
        'recall@k_capped', 'hits among the first k / min(k, R)', _of(capped_recall)
    ),
    RankingMetric(
        'f1@k_capped',
        '2 P C / (P + C), P = precision@k, C = recall@k_capped',
        _of(capped_f1),
    ),
    RankingMetric('hit_rate@k', '1 if any of the first k is a hit', _of(hit_rate)),
    RankingMetric(
        'mrr', '1 / rank of the first hit', _full(reciprocal_rank), depth='all'
    ),
    RankingMetric(
        'median_rank',
        'median of the rank of the first hit',
        _full(first_rank),
        depth='all',
        higher_is_better=False,
        reduce=_median,
        worst=np.inf,
    ),
    RankingMetric(
        'mean_rank',
        'mean of the rank of the first hit',
        _full(first_rank),
        depth='all',
        higher_is_better=False,
        worst=np.inf,
    ),
    RankingMetric('map', 'S_N / R', _full(average_precision), depth='all'),
    RankingMetric('map@k', 'S_k / min(k, R)', _of(average_precision)),
    RankingMetric(
        'map@k_hits',
        'S_k / hits among the first k',
        _of(average_precision, normalization='hits'),
    ),
    RankingMetric('map@k_R', 'S_k / R', _of(average_precision, normalization='R')),
    RankingMetric('map@R', 'S_R / R', _full(average_precision_at_r), depth='all'),
    RankingMetric(
        'r_precision', 'hits among the first R / R', _full(r_precision), depth='all'
    ),
    RankingMetric(
        'map_cmir',
        'mean of P@10, P@20, ..., P@100',
        lambda r, k: _cmir(r, 100),
        depth=100,
    ),
    RankingMetric(
        'f1@k', 'mean over the first k of 2n / (|q| + |r|)', _item('f1'), 'labels'
    ),
    RankingMetric(
        'f1@k_of_means',
        'harmonic mean of mean item precision and mean item recall',
        _of_means,
        'labels',
        reduce=_harmonic,
    ),
    RankingMetric('f1_at_rank', '2n / (|q| + |r|) of the k-th', _at_rank, 'labels'),
    RankingMetric(
        'item_precision@k',
        'mean over the first k of n / |r|',
        _item('precision'),
        'labels',
    ),
    RankingMetric(
        'item_recall@k', 'mean over the first k of n / |q|', _item('recall'), 'labels'
    ),
    RankingMetric(
        'jaccard@k', 'mean over the first k of n / |q or r|', _item('jaccard'), 'labels'
    ),
    RankingMetric(
        'acg@k', 'mean gain of the first k', _graded(average_cumulative_gain), 'gains'
    ),
    RankingMetric(
        'wmap@k',
        'mean of ACG@i over the hits i among the first k',
        _graded(weighted_average_precision),
        'gains',
    ),
    RankingMetric(
        'ndcg@k', 'DCG@k / best DCG@k, numerator 2^g - 1', _ndcg('exp'), 'gains'
    ),
    RankingMetric(
        'ndcg@k_linear', 'DCG@k / best DCG@k, numerator g', _ndcg('linear'), 'gains'
    ),
    RankingMetric(
        'anmrr',
        '(AVR - 0.5 - NG/2) / (1.25 K - 0.5 (1 + NG))',
        lambda r, k: nmrr(
            r.relevant, num_relevant=r.num_relevant, largest=r.largest, ties=r.ties
        ),
        depth='all',
        higher_is_better=False,
        worst=1.0,
    ),
)

#: Every metric by its name.
METRICS: dict[str, RankingMetric] = {metric.name: metric for metric in _ALL}
