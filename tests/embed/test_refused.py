"""One broken scene in a folder: refused with a sentence, and the others are embedded."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from torchgeo_cmr import tasks
from torchgeo_cmr.embed import read_report
from torchgeo_cmr.embed.scenes.archive_plan import plan_scenes
from torchgeo_cmr.embed.scenes.inputs import list_scenes
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.main import main
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.table import EmbeddingTable

Writer = Callable[..., Path]

BANDS = ('B02', 'B03', 'B04')
LOCAL = 'LOCAL_CS["floor",UNIT["metre",1]]'
NOWHERE = Affine(10, 0, 1e12, 0, -10, 5e16)


class Ran(NamedTuple):
    code: int
    err: str
    report: dict[str, Any]
    table: EmbeddingTable


@pytest.fixture
def task(fake: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    task = fake(bands=BANDS)
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: task)
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    return task


@pytest.fixture
def run(
    task: Any, write_raster: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Embed the folder, in which two scenes are good, and give what came of it."""
    for name in ('good1', 'good2'):
        write_raster(f'in/{name}.tif', bands=BANDS, shape=(32, 32))

    def call(*more: str, beside: tuple[str, ...] = ()) -> Ran:
        given = [str(tmp_path / name) for name in ('in', *beside)]
        words = ['embed', *given, '--ckpt', 'x', '--modality', 's2']
        out = tmp_path / 'out'
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter('always')  # as outside of tests
            code = main([*words, '--out', str(out), '--quiet', *more])
        err = capsys.readouterr().err
        if code == 2:
            return Ran(code, err, {}, None)  # ty: ignore[invalid-argument-type]
        return Ran(code, err, read_report(out), EmbeddingTable.load(out))

    return call


def write_text(folder: Path, _: Writer) -> None:
    (folder / 'bad.tif').write_text('no raster')


def write_gcps(folder: Path, _: Writer) -> None:
    corners = ((0, 0, 9.0, 45.0), (0, 32, 9.1, 45.0), (32, 0, 9.0, 44.9))
    path = folder / 'bad.tif'
    with pytest.warns(NotGeoreferencedWarning):
        file: Any = rasterio.open(path, 'w', 'GTiff', 32, 32, 3, dtype='uint8')
    with file:
        file.write(np.ones((3, 32, 32), 'uint8'))
        points = [GroundControlPoint(*corner) for corner in corners]
        file.gcps = (points, rasterio.CRS.from_epsg(4326))


def write_rpcs(folder: Path, _: Writer) -> None:
    path = folder / 'bad.tif'
    with pytest.warns(NotGeoreferencedWarning):
        file: Any = rasterio.open(path, 'w', 'GTiff', 32, 32, 3, dtype='uint8')
    ones, line, sample = ([0.0] * i + [1.0] + [0.0] * (19 - i) for i in range(3))
    with file:
        file.write(np.ones((3, 32, 32), 'uint8'))
        file.crs = 'EPSG:4326'
        numbers: dict[str, Any] = {
            'height_off': 0,
            'height_scale': 1,
            'lat_off': 45,
            'lat_scale': 1,
            'long_off': 9,
            'long_scale': 1,
            'line_off': 16,
            'line_scale': 16,
            'samp_off': 16,
            'samp_scale': 16,
            'line_num_coeff': line,
            'line_den_coeff': ones,
            'samp_num_coeff': sample,
            'samp_den_coeff': ones,
        }
        file.rpcs = RPC(**numbers)


def write_link(folder: Path, _: Writer) -> None:
    (folder / 'bad.tif').symlink_to('../nowhere.tif')


