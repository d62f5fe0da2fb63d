import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset, Sentinel2

from torchgeo_cmr.datasets.reader import SceneReader
from torchgeo_cmr.datasets.scene import from_paths, scenes
from torchgeo_cmr.errors import RasterError

Writer = Callable[..., Path]


def window(row: int, column: int, height: int, width: int) -> Window:
    return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]


class TestScenes:
    def test_two_zones_and_two_dates_keep_their_own_grid(
        self, write_raster: Writer
    ) -> None:
        for tile, crs in (('T32TQM', 'EPSG:32632'), ('T33TUG', 'EPSG:32633')):
            for date in ('20240103T101010', '20240705T101010'):
                for band in ('B02', 'B03'):
                    write_raster(f'{tile}_{date}_{band}.tif', crs=crs, dtype='uint16')
        folder = write_raster('T32TQM_20240103T101010_B04.tif', dtype='uint16').parent
        found = scenes(Sentinel2(folder, bands=('B02', 'B03')))
        assert [scene.crs.to_epsg() for scene in found] == [32632, 32632, 32633, 32633]
        assert [str(scene.time_start) for scene in found] == [
            '2024-01-03 10:10:10+00:00',
            '2024-07-05 10:10:10+00:00',
        ] * 2
        assert all(
            tuple(scene.transform)[:6] == (10, 0, 5e5, 0, -10, 5e6) for scene in found
        )
        assert found[0].bands == ('B02', 'B03')
        assert found[0].units == 'dn'

    def test_dates_that_nobody_stated_are_none(self, write_raster: Writer) -> None:
        (scene,) = scenes(from_paths(write_raster('a.tif')))
        assert scene.time_start is None
        assert scene.time_end is None

    def test_missing_band_file_is_named(self, write_raster: Writer) -> None:
        file = write_raster('T32TQM_20240103T101010_B02.tif', dtype='uint16')
        with pytest.raises(RasterError, match=r'B03\.tif is missing: add the file'):
            scenes(Sentinel2(file.parent, bands=('B02', 'B03')))

    def test_band_beyond_the_file(self, write_raster: Writer) -> None:
        class Two(RasterDataset):
            all_bands = ('a', 'b')

        file = write_raster('a.tif')
        with pytest.raises(RasterError, match='has 1 bands, band 2 was asked'):
            scenes(Two(file))

    @pytest.mark.parametrize(
        ('dtype', 'band', 'units', 'expected'),
        [
            ('float32', 'VV', 'dB', 'db'),
            ('float32', 'VV', None, None),
            ('uint8', 'VH', None, 'dn'),
            ('float32', 'B04', None, 'reflectance'),
            ('uint16', 'B04', None, 'dn'),
        ],
    )
    def test_units_are_read_never_guessed(
        self,
        write_raster: Writer,
        dtype: str,
        band: str,
        units: str | None,
        expected: str | None,
    ) -> None:
        path = write_raster(
            'a.tif', dtype=dtype, bands=(band,), data=np.ones((1, 8, 8))
        )
        if units:
            with rasterio.open(path, 'r+') as file:
                file.units = (units,)
        assert scenes(from_paths(path))[0].units == expected


class TestFromPaths:
    def test_nothing_matches(self, tmp_path: Path) -> None:
        with pytest.raises(RasterError, match=r'no raster matches .*check the path'):
            from_paths(tmp_path / '*.tif')

    def test_no_crs(self, write_raster: Writer) -> None:
        with pytest.raises(RasterError, match='has no CRS: declare it'):
            from_paths(write_raster('a.tif', crs=None))

    def test_not_a_raster(self, tmp_path: Path) -> None:
        (tmp_path / 'a.tif').write_text('no')
        with pytest.raises(RasterError, match='cannot be read as a raster'):
            from_paths(tmp_path / 'a.tif')

    def test_folder_and_pattern_find_the_same(self, write_raster: Writer) -> None:
        folder = write_raster('a.tif').parent
        write_raster('deep/b.tif')
        assert len(from_paths(folder)) == 2
        assert len(from_paths([f'{folder}/*.tif', f'{folder}/deep/b.tif'])) == 2


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

    def test_rotated_grid_has_its_true_outline(self, write_raster: Writer) -> None:
        turned = (
            Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(10, -10)
        )
        (scene,) = scenes(
            from_paths(write_raster('a.tif', transform=turned, shape=(10, 20)))
        )
        assert scene.footprint.area == pytest.approx(100 * 200)
        assert scene.res == pytest.approx((10, 10))
        assert scene.to_crs(scene.crs).warped


def test_sentinel1_name_states_decibel(write_raster: Writer) -> None:
    from torchgeo.datasets import Sentinel1

    for band in ('VV', 'VH'):
        file = write_raster(
            f'S1A_IW_20240611T052811_DVP_RTC10_G_gduned_4F2A_{band}.tif', bands=(band,)
        )
    (scene,) = scenes(Sentinel1(str(file.parent)))
    assert scene.units == 'db'
    assert scene.time_start == pd.Timestamp('2024-06-11T05:28:11Z')
