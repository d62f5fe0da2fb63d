"""An area drawn in coarse cells, which say of most boxes at once how they lie to it.

Cells that the edge of the area runs through are marked; every other cell lies inside or
outside as a whole. A box none of whose cells is marked lies where any of its cells does, and
marked cells in a box are counted with four look-ups in a summed table, so thousands of boxes
are judged in the time in which a geometry library tests a few. Only boxes with a mark are
left to be looked at closely.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

#: Cells round the area, so that what lies beside it has cells of its own.
_ROUND = 2
#: Part of a cell by which rounding may move an edge, and then some.
_SLACK = 1e-3
#: Degrees that an area has at least, for a point has none.
_LEAST = 1e-6


class Raster:
    """Cells over an area: marked by its edge, inside or outside.

    Args:
        area: Valid geometry.
        side: Cells along each axis.

    .. versionadded:: 0.1
    """

    def __init__(self, area: Geometry, side: int) -> None:
        """Draw the edge, fill the inside, sum the marks."""
        low, high = np.reshape(area.bounds, (2, 2))
        self._scale = (side - 2 * _ROUND) / np.maximum(high - low, _LEAST)
        self._origin = low - _ROUND / self._scale
        self._last = side - 1
        start, end, closed = self._pieces(area)
        first = np.floor(np.minimum(start, end) - _SLACK).astype(np.int64)
        last = np.floor(np.maximum(start, end) + _SLACK).astype(np.int64)
        edge = np.zeros(side * side, dtype=bool)
        # A piece is shorter than a cell, so these are all cells that it meets.
        for x in (first[:, 0], last[:, 0]):
            for y in (first[:, 1], last[:, 1]):
                edge[y * side + x] = True
        # Left of a cell inside, the edge has crossed the middle of the row an odd number of
        # times; in which of its marked cells a piece crosses does not matter.
        below, above = np.floor(start[:, 1] - 0.5), np.floor(end[:, 1] - 0.5)
        over = np.flatnonzero(closed & (below != above))
        row = np.maximum(below, above)[over].astype(np.int64)
        crossings = np.bincount(row * side + first[over, 0], minlength=side * side)
        odd = crossings.reshape(side, side).cumsum(axis=1) & 1 > 0
        edge = edge.reshape(side, side)
        if area.geom_type == 'GeometryCollection':
            # What holds something together with a line or a point is for GEOS to say.
            edge |= odd
        self._inside = odd & ~edge
        self._marks = np.zeros((side + 1, side + 1), dtype=np.int32)
        edge.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, out=self._marks[1:, 1:])

    def judge(
        self, boxes: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say how boxes lie to the area.

        Args:
            boxes: Boxes (n, 4): xmin, ymin, xmax, ymax; NaN where there is none.

        Returns:
            Masks (n,): which lie in its interior, and which must be looked at. The others
            share no point with the area.
        """
        corners = (boxes.reshape(-1, 2, 2) - self._origin) * self._scale
        corners[np.isnan(corners)] = np.inf
        cells = np.clip(corners, 0, self._last).astype(np.intp)
        (x0, y0), (x1, y1) = cells[:, 0].T, cells[:, 1].T + 1
        marks = self._marks
        doubt = (marks[y1, x1] - marks[y0, x1] - marks[y1, x0] + marks[y0, x0]) > 0
        return self._inside[y0, x0] & ~doubt, doubt

    def _pieces(
        self, area: Geometry
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Cut edges into pieces shorter than a cell: starts, ends (n, 2), whether of a ring."""
        if area.geom_type == 'GeometryCollection':
            area = shapely.union_all(area)  # its polygons may overlap
        parts = np.array([area])
        while (shapely.get_type_id(parts) > 3).any():
            parts = shapely.get_parts(parts)
        rings = shapely.get_rings(parts)
        others = parts[shapely.get_type_id(parts) < 3]
        points, owner = shapely.get_coordinates(
            np.concatenate([rings, others]), return_index=True
        )
        points = (points - self._origin) * self._scale
        way = np.diff(points, axis=0, append=points[-1:])
        way[np.diff(owner, append=-1) != 0] = 0
        count = np.maximum(np.ceil(np.abs(way).max(axis=1) / 0.9).astype(np.int64), 1)
        number = np.repeat(np.arange(len(points)), count)
        step = np.arange(len(number)) - np.repeat(np.cumsum(count) - count, count)
        start = points[number] + way[number] * (step / count[number])[:, None]
        end = np.vstack([start[1:], start[-1:]])
        stop = np.cumsum(count)[np.diff(owner, append=-1) != 0] - 1
        end[stop] = start[stop]
        return start, end, (owner < len(rings))[number]


def rasters(area: Geometry, side: int) -> list[Raster]:
    """Draw an area; one that lies on both sides of 180 degrees in two rasters.

    Args:
        area: Valid geometry in EPSG:4326, cut at the antimeridian.
        side: Cells along each axis.

    .. versionadded:: 0.1
    """
    west, _, east, _ = area.bounds
    parts = shapely.get_parts(area)
    if east - west <= 180 or len(parts) < 2:
        return [Raster(area, side)]
    left = shapely.bounds(parts)[:, 0] < 0
    return [Raster(shapely.union_all(parts[own]), side) for own in (left, ~left)]
