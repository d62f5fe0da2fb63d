"""STAC items as the list of inputs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rioxarray  # noqa: F401
import xarray as xr

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.scene import Scene
from torchgeo_cmr.scenes.sources.stac import find_items

Writer = Callable[..., Path]


def asset(href: str, *names: str, **more: Any) -> dict[str, Any]:
    bands = {'eo:bands': [{'name': name} for name in names]} if names else {}
    return {'href': href, 'type': 'image/tiff; application=geotiff', **bands, **more}


def item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        'type': 'Feature',
        'stac_version': '1.0.0',
        'id': 'one',
        'properties': {'datetime': '2024-06-11T10:10:31Z', **properties},
        'assets': assets,
    }


def opened(content: Any, folder: Path, *bands: str) -> list[Scene]:
    path = folder / 'items.json'
    path.write_text(json.dumps(content))
    return [scene for _, opening in find_items(str(path), bands) for scene in opening()]


@pytest.fixture
def folder(write_raster: Writer, tmp_path: Path) -> Path:
    for name in ('b2', 'b3', 'scl', 'tci'):
        write_raster(f'{name}.tif', dtype='uint16', bands=('',))
    write_raster('both.tif', bands=('VV', 'VH'))
    return tmp_path


def test_bands_dates_and_masks_come_from_the_item(folder: Path) -> None:
    assets = {
        'visual': asset('tci.tif', 'B02', roles=['visual']),
        'far': asset('https://example.org/b2.tif', 'B02'),
        'B03': asset('b3.tif', roles=['data']),
        'blue': asset('./b2.tif', 'B02', **{'raster:bands': [{'nodata': 0}]}),
        'SCL': asset('scl.tif'),
        'metadata': {'href': 'meta.xml'},
    }
    told = item(assets, platform='Sentinel-2A', constellation='Sentinel-2')
    (scene,) = opened(told, folder, 'B03', 'B02')
    assert scene.bands == ('B03', 'B02')
    assert [Path(file).name for file, _ in scene.sources] == ['b3.tif', 'b2.tif']
    assert scene.time_start == scene.time_end == pd.Timestamp('2024-06-11T10:10:31Z')
    assert scene.sensor == 'sentinel-2'
    assert scene.quality is not None
    assert scene.quality.bands == ('SCL',)
    # The bands differ in what they say of nodata.
    assert scene.nodata is None
    (scene,) = opened(told, folder, 'B02')
    assert scene.nodata == 0
    # Bands that are not there: all, for the message of who asked.
    (scene,) = opened(told, folder, 'B99')
    assert scene.bands == ('B03', 'B02')


def test_values_of_nodata_that_only_the_item_tells_apart(
    folder: Path, write_raster: Writer
) -> None:
    values = {'B02': 0, 'B03': 65_535}
    assets = {
        name: asset(f'b{name[-1]}.tif', name, **{'raster:bands': [{'nodata': value}]})
        for name, value in values.items()
    }
    with pytest.raises(RasterError, match=r'several values of nodata, 0 of B02, and'):
        opened(item(assets), folder, 'B02', 'B03')
    for name, value in values.items():
        file = f'b{name[-1]}.tif'
        write_raster(file, dtype='uint16', bands=('',), nodata=value)
    (scene,) = opened(item(assets), folder, 'B02', 'B03')
    assert scene.nodata is None
    assert not scene.unmarked


def test_common_names_of_sentinel_2_are_bands(folder: Path) -> None:
    assets = {'blue': asset('b2.tif', 'blue'), 'green': asset('b3.tif', 'green')}
    (scene,) = opened(item(assets, constellation='sentinel-2'), folder, 'B03', 'B02')
    assert scene.bands == ('B03', 'B02')
    (scene,) = opened(item(assets, platform='landsat-8'), folder, 'B03', 'B02')
    assert scene.bands == ('blue', 'green')


def test_bands_of_the_planetary_computer(folder: Path) -> None:
    def band(name: str, common: str) -> dict[str, Any]:
        return {'eo:bands': [{'name': name, 'common_name': common}]}

    landsat = {
        'red': asset('b2.tif', **band('OLI_B4', 'red')),
        'nir08': asset('b3.tif', **band('OLI_B5', 'nir08')),
        'qa_pixel': asset('scl.tif'),
    }
    told = item(landsat, platform='landsat-9')
    (scene,) = opened(told, folder, 'SR_B5', 'SR_B4')
    assert [Path(file).name for file, _ in scene.sources] == ['b3.tif', 'b2.tif']
    assert scene.quality is not None
    assert scene.quality.bands == ('QA_PIXEL',)
    told = item(
        {'B02': asset('b2.tif', **band('B02', 'blue'))}, constellation='Sentinel 2'
    )
    (scene,) = opened(told, folder, '490')
    assert (scene.bands, scene.sensor) == (('490',), 'sentinel-2')


def test_terrain_corrected_radar_of_the_planetary_computer(
    write_raster: Writer, tmp_path: Path
) -> None:
    for band in ('vv', 'vh'):
        write_raster(f'rtc/iw-{band}.rtc.tiff', bands=('',))
    assets = {b: asset(f'rtc/iw-{b}.rtc.tiff', roles=['data']) for b in ('vh', 'vv')}
    told = item(assets, constellation='Sentinel-1', platform='SENTINEL-1A')
    (scene,) = opened(told, tmp_path, 'VV', 'VH')
    assert [Path(file).name[3:5] for file, _ in scene.sources] == ['vv', 'vh']
    assert (scene.bands, scene.units) == (('VV', 'VH'), 'power')
    assert scene.sensor == 'sentinel-1'


def test_units_are_those_of_the_item(folder: Path) -> None:
    told = item({'vv': asset('b2.tif'), 'vh': asset('b3.tif')})
    (scene,) = opened(told, folder, 'Sigma0_VV_db', 'Sigma0_VH_db')
    assert (scene.bands, scene.units) == (('Sigma0_VV_db', 'Sigma0_VH_db'), None)
    told = item({'VV_dB': asset('b2.tif'), 'VH_dB': asset('b3.tif')})
    (scene,) = opened(told, folder, 'VV', 'VH')
    assert (scene.bands, scene.units) == (('VV', 'VH'), 'db')


@pytest.mark.parametrize(
    ('key', 'mask'),
    [
        *((key, 'SCL') for key in ('scl', 'SCL', 'SCL_20m', 'SCL_60m', 'scl-jp2')),
        *((key, 'QA_PIXEL') for key in ('qa_pixel', 'pixel_qa', 'QA_PIXEL')),
        *(('Fmask', 'FMASK'), ('fmask', 'FMASK')),
        *(('udm2', 'UDM2_CLOUD'), ('ortho_udm2', 'UDM2_CLOUD')),
    ],
)
def test_masks_by_the_keys_of_catalogues(
    write_raster: Writer, tmp_path: Path, key: str, mask: str
) -> None:
    write_raster('m.tif', data=np.zeros((8, 4, 4)), bands=('',) * 8)
    write_raster('b.tif', shape=(4, 4), bands=('',))
    told = item({key: asset('m.tif'), 'B02': asset('b.tif')})
    (scene,) = opened(told, tmp_path, 'B02')
    assert scene.quality is not None
    assert scene.quality.bands[0] == mask
    # No band of the scene, also where all bands are taken.
    (scene,) = opened(told, tmp_path)
    assert scene.bands == ('B02',)


def test_the_finest_of_several_renditions(write_raster: Writer, tmp_path: Path) -> None:
    assets: dict[str, Any] = {}
    for res in (60, 20, 10):
        for band in ('B02', 'SCL'):
            write_raster(f'{band}_{res}.tif', shape=(120 // res,) * 2, res=res)
            assets[f'{band}_{res}m'] = asset(f'{band}_{res}.tif', band)
    (scene,) = opened(item(assets), tmp_path, 'B02')
    assert Path(scene.path).name == 'B02_10.tif'
    assert scene.quality is not None
    assert Path(scene.quality.path).name == 'SCL_10.tif'


@pytest.mark.parametrize(
    ('href', 'file'),
    [
        ('./my%20data/b.tif', 'my data/b.tif'),
        ('my data/b.tif', 'my data/b.tif'),
        ('a%20b/b.tif', 'a%20b/b.tif'),
        ('caf%C3%A9.tif', 'caf\u00e9.tif'),
        ('100%.tif', '100%.tif'),
        ('b[1]#2?.tif', 'b[1]#2?.tif'),
        ('file://{root}/my%20data/b.tif', 'my data/b.tif'),
        ('file://localhost{root}/my%20data/b.tif', 'my data/b.tif'),
        ('file:{root}/b.tif', 'b.tif'),
        ('~/home.tif', 'home.tif'),
    ],
)
def test_a_href_is_a_path_or_a_uri(
    write_raster: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    href: str,
    file: str,
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    path = write_raster(file)
    (scene,) = opened(item({'B02': asset(href.format(root=tmp_path))}), tmp_path, 'B02')
    assert Path(scene.path) == path


def test_a_band_whose_file_is_not_there_is_named(folder: Path) -> None:
    told = item({'B02': asset('b2.tif', 'B02'), 'nir': asset('gone.tif', 'B08')})
    with pytest.raises(
        RasterError, match=r'one has B08 in gone\.tif, which is not there'
    ):
        opened(told, folder, 'B02', 'B08')
    assert opened(told, folder, 'B02')[0].bands == ('B02',)


def test_one_file_of_several_bands_of_stac_1_1(folder: Path) -> None:
    assets = {
        'data': {
            'href': 'both.tif',
            'unit': 'dB',
            'bands': [{'name': 'vertical'}, {'name': 'cross', 'nodata': -99}],
        }
    }
    times = {'datetime': None, 'start_datetime': '2024-01-01T00:00:00Z'}
    times['end_datetime'] = '2024-02-01T00:00:00Z'
    (scene,) = opened(item(assets, **times), folder, 'cross', 'VV')
    assert [index for _, index in scene.sources] == [2, 1]
    assert scene.units == 'db'
    assert str(scene.time_end) == '2024-02-01 00:00:00+00:00'
    assert scene.sensor is None


def test_a_day_is_the_whole_of_it_and_no_date_is_guessed(folder: Path) -> None:
    assets = {'data': asset('both.tif')}
    (scene,) = opened(item(assets, datetime='2024-06-11'), folder)
    assert scene.time_start == pd.Timestamp('2024-06-11T00:00Z')
    assert scene.time_end == pd.Timestamp('2024-06-11T23:59:59.999999Z')
    times = {'datetime': None, 'start_datetime': '2024-06', 'end_datetime': '2024-07'}
    (scene,) = opened(item(assets, **times), folder)
    assert scene.time_start == pd.Timestamp('2024-06-01T00:00Z')
    assert scene.time_end == pd.Timestamp('2024-07-31T23:59:59.999999Z')
    with pytest.raises(RasterError, match=r"item one: '11.06.2024' .* '2024-06-11' or"):
        opened(item(assets, datetime='11.06.2024'), folder)
    with pytest.raises(RasterError, match='date of the item one'):
        opened(item(assets, datetime=20240611), folder)


def test_collections_and_catalogues(folder: Path) -> None:
    one = item({'B02': asset('b2.tif')})
    both = {'type': 'FeatureCollection', 'features': [one, {**one, 'id': 'two'}]}
    assert len(opened(both, folder)) == 2
    (folder / 'deep').mkdir()
    one = item({'B02': asset('../b2.tif')})
    (folder / 'deep' / 'item.json').write_text(json.dumps(one))
    links = [
        {'rel': 'self', 'href': './x'},
        {'rel': 'item', 'href': './deep/item.json'},
    ]
    (scene,) = opened({'type': 'Collection', 'links': links}, folder)
    assert Path(scene.path) == folder / 'b2.tif'


def test_a_link_that_leads_nowhere_keeps_no_other(folder: Path) -> None:
    one = item({'B02': asset('b2.tif')})
    (folder / 'item.json').write_text(json.dumps(one))
    (folder / 'cut.json').write_text(json.dumps(one)[:20])
    deep = {'rel': 'child', 'href': './deep.json'}
    names = ('absent.json', 'item.json', 'cut.json')
    links = [{'rel': 'item', 'href': f'./{name}'} for name in names]
    (folder / 'top.json').write_text(json.dumps({'type': 'Catalog', 'links': [deep]}))
    back = {'rel': 'child', 'href': './top.json'}
    (folder / 'deep.json').write_text(
        json.dumps({'type': 'Catalog', 'links': [*links, back]})
    )
    found = dict(find_items(str(folder / 'top.json')))
    assert [Path(name).name for name in found] == ['absent.json', 'one', 'cut.json']
    absent, opening, cut = found.values()
    assert Path(opening()[0].path) == folder / 'b2.tif'
    with pytest.raises(RasterError, match=r'absent.json cannot be read'):
        absent()
    with pytest.raises(RasterError, match=r'cut.json cannot be read as JSON'):
        cut()


def test_a_parquet_is_a_list_as_well(folder: Path) -> None:
    row = item({'B02': asset((folder / 'b2.tif').as_uri()), 'B03': None})
    row |= {
        'datetime': pd.Timestamp('2024-06-11T10:10:31Z'),
        'proj:code': 'EPSG:32632',
        'platform': 'landsat-9',
    }
    del row['properties']
    path = folder / 'items.parquet'
    pq.write_table(pa.Table.from_pylist([row]), path)
    ((name, opening),) = find_items(str(path), ['B02'])
    (scene,) = opening()
    assert name == 'one'
    assert scene.bands == ('B02',)
    assert scene.time_start == pd.Timestamp('2024-06-11T10:10:31Z')
    assert scene.sensor == 'landsat-9'


def test_the_projection_of_the_item(write_raster: Writer, tmp_path: Path) -> None:
    write_raster('bare.tif', crs=None)
    told = item({'B02': asset('bare.tif')}, **{'proj:epsg': 32633})
    (scene,) = opened(told, tmp_path)
    assert scene.crs.to_epsg() == 32633
    write_raster('bare.tif')
    with pytest.raises(RasterError, match=r'one is in EPSG:32633, its file .*32N'):
        opened(told, tmp_path)


@pytest.fixture(params=['cube.nc', 'cube.zarr'])
def cube(request: pytest.FixtureRequest, folder: Path) -> str:
    shape = (2, 8, 8)
    made = xr.Dataset(
        {
            b: (('time', 'y', 'x'), np.full(shape, i))
            for i, b in enumerate(['B02', 'B03'])
        },
        coords={
            'time': pd.DatetimeIndex(['2024-06-01', '2024-06-11']),
            'y': 5e6 - 10.0 * np.arange(8),
            'x': 5e5 + 10.0 * np.arange(8),
        },
    )
    made.isel(time=0, drop=True).to_netcdf(folder / 'bare.nc')
    made = made.rio.write_crs('EPSG:32632')
    if request.param == 'cube.nc':
        made.to_netcdf(folder / request.param)
    else:
        made.to_zarr(folder / request.param, zarr_format=2)
    return request.param


def test_an_asset_may_be_a_cube(cube: str, folder: Path) -> None:
    told = item(
        {'data': {'href': cube, 'roles': ['data'], 'nodata': 7}},
        constellation='Sentinel-2',
        **{'proj:code': 'EPSG:32632'},
    )
    found = opened(told, folder, 'B03', 'B02')
    # The dates are those of the cube, not the one of the item.
    assert [scene.part for scene in found] == ['2024-06-01', '2024-06-11']
    assert [str(scene.time_start)[:10] for scene in found] == [s.part for s in found]
    for scene in found:
        assert Path(scene.path) == folder / cube
        assert scene.bands == ('B03', 'B02')
        assert (scene.sensor, scene.nodata) == ('sentinel-2', 7)
    # Rasters that hold the bands come first; others do not hide the cube.
    told['assets']['blue'] = asset('b2.tif', 'B02')
    assert [scene.layers for scene in opened(told, folder, 'B02')] == [None]
    assert len(opened(told, folder, 'B03', 'B02')) == 2
    told['properties']['proj:code'] = 'EPSG:32633'
    with pytest.raises(RasterError, match=r'one is in EPSG:32633, its file .*32N'):
        opened(told, folder, 'B03', 'B02')


@pytest.mark.parametrize('cube', ['cube.nc'], indirect=True)
def test_an_item_says_what_its_cube_leaves_open(cube: str, folder: Path) -> None:
    told = item({'data': {'href': 'bare.nc'}}, **{'proj:epsg': 32632})
    (scene,) = opened(told, folder, 'B02')
    assert scene.crs.to_epsg() == 32632
    assert scene.time_start == pd.Timestamp('2024-06-11T10:10:31Z')
    del told['properties']['proj:epsg']
    with pytest.raises(RasterError, match='has no CRS'):
        opened(told, folder, 'B02')
    told['properties']['proj:code'] = 'EPSG:nonsense'
    with pytest.raises(RasterError, match='EPSG:nonsense, which is not a CRS: correct'):
        opened(told, folder, 'B02')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'labels': []}, 'holds no STAC items'),
        ([1, 2], 'holds no STAC items'),
        ({'type': 'FeatureCollection'}, 'holds no STAC items'),
        (
            item({'B02': asset('gone.tif')}),
            r'the item one has no band in a local file \(gone\.tif is not there\)',
        ),
        (
            item({'meta': {'href': 'a.xml'}}),
            r'has no band: its assets \(meta\) are no GeoTIFF',
        ),
        (item({}), r'has no band: its assets \(none\) are no GeoTIFF'),
        (
            item({'visual': asset('b2.tif')}),
            'of its assets visual are pictures for display',
        ),
    ],
)
def test_what_cannot_be_used_is_named(
    content: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(RasterError, match=message):
        opened(content, tmp_path)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('a.json', 'cannot be read as JSON'), ('a.parquet', 'as stac-geoparquet')],
)
def test_what_cannot_be_read_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text('{')
    with pytest.raises(RasterError, match=message):
        find_items(str(tmp_path / name))


def test_entries_that_are_no_items_keep_no_other(folder: Path) -> None:
    good = item({'B02': asset('b2.tif')})
    wrong: list[Any] = [7, {'B02': 'b2.tif'}, {'B02': {'href': 5}}, {}]
    strange = [item(assets) for assets in wrong]
    path = folder / 'items.json'
    features = [good, None, *strange, good]
    path.write_text(json.dumps({'type': 'FeatureCollection', 'features': features}))
    openings = [opening for _, opening in find_items(str(path))]
    assert len(openings) == len(features)
    assert len(openings[0]()) == len(openings[-1]()) == 1
    with pytest.raises(
        RasterError, match=r'entry 1 of .*items.json is not a STAC item'
    ):
        openings[1]()
    for opening in openings[2:-1]:
        with pytest.raises(RasterError, match='item one has no band'):
            opening()
