import math
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torchmetrics.functional.retrieval import (
    retrieval_average_precision,
    retrieval_hit_rate,
    retrieval_precision,
    retrieval_recall,
    retrieval_reciprocal_rank,
)

from torchgeo_cmr.metrics import functional as F

EXAMPLE = np.array([[1, 0, 1, 1, 0, 0, 1, 0]])


@pytest.mark.parametrize(
    ('k', 'p', 'r', 'f', 'ap', 'hits', 'by_r'),
    [
        (1, 1, 0.25, 0.4, 1, 1, 0.25),
        (3, 0.666667, 0.5, 0.571429, 0.555556, 0.833333, 0.416667),
        (5, 0.6, 0.75, 0.666667, 0.604167, 0.805556, 0.604167),
        (8, 0.5, 1, 0.666667, 0.747024, 0.747024, 0.747024),
    ],
)
@pytest.mark.parametrize('dtype', [bool, np.int64, np.float32])
def test_worked_example_1(
    k: int,
    p: float,
    r: float,
    f: float,
    ap: float,
    hits: float,
    by_r: float,
    dtype: type,
) -> None:
    ranked = EXAMPLE.astype(dtype)
    found = [
        F.precision(ranked, k),
        F.recall(ranked, k),
        F.f1(ranked, k),
        F.average_precision(ranked, k),
        F.average_precision(ranked, k, normalization='hits'),
        F.average_precision(ranked, k, normalization='R'),
    ]
    np.testing.assert_allclose(np.ravel(found), [p, r, f, ap, hits, by_r], atol=1e-6)
    # a ranking cut after k ranks is enough if R is known
    cut = ranked[:, :k]
    np.testing.assert_allclose(F.recall(cut, k, num_relevant=[4]), r, atol=1e-6)
    np.testing.assert_allclose(
        F.average_precision(cut, k, num_relevant=[4]), ap, atol=1e-6
    )
    np.testing.assert_allclose(F.f1(cut, k, num_relevant=[4]), f, atol=1e-6)


def test_cmir_mean_of_precisions() -> None:
    mean = F.mean_of_precisions(EXAMPLE, (2, 4, 6, 8))
    assert mean == pytest.approx(0.5625)
    ranked = np.random.default_rng(0).random((3, 200)) < 0.2
    tens = np.mean([F.precision(ranked, k) for k in range(10, 101, 10)], axis=0)
    np.testing.assert_allclose(F.mean_of_precisions(ranked), tens)
    assert np.isnan(F.mean_of_precisions([[0, 0]])).all()
    with pytest.raises(ValueError, match='at least one cut-off'):
        F.mean_of_precisions(EXAMPLE, ())


def test_graded_relevance_counts_from_above_zero() -> None:
    graded = np.array([[2, 0, 3, 2]])
    assert F.average_precision(graded, 4) == pytest.approx(0.805556, abs=1e-6)
    np.testing.assert_array_equal(F.precision([[0, -1.0, 0.5]]), [1 / 3])


def twin(row: list[bool], k: int) -> dict[str, float]:
    """The definitions, rank by rank."""
    total, hits, sums, first = sum(row), 0, 0.0, 0
    for i, relevant in enumerate(row[:k], start=1):
        if relevant:
            hits += 1
            sums += hits / i
            first = first or i
    return {
        'precision': hits / k,
        'recall': hits / total,
        'f1': 2 * hits / (k + total),
        'hit_rate': float(hits > 0),
        'ap_min': sums / min(k, total),
        'ap_hits': sums / hits if hits else 0.0,
        'ap_R': sums / total,
    }


def test_equals_loop_twin_and_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    ranked = rng.random((20, 15)) < 0.3
    ranked[:, 14] = True
    scores = torch.arange(15, 0, -1).float()
    for k in (1, 4, 10, 15):
        found = {
            'precision': F.precision(ranked, k),
            'recall': F.recall(ranked, k),
            'f1': F.f1(ranked, k),
            'hit_rate': F.hit_rate(ranked, k),
            'ap_min': F.average_precision(ranked, k),
            'ap_hits': F.average_precision(ranked, k, normalization='hits'),
            'ap_R': F.average_precision(ranked, k, normalization='R'),
        }
        for q, row in enumerate(ranked.tolist()):
            for name, value in twin(row, k).items():
                assert found[name][q] == pytest.approx(value), name
            target = torch.tensor(row)
            theirs = {
                'precision': retrieval_precision(scores, target, k),
                'recall': retrieval_recall(scores, target, k),
                'hit_rate': retrieval_hit_rate(scores, target, k),
                'ap_hits': retrieval_average_precision(scores, target, k),
            }
            for name, value in theirs.items():
                assert found[name][q] == pytest.approx(value.item(), abs=1e-6), name
            mrr = retrieval_reciprocal_rank(scores, target).item()
            assert F.reciprocal_rank(ranked)[q] == pytest.approx(mrr)


