import pickle
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import CRS
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset, Sentinel2

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.scene import from_paths, scenes

Writer = Callable[..., Path]


def window(row: int, column: int, height: int, width: int) -> Window:
    return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]


class TestSceneReader:
    def test_pixels_are_those_of_the_file(self, write_raster: Writer) -> None:
        path = write_raster(
            'a.tif', bands=('x', 'y'), tiled=True, blockxsize=16, blockysize=16
        )
        reader = SceneReader(scenes(from_paths(path))[0])
        with rasterio.open(path) as file:
            expected = file.read()
        np.testing.assert_array_equal(
            reader.read(window(5, 7, 20, 30)), expected[:, 5:25, 7:37]
        )
        np.testing.assert_array_equal(
            reader.read(window(5, 7, 4, 4), bands=[1]), expected[1:, 5:9, 7:11]
        )

    @pytest.mark.parametrize('tiled', [False, True])
    def test_numbers_beyond_float32_are_infinite_without_a_word(
        self, write_raster: Writer, tiled: bool
    ) -> None:
        """They count as missing; NumPy would warn of each cast."""
        data = np.ones((1, 64, 64))
        data[0, 1, 2], data[0, 40, 40] = 1e300, -1e39
        blocks = {'tiled': True, 'blockxsize': 16, 'blockysize': 16} if tiled else {}
        path = write_raster('a.tif', data=data, dtype='float64', **blocks)
        reader = SceneReader(scenes(from_paths(path))[0])
        many = reader.read_many(np.array([[0, 0, 64, 64]]))[0]
        for pixels in (many, reader.read(window(0, 0, 64, 64))):
            assert (pixels[0, 1, 2], pixels[0, 40, 40]) == (np.inf, -np.inf)
            assert np.isfinite(pixels).sum() == 64 * 64 - 2

    def test_what_hangs_over_the_edge_is_missing(self, write_raster: Writer) -> None:
        reader = SceneReader(scenes(from_paths(write_raster('a.tif', shape=(8, 8))))[0])
        pixels = reader.read(window(-2, 5, 4, 6))[0]
        assert np.isnan(pixels[:2]).all()
        assert np.isnan(pixels[:, 3:]).all()
        np.testing.assert_array_equal(pixels[2:, :3], [[5, 6, 7], [13, 14, 15]])
        assert np.isnan(reader.read(window(20, 20, 4, 4))).all()

    @pytest.mark.parametrize('nodata', [0.0, -9999.0, np.nan])
    def test_nodata_becomes_nan(self, write_raster: Writer, nodata: float) -> None:
        data = np.ones((1, 4, 4))
        data[0, 1, 2] = nodata
        reader = SceneReader(
            scenes(from_paths(write_raster('a.tif', data=data, nodata=nodata)))[0]
        )
        missing = np.isnan(reader.read(window(0, 0, 4, 4))[0])
        assert missing.sum() == 1
        assert missing[1, 2]

    def test_internal_mask_becomes_nan(self, write_raster: Writer) -> None:
        path = write_raster('a.tif', data=np.ones((1, 4, 4)))
        mask = np.full((4, 4), 255, np.uint8)
        mask[3, 0] = 0
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, 'r+') as file,
        ):
            file.write_mask(mask)
        pixels = SceneReader(scenes(from_paths(path))[0]).read(window(0, 0, 4, 4))[0]
        assert np.argwhere(np.isnan(pixels)).tolist() == [[3, 0]]

    def test_truncated_file_is_named(self, write_raster: Writer) -> None:
        path = write_raster('a.tif', shape=(256, 256), tiled=True, compress='deflate')
        reader = SceneReader(scenes(from_paths(path))[0])
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(RasterError, match=r'a\.tif (is damaged|cannot be read)'):
            reader.read(window(0, 0, 256, 256))

    def test_coarser_band_is_resampled_to_the_first(self, write_raster: Writer) -> None:
        ramp = np.tile(np.arange(8.0), (8, 1))
        name = 'T32TQM_20240103T101010_'
        write_raster(name + 'B02.tif', data=ramp[None] * 100, dtype='uint16')
        coarse = write_raster(
            name + 'B05.tif', data=ramp[None, ::2, ::2] * 100 + 50, res=20
        )
        (scene,) = scenes(Sentinel2(coarse.parent, bands=('B02', 'B05')))
        fine, resampled = SceneReader(scene).read(window(0, 2, 8, 4))
        np.testing.assert_array_equal(fine[0], [200, 300, 400, 500])
        np.testing.assert_allclose(resampled[0], [200, 300, 400, 500], atol=1e-3)

    def test_warped_scene_shows_the_same_ground(self, write_raster: Writer) -> None:
        rows = np.linspace(0, 1, 200)[:, None] * np.ones((1, 200))
        path = write_raster('a.tif', data=rows[None])
        (scene,) = scenes(from_paths(path))
        moved = scene.to_crs(CRS.from_epsg(4326))
        assert moved.warped
        assert moved.res[0] < 1e-3
        reader = SceneReader(moved)
        xmin, ymin, xmax, ymax = moved.footprint.buffer(-0.004).bounds
        pixels = reader.read(reader.window((xmin, ymin, xmax, ymax)))[0]
        assert np.isfinite(pixels).all()
        assert np.abs(np.diff(pixels.mean(1)) - 1 / 200).max() < 5e-3

    def test_warped_edges_are_missing_not_zero(self, write_raster: Writer) -> None:
        path = write_raster('a.tif', data=np.ones((1, 50, 50)))
        moved = scenes(from_paths(path))[0].to_crs(CRS.from_epsg(3035))
        pixels = SceneReader(moved).read(window(0, 0, *moved.shape))[0]
        assert set(np.unique(pixels[np.isfinite(pixels)])) == {1.0}
        assert np.isnan(pixels[0, 0])

    def test_same_crs_is_not_warped(self, write_raster: Writer) -> None:
        (scene,) = scenes(from_paths(write_raster('a.tif')))
        assert scene.to_crs(CRS.from_epsg(32632)) is scene

    def test_pickles_without_its_open_files(self, write_raster: Writer) -> None:
        reader = SceneReader(scenes(from_paths(write_raster('a.tif')))[0])
        before = reader.read(window(0, 0, 4, 4))
        again = pickle.loads(pickle.dumps(reader))
        np.testing.assert_array_equal(again.read(window(0, 0, 4, 4)), before)

    def test_window_size_does_not_depend_on_place(self, write_raster: Writer) -> None:
        (scene,) = scenes(from_paths(write_raster('a.tif', res=3.7)))
        reader = SceneReader(scene)
        sizes = {
            (reader.window((x, 0, x + 37, 37)).width)
            for x in np.linspace(5e5, 5e5 + 99, 50)
        }
        assert sizes == {10}

    def test_one_window_is_that_of_many(self, write_raster: Writer) -> None:
        (scene,) = scenes(from_paths(write_raster('a.tif', res=3.7)))
        reader = SceneReader(scene)
        generator = np.random.default_rng(0)
        corners = generator.uniform(-200, 200, (200, 2)) + scene.footprint.bounds[:2]
        # Halves of a pixel too, which are rounded to even numbers.
        sides = generator.integers(0, 9, (200, 2)) * 3.7 / 2
        bounds = [tuple(b) for b in np.c_[corners, corners + sides].tolist()]
        assert [reader.place(b) for b in bounds] == [
            tuple(w) for w in reader.windows(bounds).tolist()
        ]


