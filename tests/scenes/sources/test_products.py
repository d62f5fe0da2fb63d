"""Files sorted into scenes by their names."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from torchgeo.datasets import Landsat8, RasterDataset, Sentinel2

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.files import find_files
from torchgeo_cmr.scenes.scene import Scene, scenes
from torchgeo_cmr.scenes.sources.products import find_products, sensor_of

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


def names_of(scene: Scene) -> list[str]:
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
    assert names_of(scene) == [f'{start}B8A_20m.tif', f'{start}B02_10m.tif']
    assert scene.shape == (120, 120)
    assert scene.gsd == (20, 10)
    assert scene.sensor == 'sentinel-2'
    assert scene.time_start == pd.Timestamp('2024-06-11T10:10:31Z')
    # Without names to look for: what the product has, in its own order.
    (scene,) = opened(tmp_path)
    assert scene.bands == ('B01', 'B02', 'B8A')
    assert names_of(scene)[0] == f'{start}B01_60m.tif'
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
    assert names_of(first) == [
        f'S2A_MSIL2A_20180204T94161_57_{b}.tif' for b in ('B03', 'b02')
    ]
    assert first.bands == second.bands == ('B03', 'B02')
    # There is no minute 61, but there is that day.
    assert first.time_start == pd.Timestamp('2018-02-04T00:00Z')
    assert first.sensor == 'sentinel-2'
    assert names_of(plain) == ['plain_B02.tif'] * 2
    with pytest.raises(RasterError, match=r'there is no file for B04 next to it'):
        opened(tmp_path / 'here', ['B03', 'B04'])


@pytest.mark.parametrize(
    ('start', 'bands', 'sensor'),
    [
        ('HLS.S30.T32TQM.2024001T101010.v2.0.', ('B02', 'B8A', 'B11'), 'sentinel-2'),
        ('HLS.L30.T32TQM.2024001T101010.v2.0.', ('B02', 'B05', 'B06'), 'landsat'),
    ],
)
def test_hls(
    write_raster: Writer,
    tmp_path: Path,
    start: str,
    bands: tuple[str, ...],
    sensor: str,
) -> None:
    for name in (*bands, 'Fmask', 'SAA', 'SZA', 'VAA', 'VZA'):
        write_raster(f'{start}{name}.tif', dtype='int16')
    (scene,) = opened(tmp_path)
    assert scene.bands == bands
    assert scene.sensor == sensor
    assert str(scene.time_start) == '2024-01-01 10:10:10+00:00'
    # By the common names of each sensor, in any order.
    (scene,) = opened(tmp_path, ['swir16', 'nir08', 'blue'])
    assert scene.bands == bands[::-1]


GRD = 'S1A_IW_GRDH_1SDV_20240611T052811_20240611T052836_054271_069A3D'


@pytest.mark.parametrize(
    ('names', 'units'),
    [
        (f'{GRD}_rtc/measurement/iw-{{}}.rtc.tiff', 'power'),
        (f'{GRD}_rtc/iw-{{}}.rtc.tiff', 'power'),
        (f'{GRD}.rtc_{{}}.tif', None),
        (f'{GRD}_rtc_{{}}.tif', None),
        (f'{GRD}_{{}}_dB.tif', 'db'),
    ],
)
def test_terrain_corrected_radar_of_others(
    write_raster: Writer, tmp_path: Path, names: str, units: str | None
) -> None:
    for band in ('vv', 'vh'):
        write_raster(names.format(band), bands=('',))
    (scene,) = opened(tmp_path, ['VV', 'VH'])
    assert scene.bands == ('VV', 'VH')
    assert ['vv' in name for name in map(str.lower, names_of(scene))] == [True, False]
    assert scene.sensor == 'sentinel-1'
    assert str(scene.time_start) == '2024-06-11 05:28:11+00:00'
    assert scene.units == units


def test_a_flat_folder_of_sentinel_2(write_raster: Writer, tmp_path: Path) -> None:
    start = 'T36KVU_20210513T073609_'
    for band, res in {'B02': 10, 'B04': 10, 'B11': 20, 'B01': 60, 'TCI': 10}.items():
        write_raster(
            f'{start}{band}_{res}m.tif', shape=(120 // (res // 10),) * 2, res=res
        )
    write_raster(f'{start}SCL_20m.tif', shape=(60, 60), res=20)
    (scene,) = opened(tmp_path, ['B11', 'B02', 'B01'])
    assert scene.bands == ('B11', 'B02', 'B01')
    assert scene.gsd == (20, 10, 60)
    # TorchGeo looks for each resolution in a folder of its own.
    (same,) = scenes(Sentinel2(tmp_path, bands=['B02', 'B01', 'B11']))
    assert same.gsd == (10, 60, 20)
    assert same.sources == tuple(scene.sources[i] for i in (1, 2, 0))


@pytest.mark.parametrize(
    ('files', 'wanted'),
    [
        (('VV_2024.tif', 'VH_2024.tif'), ['VV', 'VH']),
        (('x-red.tif', 'x-nir08.tif'), ['B04', 'B8A']),
        (('x.b4.tif', 'x.b8a.tif'), ['B04', 'B8A']),
        (('B04.tif', 'B8A.tif'), ['B04', 'B8A']),
        (('x_B04_10m.tif', 'x_B8A_20m.tif'), ['B04', 'B8A']),
        (('x_SR_B4.tif', 'x_SR_B5.tif'), ['SR_B4', 'SR_B5']),
        (('x_2020.tif', 'x_2021.tif'), ['2020', '2021']),
        (('x_665.tif', 'x_865.tif'), ['B04', 'B8A']),
    ],
)
def test_the_band_may_stand_anywhere_in_the_name(
    write_raster: Writer, tmp_path: Path, files: tuple[str, ...], wanted: list[str]
) -> None:
    for file in files:
        write_raster(file, bands=('',))
    (scene,) = opened(tmp_path, wanted)
    assert scene.bands == tuple(wanted)
    assert names_of(scene) == list(files)
    (turned,) = opened(tmp_path, wanted[::-1])
    assert names_of(turned) == list(files[::-1])


@pytest.mark.parametrize(
    'twins', [('x_B2.tif', 'x_B02.tif'), ('x_blue_10m.tif', 'x_B02_10m.tif')]
)
def test_two_files_of_one_band_are_told_of(
    write_raster: Writer, tmp_path: Path, twins: tuple[str, str]
) -> None:
    for file in ('x_B03.tif', *twins):
        write_raster(file, bands=('',))
    with pytest.raises(RasterError, match=r'x_B.* are both B02 of one .* keep one of'):
        opened(tmp_path, ['B02', 'B03'])
    (scene,) = opened(tmp_path, ['B03'])
    assert names_of(scene) == ['x_B03.tif']
    # Of two pixel sizes the finer is read.
    write_raster(twins[0], bands=('',), res=20, data=np.ones((1, 8, 8)))
    write_raster(twins[1], bands=('',), res=10, data=np.ones((1, 16, 16)))
    write_raster('x_B03.tif', bands=('',), res=10, data=np.ones((1, 16, 16)))
    (scene,) = opened(tmp_path, ['B02', 'B03'])
    assert names_of(scene) == [twins[1], 'x_B03.tif']


def test_a_band_of_a_product_that_lies_there_twice(
    write_raster: Writer, tmp_path: Path
) -> None:
    name = 'T32TQM_20240611T101031_{}'
    for band in ('B02', 'B03'):
        write_raster(f'{name.format(band)}.tif', bands=('',))
    write_raster(f'{name.format("B02")}.tiff', bands=('',))
    with pytest.raises(
        RasterError,
        match=r'B02\.tif and T32\w+_B02\.tiff are one band of one product: keep',
    ):
        opened(tmp_path, ['B02', 'B03'])
    (scene,) = opened(tmp_path, ['B03'])
    assert names_of(scene) == [f'{name.format("B03")}.tif']


def test_a_set_says_its_unit_itself(write_raster: Writer, tmp_path: Path) -> None:
    for band in ('VV', 'VH'):
        write_raster(f'x_{band}.tif', bands=('',))
    (scene,) = opened(tmp_path, ['Sigma0_VV_db', 'Sigma0_VH_db'])
    assert scene.units is None


def test_masks_are_no_scenes(write_raster: Writer, tmp_path: Path) -> None:
    for mask in ('SCL', 'qa_pixel', 'Fmask', 'ortho_udm2', 'udm2_clip', 'SCL_20m'):
        write_raster(f'scene_{mask}.tif')
    for _, opening in find_products(find_files(tmp_path)):
        with pytest.raises(RasterError, match=r'is a quality mask .*give the images'):
            opening()
    write_raster('scene.tif')
    assert [Path(scene.path).name for scene in opened(tmp_path)] == ['scene.tif']
    # An encoder of classes takes them as they are.
    found = opened(tmp_path, ['SCL'])
    assert {Path(file).name for scene in found for file, _ in scene.sources} >= {
        'scene_SCL.tif'
    }


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
    'names', [('x_B02.tif', 'x_B03.tif'), ('iw-vv.rtc.tiff', 'iw-vh.rtc.tiff')]
)
def test_files_of_one_band_may_state_when_they_were_acquired(
    write_raster: Writer, tmp_path: Path, names: tuple[str, str]
) -> None:
    for name, stated in zip(names, ('2024-06-11T10:10:33Z', '2024-06-11'), strict=True):
        with rasterio.open(write_raster(name), 'r+') as file:
            file.update_tags(ns='IMAGERY', ACQUISITIONDATETIME=stated)
    (scene,) = opened(tmp_path, ['B02', 'B03'])
    assert scene.time_start == pd.Timestamp('2024-06-11', tz='UTC')
    assert scene.time_end == pd.Timestamp('2024-06-11T23:59:59.999999Z')


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
