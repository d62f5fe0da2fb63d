"""Outlines in EPSG:4326 against points of the CRS they were drawn in."""

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from pyproj import CRS, Transformer
from shapely import affinity

from torchgeo_cmr.table.antimeridian import fold
from torchgeo_cmr.table.outline import outline
from torchgeo_cmr.vectors.singles import singles

#: CRS -> centre and reach of what is drawn in it: poles, the antimeridian, and neither.
PLACES = {
    'EPSG:3413': (0, 0, 2e6),
    'EPSG:3031': (0, 0, 2e6),
    'EPSG:3571': (0, 0, 4e6),
    'EPSG:3832': (3_339_584.7, 6e6, 1e6),
    'EPSG:32601': (170_000, 7.2e6, 3e5),
    'EPSG:32760': (830_000, 8e6, 3e5),
    'EPSG:3035': (4.3e6, 3e6, 1.5e6),
}


def drawn(
    rng: np.random.Generator, x: float, y: float, reach: float
) -> Iterator[shapely.Geometry]:
    """Draw polygons with a corner, an edge, or the inside at a place, and others near it."""
    size = reach * 10 ** rng.uniform(-1.5, 0)
    turn, way = 90 * rng.integers(4), rng.uniform(0, 360)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 9))
    way_out = np.column_stack([np.cos(angle), np.sin(angle)])
    star = shapely.make_valid(
        shapely.Polygon(
            rng.uniform(-size, size, 2) + size * rng.uniform(0.3, 1, (9, 1)) * way_out
        )
    )
    off = 10 ** rng.uniform(-3, 3)
    here = (
        star,
        shapely.box(*rng.uniform(-size, 0, 2), *rng.uniform(0, size, 2)),
        affinity.rotate(shapely.box(-0.7 * size, 0, size, size), turn, origin=(0, 0)),
        affinity.rotate(shapely.box(0, 0, size, 0.6 * size), turn, origin=(0, 0)),
        affinity.rotate(shapely.box(-size, off, size, size), way, origin=(0, 0)),
        shapely.Polygon(size * way_out).difference(
            shapely.Polygon(0.4 * size * way_out)
        ),
        shapely.make_valid(shapely.Polygon(rng.uniform(-size, size, (6, 2)))),
    )
    for shape in here:
        moved = affinity.translate(shape, x, y)
        yield moved if rng.random() < 0.5 else shapely.reverse(moved)


def wrong(
    rng: np.random.Generator, shape: shapely.Geometry, crs: str, made: shapely.Geometry
) -> int:
    """Count points, not close to an edge, on which both do not agree."""
    west, south, east, north = shape.bounds
    wide = max(east - west, north - south)
    points = rng.uniform(
        (west - wide / 3, south - wide / 3),
        (east + wide / 3, north + wide / 3),
        (300, 2),
    )
    inside = shapely.intersects_xy(shape, *points.T)
    clear = shapely.distance(shape.boundary, shapely.points(points)) > 1e-3 * wide
    change = Transformer.from_crs(crs, 4326, always_xy=True)
    lonlat = np.column_stack(change.transform(*points.T))
    clear &= np.isfinite(lonlat).all(axis=1)
    return int((shapely.intersects_xy(made, *lonlat.T) != inside)[clear].sum())


