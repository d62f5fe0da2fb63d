import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from torchgeo_cmr.metrics import functional as F
from torchgeo_cmr.metrics.functional import METRICS


def rows(num: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)


def labels(num: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).random((num, 6)) < 0.3


@pytest.fixture
def problem() -> tuple[np.ndarray, np.ndarray, F.LabelTruth]:
    return rows(30), rows(150, seed=1), F.LabelTruth(labels(30), labels(150, 3))


type Problem = tuple[np.ndarray, np.ndarray, F.LabelTruth]


def test_equals_the_functions_on_the_whole_table(problem: Problem) -> None:
    q, a, truth = problem
    found = F.score_ranking(q, a, truth, names=METRICS, ks=(3, 10))
    judged = truth(slice(0, 30))
    assert judged.item_sizes is not None
    assert judged.query_sizes is not None
    scores = F.dot_product(q, a)
    ranked = F.rank_relevance(scores, judged.relevant)
    gains = F.rank_relevance(scores, judged.gains)
    sets = (
        gains,
        judged.query_sizes,
        F.rank_relevance(scores, np.tile(judged.item_sizes, (30, 1))),
    )
    r = judged.relevant.sum(1)
    np.testing.assert_array_equal(found.num_relevant, r)
    np.testing.assert_array_equal(found.num_items, 150)
    some = r > 0
    for name, expected in (
        ('precision@3', F.precision(ranked, 3)),
        ('recall@10', F.recall(ranked, 10)),
        ('f1@10_binary', F.f1(ranked, 10)),
        ('hit_rate@3', F.hit_rate(ranked, 3)),
        ('mrr', F.reciprocal_rank(ranked)),
        ('mean_rank', F.first_rank(ranked)),
        ('map', F.average_precision(ranked)),
        ('map@10', F.average_precision(ranked, 10)),
        ('map@10_hits', F.average_precision(ranked, 10, normalization='hits')),
        ('map@10_R', F.average_precision(ranked, 10, normalization='R')),
        ('map_cmir', F.mean_of_precisions(ranked)),
        ('f1@3', np.where(some, F.f1_at_k(*sets, 3), np.nan)),
        ('f1_at_rank_10', np.where(some, F.f1_at_rank(*sets, 10), np.nan)),
        ('acg@10', F.average_cumulative_gain(gains, 10)),
        ('wmap@10', F.weighted_average_precision(gains, 10)),
        ('ndcg@3', F.ndcg(gains, 3)),
        ('ndcg@10_linear', F.ndcg(gains, 10, gain='linear')),
        ('anmrr', F.nmrr(ranked)),
    ):
        np.testing.assert_allclose(found.values[name], expected, err_msg=name)
    means = found.means()
    assert means['anmrr'].mean == pytest.approx(F.anmrr(ranked))
    assert means['median_rank'].mean == F.median_rank(ranked)
    everyone = [part[some] for part in sets]
    assert means['f1@3_of_means'].mean == pytest.approx(F.f1_of_means(*everyone, 3))
    assert 0 < means['f1@3'].num_empty < 30


@pytest.mark.parametrize('memory', [1, 30_000])
def test_blocks_change_nothing(problem: Problem, memory: int) -> None:
    q, a, truth = problem
    own = np.eye(30, 150, dtype=bool)
    whole = F.score_ranking(q, a, truth, names=METRICS, exclude=own)
    parts = F.score_ranking(q, a, truth, names=METRICS, exclude=own, memory=memory)
    for name, values in whole.values.items():
        np.testing.assert_allclose(parts.values[name], values, err_msg=name)


def test_a_cut_ranking_changes_nothing(problem: Problem) -> None:
    q, a, truth = problem
    names = [n for n, metric in METRICS.items() if metric.depth != 'all']
    whole = F.score_ranking(q, a, truth, names=METRICS, ks=(5,))
    cut = F.score_ranking(q, a, truth, names=names, ks=(5,))
    for name, values in cut.values.items():
        np.testing.assert_allclose(values, whole.values[name], err_msg=name)


def test_order_of_the_archive_does_not_matter_without_ties(problem: Problem) -> None:
    q, a, truth = problem
    mixed = np.random.default_rng(0).permutation(150)
    other = F.LabelTruth(labels(30), labels(150, 3)[mixed])
    first = F.score_ranking(q, a, truth, names=METRICS)
    again = F.score_ranking(q, a[mixed], other, names=METRICS)
    for name, values in first.values.items():
        np.testing.assert_allclose(again.values[name], values, err_msg=name)


