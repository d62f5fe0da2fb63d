"""An area drawn in coarse cells, which decide most boxes at once.

Cells that the edge of the area runs through are marked; every other cell lies inside or
outside as a whole. A box none of whose cells is marked lies where any of its cells does, and
marked cells in a box are counted with four look-ups in a summed table, so thousands of boxes
are judged in the time in which a geometry library tests a few. Only boxes with a mark are left
to be looked at closely.
"""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.vectors.singles import singles

#: Cells along each axis, from few to many boxes: one for every four of them.
_SIDES = (64, 512)
#: Cells round the area, so that what lies next to it has cells of its own.
_ROUND = 2
#: Part of a cell by which rounding may move an edge, and then some.
_SLACK = 1e-3
#: Degrees that an area has at least, for a point has none.
_LEAST = 1e-6
#: Cells that a piece of the edge may be long.
_PIECE = 0.9


class Raster:
    """Cells over an area: marked by its edge, inside or outside.

    Args:
        area: Valid geometry.
        side: Cells along each axis.
    """

    def __init__(self, area: Geometry, side: int) -> None:
        """Draw the edge, fill the inside, sum the marks."""
        low, high = np.reshape(area.bounds, (2, 2))
        self._scale = (side - 2 * _ROUND) / np.maximum(high - low, _LEAST)
        self._origin = low - _ROUND / self._scale
        self._last = side - 1
        start, end, closed = self._pieces(area)
        # A piece is shorter than a cell, so the corners of its box lie in all cells that it
        # meets; no coordinate is negative, so whole numbers are what is below.
        corners = np.empty((2, *start.shape))
        np.subtract(np.minimum(start, end), _SLACK, out=corners[0])
        np.add(np.maximum(start, end), _SLACK, out=corners[1])
        cells = corners.astype(np.intp)
        # Cells lie in rows one longer than they are many, as in the summed table.
        width = side + 1
        edge = np.zeros((width, width), dtype=np.int8)
        edge.ravel()[(cells[:, None, :, 1] * width + cells[None, :, :, 0]).ravel()] = 1
        # Left of a cell inside, the edge has crossed the middle of the row an odd number of
        # times; in which of its marked cells a piece crosses does not matter.
        below = (start[:, 1] - 0.5).astype(np.intp)
        above = (end[:, 1] - 0.5).astype(np.intp)
        over = np.flatnonzero(closed & (below != above))
        place = np.maximum(below[over], above[over]) * width + cells[0, over, 0]
        crossings = np.zeros(width * width, dtype=np.int8)
        np.add.at(crossings, place, 1)
        # No ring is open, so what is odd at the end of a row is even again. A sum that is too
        # large for a byte is odd or even all the same.
        odd = crossings.cumsum(dtype=np.int8) & 1
        if area.geom_type == 'GeometryCollection':
            # What holds something together with a line or a point is for GEOS to say.
            edge |= odd.reshape(width, width)
        #: Cells inside; its value in marked cells is not used.
        self._inside = odd.view(np.bool_)
        marks = np.zeros((width, width), dtype=np.int32)
        edge[:-1, :-1].cumsum(axis=0, dtype=np.int32, out=marks[1:, 1:])
        np.cumsum(marks, axis=1, out=marks)
        self._marks, self._width = marks.ravel(), width

    def judge(
        self, boxes: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say how boxes lie to the area.

        Args:
            boxes: Boxes (n, 4): xmin, ymin, xmax, ymax; NaN where there is none.

        Returns:
            Masks (n,): which lie in its interior, and which must be tested. The others
            share no point with the area.
        """
        # In long rows NumPy is several times as fast.
        corners = boxes.T.copy(order='C')
        corners -= np.tile(self._origin, 2)[:, None]
        corners *= np.tile(self._scale, 2)[:, None]
        # These take the number where the other is NaN, so no place is the first cell, outside.
        np.fmax(corners, 0, out=corners)
        np.fmin(corners, self._last, out=corners)
        x0, y0, x1, y1 = corners.astype(np.intp)
        x1, y0, y1 = x1 + 1, y0 * self._width, (y1 + 1) * self._width
        first, marks = y0 + x0, self._marks
        doubt = marks[y1 + x1] - marks[y0 + x1] - marks[y1 + x0] + marks[first] > 0
        return self._inside[first] & ~doubt, doubt

    def _pieces(
        self, area: Geometry
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Cut edges into pieces shorter than a cell: starts, ends (n, 2), whether of a ring."""
        if area.geom_type == 'GeometryCollection':
            area = shapely.union_all(area)  # its polygons may overlap
        lines, rings = _lines(area)
        points, owner = shapely.get_coordinates(lines, return_index=True)
        points = (points - self._origin) * self._scale
        last = np.append(np.flatnonzero(owner[1:] != owner[:-1]), len(owner) - 1)
        after = np.concatenate([points[1:], points[-1:]])
        after[last] = points[last]
        way = after - points
        closed = owner < rings
        longest = np.abs(way).max(axis=1)
        if longest.max() < _PIECE:
            return points, after, closed
        count = np.maximum(np.ceil(longest / _PIECE).astype(np.int64), 1)
        number = np.repeat(np.arange(len(points)), count)
        step = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
        start = points[number] + way[number] * (step / count[number])[:, None]
        end = np.vstack([start[1:], start[-1:]])
        stop = np.cumsum(count)[last] - 1
        end[stop] = start[stop]
        return start, end, closed[number]


def _lines(area: Geometry) -> tuple[NDArray[np.object_], int]:
    """Give the rings of polygons, then lines and points, and how many are rings."""
    parts = np.array(singles(area), dtype=object)
    rings = shapely.get_rings(parts)
    if area.geom_type in ('Polygon', 'MultiPolygon'):
        return rings, len(rings)
    others = parts[shapely.get_type_id(parts) < 3]
    return np.concatenate([rings, others]), len(rings)


def judged(
    boxes: NDArray[np.float64], drawn: Sequence[Raster]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which boxes lie inside an area of several rasters, and which must be tested.

    Args:
        boxes: As for :meth:`Raster.judge`.
        drawn: Rasters of the parts of an area.
    """
    whole, doubt = drawn[0].judge(boxes)
    for other in drawn[1:]:
        inside, crossed = other.judge(boxes)
        whole, doubt = whole | inside, doubt | crossed
    return whole, doubt & ~whole


def rasters(area: Geometry, count: int) -> list[Raster]:
    """Draw an area; one that lies on both sides of 180 degrees in two rasters.

    Args:
        area: Valid geometry in EPSG:4326, cut at the antimeridian.
        count: Boxes to be judged.
    """
    side = int(np.clip(np.sqrt(count) / 2, *_SIDES))
    west, _, east, _ = area.bounds
    parts = np.array(singles(area) if east - west > 180 else (), dtype=object)
    left = shapely.bounds(parts).reshape(-1, 4)[:, 0] < 0
    if not left.any() or left.all():
        return [Raster(area, side)]
    return [Raster(shapely.union_all(parts[chosen]), side) for chosen in (left, ~left)]