@pytest.mark.parametrize('crs', PLACES)
def test_ground_is_where_it_was_drawn(crs: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(2):
        for shape in drawn(rng, *PLACES[crs]):
            made = outline(shape, CRS(crs), 1e-6 * PLACES[crs][2])
            assert made.is_valid
            assert np.abs(made.bounds).max() <= 180
            assert not wrong(rng, shape, crs, made), shape.wkt


@pytest.mark.parametrize('crs', ['EPSG:3413', 'EPSG:3832', 'EPSG:32760'])
def test_lines_and_points_keep_their_places(crs: str) -> None:
    x, y, reach = PLACES[crs]
    back = Transformer.from_crs(4326, crs, always_xy=True)
    way = np.array([[-1, -0.3], [0.2, 0.1], [1, 0.4]]) * reach / 4 + [x, y]
    for shape in (
        shapely.LineString(way),
        shapely.MultiPoint(way),
        shapely.GeometryCollection([shapely.LineString(way), shapely.Point(way[1])]),
    ):
        made = outline(shape, CRS(crs), 1.0)
        points = shapely.get_coordinates(made)
        assert np.abs(points[:, 0]).max() <= 180
        there = shapely.points(np.column_stack(back.transform(*points.T)))
        assert shapely.distance(shape, there).max() < 1.5
        # No part runs the long way round.
        bounds = shapely.bounds(np.array(singles(made))).reshape(-1, 4)
        assert (bounds[:, 2] - bounds[:, 0]).max() < 180


def test_a_line_over_the_pole_is_parted_there() -> None:
    made = outline(shapely.LineString([(-1e5, 0), (1e5, 0)]), CRS(3413), 1.0)
    assert made.geom_type == 'MultiLineString'
    assert shapely.get_num_geometries(made) == 2
    assert made.bounds[3] == 90
    one, two = sorted(part.bounds[0] for part in made.geoms)
    assert two - one == pytest.approx(180)


def test_the_pole_is_all_longitudes() -> None:
    made = outline(shapely.Point(0, 0), CRS(3031), 1.0)
    assert made.equals(shapely.LineString([(-180, -90), (180, -90)]))


def test_a_ring_beyond_the_equator_holds_its_own_pole() -> None:
    # On a map centred on the north pole, the inside of a ring in the south is the north.
    crs = CRS('+proj=laea +lat_0=90 +lon_0=0 +datum=WGS84')
    made = outline(shapely.Point(0, 0).buffer(1.05e7), crs, 1e3)
    assert made.contains(shapely.Point(20, 80))
    assert made.contains(shapely.Point(20, -10))
    assert not made.intersects(shapely.Point(20, -50))


def test_the_whole_world_is_not_a_sliver() -> None:
    world = shapely.box(-20037508.34, -2e7, 20037508.34, 2e7)
    assert outline(world, CRS(3857), 100.0).area == pytest.approx(
        360 * 2 * 85.022, rel=1e-4
    )


def test_fold_takes_every_type() -> None:
    box, line = shapely.box(175, 0, 190, 5), shapely.LineString([(179, 1), (183, 1)])
    both = fold(shapely.GeometryCollection([box, line, shapely.Point(-181, 2)]))
    polygons, lines, point = sorted(
        both.geoms, key=lambda g: -shapely.get_dimensions(g)
    )
    assert polygons.area == pytest.approx(75)
    assert lines.length == pytest.approx(4)
    assert point.equals(shapely.Point(179, 2))
    assert np.abs(both.bounds).max() <= 180
    # Nothing is read the short way: 200 degrees are 200 degrees.
    assert fold(shapely.box(100, 0, 300, 1)).area == pytest.approx(200)


def test_a_ring_that_goes_to_and_fro_over_the_antimeridian() -> None:
    # The seam of the cap begins at the crossing next to the pole: -135 degrees of this map
    # are the antimeridian.
    angle = np.radians([0, 60, 130, 137, 133, 136, 200, 290])
    away = np.array([3, 3, 3, 2.5, 2, 1.5, 3, 3])[:, None] * 1e5
    ring = away * np.column_stack([np.cos(angle), np.sin(angle)])
    rng = np.random.default_rng(0)
    turn, out = np.radians(rng.uniform(129, 139, 500)), rng.uniform(1.3e5, 3.2e5, 500)
    points = out[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    lonlat = np.column_stack(
        Transformer.from_crs(3413, 4326, always_xy=True).transform(*points.T)
    )
    for k in range(len(ring)):
        shape = shapely.Polygon(np.roll(ring, k, axis=0))
        made = outline(shape, CRS(3413), 1.0)
        assert made.is_valid
        inside = shapely.intersects_xy(shape, *points.T)
        clear = shapely.distance(shape.boundary, shapely.points(points)) > 10
        found = shapely.intersects_xy(made, *lonlat.T)
        assert (found == inside)[clear].all()


@pytest.mark.parametrize('code', [32632, 3857, 2263])
def test_a_corner_beyond_the_earth_is_nowhere(code: int) -> None:
    # A projection gives such a corner a longitude, after hundreds of turns round the Earth.
    triangle = shapely.Polygon([(520_000, 5e6), (560_000, 5e6), (560_000, 5e9)])
    bounds = outline(triangle, CRS.from_epsg(code), 1.0).bounds
    assert not np.isfinite(bounds).any()
