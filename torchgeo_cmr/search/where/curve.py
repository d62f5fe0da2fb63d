"""A curve through the footprints: rows that are near on the ground are near in number.

Rows are put in the order of a Hilbert curve through the centres of their boxes. Sixteen
neighbours on the curve make a node, sixteen nodes a node of the next level, each with the
box round all it holds: a packed R-tree that needs no pointers. An area is compared with
nodes from the top (:mod:`~torchgeo_cmr.search.where.cells`); a node inside the area gives a run
of rows without looking at them, a node outside gives none, and what the border crosses is
opened, down to the rows. Only rows whose boxes the border may cross are left to be tested with
their footprints.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from .cells import Raster, judged, rasters
from .predicates import near_boxes, part_boxes

_FAN = 16
#: Nodes that are all examined: with so few, one more level above them gains nothing.
_TOP = 1_024
_MANY = 2_000
#: Nodes that are opened unseen.
_HANDFUL = 48
_BITS = 16
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Cover:
    """How the boxes of rows lie to an area.

    Args:
        runs: First numbers and lengths (r,) of runs of rows whose box lies in the interior of
            the area, so that the footprint does too; sorted, no row in two of them.
        border: Sorted numbers of all other rows whose box may meet the area; what they are
            is for their footprints to say.
    """

    runs: tuple[NDArray[np.int64], NDArray[np.int64]]
    border: NDArray[np.int64]

    @classmethod
    def of(cls, inside: NDArray[np.int64], border: NDArray[np.int64]) -> 'Cover':
        """Make one of sorted numbers of rows in the interior."""
        return cls((inside, np.ones_like(inside)), border)

    @property
    def inside(self) -> NDArray[np.int64]:
        """Sorted numbers of the rows in the interior."""
        return _listed(*self.runs)

    def with_border(self, passed: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the sorted numbers of the rows in the interior and of some at the border.

        Args:
            passed: Sorted numbers of rows of the border.
        """
        first, length = self.runs
        if not len(first):
            return passed
        place = np.searchsorted(first, passed)
        return _listed(np.insert(first, place, passed), np.insert(length, place, 1))