def one_by_one(reader: SceneReader, windows: np.ndarray) -> np.ndarray:
    return np.stack([reader.read(window(*w)) for w in windows.tolist()])


class TestReadMany:
    @pytest.mark.parametrize('again', [False, True])
    def test_bands_in_files_of_several_layouts_equal_one_by_one(
        self, write_raster: Writer, again: bool
    ) -> None:
        shape = 96, 80
        for number, (name, side) in enumerate([('a', 16), ('b', 16), ('c', 32)]):
            data = np.arange(np.prod(shape)).reshape(1, *shape) + number
            # One of two blocks of a file has a missing pixel.
            data[0, 40, 70] = 7 if name == 'b' else 1
            write_raster(
                f'S_{name}.tif',
                data=data,
                dtype='uint16',
                nodata=7.0,
                tiled=True,
                blockxsize=side,
                blockysize=side,
            )
        folder = write_raster('S_a2.tif').parent
        (folder / 'S_a2.tif').unlink()

        class Bands(RasterDataset):
            filename_glob = 'S_a.tif'
            filename_regex = r'S_(?P<band>[abc])'
            separate_files = True
            all_bands = ('a', 'b', 'c')

        (scene,) = scenes(Bands(folder))
        reader = SceneReader(scene)
        windows = self.windows[(self.windows[:, :2] < 60).all(axis=1)]
        expected = one_by_one(reader, windows)
        if again:
            # All blocks are decoded now: they are copied in another way.
            reader.read_many(windows)
        np.testing.assert_array_equal(reader.read_many(windows), expected)
        assert np.isnan(expected).any()
        assert np.isfinite(expected).any()

    windows = np.array(
        [[r, c, 24, 24] for r in (0, 24, 40) for c in (0, 24, 30, 90)]
        + [[-10, 5, 24, 24], [110, 110, 24, 24], [300, 0, 24, 24]]
    )

    @pytest.mark.parametrize('nodata', [None, 7.0])
    def test_equals_one_by_one(
        self, write_raster: Writer, nodata: float | None
    ) -> None:
        path = write_raster(
            'a.tif',
            shape=(128, 120),
            bands=('x', 'y', 'z'),
            dtype='uint16',
            nodata=nodata,
            tiled=True,
            blockxsize=32,
            blockysize=32,
        )
        reader = SceneReader(scenes(from_paths(path))[0])
        expected = one_by_one(reader, self.windows)
        np.testing.assert_array_equal(reader.read_many(self.windows), expected)
        assert np.isnan(expected[0]).any() == (nodata is not None)
        np.testing.assert_array_equal(
            reader.read_many(self.windows, bands=[2, 0]), expected[:, [2, 0]]
        )

    def test_equals_one_by_one_where_bands_are_resampled(
        self, write_raster: Writer
    ) -> None:
        noise = np.random.default_rng(0).integers(0, 9999, (1, 120, 120))
        name = 'T32TQM_20240103T101010_'
        write_raster(name + 'B02.tif', data=noise, dtype='uint16')
        coarse = write_raster(
            name + 'B05.tif', data=noise[:, ::2, ::2], res=20, dtype='uint16'
        )
        (scene,) = scenes(Sentinel2(coarse.parent, bands=('B02', 'B05')))
        reader = SceneReader(scene)
        inside = np.array([[r, c, 20, 20] for r in (0, 20) for c in (0, 20, 40, 60)])
        np.testing.assert_array_equal(
            reader.read_many(inside), one_by_one(reader, inside)
        )

    def test_equals_one_by_one_where_pixels_are_warped(
        self, write_raster: Writer
    ) -> None:
        noise = np.random.default_rng(0).random((1, 120, 120))
        (scene,) = scenes(from_paths(write_raster('a.tif', data=noise)))
        reader = SceneReader(scene.to_crs(CRS.from_epsg(3035)))
        inside = np.array([[r, c, 20, 20] for r in (40, 60) for c in (40, 60)])
        np.testing.assert_allclose(
            reader.read_many(inside), one_by_one(reader, inside), atol=1e-6
        )

    def test_no_windows_and_windows_of_two_sizes(self, write_raster: Writer) -> None:
        reader = SceneReader(scenes(from_paths(write_raster('a.tif')))[0])
        assert reader.read_many(np.empty((0, 4), np.int64)).shape == (0, 1, 0, 0)
        with pytest.raises(ValueError, match='windows of 2 sizes'):
            reader.read_many(np.array([[0, 0, 4, 4], [0, 0, 8, 8]]))

    def test_a_damaged_file_is_named(self, write_raster: Writer) -> None:
        path = write_raster('a.tif', shape=(256, 256), tiled=True, compress='deflate')
        reader = SceneReader(scenes(from_paths(path))[0])
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(RasterError, match=r'a\.tif (is damaged|cannot be read)'):
            reader.read_many(np.array([[0, 0, 64, 64], [100, 100, 64, 64]]))

    def test_a_forked_reader_opens_its_own_files(self, write_raster: Writer) -> None:
        path = write_raster(
            'a.tif', shape=(256, 256), tiled=True, blockxsize=64, blockysize=64
        )
        reader = SceneReader(scenes(from_paths(path))[0])
        windows = np.array([[r, c, 32, 32] for r in (0, 96, 224) for c in (0, 96, 224)])
        expected = reader.read_many(windows)

        def waiting() -> list[object]:
            return [h for hs in reader.cache.handles._waiting.values() for h in hs]

        opened = waiting()
        assert opened
        context = get_context('fork')
        queue = context.Queue()

        def child() -> None:
            pixels = reader.read_many(windows)
            own = not any(a is b for a in opened for b in waiting())
            queue.put((own, pixels))

        process = context.Process(target=child)
        process.start()
        own, pixels = queue.get(timeout=60)
        process.join()
        assert own
        np.testing.assert_array_equal(pixels, expected)
