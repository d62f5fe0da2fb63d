"""An area drawn in coarse cells, which decide most boxes at once.

Cells that the edge of the area runs through are marked; every other cell lies inside or
outside as a whole. A box none of whose cells is marked lies where any of its cells does, and
marked cells in a box are counted with four look-ups in a summed table, so thousands of boxes
are judged in the time in which a geometry library tests a few. Boxes with a mark are compared
with the pieces of the edge in their cells, and only those that one meets are left to be looked
at closely.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.vectors.singles import singles

#: Cells along each axis to tell boxes apart with.
_SIDES = (32, 512)
#: Cells round the area, so that what lies next to it has cells of its own.
_ROUND = 2
#: Part of a cell by which rounding may move an edge, and then some.
_SLACK = 1e-3
#: Degrees that an area has at least, for a point has none.
_LEAST = 1e-6
#: Cells that a piece of the edge may be long.
_PIECE = 0.9
#: Cells that a box may be high to be compared with the pieces of the edge in them.
_HIGH = 4


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
        self._edge = np.concatenate([start.T, end.T])
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
        corners = self._in_cells(boxes)
        # These take the number where the other is NaN, so no place is the first cell, outside.
        np.fmax(corners, 0, out=corners)
        np.fmin(corners, self._last, out=corners)
        x0, y0, x1, y1 = corners.astype(np.intp)
        x1, y0, y1 = x1 + 1, y0 * self._width, (y1 + 1) * self._width
        first, marks = y0 + x0, self._marks
        doubt = marks[y1 + x1] - marks[y0 + x1] - marks[y1 + x0] + marks[first] > 0
        return self._inside[first] & ~doubt, doubt

    def clear(self, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Say of which boxes the edge keeps away, as far as that is quickly seen.

        Args:
            boxes: Boxes (n, 4) without NaN: xmin, ymin, xmax, ymax.

        Returns:
            Mask (n,): these lie inside or outside as a whole.
        """
        corners = self._in_cells(boxes)
        # A piece is kept in the cell of its middle, which is at most half its length away.
        far = np.array([-1, -1, 1, 1])[:, None] * (_PIECE / 2 + _SLACK)
        x0, y0, x1, y1 = np.clip(corners + far, 0, self._last).astype(np.intp)
        first, edge = self._sorted
        free = y1 - y0 < _HIGH
        for up in range(_HIGH):
            left = np.flatnonzero(free & (y0 + up <= y1))
            row = (y0[left] + up) * self._width
            # Pieces of neighbouring cells of a row follow one another.
            begin = first[row + x0[left]]
            count = first[row + x1[left] + 1] - begin
            box = np.repeat(left, count)
            skipped = begin - (np.cumsum(count) - count)
            piece = np.arange(len(box)) + np.repeat(skipped, count)
            free[box[_touch(edge[:, piece], corners[:, box])]] = False
        return free

    def _in_cells(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give corners (4, n) in cells; in long rows NumPy is several times as fast."""
        corners = boxes.T.copy(order='C')
        corners -= np.tile(self._origin, 2)[:, None]
        corners *= np.tile(self._scale, 2)[:, None]
        return corners

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Give pieces (4, p) by the cell of their middle, and where those of each cell begin."""
        x, y = ((self._edge[:2] + self._edge[2:]) / 2).astype(np.intp)
        cell = y * self._width + x
        first = np.zeros(self._width**2 + 1, dtype=np.int32)
        np.add.at(first, cell + 1, 1)
        np.cumsum(first, out=first)
        return first, self._edge[:, np.argsort(cell)]

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


def _touch(
    pieces: NDArray[np.float64], corners: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say which pieces (4, m) may meet the box of their column (4, m): no axis parts the two."""
    x0, y0, x1, y1 = pieces
    west, south, east, north = corners
    right, up = x1 - x0, y1 - y0
    wide, high = (east - west) / 2 + _SLACK, (north - south) / 2 + _SLACK
    across = right * ((south + north) / 2 - y0) - up * ((west + east) / 2 - x0)
    return (
        (np.minimum(x0, x1) <= east + _SLACK)
        & (np.maximum(x0, x1) >= west - _SLACK)
        & (np.minimum(y0, y1) <= north + _SLACK)
        & (np.maximum(y0, y1) >= south - _SLACK)
        & (np.abs(across) <= np.abs(right) * high + np.abs(up) * wide)
    )


def _lines(area: Geometry) -> tuple[NDArray[np.object_], int]:
    """Give the rings of polygons, then lines and points, and how many are rings."""
    parts = np.array([area])
    if area.geom_type != 'Polygon':
        while (shapely.get_type_id(parts) > 3).any():
            parts = shapely.get_parts(parts)
    rings = shapely.get_rings(parts)
    if area.geom_type in ('Polygon', 'MultiPolygon'):
        return rings, len(rings)
    others = parts[shapely.get_type_id(parts) < 3]
    return np.concatenate([rings, others]), len(rings)


def kept_away(
    boxes: NDArray[np.float64], area: Geometry
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say of which boxes the edge of polygons keeps away, and which of these lie inside.

    Args:
        boxes: Boxes (n, 4) without NaN, in degrees, at least one.
        area: Polygon or several, in EPSG:4326, cut at the antimeridian.

    Returns:
        Masks (n,); what is not clear may be crossed by the edge.
    """
    _, south, _, north = area.bounds
    high = max(float(np.median(boxes[:, 3] - boxes[:, 1])), _LEAST)
    # Cells like boxes: a box of many cells would not be compared with the edge.
    drawn = rasters(area, int(np.clip((north - south) / high, *_SIDES)))
    within, doubt = judged(boxes, drawn)
    near = np.flatnonzero(doubt)
    free = np.logical_and.reduce([raster.clear(boxes[near]) for raster in drawn])
    clear, missed = ~doubt, near[free]
    clear[missed] = True
    shapely.prepare(area)
    within[missed] = shapely.contains_xy(area, *boxes[missed, :2].T)
    return clear, within


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


def rasters(area: Geometry, side: int) -> list[Raster]:
    """Draw an area; one that lies on both sides of 180 degrees in two rasters.

    Args:
        area: Valid geometry in EPSG:4326, cut at the antimeridian.
        side: Cells along each axis.
    """
    west, _, east, _ = area.bounds
    parts = np.array(singles(area) if east - west > 180 else (), dtype=object)
    left = shapely.bounds(parts).reshape(-1, 4)[:, 0] < 0
    if not left.any() or left.all():
        return [Raster(area, side)]
    return [Raster(shapely.union_all(parts[chosen]), side) for chosen in (left, ~left)]
