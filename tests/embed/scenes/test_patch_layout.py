"""Size and step of patches, edges, and pixels that are not those of the training."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import CRS

from torchgeo_cmr.embed import embed
from torchgeo_cmr.embed.run_options import PatchOptions
from torchgeo_cmr.embed.scenes.archive_plan import header_of, plan_scenes
from torchgeo_cmr.embed.scenes.patch_batches import read_item
from torchgeo_cmr.embed.scenes.patch_layout import Layout, windows_of
from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.scene import Scene, from_paths, scenes

Writer = Callable[..., Path]


def catalogue(*paths: Path) -> list[Scene]:
    return scenes(from_paths(paths))


@pytest.mark.parametrize('stride', [3, 5, 9])
@pytest.mark.parametrize('shape', [(5, 13), (15, 4), (2, 3), (20, 10)])
def test_padded_windows_cover_every_pixel(shape: tuple[int, int], stride: int) -> None:
    size = 5
    whole = windows_of(shape, size, stride, 'drop')
    padded = windows_of(shape, size, stride, 'pad')
    assert set(map(tuple, whole.tolist())) <= set(map(tuple, padded.tolist()))
    seen = np.zeros(shape, int)
    for row, column, height, width in padded:
        part = seen[row : row + height, column : column + width]
        assert part.size  # no window lies outside
        part += 1
    if stride <= size:
        assert seen.min() >= 1
    # None more than is needed: without the last row of windows something is not covered.
    rows = np.unique(padded[:, 0])
    assert len(rows) == 1 or rows[-2] + size < shape[0]
    for row, column, height, width in whole:
        assert row + height <= shape[0]
        assert column + width <= shape[1]


def test_small_scenes_are_padded(write_raster: Writer) -> None:
    file = write_raster('a.tif', shape=(12, 40))
    plan = plan_scenes(catalogue(file), 's2', 16, edges='pad')
    (item,) = plan.items
    assert plan.too_small == ()
    assert item.windows.tolist() == [[0, c, 16, 16] for c in (0, 16, 32)]
    (batch,) = read_item(item, min_valid=0)
    assert batch.valid.tolist() == [0.75, 0.75, 0.375]
    truth = np.arange(12 * 40, dtype=np.float32).reshape(12, 40)
    np.testing.assert_array_equal(batch.images[2, 0, :12, :8], truth[:, 32:])
    assert batch.images[2, 0, 12:].isnan().all()
    assert batch.images[2, 0, :, 8:].isnan().all()


def test_metres_are_the_pixels_of_each_scene(write_raster: Writer) -> None:
    files = [
        write_raster('a.tif', shape=(64, 64), res=10),
        write_raster('b.tif', shape=(64, 64), res=30),
        # A degree of latitude is 111.4 km at 60 degrees north.
        write_raster('c.tif', crs='EPSG:4326', res=1e-4, origin=(9.0, 60.0)),
    ]
    plan = plan_scenes(catalogue(*files), 's2', size_metres=320, overlap=0.5)
    assert [(item.size, item.stride) for item in plan.items] == [
        (32, 16),
        (11, 6),
        (29, 14),
    ]
    assert plan.items[1].windows[0].tolist() == [0, 0, 11, 11]
    assert catalogue(files[1])[0].grid_gsd == 30


def test_strides_and_overlaps(write_raster: Writer) -> None:
    (scene,) = catalogue(write_raster('a.tif'))
    assert Layout(16).pixels(scene) == (16, 16)
    assert Layout(16, 5).pixels(scene) == (16, 5)
    assert Layout(16, overlap=0.25).pixels(scene) == (16, 12)
    assert Layout(1, overlap=0.9).pixels(scene) == (1, 1)
    assert Layout(None, size_metres=1).pixels(scene) == (1, 1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({}, 'size is None and size_metres None: give one'),
        ({'size': 8, 'size_metres': 80}, 'size is 8 and size_metres 80: give one'),
        ({'size_metres': 0}, 'give a length above 0'),
        ({'size': 8, 'overlap': 1}, 'overlap is 1: give a share'),
        ({'size': 8, 'overlap': 0.5, 'stride': 4}, 'stride is 4 and overlap 0.5'),
        ({'size': 8, 'edges': 'keep'}, "edges is 'keep': give one of drop, pad"),
        ({'size': 8, 'gsd': 'fix'}, "gsd is 'fix': give one of warn, resample"),
    ],
)
def test_settings_that_make_no_grid(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RasterError, match=message):
        Layout(options.pop('size', None), **options)


def test_other_pixels_than_in_training(write_raster: Writer) -> None:
    found = catalogue(
        write_raster('a.tif', res=10.9), write_raster('b.tif', shape=(60, 64), res=20)
    )
    spec = {'gsd': 10.0}
    with pytest.warns(UserWarning, match=r'1 of 2 scenes have .* 10 m .*b\.tif \(20 m'):
        plan = plan_scenes(found, 's2', 16, spec=spec)
    assert [item.scene for item in plan.items] == found
    with pytest.raises(RasterError, match=r"b\.tif has pixels of 20 m, .*='resample'"):
        plan_scenes(found, 's2', 16, spec=spec, gsd='error')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        plan_scenes(found, 's2', 16, spec=spec, gsd='ignore')
        plan_scenes(found, 's2', 16, spec={})
        near, fine = plan_scenes(found, 's2', 16, spec=spec, gsd='resample').items
    assert near.scene == found[0]
    assert fine.scene.shape == (120, 128)
    assert fine.scene.grid_gsd == 10
    assert fine.scene.gsd == (20,)
    assert fine.scene.footprint.equals(found[1].footprint)


def test_pixels_in_degrees_are_compared_as_training_counts_them(
    write_raster: Writer,
) -> None:
    # Far north a degree of longitude is short, but the training counts latitude.
    found = catalogue(write_raster('a.tif', crs='EPSG:4326', res=9e-5, origin=(9, 69)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        plan_scenes(found, 's2', 16, spec={'gsd': 10.0})


def test_resampled_pixels_are_read_again_from_the_record(
    write_raster: Writer, fake: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(0)
    file = write_raster('a.tif', data=rng.random((1, 50, 70)), res=20)
    task = fake(channels=1, bands=['B1'])
    task.specs['s2']['gsd'] = 10.0
    options: dict[str, Any] = {'gsd': 'resample', 'progress': False}
    table = embed(task, str(file), 's2', 16, **options)
    grid = table.record['grids']['a.tif']
    assert grid['shape'] == [100, 140]
    assert grid['transform'] == [10, 0, 5e5, 0, -10, 5e6]
    assert table.record['sources']['a.tif'] == [['a.tif', 1, 'B1', 20.0]]
    (scene,) = catalogue(file)
    reader = SceneReader(scene.at_gsd(10))
    for row, seen in zip(table.frame.to_dict('records'), task.seen[1:], strict=True):
        x, y = row['native_corners'][:2]
        window = reader.window((x, y - 160, x + 160, y))
        np.testing.assert_array_equal(reader.read(window), seen.numpy())


def test_a_grid_with_the_same_pixels_is_the_same_scene(write_raster: Writer) -> None:
    (scene,) = catalogue(write_raster('a.tif', shape=(20, 20)))
    assert scene.at_gsd(10.1) is scene
    small = scene.at_gsd(15)
    assert small.shape == (13, 13)
    assert small.footprint.bounds == pytest.approx(scene.footprint.bounds)
    assert replace(scene, crs=CRS.from_epsg(32633)).grid_gsd == 10


@pytest.mark.filterwarnings('ignore:max_cloud is 20, but:UserWarning')
def test_a_changed_setting_is_no_continuation(
    write_raster: Writer, tmp_path: Path, fake: Callable[..., Any]
) -> None:
    file = write_raster('a.tif', bands=('VV', 'VH'))
    out = tmp_path / 'out'
    task = fake('s1', 2, bands=['VV', 'VH'])
    begun: dict[str, Any] = {'size': 16, 'out': out, 'progress': False}
    embed(task, str(file), 's1', **begun)
    changes: tuple[tuple[dict[str, Any], str], ...] = (
        ({'edges': 'pad'}, 'edges'),
        ({'overlap': 0.5}, 'overlap'),
        ({'gsd': 'ignore'}, 'gsd'),
        ({'max_cloud': 20}, 'max_cloud'),
        ({'units': 'db'}, 'scenes'),
        ({'nodata': 7}, 'scenes'),
        ({'size': None, 'size_metres': 160}, 'size'),
    )
    for change, name in changes:
        with pytest.raises(ArchiveError, match=name):
            embed(task, str(file), 's1', **{**begun, **change})
    mask = plan_scenes(catalogue(file), 's1', 16)
    masked = plan_scenes(
        [
            replace(s, quality=replace(s.pick([0]), bands=('SCL',)))
            for s in catalogue(file)
        ],
        's1',
        16,
    )
    assert mask.scenes != masked.scenes
    header = header_of(mask, 'space', 8, PatchOptions(batch_size=1))
    assert header['edges'] == 'drop'