class Curve:
    """Boxes of rows in the order of a Hilbert curve, and the tree above them.

    Args:
        boxes: Boxes (n, 4) in EPSG:4326: west, south, east, north.
        order: Rows in the order of the curve; without it, the rows are in that order.
    """

    def __init__(
        self, boxes: NDArray[np.float64], order: NDArray[np.int64] | None = None
    ) -> None:
        """Put boxes round boxes until few nodes are left."""
        self.boxes = boxes
        self.order = order
        level = boxes if order is None else boxes[order]
        self._nowhere = np.flatnonzero(np.isnan(level[:, 0]))
        #: Boxes of nodes, finest level first.
        self.levels: list[NDArray[np.float64]] = []
        while len(level) > _TOP or not self.levels:
            first = np.arange(0, len(level), _FAN)
            level = np.hstack(
                [
                    # A row without a place has NaN for a box.
                    np.fmin.reduceat(level[:, :2], first),
                    np.fmax.reduceat(level[:, 2:], first),
                ]
            )
            self.levels.append(level)
        self._spans = [_FAN ** (i + 1) for i in range(len(self.levels))]

    def cover(self, area: Geometry, few: int) -> Cover:
        """Say which rows lie inside an area, and which must be tested.

        Args:
            area: Geometry in EPSG:4326, cut at the antimeridian.
            few: Rows in the box of the area up to which it is not drawn: all are to be tested.
        """
        n = len(self.boxes)
        boxes = part_boxes(area)
        nodes = np.flatnonzero(near_boxes(self.levels[-1], boxes))
        if (rows := self._few(nodes, boxes, few)) is not None:
            return Cover((_NONE, _NONE), rows)
        most = len(nodes) * self._spans[-1]
        drawn = rasters(area, most)
        inside: list[tuple[NDArray[np.int64], int]] = []
        for level, span in zip(self.levels[::-1], self._spans[::-1], strict=True):
            nodes = nodes[nodes < len(level)]
            if span > _FAN and len(nodes) <= _HANDFUL:
                # Judging these costs as much as judging all that they hold.
                nodes = _opened(nodes, _FAN)
                continue
            whole, nodes = _judged(nodes, level.take(nodes, axis=0), drawn)
            inside.append((whole, span))
            if span == _FAN and len(nodes) > _MANY:
                # The edges of many small parts mark all cells: look at them more closely.
                shapely.prepare(area)
                near = shapely.intersects(area, shapely.box(*level[nodes].T))
                nodes = nodes[near]
            nodes = _opened(nodes, _FAN)
        rows = nodes[nodes < n]
        # NumPy takes boxes quicker than it indexes them.
        places = rows if self.order is None else self.order[rows]
        whole, border = _judged(rows, self.boxes.take(places, axis=0), drawn)
        inside.append((whole, 1))
        runs = _sorted_runs(inside, n)
        if self.order is None and not len(self._nowhere):
            return Cover(runs, border)
        certain = _listed(*runs)
        if len(self._nowhere):
            certain = np.setdiff1d(certain, self._nowhere, assume_unique=True)
        if self.order is None:
            return Cover.of(certain, border)
        return Cover.of(np.sort(self.order[certain]), np.sort(self.order[border]))

    def _few(
        self, numbers: NDArray[np.int64], area: list[list[float]], most: int
    ) -> NDArray[np.int64] | None:
        """Give the sorted rows whose box meets one of an area; None if they may be too many.

        The numbers are those of the coarsest nodes near it.
        """
        for span, below in zip(
            self._spans[::-1], [*self.levels[::-1][1:], self.boxes], strict=True
        ):
            # Of what a coarse node holds, most may lie elsewhere.
            if len(numbers) * span > most * (1 if span == _FAN else _FAN):
                return None
            numbers = _opened(numbers, _FAN)
            numbers = numbers[numbers < len(below)]
            if span == _FAN and self.order is not None:
                numbers = np.sort(self.order[numbers])
            numbers = numbers[near_boxes(below.take(numbers, axis=0), area)]
        return numbers

    def meeting(
        self, boxes: NDArray[np.float64], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """Say which rows have a box that meets some boxes, all at once.

        Args:
            boxes: Boxes (m, 4) in degrees.
            most: Pairs that are too many to be listed.

        Returns:
            Box and row of each pair, in no order; None if there may be more than ``most``.
        """
        level = self.levels[-1]
        node = np.tile(np.arange(len(level)), len(boxes))
        owner = np.repeat(np.arange(len(boxes)), len(level))
        order = np.arange(len(self.boxes)) if self.order is None else self.order
        for below in [*self.levels[::-1][1:], self.boxes]:
            keep = _meet(level[node], boxes[owner])
            node, owner = node[keep], np.repeat(owner[keep], _FAN)
            if len(owner) > most and len(boxes) > 1:
                return None
            node = _opened(node, _FAN)
            inside = node < len(below)
            node, owner, level = node[inside], owner[inside], below
        row = order[node]
        keep = _meet(self.boxes[row], boxes[owner])
        return owner[keep], row[keep]


def _sorted_runs(
    nodes: Sequence[tuple[NDArray[np.int64], int]], total: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give first numbers and lengths of the rows that nodes of several spans hold, sorted.

    Args:
        nodes: Numbers of nodes, and how many rows each holds; no row is in two of them.
        total: Rows there are; the last node of a level may have room for more.
    """
    first = np.concatenate([numbers * span for numbers, span in nodes])
    length = np.concatenate([np.full(len(numbers), span) for numbers, span in nodes])
    order = np.argsort(first)
    first, length = first[order], length[order]
    return first, np.minimum(length, total - first)


def _listed(first: NDArray[np.int64], length: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the numbers of rows in sorted runs, none of which is empty.

    As sums of steps in place: for many rows the memory of another array takes longer than
    all sums.
    """
    if not len(first):
        return np.empty(0, dtype=np.int64)
    end = np.cumsum(length)
    rows = np.ones(end[-1], dtype=np.int64)
    rows[0] = first[0]
    rows[end[:-1]] = np.diff(first) - length[:-1] + 1
    return np.cumsum(rows, out=rows)


def _meet(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which pairs of boxes share a point; a row without a place has NaN for a box."""
    return ((left[:, :2] <= right[:, 2:]) & (left[:, 2:] >= right[:, :2])).all(axis=1)


def _opened(nodes: NDArray[np.int64], span: int) -> NDArray[np.int64]:
    """Give the numbers of all that some nodes hold."""
    return (nodes[:, None] * span + np.arange(span)).ravel()


def _judged(
    numbers: NDArray[np.int64], boxes: NDArray[np.float64], drawn: list[Raster]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the numbers of boxes that lie inside, and of those to be tested."""
    whole, doubt = judged(boxes, drawn)
    return numbers[whole], numbers[doubt]


def hilbert_order(boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sort boxes along a Hilbert curve through their centres.

    Args:
        boxes: Boxes (n, 4) in EPSG:4326.

    Returns:
        Row numbers (n,) in the order of the curve; equal cells stay in the order of rows.
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
