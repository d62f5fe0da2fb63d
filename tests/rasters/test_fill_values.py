"""Numbers that stand for missing pixels are noticed, and measured ones are not."""

import numpy as np
import pytest

from torchgeo_cmr.rasters.fill_values import FillValues


def counted(pixels: np.ndarray, parts: int = 1) -> str | None:
    fills = FillValues()
    for part in np.array_split(pixels, parts, axis=1):
        fills.add(part)
    return fills.doubt()


@pytest.mark.parametrize(
    ('value', 'words'),
    [
        (-9999, '-9999'),
        (-32768, '-32768'),
        (np.finfo(np.float32).min, '-3.40282e+38'),
        (np.float32(9.96921e36), '9.96921e+36'),
        (1e20, '1e+20'),
    ],
)
@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_a_number_that_fills_part_of_a_band(
    value: float, words: str, dtype: str
) -> None:
    pixels = np.random.default_rng(0).normal(0, 100, (3, 1000)).astype(dtype)
    pixels[0, :300] = np.nan
    assert counted(pixels) is None
    pixels[1, 40:120] = value
    for parts in (1, 7):
        assert counted(pixels, parts) == f'{words} in 8% of the pixels of a band'
    pixels[1, 45:] = 0
    assert counted(pixels) is None


def test_shares_are_of_pixels_that_are_not_missing() -> None:
    pixels = np.full((1, 1000), np.nan)
    pixels[0, :100] = np.arange(100)
    pixels[0, :2] = -9999
    assert counted(pixels) == '-9999 in 2% of the pixels of a band'


@pytest.mark.parametrize('shape', [(2, 0), (0, 0)])
def test_nothing(shape: tuple[int, int]) -> None:
    assert counted(np.empty(shape)) is None
    assert FillValues().doubt() is None


def test_depths_and_16_bits_are_measured() -> None:
    depth = np.linspace(-10_900, 8_800, 5000)[None]
    assert counted(depth) is None
    assert counted(np.full((1, 100), 65_535.0)) is None
