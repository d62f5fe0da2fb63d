"""The measures of a report by name, each with what a random ranking scores.

Names are those of the literature made unambiguous: ``f1@k`` is the mean F1 of the label sets
of a query and each of its first k items, ``f1@k_of_means`` the harmonic mean of the mean
precision and the mean recall of those sets, ``f1@k_binary`` comes from relevance alone.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.metrics.functional import (
    average_precision,
    expected_average_precision,
    expected_hit_rate,
    expected_precision,
    expected_recall,
    expected_reciprocal_rank,
    f1,
    hit_rate,
    mean_at_k,
    mean_of_precisions,
    precision,
    recall,
    reciprocal_rank,
)

type Floats = NDArray[np.float64]
type Measured = tuple[Floats, Floats]


class Ranking(NamedTuple):
    """The rankings of some queries, and what is known about them.

    .. versionadded:: 0.1
    """

    #: Relevance in the order of the ranking, bool (queries, items).
    ranked: NDArray[np.bool_]
    #: Relevant items R and items that could be found N, int64 (queries,).
    found: NDArray[np.int64]
    items: NDArray[np.int64]
    #: ``precision``, ``recall``, ``f1`` and ``jaccard`` of label sets: at the first ranks, and on average
    #: over all items; empty without labels.
    sets: Mapping[str, tuple[Floats, Floats]] = {}


def _precision(ranking: Ranking, k: int) -> Measured:
    there = np.minimum(k, ranking.items) / k
    chance = expected_precision(ranking.found, ranking.items) * there
    return precision(ranking.ranked, k), chance


def _recall(ranking: Ranking, k: int) -> Measured:
    chance = expected_recall(ranking.found, ranking.items, k)
    return recall(ranking.ranked, k), chance


def _binary_f1(ranking: Ranking, k: int) -> Measured:
    # 2 P R / (P + R) is 2 hits / (k + R): linear in the hits, hence an exact mean.
    hits = np.minimum(k, ranking.items) * expected_precision(
        ranking.found, ranking.items
    )
    return f1(ranking.ranked, k), 2 * hits / (k + ranking.found)


def _hit_rate(ranking: Ranking, k: int) -> Measured:
    chance = expected_hit_rate(ranking.found, ranking.items, k)
    return hit_rate(ranking.ranked, k), chance


def _map_at(ranking: Ranking, k: int) -> Measured:
    chance = expected_average_precision(ranking.found, ranking.items, k)
    return average_precision(ranking.ranked, k), chance


def _map_hits(ranking: Ranking, k: int) -> Measured:
    chance = expected_hits_precision(ranking.found, ranking.items, k)
    return average_precision(ranking.ranked, k, normalization='hits'), chance


def _map(ranking: Ranking, _: int) -> Measured:
    chance = expected_average_precision(ranking.found, ranking.items)
    return average_precision(ranking.ranked), chance


def _mrr(ranking: Ranking, _: int) -> Measured:
    chance = expected_reciprocal_rank(ranking.found, ranking.items)
    return reciprocal_rank(ranking.ranked), chance


def _map_cmir(ranking: Ranking, _: int) -> Measured:
    each = [_precision(ranking, k)[1] for k in range(10, 101, 10)]
    return mean_of_precisions(ranking.ranked), np.mean(each, axis=0)


def _of_sets(kind: str) -> Callable[[Ranking, int], Measured]:
    def measure(ranking: Ranking, k: int) -> Measured:
        top, mean = ranking.sets[kind]
        known = ranking.found > 0
        chance = mean * np.minimum(k, ranking.items) / k
        return np.where(known, mean_at_k(top, k), np.nan), np.where(
            known, chance, np.nan
        )

    return measure


_MEASURES: dict[str, Callable[[Ranking, int], Measured]] = {
    'precision@k': _precision,
    'recall@k': _recall,
    'f1@k_binary': _binary_f1,
    'hit_rate@k': _hit_rate,
    'map@k': _map_at,
    'map@k_hits': _map_hits,
    'map': _map,
    'mrr': _mrr,
    'map_cmir': _map_cmir,
    'item_precision@k': _of_sets('precision'),
    'item_recall@k': _of_sets('recall'),
    'f1@k': _of_sets('f1'),
    'jaccard@k': _of_sets('jaccard'),
}
_OF_MEANS = 'f1@k_of_means'
#: Measures that compare label sets.
OF_LABELS = ('item_precision@k', 'item_recall@k', 'f1@k', 'jaccard@k', _OF_MEANS)
#: What a report holds if nothing else is asked for.
DEFAULT = ('recall@k', 'precision@k', 'hit_rate@k', 'map@k', 'map', 'mrr')


def check_measures(templates: Iterable[str]) -> None:
    """Refuse a measure that is not known.

    Args:
        templates: Names such as ``'recall@k'``.

    Raises:
        QueryError: If a name is none; the message lists what is.

    .. versionadded:: 0.1
    """
    known = (*_MEASURES, _OF_MEANS)
    for name in templates:
        if name not in known:
            raise QueryError(
                f'{name!r} is no measure: choose of {", ".join(known)}; k stays a letter'
            )


def expand(templates: Iterable[str], cuts: Iterable[int]) -> list[str]:
    """Write the names of a report: ``recall@k`` at each cut-off.

    Args:
        templates: Names of measures.
        cuts: Cut-offs.

    Returns:
        Names such as ``'recall@10'``, in the order of the templates.

    .. versionadded:: 0.1
    """
    cuts = list(cuts)
    names = []
    for template in templates:
        at = cuts if '@k' in template else [0]
        names += [template.replace('@k', f'@{k}') for k in at]
    return names


def measure(
    ranking: Ranking, templates: Iterable[str], cuts: Iterable[int]
) -> dict[str, Measured]:
    """Score each query.

    Args:
        ranking: The rankings.
        templates: Names of measures.
        cuts: Cut-offs.

    Returns:
        Name to value and chance of each query; both NaN where nothing is relevant. What
        :func:`derive` needs is there in place of what it makes.

    .. versionadded:: 0.1
    """
    wanted = [t for t in templates if t != _OF_MEANS]
    if len(wanted) < len(list(templates)):
        wanted += ['item_precision@k', 'item_recall@k']
    done: dict[str, Measured] = {}
    for template in dict.fromkeys(wanted):
        for k in cuts if '@k' in template else [0]:
            name = template.replace('@k', f'@{k}')
            done[name] = _MEASURES[template](ranking, k)
    return done


def derive(means: Mapping[str, Floats], name: str) -> Floats:
    """Give a measure of means, or the mean itself.

    Args:
        means: Means over queries by name; arrays of one shape.
        name: Name of a report.

    Returns:
        The measure, same shape.

    .. versionadded:: 0.1
    """
    if not name.endswith('_of_means'):
        return means[name]
    k = name.removesuffix('_of_means').partition('@')[2]
    p, r = means[f'item_precision@{k}'], means[f'item_recall@{k}']
    both = p + r
    return np.where(both == 0, 0.0, 2 * p * r / np.where(both == 0, 1, both))


def expected_hits_precision(
    found: NDArray[np.int64], items: NDArray[np.int64], k: int
) -> Floats:
    """Average precision at k over the hits found, on average over all orders.

    Given h hits among the first k, their order is random, so the mean is that of a full
    ranking of k items with h relevant; h is hypergeometric.

    Args:
        found: Relevant items R (queries,).
        items: Items N (queries,).
        k: Cut-off.

    Returns:
        Values (queries,), NaN where R is 0.

    .. versionadded:: 0.1
    """
    most = int(items.max(initial=0))
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])

    def choose(n: int, h: NDArray[np.int64] | int) -> Floats:
        return log[n] - log[h] - log[n - h]

    def one(r: int, n: int) -> float:
        drawn = min(k, n)
        h = np.arange(max(1, drawn - (n - r)), min(drawn, r) + 1)
        share = np.exp(choose(r, h) + choose(n - r, drawn - h) - choose(n, drawn))
        return float((share * expected_average_precision(h, drawn)).sum())

    return _for_each(one, found, items)


def _for_each(
    one: Callable[[int, int], float], found: NDArray[np.int64], items: NDArray[np.int64]
) -> Floats:
    """Compute once for each pair of R and N that occurs."""
    pairs, which = np.unique(np.stack([found, items]), axis=1, return_inverse=True)
    values = [one(int(r), int(n)) if r else np.nan for r, n in pairs.T]
    return np.array(values, dtype=np.float64)[which.reshape(-1)]
