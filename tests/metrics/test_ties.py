"""Ties against the mean over all orders of the tied items, and a constant encoder against chance."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.metrics import functional as F
from torchgeo_cmr.metrics.functional import CHANCE, METRICS, LabelTruth, Pool

ITEMS, QUERIES = 5, 12


def _coarse(rng: np.random.Generator, rows: int, levels: int) -> np.ndarray:
    """Vectors of few whole numbers, so that many products are equal."""
    vectors = rng.integers(0, levels, size=(rows, 2)).astype(np.float32)
    vectors[:, 0] += 1
    return vectors


def _every_order(
    scores: np.ndarray, truth: F.Truth, exclude: np.ndarray, ks: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Mean of each metric over all orders of the archive, each ranked by a stable sort."""
    sums: dict[str, np.ndarray] = {}
    judged = truth(slice(0, len(scores)))
    gains = np.where(exclude, 0, judged.gains)
    relevant = judged.relevant & ~exclude
    count, largest = 0, int(relevant.sum(1).max())
    best = -np.sort(-gains, axis=1)
    for order in permutations(range(scores.shape[1])):
        mixed = np.array(order)
        costs = np.where(exclude, np.inf, -scores)[:, mixed]
        rows = mixed[np.argsort(costs, axis=1, kind='stable')]
        ranking = F.Ranking(
            np.take_along_axis(relevant, rows, axis=1),
            relevant.sum(1),
            np.take_along_axis(gains, rows, axis=1),
            best,
            judged.query_sizes,
            None if judged.item_sizes is None else judged.item_sizes[rows],
            largest,
        )
        count += 1
        for name, metric in METRICS.items():
            for k in ks:
                value = metric.values(ranking, k)
                label = metric.label(k)
                if label == name and k != ks[0]:
                    continue
                sums[label] = sums.get(label, 0) + value
    return {name: value / count for name, value in sums.items()}


@pytest.mark.slow
@pytest.mark.parametrize('seed', [1, 3])
def test_mean_over_every_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ks = (1, 2, 4, 9)
    queries = _coarse(rng, QUERIES, 3)
    archive = _coarse(rng, ITEMS, (1, 2, 2, 3)[seed])
    truth = LabelTruth(rng.random((QUERIES, 4)) < 0.5, rng.random((ITEMS, 4)) < 0.4)
    exclude = rng.random((QUERIES, ITEMS)) < (0, 0, 0.2, 0.3)[seed]
    expected = _every_order(queries @ archive.T, truth, exclude, ks)
    found = F.score_ranking(
        queries, archive, truth, names=METRICS, ks=ks, exclude=exclude
    )
    assert set(found.values) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(
            found.values[name], values, atol=1e-12, err_msg=f'{name} of seed {seed}'
        )


@pytest.mark.parametrize('name', METRICS)
def test_the_order_of_the_archive_does_not_matter(name: str) -> None:
    rng = np.random.default_rng(5)
    queries, archive = _coarse(rng, 40, 3), _coarse(rng, 150, 3)
    asked, held = rng.random((40, 6)) < 0.3, rng.random((150, 6)) < 0.3
    values = []
    for order in (
        np.arange(150),
        np.lexsort(held.T),
        np.lexsort(held.T)[::-1],
        rng.permutation(150),
    ):
        truth = LabelTruth(asked, held[order])
        for memory in (1, 2**28):
            found = F.score_ranking(
                queries,
                archive[order],
                truth,
                names=[name],
                ks=(1, 3, 10, 140, 200),
                memory=memory,
            )
            values.append(found.values)
    for other in values[1:]:
        for label, value in values[0].items():
            np.testing.assert_allclose(other[label], value, atol=1e-12, err_msg=label)


