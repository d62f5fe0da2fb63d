"""The option --model: archives without training, searched across sensors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from torchgeo_cmr.models.foundation.presto import PrestoAdapter


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    made = {}
    for sensor, bands, low, high, kind in (
        ('s1', ('VV', 'VH'), -25, -5, 'float32'),
        ('s2', ('B02', 'B03', 'B04', 'B08'), 300, 3000, 'uint16'),
    ):
        made[sensor] = tmp_path / f'{sensor}.tif'
        with rasterio.open(
            made[sensor],
            'w',
            driver='GTiff',
            width=64,
            height=64,
            count=len(bands),
            dtype=kind,
            crs='EPSG:32632',
            transform=Affine(10, 0, 6e5, 0, -10, 5e6),
        ) as file:
            file.write(rng.uniform(low, high, (len(bands), 64, 64)).astype(kind))
            file.descriptions = bands
            if sensor == 's1':
                file.units = ('dB', 'dB')
    torch.manual_seed(1)  # other weights than those that a model without any has
    made['weights'] = tmp_path / 'presto.pt'
    torch.save(PrestoAdapter.build('presto', None).state_dict(), made['weights'])
    return made


@pytest.mark.slow
def test_from_rasters_to_hits(
    run: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    model = f'presto:{files["weights"]}'
    for sensor, bands in (('s1', ()), ('s2', ('--bands', 'B02,B03,B04,B08'))):
        ran = run(
            *('embed', files[sensor], '--model', model, '--modality', sensor),
            *('--size', 32, '--out', tmp_path / sensor, '--quiet', '--center', *bands),
        )
        assert ran.code == 0, ran.err
    ran = run('search', tmp_path / 's2', '--query', tmp_path / 's1', '-k', 1)
    assert ran.code == 0
    centred = (tmp_path / f'{sensor}-centred' for sensor in ('s2', 's1'))
    assert run('search', next(centred), '--query', next(centred), '-k', 1).code == 0
    words = ('--query', files['s1'], '--query-modality', 's1', '--size', 32, '-k', 1)
    assert run('search', tmp_path / 's2', *words, '--model', model).code == 0
    ran = run('search', tmp_path / 's2', *words, '--model', 'presto')
    assert ran.code == 2
    assert 'give the checkpoint or model that made the archive' in ran.err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ((), 'give an encoder: --ckpt CHECKPOINT'),
        (('--ckpt', 'a.ckpt', '--model', 'presto'), 'are two encoders: leave'),
        (('--ckpt', 'a.ckpt', '--bands', 'VV'), '--bands is for --model'),
        (('--model', 'presto'), '--model needs one modality'),
        (('--model', 'presto', '--modality', 's1', '--task', 'a.B'), '--task is for'),
        (('--model', 'presto:nope.pt', '--modality', 's1'), 'neither a file nor'),
        (('--model', 'presto', '--modality', 's2'), 'there is no band B05'),
        (('--model', 'rezznet', '--modality', 's1'), "no model 'rezznet'"),
    ],
)
def test_mistakes(
    refused: Callable[..., str],
    files: dict[str, Path],
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
) -> None:
    line = refused(
        *(
            'embed',
            files['s2'],
            *words,
            '--size',
            32,
            '--out',
            tmp_path / 'a',
            '--quiet',
        )
    )
    assert message in line
