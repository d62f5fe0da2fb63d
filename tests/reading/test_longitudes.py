"""Rasters in degrees are read on either side of the antimeridian."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.vrt import WarpedVRT

from torchgeo_cmr.reading.longitudes import as_named, readable

type Writer = Callable[..., Path]

DEGREES = CRS('EPSG:4326')
#: Longitudes from another meridian.
PARIS = '+proj=longlat +datum=WGS84 +pm=paris'


@pytest.mark.parametrize('code', ['EPSG:4326', 'EPSG:4269', PARIS])
@pytest.mark.parametrize('west', [179.98, 180.0, 284.98, -180.02])
def test_the_warper_finds_all_of_a_raster(
    write_raster: Writer, code: str, west: float
) -> None:
    crs, step = CRS(code), 1e-3
    values = west + (np.arange(40) + 0.5) * step
    data = np.broadcast_to(values - west, (1, 40, 40))
    grid = Affine(step, 0, west, 0, -step, 10)
    path = write_raster('a.tif', data=data, crs=code, transform=grid)
    options = readable(crs, grid, (40, 40))
    change = Transformer.from_crs(crs, 'EPSG:3832', always_xy=True)
    place = change.transform(values, np.full(40, grid.f - 20.5 * step))
    for x, y, value in [*zip(*place, data[0, 20], strict=True)][::3]:
        target = Affine(1, 0, x, 0, -1, y)
        with (
            rasterio.open(path) as file,
            WarpedVRT(
                file,
                crs='EPSG:3832',
                transform=target,
                width=1,
                height=1,
                nodata=-1,
                **options,
            ) as moved,
        ):
            assert moved.read(1)[0, 0] == pytest.approx(value, abs=0.1 * step)


@pytest.mark.parametrize('west', [-180.0, 0.0, 140.0])
def test_most_rasters_need_nothing(west: float) -> None:
    grid = Affine(0.1, 0, west, 0, -0.1, 50)
    assert readable(DEGREES, grid, (100, 400)) == {}
    assert readable(CRS('EPSG:32632'), grid, (100, 4000)) == {}


def test_a_pole_that_was_moved_is_left_alone() -> None:
    moved = CRS('+proj=ob_tran +o_proj=longlat +o_lat_p=39 +lon_0=18 +type=crs')
    assert readable(moved, Affine(0.1, 0, 340, 0, -0.1, 20), (100, 400)) == {}


@pytest.mark.parametrize(
    ('span', 'ends', 'named'),
    [
        ((10, 11), (-180, 180), (10, 11)),
        ((-76, -75), (0, 360), (284, 285)),
        ((179, 181), (-180, 180), (-180, 180)),
        ((-181, -179), (180, 190), (179, 181)),
        ((10, 11), (20, 30), (10, 11)),
        ((359, 361), (10, -10), (-1, 1)),
    ],
)
def test_spans_are_named_as_the_raster_names_them(
    span: tuple[float, float], ends: tuple[float, float], named: tuple[float, float]
) -> None:
    assert as_named(span, ends, DEGREES) == named
    assert as_named(span, ends, CRS('EPSG:32632')) == span
