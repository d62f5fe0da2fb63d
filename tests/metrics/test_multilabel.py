import math
from collections.abc import Callable

import numpy as np
import pytest

from torchgeo_cmr.metrics import functional as F


def bits(*words: str) -> np.ndarray:
    return np.array([[int(c) for c in word] for word in words])


QUERY_1, ITEMS_1 = bits('11001'), bits('11000', '00110', '11001', '01111')
QUERY_2, ITEMS_2 = bits('00100'), bits('00100', '11110')


def sets(query: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, ...]:
    """Shared labels and sizes of one query and its items, in their order."""
    return F.shared_labels(query, items), query.sum(1), items.sum(1)[None]


def test_worked_example_2() -> None:
    shared, q, r = sets(QUERY_1, ITEMS_1)
    assert shared.tolist() == [[2, 0, 3, 2]]
    found = F.item_scores(shared, q, r)
    for name, expected in (
        ('precision', [1, 0, 1, 0.5]),
        ('recall', [0.666667, 0, 1, 0.666667]),
        ('f1', [0.8, 0, 1, 0.571429]),
        ('jaccard', [0.666667, 0, 1, 0.4]),
    ):
        np.testing.assert_allclose(getattr(found, name), [expected], atol=1e-6)
    for k, p, rec, f1 in ((4, 0.625, 0.583333, 0.592857), (2, 0.5, 0.333333, 0.4)):
        assert F.mean_at_k(found.precision, k) == pytest.approx(p, abs=1e-6)
        assert F.mean_at_k(found.recall, k) == pytest.approx(rec, abs=1e-6)
        assert F.f1_at_k(shared, q, r, k) == pytest.approx(f1, abs=1e-6)
    assert F.f1_at_k(shared, q, r) == pytest.approx(0.592857, abs=1e-6)
    assert F.f1_of_means(shared, q, r) == pytest.approx(0.603448, abs=1e-6)
    ranks = [F.f1_at_rank(shared, q, r, k).item() for k in (1, 2, 3, 4, 5)]
    np.testing.assert_allclose(ranks, [0.8, 0, 1, 0.571429, 0], atol=1e-6)


def test_worked_example_3() -> None:
    first, second = sets(QUERY_1, ITEMS_1[:2]), sets(QUERY_2, ITEMS_2)
    shared, q, r = (np.concatenate(pair) for pair in zip(first, second, strict=True))
    found = F.item_scores(shared, q, r)
    np.testing.assert_allclose(found.precision[1], [1, 0.25])
    np.testing.assert_allclose(found.recall[1], [1, 1])
    np.testing.assert_allclose(found.f1[1], [1, 0.4])
    assert F.mean_at_k(found.precision, 2).mean() == pytest.approx(0.5625)
    assert F.mean_at_k(found.recall, 2).mean() == pytest.approx(0.666667, abs=1e-6)
    assert F.f1_at_k(shared, q, r, 2).mean() == pytest.approx(0.55)
    assert F.f1_of_means(shared, q, r, 2) == pytest.approx(0.610169, abs=1e-6)


def test_equals_loop_twin() -> None:
    rng = np.random.default_rng(0)
    q, items = rng.random((6, 7)) < 0.4, rng.random((6, 9, 7)) < 0.4
    q[0], items[1, 2] = False, False
    shared = np.stack([F.shared_labels(q[i : i + 1], items[i])[0] for i in range(6)])
    found = F.item_scores(shared, q.sum(1), items.sum(2))
    for i, labels in enumerate(q):
        asked = set(np.flatnonzero(labels))
        total = 0.0
        for j, others in enumerate(items[i]):
            other = set(np.flatnonzero(others))
            n = len(asked & other)
            p = n / len(other) if other else 0
            r = n / len(asked) if asked else 0
            f1 = 2 * p * r / (p + r) if p + r else 0
            assert found.precision[i, j] == pytest.approx(p)
            assert found.recall[i, j] == pytest.approx(r)
            assert found.f1[i, j] == pytest.approx(f1)
            either = len(asked | other)
            assert found.jaccard[i, j] == pytest.approx(n / either if either else 0)
            total += f1 if j < 5 else 0
        value = F.f1_at_k(shared, q.sum(1), items.sum(2), 5)[i]
        assert value == pytest.approx(total / 5)


def test_one_label_a_patch_gives_precision() -> None:
    rng = np.random.default_rng(0)
    query, items = rng.integers(0, 3, 8), rng.integers(0, 3, 20)
    shared = F.shared_labels(np.eye(3)[query], np.eye(3)[items])
    one = np.ones(8), np.ones((8, 20))
    np.testing.assert_allclose(F.f1_at_k(shared, *one, 5), F.precision(shared, 5))
    assert F.f1_of_means(shared, *one, 5) == pytest.approx(
        F.precision(shared, 5).mean()
    )


def test_ranks_that_do_not_exist_and_no_queries() -> None:
    assert F.f1_at_k([[1]], [1], [[1]], 4) == pytest.approx(0.25)
    none = np.zeros((0, 3))
    assert math.isnan(F.f1_of_means(none, np.zeros(0), none))
    assert F.f1_of_means([[0]], [1], [[1]]) == 0


def test_order_of_the_classes_does_not_matter() -> None:
    order = [3, 1, 4, 0, 2]
    assert (
        F.shared_labels(QUERY_1[:, order], ITEMS_1[:, order]).tolist()
        == F.shared_labels(QUERY_1, ITEMS_1).tolist()
    )


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (
            lambda: F.shared_labels(np.ones((1, 2)), np.ones((1, 3))),
            r'found shapes \(1, 2\) and \(1, 3\)',
        ),
        (lambda: F.shared_labels([[2]], [[1]]), 'turn class ids into columns'),
        (lambda: F.item_scores([[1]], [1], [1]), 'item_sizes are'),
        (lambda: F.item_scores([[2]], [1], [[2]]), 'cannot share more'),
        (lambda: F.f1_at_k([[1]], [1], [[1]], 0), 'at least 1, found 0'),
        (lambda: F.f1_at_rank([[1]], [1], [[1]], 0), 'at least 1, found 0'),
    ],
)
def test_refuses_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
