"""Statistics of the pixels of scenes are theirs, and a sentence says where there are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.embed import measure_pixels
from torchgeo_cmr.errors import RasterError

type Writer = Callable[..., Path]


def test_mean_and_deviation_of_valid_pixels(
    fake: Callable[..., Any], write_raster: Writer
) -> None:
    pixels = np.random.default_rng(0).integers(1, 9, (1, 40, 40)).astype(float)
    pixels[0, :20] = 0
    path = write_raster('a.tif', data=pixels, nodata=0)
    measured = measure_pixels(fake(channels=1), path, 's2')
    valid = pixels[0, 20:]
    assert measured['mean'] == pytest.approx([valid.mean()])
    assert measured['std'] == pytest.approx([valid.std()])


def test_a_damaged_scene_is_left_out(
    fake: Callable[..., Any], write_raster: Writer, truncated: Path
) -> None:
    good = write_raster('good.tif', data=np.full((1, 40, 40), 7.0))
    assert measure_pixels(fake(channels=1), [good, truncated], 's2')['mean'] == [7]
    with pytest.raises(RasterError, match=r'of 1 scenes cannot be measured.*truncated'):
        measure_pixels(fake(channels=1), truncated, 's2')


def test_nothing_but_nodata(fake: Callable[..., Any], write_raster: Writer) -> None:
    path = write_raster('a.tif', data=np.full((1, 40, 40), np.nan))
    with pytest.raises(RasterError, match='no pixel that was read is valid in each'):
        measure_pixels(fake(channels=1), path, 's2')
