from collections.abc import Callable

import numpy as np
import pytest

from torchgeo_cmr.metrics import functional as F

ALL = slice(0, None)


def test_rules_equal_set_twins() -> None:
    rng = np.random.default_rng(0)
    q, a = rng.random((9, 5)) < 0.4, rng.random((14, 5)) < 0.4
    a[0], a[1], q[2], a[2] = q[0], q[1], False, False
    rules: dict[str, Callable[[set, set], bool]] = {
        'any': lambda x, y: bool(x & y),
        'exact': lambda x, y: bool(x) and x == y,
        'jaccard>=0.5': lambda x, y: bool(x & y) and len(x & y) >= len(x | y) / 2,
        'jaccard>=1': lambda x, y: bool(x) and x == y,
    }
    asked, there = ([set(np.flatnonzero(row)) for row in rows] for rows in (q, a))
    for rule, twin in rules.items():
        found = F.LabelTruth(q, a, rule)(ALL)
        assert found.relevant.tolist() == [[twin(x, y) for y in there] for x in asked]
        assert found.gains.tolist() == [[len(x & y) for y in there] for x in asked]
        assert found.query_sizes is not None
        assert found.item_sizes is not None
        assert found.query_sizes.tolist() == q.sum(1).tolist()
        assert found.item_sizes.tolist() == a.sum(1).tolist()


def test_jaccard_at_its_threshold() -> None:
    # 7 of 13: a product of float32 is a little more than 7
    q, a = [[1] * 10 + [0] * 3], [[0] * 3 + [1] * 10]
    assert F.LabelTruth(q, a, f'jaccard>={7 / 13}')(ALL).relevant.all()
    assert not F.LabelTruth(q, a, 'jaccard>=0.539')(ALL).relevant.any()


def test_class_ids_and_unknown_ones() -> None:
    found = F.LabelTruth([7, -1], [7, 10**9, -1])(ALL)
    assert found.relevant.tolist() == [[True, False, False], [False] * 3]


def test_slices() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 10)
    truth = F.LabelTruth(labels, labels)
    np.testing.assert_array_equal(truth(slice(2, 5)).relevant, truth(ALL).relevant[2:5])
    table = F.MatrixTruth([[0, 2.0], [1, 0]])(slice(0, 1))
    assert table.relevant.tolist() == [[False, True]]
    assert table.gains.tolist() == [[0, 2]]
    assert table.item_sizes is None


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: F.LabelTruth([0], [0], 'most'), "found 'most'"),
        (lambda: F.LabelTruth([0], [0], 'jaccard>=0'), 'above 0, up to 1'),
        (lambda: F.LabelTruth([0], [0], 'jaccard>=x'), "found 'jaccard>=x'"),
        (lambda: F.LabelTruth([0], [[1]]), r'found shapes \(1,\) and \(1, 1\)'),
        (lambda: F.LabelTruth([[1, 0]], [[1]]), r'found shapes \(1, 2\) and \(1, 1\)'),
        (lambda: F.LabelTruth([[2]], [[1]]), '0 or 1, found other values'),
        (lambda: F.LabelTruth([0.5], [1]), 'whole numbers, found float64'),
        (lambda: F.MatrixTruth([1]), r'found shape \(1,\)'),
        (lambda: F.MatrixTruth([[-1]]), 'at least 0'),
    ],
)
def test_refuses_bad_input(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
