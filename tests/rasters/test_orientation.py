"""Orientation: every way to store one picture gives the same pixels with north at the top."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from torchgeo_cmr.datasets.benchmarks.chips import open_chip, read_chip
from torchgeo_cmr.rasters.orientation import NorthUp, Turn, north_up, upright
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.scene import Scene, assemble, bands_of

Writer = Callable[..., Path]

TURNS = [Turn(*flags) for flags in product((False, True), repeat=3)]
NORTH = Affine(10, 0, 5e5, 0, -20, 5e6)
SHAPE = 40, 60


def stored(turn: Turn, transform: Affine, shape: tuple[int, int]) -> Affine:
    """Transform of a file whose array is that of *transform* before the turn."""
    height, width = shape
    # Stored pixel -> presented pixel, corner by corner.
    here = Affine.identity()
    if turn.across:
        here = here @ Affine(-1, 0, width, 0, 1, 0)
    if turn.down:
        here = here @ Affine(1, 0, 0, 0, -1, height)
    if turn.transposed:
        here = here @ Affine(0, 1, 0, 1, 0, 0)
    return transform @ here


def write(
    write_raster: Writer,
    turn: Turn,
    name: str = 'a.tif',
    picture: np.ndarray | None = None,
    transform: Affine = NORTH,
    **profile: object,
) -> Path:
    """Write one picture in an orientation."""
    if picture is None:
        picture = np.arange(2.0 * np.prod(SHAPE)).reshape(2, *SHAPE)
    height, width = picture.shape[1:]
    return write_raster(
        name,
        data=turn.back(picture),
        bands=[f'b{i}' for i in range(len(picture))],
        transform=stored(turn, transform, (height, width)),
        **profile,
    )


def scene_of(path: Path) -> Scene:
    names, sources = bands_of(str(path))
    return assemble(sources, names)


@pytest.mark.parametrize('turn', TURNS)
class TestEightOrientations:
    def test_grid_and_pixels(self, write_raster: Writer, turn: Turn) -> None:
        picture = np.arange(2.0 * np.prod(SHAPE)).reshape(2, *SHAPE)
        scene = scene_of(
            write(write_raster, turn, tiled=True, blockxsize=16, blockysize=16)
        )
        assert scene.transform == NORTH
        assert scene.shape == SHAPE
        assert scene.turn == turn
        reader = SceneReader(scene)
        # Over all edges, and inside.
        found = reader.read(Window(-3, 5, 50, 40))  # ty: ignore[too-many-positional-arguments]
        expected = np.full((2, 40, 50), np.nan)
        expected[:, :35, 3:] = picture[:, 5:, :47]
        np.testing.assert_array_equal(found, expected)
        windows = np.array([[0, 0, 16, 16], [24, 44, 16, 16], [10, -8, 16, 16]])
        many = reader.read_many(windows)
        np.testing.assert_array_equal(many[0], picture[:, :16, :16])
        np.testing.assert_array_equal(many[1], picture[:, 24:, 44:])
        np.testing.assert_array_equal(many[2][..., 8:], picture[:, 10:26, :8])
        assert np.isnan(many[2][..., :8]).all()

    def test_published_chips(self, write_raster: Writer, turn: Turn) -> None:
        path = write(write_raster, turn)
        picture = np.arange(2.0 * np.prod(SHAPE)).reshape(2, *SHAPE)
        np.testing.assert_array_equal(read_chip(path), picture)
        with open_chip(path) as file:
            assert file.transform == NORTH

    def test_masks_turn_with_the_pixels(self, write_raster: Writer, turn: Turn) -> None:
        path = write(write_raster, turn)
        valid = np.ones(SHAPE, bool)
        valid[:7, :11] = False
        with rasterio.open(path, 'r+') as file:
            file.write_mask(turn.back(valid))
        pixels = SceneReader(scene_of(path)).read_many(np.array([[0, 0, 20, 20]]))
        np.testing.assert_array_equal(np.isfinite(pixels[0, 0]), valid[:20, :20])

    def test_other_pixels_than_the_file_has(
        self, write_raster: Writer, turn: Turn
    ) -> None:
        """Resampled by GDAL on either side of the turn, which is the same."""
        upright, turned = (
            SceneReader(
                scene_of(write(write_raster, t, f'{t.down}{i}.tif')).at_gsd(21.0)
            )
            for i, t in enumerate((Turn(), turn))
        )
        window = Window(2, 3, 15, 12)  # ty: ignore[too-many-positional-arguments]
        np.testing.assert_allclose(upright.read(window), turned.read(window), rtol=1e-5)

    def test_bands_of_one_scene_in_two_orientations(
        self, write_raster: Writer, turn: Turn
    ) -> None:
        picture = np.arange(600.0).reshape(1, 20, 30)
        fine = write(write_raster, turn, 'fine.tif', picture)
        coarse = write(
            write_raster,
            Turn(down=True),
            'coarse.tif',
            np.full((1, 10, 15), 7.0) + np.arange(10)[None, :, None],
            transform=Affine(20, 0, 5e5, 0, -40, 5e6),
        )
        scene = assemble([(str(coarse), 1), (str(fine), 1)], ['c', 'f'])
        pixels = SceneReader(scene).read_many(np.array([[0, 0, 20, 30]]))[0]
        np.testing.assert_array_equal(pixels[1], picture[0])
        assert (np.diff(pixels[0], axis=0) >= 0).all()
        assert pixels[0, 0, 0] == 7

    def test_stored_windows_lead_back(self, turn: Turn) -> None:
        area = (3, 5, 7, 2)
        there = turn.stored(area, SHAPE)
        assert turn.presented(there, SHAPE) == area
        picture = np.arange(np.prod(SHAPE)).reshape(SHAPE)
        row, column, height, width = there
        found = turn.back(picture)[row : row + height, column : column + width]
        np.testing.assert_array_equal(turn.pixels(found), picture[3:10, 5:7])


@pytest.mark.parametrize(
    'angle', [-180, -130, -90, -45, -20, 0, 5, 44, 46, 91, 135, 170]
)
@pytest.mark.parametrize('mirrored', [False, True])
def test_a_rotated_grid_keeps_the_rest_of_its_angle(angle: int, mirrored: bool) -> None:
    shape = 30, 50
    grid = (
        Affine.translation(5e5, 5e6)
        @ Affine.rotation(angle)
        @ Affine.scale(10, 20 if mirrored else -20)
    )
    turn, found, size = north_up(grid, shape)
    assert found.determinant < 0
    assert abs(np.degrees(np.arctan2(found.d, found.a))) <= 45 + 1e-9
    # The same ground: pixels of the one are pixels of the other.
    own = np.stack(np.meshgrid(np.arange(50) + 0.5, np.arange(30) + 0.5))
    x, y = grid.a * own[0] + grid.b * own[1], grid.d * own[0] + grid.e * own[1]
    rows, columns = (np.arange(n) + 0.5 for n in size)
    column, row = np.meshgrid(columns, rows)
    np.testing.assert_allclose(
        turn.pixels(x + grid.c), found.a * column + found.b * row + found.c
    )
    np.testing.assert_allclose(
        turn.pixels(y + grid.f), found.d * column + found.e * row + found.f
    )


def test_what_lies_north_up_is_left_alone(write_raster: Writer) -> None:
    with rasterio.open(write_raster('a.tif')) as file:
        assert upright(file) is file
    assert north_up(Affine.identity(), (3, 4))[0] == Turn()
    # A rotation that was written with too few digits is none.
    _, found, _ = north_up(Affine(10, 1e-9, 5e5, -1e-9, -10, 5e6), (100, 100))
    assert found == Affine(10, 0, 5e5, 0, -10, 5e6)


def test_a_turned_raster_reads_like_one_of_rasterio(write_raster: Writer) -> None:
    picture = np.arange(2.0 * np.prod(SHAPE)).reshape(2, *SHAPE)
    turn = Turn(transposed=True, across=True)
    path = write(write_raster, turn, nodata=5.0)
    with rasterio.open(path) as file:
        source = upright(file)
        assert isinstance(source, NorthUp)
        assert (source.height, source.width) == SHAPE
        assert source.nodata == 5
        assert source.block_shapes[0] == file.block_shapes[0][::-1]
        np.testing.assert_array_equal(source.read(2), picture[1])
        masked = source.read(masked=True)
        np.testing.assert_array_equal(masked.mask, picture == 5)
        np.testing.assert_array_equal(source.read_masks(1) == 0, picture[0] == 5)
        np.testing.assert_array_equal(
            source.dataset_mask(window=Window(0, 0, 9, 4)) == 0,  # ty: ignore[too-many-positional-arguments]
            (picture == 5).all(axis=0)[:4, :9],
        )
        small = source.read(1, out_shape=(SHAPE[0] // 2, SHAPE[1] // 2))
        assert small.shape == (20, 30)
