"""Scales from training to the archive: one encoder sees numbers of one scale."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from torchgeo.datasets import GeoDataset, RasterDataset

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datasets.listing import read_listing
from torchgeo_cmr.embed import embed
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.tasks import SSCMRSIR

Writer = Callable[..., Path]
Fake = Callable[..., Any]

GROUND = np.random.default_rng(0).integers(1, 9000, (1, 16, 16))


def scene(
    write: Writer, name: str, scale: float = 1, offset: float = 0, **more: Any
) -> Path:
    """Write the ground in steps of its own; 1 and 0 are not stated."""
    path = write(name, dtype='int32', bands=('red',), **{'data': GROUND} | more)
    with rasterio.open(path, 'r+') as file:
        file.scales, file.offsets = [scale], [offset]
    return path


def run(task: Any, *paths: Path, **more: Any) -> Any:
    options: dict[str, Any] = {
        'modality': 's2',
        'size': 16,
        'gsd': 'ignore',
        'progress': False,
    } | more
    return embed(task, [str(path) for path in paths], **options)


def trained(fake: Fake, scale: list[float | None] | None, units: str = 'dn') -> Any:
    task = fake(channels=1, bands=('red',), units=units)
    task.specs['s2']['scale'] = scale
    return task


def test_pixels_come_in_the_steps_of_the_training(
    fake: Fake, write_raster: Writer
) -> None:
    same = scene(write_raster, 'a.tif', 0.0001)
    shifted = scene(write_raster, 'b.tif', 0.0001, -0.1, data=GROUND + 1000)
    finer = scene(write_raster, 'c.tif', 0.00001, data=GROUND * 10)
    unstated = scene(write_raster, 'd.tif')
    task = trained(fake, [0.0001])
    with pytest.warns(UserWarning, match=r'b\.tif states an offset'):
        table = run(task, same, shifted, finer, unstated)
    for image in task.seen[-4:]:
        np.testing.assert_allclose(image.numpy(), GROUND, rtol=1e-6)
    for image in (task.seen[-4], task.seen[-3], task.seen[-1]):
        np.testing.assert_array_equal(image.numpy(), GROUND)
    # Value of a step as it was read, and what was added to stored numbers.
    assert table.record['scales'] == {
        'a.tif': [[0.0001], [0.0]],
        'b.tif': [[0.0001], [-1000.0]],
        'c.tif': [[0.0001], [0.0]],
    }


def test_scenes_agree_where_nothing_is_known_of_the_training(
    fake: Fake, write_raster: Writer
) -> None:
    paths = (
        scene(write_raster, 'a.tif', 0.5),
        scene(write_raster, 'b.tif', 0.25, 5, data=2 * GROUND - 20),
    )
    task = fake(channels=1, bands=('red',), units='dn')
    table = run(task, *paths)
    for image in task.seen[-2:]:
        np.testing.assert_array_equal(image.numpy(), GROUND)
    assert table.record['scales']['b.tif'] == [[0.5], [20.0]]


def test_decimals_of_unknown_scale_are_refused_until_it_is_stated(
    fake: Fake, write_raster: Writer
) -> None:
    path = write_raster('a.tif', data=GROUND / 10_000, bands=('red',))
    task = trained(fake, [0.0001])
    with pytest.raises(
        RasterError, match=r'in steps of 0\.0001, and .*state it with `sc'
    ):
        run(task, path, errors='raise')
    run(task, path, scale=1)
    np.testing.assert_allclose(task.seen[-1].numpy(), GROUND, rtol=1e-6)
    # Of an encoder that was trained on such decimals nothing is asked.
    scales: list[list[float | None] | None] = [None, [1.0], [None]]
    for scale in scales:
        task = trained(fake, scale, 'reflectance')
        run(task, path)
        np.testing.assert_allclose(task.seen[-1].numpy(), GROUND / 10_000, rtol=1e-6)
    with pytest.raises(RasterError, match='scale is -1: give a number above 0'):
        run(task, path, scale=-1, errors='raise')


def test_radar_is_converted_from_physical_values(
    fake: Fake, write_raster: Writer
) -> None:
    data = np.full((1, 16, 16), -1250)
    path = write_raster('a.tif', data=data, dtype='int16', bands=('VV',))
    with rasterio.open(path, 'r+') as file:
        file.scales, file.units = [0.01], ['dB']
    for units, expected in (('db', -12.5), ('power', 10**-1.25)):
        task = fake(channels=1, bands=('VV',), units=units)
        run(task, path)
        np.testing.assert_allclose(task.seen[-1].numpy(), expected, rtol=1e-6)


def test_an_archive_of_other_steps_is_not_continued(
    fake: Fake, write_raster: Writer, tmp_path: Path
) -> None:
    path = scene(write_raster, 'a.tif', 0.5)
    run(trained(fake, [0.5]), path, out=tmp_path / 'out')
    run(trained(fake, [0.5]), path, out=tmp_path / 'out')
    with pytest.raises(Exception, match='scenes'):
        run(trained(fake, [0.25]), path, out=tmp_path / 'out')


def test_training_leaves_the_scale_in_the_checkpoint(
    write_raster: Writer, tmp_path: Path
) -> None:
    for i, name in enumerate('ab'):
        place: dict[str, Any] = {'origin': (5e5 + 160 * i, 5e6)}
        shift = 1000 * i
        scene(
            write_raster,
            f's2/{name}.tif',
            1e-4,
            -shift / 1e4,
            data=GROUND + shift,
            **place,
        )
        write_raster(f's1/{name}.tif', data=GROUND / 7, bands=('x',), **place)
    members: dict[str, GeoDataset] = {
        n: RasterDataset(tmp_path / n) for n in ('s2', 's1')
    }
    data = PairedDataModule(
        members, patch_size=8, val_split=0, test_split=0, margin=0, units={'s1': 'db'}
    )
    described = data.describe()
    assert described['s2']['scale'] == [1e-4]
    assert 'scale' not in described['s1']
    zone = data.zones[0]
    pixels = np.sort(
        np.concatenate(
            [
                zone[5e5 + 160 * i : 5e5 + 160 * (i + 1), 5e6 - 160 : 5e6]['image_s2']
                .numpy()
                .ravel()
                for i in range(2)
            ]
        )
    )
    np.testing.assert_array_equal(pixels, np.sort(np.tile(GROUND.ravel(), 2)))
    task = SSCMRSIR(in_channels={'s2': 1, 's1': 1}, model='test_resnet', output_dim=8)
    task.set_specs(described)
    assert task.specs['s2']['scale'] == [1e-4]
    checkpoint: dict[str, Any] = {}
    task.on_save_checkpoint(checkpoint)
    other = SSCMRSIR(in_channels={'s2': 1, 's1': 1}, model='test_resnet', output_dim=8)
    assert 'scale' not in other.specs['s2']
    other.on_load_checkpoint(checkpoint)
    assert other.specs['s2']['scale'] == [1e-4]
    assert 'scale' not in other.specs['s1']


def test_whole_numbers_and_decimals_of_unknown_scale_never_mix(
    fake: Fake, write_raster: Writer
) -> None:
    whole = write_raster('whole.tif', data=GROUND, dtype='int16', bands=('red',))
    tenths = write_raster('tenths.tif', data=GROUND / 10_000, bands=('red',))
    cases: list[tuple[str, list[float | None] | None, Path]] = [
        ('dn', None, tenths),
        ('reflectance', None, whole),
        ('reflectance', [1.0], whole),
    ]
    for units, scale, other in cases:
        task = trained(fake, scale, units)
        with pytest.raises(RasterError, match=r'nothing connects .*with `units`'):
            run(task, whole, tenths, errors='raise')
        with pytest.warns(UserWarning, match=rf'refused.*{other.name}'):
            assert len(run(task, whole, tenths)) == 1
        # Whoever knows better says so.
        assert len(run(task, whole, tenths, units=units)) == 2
    run(task, whole, scale=0.0001)
    np.testing.assert_allclose(task.seen[-1].numpy(), GROUND / 10_000, rtol=1e-6)
    with pytest.raises(RasterError, match=r's2 mixes decimals .*tenths\.tif'):
        read_listing('s2', RasterDataset([str(whole), str(tenths)]))