def test_first_and_median_rank() -> None:
    ranked = [[0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    ranks = F.first_rank(ranked, num_relevant=[1, 2, 0, 5])
    np.testing.assert_array_equal(ranks, [3, 1, np.nan, np.inf])
    np.testing.assert_allclose(
        F.reciprocal_rank(ranked, num_relevant=[1, 2, 0, 5]), [1 / 3, 1, np.nan, 0]
    )
    assert F.median_rank(ranked, num_relevant=[1, 2, 0, 5]) == 3
    assert F.median_rank(ranked[:2]) == 2
    assert F.median_rank(ranked, num_relevant=[1, 2, 9, 5]) == math.inf
    assert math.isnan(F.median_rank([[0, 0]]))


def test_queries_without_relevant_items_are_skipped_and_counted() -> None:
    ranked = [[1, 0], [0, 0], [0, 1]]
    for metric in (F.precision, F.recall, F.f1, F.hit_rate, F.average_precision):
        assert np.isnan(metric(ranked)).tolist() == [False, True, False]
    assert F.mean_over_queries(F.recall(ranked, 1)) == (0.5, 2, 1)
    assert F.mean_over_queries(F.recall(ranked, 1), empty='zero') == (1 / 3, 3, 1)
    none = F.mean_over_queries([np.nan])
    assert math.isnan(none.mean)
    assert (none.num_queries, none.num_empty) == (0, 1)
    with pytest.raises(ValueError, match="'skip' or 'zero', found 'drop'"):
        F.mean_over_queries([1.0], empty='drop')  # ty: ignore[invalid-argument-type]


def test_ranks_that_do_not_exist_are_misses() -> None:
    assert F.precision([[1, 1]], 10) == pytest.approx(0.2)
    assert F.average_precision([[1, 1]], 10) == pytest.approx(1)


class TestRankRelevance:
    def test_high_scores_first_ties_in_archive_order_nan_last(self) -> None:
        scores = [[0.5, np.nan, 0.9, 0.5, -1.0]]
        assert F.rank_relevance(scores, [[1, 2, 3, 4, 5]]).tolist() == [[3, 1, 4, 5, 2]]
        assert F.rank_relevance(scores, [[1, 2, 3, 4, 5]], k=2).tolist() == [[3, 1]]

    def test_many_ties_keep_the_order_of_the_archive(self) -> None:
        # long rows, for sorting a short one happens to be stable in any case
        scores = np.random.default_rng(0).integers(0, 3, (1, 2000))
        ranked = F.rank_relevance(scores, np.arange(2000)[None])[0]
        expected = sorted(range(2000), key=lambda i: -scores[0, i])
        assert ranked.tolist() == expected

    def test_keeps_dtype_and_does_not_change_its_arguments(self) -> None:
        scores, relevance = np.array([[0.0, 1.0]]), np.array([[True, False]])
        exclude = np.array([[False, True]])
        ranked = F.rank_relevance(scores, relevance, exclude=exclude)
        assert ranked.dtype == bool
        assert ranked.tolist() == [[True, False]]
        assert scores.tolist() == [[0.0, 1.0]]
        assert relevance.tolist() == [[True, False]]

    def test_excluded_items_go_last_and_are_not_relevant(self) -> None:
        scores = [[0.9, -np.inf, 0.1]]
        ranked = F.rank_relevance(scores, [[1, 2, 3]], exclude=[[True, False, False]])
        assert ranked.tolist() == [[3, 2, 0]]

    def test_negative_scores_count_like_others(self) -> None:
        # torchmetrics ignores scores at or below 0
        ranked = F.rank_relevance([[-0.1, -0.5]], [[True, False]])
        assert F.recall(ranked, 1) == 1
        assert F.average_precision(ranked) == 1

    def test_order_of_the_archive_does_not_matter_without_ties(self) -> None:
        rng = np.random.default_rng(0)
        scores, relevance = rng.normal(size=(5, 12)), rng.random((5, 12)) < 0.4
        order = rng.permutation(12)
        np.testing.assert_array_equal(
            F.rank_relevance(scores, relevance),
            F.rank_relevance(scores[:, order], relevance[:, order]),
        )

    def test_refuses_what_does_not_fit(self) -> None:
        with pytest.raises(ValueError, match=r'found shapes \(1, 2\) and \(1, 3\)'):
            F.rank_relevance(np.zeros((1, 2)), np.zeros((1, 3)))
        with pytest.raises(ValueError, match='shape of scores'):
            F.rank_relevance(
                np.zeros((1, 2)), np.zeros((1, 2)), exclude=np.zeros((2, 2))
            )
        with pytest.raises(ValueError, match='k must be at least 1, found 0'):
            F.rank_relevance(np.zeros((1, 2)), np.zeros((1, 2)), k=0)


class TestChance:
    @pytest.mark.parametrize(
        ('num_relevant', 'num_items'), [(1, 1), (1, 6), (3, 6), (6, 6)]
    )
    def test_equals_the_mean_over_all_orders(
        self, num_relevant: int, num_items: int
    ) -> None:
        row = [i < num_relevant for i in range(num_items)]
        ranked = np.array(list(set(permutations(row))))
        for k in (1, 2, 4, num_items, num_items + 3):
            for exact, metric in (
                (F.expected_recall(num_relevant, num_items, k), F.recall(ranked, k)),
                (
                    F.expected_hit_rate(num_relevant, num_items, k),
                    F.hit_rate(ranked, k),
                ),
                (
                    F.expected_average_precision(num_relevant, num_items, k),
                    F.average_precision(ranked, k),
                ),
                (
                    F.expected_average_precision(
                        num_relevant, num_items, k, normalization='R'
                    ),
                    F.average_precision(ranked, k, normalization='R'),
                ),
                (
                    F.expected_average_precision(
                        num_relevant, num_items, k, normalization='hits'
                    ),
                    F.average_precision(ranked, k, normalization='hits'),
                ),
            ):
                assert exact == pytest.approx(metric.mean())
        full = F.expected_average_precision(num_relevant, num_items)
        assert full == pytest.approx(F.average_precision(ranked).mean())
        first = F.expected_reciprocal_rank(num_relevant, num_items)
        assert first == pytest.approx(F.reciprocal_rank(ranked).mean())
        share = F.expected_precision(num_relevant, num_items)
        assert share == pytest.approx(F.precision(ranked, min(2, num_items)).mean())

    def test_agrees_with_random_rankings(self) -> None:
        rng = np.random.default_rng(0)
        r, n, k = 30, 200, 10
        ranked = rng.permuted(np.tile(np.arange(n) < r, (4000, 1)), axis=1)
        for exact, drawn in (
            (F.expected_recall(r, n, k), F.recall(ranked, k)),
            (F.expected_hit_rate(r, n, k), F.hit_rate(ranked, k)),
            (F.expected_reciprocal_rank(r, n), F.reciprocal_rank(ranked)),
            (F.expected_average_precision(r, n), F.average_precision(ranked)),
            (F.expected_average_precision(r, n, k), F.average_precision(ranked, k)),
        ):
            error = drawn.std() / math.sqrt(len(drawn))
            assert abs(exact - drawn.mean()) < 4 * error

    def test_takes_one_number_per_query(self) -> None:
        found = F.expected_average_precision([1, 0, 2], [4, 4, 2])
        expected = [(1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, np.nan, 1]
        np.testing.assert_allclose(found, expected)
        np.testing.assert_allclose(
            F.expected_recall([1, 0, 2], 4, 1), [0.25, np.nan, 0.25]
        )
        np.testing.assert_allclose(
            F.expected_hit_rate([1, 0, 4], 4, 1), [0.25, np.nan, 1]
        )
        np.testing.assert_allclose(
            F.expected_reciprocal_rank([1, 0, 4], 4), [25 / 48, np.nan, 1]
        )
        np.testing.assert_allclose(
            F.expected_precision([1, 0, 4], 4), [0.25, np.nan, 1]
        )

    def test_refuses_impossible_counts(self) -> None:
        with pytest.raises(ValueError, match='found 5 of 4'):
            F.expected_recall([1, 5], 4, 1)
        with pytest.raises(ValueError, match="'min', 'hits' or 'R', found 'found'"):
            F.expected_average_precision(1, 4, normalization='found')  # ty: ignore


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: F.recall([1, 0]), r'\(queries, ranks\), found shape \(2,\)'),
        (lambda: F.recall([[1, 0]], 0), 'k must be at least 1, found 0'),
        (lambda: F.recall([[1, 0]], num_relevant=[1, 2]), 'one number per query, 1'),
        (
            lambda: F.recall([[1, 0], [1, 1]], num_relevant=[1, 1]),
            'query 1 has 2 relevant items in its ranking but num_relevant is 1',
        ),
        (
            lambda: F.average_precision([[1]], normalization='N'),  # ty: ignore
            "'min', 'hits' or 'R', found 'N'",
        ),
    ],
)
def test_refuses_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_needs_no_torch() -> None:
    code = (
        'import sys, torchgeo_cmr.metrics, torchgeo_cmr.metrics.functional; '
        'sys.exit("torch" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
