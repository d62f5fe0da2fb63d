import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_normalized_dcg

from torchgeo_cmr.metrics import functional as F
from torchgeo_cmr.metrics.relevance_grades import dcg

GAINS = np.array([[2, 0, 3, 2]])


def test_worked_example() -> None:
    found = [F.average_cumulative_gain(GAINS, k).item() for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, [2, 1, 1.666667, 1.75], atol=1e-6)
    assert F.average_precision(GAINS, 4) == pytest.approx(0.805556, abs=1e-6)
    wap = F.weighted_average_precision(GAINS, 4)
    assert wap == pytest.approx(1.805556, abs=1e-6)
    assert F.ndcg(GAINS, 4) == pytest.approx(0.749753, abs=1e-6)
    assert dcg(GAINS, 'exp') == pytest.approx(7.792030, abs=1e-6)
    assert dcg(np.array([[3, 2, 2, 0]]), 'exp') == pytest.approx(10.392789, abs=1e-6)
    assert F.ndcg(GAINS, 4, gain='linear') == pytest.approx(0.828862, abs=1e-6)
    assert F.ndcg(GAINS, 2) == pytest.approx(0.337352, abs=1e-6)


def test_wap_divides_by_the_rank_once() -> None:
    # the precursor's code does it twice
    twice = [F.average_cumulative_gain(GAINS, k).item() / k for k in (1, 3, 4)]
    assert np.mean(twice) == pytest.approx(0.997685, abs=1e-6)
    assert F.weighted_average_precision(GAINS, 4).item() > 1.8


def test_ideal_is_that_of_the_whole_archive() -> None:
    cut = GAINS[:, :2]
    # the trap: taken from what was retrieved, a bad ranking is perfect
    assert F.ndcg(cut, 2) == pytest.approx(1)
    for ideal in ([[2, 0, 3, 2]], [[3, 2, 2, 0]], [[3, 2]]):
        assert F.ndcg(cut, 2, ideal=ideal) == pytest.approx(0.337352, abs=1e-6)


def test_binary_ndcg_of_worked_example_1() -> None:
    ranked = [[1, 0, 1, 1, 0, 0, 1, 0]]
    for gain in ('exp', 'linear'):
        assert F.ndcg(ranked, 5, gain=gain) == pytest.approx(0.753698, abs=1e-6)


def test_equals_loop_twin_and_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    gains = rng.integers(0, 4, (10, 12))
    gains[:, 11] = 1
    scores = torch.arange(12, 0, -1).float()
    for k in (1, 5, 12):
        acg = F.average_cumulative_gain(gains, k)
        wap = F.weighted_average_precision(gains, k)
        exp, linear = F.ndcg(gains, k), F.ndcg(gains, k, gain='linear')
        for q, row in enumerate(gains.tolist()):
            sums, hits = 0.0, 0
            for i in range(1, k + 1):
                if row[i - 1] > 0:
                    sums, hits = sums + sum(row[:i]) / i, hits + 1
            assert acg[q] == pytest.approx(sum(row[:k]) / k)
            assert wap[q] == pytest.approx(sums / hits if hits else 0)
            dcg, best = (
                sum((2**g - 1) / math.log2(i + 2) for i, g in enumerate(order[:k]))
                for order in (row, sorted(row, reverse=True))
            )
            assert exp[q] == pytest.approx(dcg / best)
            theirs = retrieval_normalized_dcg(scores, torch.tensor(row), k)
            assert linear[q] == pytest.approx(theirs.item(), abs=1e-6)


def test_queries_without_relevant_items_have_no_value() -> None:
    gains = [[0, 0], [0, 1]]
    for metric in (F.average_cumulative_gain, F.weighted_average_precision, F.ndcg):
        assert np.isnan(metric(gains)).tolist() == [True, False]
    # nothing found, but something to find
    for metric in (F.average_cumulative_gain, F.weighted_average_precision):
        assert metric([[0, 0]], num_relevant=[3]) == 0
    assert F.ndcg([[0, 0]], ideal=[[1, 0]]) == 0


def test_beyond_the_archive() -> None:
    assert F.average_cumulative_gain([[2, 2]], 4) == pytest.approx(1)
    assert F.ndcg([[2, 2]], 4) == pytest.approx(1)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: F.ndcg([[1]], gain='log'), "'exp' or 'linear', found 'log'"),  # ty: ignore
        (lambda: F.ndcg([[-1]]), 'finite and at least 0'),
        (lambda: F.average_cumulative_gain([[math.nan]]), 'finite and at least 0'),
        (lambda: F.ndcg([[3, 1]], ideal=[[2, 1]]), 'the whole archive'),
        (lambda: F.ndcg([[1]], ideal=[[1], [1]]), 'one row per query, 1, found 2'),
        (lambda: F.weighted_average_precision([[1]], 0), 'at least 1, found 0'),
    ],
)
def test_refuses_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_ndcg_narrower_than_its_ideal() -> None:
    gains, ideal = [[3, 0, 2]], [[3, 3, 2, 1, 0, 0]]
    assert F.ndcg(gains, ideal=ideal) == F.ndcg(gains, 3, ideal=ideal)
    assert F.ndcg(gains, ideal=ideal) < 1
    assert F.ndcg([[3, 3, 2]], ideal=ideal) == [1]
    with pytest.raises(
        ValueError, match='ends at rank 3 and its ideal has gains up to rank 4'
    ):
        F.ndcg(gains, 4, ideal=ideal)
    # An archive of three items has no fourth to be found.
    assert F.ndcg(gains, 4, ideal=[[3, 3, 2, 0, 0]]) == F.ndcg(gains, 3, ideal=ideal)
    with pytest.raises(ValueError, match='ideal has 2 gains and the ranking 3'):
        F.ndcg(gains, ideal=[[3, 3]])
