"""Distances against points along both outlines, measured one by one."""

import os

import numpy as np
import pytest
import shapely
from pyproj import Geod
from shapely import box

from torchgeo_cmr.table.antimeridian import fold
from torchgeo_cmr.table.distance import Spots, bounds, centres, metres_between, span
from torchgeo_cmr.table.nearest import arc_at_least, chord_at_most, in_space

GEOD = Geod(ellps='WGS84')


def many(shape: shapely.Geometry, count: int) -> np.ndarray:
    """Give points along an outline, its own among them."""
    return shapely.get_coordinates(
        shapely.segmentize(shape, max(shape.length / count, 1e-9))
        if shape.length
        else shape
    )


def slow(one: shapely.Geometry, other: shapely.Geometry) -> tuple[float, float]:
    """Give a distance that is too long, and by how much it may be."""
    if one.intersects(other):
        return 0.0, 0.0
    a, b = many(one, 120), many(other, 120)
    i, j = (x.ravel() for x in np.meshgrid(range(len(a)), range(len(b))))
    metres = GEOD.inv(a[i, 0], a[i, 1], b[j, 0], b[j, 1])[2].min()
    return metres, 111_700 * (one.length + other.length) / 120


def anything(rng: np.random.Generator) -> shapely.Geometry:
    """Draw a point, a patch, a long line or a large polygon, often near a pole or 180."""
    lat = rng.uniform(-80, 80) if rng.random() < 0.5 else rng.uniform(75, 89.9)
    lon = rng.choice([rng.uniform(-180, 180), rng.uniform(178, 182)])
    size = 10 ** rng.uniform(-2, 1.2)
    high = min(size, 89.95 - abs(lat))
    kind = rng.integers(4)
    if kind == 0:
        return fold(shapely.Point(lon, lat))
    if kind == 1:
        return fold(box(lon - size / 2, lat - high / 2, lon + size, lat + high))
    way = np.array([lon, lat]) + np.cumsum(
        rng.normal(size=(6, 2)) * [size, high / 3], axis=0
    )
    way[:, 1] = np.clip(way[:, 1], -89.99, 89.99)
    if kind == 2:
        return fold(shapely.LineString(way))
    return fold(shapely.convex_hull(shapely.MultiPoint(way)))


def pairs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.empty((2, n), dtype=object)
    for i in range(n):
        one[i], other[i] = anything(rng), anything(rng)
        if rng.random() < 0.5:
            # Beside the first, by hundredths of a degree to degrees.
            lon, lat = shapely.get_coordinates(one[i])[0]
            off = 10 ** rng.uniform(-3, 0.5, 2)
            low = float(np.clip(lat + off[1], -89, 89))
            other[i] = fold(box(lon + off[0], low, lon + 2 * off[0], low + 0.5))
    return one, other


def check(n: int) -> None:
    one, other = pairs(np.random.default_rng(1), n)
    found = metres_between(one, other)
    for i in range(n):
        most, off = slow(one[i], other[i])
        assert found[i] <= most * 1.001, (one[i].wkt, other[i].wkt)
        # No nearer than the sampling of both outlines leaves room for.
        assert found[i] >= most * 0.999 - off, (one[i].wkt, other[i].wkt)
    np.testing.assert_allclose(metres_between(other, one), found, rtol=1e-3, atol=0.01)


