"""Real rasters of other people, trained on by our command and by TorchGeo's."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from torchgeo.main import main as torchgeo_main

from torchgeo_cmr.main import main
from torchgeo_cmr.tasks import load_task

SHARED = Path(__file__).parents[3] / 'shared' / 'data'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason='the shared samples are not here'),
]

RASTERS = 'torchgeo.datasets.RasterDataset'


def rasters(path: str) -> dict[str, Any]:
    return {'class_path': RASTERS, 'init_args': {'paths': str(SHARED / path)}}


def san_antonio(_: Path) -> dict[str, Any]:
    folder = 's1s2_san_antonio'
    return {
        # The radar is 8 bits for display: no unit of backscatter.
        'units': {'s1': 'dn'},
        'datasets': {'s1': rasters(f'{folder}/S1'), 's2': rasters(f'{folder}/S2')},
    }


def navarra(_: Path) -> dict[str, Any]:
    folder = 'panms_landsat_navarra'
    return {
        'datasets': {
            'pan': rasters(f'{folder}/pan_example.tif'),
            'ms': rasters(f'{folder}/ms_example.tif'),
        }
    }


def terramesh(_: Path) -> dict[str, Any]:
    folder = 'terramesh_samples'
    return {
        'patch_size': 32,
        'units': {'s1': 'db'},
        'datasets': {
            's1': rasters(f'{folder}/S1RTC'),
            's2': rasters(f'{folder}/S2L2A'),
        },
    }


def worldcereal(folder: Path) -> dict[str, Any]:
    """A cube a sensor, with the time axis under the name that TorchGeo looks for."""
    source = SHARED / 'worldcereal_belgium' / 'worldcereal_preprocessed_inputs.nc'
    with xr.open_dataset(source, decode_coords='all') as cube:
        cube = cube.rename(t='time').load()
    bands = {
        's1': ['S1-SIGMA0-VH', 'S1-SIGMA0-VV'],
        's2': ['S2-L2A-B02', 'S2-L2A-B03', 'S2-L2A-B04', 'S2-L2A-B08'],
    }
    datasets = {}
    for name, chosen in bands.items():
        part = cube[chosen].where(cube[chosen] != 65535)
        if name == 's1':
            part = 20 * np.log10(part) - 83
        part = part.astype('float32')
        for variable in part.variables.values():
            variable.encoding.clear()
        part.rio.write_crs(32631, inplace=True).to_netcdf(folder / f'{name}.nc')
        datasets[name] = {
            'class_path': 'torchgeo.datasets.XarrayDataset',
            'init_args': {'paths': str(folder / f'{name}.nc'), 'data_vars': chosen},
        }
    return {
        # 100 x 100 pixels are little ground to divide.
        'patch_size': 8,
        'units': {'s1': 'db', 's2': 'dn'},
        'datasets': datasets,
        'block': 2,
        'margin': 0,
    }


PLACES = {
    'san_antonio': (san_antonio, {'s1': 1, 's2': 3}),
    'navarra': (navarra, {'pan': 1, 'ms': 4}),
    'terramesh': (terramesh, {'s1': 2, 's2': 12}),
    'worldcereal': (worldcereal, {'s1': 2, 's2': 4}),
}


#: Options of the task; places of patches come from the data module.
ALIGNED = {'san_antonio': {'preset': 'aligned', 'ignore_within': 1500.0}}


@pytest.fixture
def environment() -> Iterator[None]:
    """Give back what TorchGeo's command changes for good: GDAL would go on heeding it."""
    saved = dict(os.environ)
    yield
    for name in os.environ.keys() - saved.keys():
        del os.environ[name]
    os.environ.update(saved)


@pytest.mark.usefixtures('environment')
@pytest.mark.parametrize('command', ['torchgeo-cmr', 'torchgeo'])
@pytest.mark.parametrize('place', PLACES)
def test_fit(
    place: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, channels = PLACES[place]
    config = {
        'seed_everything': 0,
        'trainer': {
            'max_epochs': 1,
            'accelerator': 'cpu',
            'logger': False,
            'enable_progress_bar': False,
            'default_root_dir': str(tmp_path),
            'callbacks': [
                {
                    'class_path': 'lightning.pytorch.callbacks.ModelCheckpoint',
                    'init_args': {'dirpath': str(tmp_path), 'filename': 'last'},
                }
            ],
        },
        'model': {
            'class_path': 'torchgeo_cmr.tasks.SSCMRSIR',
            'init_args': {
                'in_channels': channels,
                'model': 'test_resnet',
                **ALIGNED.get(place, {}),
            },
        },
        'data': {
            'class_path': 'torchgeo_cmr.datamodules.PairedDataModule',
            'init_args': {
                'batch_size': 8,
                'length': 16,
                'patch_size': 64,
                'stat_patches': 16,
                **make(tmp_path),
            },
        },
    }
    path = tmp_path / 'run.yaml'
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    monkeypatch.chdir(tmp_path)
    words = ['fit', '--config', str(path)]
    with warnings.catch_warnings():
        # Lightning's own about workers, loggers and arguments; the result is what counts.
        warnings.simplefilter('ignore')
        if command == 'torchgeo':
            torchgeo_main(words)
        else:
            assert main(words) == 0
    task = load_task(tmp_path / 'last.ckpt')
    is_aligned = place in ALIGNED
    assert task.hparams['mde_on'] == ('z' if is_aligned else 'h')
    assert hasattr(task.model, 'stem') == is_aligned
    for name, count in channels.items():
        spec = task.specs[name]
        assert len(spec['mean']) == count
        assert np.isfinite([*spec['mean'], *spec['std']]).all()
        image = torch.tensor(spec['mean'])[:, None, None].expand(2, -1, 32, 32)
        vectors = task.embed({f'image_{name}': image}, name)
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
