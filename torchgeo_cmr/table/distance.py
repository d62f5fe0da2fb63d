"""Metres between footprints: along the ellipsoid, between their nearest points.

One module for search and evaluation. Most distances are never measured: footprints, and the
boxes of rows in an index, lie in balls, whose distance in space bounds that on the ground from
both sides. What is left in doubt is measured exactly
(:mod:`~torchgeo_cmr.table.nearest`).

``spherely`` was tried for this: on its sphere a degree of latitude at the equator is 0.56 % too
long, and its edges are great circles, not the straight lines in longitude and latitude that an
archive has (of a line from the equator to 75 N it finds half the distance).
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from .footprints import unwrap
from .nearest import (
    Edges,
    arc,
    arc_at_least,
    chord_at_most,
    half_length,
    in_space,
    nearest,
)

#: Pieces that a place is cut into at most when boxes are compared with it.
_PIECES = 4_096
#: Boxes that are compared, and footprints whose centres are found, at a time.
_BLOCK = 100_000
#: Degrees of latitude from which a centre is found on a map of the pole.
_POLAR = 85.0


def metres_between(
    left: NDArray[np.object_], right: NDArray[np.object_], limit: float = np.inf
) -> NDArray[np.float64]:
    """Measure pairs of footprints: exact to a ten-thousandth, wherever they are.

    Args:
        left: Footprints (n,) in EPSG:4326, cut at the antimeridian.
        right: As many; one that comes many times is prepared once.
        limit: Metres from which it does not matter how far a pair is apart.

    Returns:
        Metres (n,), 0 where footprints touch; infinite where they are beyond the limit.
    """
    metres = np.zeros(len(left))
    apart = np.flatnonzero(~_touch(left, right))
    if not len(apart):
        return metres
    first, i = _once(left[apart])
    second, j = _once(right[apart])
    metres[apart] = nearest(Edges(first), Edges(second), i, j, limit)
    return metres


def bounds(
    boxes: NDArray[np.float64], place: Geometry, metres: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which footprints are within some metres of a place, as far as their boxes tell.

    Args:
        boxes: Boxes (n, 4) of the footprints in degrees.
        place: Geometry in EPSG:4326.
        metres: Distance.

    Returns:
        Two masks (n,): which are that near for sure, and which are to be measured.
    """
    shape = np.array([place], dtype=object)
    tree = Edges(shape, max(metres / 4, 1.0), _PIECES)
    near, doubt = np.zeros((2, len(boxes)), dtype=bool)
    for start in range(0, len(boxes), _BLOCK):
        part = slice(start, start + _BLOCK)
        near[part], doubt[part] = _block(boxes[part], tree, metres)
    return near, doubt


