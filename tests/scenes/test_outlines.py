"""Outlines are moved with their curved sides, and across the antimeridian in one piece."""

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Transformer
from shapely import box

from torchgeo_cmr.scenes.outlines import full_turn, metres_of, project, project_near

UTM_60 = CRS('EPSG:32760')
DEGREES = CRS('EPSG:4326')
WEB = CRS('EPSG:3857')


def around(lon: float, lat: float, half: float = 2000) -> shapely.Polygon:
    """A square in zone 60 with a place in its middle."""
    x, y = Transformer.from_crs(DEGREES, UTM_60, always_xy=True).transform(lon, lat)
    return box(x - half, y - half, x + half, y + half)


@pytest.mark.parametrize('crs', [DEGREES, WEB, CRS('EPSG:6933')])
def test_an_outline_over_the_antimeridian_stays_in_one_piece(crs: CRS) -> None:
    square = around(180, -17)
    (moved,) = project(np.array([square], object), UTM_60, crs)
    turn = full_turn(crs)
    assert turn is not None
    assert moved.is_valid
    west, _, east, _ = moved.bounds
    assert 0 < east - west < turn / 1000
    # Any point of the square lies in it, by one turn or another.
    rng = np.random.default_rng(0)
    x, y = rng.uniform(square.bounds[:2], square.bounds[2:], (200, 2)).T
    lon, lat = Transformer.from_crs(UTM_60, crs, always_xy=True).transform(x, y)
    inside = [
        shapely.contains_xy(moved, lon + k * turn, lat).tolist() for k in (-1, 0, 1)
    ]
    assert np.any(inside, axis=0).mean() > 0.99


@pytest.mark.parametrize('west', [-179.99, 179.97, 180.0, 540.0])
def test_longitudes_are_those_of_the_ground(west: float) -> None:
    ground = box(west, -17.02, west + 0.03, -16.98)
    outline = np.array([around(180, -17)], object)
    (moved,) = project_near(outline, UTM_60, DEGREES, ground)
    assert moved.intersects(ground)
    # And back: what is named by other longitudes is found.
    within = around(180, -17, 20_000)
    (back,) = project_near(np.array([ground], object), DEGREES, UTM_60, within)
    (plain,) = project(np.array([ground], object), DEGREES, UTM_60)
    assert back.symmetric_difference(plain).area < 1e-6 * plain.area


def test_a_raster_of_the_whole_earth_has_both_sides() -> None:
    within = around(180, -17, 20_000)
    earth = np.array([box(-180, -90, 180, 90)], object)
    (found,) = project_near(earth, DEGREES, UTM_60, within)
    # The clip has straight sides in degrees.
    assert found.buffer(1e-3).covers(within.buffer(-50))


@pytest.mark.parametrize(
    ('code', 'turn'),
    [
        ('EPSG:4326', 360),
        ('EPSG:3857', 40_075_017),
        ('EPSG:3832', 40_075_017),
        ('EPSG:32601', None),
        ('EPSG:3413', None),
        ('ESRI:54008', None),
    ],
)
def test_full_turn(code: str, turn: float | None) -> None:
    assert full_turn(CRS(code)) == (None if turn is None else pytest.approx(turn))


def test_what_winds_round_a_pole_stays_as_it_is() -> None:
    polar = CRS('EPSG:3413')
    (moved,) = project(np.array([box(-1e5, -1e5, 1e5, 1e5)], object), polar, DEGREES)
    assert moved.bounds[0] >= -180
    assert moved.bounds[2] <= 180


@pytest.mark.parametrize(
    ('code', 'point', 'step'),
    [
        ('EPSG:4326', (2.0, 44.0), 1e-3),
        # Angles in grads, counted from Paris.
        ('EPSG:4807', (0.5, 49.0), 1e-3),
        # A grid of the south of France over such angles.
        ('EPSG:27572', (600_000.0, 1_900_000.0), 100.0),
        ('EPSG:2225', (6_000_000.0, 2_000_000.0), 100.0),
    ],
)
def test_metres_of_a_unit(code: str, point: tuple[float, float], step: float) -> None:
    x, y = point
    to_degrees = Transformer.from_crs(code, DEGREES, always_xy=True).transform
    lon, lat = to_degrees([x, x + step, x], [y, y, y + step])
    ellipsoid = Geod(ellps='WGS84')
    expected = [ellipsoid.inv(lon[0], lat[0], lon[i], lat[i])[2] / step for i in (1, 2)]
    assert metres_of(CRS(code), point) == pytest.approx(expected, rel=2e-3)