def write_cut(folder: Path, write: Writer) -> None:
    """A file of which the header and half of the pixels arrived."""
    pixels = np.random.default_rng(0).random((3, 64, 64))
    whole = write('whole.tif', data=pixels, bands=BANDS)
    with rasterio.open(whole) as source:
        profile = {**source.profile, 'driver': 'COG'}
        with rasterio.open(folder / 'bad.tif', 'w', **profile) as file:
            file.write(source.read())
            file.descriptions = BANDS
    content = (folder / 'bad.tif').read_bytes()
    (folder / 'bad.tif').write_bytes(content[: len(content) // 2])


def written(**options: Any) -> Callable[[Path, Writer], None]:
    options = {'bands': BANDS, 'shape': (32, 32), **options}

    def make(_: Path, write: Writer) -> None:
        write('in/bad.tif', **options)

    return make


#: Case -> what makes it, words of the command, the sentence of the report.
CASES: dict[str, tuple[Callable[[Path, Writer], None], list[str], str]] = {
    'no CRS': (written(crs=None), [], 'has no CRS: declare it'),
    'CRS without a place': (
        written(crs=LOCAL),
        [],
        'has no longitude and latitude: declare the CRS',
    ),
    'off the Earth': (written(transform=NOWHERE), [], 'has no place on Earth'),
    'beyond the pole': (
        written(crs='EPSG:4326', transform=Affine(3.75, 0, -180, 0, -2, 95)),
        ['--gsd', 'ignore'],
        'bad.tif',
    ),
    'not a longitude': (
        written(crs='EPSG:4326', transform=Affine(0.001, 0, 500, 0, -0.001, 500)),
        ['--gsd', 'ignore'],
        'bad.tif',
    ),
    'beyond Mercator': (
        written(crs='EPSG:3857', transform=Affine(1000, 0, 0, 0, -1000, 9e8)),
        ['--gsd', 'ignore'],
        'bad.tif',
    ),
    'geocentric': (written(crs='EPSG:4978'), [], 'geocentric CRS WGS 84: warp it'),
    'flat pixels': (
        written(transform=Affine(10, 0, 6e5, 0, 0, 5e6)),
        [],
        'pixels without a width or a height',
    ),
    'control points': (write_gcps, [], 'control points or RPCs in place of a grid'),
    'lost link': (write_link, [], 'No such file'),
    'RPCs': (write_rpcs, [], 'control points or RPCs in place of a grid'),
    'too many bands': (
        written(bands=('band_1', 'band_2', 'band_3', 'band_4')),
        [],
        's2 expects 3 bands (B02, B03, B04), the dataset gives 4',
    ),
    'another band': (
        written(bands=('B02', 'B03', 'B08')),
        [],
        'the dataset gives 3 (B02, B03, B08)',
    ),
    'complex': (written(dtype='complex64'), [], 'holds complex numbers'),
    'text': (write_text, [], 'cannot be read as a raster'),
    'truncated': (write_cut, [], 'is damaged or truncated'),
    'other pixels': (
        written(res=30),
        ['--gsd', 'error'],
        'has pixels of 30 m, and s2 was trained on 10 m',
    ),
}


@pytest.mark.parametrize('case', CASES)
def test_one_broken_scene_is_refused_and_the_others_are_embedded(
    case: str, run: Callable[..., Ran], task: Any, write_raster: Writer, tmp_path: Path
) -> None:
    make, words, sentence = CASES[case]
    task.specs['s2']['gsd'] = 10.0
    make(tmp_path / 'in', write_raster)
    ran = run(*words)
    assert ran.code == 1
    assert set(ran.table.frame['source']) == {'good1.tif', 'good2.tif'}
    assert len(ran.table) == 8
    ((name, told),) = ran.report['refused'].items()
    assert Path(name).name == 'bad.tif'
    assert sentence in told
    assert len(told.splitlines()) == 1
    assert 'warning: 1 of 3 scenes were refused' in ran.err
    assert 'Traceback' not in ran.err
    # The same again tries it once more, and embeds nothing twice.
    again = run(*words)
    assert (again.code, again.report['done']) == (1, [])
    assert again.report['skipped'] == ['good1.tif', 'good2.tif']
    # Mended, it is embedded by an update.
    write_raster('in/bad.tif', bands=BANDS, shape=(32, 32))
    mended = run(*words, '--update')
    assert (mended.code, mended.report['done']) == (0, ['bad.tif'])
    assert len(mended.table) == 12


@pytest.mark.parametrize('broken', ['encoder', 'reader'])
def test_any_error_over_one_scene_refuses_it_alone(
    broken: str,
    run: Callable[..., Ran],
    task: Any,
    write_raster: Writer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = np.full((3, 32, 32), 12345.0)
    write_raster('in/bad.tif', bands=BANDS, data=data)

    def judge(pixels: Any) -> Any:
        if (pixels == 12345).any():
            raise ZeroDivisionError('division by\nzero')
        return pixels

    owner, name = (task, 'embed') if broken == 'encoder' else (SceneReader, 'start')
    real = getattr(owner, name)

    def encode(batch: dict[str, Any], modality: str) -> Any:
        judge(batch['image_s2'])
        return real(batch, modality)

    def start(reader: Any, *given: Any) -> Any:
        finish = real(reader, *given)
        return lambda: judge(finish())

    monkeypatch.setattr(owner, name, encode if broken == 'encoder' else start)
    ran = run()
    assert ran.code == 1
    assert set(ran.table.frame['source']) == {'good1.tif', 'good2.tif'}
    (told,) = ran.report['refused'].values()
    assert told.startswith(
        'bad.tif cannot be used (ZeroDivisionError: division by zero)'
    )


def test_a_vector_that_is_not_finite_refuses_its_scene(
    run: Callable[..., Ran], task: Any, write_raster: Writer
) -> None:
    data = np.ones((3, 32, 32), np.float32)
    data[0, 0, 0] = np.finfo(np.float32).min
    task.weights[0] *= 1e10
    write_raster('in/bad.tif', bands=BANDS, data=data)
    ran = run()
    assert ran.code == 1
    assert [Path(name).name for name in ran.report['refused']] == ['bad.tif']
    assert len(ran.table) == 8


def test_a_name_that_is_not_text_and_a_month_that_does_not_exist(
    run: Callable[..., Ran], write_raster: Writer, tmp_path: Path
) -> None:
    good = tmp_path / 'in' / 'good1.tif'
    shutil.copy(good, tmp_path / 'in' / os.fsdecode(b'bad\xff.tif'))
    for band in BANDS:
        write_raster(f'in/T32TQM_20241399T101559_{band}.tif', shape=(32, 32))
    ran = run()
    assert ran.code == 1
    assert {'good1.tif', 'good2.tif'} <= set(ran.table.frame['source'])
    assert len(ran.report['refused']) == 1


def test_a_header_that_claims_too_much(run: Callable[..., Ran], tmp_path: Path) -> None:
    bands = ''.join(f'<VRTRasterBand dataType="UInt16" band="{i}"/>' for i in (1, 2, 3))
    (tmp_path / 'bad.vrt').write_text(
        '<VRTDataset rasterXSize="2000000000" rasterYSize="2000000000">'
        '<SRS>EPSG:32632</SRS>'
        f'<GeoTransform>600000,10,0,5000000,0,-10</GeoTransform>{bands}</VRTDataset>'
    )
    ran = run(beside=('bad.vrt',))
    assert ran.code == 1
    assert len(ran.table) == 8
    (told,) = ran.report['refused'].values()
    assert 'claims 2000000000 x 2000000000 pixels' in told


def test_a_scene_without_a_grid_has_no_place(
    run: Callable[..., Ran], write_raster: Writer
) -> None:
    with pytest.warns(NotGeoreferencedWarning):
        write_raster('in/bad.tif', bands=BANDS, transform=Affine.identity())
    ran = run()
    assert ran.code == 1
    assert 'has a CRS but no geotransform' in next(iter(ran.report['refused'].values()))
    # Not even with its CRS is it taken for a plain image, which the first file would be.
    with pytest.warns(NotGeoreferencedWarning):
        write_raster('in/aaa.tif', bands=BANDS, transform=Affine.identity(), crs=None)
    ran = run()
    assert ran.report['counts']['refused'] == 2
    assert len(ran.table) == 8


def test_backscatter_of_unknown_unit_is_refused_alone(
    run: Callable[..., Ran], task: Any, tmp_path: Path
) -> None:
    task.specs['s2']['units'] = 'db'
    with rasterio.open(tmp_path / 'in' / 'good1.tif', 'r+') as file:
        file.units = ('db',) * 3
    ran = run()
    assert set(ran.table.frame['source']) == {'good1.tif'}
    (told,) = ran.report['refused'].values()
    assert 'state it with `units`, which is never guessed' in told


@pytest.mark.parametrize('value', [0.0, np.nan, np.inf])
def test_a_scene_without_a_valid_pixel_is_told_of(
    value: float, run: Callable[..., Ran], write_raster: Writer
) -> None:
    data = np.full((3, 32, 32), value)
    write_raster('in/void.tif', bands=BANDS, data=data, nodata=0)
    ran = run()
    assert ran.code == 0
    assert ran.report['empty'] == ['void.tif']
    assert ran.report['patches_left_out'] == 4
    assert '0 refused, 1 done without a patch that counts' in ran.err
    assert set(ran.table.frame['source']) == {'good1.tif', 'good2.tif'}


def test_a_scene_smaller_than_a_patch_is_told_of(
    run: Callable[..., Ran], write_raster: Writer
) -> None:
    write_raster('in/small.tif', bands=BANDS, shape=(8, 8))
    ran = run()
    assert ran.code == 0
    assert ran.report['too_small'] == ['small.tif']
    assert 'warning: 1 of 3 scenes are smaller than a patch of 16 x 16' in ran.err


def test_other_pixels_than_in_training_are_told_of(
    run: Callable[..., Ran], task: Any, write_raster: Writer
) -> None:
    task.specs['s2']['gsd'] = 10.0
    write_raster('in/wide.tif', bands=BANDS, shape=(32, 32), res=30)
    ran = run()
    assert ran.code == 0
    assert 'warning: 1 of 3 scenes have other pixels than the 10 m' in ran.err
    assert len(ran.table) == 12


def test_if_nothing_can_be_used_nothing_is_written(
    run: Callable[..., Ran], task: Any, tmp_path: Path
) -> None:
    task.specs['s2']['bands'] = ['B02', 'B03', 'B08']
    ran = run()
    assert ran.code == 2
    assert 's2 expects 3 bands (B02, B03, B08)' in ran.err
    assert 'other scenes that were refused: 1' in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / 'out').exists()


def test_a_broken_list_does_not_stop_the_others(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / 'list.json').write_text('{')
    item = {
        'type': 'Feature',
        'id': 'one',
        'properties': {'proj:code': 'EPSG:nonsense'},
        'assets': {'data': {'href': 'in/good1.tif'}},
    }
    (tmp_path / 'item.json').write_text(json.dumps(item))
    ran = run(beside=('list.json', 'item.json'))
    assert ran.code == 1
    assert len(ran.table) == 8
    told = sorted(ran.report['refused'].values())
    assert 'cannot be read as JSON' in told[0]
    assert 'the item one is in EPSG:nonsense' in told[1]


def test_a_refused_scene_keeps_the_root(
    run: Callable[..., Ran], write_raster: Writer, tmp_path: Path
) -> None:
    # Above the others: once mended it must be inside the root of the archive.
    for name in ('good1.tif', 'good2.tif'):
        (tmp_path / 'in' / 'deep').mkdir(exist_ok=True)
        shutil.move(tmp_path / 'in' / name, tmp_path / 'in' / 'deep' / name)
    (tmp_path / 'in' / 'bad.tif').write_text('no raster')
    ran = run()
    assert set(ran.table.frame['source']) == {'deep/good1.tif', 'deep/good2.tif'}
    write_raster('in/bad.tif', bands=BANDS, shape=(32, 32))
    assert run('--update').report['done'] == ['bad.tif']


def test_one_file_does_not_name_two_scenes(write_raster: Writer) -> None:
    path = write_raster('a.tif', bands=BANDS)
    other = write_raster('b.tif', bands=BANDS)
    (scene,) = list_scenes([path])
    mixed = scene.pick([0, 1, 2])
    sources = (*scene.sources[:2], (str(other), 1))
    object.__setattr__(mixed, 'sources', sources)
    with pytest.raises(RasterError, match=r'two scenes begin with .*a\.tif, .*b\.tif'):
        plan_scenes([scene, mixed], 's2', 16)
    assert len(plan_scenes([scene, scene], 's2', 16).items) == 1
