from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from torchgeo_cmr.datasets.blocks import Blocks

Writer = Callable[..., Path]

#: Bytes of one block: two bands of 16 x 16 pixels of uint16.
BLOCK = 2 * 16 * 16 * 2


class Counting:
    """An open file that says how many blocks were decoded."""

    def __init__(self, file: Any, decoded: list[tuple[int, int]]) -> None:
        self.file, self.decoded = file, decoded

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def read(self, indexes: Any, *, window: Any, out: Any) -> None:
        self.decoded.append((window.row_off, window.col_off))
        self.file.read(indexes, window=window, out=out)


class Scene:
    """A tiled file of 80 x 72 pixels, and what is read of it."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.blocks = str(path), Blocks(limit)
        self.decoded: list[tuple[int, int]] = []
        with rasterio.open(path) as file:
            self.pixels = file.read()

    def open(self, number: int) -> Any:
        return Counting(rasterio.open(self.path), self.decoded)

    def read(self, windows: list[tuple[int, int, int, int]]) -> np.ndarray:
        """Put the pieces together; what no window touches stays 0."""
        found = np.zeros_like(self.pixels)
        for top, left, piece in self.blocks.pieces(
            self.path, self.open, [1, 2], np.array(windows)
        ):
            _, height, width = piece.shape
            found[:, top : top + height, left : left + width] = piece
        return found


@pytest.fixture
def scene(write_raster: Writer) -> Callable[[int], Scene]:
    def make(slots: int) -> Scene:
        noise = np.random.default_rng(0).integers(1, 9999, (2, 80, 72))
        path = write_raster(
            'a.tif',
            data=noise,
            bands=('x', 'y'),
            dtype='uint16',
            tiled=True,
            blockxsize=16,
            blockysize=16,
            interleave='pixel',
        )
        # thin blocks are decoded together: here 64 rows of each column
        return Scene(path, slots * 4 * BLOCK)

    return make


def test_pieces_are_the_pixels_of_the_file(scene: Callable[[int], Scene]) -> None:
    small = scene(4)
    np.testing.assert_array_equal(small.read([(0, 0, 80, 72)]), small.pixels)
    assert len(small.decoded) == 10
    part = small.read([(70, 60, 40, 40), (-9, -9, 10, 10), (200, 0, 8, 8)])
    assert (part[:, 64:, 48:] == small.pixels[:, 64:, 48:]).all()
    assert (part[:, :64, :16] == small.pixels[:, :64, :16]).all()
    assert not part[:, :64, 16:].any()


def test_blocks_in_use_are_decoded_once(scene: Callable[[int], Scene]) -> None:
    large = scene(40)
    for row in range(0, 80, 20):
        large.read([(row, column, 20, 18) for column in range(0, 72, 18)])
    assert len(large.decoded) == len(set(large.decoded)) == 10


def test_blocks_that_come_back_are_given_more_room(
    scene: Callable[[int], Scene],
) -> None:
    wide = scene(40)
    places = [(0, column, 8, 8) for column in (0, 16, 32, 48, 64)]
    for _ in range(6):
        for place in places:
            wide.read([place])
    again = len(wide.decoded)
    assert again < 6 * len(places)
    for place in places:
        wide.read([place])
    assert len(wide.decoded) == again


def test_any_order_gives_the_same_pixels_in_little_room(
    scene: Callable[[int], Scene],
) -> None:
    tight = scene(4)
    rng = np.random.default_rng(1)
    for _ in range(30):
        row, column = rng.integers(0, 60, 2).tolist()
        found = tight.read([(row, column, 12, 12), (column, row, 12, 12)])
        for top, left in ((row, column), (column, row)):
            here = slice(top, top + 12), slice(left, left + 12)
            np.testing.assert_array_equal(found[:, *here], tight.pixels[:, *here])


def test_a_file_that_breaks_leaves_the_room_whole(
    scene: Callable[[int], Scene],
) -> None:
    broken = scene(4)
    read = Counting.read

    def fails(self: Counting, indexes: Any, *, window: Any, out: Any) -> None:
        raise OSError('cut short')

    Counting.read = fails
    try:
        for _ in range(5):
            with pytest.raises(OSError, match='cut short'):
                broken.read([(0, 0, 80, 72)])
    finally:
        Counting.read = read
    np.testing.assert_array_equal(broken.read([(0, 0, 80, 72)]), broken.pixels)


def test_blocks_too_large_to_keep_do_not_fit(scene: Callable[[int], Scene]) -> None:
    with rasterio.open(scene(4).path) as file:
        assert Blocks(4 * 4 * BLOCK).fit(file, [1, 2])
        assert not Blocks(4 * 4 * BLOCK - 1).fit(file, [1, 2])
