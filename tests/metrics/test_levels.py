"""Chance levels against the mean over every order of a small archive."""

import itertools

import numpy as np
import pytest

from torchgeo_cmr.metrics.functional import (
    CHANCE,
    METRICS,
    Pool,
    RandomOrder,
    Ranking,
    score_ranking,
)
from torchgeo_cmr.metrics.functional import LabelTruth as Truth

HOT = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 1], [0, 0, 0, 1]])
QUERY = np.array([[1, 1, 1, 0]])


@pytest.mark.parametrize('rule', ['any', 'exact', 'jaccard>=0.5'])
@pytest.mark.parametrize('k', [1, 3, 7])
def test_is_the_mean_over_all_orders(rule: str, k: int) -> None:
    judged = Truth(QUERY, HOT, rule)(slice(0, 1))
    assert judged.item_sizes is not None
    assert judged.query_sizes is not None
    orders = np.array(list(itertools.permutations(range(5))))
    num = np.repeat(judged.relevant.sum(axis=1), len(orders))
    gains = np.repeat(judged.gains, len(orders), axis=0)
    sizes = np.repeat(judged.query_sizes, len(orders))
    ideal = -np.sort(-gains, axis=1)
    ranking = Ranking(
        judged.relevant[0][orders],
        num,
        gains=judged.gains[0][orders],
        ideal=ideal,
        query_sizes=sizes,
        item_sizes=judged.item_sizes[orders],
        largest=4,
    )
    pool = Pool(
        num, np.full(len(orders), 5), gains, ideal, sizes, judged.item_sizes, largest=4
    )
    for name, level in CHANCE.items():
        expected = METRICS[name].values(ranking, k).mean(axis=0)
        found = level(pool, k)
        assert found.shape[0] == len(orders)
        np.testing.assert_allclose(found[0], expected, err_msg=name)


def test_agrees_with_random_orders() -> None:
    rng = np.random.default_rng(0)
    labels, found = rng.random((400, 6)) < 0.3, rng.random((90, 6)) < 0.3
    truth = Truth(labels, found)
    judged = truth(slice(0, 400))
    random = score_ranking(
        np.ones((400, 1)),
        np.ones((90, 1)),
        truth,
        names=CHANCE,
        ks=(5,),
        similarity=RandomOrder(0),
    )
    pool = Pool(
        random.num_relevant,
        random.num_items,
        judged.gains,
        query_sizes=judged.query_sizes,
        item_sizes=judged.item_sizes,
    )
    for label, metric in random.metrics.items():
        level = metric.summarize(CHANCE[metric.name](pool, 5))
        values = random.values[label].reshape(400, -1)[:, 0]
        error = np.nanstd(values) / np.sqrt(len(values))
        assert random.means()[label].mean == pytest.approx(level.mean, abs=4 * error)
        assert level.num_empty == random.means()[label].num_empty > 0


def test_only_ratios_and_medians_have_no_formula() -> None:
    assert {*METRICS} - {*CHANCE} == {'median_rank', 'wmap@k'}


def test_needs_what_it_compares() -> None:
    bare = Pool(np.array([1]), np.array([4]))
    with pytest.raises(ValueError, match='needs label sets, found none'):
        CHANCE['f1@k'](bare, 5)
    with pytest.raises(ValueError, match='needs gains, found none'):
        CHANCE['ndcg@k'](bare, 5)
