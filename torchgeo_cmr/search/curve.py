"""A curve through the footprints: rows that are near on the ground are near in number.

Rows are put in the order of a Hilbert curve through the centres of their boxes. Sixteen
neighbours on the curve make a node, sixteen nodes a node of the next level, each with the
box round all it holds: a packed R-tree that needs no pointers. An area is compared with
nodes from the top; a node inside the area gives a run of rows without looking at them, a
node outside gives none, and what the border crosses is opened. Only rows in the last nodes
on the border are left to be tested with their footprints.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from .predicates import near_boxes

_FAN = 16
_BITS = 16


@dataclass(frozen=True)
class Cover:
    """How the boxes of rows lie to an area.

    Args:
        inside: Sorted numbers of rows whose box lies in the interior of the area, so that
            the footprint does too.
        border: Sorted numbers of all other rows whose box meets a box round a part of the
            area; what they are is for their footprints to say.

    .. versionadded:: 0.1
    """

    inside: NDArray[np.int64]
    border: NDArray[np.int64]


class Curve:
    """Boxes of rows in the order of a Hilbert curve, and the tree above them.

    Args:
        boxes: Boxes (n, 4) in EPSG:4326: west, south, east, north.
        order: Rows in the order of the curve; without it, the rows are in that order.

    .. versionadded:: 0.1
    """

    def __init__(
        self, boxes: NDArray[np.float64], order: NDArray[np.int64] | None = None
    ) -> None:
        """Put boxes round boxes until one node is left."""
        self.boxes = boxes
        self.order = order
        level = boxes if order is None else boxes[order]
        self._nowhere = np.flatnonzero(np.isnan(level[:, 0]))
        #: Boxes of nodes, finest level first.
        self.levels: list[NDArray[np.float64]] = []
        while len(level) > 1 or (len(level) and not self.levels):
            first = np.arange(0, len(level), _FAN)
            level = np.hstack(
                [
                    # A row without a place has NaN for a box.
                    np.fmin.reduceat(level[:, :2], first),
                    np.fmax.reduceat(level[:, 2:], first),
                ]
            )
            self.levels.append(level)

    def cover(self, area: Geometry) -> Cover:
        """Say which rows lie inside an area, and which must be looked at.

        Args:
            area: Geometry in EPSG:4326, cut at the antimeridian; it is prepared.
        """
        n = len(self.boxes)
        inside = np.zeros(n, dtype=bool)
        shapely.prepare(area)
        nodes = np.arange(len(self.levels[-1]) if self.levels else 0)
        span = _FAN ** len(self.levels)
        for level in reversed(self.levels):
            nodes = nodes[nodes < len(level)]
            nodes = nodes[near_boxes(level[nodes], area)]
            shapes = shapely.box(*level[nodes].T)
            touched = shapely.intersects(area, shapes)
            nodes, shapes = nodes[touched], shapes[touched]
            whole = shapely.contains_properly(area, shapes)
            for node in nodes[whole]:
                inside[node * span : (node + 1) * span] = True
            nodes = nodes[~whole]
            nodes = (nodes[:, None] * _FAN + np.arange(_FAN)).ravel()
            span //= _FAN
        border = nodes[nodes < n]
        inside[self._nowhere] = False
        certain = np.flatnonzero(inside)
        if self.order is not None:
            border = np.sort(self.order[border])
            certain = np.sort(self.order[certain])
        return Cover(certain, border[near_boxes(self.boxes[border], area)])


def hilbert_order(boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sort boxes along a Hilbert curve through their centres.

    Args:
        boxes: Boxes (n, 4) in EPSG:4326.

    Returns:
        Row numbers (n,) in the order of the curve; equal cells stay in the order of rows.

    .. versionadded:: 0.1
    """
    if not len(boxes):
        return np.empty(0, dtype=np.int64)
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    # A footprint cut at 180 has a box round the world; it lies at the edge, not at 0.
    x = np.where(boxes[:, 2] - boxes[:, 0] > 180, 180.0, x)
    y = (boxes[:, 1] + boxes[:, 3]) / 2
    # Rows without a place come last.
    nowhere = np.isnan(x)
    if nowhere.any():
        x = np.where(nowhere, np.max(x, where=~nowhere, initial=-180), x)
        y = np.where(nowhere, np.max(y, where=~nowhere, initial=-90), y)
    return np.argsort(_distance(_cells(x), _cells(y)), kind='stable')


def _cells(values: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Divide the range of values into 2**16 equal cells."""
    low, high = values.min(), values.max()
    scale = (2**_BITS - 1) / (high - low) if high > low else 0.0
    return ((values - low) * scale).astype(np.uint32)


def _distance(x: NDArray[np.uint32], y: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Give the way along the curve to each cell, quadrant by quadrant from the largest."""
    way = np.zeros(len(x), dtype=np.uint32)
    for bit in range(_BITS - 1, -1, -1):
        side = np.uint32(1 << bit)
        right, upper = (x & side) > 0, (y & side) > 0
        way += side * side * ((3 * right) ^ upper).astype(np.uint32)
        # Turn the quadrant so that the curve enters and leaves where its neighbours do.
        flip = ~upper & right
        x, y = np.where(flip, ~x, x), np.where(flip, ~y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
    return way