def test_excluded_items_are_not_there() -> None:
    a, ids = rows(40), np.arange(40) % 5
    own = np.eye(40, dtype=bool)
    found = F.score_ranking(
        a, a, F.LabelTruth(ids, ids), names=['map', 'ndcg@k'], exclude=own
    )
    assert (found.num_relevant == 7).all()
    assert (found.num_items == 39).all()
    for i in (0, 17):
        rest = np.delete(np.arange(40), i)
        alone = F.score_ranking(
            a[i : i + 1],
            a[rest],
            F.LabelTruth(ids[i : i + 1], ids[rest]),
            names=['map', 'ndcg@k'],
        )
        for name, values in alone.values.items():
            assert found.values[name][i] == pytest.approx(values[0])


def test_chance_of_any_metric() -> None:
    ids = np.arange(300) % 3
    found = F.score_ranking(
        rows(300),
        rows(300),
        F.LabelTruth(ids, ids),
        names=['map', 'precision@k', 'f1@k', 'mrr', 'ndcg@k'],
        similarity=F.RandomOrder(0),
    ).means()
    assert found['map'].mean == pytest.approx(
        float(F.expected_average_precision(100, 300)), abs=0.01
    )
    assert found['mrr'].mean == pytest.approx(
        float(F.expected_reciprocal_rank(100, 300)), abs=0.06
    )
    for name in ('precision@10', 'f1@10', 'ndcg@10'):
        assert found[name].mean == pytest.approx(1 / 3, abs=0.03)


def test_constant_encoder_earns_what_the_order_of_the_archive_gives() -> None:
    ids = np.random.default_rng(0).integers(0, 4, 500)
    one = np.full((500, 16), 0.25, np.float32)
    found = F.score_ranking(one, one, F.LabelTruth(ids, ids), names=['map'])
    chance = F.expected_average_precision(found.num_relevant, 500).mean()
    assert found.means()['map'].mean == pytest.approx(chance, abs=0.03)


def test_means_of_some_queries(problem: Problem) -> None:
    q, a, truth = problem
    found = F.score_ranking(q, a, truth, names=['map', 'f1@k_of_means'], ks=(5,))
    few = np.array([3, 3, 7])
    values = found.values['map'][few]
    assert found.means(few)['map'].mean == pytest.approx(np.nanmean(values))
    mask = np.arange(30) < 10
    assert found.means(mask) == found.means(np.arange(10))
    assert found.means(empty='worst')['map'].num_queries == 30


@pytest.mark.slow
@pytest.mark.parametrize('constant', [False, True])
def test_stays_within_memory(constant: bool) -> None:
    # scaled down: one table of 1,000 x 12,000 float32 would take 48 MB
    q, a = rows(1000), rows(12_000, seed=1)
    if constant:
        q[:], a[:] = 1, 1
    truth = F.LabelTruth(np.arange(1000) % 19, np.arange(12_000) % 19)
    memory = 16 * 2**20
    for names in (['map@k', 'ndcg@k', 'f1@k'], ['map', 'mrr', 'ndcg@k']):
        tracemalloc.start()
        try:
            few = slice(0, 1000 if 'map' not in names else 100)
            found = F.score_ranking(
                q[few],
                a,
                lambda part: truth(part),
                names=names,
                exclude=lambda part: (
                    np.arange(part.start, part.stop)[:, None] == np.arange(12_000)
                ),
                memory=memory,
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < (1.5 if constant else 1) * memory
        assert len(found.num_relevant) == few.stop


def test_no_queries() -> None:
    truth = F.LabelTruth(np.zeros(0, int), [0])
    found = F.score_ranking(rows(0), rows(1), truth, names=METRICS)
    assert all(len(values) == 0 for values in found.values.values())
    assert np.isnan(found.means()['map'].mean)


def test_refuses_bad_input(problem: Problem) -> None:
    q, a, truth = problem
    with pytest.raises(ValueError, match="no metric 'mAP': choose from precision@k"):
        F.score_ranking(q, a, truth, names=['mAP'])
    with pytest.raises(ValueError, match='at least one cut-off'):
        F.score_ranking(q, a, truth, names=['map'], ks=())
    with pytest.raises(ValueError, match='at least 1, found 0'):
        F.score_ranking(q, a, truth, names=['map'], ks=(0,))
    with pytest.raises(ValueError, match=r'must judge .* \(30, 9\), found \(30, 150\)'):
        F.score_ranking(q, a[:9], truth, names=['map'])
    with pytest.raises(ValueError, match='give labels, not relevance'):
        F.score_ranking(q, a, F.MatrixTruth(np.ones((30, 150))), names=['f1@k'])


def test_needs_neither_torch_nor_geometry() -> None:
    code = (
        'import sys, torchgeo_cmr.metrics.functional as F\n'
        'F.score_ranking([[1.0]], [[1.0]], F.LabelTruth([0], [0]), names=F.METRICS)\n'
        'heavy = {"torch", "scipy", "pandas", "shapely"} & set(sys.modules)\n'
        'sys.exit(", ".join(heavy) or 0)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, '')
