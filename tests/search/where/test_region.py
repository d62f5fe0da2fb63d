"""The area of combined filters is the ground on which rows may be found."""

import numpy as np
import pytest
import shapely
from shapely import box

from torchgeo_cmr.search import Where
from torchgeo_cmr.search.where.region import Region

A, B = Where((0, 0, 4, 4)), Where((2, 2, 6, 6))
CLEAR = Where(where='cloud < 10')


@pytest.mark.parametrize(
    ('where', 'area'),
    [
        (A & B, box(2, 2, 4, 4)),
        (A | B, box(0, 0, 4, 4).union(box(2, 2, 6, 6))),
        (A & ~B, box(0, 0, 4, 4).difference(box(2, 2, 6, 6))),
        (~B & CLEAR & A, box(0, 0, 4, 4).difference(box(2, 2, 6, 6))),
        (~~A, box(0, 0, 4, 4)),
        (~(~A | ~B), box(2, 2, 4, 4)),
        (A & CLEAR, box(0, 0, 4, 4)),
        # Cloudy rows of B are kept, so its ground is not left out.
        (A & ~(B & CLEAR), box(0, 0, 4, 4)),
        (A & ~Where(B.area, 4326, where='cloud < 10'), box(0, 0, 4, 4)),
        # So are rows that cross the edge of B.
        (A & ~Where(B.area, 4326, predicate='contains'), box(0, 0, 4, 4)),
        (A & ~Where(B.area, 4326, predicate='within'), box(0, 0, 4, 4)),
        (A & ~Where(B.area, 4326, min_overlap=0.5), box(0, 0, 4, 4)),
        (A & ~~Where(B.area, 4326, predicate='within'), box(2, 2, 4, 4)),
        (
            A & ~Where(B.area, 4326, predicate='centroid'),
            box(0, 0, 4, 4).difference(box(2, 2, 6, 6)),
        ),
    ],
)
def test_areas(where: Where, area: shapely.Geometry) -> None:
    assert where.area is not None
    assert where.area.symmetric_difference(area).area < 1e-12


@pytest.mark.parametrize('where', [~A, A | CLEAR, ~CLEAR, A | ~B, CLEAR & ~A])
def test_beyond_any_area(where: Where) -> None:
    assert where.area is None


def test_collections() -> None:
    mixed = Where(
        shapely.GeometryCollection([box(0, 0, 4, 4), shapely.Point(9, 9)]), 4326
    )
    area = (mixed & ~B).area
    assert area is not None
    assert area.area == pytest.approx(12)
    assert area.intersects(shapely.Point(9, 9))
    both = (mixed & B).area
    assert both is not None
    assert both.area == pytest.approx(4)


def test_nothing_left_is_told() -> None:
    apart = A & Where((8, 8, 9, 9))
    assert apart.area is not None
    assert apart.area.is_empty


def test_regions_are_sets() -> None:
    """Every law holds at random points."""
    rng = np.random.default_rng(0)
    points = shapely.points(rng.uniform(-1, 11, (400, 2)))

    def inside(region: Region) -> np.ndarray:
        hit = np.ones(400, dtype=bool)
        if region.inside is not None:
            hit &= shapely.intersects(region.inside, points)
        if region.outside is not None:
            hit &= ~shapely.intersects(region.outside, points)
        return hit

    def one() -> Region:
        corner = rng.uniform(0, 6, 2)
        region = Region(box(*corner, *(corner + rng.uniform(1, 5, 2))), None, True)
        return region if rng.random() < 0.5 else ~region

    for _ in range(60):
        a, b = one(), one()
        assert (inside(a & b) == (inside(a) & inside(b))).all()
        assert (inside(a | b) == (inside(a) | inside(b))).all()
        assert (inside(~(a & b)) == ~(inside(a) & inside(b))).all()
        c = one()
        assert (inside((a | b) & ~c) == ((inside(a) | inside(b)) & ~inside(c))).all()
