from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from torchgeo_cmr.tasks import SSCMRSIR

BANDS = {'s1': ['VV', 'VH'], 's2': ['B02', 'B03', 'B04']}
MEAN = {'s1': [-12.0, -12.0], 's2': [1000.0, 1000.0, 1000.0]}
STD = {'s1': [5.0, 5.0], 's2': [500.0, 500.0, 500.0]}


def planted(num: int, seed: int, pixels: int = 16) -> list[dict[str, Tensor]]:
    """Pairs that are two linear images of one hidden field, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    hidden = interpolate(
        torch.randn(num, 2, 3, 3, generator=generator), pixels, mode='bilinear'
    )
    to_s1 = torch.tensor([[1.0, 0.5], [-0.3, 1.0]])
    to_s2 = torch.tensor([[1.0, 1.0], [0.2, -1.0], [-1.0, 0.4]])
    s1 = torch.einsum('cd,ndhw->nchw', to_s1, hidden)
    s2 = torch.einsum('cd,ndhw->nchw', to_s2, hidden)
    s1 = s1 + 0.1 * torch.randn(s1.shape, generator=generator)
    s2 = s2 + 0.1 * torch.randn(s2.shape, generator=generator)
    return [
        {'image_s1': a * 5 - 12, 'image_s2': b * 500 + 1000}
        for a, b in zip(s1, s2, strict=True)
    ]


def loader(
    num: int = 64, seed: int = 1, *, batch_size: int = 64, pixels: int = 16
) -> DataLoader:
    pairs = planted(num, seed, pixels)
    return DataLoader(pairs, batch_size)  # ty: ignore[invalid-argument-type]


class PlantedData(LightningDataModule):
    """The planted pairs behind the one method that a task looks for."""

    def __init__(self, bands: dict[str, list[str]] | None = None) -> None:
        super().__init__()
        self.bands = bands or BANDS
        self.asked = 0

    def describe(self) -> dict[str, dict[str, Any]]:
        self.asked += 1
        return {
            m: {
                'bands': tuple(self.bands[m]),
                'mean': torch.tensor(MEAN[m]),
                'std': torch.tensor(STD[m]).numpy(),
                'gsd': 10.0,
                'patch_size': 16,
                'units': 'db' if m == 's1' else 'reflectance',
                'nodata': None if m == 's1' else 0,
            }
            for m in BANDS
        }

    def train_dataloader(self) -> DataLoader:
        return loader(16, batch_size=8)

    def val_dataloader(self) -> DataLoader:
        return loader(12, 2)


@pytest.fixture(scope='session')
def make_task() -> Callable[..., SSCMRSIR]:
    def make(**options: Any) -> SSCMRSIR:
        torch.manual_seed(0)
        settings: dict[str, Any] = {
            'model': 'test_resnet',
            'output_dim': 32,
            'mean': MEAN,
            'std': STD,
            'bands': BANDS,
        }
        settings |= options
        return SSCMRSIR({'s1': 2, 's2': 3}, **settings)

    return make


@pytest.fixture(scope='session')
def make_trainer() -> Callable[..., Trainer]:
    def make(**options: Any) -> Trainer:
        quiet: dict[str, Any] = {
            'accelerator': 'cpu',
            'logger': False,
            'enable_checkpointing': False,
            'enable_progress_bar': False,
            'enable_model_summary': False,
            'log_every_n_steps': 1,
            'max_epochs': 1,
        }
        quiet |= options
        return Trainer(**quiet)

    return make


@pytest.fixture
def data() -> PlantedData:
    return PlantedData()


@pytest.fixture
def make_loader() -> Callable[..., DataLoader]:
    return loader


@pytest.fixture(scope='session')
def make_data() -> type[PlantedData]:
    return PlantedData
