import math

import numpy as np
import pytest

from torchgeo_cmr.metrics import functional as F


def ranking(*ranks: int, items: int = 10) -> list[bool]:
    return [i in ranks for i in range(1, items + 1)]


def test_worked_example_4() -> None:
    ranked = [ranking(1, 3, 4, 7), ranking(2, 9)]
    np.testing.assert_allclose(F.nmrr(ranked), [0.166667, 0.529412], atol=1e-6)
    assert F.anmrr(ranked) == pytest.approx(0.348039, abs=1e-6)
    # the second alone, told of the first
    assert F.nmrr(ranked[1:], largest=4) == pytest.approx(0.529412, abs=1e-6)
    # cut at rank K = 8
    cut = np.array(ranked)[:, :8]
    assert F.anmrr(cut, num_relevant=[4, 2]) == pytest.approx(0.348039, abs=1e-6)


def test_equals_loop_twin() -> None:
    ranked = np.random.default_rng(0).random((12, 40)) < 0.15
    ranked[:, 5] = True
    gtm = ranked.sum(1).max()
    for row, value in zip(ranked.tolist(), F.nmrr(ranked), strict=True):
        ranks = [i for i, hit in enumerate(row, start=1) if hit]
        ng = len(ranks)
        k = min(4 * ng, 2 * gtm)
        average = sum(r if r <= k else 1.25 * k for r in ranks) / ng
        expected = (average - 0.5 - ng / 2) / (1.25 * k - 0.5 * (1 + ng))
        assert value == pytest.approx(expected)


def test_best_and_worst() -> None:
    assert F.anmrr([ranking(1, 2, 3)]) == 0
    assert F.anmrr([ranking(18, 19, 20, items=20)]) == pytest.approx(1)


def test_queries_without_relevant_items_are_left_out() -> None:
    assert F.anmrr([ranking(1), ranking()]) == 0
    assert np.isnan(F.nmrr([ranking()])).all()
    assert math.isnan(F.anmrr([ranking()]))


def test_refuses_bad_input() -> None:
    with pytest.raises(ValueError, match='query 1 ends at rank 3, but ANMRR needs 8'):
        F.nmrr([[1, 1, 1], [1, 0, 0]], num_relevant=[3, 4])
    with pytest.raises(ValueError, match='2 or more, found 1'):
        F.nmrr([[1, 1]], largest=1)
