"""R-precision, MAP@R and capped recall against a loop over ranks and torchmetrics."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_r_precision

from torchgeo_cmr.metrics import functional as F
from torchgeo_cmr.metrics.functional import METRICS, Ranking

EXAMPLE = [[1, 0, 1, 1, 0, 0, 1, 0]]


def twin(row: list[bool], k: int) -> dict[str, float]:
    """The definitions, rank by rank."""
    total = sum(row)
    hits = sum(row[:k])
    first, sums = 0, 0.0
    for rank, hit in enumerate(row[:total], 1):
        first += hit
        sums += hit * first / rank
    p, c = hits / k, hits / min(k, total)
    return {
        'r_precision': first / total,
        'map@R': sums / total,
        'recall@k_capped': c,
        'f1@k_capped': 2 * p * c / (p + c) if hits else 0.0,
    }


def test_equals_loop_twin_and_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    ranked = rng.random((60, 30)) < rng.random((60, 1))
    ranked = ranked[ranked.any(axis=1)]
    ranking = Ranking(ranked, ranked.sum(axis=1))
    for k in (1, 4, 30, 40):
        rows = [twin(row.tolist(), k) for row in ranked]
        for name in rows[0]:
            expected = [row[name] for row in rows]
            np.testing.assert_allclose(METRICS[name].values(ranking, k), expected)
    scores = torch.arange(30, 0, -1).float()
    theirs = [retrieval_r_precision(scores, torch.tensor(row)) for row in ranked]
    np.testing.assert_allclose(F.r_precision(ranked), np.stack(theirs), rtol=1e-6)


def test_worked_example() -> None:
    assert F.r_precision(EXAMPLE) == pytest.approx(3 / 4)
    assert F.average_precision_at_r(EXAMPLE) == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    assert F.capped_recall(EXAMPLE, 3) == pytest.approx(2 / 3)
    assert F.capped_f1(EXAMPLE, 3) == pytest.approx(2 / 3)
    # R = 4 is below k = 8: all were found, half of the ranks are hits
    assert F.capped_recall(EXAMPLE, 8) == 1
    assert F.capped_f1(EXAMPLE, 8) == pytest.approx(2 * 4 / (8 + 4))


def test_a_perfect_ranking_scores_one_whatever_r_is() -> None:
    ranked = np.arange(10) < np.array([[1], [4], [10]])
    for found in (
        F.r_precision(ranked),
        F.average_precision_at_r(ranked),
        F.capped_recall(ranked, 3),
    ):
        np.testing.assert_array_equal(found, 1)
    np.testing.assert_allclose(F.capped_f1(ranked, 3), [0.5, 1, 1])


def test_nothing_relevant_and_ranks_that_do_not_exist() -> None:
    ranked, total = [[0, 0], [1, 0]], [0, 4]
    for found, expected in (
        (F.r_precision(ranked, num_relevant=total), 0.25),
        (F.average_precision_at_r(ranked, num_relevant=total), 0.25),
        (F.capped_recall(ranked, 3, num_relevant=total), 1 / 3),
        (F.capped_f1(ranked, 3, num_relevant=total), 1 / 3),
    ):
        np.testing.assert_allclose(found, [np.nan, expected])
    with pytest.raises(ValueError, match='k must be at least 1'):
        F.capped_f1(ranked, 0)