def span(
    boxes: NDArray[np.float64], place: Geometry
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the least and the largest metres that footprints can be from a place.

    Args:
        boxes: Boxes (n, 4) of the footprints in degrees.
        place: Geometry in EPSG:4326.

    Returns:
        Two arrays (n,), metres.
    """
    ball = Edges(np.array([place], dtype=object)).levels[-1]
    low, high = boxes[:, :2], boxes[:, 2:]
    apart = np.linalg.norm(in_space((low + high) / 2) - ball.centre, axis=1)
    off = half_length(low, high) + ball.radius
    return arc_at_least(np.maximum(apart - off, 0)), arc(apart + off)


def _block(
    boxes: NDArray[np.float64], tree: Edges, metres: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    low, high = boxes[:, :2], boxes[:, 2:]
    centre, reach = in_space((low + high) / 2), half_length(low, high)
    near, doubt = np.zeros((2, len(boxes)), dtype=bool)
    most = chord_at_most(metres)
    row = np.flatnonzero(np.isfinite(reach))
    node = np.zeros(len(row), dtype=np.int64)
    for depth in range(len(tree.levels) - 1, -1, -1):
        level = tree.levels[depth]
        apart = np.linalg.norm(centre[row] - level.centre[node], axis=1)
        off = reach[row] + level.radius[node]
        near[row[arc(apart + off) <= metres]] = True
        left = (apart - off <= most) & ~near[row]
        row, node = row[left], node[left]
        if depth:
            count = level.count[node]
            step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            node = np.repeat(level.first[node], count) + step
            row = np.repeat(row, count)
    doubt[row] = True
    # Ground inside the place is not near its edge.
    return near, doubt & ~near


class Spots:
    """Footprints as balls in space: cheap bounds on many distances.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        """Find centres, and how far edges are from them."""
        self.shapes = shapes
        self.points = np.empty((len(shapes), 3))
        self.reach = np.empty(len(shapes))
        #: Whether the centre is in the footprint, as that of a convex one is.
        self.own = np.empty(len(shapes), dtype=bool)
        for start in range(0, len(shapes), _BLOCK):
            block = slice(start, start + _BLOCK)
            lonlat = centres(shapes[block])
            self.points[block] = in_space(lonlat)
            top = Edges(shapes[block]).levels[-1]
            apart = np.linalg.norm(top.centre - self.points[block], axis=1)
            self.reach[block] = top.radius + apart
            self.own[block] = shapely.intersects_xy(whole(shapes[block]), *lonlat.T)

    def apart(self, rows: NDArray[np.int64], others: 'Spots') -> NDArray[np.float64]:
        """Metres in space between centres, (rows, others)."""
        points, other_points = self.points[rows], others.points
        square = (points**2).sum(axis=1)[:, None] + (other_points**2).sum(axis=1)
        return np.sqrt(np.maximum(square - 2 * points @ other_points.T, 0))

    def bounds(
        self, rows: NDArray[np.int64], others: 'Spots'
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and largest metres that nearest points can be apart, (rows, others)."""
        apart = self.apart(rows, others)
        reach, others_reach = self.reach[rows], others.reach
        # A metre for what the product loses at small distances.
        least = apart - reach[:, None] - others_reach - 1
        beyond = np.where(self.own[rows], 0, reach)[:, None]
        beyond = beyond + np.where(others.own, 0, others_reach)
        return least, arc(apart + beyond) + 1


def centres(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the centres of footprints; those cut at 180 degrees are joined first.

    Args:
        shapes: Footprints (n,) in EPSG:4326.

    Returns:
        Longitudes, up to 360 where a footprint was cut, and latitudes (n, 2).
    """
    points = np.empty((len(shapes), 2))
    for start in range(0, len(shapes), _BLOCK):
        joined = whole(shapes[start : start + _BLOCK])
        found = shapely.get_coordinates(shapely.centroid(joined)).reshape(-1, 2)
        box = shapely.bounds(joined).reshape(-1, 4)
        polar = (np.abs(box[:, [1, 3]]) > _POLAR).any(axis=1) & (box[:, 0] < box[:, 2])
        for i in np.flatnonzero(polar):
            found[i] = _polar_centre(joined[i], float(np.copysign(1, found[i, 1])))
        points[start : start + _BLOCK] = found
    return points


def _polar_centre(shape: Geometry, side: float) -> tuple[float, float]:
    """Find the centre of a footprint on a map of the pole, where it is as wide as it is."""

    def on_map(points: NDArray[np.float64]) -> NDArray[np.float64]:
        lon = np.radians(points[:, 0])
        away = 90 - side * points[:, 1]
        return np.column_stack([away * np.cos(lon), away * np.sin(lon)])

    fine = shapely.segmentize(shape, 2.0)
    x, y = shapely.get_coordinates(shapely.centroid(shapely.transform(fine, on_map)))[0]
    return float(np.degrees(np.arctan2(y, x))), float(side * (90 - np.hypot(x, y)))


def whole(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Put footprints that were cut at 180 degrees side by side again.

    Args:
        shapes: Footprints (n,) in EPSG:4326.

    Returns:
        As many, longitudes up to 360 where a footprint was cut.
    """
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    joined = np.array(shapes, dtype=object)
    for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        joined[i] = unwrap(joined[i])
    return joined


def _touch(left: NDArray[np.object_], right: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Say which pairs share a point, on either side of the antimeridian or at a pole, too."""
    touch = shapely.intersects(left, right)
    boxes, other_boxes = (
        shapely.bounds(shapes).reshape(-1, 4) for shapes in (left, right)
    )
    for pole, side in ((-90.0, 1), (90.0, 3)):
        touch |= (boxes[:, side] == pole) & (other_boxes[:, side] == pole)
    for turn, west, east in ((360.0, boxes, other_boxes), (-360.0, other_boxes, boxes)):
        seam = (west[:, 0] == -180) & (east[:, 2] == 180) & ~touch
        for i in np.flatnonzero(seam):
            moved = shapely.transform(left[i], lambda c, t=turn: c + np.array([t, 0]))
            touch[i] = shapely.intersects(moved, right[i])
    return touch


def _once(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Give the different objects among geometries, and which each is."""
    names = np.fromiter(map(id, shapes), dtype=np.int64, count=len(shapes))
    _, first, which = np.unique(names, return_index=True, return_inverse=True)
    return shapes[first], which
