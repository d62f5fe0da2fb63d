"""The local runner: zones and dates stay apart, and nothing is lost or done twice."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pandas as pd
import pytest
import rasterio
import torch
from geopandas.testing import assert_geodataframe_equal
from torchgeo.datasets import RasterDataset, Sentinel1, Sentinel2

from torchgeo_cmr.embed import embed
from torchgeo_cmr.errors import ArchiveError, CMRError, OutputExistsError, RasterError
from torchgeo_cmr.progress.bars import drawing
from torchgeo_cmr.table import EmbeddingTable

Writer = Callable[..., Path]

BANDS = ['B02', 'B03', 'B04']


class Catalogue(Sentinel2):
    """A dataset that breaks if anyone indexes it."""

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError('the dataset is a catalogue and must not be indexed')


def same(a: EmbeddingTable, b: EmbeddingTable) -> None:
    assert_geodataframe_equal(a.frame, b.frame)
    np.testing.assert_array_equal(a.vectors, b.vectors)
    assert a.record == b.record


def test_two_zones_and_two_dates_stay_apart(
    s2_folder: Path, fake: Callable[..., Any]
) -> None:
    task = fake(bands=BANDS)
    dataset = Catalogue(s2_folder, bands=BANDS)
    table = embed(task, dataset, 's2', 16, batch_size=5, progress=False)
    frame = table.frame
    # 2 zones x 2 dates, each of 2 x 3 whole patches in 40 x 56 pixels.
    assert len(table) == 24
    # One empty patch asks for the length of a vector; batches do not cross scenes.
    assert task.batches == [1, *[5, 1] * 4]
    assert frame['source'].nunique() == 4
    assert set(frame['src_crs']) == {'EPSG:32632', 'EPSG:32633'}
    for row, seen in zip(frame.to_dict('records'), task.seen[1:], strict=True):
        path = s2_folder / row['source']
        assert row['src_crs'] == (
            'EPSG:32632' if 'T32' in row['source'] else 'EPSG:32633'
        )
        taken = pd.to_datetime(
            row['source'].split('_')[1], format='%Y%m%dT%H%M%S', utc=True
        )
        assert row['time_start'] == taken
        assert row['time_end'] - taken == pd.Timedelta('999999us')
        top, left = map(int, row['patch_id'].split(':')[-1].split('_')[:2])
        assert row['patch_id'] == f's2:{path.name}:{top}_{left}_16x16'
        for channel, band in enumerate(BANDS):
            with rasterio.open(str(path).replace('B02', band)) as file:
                expected = file.read(1, window=((top, top + 16), (left, left + 16)))
                transform = file.transform
            np.testing.assert_array_equal(seen[channel].numpy(), expected)
        west, east = (column * 10 + transform.c for column in (left, left + 16))
        north, south = (line * -10 + transform.f for line in (top, top + 16))
        corners = [west, north, east, north, east, south, west, south]
        assert row['native_corners'].tolist() == corners
        assert row['valid_fraction'] == 1
    assert frame['time_start'].nunique() == 2
    assert table.record['sources'][frame['source'][0]] == [
        [frame['source'][0].replace('B02', band), 1, band, 10.0] for band in BANDS
    ]


def test_sentinel_1_is_read_by_its_own_names(
    write_raster: Writer, tmp_path: Path, fake: Callable[..., Any]
) -> None:
    name = 's1/S1A_IW_{}_DVP_RTC10_G_gduned_5A1B_{}.tif'
    for crs, date in (
        ('EPSG:32632', '20240602T053000'),
        ('EPSG:32633', '20240614T053000'),
    ):
        for band in ('VV', 'VH'):
            data = np.full((1, 32, 32), -20)
            write_raster(name.format(date, band), data=data, crs=crs)
    task = fake('s1', channels=2, bands=('VV', 'VH'), units='db')
    table = embed(task, Sentinel1(tmp_path / 's1'), 's1', 16, progress=False)
    assert len(table) == 8
    assert table.frame.groupby('src_crs')['time_start'].nunique().tolist() == [1, 1]
    assert table.frame['time_start'].nunique() == 2
    power = fake('s1', channels=2, bands=('VV', 'VH'), units='power')
    embed(power, Sentinel1(tmp_path / 's1'), 's1', 16, progress=False)
    assert torch.stack(task.seen[1:]).unique().tolist() == [-20]
    torch.testing.assert_close(
        torch.stack(power.seen[1:]).unique(), torch.tensor([0.01])
    )


def test_paths_are_enough_for_plain_rasters(
    write_raster: Writer, tmp_path: Path, fake: Callable[..., Any]
) -> None:
    for name in ('a', 'b'):
        write_raster(f'{name}.tif', shape=(32, 32), bands=BANDS)
    task = fake(bands=BANDS)
    table = embed(task, str(tmp_path / '*.tif'), 's2', 16, progress=False)
    assert len(table) == 8
    assert table.frame['time_start'].isna().all()
    again = embed(
        task, [tmp_path / 'a.tif', tmp_path / 'b.tif'], 's2', 16, progress=False
    )
    same(table, again)


def test_a_rotated_grid_keeps_its_corners(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    turn = rasterio.Affine.translation(500_000, 5e6) @ rasterio.Affine.rotation(30)
    transform = turn @ rasterio.Affine.scale(10, -10)
    path = write_raster('r.tif', shape=(16, 32), transform=transform)
    table = embed(fake(channels=1), [path], 's2', 16, progress=False)
    corners = table.frame['native_corners'][1]
    a, b, c, d, e, f = tuple(transform)[:6]
    assert corners[:2].tolist() == [16 * a + 0 * b + c, 16 * d + 0 * e + f]
    assert corners[4:6].tolist() == [32 * a + 16 * b + c, 32 * d + 16 * e + f]


@pytest.mark.parametrize(
    'transform',
    [
        rasterio.Affine(10, 0, 5e5, 0, 10, 4_999_520),
        rasterio.Affine(-10, 0, 500_480, 0, -10, 5e6),
        rasterio.Affine(0, 10, 5e5, -10, 0, 5e6),
        rasterio.Affine(0, 10, 5e5, 10, 0, 4_999_520),
    ],
    ids=['south-up', 'east-left', 'transposed', 'turned'],
)
def test_the_encoder_sees_north_at_the_top(
    write_raster: Writer, fake: Callable[..., Any], transform: rasterio.Affine
) -> None:
    """Whatever the orientation of the file; ids count its own rows and columns."""
    row, column = np.mgrid[:48, :48] + 0.5
    east = transform.a * column + transform.b * row + transform.c
    north = transform.d * column + transform.e * row + transform.f
    path = write_raster(
        'o.tif',
        bands=('x', 'y'),
        data=np.stack([east - 5e5, north - 5e6]),
        transform=transform,
    )
    task = fake(channels=2, bands=('x', 'y'))
    table = embed(task, [path], 's2', 16, progress=False)
    # The first was a trial.
    seen = zip(task.seen[1:], table.frame.iterrows(), strict=True)
    for image, (_, one) in seen:
        west, top, right, _, _, bottom, *_ = one['native_corners']
        assert (right - west, top - bottom) == (160, 160)
        x = np.arange(west + 5, right, 10) - 5e5
        y = np.arange(top - 5, bottom, -10) - 5e6
        np.testing.assert_array_equal(image[0], np.tile(x, (16, 1)))
        np.testing.assert_array_equal(image[1], np.tile(y[:, None], (1, 16)))
        # The id names the window of the file that holds these pixels.
        r, c = map(int, one['patch_id'].split(':')[-1].split('_')[:2])
        with rasterio.open(path) as file:
            stored = file.read(window=((r, r + 16), (c, c + 16)))
        np.testing.assert_array_equal(np.sort(stored.ravel()), image.ravel().sort()[0])


def test_scenes_on_the_antimeridian(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    # 180 degrees east at 17 degrees north, as zone 1 and as zone 60 see it.
    east = write_raster(
        '1.tif', crs='EPSG:32601', origin=(180_480, 1_881_700), shape=(16, 16)
    )
    west = write_raster(
        '60.tif', crs='EPSG:32660', origin=(819_360, 1_881_700), shape=(16, 16)
    )
    table = embed(fake(channels=1), [east, west], 's2', 16, progress=False)
    for footprint in table.frame.geometry:
        assert footprint.geom_type == 'MultiPolygon'
        assert footprint.bounds[0] == -180
        assert footprint.bounds[2] == 180
        assert footprint.area < 1e-5


def test_the_task_is_left_as_it_was(s2_folder: Path, fake: Callable[..., Any]) -> None:
    task = fake()
    task.train()
    task.frozen.eval()
    embed(
        task, Sentinel2(s2_folder, bands=BANDS), 's2', 16, device='auto', progress=False
    )
    assert task.training
    assert not task.frozen.training
    assert task.weights.device == torch.device('cpu')


def test_progress_goes_to_stderr(
    s2_folder: Path, fake: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with drawing('always'):  # nobody watches a test
        embed(fake(), Sentinel2(s2_folder, bands=BANDS), 's2', 16)
    told = capsys.readouterr()
    assert told.out == ''
    assert '24/24' in told.err
    assert 'patch/s' in told.err


def test_an_archive_is_what_memory_is(
    s2_folder: Path, fake: Callable[..., Any], tmp_path: Path
) -> None:
    dataset = Sentinel2(s2_folder, bands=BANDS)
    memory = embed(fake(), dataset, 's2', 16, progress=False)
    disk = embed(fake(), dataset, 's2', 16, out=tmp_path / 'out', progress=False)
    same(memory, disk)
    same(disk, EmbeddingTable.load(tmp_path / 'out'))


def test_a_second_run_does_only_what_is_missing(
    s2_folder: Path,
    fake: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    dataset, out = Sentinel2(s2_folder, bands=BANDS), tmp_path / 'out'
    first = embed(fake(), dataset, 's2', 16, out=out, progress=False)
    next(out.glob('part-*T33TUG_20240601*')).unlink()
    task = fake()
    with caplog.at_level(logging.INFO, 'torchgeo_cmr'):
        second = embed(task, dataset, 's2', 16, out=out, progress=False)
    same(first, second)
    assert task.batches == [1, 6]
    assert '3 of 4 scenes are in' in caplog.text
    assert '1 to do' in caplog.text
    assert '24 patches of 4 scenes' in caplog.text


@pytest.mark.parametrize(
    ('change', 'field'),
    [
        ({'size': 8}, 'size'),
        ({'stride': 8}, 'stride'),
        ({'min_valid': 0.1}, 'min_valid'),
        ({'batch_size': 2}, 'batch_size'),
    ],
)
def test_an_archive_of_another_plan_is_refused(
    s2_folder: Path,
    fake: Callable[..., Any],
    tmp_path: Path,
    change: dict[str, Any],
    field: str,
) -> None:
    dataset, out = Sentinel2(s2_folder, bands=BANDS), tmp_path / 'out'
    plan: dict[str, Any] = {'size': 16, 'out': out, 'progress': False}
    task = fake()
    embed(task, dataset, 's2', **plan)
    if 'size' in change:
        task = fake(size=8)
        change = {**change, 'stride': 16}
    with pytest.raises(ArchiveError, match=f'begun with {field} ='):
        embed(task, dataset, 's2', **{**plan, **change})
    embed(task, dataset, 's2', overwrite=True, **{**plan, **change})


def test_other_weights_or_scenes_are_refused(
    s2_folder: Path, fake: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    embed(fake(), Sentinel2(s2_folder, bands=BANDS), 's2', 16, out=out, progress=False)
    other = fake(space='f' * 16)
    with pytest.raises(ArchiveError, match='begun with space ='):
        embed(
            other, Sentinel2(s2_folder, bands=BANDS), 's2', 16, out=out, progress=False
        )
    next(s2_folder.glob('T33*B02.tif')).unlink()
    with pytest.raises(
        ArchiveError, match=r'begun with scenes = "4 scenes.* not "3 scenes'
    ):
        embed(
            fake(), Sentinel2(s2_folder, bands=BANDS), 's2', 16, out=out, progress=False
        )


def test_only_an_archive_is_replaced(
    s2_folder: Path, fake: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, out = Sentinel2(s2_folder, bands=BANDS), tmp_path / 'out'
    options: dict[str, Any] = {'out': out, 'overwrite': True, 'progress': False}
    first = embed(fake(), dataset, 's2', 16, **options)
    same(first, embed(fake(), dataset, 's2', 16, **options))
    (out / 'thesis.txt').write_text('mine')
    with pytest.raises(OutputExistsError, match=r'holds thesis\.txt'):
        embed(fake(), dataset, 's2', 16, **options)
    assert (out / 'thesis.txt').exists()


def test_stopping_keeps_what_is_done(
    s2_folder: Path,
    fake: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, out = Sentinel2(s2_folder, bands=BANDS), tmp_path / 'out'
    task = fake()
    inner = task.embed

    def stop(batch: dict[str, Any], modality: str) -> Any:
        if len(task.batches) == 3:
            raise KeyboardInterrupt
        return inner(batch, modality)

    monkeypatch.setattr(task, 'embed', stop)
    with pytest.raises(KeyboardInterrupt):
        embed(task, dataset, 's2', 16, out=out, progress=False)
    assert 'stopped: 2 of 4 scenes are in' in caplog.text
    assert len(list(out.glob('part-*.parquet'))) == 2
    resumed = embed(fake(), dataset, 's2', 16, out=out, progress=False)
    same(resumed, embed(fake(), dataset, 's2', 16, progress=False))


@pytest.mark.slow
def test_killed_in_the_middle_nothing_is_lost_nothing_twice(
    s2_folder: Path, fake: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    script = f"""
