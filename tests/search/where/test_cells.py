"""Cells against the geometry library, box by box."""

import numpy as np
import pytest
import shapely

from torchgeo_cmr.search.where.cells import Raster, rasters

_ANGLE = np.linspace(0, 2 * np.pi, 60)


def star(x: float, y: float, radius: float) -> shapely.Polygon:
    r = radius * (1 + 0.4 * np.sin(5 * _ANGLE))
    return shapely.Polygon(
        np.column_stack([x + r * np.cos(_ANGLE), y + r * np.sin(_ANGLE)])
    )


ring = star(5, 45, 3).difference(star(5, 45, 1))
AREAS = {
    'star': star(5, 45, 3),
    'ring': ring,
    'ring and island': shapely.union_all([ring, star(5, 45, 0.3)]),
    'far apart': shapely.MultiPolygon([star(1, 41, 0.5), star(9, 49, 0.7)]),
    'touching at a corner': shapely.MultiPolygon(
        [shapely.box(3, 43, 5, 45), shapely.box(5, 45, 7, 47)]
    ),
    'needle': shapely.Polygon([(0, 40), (10, 50), (10, 50.001)]),
    'many': shapely.union_all([star(x, y, 0.2) for x in range(10) for y in (41, 46)]),
    'all': shapely.box(-10, 30, 20, 60),
    'line': shapely.LineString([(0, 40), (4, 49), (10, 41)]),
    'upright': shapely.LineString([(5, 41), (5, 49)]),
    'point': shapely.Point(5, 45),
    'points': shapely.MultiPoint([(1, 41), (9, 49)]),
    'overlapping': shapely.GeometryCollection([star(4, 45, 2), star(6, 45, 2)]),
    'mixed': shapely.GeometryCollection(
        [star(3, 45, 1), shapely.LineString([(6, 41), (8, 49)]), shapely.Point(9, 42)]
    ),
}


def boxes_of(n: int, wide: float) -> np.ndarray:
    rng = np.random.default_rng(7)
    # Some corners on whole numbers, where cells and areas have theirs.
    low = rng.uniform((-1, 39), (11, 51), (n, 2))
    low[::3] = np.round(low[::3])
    size = rng.uniform(0, wide, (n, 2))
    size[::5] = 0
    return np.hstack([low, low + size])


@pytest.mark.parametrize('name', AREAS)
@pytest.mark.parametrize('side', [8, 33, 200])
@pytest.mark.parametrize('wide', [0.05, 3])
def test_what_is_certain_is_true(name: str, side: int, wide: float) -> None:
    area, boxes = AREAS[name], boxes_of(3_000, wide)
    shapes = shapely.box(*boxes.T)
    inside, doubt = Raster(area, side).judge(boxes)
    assert not (inside & doubt).any()
    assert shapely.contains_properly(area, shapes[inside]).all()
    assert not shapely.intersects(area, shapes[~inside & ~doubt]).any()


def test_little_is_left_in_doubt() -> None:
    boxes = boxes_of(20_000, 0.02)
    inside, doubt = Raster(ring, 256).judge(boxes)
    shapes = shapely.box(*boxes.T)
    assert inside.sum() > 0.95 * shapely.contains_properly(ring, shapes).sum() > 0
    assert doubt.mean() < 0.04


def test_boxes_that_are_none_lie_nowhere() -> None:
    boxes = np.full((3, 4), np.nan)
    inside, doubt = Raster(ring, 16).judge(boxes)
    assert not inside.any()
    assert not doubt.any()


def test_either_side_of_180_has_cells_of_its_own() -> None:
    area = shapely.MultiPolygon(
        [shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -179, 1)]
    )
    boxes = np.array(
        [[179.4, 0, 179.5, 0.1], [-179.5, 0, -179.4, 0.1], [9, 0, 9.1, 0.1]]
    )
    drawn = rasters(area, 3)
    assert len(drawn) == 2
    told = [raster.judge(boxes) for raster in drawn]
    assert (told[0][0] | told[1][0]).tolist() == [True, True, False]
    assert not (told[0][1] | told[1][1]).any()
    assert len(rasters(ring, 3)) == 1
