"""Rows within a distance of a place.

Metres are geodesic between nearest points. Most rows are judged by their box alone; only
those left in doubt are measured footprint by footprint.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.table.distance import bounds, metres_between, span
from torchgeo_cmr.vectors.singles import singles

from .columns import Columns

#: Metres that footprints which share an edge may be apart, by the last bits of coordinates.
TOUCHING = 1e-6
#: Metres of one degree of latitude, from below.
_DEGREE = 110_000
_BLOCK = 50_000
#: Rows that are measured first, and then at a time, where the nearest of all is looked for.
_FIRST, _FEW_ROWS = 16, 512
#: Parts of a place that boxes are compared with one by one.
_FEW = 16


def within(
    columns: Columns, rows: NDArray[np.int64] | None, place: Geometry, metres: float
) -> NDArray[np.bool_]:
    """Say which rows are at most some metres from a place, to a micrometre.

    Args:
        columns: Rows of an archive.
        rows: Those of interest, or None for all.
        place: Geometry in EPSG:4326, cut at the antimeridian.
        metres: Distance.

    Returns:
        Mask over the rows of interest.
    """
    metres += TOUCHING
    boxes = columns.boxes if rows is None else columns.boxes[rows]
    candidates = np.flatnonzero(likely(boxes, place, metres))
    near, doubt = np.zeros((2, len(boxes)), dtype=bool)
    near[candidates], doubt[candidates] = bounds(boxes[candidates], place, metres)
    if shapely.get_dimensions(place) == 2:
        # Inside a place its edges are far.
        shapely.prepare(place)
        inside = candidates[~near[candidates]]
        near[inside] = shapely.contains_properly(place, shapely.box(*boxes[inside].T))
    left = np.flatnonzero(doubt & ~near)
    for start in range(0, len(left), _BLOCK):
        part = left[start : start + _BLOCK]
        shapes = columns.footprints(part if rows is None else rows[part])
        other = np.full(len(shapes), place, dtype=object)
        near[part] = metres_between(shapes, other, metres) <= metres
    return near


def out_of_reach(
    columns: Columns, rows: NDArray[np.int64], place: Geometry, metres: float
) -> str:
    """Say how far away the nearest footprint is, if none lies near a place.

    Args:
        columns: Rows of an archive.
        rows: Those that can be found.
        place: Geometry in EPSG:4326, cut at the antimeridian.
        metres: How near a footprint should be.

    Returns:
        A sentence; empty if a footprint lies there, or none has a place.
    """
    boxes = columns.boxes[rows]
    if not np.isfinite(boxes).any():
        return ''
    away = closest(columns, rows, place)
    if away <= metres:
        return ''
    order = '; longitude comes first, then latitude' * turned(boxes, place)
    return f'the nearest footprint is {away / 1000:,.1f} km from the place{order}'


def turned(boxes: NDArray[np.float64], place: Geometry) -> bool:
    """Say whether a geometry lies where the archive does with longitude and latitude exchanged.

    Args:
        boxes: Boxes of footprints, at least one of which is finite.
        place: Geometry in EPSG:4326.
    """
    west, south = np.nanmin(boxes[:, :2], axis=0)
    east, north = np.nanmax(boxes[:, 2:], axis=0)
    low, left, high, right = shapely.bounds(place)
    return bool(left <= east and right >= west and low <= north and high >= south)


def closest(columns: Columns, rows: NDArray[np.int64] | None, place: Geometry) -> float:
    """Give metres between a place and the nearest of many footprints.

    Args:
        columns: Rows of an archive, at least one with a place.
        rows: Those of interest, or None for all.
        place: Geometry in EPSG:4326, cut at the antimeridian.
    """
    boxes = columns.boxes if rows is None else columns.boxes[rows]
    least, most = span(boxes, place)
    # Rows without a place are near nothing.
    least = np.where(np.isfinite(least), least, np.inf)
    order = np.argsort(most, kind='stable')[:_FIRST]
    order, best = order[np.isfinite(least[order])], np.inf
    while len(order):
        shapes = columns.footprints(order if rows is None else rows[order])
        repeated = np.full(len(shapes), place, dtype=object)
        best = min(best, float(metres_between(shapes, repeated).min()))
        # What may be nearer than that is measured piece by piece, a few rows at a time.
        least[order] = np.inf
        left = np.flatnonzero(least < best)
        if len(left):
            near, doubt = bounds(boxes[left], place, best)
            least[left[~(near | doubt)]] = np.inf
            left = left[near | doubt]
        order = left[np.argsort(least[left], kind='stable')[:_FEW_ROWS]]
    return best


def likely(
    boxes: NDArray[np.float64], place: Geometry, metres: float
) -> NDArray[np.bool_]:
    """Say which boxes may hold something within some metres of a place: a cheap sieve.

    Args:
        boxes: Boxes (n, 4) in degrees.
        place: Geometry in EPSG:4326.
        metres: Distance.

    Returns:
        Mask (n,), True at least where the footprint is that near.
    """
    parts = singles(place)
    if len(parts) > _FEW:
        return _around(boxes, place.bounds, metres)
    near = np.zeros(len(boxes), dtype=bool)
    for part in parts:
        near |= _around(boxes, part.bounds, metres)
    return near


def around(box: NDArray[np.float64], metres: float) -> NDArray[np.float64]:
    """Give boxes that hold all within some metres of a box, on either side of 180.

    Args:
        box: West, south, east, north in degrees.
        metres: Distance.

    Returns:
        Boxes (1 to 3, 4); longitudes may run on beyond 180.
    """
    west, south, east, north = box
    up = metres / _DEGREE
    low, high = south - up, north + up
    lat = max(abs(south), abs(north)) + up
    aside = 180.0
    if lat < 89.9 and east - west <= 180:
        # What is near on the ground is at most this far in longitude.
        ratio = np.sin(np.radians(up)) / np.cos(np.radians(lat))
        aside = np.degrees(np.arcsin(min(1.0, ratio)))
    if aside >= 89:
        return np.array([[-180.0, low, 180.0, high]])
    made = [[west - aside, low, east + aside, high]]
    if west - aside <= -180:
        made.append([west - aside + 360, low, east + aside + 360, high])
    if east + aside >= 180:
        made.append([west - aside - 360, low, east + aside - 360, high])
    return np.array(made)


def _around(
    boxes: NDArray[np.float64], box: tuple[float, float, float, float], metres: float
) -> NDArray[np.bool_]:
    mask = np.zeros(len(boxes), dtype=bool)
    for west, south, east, north in around(np.array(box), metres):
        inside = (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
        mask |= inside & (boxes[:, 0] <= east) & (boxes[:, 2] >= west)
    return mask
