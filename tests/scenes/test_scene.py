from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset, Sentinel2

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.scene import from_paths, scenes

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
        with pytest.raises(RasterError, match='has 1 bands, band 2 was requested'):
            scenes(Two(file))

    @pytest.mark.parametrize(
        ('dtype', 'band', 'units', 'expected'),
        [
            ('float32', 'VV', 'dB', 'db'),
            ('float32', 'VV', None, None),
            ('uint8', 'VH', None, None),
            ('float32', 'Sigma0_VH_db', None, 'db'),
            ('float32', 'S1_VV_linear', None, 'power'),
            ('float32', 'vv', None, None),
            ('float32', 'elevation', None, 'dn'),
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


def test_pixels_in_grads_have_their_metres(write_raster: Writer) -> None:
    """The hundredth part of a right angle, as in the old CRSs of France."""
    grid = Affine(1e-4, 0, 0.5, 0, -1e-4, 49)
    path = write_raster('a.tif', crs='EPSG:4807', transform=grid)
    (scene,) = scenes(from_paths([path]))
    # A ten-thousandth of a grad is 10 m of a meridian: so the metre was made.
    assert scene.grid_gsd == pytest.approx(10, rel=2e-3)
    assert scene.gsd[0] == pytest.approx(10 * np.cos(np.radians(44.1)) ** 0.5, rel=5e-3)


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


def test_sentinel1_name_states_decibel(write_raster: Writer) -> None:
    from torchgeo.datasets import Sentinel1

    for band in ('VV', 'VH'):
        file = write_raster(
            f'S1A_IW_20240611T052811_DVP_RTC10_G_gduned_4F2A_{band}.tif', bands=(band,)
        )
    (scene,) = scenes(Sentinel1(str(file.parent)))
    assert scene.units == 'db'
    assert scene.time_start == pd.Timestamp('2024-06-11T05:28:11Z')
