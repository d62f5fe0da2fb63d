"""Mean and deviation: exact at any magnitude, the same in every process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datamodules.statistics import Moments
from torchgeo_cmr.errors import RasterError

type Writer = Callable[..., Path]


@pytest.mark.parametrize('scale', [1e-9, 1e-3, 1.0, 1e4, 1e12])
@pytest.mark.parametrize('offset', [0.0, 100.0])
def test_equal_those_of_all_pixels(scale: float, offset: float) -> None:
    random = np.random.default_rng(0)
    patches = [(random.normal(size=(2, 8, n)) + offset) * scale for n in (4, 8, 3)]
    patches[1][0, 2] = np.nan
    moments = Moments()
    for patch in patches:
        moments.add(patch)
    whole = np.concatenate(patches, axis=2).reshape(2, -1)
    np.testing.assert_allclose(moments.mean(), np.nanmean(whole, axis=1), rtol=1e-9)
    np.testing.assert_allclose(moments.std(), np.nanstd(whole, axis=1), rtol=1e-9)


def test_a_number_that_stands_for_missing_pixels_is_doubted() -> None:
    moments = Moments()
    patch = np.random.default_rng(0).normal(size=(2, 8, 8))
    moments.add(patch)
    moments.check('s2')
    patch[0, :2] = -9999
    moments.add(patch)
    with pytest.warns(UserWarning, match='s2 has -9999 in 12% of the pixels of a band'):
        moments.check('s2')


@pytest.mark.parametrize('value', [0.0, 0.1, 1e-8, 123456.7, -9e9])
def test_a_constant_band_has_deviation_1(value: float) -> None:
    moments = Moments()
    for size in (3, 50, 7):
        moments.add(np.full((1, size), value, dtype=np.float32))
    assert moments.std() == [1.0]
    np.testing.assert_allclose(moments.mean(), [np.float32(value)], rtol=1e-12)


def test_statistics_of_nothing_are_refused() -> None:
    moments = Moments()
    moments.add(np.full((2, 9), np.nan))
    with pytest.raises(RasterError, match='no valid pixel of s1'):
        moments.check('s1')


@pytest.mark.parametrize('unit', ['power', 'amplitude'])
def test_decibels_are_no_power(unit: str) -> None:
    moments = Moments()
    moments.add(np.linspace(-22, -4, 64, dtype=np.float32).reshape(1, 64))
    moments.check('s1', 'db')
    with pytest.raises(RasterError, match=f'{unit}, .* mean of -13: .* s1=db'):
        moments.check('s1', unit)
    # Noise that was taken off leaves some of it below zero.
    dark = Moments()
    dark.add(np.linspace(-0.01, 0.005, 64, dtype=np.float32).reshape(1, 64))
    dark.check('s1', unit)


def test_the_same_whatever_the_rank(
    write_raster: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x = np.mgrid[:256, :256]
    a = RasterDataset(
        write_raster('a.tif', data=np.stack([x * 3 + 1000, y]), bands='xy')
    )

    def describe() -> dict:
        return PairedDataModule(
            {'a': a, 'b': a}, patch_size=8, block=4, stat_patches=16
        ).describe()

    alone = describe()
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 2)
    for rank in (0, 1):
        monkeypatch.setattr(dist, 'get_rank', lambda rank=rank: rank)
        assert describe() == alone
