"""Geometries to EPSG:4326, by known places."""

import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod

from torchgeo_cmr.table.footprints import cut, densify, is_wgs84, to_wgs84, unwrap

ONE, SIXTY = CRS.from_epsg(32601), CRS.from_epsg(32760)


def widest_part(geometry: shapely.Geometry) -> float:
    bounds = shapely.bounds(shapely.get_parts(geometry))
    return float((bounds[:, 2] - bounds[:, 0]).max())


def area_km2(geometry: shapely.Geometry) -> float:
    return abs(Geod(ellps='WGS84').geometry_area_perimeter(geometry)[0]) / 1e6


@pytest.mark.parametrize('code', [4326, 'OGC:CRS84'])
def test_is_wgs84(code: int | str) -> None:
    assert is_wgs84(CRS.from_user_input(code))
    assert not is_wgs84(CRS.from_epsg(4258))


def test_plain_footprint_keeps_its_vertices() -> None:
    box = shapely.box(6e5, 5e6, 600320, 5000320)
    (moved,) = to_wgs84([box], CRS.from_epsg(32632))
    assert shapely.get_num_coordinates(moved) == 5
    assert moved.centroid.x == pytest.approx(10.272, abs=1e-2)


@pytest.mark.parametrize(
    ('box', 'crs'),
    [
        (shapely.box(790_000, 8.0e6, 860_000, 8.07e6), SIXTY),
        (shapely.box(315_000, 7.0e6, 385_000, 7.07e6), ONE),
    ],
)
def test_utm_footprint_over_the_antimeridian_is_cut(
    box: shapely.Polygon, crs: CRS
) -> None:
    (moved,) = to_wgs84([box], crs)
    assert moved.geom_type == 'MultiPolygon'
    assert moved.is_valid
    assert widest_part(moved) < 2
    west, _, east, _ = moved.bounds
    assert (west, east) == (-180, 180)
    assert area_km2(moved) == pytest.approx(box.area / 1e6, rel=0.02)


def test_wrapped_and_overflowing_degrees_are_the_same_ground() -> None:
    wrapped = shapely.Polygon([(179.5, 0), (-179.5, 0), (-179.5, 1), (179.5, 1)])
    over = shapely.box(179.5, 0, 180.5, 1)
    under = shapely.box(-180.5, 0, -179.5, 1)
    first, second, third = to_wgs84([wrapped, over, under], CRS.from_epsg(4326))
    assert first.equals(second)
    assert first.equals(third)
    assert first.area == pytest.approx(1)


def test_whole_world_and_wide_dense_polygons_stay() -> None:
    world = shapely.box(-180, -60, 180, 60)
    wide = shapely.segmentize(shapely.box(-170, -10, 170, 10), 5)
    same = to_wgs84([world, wide], CRS.from_epsg(4326))
    assert same[0].equals(world)
    assert same[1].equals(wide)


@pytest.mark.parametrize(('code', 'pole'), [(3413, 90), (3031, -90)])
def test_footprint_round_a_pole_reaches_it(code: int, pole: int) -> None:
    cap = shapely.segmentize(shapely.box(-1e5, -1e5, 2e5, 1e5), 1e4)
    ring = shapely.segmentize(shapely.box(-1e6, -1e6, 1e6, 1e6), 1e5).difference(cap)
    inside, outside = to_wgs84([cap, ring], CRS.from_epsg(code))
    for moved in (inside, outside):
        assert moved.is_valid
        assert moved.bounds[0] == -180
        assert moved.bounds[2] == 180
    assert inside.contains(shapely.Point(33, pole * 0.9999))
    assert not outside.intersects(shapely.Point(33, pole * 0.9999))
    assert not inside.intersects(shapely.Point(33, pole * 0.9))


def test_hole_over_the_antimeridian() -> None:
    shape = shapely.box(178, 0, 182, 4).difference(shapely.box(179, 1, 181, 2))
    moved = cut(shape)
    assert moved.area == pytest.approx(16 - 2)
    assert not moved.intersects(shapely.Point(179.5, 1.5))
    assert not moved.intersects(shapely.Point(-179.5, 1.5))


def test_points_are_wrapped_and_heights_dropped() -> None:
    (point,) = to_wgs84([shapely.Point(181, 5, 9)], CRS.from_epsg(4326))
    assert point.equals(shapely.Point(-179, 5))
    assert not point.has_z


def test_unwrap_puts_parts_side_by_side() -> None:
    (moved,) = to_wgs84([shapely.box(179, 0, 181, 1)], CRS.from_epsg(4326))
    assert unwrap(moved).equals(shapely.box(179, 0, 181, 1))
    near = shapely.box(0, 0, 1, 1)
    assert unwrap(near) is near


def test_densify_every_edge_and_hole() -> None:
    shape = shapely.box(0, 0, 8, 1).difference(shapely.box(2, 0.2, 3, 0.4))
    many, line = densify(
        [shapely.MultiPolygon([shape]), shapely.LineString([(0, 0), (1, 1)])]
    )
    assert shapely.get_num_coordinates(many) == 2 * (4 * 8 + 1)
    assert many.equals(shape)
    assert shapely.get_num_coordinates(line) == 2


def test_arguments_stay() -> None:
    box = shapely.box(179.5, 0, 180.5, 1)
    shapes = np.array([box], dtype=object)
    to_wgs84(shapes, CRS.from_epsg(4326))
    assert shapes[0] is box


def test_seam_of_a_polar_ring_is_the_antimeridian() -> None:
    """Wherever the ring begins, the cap is one part from -180 to 180."""
    rng = np.random.default_rng(0)
    for code, pole in ((3413, 90), (3031, -90)):
        for _ in range(50):
            west, south = rng.uniform(-9e5, -1e3, 2)
            east, north = rng.uniform(1e3, 9e5, 2)
            ring = np.roll(
                [(west, south), (east, south), (east, north), (west, north)],
                rng.integers(4),
                axis=0,
            )
            (cap,) = to_wgs84([shapely.Polygon(ring)], CRS.from_epsg(code))
            assert cap.geom_type == 'Polygon'
            assert cap.is_valid
            assert (cap.bounds[0], cap.bounds[2]) == (-180, 180)
            assert pole in cap.bounds
