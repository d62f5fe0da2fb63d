import math

import numpy as np
import pytest

from torchgeo_cmr.metrics.functional import METRICS, Ranking

EXAMPLE = Ranking(
    np.array([[1, 0, 1, 1, 0, 0, 1, 0]], bool),
    np.array([4]),
    gains=np.array([[1, 0, 1, 1, 0, 0, 1, 0]]),
)
#: Worked examples 2 and 3.
LABELS = Ranking(
    np.array([[True, False], [True, True]]),
    np.array([3, 2]),
    gains=np.array([[2, 0], [1, 1]]),
    ideal=np.array([[3, 2], [1, 1]]),
    query_sizes=np.array([3, 1]),
    item_sizes=np.array([[2, 2], [1, 4]]),
)


def value(name: str, ranking: Ranking, k: int) -> float:
    metric = METRICS[name]
    return metric.summarize(metric.values(ranking, k)).mean


def test_names() -> None:
    assert {
        'map',
        'map@k',
        'map@k_hits',
        'map@k_R',
        'map_cmir',
        'f1@k',
        'f1@k_of_means',
        'f1_at_rank',
        'acg@k',
        'wmap@k',
        'ndcg@k',
        'anmrr',
        'mrr',
        'hit_rate@k',
        'recall@k',
        'precision@k',
        'median_rank',
    } <= set(METRICS)
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.formula
        assert not set('/>') & set(metric.label(5))
    labels = [metric.label(k) for metric in METRICS.values() for k in (5, 10)]
    assert len(set(labels)) == len(labels) - sum(
        metric.label(5) == metric.label(10) for metric in METRICS.values()
    )
    assert METRICS['map@k_hits'].label(5) == 'map@5_hits'
    assert METRICS['f1_at_rank'].label(10) == 'f1_at_rank_10'
    assert METRICS['map'].label(10) == 'map'


@pytest.mark.parametrize(
    ('name', 'k', 'expected'),
    [
        ('precision@k', 5, 0.6),
        ('recall@k', 5, 0.75),
        ('f1@k_binary', 5, 0.666667),
        ('hit_rate@k', 5, 1),
        ('mrr', 5, 1),
        ('median_rank', 5, 1),
        ('mean_rank', 5, 1),
        ('map', 5, 0.747024),
        ('map@k', 3, 0.555556),
        ('map@k_hits', 3, 0.833333),
        ('map@k_R', 3, 0.416667),
        ('map_cmir', 5, np.mean([4 / k for k in range(10, 101, 10)])),
        ('ndcg@k', 5, 0.753698),
        ('acg@k', 5, 0.6),
        ('wmap@k', 5, 0.805556),
    ],
)
def test_worked_example_1(name: str, k: int, expected: float) -> None:
    assert value(name, EXAMPLE, k) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('item_precision@k', 0.5625),
        ('item_recall@k', 0.666667),
        ('f1@k', 0.55),
        ('f1@k_of_means', 0.610169),
        ('f1_at_rank', 0.2),
        ('jaccard@k', (0.333333 + 0.625) / 2),
        ('ndcg@k', (0.337352 + 1) / 2),
        ('acg@k', 1),
    ],
)
def test_worked_example_3(name: str, expected: float) -> None:
    assert value(name, LABELS, 2) == pytest.approx(expected, abs=1e-6)


def test_worked_example_4() -> None:
    ranked = np.zeros((2, 10), bool)
    ranked[0, [0, 2, 3, 6]] = ranked[1, [1, 8]] = True
    ranking = Ranking(ranked, ranked.sum(1))
    assert value('anmrr', ranking, 5) == pytest.approx(0.348039, abs=1e-6)
    alone = Ranking(ranked[1:], np.array([2]), largest=4)
    assert value('anmrr', alone, 5) == pytest.approx(0.529412, abs=1e-6)


@pytest.mark.parametrize('name', METRICS)
def test_queries_without_relevant_items(name: str) -> None:
    none = Ranking(
        np.array([[True] * 4, [False] * 4]),
        np.array([4, 0]),
        gains=np.array([[1] * 4, [1] * 4]),
        ideal=np.ones((2, 4)),
        query_sizes=np.array([1, 1]),
        item_sizes=np.ones((2, 4)),
    )
    metric = METRICS[name]
    values = metric.values(none, 2)
    found = metric.summarize(values)
    assert (found.num_queries, found.num_empty) == (1, 1)
    everything = metric.summarize(values, empty='worst')
    assert (everything.num_queries, everything.num_empty) == (2, 1)
    if metric.higher_is_better:
        assert everything.mean <= found.mean
    else:
        assert everything.mean > found.mean
    assert math.isnan(metric.summarize(values[1:]).mean)


def test_median_of_ranks() -> None:
    metric = METRICS['median_rank']
    assert metric.summarize([1, 4, np.nan, 2, 9]).mean == 3
    assert metric.summarize([np.inf, np.inf]).mean == np.inf


def test_refuses_what_a_ranking_lacks() -> None:
    bare = Ranking(EXAMPLE.relevant, EXAMPLE.num_relevant)
    with pytest.raises(ValueError, match='give labels, not relevance'):
        METRICS['f1@k'].values(bare, 5)
    with pytest.raises(ValueError, match='needs gains'):
        METRICS['ndcg@k'].values(bare, 5)
    with pytest.raises(ValueError, match="'skip' or 'worst', found 'zero'"):
        METRICS['map'].summarize([1.0], empty='zero')  # ty: ignore
