"""Whatever a user gives becomes scenes; clouds and sensors become columns."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from rasterio.shutil import copy  # ty: ignore[import-not-found]
from torchgeo.datasets import CDL, RasterDataset, Sentinel2, XarrayDataset

from torchgeo_cmr.embed import embed
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.table import EmbeddingTable

Writer = Callable[..., Path]

BANDS = ['B02', 'B03', 'B04']


def cube(path: Path) -> Path:
    shape = (2, 32, 32)
    made = xr.Dataset(
        {
            f'S2-{b}': (('time', 'y', 'x'), np.full(shape, i))
            for i, b in enumerate(BANDS)
        },
        coords={
            'time': pd.DatetimeIndex(['2024-06-01', '2024-06-11']),
            'y': 5e6 - 10.0 * np.arange(32),
            'x': 5e5 + 10.0 * np.arange(32),
        },
    )
    made.rio.write_crs('EPSG:32632').to_netcdf(path)
    return path


def test_kinds_may_be_mixed(write_raster: Writer, tmp_path: Path) -> None:
    write_raster('plain/a.tif', bands=BANDS)
    write_raster('listed/b.tif', bands=BANDS)
    listed = {
        'type': 'Feature',
        'id': 'one',
        'properties': {'datetime': '2024-06-11T10:10:31Z'},
        'assets': {'data': {'href': 'listed/b.tif'}},
    }
    (tmp_path / 'items.json').write_text(json.dumps(listed))
    given = [cube(tmp_path / 'c.nc'), tmp_path / 'plain', tmp_path / 'items.json']
    found = list_scenes(given, ['B03', 'B02'])
    assert [Path(scene.path).name for scene in found] == [
        'a.tif',
        'c.nc',
        'c.nc',
        'b.tif',
    ]
    assert found[1].bands == ('S2-B03', 'S2-B02')
    assert found[3].bands == ('B03', 'B02')
    # Names that only count pick nothing.
    assert list_scenes(given, ['band_1'])[1].bands == ('S2-B02', 'S2-B03', 'S2-B04')
    assert {scene.nodata for scene in list_scenes(given, nodata=7)} == {7.0}


def test_a_vrt_is_a_scene(
    write_raster: Writer, fake: Callable[..., Any], tmp_path: Path
) -> None:
    source = write_raster('a.tif', bands=BANDS, shape=(16, 16))
    copy(source, tmp_path / 'b.vrt', driver='VRT')
    task = fake(bands=BANDS)
    for name in ('a.tif', 'b.vrt'):
        embed(task, str(tmp_path / name), 's2', 16, progress=False)
    assert (task.seen[1] == task.seen[3]).all()


def test_datasets_are_catalogues(s2_folder: Path, tmp_path: Path) -> None:
    found = list_scenes(Sentinel2(s2_folder, bands=BANDS), BANDS)
    assert len(found) == 4
    assert {scene.sensor for scene in found} == {'sentinel-2'}
    cubes = XarrayDataset(cube(tmp_path / 'c.nc'), data_vars=['S2-B02'])
    assert [scene.part for scene in list_scenes(cubes)] == ['2024-06-01', '2024-06-11']
    assert list_scenes(cubes)[0].bands == ('S2-B02',)
    with pytest.raises(TypeError, match='object does not list raster files'):
        list_scenes(object())  # ty: ignore[invalid-argument-type]
    labels = object.__new__(CDL)
    labels.index = pd.DataFrame({'filepath': []})  # ty: ignore[invalid-assignment]
    with pytest.raises(TypeError, match='CDL holds labels'):
        list_scenes(labels)


def test_a_broken_input_may_be_swallowed(write_raster: Writer, tmp_path: Path) -> None:
    write_raster('in/a.tif')
    (tmp_path / 'in' / 'b.tif').write_bytes(b'no raster')
    (tmp_path / 'in' / 'c.nc').write_bytes(b'no cube')
    swallowed: list[str] = []

    @contextmanager
    def trying(name: str) -> Generator[None]:
        try:
            yield
        except RasterError:
            swallowed.append(Path(name).name)

    found = list_scenes(tmp_path / 'in', trying=trying)
    assert [Path(scene.path).name for scene in found] == ['a.tif']
    assert swallowed == ['b.tif', 'c.nc']
    with pytest.raises(RasterError, match=r'b\.tif cannot be read'):
        list_scenes(tmp_path / 'in')


def test_a_mask_is_never_embedded(
    write_raster: Writer, fake: Callable[..., Any], tmp_path: Path
) -> None:
    task = fake(channels=8)
    bands = ('clear', 'snow', 'shadow', 'light_haze', 'heavy_haze', 'cloud')
    zeros = np.zeros((8, 16, 16))
    write_raster('in/a.tif', data=zeros + 1, bands=('',) * 8)
    write_raster('in/a_udm2.tif', data=zeros, bands=('',) * 8)
    write_raster('in/odd.tif', data=zeros, bands=(*bands, 'confidence', 'udm1'))
    folder = tmp_path / 'in'
    # In a folder, a pattern, a list as a shell makes of it, and a dataset of TorchGeo.
    files = [str(file) for file in sorted(folder.glob('*.tif'))]
    for given in (folder, str(folder / '*.tif'), files, RasterDataset(folder)):
        table = embed(task, given, 's2', 16, progress=False)
        assert table.frame['source'].tolist() == ['a.tif']
        assert table.frame['cloud'].tolist() == [0]
    for alone in files[1:]:
        with pytest.raises(RasterError, match=r'is a quality mask .* give the images'):
            embed(task, alone, 's2', 16, progress=False)


@pytest.fixture
def cloudy(write_raster: Writer, tmp_path: Path) -> Path:
    """Three patches of 16 x 16: half cloud, a quarter missing and the rest cloud, clear."""
    codes = np.full((1, 8, 24), 4)
    codes[0, :4, :8] = 9
    codes[0, :, 8:16] = 10
    codes[0, :2, 8:16] = 0
    write_raster('s2/T32TQM_20240611T101031_SCL.tif', data=codes, dtype='uint8', res=20)
    for band in BANDS:
        write_raster(
            f's2/T32TQM_20240611T101031_{band}.tif',
            data=np.full((1, 16, 48), 7),
            dtype='uint16',
        )
    return tmp_path / 's2'


def test_clouds_are_a_percentage_of_what_is_valid(
    cloudy: Path, fake: Callable[..., Any], write_raster: Writer, tmp_path: Path
) -> None:
    task = fake(bands=BANDS)
    out = tmp_path / 'out'
    options: dict[str, Any] = {'progress': False}
    table = embed(task, str(cloudy), 's2', 16, out=out, **options)
    frame = EmbeddingTable.load(out).frame
    assert frame['cloud'].tolist() == [50, 100, 0]
    assert frame['valid_fraction'].tolist() == [1, 0.75, 1]
    assert frame['sensor'].tolist() == ['sentinel-2'] * 3
    assert task.seen[-2][:, :4].isnan().all()  # what the mask calls missing
    name = 'T32TQM_20240611T101031_'
    assert table.record['masks'] == {f'{name}B02.tif': [f'{name}SCL.tif', 1, 'SCL']}
    # A tenth and more leaves the clear one; exactly the limit is kept.
    assert len(embed(task, str(cloudy), 's2', 16, max_cloud=10, **options)) == 1
    assert len(embed(task, str(cloudy), 's2', 16, max_cloud=50, **options)) == 2
    plain = write_raster('a.tif', bands=BANDS)
    with pytest.warns(
        UserWarning, match=r'1 of 1 scenes have no quality mask.* a\.tif'
    ):
        frame = embed(task, str(plain), 's2', 16, max_cloud=0, **options).frame
    assert len(frame) == 16
    assert frame['cloud'].isna().all()
    assert frame['sensor'].isna().all()
    with pytest.raises(RasterError, match='max_cloud is 101: give a percentage'):
        embed(task, str(plain), 's2', 16, max_cloud=101, **options)


def test_scenes_with_and_without_masks_share_an_archive(
    cloudy: Path, fake: Callable[..., Any], write_raster: Writer, tmp_path: Path
) -> None:
    write_raster('s2/a.tif', bands=BANDS)
    out = tmp_path / 'out'
    whole = embed(fake(bands=BANDS), str(cloudy), 's2', 16, out=out, progress=False)
    assert whole.frame['cloud'].isna().sum() == 16
    assert whole.frame['sensor'].notna().sum() == 3
    kinds = {name: str(whole.frame[name].dtype) for name in ('cloud', 'sensor')}
    assert kinds == {'cloud': 'float64', 'sensor': 'str'}


def test_backscatter_reaches_the_encoder_in_its_unit(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    path = write_raster('a.tif', data=np.full((2, 16, 16), 0.1), bands=('VV', 'VH'))
    task = fake('s1', 2, bands=['VV', 'VH'], units='db')
    table = embed(task, str(path), 's1', 16, units='amplitude', progress=False)
    np.testing.assert_allclose(task.seen[-1], -20, rtol=1e-6)
    assert table.record['units'] == {'a.tif': ['amplitude', 'db']}
    with pytest.raises(RasterError, match='state it with `units`'):
        embed(task, str(path), 's1', 16, progress=False)


def test_dates_of_a_cube_are_scenes_of_an_archive(
    fake: Callable[..., Any], tmp_path: Path
) -> None:
    path = cube(tmp_path / 'c.nc')
    task = fake(bands=['B04', 'B03', 'B02'])
    out = tmp_path / 'out'
    table = embed(task, str(path), 's2', 16, out=out, progress=False)
    assert table.frame['patch_id'][0] == 's2:c.nc#2024-06-01:0_0_16x16'
    assert len(table) == 8
    assert table.record['sources']['c.nc#2024-06-11'][0] == ['c.nc', 2, 'S2-B04', 10.0]
    np.testing.assert_array_equal(task.seen[-1][:, 0, 0], [2, 1, 0])
    task.seen.clear()
    embed(task, str(path), 's2', 16, out=out, progress=False)
    assert len(task.seen) == 1  # the empty patch that asks for the length
