"""The chance level of each metric by its name: what a random ranking scores on average."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chance import (
    expected_average_precision,
    expected_average_precision_at_r,
    expected_hit_rate,
    expected_precision,
    expected_recall,
    expected_reciprocal_rank,
)
from .multilabel import item_scores
from .ranking import blank
from .relevance_grades import Gain, dcg

__all__ = ('CHANCE', 'Pool')

type Level = Callable[['Pool', int], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Pool:
    """What some queries draw from, whatever the order."""

    #: Relevant items of each query, R, shape (queries,).
    num_relevant: NDArray[np.int64]
    #: Items that each query ranks, N, shape (queries,).
    num_items: NDArray[np.int64]
    #: Gain of every item, 0 where it may not be retrieved, shape (queries, items).
    gains: NDArray[Any] | None = None
    #: The best gains, shape (queries, ranks).
    ideal: NDArray[Any] | None = None
    #: Number of labels of each query, shape (queries,).
    query_sizes: NDArray[Any] | None = None
    #: Number of labels of each item, shape (items,).
    item_sizes: NDArray[Any] | None = None
    #: Largest *num_relevant* of the whole data set (ANMRR's GTM).
    largest: int | None = None

    @cached_property
    def pairs(self) -> Mapping[str, NDArray[np.float64]]:
        """Mean precision, recall, F1 and Jaccard index of label sets over all items."""
        if self.gains is None or self.query_sizes is None or self.item_sizes is None:
            raise ValueError('the level of this metric needs label sets, found none')
        sizes = np.broadcast_to(self.item_sizes, self.gains.shape)
        every = item_scores(self.gains, self.query_sizes, sizes)._asdict()
        return {kind: self.mean(values) for kind, values in every.items()}

    def mean(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Average over the items of each query; NaN without any relevant item."""
        sums = values.sum(axis=1, dtype=np.float64)
        return blank(self.num_relevant > 0, sums / np.maximum(self.num_items, 1))

    def filled(self, k: int) -> NDArray[np.float64]:
        """Share of the first *k* ranks that exist."""
        return np.minimum(k, self.num_items) / k


def _precision(pool: Pool, k: int) -> NDArray[np.float64]:
    return expected_precision(pool.num_relevant, pool.num_items) * pool.filled(k)


def _binary_f1(pool: Pool, k: int) -> NDArray[np.float64]:
    # 2 P R / (P + R) is 2 hits / (k + R): linear in the hits, hence an exact mean.
    return 2 * k * _precision(pool, k) / (k + pool.num_relevant)


def _capped_recall(pool: Pool, k: int) -> NDArray[np.float64]:
    return k * _precision(pool, k) / np.maximum(np.minimum(pool.num_relevant, k), 1)


def _capped_f1(pool: Pool, k: int) -> NDArray[np.float64]:
    # 2 hits / (k + min(k, R)): linear in the hits, hence an exact mean.
    return 2 * k * _precision(pool, k) / (k + np.minimum(pool.num_relevant, k))


def _average(**options: Any) -> Level:
    return lambda pool, k: expected_average_precision(
        pool.num_relevant, pool.num_items, k, **options
    )


def _map_cmir(pool: Pool, _: int) -> NDArray[np.float64]:
    return np.mean([_precision(pool, k) for k in range(10, 101, 10)], axis=0)


def _mean_rank(pool: Pool, _: int) -> NDArray[np.float64]:
    # R items cut N - R others into R + 1 gaps of equal length on average
    level = (pool.num_items + 1) / (pool.num_relevant + 1)
    return blank(pool.num_relevant > 0, level)


def _nmrr(pool: Pool, _: int) -> NDArray[np.float64]:
    # each relevant item is at any rank alike
    r, n = np.maximum(pool.num_relevant, 1), np.maximum(pool.num_items, 1)
    largest = r.max(initial=0) if pool.largest is None else pool.largest
    limit = np.minimum(4 * r, 2 * largest)
    near = np.minimum(limit, n)
    average = (near * (near + 1) / 2 + (n - near) * 1.25 * limit) / n
    level = (average - 0.5 - r / 2) / (1.25 * limit - 0.5 * (1 + r))
    return blank(pool.num_relevant > 0, level)


def _item(kind: str) -> Level:
    return lambda pool, k: pool.pairs[kind] * pool.filled(k)


def _of_means(pool: Pool, k: int) -> NDArray[np.float64]:
    both = [_item(kind)(pool, k) for kind in ('precision', 'recall')]
    return np.stack(both, axis=1)


def _at_rank(pool: Pool, k: int) -> NDArray[np.float64]:
    return np.where(pool.num_items >= k, 1, 0) * pool.pairs['f1']


def _gains(pool: Pool) -> NDArray[Any]:
    if pool.gains is None:
        raise ValueError('the level of this metric needs gains, found none')
    return pool.gains


def _ndcg(gain: Gain) -> Level:
    def level(pool: Pool, k: int) -> NDArray[np.float64]:
        gains = _gains(pool)
        value = np.exp2(gains) - 1 if gain == 'exp' else gains
        discount = np.cumsum(1 / np.log2(np.arange(2, k + 2)))
        depth = np.minimum(k, np.maximum(pool.num_items, 1))
        best = gains if pool.ideal is None else pool.ideal
        most = dcg(-np.sort(-best, axis=1)[:, :k].astype(np.float64), gain)
        return pool.mean(value) * discount[depth - 1] / np.where(most > 0, most, np.nan)

    return level


#: Chance level of each query by name of the metric, from a :class:`Pool` and a cut-off. What
#: is missing has no formula: rank with :class:`RandomOrder` to estimate it.
CHANCE: dict[str, Level] = {
    'precision@k': _precision,
    'recall@k': lambda p, k: expected_recall(p.num_relevant, p.num_items, k),
    'f1@k_binary': _binary_f1,
    'recall@k_capped': _capped_recall,
    'f1@k_capped': _capped_f1,
    'hit_rate@k': lambda p, k: expected_hit_rate(p.num_relevant, p.num_items, k),
    'mrr': lambda p, _: expected_reciprocal_rank(p.num_relevant, p.num_items),
    'mean_rank': _mean_rank,
    'map': lambda p, _: expected_average_precision(p.num_relevant, p.num_items),
    'map@k': _average(),
    'map@k_hits': _average(normalization='hits'),
    'map@k_R': _average(normalization='R'),
    'map@R': lambda p, _: expected_average_precision_at_r(p.num_relevant, p.num_items),
    'r_precision': lambda p, _: expected_precision(p.num_relevant, p.num_items),
    'map_cmir': _map_cmir,
    'f1@k': _item('f1'),
    'f1@k_of_means': _of_means,
    'f1_at_rank': _at_rank,
    'item_precision@k': _item('precision'),
    'item_recall@k': _item('recall'),
    'jaccard@k': _item('jaccard'),
    'acg@k': lambda pool, k: pool.mean(_gains(pool)) * pool.filled(k),
    'ndcg@k': _ndcg('exp'),
    'ndcg@k_linear': _ndcg('linear'),
    'anmrr': _nmrr,
}
