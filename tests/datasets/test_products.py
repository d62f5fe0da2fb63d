"""Files sorted into scenes by their names."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from torchgeo.datasets import Landsat8, RasterDataset, Sentinel2

from torchgeo_cmr.datasets.files import find_files
from torchgeo_cmr.datasets.products import find_products, sensor_of
from torchgeo_cmr.datasets.scene import Scene
from torchgeo_cmr.errors import RasterError

Writer = Callable[..., Path]

LC08 = 'LC08_L2SP_001055_20230701_20230711_02_T1_'
S1 = 'S1A_IW_20240611T052811_DVP_RTC10_G_gpunem_2AE4_'


@pytest.fixture
def s2_folder(write_raster: Writer, tmp_path: Path) -> Path:
    """Two tiles in two zones at two dates, three bands, one file each."""
    for tile, crs in (('T32TQM', 'EPSG:32632'), ('T33TUG', 'EPSG:32633')):
        for date in ('20240601T101031', '20240611T101031'):
            for band in ('B02', 'B03', 'B04'):
                write_raster(f's2/{tile}_{date}_{band}.tif', crs=crs, dtype='uint16')
    return tmp_path / 's2'


def opened(folder: Path, bands: Sequence[str] = ()) -> list[Scene]:
    return [opening() for _, opening in find_products(find_files(folder), bands)]


def names(scene: Scene) -> list[str]:
    return [Path(file).name for file, _ in scene.sources]


def test_a_safe_folder_is_one_scene_at_native_pixels(
    write_raster: Writer, tmp_path: Path
) -> None:
    home = 's2/S2B_MSIL2A.SAFE/GRANULE/L2A/'
    start = 'T32TQM_20240611T101031_'
    for res in (10, 20, 60):
        for band in ('B02', 'B8A', 'B01', 'TCI', 'SCL'):
            if not (band == 'B8A' and res == 10):
                write_raster(
                    f'{home}IMG_DATA/R{res}m/{start}{band}_{res}m.tif',
                    shape=(120 // (res // 10),) * 2,
                    res=res,
                )
    write_raster(f'{home}QI_DATA/MSK_CLDPRB_20m.tif')
    (scene,) = opened(tmp_path, ['B8A', 'B02'])
    assert names(scene) == [f'{start}B8A_20m.tif', f'{start}B02_10m.tif']
    assert scene.shape == (120, 120)
    assert scene.gsd == (20, 10)
    assert scene.sensor == 'sentinel-2'
    assert scene.time_start == pd.Timestamp('2024-06-11T10:10:31Z')
    # Without names to look for: what the product has, in its own order.
    (scene,) = opened(tmp_path)
    assert scene.bands == ('B01', 'B02', 'B8A')
    assert names(scene)[0] == f'{start}B01_60m.tif'
    # Bands that are not all there: what there is, for the message of who asked.
    (scene,) = opened(tmp_path, ['B02', 'VV'])
    assert scene.bands == ('B01', 'B02', 'B8A')


def test_dates_and_tiles_are_scenes_of_their_own(s2_folder: Path) -> None:
    found = opened(s2_folder, ['B04', 'B02'])
    assert len(found) == 4
    assert {scene.crs.to_epsg() for scene in found} == {32632, 32633}
    assert len({scene.time_start for scene in found}) == 2
    assert all(scene.bands == ('B04', 'B02') for scene in found)


def test_landsat_and_sentinel_1(write_raster: Writer, tmp_path: Path) -> None:
    for band in ('SR_B2', 'SR_B3', 'QA_PIXEL', 'ST_B10'):
        write_raster(f'{LC08}{band}.TIF', dtype='uint16')
    for band in ('VV', 'VH'):
        write_raster(f'{S1}{band}.tif')
    landsat, radar = opened(tmp_path)
    assert landsat.bands == ('SR_B2', 'SR_B3')
    assert landsat.sensor == 'landsat-8'
    assert landsat.time_start == pd.Timestamp('2023-07-01T00:00Z')
    assert landsat.time_end == pd.Timestamp('2023-07-01T23:59:59.999999Z')
    assert radar.bands == ('VV', 'VH')
    assert radar.sensor == 'sentinel-1'
    assert radar.units == 'power'


def test_naip_names_its_bands(write_raster: Writer, tmp_path: Path) -> None:
    write_raster('m_3807511_ne_18_060_20181104.tif', bands=('', '', '', ''))
    (scene,) = opened(tmp_path)
    assert scene.bands == ('R', 'G', 'B', 'NIR')
    assert scene.sensor == 'naip'
    assert scene.time_start == pd.Timestamp('2018-11-04T00:00Z')


def test_names_that_end_in_bands_form_a_set(
    write_raster: Writer, tmp_path: Path
) -> None:
    for place in ('here', 'there'):
        for band in ('b02', 'B03', 'SCL', 'extra'):
            write_raster(f'{place}/S2A_MSIL2A_20180204T94161_57_{band}.tif')
    write_raster('plain_B02.tif', bands=('B02', 'B03'))
    first, second, plain = opened(tmp_path, ['B03', 'B02'])
    assert names(first) == [
        f'S2A_MSIL2A_20180204T94161_57_{b}.tif' for b in ('B03', 'b02')
    ]
    assert first.bands == second.bands == ('B03', 'B02')
    # There is no minute 61, but there is that day.
    assert first.time_start == pd.Timestamp('2018-02-04T00:00Z')
    assert first.sensor == 'sentinel-2'
    assert names(plain) == ['plain_B02.tif'] * 2
    with pytest.raises(RasterError, match=r'there is no file for B04 beside it'):
        opened(tmp_path / 'here', ['B03', 'B04'])


def test_a_file_may_state_when_it_was_acquired(
    write_raster: Writer, tmp_path: Path
) -> None:
    path = write_raster('a.tif')
    with rasterio.open(path, 'r+') as file:
        file.update_tags(ns='IMAGERY', ACQUISITIONDATETIME='2024-06-11T10:10:31Z')
    (scene,) = opened(tmp_path)
    assert scene.time_start == scene.time_end == pd.Timestamp('2024-06-11T10:10:31Z')
    assert scene.sensor is None


@pytest.mark.parametrize(
    ('stated', 'start', 'end'),
    [
        ('2024-06-11', '2024-06-11', '2024-06-11T23:59:59.999999'),
        ('2024-06-11 10:10:31', '2024-06-11T10:10:31', '2024-06-11T10:10:31'),
        ('11.06.2024', None, None),
    ],
)
def test_a_stated_day_is_the_whole_of_it_and_none_is_guessed(
    write_raster: Writer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    stated: str,
    start: str | None,
    end: str | None,
) -> None:
    path = write_raster('a.tif')
    with rasterio.open(path, 'r+') as file:
        file.update_tags(ns='IMAGERY', ACQUISITIONDATETIME=stated)
    (scene,) = opened(tmp_path)
    expected = [t and pd.Timestamp(t, tz='UTC') for t in (start, end)]
    assert [scene.time_start, scene.time_end] == expected
    assert ("'2024-06-11' or '2024-11-06'" in caplog.text) == (start is None)


def test_a_broken_file_is_told_of_when_it_is_opened(
    write_raster: Writer, tmp_path: Path
) -> None:
    write_raster('a.tif', data=np.zeros((1, 4, 4)))
    (tmp_path / 'b_B02.tif').write_bytes(b'no raster')
    found = find_products(find_files(tmp_path), ['B02'])
    assert [Path(name).name for name, _ in found] == ['b_B02.tif', 'a.tif']
    with pytest.raises(RasterError, match='cannot be read as a raster'):
        found[0][1]()


def test_classes_name_their_sensor(s2_folder: Path, write_raster: Writer) -> None:
    assert sensor_of(Sentinel2(s2_folder, bands=['B02'])) == 'sentinel-2'
    path = write_raster(f'{LC08}SR_B2.TIF')
    assert sensor_of(Landsat8(path.parent, bands=['SR_B2'])) == 'landsat-8'
    assert sensor_of(RasterDataset(path)) is None


def test_folders_are_searched_and_vrts_are_named(
    write_raster: Writer, tmp_path: Path
) -> None:
    write_raster('in/deep/a.tif')
    (tmp_path / 'in' / 'a.vrt').write_text('<VRT/>')
    (tmp_path / 'in' / 'a.tif.aux.xml').write_text('<PAM/>')
    (tmp_path / 'in' / 'store.zarr' / 'x').mkdir(parents=True)
    (tmp_path / 'in' / 'store.zarr' / 'x' / 'inside.tif').write_bytes(b'')
    found = find_files(tmp_path / 'in')
    assert [Path(file).name for file in found] == ['a.tif', 'store.zarr']
    assert find_files(str(tmp_path / '*' / '*.vrt')) == [str(tmp_path / 'in/a.vrt')]
    assert find_files([str(tmp_path / 'i*'), tmp_path / 'in']) == found
    with pytest.raises(RasterError, match=r'no raster matches .*: check the path'):
        find_files(tmp_path / 'in' / '*.jp2')
