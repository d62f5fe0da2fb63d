"""The plan: which windows, which bands, which grid, in which order."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from torchgeo.datasets import RasterDataset, Sentinel2

from torchgeo_cmr.embed.scenes.archive_plan import plan_scenes
from torchgeo_cmr.embed.scenes.torchgeo_dataset import open_dataset
from torchgeo_cmr.embed.scenes.work_item import patch_ids, places
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.scene import Scene, from_paths, scenes

Writer = Callable[..., Path]

S2 = 'torchgeo.datasets.Sentinel2'


def catalogue(*paths: Path) -> list[Scene]:
    return scenes(from_paths(paths))


def test_windows_go_row_by_row_and_leave_the_edge(write_raster: Writer) -> None:
    plan = plan_scenes(catalogue(write_raster('a.tif', shape=(40, 56))), 's2', 16, 12)
    (item,) = plan.items
    rows, columns = (0, 12, 24), (0, 12, 24, 36)
    expected = [[r, c, 16, 16] for r in rows for c in columns]
    assert item.windows.tolist() == expected
    assert patch_ids(item, item.windows)[5] == 's2:a.tif:12_12_16x16'
    assert item.key == 's2:a.tif'


def test_a_plan_is_the_same_however_files_are_listed(write_raster: Writer) -> None:
    files = [write_raster(name) for name in ('c/z.tif', 'a.tif', 'b.tif')]
    plan = plan_scenes(catalogue(*files), 's2', 16)
    again = plan_scenes(catalogue(*reversed(files)), 's2', 16)
    assert [item.id for item in plan.items] == ['a.tif', 'b.tif', 'c/z.tif']
    assert plan == again
    assert plan.scenes == again.scenes
    fewer = plan_scenes(catalogue(*files[:2]), 's2', 16, root=files[1].parent)
    assert fewer.scenes != plan.scenes
    assert fewer.items[0] == plan.items[0]


def test_a_moved_folder_has_the_same_scenes(
    write_raster: Writer, tmp_path: Path
) -> None:
    here = plan_scenes(catalogue(write_raster('here/a.tif')), 's2', 16)
    (tmp_path / 'here').rename(tmp_path / 'there')
    there = plan_scenes(catalogue(tmp_path / 'there' / 'a.tif'), 's2', 16)
    assert here.scenes == there.scenes
    assert here.root != there.root


def test_the_root_names_scenes(write_raster: Writer, tmp_path: Path) -> None:
    file = write_raster('x/y/a.tif')
    (item,) = plan_scenes(catalogue(file), 's2', 16, root=tmp_path).items
    assert item.id == 'x/y/a.tif'
    assert item.sources == [['x/y/a.tif', 1, 'B1', 10.0]]
    with pytest.raises(RasterError, match='not inside the root'):
        plan_scenes(catalogue(file), 's2', 16, root=tmp_path / 'other')


def test_small_scenes_are_counted_not_fatal(write_raster: Writer) -> None:
    files = [write_raster('a.tif'), write_raster('b.tif', shape=(64, 15))]
    with pytest.warns(
        UserWarning, match=r'1 of 2 scenes .* b\.tif \(64 x 15\): skipped'
    ):
        plan = plan_scenes(catalogue(*files), 's2', 16)
    assert plan.too_small == ('b.tif',)
    assert [item.id for item in plan.items] == ['a.tif']
    with pytest.raises(RasterError, match='choose a smaller size'):
        plan_scenes(catalogue(*files), 's2', 65)


@pytest.mark.parametrize(('size', 'stride'), [(0, None), (16, 0), (16, -4)])
def test_sizes_are_positive(
    write_raster: Writer, size: int, stride: int | None
) -> None:
    with pytest.raises(RasterError, match='1 or more'):
        plan_scenes(catalogue(write_raster('a.tif')), 's2', size, stride)


def test_nothing_is_an_error() -> None:
    with pytest.raises(RasterError, match='check the paths'):
        plan_scenes([], 's2', 16)


def test_bands_are_picked_by_name(write_raster: Writer) -> None:
    file = write_raster('a.tif', bands=('B02', 'B03', 'B04'))
    spec = {'bands': ['B04', 'B02']}
    (item,) = plan_scenes(catalogue(file), 's2', 16, in_channels=2, spec=spec).items
    assert item.scene.sources == ((str(file), 3), (str(file), 1))
    assert item.scene.bands == ('B04', 'B02')


def test_wrong_bands_are_named(write_raster: Writer) -> None:
    scene = catalogue(write_raster('a.tif', bands=('R', 'G', 'B')))
    spec = {'bands': ['B01', 'B02', 'B03']}
    with pytest.raises(
        RasterError,
        match=r's2 expects 3 bands \(B01, B02, B03\), .* gives 3 \(R, G, B\)',
    ):
        plan_scenes(scene, 's2', 16, in_channels=3, spec=spec)
    with pytest.raises(RasterError, match='expects 12 bands, the dataset gives 3'):
        plan_scenes(scene, 's2', 16, in_channels=12)
    with pytest.raises(RasterError, match='expects 3 bands'):
        plan_scenes(scene, 's2', 16, in_channels=3, spec=spec, transformed=True)


def test_names_that_only_count_match_by_number(write_raster: Writer) -> None:
    file = write_raster('a.tif', bands=('', ''))
    spec = {'bands': ['B01', 'B02']}
    (item,) = plan_scenes(catalogue(file), 's2', 16, in_channels=2, spec=spec).items
    assert item.scene.bands == ('band_1', 'band_2')
    with pytest.raises(RasterError, match='expects 3 bands'):
        plan_scenes(catalogue(file), 's2', 16, in_channels=3, spec={})
    # A transform may add bands: only the result can be counted.
    plan_scenes(catalogue(file), 's2', 16, in_channels=3, transformed=True)


def test_backscatter_is_converted_and_never_guessed(write_raster: Writer) -> None:
    (scene,) = catalogue(write_raster('a.tif', bands=('VV', 'VH')))
    power = [replace(scene, units='power')]
    db = {'units': 'db'}
    (item,) = plan_scenes(power, 's1', 16, spec=db).items
    assert (item.scene.units, item.scene.read_as) == ('power', 'db')
    for spec, transformed in (({'units': 'power'}, False), (db, True), ({}, False)):
        (item,) = plan_scenes(power, 's1', 16, spec=spec, transformed=transformed).items
        assert item.scene.read_as is None
    with pytest.raises(RasterError, match='does not say what its pixels are: state it'):
        plan_scenes([scene], 's1', 16, spec=db)
    (item,) = plan_scenes([scene], 's1', 16, spec=db, units='amplitude').items
    assert (item.scene.units, item.scene.read_as) == ('amplitude', 'db')
    (item,) = plan_scenes([scene], 's1', 16, spec=db, units='db').items
    assert item.scene.read_as is None
    with pytest.raises(
        RasterError, match='says that it is in power, units that it is in'
    ):
        plan_scenes(power, 's1', 16, spec=db, units='amplitude')
    with pytest.raises(RasterError, match="units is 'dB': give one of db, power"):
        plan_scenes([scene], 's1', 16, spec=db, units='dB')


def test_radar_of_any_spelling_must_say_its_unit(write_raster: Writer) -> None:
    plain = {'units': 'dn', 'bands': ['VV', 'VH']}
    spec = {**plain, 'units': 'db'}
    for bands in (('vv', 'vh'), ('Gamma0_VV', 'Gamma0_VH'), ('', '')):
        for dtype in ('float32', 'int16'):
            (scene,) = catalogue(write_raster('a.tif', bands=bands, dtype=dtype))
            with pytest.raises(RasterError, match='is never guessed'):
                plan_scenes([scene], 's1', 16, spec=spec)
            (item,) = plan_scenes([scene], 's1', 16, spec=spec, units='power').items
            assert (item.scene.units, item.scene.read_as) == ('power', 'db')
            # Stored integers are what an encoder of stored integers has seen.
            if dtype == 'int16':
                assert plan_scenes([scene], 's1', 16, spec=plain).items
                continue
            with pytest.raises(RasterError, match='is never guessed'):
                plan_scenes([scene], 's1', 16, spec=plain)
            assert plan_scenes([scene], 's1', 16, spec=plain, units='dn').items
    (scene,) = catalogue(write_raster('a.tif', bands=('VV_linear', 'VH_linear')))
    (item,) = plan_scenes([scene], 's1', 16, spec=spec).items
    assert (item.scene.units, item.scene.read_as) == ('power', 'db')
    with pytest.raises(RasterError, match='trained on radar whose pixels are dn'):
        plan_scenes([scene], 's1', 16, spec=plain)


def test_bands_go_by_name_where_there_are_names(write_raster: Writer) -> None:
    def order(given: tuple[str, ...], wanted: list[str]) -> list[int]:
        scenes_ = catalogue(write_raster('a.tif', bands=given))
        (item,) = plan_scenes(scenes_, 's2', 16, spec={'bands': wanted}).items
        return [index for _, index in item.scene.sources]

    assert order(('665', '490'), ['490', '665']) == [2, 1]
    assert order(('665', '490'), ['B02', 'B04']) == [2, 1]
    assert order(('2021', '2020'), ['2020', '2021']) == [2, 1]
    assert order(('band_3', 'band_1'), ['band_1', 'band_3']) == [2, 1]
    assert order(('red', 'blue'), ['B02', 'B04']) == [2, 1]
    # One side without any name: by position.
    assert order(('', ''), ['B02', 'B04']) == [1, 2]
    assert order(('B04', 'B02'), ['band_1', 'band_2']) == [1, 2]
    with pytest.raises(RasterError, match=r'there is no band B08$'):
        order(('B02', 'B04', 'B03'), ['B02', 'B08'])
    with pytest.raises(RasterError, match=r'there is no band B04$'):
        order(('band_3',), ['B04'])
    with pytest.raises(RasterError, match='VV could be x-VV or y-VV'):
        order(('x-VV', 'y-VV'), ['VV'])
    with pytest.raises(RasterError, match='the number of bands must agree'):
        order(('', '', ''), ['B02', 'B04'])


def test_a_file_has_one_date(write_raster: Writer) -> None:
    (scene,) = catalogue(write_raster('a.tif'))
    day, other = (pd.Timestamp(f'2024-06-{n}T00:00Z') for n in ('01', '02'))
    end = day + pd.Timedelta('86399s')
    dated = replace(scene, time_start=day, time_end=end)
    moment = day + pd.Timedelta('10h')
    # A product states the day, a catalogue the moment, and a file nothing.
    for same in (replace(scene, time_start=moment, time_end=moment), scene):
        assert len(plan_scenes([dated, same], 's2', 16).items) == 1
    moved = replace(scene, time_start=other, time_end=other)
    with pytest.raises(RasterError, match=r'a\.tif is listed at two dates, 2024-06-01'):
        plan_scenes([dated, moved], 's2', 16)


class Bands(RasterDataset):
    filename_glob = '*_fine.tif'
    filename_regex = r'(?P<tile>\w)_(?P<band>[a-z]+)\.tif'
    all_bands = ('coarse', 'fine')
    separate_files = True


def test_a_band_set_lies_on_its_finest_grid(
    write_raster: Writer, tmp_path: Path
) -> None:
    write_raster('a_coarse.tif', shape=(32, 32), res=20)
    write_raster('a_fine.tif', shape=(64, 64), res=10)
    (item,) = plan_scenes(scenes(Bands(tmp_path)), 's2', 16).items
    assert item.scene.shape == (64, 64)
    assert item.scene.transform.a == 10
    assert item.id == 'a_coarse.tif'
    assert item.sources == [
        ['a_coarse.tif', 1, 'coarse', 20.0],
        ['a_fine.tif', 1, 'fine', 10.0],
    ]


@pytest.mark.parametrize(
    ('coarse', 'message'),
    [
        ({'res': 20.0, 'origin': (500_010.0, 5e6)}, 'does not cover the same ground'),
        ({'res': 20.0, 'crs': 'EPSG:32633'}, 'is not in the CRS of'),
    ],
)
def test_a_band_set_must_lie_on_one_ground(
    write_raster: Writer, tmp_path: Path, coarse: dict[str, object], message: str
) -> None:
    write_raster('a_coarse.tif', shape=(32, 32), **coarse)
    write_raster('a_fine.tif', shape=(64, 64))
    with pytest.raises(RasterError, match=message):
        plan_scenes(scenes(Bands(tmp_path)), 's2', 16)


def test_a_band_that_is_no_raster_is_named(
    write_raster: Writer, tmp_path: Path
) -> None:
    write_raster('a_coarse.tif', shape=(32, 32), res=20)
    write_raster('a_fine.tif')
    catalogue = Bands(tmp_path)
    (tmp_path / 'a_fine.tif').write_bytes(b'no raster')
    with pytest.raises(RasterError, match=r'a_fine\.tif cannot be read as a raster'):
        scenes(catalogue)


def test_a_band_set_listed_once_a_file_is_one_scene(s2_folder: Path) -> None:
    bands = ['B02', 'B03', 'B04']
    by_folder = plan_scenes(scenes(Sentinel2(s2_folder, bands=bands)), 's2', 16)
    files = sorted(s2_folder.glob('*.tif'))
    by_file = plan_scenes(scenes(open_dataset(S2, map(str, files), bands)), 's2', 16)
    assert len(by_folder.items) == 4
    assert by_file == by_folder


def test_gsd_of_degrees_is_in_metres(write_raster: Writer) -> None:
    file = write_raster('a.tif', crs='EPSG:4326', res=1e-4, origin=(9.0, 60.0))
    (item,) = plan_scenes(catalogue(file), 's2', 16).items
    # 1e-4 degrees are 11.1 m of latitude, half as much of longitude at 60 degrees.
    assert item.scene.gsd[0] == pytest.approx(11.1 * 0.5**0.5, rel=0.01)


def test_a_raster_that_is_nowhere_is_named(write_raster: Writer) -> None:
    file = write_raster('far.tif')
    (item,) = plan_scenes(catalogue(file), 's2', 16).items
    lost = replace(
        item,
        scene=replace(
            item.scene,
            transform=item.scene.transform @ item.scene.transform.scale(1e20),
        ),
    )
    with pytest.raises(RasterError, match=r'far\.tif: the patch at'):
        places(lost, lost.windows)


def test_datasets_are_opened_by_name(s2_folder: Path) -> None:
    name = S2
    dataset = open_dataset(name, [str(s2_folder)], ['B03', 'B02'])
    assert isinstance(dataset, Sentinel2)
    assert list(dataset.bands) == ['B03', 'B02']
    assert len(open_dataset(name, [str(s2_folder / '*B02.tif')], ['B02']).index) == 4
    plain = open_dataset(
        'torchgeo.datasets.RasterDataset', [str(s2_folder)], ['band_1']
    )
    assert len(plain.index) == 12


@pytest.mark.parametrize(
    ('name', 'bands', 'message'),
    [
        ('torchgeo.datasets.Sentinel9', None, 'is not a raster dataset'),
        ('nowhere.Sentinel2', None, 'is not a raster dataset'),
        ('Sentinel2', None, 'is not a raster dataset'),
        ('torchgeo.datasets.CDL', None, 'is not a raster dataset of images'),
        ('torchgeo.datasets.EuroSAT', None, 'is not a raster dataset'),
        (S2, ['VV'], 'Sentinel2 has no band VV'),
        ('torchgeo.datasets.Sentinel1', ['VV'], 'Sentinel1 recognises no file'),
    ],
)
def test_a_dataset_that_does_not_fit_is_explained(
    s2_folder: Path, name: str, bands: list[str] | None, message: str
) -> None:
    with pytest.raises(RasterError, match=message):
        open_dataset(name, [str(s2_folder)], bands)
