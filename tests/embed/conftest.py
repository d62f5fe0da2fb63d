"""A tiny encoder that remembers what it saw, and scenes in two zones at two dates."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

S2_BANDS = ('B02', 'B03', 'B04')
S2_DATES = ('20240601T101031', '20240611T101031')
#: Zone -> (CRS, upper left corner). Northings that float32 cannot hold.
ZONES = {
    '32TQM': ('EPSG:32632', (699_960.0, 5_100_040.3)),
    '33TUG': ('EPSG:32633', (300_000.0, 5_100_020.7)),
}


class FakeTask(nn.Module):
    """Projects pixels at random (but always alike) and keeps the pixels it was given."""

    weights: Tensor

    def __init__(
        self,
        modality: str = 's2',
        channels: int = 3,
        size: int = 16,
        bands: Sequence[str] = (),
        delay: float = 0,
        space: str = '0123456789abcdef',
        units: str | None = None,
    ) -> None:
        super().__init__()
        self.modalities = (modality,)
        self.keys = {modality: f'image_{modality}'}
        self.in_channels = {modality: channels}
        self.specs: dict[str, dict[str, Any]] = {
            modality: {'bands': list(bands), 'patch_size': size, 'units': units}
        }
        self.space = space
        self.delay = delay
        generator = torch.Generator().manual_seed(0)
        weights = torch.randn(channels * size * size, 8, generator=generator)
        self.register_buffer('weights', weights)
        self.frozen = nn.Dropout().eval()
        self.seen: list[Tensor] = []
        self.batches: list[int] = []

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        assert not self.training
        assert torch.is_inference_mode_enabled()
        time.sleep(self.delay)
        images = batch[self.keys[modality]]
        self.seen += list(images.clone())
        self.batches.append(len(images))
        flat = torch.nan_to_num(images).flatten(1) @ self.weights
        return nn.functional.normalize(flat + 1, dim=1)


@pytest.fixture
def fake() -> Callable[..., FakeTask]:
    return FakeTask


@pytest.fixture
def s2_folder(write_raster: Callable[..., Path], tmp_path: Path) -> Path:
    """Three bands, one file each, in two UTM zones at two dates; 40 x 56 pixels."""
    rng = np.random.default_rng(0)
    for tile, (crs, origin) in ZONES.items():
        for date in S2_DATES:
            for band in S2_BANDS:
                write_raster(
                    f's2/T{tile}_{date}_{band}.tif',
                    data=rng.integers(1, 10_000, (1, 40, 56)),
                    dtype='uint16',
                    crs=crs,
                    origin=origin,
                    tiled=True,
                    blockxsize=16,
                    blockysize=16,
                    compress='deflate',
                )
    return tmp_path / 's2'


@pytest.fixture
def truncated(write_raster: Callable[..., Path], tmp_path: Path) -> Path:
    """A file that opens, and ends before its pixels do."""
    rng = np.random.default_rng(0)
    whole = write_raster('whole.tif', data=rng.random((1, 64, 64)))
    path = tmp_path / 'cut' / 'cut.tif'
    path.parent.mkdir()
    with (
        rasterio.open(whole) as source,
        rasterio.open(path, 'w', **{**source.profile, 'driver': 'COG'}) as file,
    ):
        file.write(source.read())
    path.write_bytes(path.read_bytes()[:6000])
    return path
