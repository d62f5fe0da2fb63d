import numpy as np
import pytest

from torchgeo_cmr.datasets.cuts import cuts


@pytest.mark.parametrize('seed', range(5))
def test_pieces_of_a_scene_give_its_windows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = rng.random((60, 80))
    windows = np.c_[rng.integers(0, 49, (20, 1)), rng.integers(0, 67, (20, 1))]
    windows = np.hstack([windows, np.tile((11, 13), (20, 1))])
    pieces = [(r, c, 16, 16) for r in range(0, 60, 16) for c in range(0, 80, 16)]
    inside = [[i for i in range(20) if meets(windows[i], piece)] for piece in pieces]
    found = np.full((20, 11, 13), np.nan)
    for (row, column, *_), places in zip(
        pieces, cuts(windows, pieces, inside), strict=True
    ):
        pixels = scene[row : row + 16, column : column + 16]
        for i, there, here in places:
            assert np.isnan(found[i][there]).all(), 'a pixel came twice'
            found[i][there] = pixels[here]
    expected = [scene[r : r + h, c : c + w] for r, c, h, w in windows.tolist()]
    np.testing.assert_array_equal(found, expected)


def test_a_window_may_hang_over_the_edge() -> None:
    windows = np.array([[-2, -3, 8, 8]])
    ((_, there, here),) = next(cuts(windows, [(0, 0, 10, 10)], [[0]]))
    assert there == (slice(2, 8), slice(3, 8))
    assert here == (slice(0, 6), slice(0, 5))


def test_nothing_to_cut() -> None:
    assert list(cuts(np.empty((0, 4), np.int64), [], [])) == []
    assert list(cuts(np.array([[0, 0, 2, 2]]), [(9, 9, 4, 4)], [[]])) == [[]]


def meets(window: np.ndarray, piece: tuple[int, int, int, int]) -> bool:
    row, column, height, width = window.tolist()
    top, left, rows, columns = piece
    down = row < top + rows and top < row + height
    return down and column < left + columns and left < column + width
