"""Cubes: one scene per date, north up, decoded as xarray decodes."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from rasterio.windows import Window

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.cube_reader import CubeReader
from torchgeo_cmr.scenes.sources.cubes import cube_scenes

DATES = ('2024-06-01', '2024-06-11')


def cube(
    *, south_up: bool = False, crs: str | None = 'EPSG:32632', dates: Any = DATES
) -> xr.Dataset:
    """Two bands of 6 x 8 pixels of 10 m at two dates; every value is another one."""
    rng = np.random.default_rng(0)
    shape = (len(dates), 6, 8)
    x, y = 500_005.0 + 10 * np.arange(8), 5_000_055.0 - 10 * np.arange(6)
    made = xr.Dataset(
        {
            'S2-B02': (('t', 'y', 'x'), rng.integers(1, 1000, shape).astype('int16')),
            'S2-B03': (('t', 'y', 'x'), rng.integers(1, 1000, shape).astype('int16')),
            'station': (('t',), np.arange(len(dates))),
        },
        coords={'t': pd.DatetimeIndex(dates), 'y': y, 'x': x},
    )
    made = made if crs is None else made.rio.write_crs(crs)
    return made.isel(y=slice(None, None, -1)) if south_up else made


def window(row: int, column: int, height: int, width: int) -> Window:
    return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]


@pytest.mark.parametrize('south_up', [False, True])
def test_every_date_is_a_scene_with_north_up(tmp_path: Path, south_up: bool) -> None:
    path = str(tmp_path / 'a.nc')
    cube(south_up=south_up).to_netcdf(path)
    scenes = cube_scenes(path)
    truth = cube()
    assert [scene.part for scene in scenes] == list(DATES)
    for step, scene in enumerate(scenes):
        assert scene.bands == ('S2-B02', 'S2-B03')
        assert scene.sources == ((path, step + 1),) * 2
        assert scene.crs.to_epsg() == 32632
        assert tuple(scene.transform)[:6] == (10, 0, 500_000, 0, -10, 5_000_060)
        day = pd.Timestamp(DATES[step], tz='UTC')
        assert scene.time_start == day
        assert scene.time_end == day + pd.Timedelta('86399.999999s')
        assert scene.units == 'dn'
        assert scene.gsd == (10, 10)
        reader = pickle.loads(pickle.dumps(CubeReader(scene)))
        expected = np.stack([truth[b].values[step] for b in scene.bands])
        np.testing.assert_array_equal(reader.read(window(0, 0, 6, 8)), expected)
        np.testing.assert_array_equal(
            reader.read(window(1, 2, 3, 4), bands=[1])[0], expected[1, 1:4, 2:6]
        )
        over = reader.read(window(4, -1, 4, 3))
        np.testing.assert_array_equal(over[:, :2, 1:], expected[:, 4:, :2])
        assert np.isnan(over[:, 2:]).all()
        assert np.isnan(over[:, :, 0]).all()
        assert np.isnan(reader.read(window(9, 9, 2, 2))).all()
        many = reader.read_many(np.array([[2, 4, 2, 2], [0, 0, 2, 2]]))
        np.testing.assert_array_equal(many[0], expected[:, 2:4, 4:6])
        np.testing.assert_array_equal(many[1], expected[:, :2, :2])


def test_bands_of_a_store_that_lists_its_folder_keep_their_places(
    tmp_path: Path,
) -> None:
    names = [f'B{i}' for i in range(1, 13)]
    one = cube()['S2-B02']
    made = xr.Dataset(dict.fromkeys(reversed(names), one))
    made.to_zarr(tmp_path / 'a.zarr', consolidated=False)
    made.to_netcdf(tmp_path / 'a.nc')
    for file, order in (('a.zarr', names), ('a.nc', names[::-1])):
        scenes = cube_scenes(str(tmp_path / file))
        assert {scene.bands for scene in scenes} == {tuple(order)}


def test_numbers_beyond_float32_are_infinite_without_a_word(tmp_path: Path) -> None:
    made = cube()[['S2-B02']].astype('float64')
    made['S2-B02'].values[:, 1, 2] = 1e300
    made.to_netcdf(tmp_path / 'a.nc')
    pixels = CubeReader(cube_scenes(str(tmp_path / 'a.nc'))[0]).read(window(0, 0, 6, 8))
    assert pixels[0, 1, 2] == np.inf
    assert np.isfinite(pixels).sum() == 47


def test_a_cube_without_a_date(tmp_path: Path) -> None:
    cube().isel(t=slice(0)).to_netcdf(tmp_path / 'a.nc')
    with pytest.raises(RasterError, match=r'a\.nc holds no date, its t is empty'):
        cube_scenes(str(tmp_path / 'a.nc'))


@pytest.mark.parametrize('suffix', ['nc', 'zarr'])
@pytest.mark.parametrize('moment', ['2024-06-01', '2024-06-11T10:20:30', 'NaT'])
def test_a_date_cut_out_of_a_cube_keeps_its_date(
    tmp_path: Path, suffix: str, moment: str
) -> None:
    path = str(tmp_path / f'a.{suffix}')
    one_date = cube(dates=[moment]).isel(t=0)
    made = one_date.assign_coords(made=np.datetime64('2025-01-01', 'ns'))
    made['made'].attrs['standard_name'] = 'forecast_reference_time'
    if suffix == 'nc':
        made.to_netcdf(path)
    else:
        made.to_zarr(path, consolidated=False)
    (scene,) = cube_scenes(path)
    assert scene.part == ''
    date = pd.Timestamp(moment, tz='UTC')
    if date is pd.NaT:
        assert scene.time_start is scene.time_end is None
        return
    rest = pd.Timedelta('86399.999999s' if len(moment) == 10 else 0)
    assert (scene.time_start, scene.time_end) == (date, date + rest)
    found = CubeReader(scene).read(window(0, 0, 6, 8))
    np.testing.assert_array_equal(found[1], one_date['S2-B03'].values)


@pytest.mark.parametrize('dates', [{}, {'time': '2024-06-01'}])
def test_of_several_moments_the_time_counts(
    tmp_path: Path, dates: dict[str, str]
) -> None:
    path = str(tmp_path / 'a.nc')
    others = {'made': '2025-01-01', 'sent': '2025-01-02', **dates}
    moments = {name: np.datetime64(text, 'ns') for name, text in others.items()}
    cube().isel(t=0, drop=True).assign_coords(moments).to_netcdf(path)
    (scene,) = cube_scenes(path)
    expected = pd.Timestamp(dates['time'], tz='UTC') if dates else None
    assert scene.time_start == expected


def test_values_are_decoded_and_missing_ones_are_nan(tmp_path: Path) -> None:
    path = str(tmp_path / 'a.nc')
    made = cube()
    made['S2-B02'] = made['S2-B02'].astype('float32')
    made['S2-B02'].attrs['units'] = 'power'
    made['S2-B02'].values[0, 0, 0] = -5
    made.to_netcdf(
        path,
        encoding={'S2-B02': {'scale_factor': 0.5, '_FillValue': -10, 'dtype': 'i2'}},
    )
    scene = cube_scenes(path, ['B02'])[0]
    assert scene.bands == ('S2-B02',)
    assert scene.units == 'power'
    pixels = CubeReader(scene).read(window(0, 0, 2, 2))[0]
    assert np.isnan(pixels[0, 0])
    np.testing.assert_array_equal(pixels[1], made['S2-B02'].values[0, 1, :2])


def test_a_scene_may_be_resampled(tmp_path: Path) -> None:
    path = str(tmp_path / 'a.nc')
    made = cube()
    # A plane keeps its slope under bilinear resampling.
    made['S2-B02'].values[:] = np.arange(8) * 10
    made.to_netcdf(path)
    scene = cube_scenes(path, ['B02'])[0].at_gsd(5)
    assert scene.shape == (12, 16)
    pixels = CubeReader(scene).read(window(4, 4, 4, 4))[0]
    np.testing.assert_allclose(pixels[0], [17.5, 22.5, 27.5, 32.5], atol=1e-3)


def test_labels_of_a_further_dimension_are_bands(tmp_path: Path) -> None:
    path = str(tmp_path / 'a.nc')
    one = cube().isel(t=0, drop=True).drop_vars('station')
    stacked = one.to_dataarray('band', name='pixels').to_dataset()
    stacked['pixels'].encoding.clear()
    stacked.to_netcdf(path)
    (scene,) = cube_scenes(path)
    assert scene.bands == ('S2-B02', 'S2-B03')
    assert (scene.part, scene.time_start) == ('', None)
    pixels = CubeReader(scene).read(window(0, 0, 6, 8))
    np.testing.assert_array_equal(pixels[1], one['S2-B03'].values)


def test_a_moment_is_no_day(tmp_path: Path) -> None:
    path = str(tmp_path / 'a.nc')
    cube(dates=['2024-06-01T10:11:12']).to_netcdf(path)
    (scene,) = cube_scenes(path)
    assert scene.time_start == scene.time_end == pd.Timestamp('2024-06-01T10:11:12Z')
    assert scene.part == '2024-06-01T101112.000000'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: cube(crs=None), 'has no CRS: declare it with `rio.write_crs`'),
        (lambda c: c.assign_coords(x=[*range(7), 99]), 'has no even steps along x'),
        (lambda c: c.isel(x=[0]), 'has no coordinates along x: a grid needs two'),
        (lambda c: c.rename(x='u', y='v'), 'has no dimensions x and y'),
        (lambda c: c.drop_vars(['S2-B02', 'S2-B03']), 'has no variable over y and x'),
        (lambda c: cube(dates=[DATES[0]] * 2), 'two steps of one time along t'),
    ],
)
def test_what_is_no_image_cube_is_named(
    tmp_path: Path, change: Any, message: str
) -> None:
    path = str(tmp_path / 'a.nc')
    change(cube()).to_netcdf(path)
    with pytest.raises(RasterError, match=message):
        cube_scenes(path)


@pytest.mark.parametrize(('name', 'needs'), [('a.nc', 'netcdf4'), ('a.zarr', 'zarr')])
def test_what_is_no_cube_is_named(tmp_path: Path, name: str, needs: str) -> None:
    (tmp_path / name).write_bytes(b'no cube')
    with pytest.raises(
        RasterError, match=f'cannot be read as a cube .*{needs} is inst'
    ):
        cube_scenes(str(tmp_path / name))


@pytest.mark.parametrize('consolidated', [True, False])
@pytest.mark.parametrize('form', [2, 3])
def test_zarr_is_read_alike(tmp_path: Path, form: Any, consolidated: bool) -> None:
    """Without a warning of xarray, which would be an error here."""
    pytest.importorskip('zarr', reason='zarr is an extra')
    path = str(tmp_path / 'a.zarr')
    with warnings.catch_warnings():
        # The specification of format 3 does not have it yet.
        warnings.filterwarnings('ignore', 'Consolidated metadata is currently not part')
        cube().to_zarr(path, zarr_format=form, consolidated=consolidated)
    scene = cube_scenes(path, ['B03'])[1]
    pixels = CubeReader(scene).read(window(0, 0, 6, 8))[0]
    np.testing.assert_array_equal(pixels, cube()['S2-B03'].values[1])


def test_coordinates_may_be_rounded_to_float32(tmp_path: Path) -> None:
    made = cube(crs=None).isel(t=0, drop=True)
    made = made.drop_vars('station').assign_coords(
        x=(12 + 1e-4 * np.arange(8)).astype('float32'),
        y=(45 - 1e-4 * np.arange(6)).astype('float32'),
    )
    path = str(tmp_path / 'a.nc')
    made.rio.write_crs('EPSG:4326').to_netcdf(path)
    (scene,) = cube_scenes(path)
    wanted = (1e-4, 0, 12 - 5e-5, 0, -1e-4, 45 + 5e-5)
    np.testing.assert_allclose(tuple(scene.transform)[:6], wanted, rtol=0.01, atol=4e-6)
    # A twentieth of a pixel that rounding does not explain.
    uneven = made.assign_coords(x=made.x.astype('float64') + 1e-5 * (np.arange(8) == 3))
    uneven.rio.write_crs('EPSG:4326').to_netcdf(tmp_path / 'b.nc')
    with pytest.raises(RasterError, match='no even steps along x'):
        cube_scenes(str(tmp_path / 'b.nc'))


def test_another_calendar_is_refused(tmp_path: Path) -> None:
    made = cube(dates=DATES)
    days = {'units': 'days since 2024-01-01', 'calendar': '360_day'}
    made = made.assign_coords(t=('t', [0, 30], days))
    made.to_netcdf(tmp_path / 'a.nc')
    with pytest.raises(RasterError, match='by the calendar 360_day'):
        cube_scenes(str(tmp_path / 'a.nc'))


def test_short_names_and_a_range_of_valid_values(tmp_path: Path) -> None:
    path = str(tmp_path / 'a.nc')
    made = cube(crs='EPSG:4326').rename(x='lon', y='lat')
    made = made.assign_coords(lon=200 + 0.1 * np.arange(8), lat=40 - 0.1 * np.arange(6))
    made['S2-B02'][0, 0] = -9999
    # Whole numbers speak of what is packed, decimals of what is meant.
    made['packed'] = made['S2-B02'] / 10_000
    made['packed'].attrs = {'valid_range': np.array([0, 10_000], 'int16')}
    made['meant'] = made['packed'].assign_attrs(valid_min=0.0)
    made['S2-B02'].attrs['valid_min'] = np.int16(0)
    how = {'dtype': 'int16', 'scale_factor': 1e-4, '_FillValue': -32768}
    made.to_netcdf(path, encoding={'packed': how, 'meant': how})
    scene = cube_scenes(path)[0]
    assert scene.transform.c == pytest.approx(199.95)
    first = CubeReader(scene).read(window(0, 0, 6, 8))
    for name in ('S2-B02', 'packed', 'meant'):
        plane = first[scene.bands.index(name)]
        assert np.isnan(plane[0]).all()
        np.testing.assert_allclose(plane[1:], made[name].values[0, 1:], rtol=1e-6)
    assert np.isfinite(first[scene.bands.index('S2-B03')]).all()


@pytest.mark.parametrize('unit', ['km', 'Kilometers', 'rad', 'degrees_east'])
def test_coordinates_in_another_unit_than_the_crs_are_refused(
    tmp_path: Path, unit: str
) -> None:
    path = str(tmp_path / 'a.nc')
    made = cube()
    made['x'].attrs['units'] = unit
    made.to_netcdf(path)
    with pytest.raises(RasterError, match=f'counts x in {unit}'):
        cube_scenes(path)