@pytest.mark.slow
def test_random_pairs() -> None:
    """A thousand with ``TORCHGEO_CMR_CASES=1000``."""
    check(int(os.environ.get('TORCHGEO_CMR_CASES', '60')))


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (box(0, 89, 1, 89.5), box(179, 89, 180, 89.5)),
        (box(0, 85, 1, 85.1), box(90, 85, 91, 85.1)),
        (box(10, 80, 15, 81), box(22, 80.3, 27, 81.3)),
        (shapely.LineString([(0, 0), (60, 75)]), box(40, 74, 40.1, 74.1)),
        (box(-130, 25, -60, 70), box(-141, 72, -140, 72.1)),
        (shapely.LineString([(5, 58), (10, 63), (25, 71)]), box(12, 60, 12.1, 60.1)),
        (shapely.Point(0, 0), shapely.Point(179.5, 0.3)),
    ],
)
def test_known_to_a_thousandth(one: shapely.Geometry, other: shapely.Geometry) -> None:
    a, b = many(one, 600), many(other, 300)
    tree = []
    for lon, lat in b:
        here = np.full((2, len(a)), [[lon], [lat]])
        tree.append(GEOD.inv(a[:, 0], a[:, 1], here[0], here[1])[2].min())
    found = metres_between(np.array([one]), np.array([other]))[0]
    assert found == pytest.approx(min(tree), rel=1e-3)


def test_touching_over_the_antimeridian_and_at_a_pole() -> None:
    one = np.array([box(179, 0, 180, 1), box(0, 80, 10, 90), box(1, 1, 2, 2)])
    other = np.array([box(-180, 0.5, -179, 2), box(100, 85, 120, 90), box(2, 2, 3, 3)])
    assert metres_between(one, other).tolist() == [0, 0, 0]


def test_beyond_the_limit_it_does_not_matter() -> None:
    one, other = pairs(np.random.default_rng(4), 60)
    exact, limit = metres_between(one, other), 200_000
    found = metres_between(one, other, limit)
    assert ((exact <= limit) == (found <= limit)).all()
    near = exact <= limit
    np.testing.assert_allclose(found[near], exact[near], rtol=1e-3, atol=0.01)


def test_bounds_hold() -> None:
    rng = np.random.default_rng(2)
    shapes, places = pairs(rng, 80)
    boxes = shapely.bounds(shapes)
    for place in places[:12]:
        exact = metres_between(shapes, np.full(len(shapes), place, dtype=object))
        least, most = span(boxes, place)
        assert (least <= exact + 1e-3).all()
        assert (exact <= most + 1e-3).all()
        metres = 10 ** rng.uniform(3, 6.5)
        near, doubt = bounds(boxes, place, metres)
        inside = shapely.contains_properly(place, shapely.box(*boxes.T))
        assert (exact[near] <= metres).all()
        assert (near | doubt | inside)[exact <= metres].all()
    one, other = Spots(shapes), Spots(places)
    least, most = one.bounds(np.arange(5), other)
    for i in range(5):
        exact = metres_between(np.full(80, shapes[i], dtype=object), places)
        assert (least[i] <= exact).all()
        assert (exact <= most[i]).all()


def test_the_centre_of_a_cap_is_the_pole() -> None:
    cap, corner = fold(box(-180, 89, 180, 90)), box(0, 89.9, 90, 90)
    found = centres(np.array([cap, corner]))
    assert found[0, 1] == pytest.approx(90, abs=1e-3)
    assert found[1] == pytest.approx((45, 89.94), abs=0.01)


def test_nothing_is_nothing() -> None:
    none = np.empty(0, dtype=object)
    assert len(metres_between(none, none)) == 0
    assert Spots(none).bounds(np.arange(0), Spots(none))[0].shape == (0, 0)


def test_chords_bound_the_way_on_the_ground() -> None:
    rng = np.random.default_rng(3)
    one, other = (
        np.column_stack([rng.uniform(-180, 180, 9_000), rng.uniform(-90, 90, 9_000)])
        for _ in range(2)
    )
    other[::3] = one[::3] + rng.normal(size=(3_000, 2)) * 1e-3
    other[:, 1] = other[:, 1].clip(-90, 90)
    far = GEOD.inv(*one.T, *other.T)[2]
    chord = np.linalg.norm(in_space(one) - in_space(other), axis=1)
    assert (arc_at_least(chord) <= far + 1e-7).all()
    # It is no weak bound: of half the globe away it leaves a tenth open.
    assert (arc_at_least(chord) >= 0.9 * far).all()
    assert all(
        c <= chord_at_most(metres) + 1e-7 for c, metres in zip(chord, far, strict=True)
    )
