"""Footprints against loops and against places that are known."""

import math

import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Transformer

from torchgeo_cmr.embed.scenes.window_footprints import (
    crs_code,
    footprints,
    native_corners,
)
from torchgeo_cmr.errors import RasterError

WINDOWS = np.array([[0, 0, 16, 16], [16, 48, 16, 32], [7, 3, 1, 1]])


@pytest.mark.parametrize('angle', [0, 30, 200])
@pytest.mark.parametrize('shear', [0, 12])
def test_corners_equal_the_affine_transform_to_the_bit(
    angle: float, shear: float
) -> None:
    transform = (
        Affine.translation(699_960.1, 5_100_040.3)
        @ Affine.rotation(angle)
        @ Affine.shear(shear, 0)
        @ Affine.scale(10.3, -9.7)
    )
    corners = native_corners(transform, WINDOWS)
    assert corners.dtype == np.float64
    a, b, c, d, e, f = tuple(transform)[:6]
    for window, found in zip(WINDOWS.tolist(), corners.tolist(), strict=True):
        row, column, height, width = window
        expected: list[float] = []
        for x, y in (
            (column, row),
            (column + width, row),
            (column + width, row + height),
            (column, row + height),
        ):
            expected += [x * a + y * b + c, x * d + y * e + f]
        assert found == expected


def test_polygons_are_the_corners_in_longitude_and_latitude() -> None:
    corners = native_corners(Affine(10, 0, 699_960, 0, -10, 5_100_040), WINDOWS)
    to_lonlat = Transformer.from_crs('EPSG:32632', 'EPSG:4326', always_xy=True)
    lon, lat = to_lonlat.transform(corners[:, 0::2], corners[:, 1::2])
    for i, polygon in enumerate(footprints(corners, 'EPSG:32632')):
        ring = shapely.get_coordinates(polygon)
        np.testing.assert_array_equal(ring[:4], np.c_[lon[i], lat[i]])


@pytest.mark.parametrize('zone', [1, 60])
def test_a_patch_on_the_antimeridian_has_a_part_on_either_side(zone: int) -> None:
    crs = CRS.from_epsg(32600 + zone)
    middle, _ = Transformer.from_crs(4326, crs, always_xy=True).transform(
        180, -17.0 + 34
    )
    transform = Affine(10, 0, middle - 80, 0, -10, 1_880_000)
    corners = native_corners(transform, np.array([[0, 0, 16, 16], [0, 160, 16, 16]]))
    crossing, beside = footprints(corners, f'EPSG:326{zone:02}')
    assert crossing.geom_type == 'MultiPolygon'
    west, east = sorted(crossing.geoms, key=lambda part: part.bounds[0])
    assert west.bounds[0] == -180
    assert east.bounds[2] == 180
    assert beside.geom_type == 'Polygon'
    # Nothing is lost by the cut: both patches are of one size on the ground.
    assert crossing.area == pytest.approx(beside.area, rel=1e-3)
    assert crossing.area * math.cos(math.radians(17)) == pytest.approx(
        (160 / 111_000) ** 2, rel=0.02
    )


def test_a_grid_from_0_to_360_is_brought_home() -> None:
    corners = native_corners(Affine(1, 0, 170, 0, -1, 10), np.array([[0, 0, 5, 20]]))
    (polygon,) = footprints(corners, 'EPSG:4326')
    assert [part.bounds for part in sorted(polygon.geoms, key=lambda p: p.bounds)] == [
        (-180, 5, -170, 10),
        (170, 5, 180, 10),
    ]


def test_no_windows_no_footprints() -> None:
    corners = native_corners(Affine.identity(), np.empty((0, 4), np.int64))
    assert corners.shape == (0, 8)
    assert len(footprints(corners, 'EPSG:32632')) == 0


def test_a_point_that_is_nowhere_is_an_error() -> None:
    corners = np.full((1, 8), 1e30)
    with pytest.raises(RasterError, match='check the CRS and the geotransform'):
        footprints(corners, 'EPSG:32632')


def test_codes_only_for_the_very_same_crs() -> None:
    assert crs_code(CRS.from_epsg(32632)) == 'EPSG:32632'
    assert (
        crs_code(CRS.from_wkt(CRS.from_epsg(3395).to_wkt('WKT1_GDAL'))) == 'EPSG:3395'
    )
    own = CRS.from_proj4('+proj=laea +lat_0=12.3 +lon_0=4.5 +datum=WGS84 +units=m')
    assert CRS.from_user_input(crs_code(own)) == own
    assert crs_code(own).startswith('PROJCRS')
