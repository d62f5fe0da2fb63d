"""Rows at a border are tested when they matter, and once."""

import numpy as np

from torchgeo_cmr.search.where.border import Border


class Asked:
    """Even rows pass; remembers which were tested."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.rows += rows.tolist()
        return rows % 2 == 0


def test_of_given_rows_those_at_the_border_that_fail() -> None:
    test = Asked()
    border = Border(np.array([3, 4, 7, 9, 12]), test)
    assert len(border) == 5
    assert border.fail(np.array([0, 1, 4, 7, 20])).tolist() == [0, 0, 0, 1, 0]
    assert test.rows == [4, 7]
    assert border.tested(np.arange(20)).tolist() == [
        i for i in range(20) if i not in (3, 7, 9)
    ]
    assert sorted(test.rows) == [3, 4, 7, 9, 12]


def test_each_row_is_tested_once() -> None:
    test = Asked()
    border = Border(np.arange(5, 50), test)
    rng = np.random.default_rng(0)
    for _ in range(30):
        rows = np.unique(rng.integers(0, 60, 10))
        inside = (rows >= 5) & (rows < 50)
        assert border.fail(rows).tolist() == (inside & (rows % 2 == 1)).tolist()
    assert len(test.rows) == len(set(test.rows)) > 40


def test_rows_of_any_shape_and_order_each_as_often_as_it_comes() -> None:
    test = Asked()
    border = Border(np.array([3, 4, 7, 9]), test)
    rows = np.array([[9, 4, 1], [7, 9, 20], [4, 4, 3]])
    assert border.fail(rows).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert test.rows == [3, 4, 7, 9]
    assert border.fail(rows[:0]).shape == (0, 3)


def test_fewer_rows_than_lie_at_the_border() -> None:
    test = Asked()
    border = Border(np.arange(100), test)
    assert border.tested(np.array([5, 6, 50, 51, 200])).tolist() == [6, 50, 200]
    assert test.rows == [5, 6, 50, 51]


def test_nothing_at_the_border_or_nothing_given() -> None:
    test = Asked()
    nothing = np.empty(0, np.int64)
    assert Border(nothing, test).tested(np.arange(4)).tolist() == [0, 1, 2, 3]
    assert Border(np.arange(4), test).tested(nothing).tolist() == []
    assert test.rows == []
