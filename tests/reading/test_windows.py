import numpy as np
import pytest

from torchgeo_cmr.reading.windows import cuts, strips


def random_windows(count: int, size: int, seed: int = 0) -> np.ndarray:
    places = np.random.default_rng(seed).integers(0, 2000, (count, 2))
    return np.c_[places, np.full((count, 2), size)].astype(np.int64)


@pytest.mark.parametrize('size', [16, 120, 700])
def test_each_window_lies_in_the_strip_that_holds_it(size: int) -> None:
    windows = random_windows(200, size)
    seen = []
    for (top, left, height, width), inside in strips(windows):
        for row, column, h, w in windows[inside]:
            assert top <= row
            assert left <= column
            assert row + h <= top + height
            assert column + w <= left + width
        seen += inside.tolist()
    assert sorted(seen) == list(range(200))


def test_windows_side_by_side_are_one_strip() -> None:
    windows = np.array([[40, c, 20, 20] for c in (60, 0, 40, 20)])
    ((strip, inside),) = strips(windows)
    assert strip == (40, 0, 20, 80)
    assert inside.tolist() == [1, 3, 2, 0]


def test_memory_stays_in_proportion_to_what_is_asked() -> None:
    windows = random_windows(300, 32)
    read = sum(height * width for (_, _, height, width), _ in strips(windows))
    assert read <= 1.25 * 300 * 32 * 32
    # whole rows of a wide scene are cut into pieces
    row = np.array([[0, c, 120, 120] for c in range(0, 10_920, 120)])
    sizes = [height * width for (_, _, height, width), _ in strips(row)]
    assert len(sizes) > 1
    assert max(sizes) <= 2**18


def test_a_window_larger_than_a_strip_is_read_whole() -> None:
    ((strip, _),) = strips(np.array([[0, 0, 1000, 1000]]))
    assert strip == (0, 0, 1000, 1000)


def test_nothing_asked_nothing_read() -> None:
    assert list(strips(np.empty((0, 4), np.int64))) == []


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