def test_a_cut_ranking_sees_the_whole_run_at_its_end() -> None:
    """The few ranks that metrics with a cut-off need give what the full ranking gives."""
    rng = np.random.default_rng(6)
    queries, archive = _coarse(rng, 40, 4), _coarse(rng, 900, 4)
    truth = LabelTruth(rng.random((40, 6)) < 0.3, rng.random((900, 6)) < 0.3)
    names = [name for name, metric in METRICS.items() if metric.depth == 'k']
    full = F.score_ranking(queries, archive, truth, names=[*names, 'map'], ks=(3, 10))
    cut = F.score_ranking(queries, archive, truth, names=names, ks=(3, 10))
    for name, values in cut.values.items():
        np.testing.assert_allclose(full.values[name], values, atol=1e-12, err_msg=name)


@pytest.mark.parametrize('fill', [1.0, np.nan])
@pytest.mark.parametrize('ending', ['sorted', 'reversed', 'shuffled'])
def test_an_encoder_that_knows_nothing_scores_chance(fill: float, ending: str) -> None:
    rng = np.random.default_rng(7)
    ids = np.repeat(np.arange(6), [150, 30, 30, 30, 30, 30])
    order = {
        'sorted': np.arange(300),
        'reversed': np.arange(300)[::-1],
        'shuffled': rng.permutation(300),
    }[ending]
    same = np.full((300, 4), fill, dtype=np.float32)
    exclude = np.eye(300, dtype=bool)[:, order]
    truth = LabelTruth(ids, ids[order])
    found = F.score_ranking(
        same, same, truth, names=CHANCE, ks=(1, 10, 50), exclude=exclude
    )
    judged = truth(slice(0, 300))
    gains = np.where(exclude, 0, judged.gains)
    relevant = judged.relevant & ~exclude
    pool = Pool(
        relevant.sum(1),
        found.num_items,
        gains,
        None,
        judged.query_sizes,
        judged.item_sizes,
        int(relevant.sum(1).max()),
    )
    for name, level in CHANCE.items():
        for k in (1, 10, 50):
            value = found.values[METRICS[name].label(k)]
            np.testing.assert_allclose(value, level(pool, k), err_msg=name)


def test_ties_are_equal_in_float32() -> None:
    """What differs in the last bit of float32 is in order; what differs by less is tied."""
    one = np.float64(1)
    for step, value in ((2.0**-24, 1.0), (2.0**-30, 0.75)):
        archive = np.array([[one], [one - step]])
        truth = LabelTruth([0], [0, 1])
        found = F.score_ranking(np.ones((1, 1)), archive, truth, names=['mrr'])
        assert found.values['mrr'].tolist() == [value]


@pytest.mark.parametrize(
    'similarity',
    [F.dot_product, F.euclidean_similarity, lambda q, a: -F.chi_square(q, a)],
)
@pytest.mark.parametrize('dim', [3, 8, 129])
def test_equal_rows_score_equal(similarity: Any, dim: int) -> None:
    rows = np.random.default_rng(8).random((7, dim)).astype(np.float32)
    many = np.tile(rows, (143, 1))
    scores = similarity(rows, many)
    assert (scores == np.tile(scores[:, :7], (1, 143))).all()
    alike = similarity(many[::7], many[::7])
    assert (alike == alike[0, 0]).all()


def test_runs() -> None:
    nan = np.nan
    ties = F.find_ties(np.array([[3, 3, 2, 1, 1, 1], [5, 4, 4, 3, nan, nan]]))
    assert ties is not None
    assert ties.query.tolist() == [0, 0, 1]
    assert ties.start.tolist() == [0, 3, 1]
    assert ties.size.tolist() == [2, 3, 2]
    values = np.arange(12).reshape(2, 6)
    assert ties.sums(values).tolist() == [1, 12, 15]
    assert ties.smooth(values, 4).tolist() == [[0.5, 0.5, 2, 4], [6, 7.5, 7.5, 9]]
    assert ties.end(4) == 6
    assert ties.end(3) == 3
    assert F.find_ties(np.array([[3.0, 2.0, nan, nan]])) is None
    assert F.find_ties(np.empty((0, 3))) is None
    assert F.find_ties(np.empty((3, 0))) is None