import importlib.util
spec = importlib.util.spec_from_file_location('fakes', {str(Path(__file__).with_name('conftest.py'))!r})
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)
from torchgeo.datasets import Sentinel2
from torchgeo_cmr.embed import embed
dataset = Sentinel2({str(s2_folder)!r}, bands={BANDS!r})
embed(fakes.FakeTask(delay=0.5), dataset, 's2', 16, out={str(out)!r}, progress=False)
"""
    process = forked.Program('-c', script)
    deadline = time.monotonic() + 60
    while len(list(out.glob('part-*.parquet'))) < 2:
        assert process.runs, 'it ended before it could be killed'
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    (out / '.tmp-elsewhere-1-0').write_bytes(b'half a part')
    kept = len(list(out.glob('part-*.parquet')))
    assert kept < 4
    task = fake()
    dataset = Sentinel2(s2_folder, bands=BANDS)
    resumed = embed(task, dataset, 's2', 16, out=out, progress=False)
    assert len(task.batches) == 1 + 4 - kept
    same(resumed, embed(fake(), dataset, 's2', 16, progress=False))


def test_scenes_without_data_are_done_too(
    write_raster: Writer,
    fake: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    empty = write_raster('empty.tif', data=np.zeros((1, 32, 32)), nodata=0)
    full = write_raster('full.tif', data=np.ones((1, 32, 32)), nodata=0)
    out = tmp_path / 'out'
    with caplog.at_level(logging.INFO, 'torchgeo_cmr'):
        memory = embed(fake(channels=1), [empty, full], 's2', 16, progress=False)
        disk = embed(fake(channels=1), [empty, full], 's2', 16, out=out, progress=False)
    assert 'skipped: 4 patches with too few valid pixels' in caplog.text
    same(memory, disk)
    assert set(disk.frame['source']) == {'full.tif'}
    task = fake(channels=1)
    same(disk, embed(task, [empty, full], 's2', 16, out=out, progress=False))
    assert task.batches == [1]
    with pytest.raises(RasterError, match='none of the 4 patches'):
        embed(task, [empty], 's2', 16, progress=False)


def test_a_small_scene_is_left_out_with_a_sentence(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    files = [write_raster('a.tif', shape=(16, 16)), write_raster('b.tif', shape=(8, 8))]
    with pytest.warns(UserWarning, match=r'for example b\.tif \(8 x 8\): skipped'):
        table = embed(fake(channels=1), files, 's2', 16, progress=False)
    assert len(table) == 1


def test_a_raster_without_crs_is_named(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    path = write_raster('bare.tif', crs=None)
    with pytest.raises(RasterError, match=r'bare\.tif has no CRS: declare it'):
        embed(fake(channels=1), [path], 's2', 16, progress=False)


def test_a_truncated_raster_is_named(truncated: Path, fake: Callable[..., Any]) -> None:
    with pytest.raises(RasterError, match=r'cut\.tif .*fetch the file again'):
        embed(fake(channels=1), [truncated], 's2', 16, progress=False)
    truncated.write_bytes(b'II*')
    with pytest.raises(RasterError, match=r'cut\.tif cannot be read as a raster'):
        embed(fake(channels=1), [truncated], 's2', 16, progress=False)


def test_wrong_bands_are_refused_before_anything_is_written(
    s2_folder: Path, fake: Callable[..., Any], tmp_path: Path
) -> None:
    task = fake(channels=12, bands=[f'B{i:02}' for i in range(1, 13)])
    dataset = Sentinel2(s2_folder, bands=BANDS)
    with pytest.raises(RasterError, match=r's2 expects 12 bands \(B01, .* gives 3'):
        embed(task, dataset, 's2', 16, out=tmp_path / 'out', progress=False)
    assert not (tmp_path / 'out').exists()


def test_the_transforms_of_a_dataset_are_applied(
    s2_folder: Path, fake: Callable[..., Any], tmp_path: Path
) -> None:
    def reflectance(sample: dict[str, Any]) -> dict[str, Any]:
        return {'image': sample['image'] / 10_000}

    plain = fake()
    embed(plain, Sentinel2(s2_folder, bands=BANDS), 's2', 16, progress=False)
    scaled = fake()
    dataset = Sentinel2(s2_folder, bands=BANDS, transforms=reflectance)
    embed(scaled, dataset, 's2', 16, out=tmp_path / 'out', progress=False)
    for a, b in zip(plain.seen[1:], scaled.seen[1:], strict=True):
        torch.testing.assert_close(a / 10_000, b)
    with pytest.raises(ArchiveError, match='begun with transforms ='):
        embed(
            fake(),
            Sentinel2(s2_folder, bands=BANDS),
            's2',
            16,
            out=tmp_path / 'out',
            progress=False,
        )


class Labels(RasterDataset):
    is_image = False


def test_what_lists_no_images_is_refused(
    s2_folder: Path, fake: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match='give a dataset of images'):
        embed(fake(), Labels(s2_folder), 's2', 16)
    with pytest.raises(TypeError, match='object does not list raster files'):
        embed(fake(), object(), 's2', 16)  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'modality': 's3'}, "no modality 's3': use one of s2"),
        ({'batch_size': 0}, 'give 1 or more'),
        ({'min_valid': 1.5}, 'between 0 and 1'),
        ({'size': 0}, 'give a number of pixels'),
        ({'dataset': 'nowhere/*.tif'}, 'no raster matches'),
    ],
)
def test_mistakes_are_found_at_the_door(
    s2_folder: Path, fake: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {
        'dataset': Sentinel2(s2_folder, bands=BANDS),
        'modality': 's2',
        'size': 16,
    }
    with pytest.raises(RasterError, match=message):
        embed(fake(), **{**given, **change})


@pytest.mark.parametrize('device', ['toaster', 'cuda:99'])
def test_a_device_that_is_not_there_is_named(
    s2_folder: Path, fake: Callable[..., Any], device: str
) -> None:
    dataset = Sentinel2(s2_folder, bands=BANDS)
    with pytest.raises(CMRError, match=f"cannot run on {device} .*use 'cpu' or 'auto'"):
        embed(fake(), dataset, 's2', 16, device=device)
