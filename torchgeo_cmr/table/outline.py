"""Outlines from any CRS to EPSG:4326, their edges divided where they are curved there.

An edge that is straight in its own CRS is a curve in longitude and latitude. It is divided
until no piece leaves its chord by more than a tolerance, which near a pole takes many pieces
and far from one few; an edge that runs through a pole gets a point there. Only then are
longitudes followed (:mod:`~torchgeo_cmr.table.antimeridian`), so that no step is longer than
a quarter turn and the short way round is the right one.
"""

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry

from .antimeridian import (
    at_pole,
    fold,
    follow_line,
    follow_ring,
    gathered,
    pole_line,
    singles,
    steps,
)

type Points = NDArray[np.float64]

#: The CRS of every stored footprint.
WGS84 = CRS.from_epsg(4326)

#: Metres of a degree of latitude.
_DEGREE = 111_195.0
#: Degrees of longitude that a piece of an edge may span.
_SPAN = 60.0
_PIECES = 64
_ROUNDS = 40
#: Share of an edge that no piece is shorter than: less is lost in rounding.
_SHORTEST = 1e-12


def outline(shape: Geometry, crs: CRS, tolerance: float) -> Geometry:
    """Give one geometry in EPSG:4326, cut at the antimeridian and closed over the poles.

    Args:
        shape: Valid geometry of any type, two-dimensional, x before y.
        crs: CRS of the geometry.
        tolerance: Metres by which an edge may leave the true one.

    Returns:
        Valid geometry, longitudes in -180..180. A pole among points becomes the line of all
        its longitudes. What cannot be expressed in EPSG:4326 has infinite coordinates.

    .. versionadded:: 0.1
    """
    plain = shapely.transform(shape, lambda points: to_lonlat(points, crs))
    if not np.isfinite(shapely.get_coordinates(plain)).all():
        return plain
    pieces: list[list[Geometry]] = [[], [], []]
    for part in singles(shape):
        kind = int(shapely.get_dimensions(part))
        for found in _PARTS[kind](part, crs, tolerance):
            folded = fold(found if found.is_valid else shapely.make_valid(found))
            own = singles(folded)
            for one in own:
                dimension = int(shapely.get_dimensions(one))
                # What is left of a sliver is not ground.
                if dimension == kind or kind == 0:
                    pieces[dimension].append(one)
    return gathered(pieces)


def to_lonlat(points: Points, crs: CRS) -> Points:
    """Give points (n, 2) of a CRS, x before y, as longitudes and latitudes on WGS 84.

    Args:
        points: Coordinates in the units of the CRS.
        crs: Their CRS.

    Returns:
        Degrees (n, 2); infinite where a point has none.

    .. versionadded:: 0.1
    """
    return np.column_stack(_change(crs.srs).transform(points[:, 0], points[:, 1]))


@lru_cache(maxsize=256)
def _change(crs: str) -> Transformer:
    """Make a transformer once for each CRS; it may be shared between threads."""
    return Transformer.from_crs(crs, WGS84, always_xy=True)


def _polygon(part: Geometry, crs: CRS, tolerance: float) -> list[Geometry]:
    shell, *holes = (
        _filled(shapely.get_coordinates(ring), crs, tolerance)
        for ring in shapely.get_rings(part)
    )
    # Each hole is folded on its own: it need not lie in the same turn as its shell.
    for hole in holes:
        shell = shapely.difference(shell, hole)
    return [shell]


def _filled(ring: Points, crs: CRS, tolerance: float) -> Geometry:
    """Give the ground that a ring of a CRS goes round."""
    points = divided(ring, crs, tolerance)
    shape = follow_ring(points, _pole(ring, points, crs))
    return fold(shape if shape.is_valid else shapely.make_valid(shape))


def _line(part: Geometry, crs: CRS, tolerance: float) -> list[Geometry]:
    return list(follow_line(divided(shapely.get_coordinates(part), crs, tolerance)))


def _point(part: Geometry, crs: CRS, tolerance: float) -> list[Geometry]:
    points = to_lonlat(shapely.get_coordinates(part), crs)
    return [pole_line(points[0, 1]) if at_pole(points)[0] else shapely.Point(points[0])]


_PARTS = (_point, _line, _polygon)


def _pole(ring: Points, points: Points, crs: CRS) -> float:
    """Say which pole lies on the inner side of a ring, if it winds round one.

    The inner side lies to the left of a ring that runs anticlockwise, and the left of the
    way east is north; unless the axes of the CRS make a mirror image.
    """
    turned = float(steps(points).sum())
    if abs(turned) < 180:
        return 90.0
    size = 1e-4 * float(np.abs(np.diff(ring, axis=0)).max())
    corner = ring[0] + size * np.array([[0, 0], [1, 0], [0, 1]])
    first, right, up = to_lonlat(corner, crs)
    (ax, ay), (bx, by) = right - first, up - first
    ax, bx = ((d + 180) % 360 - 180 for d in (ax, bx))
    mirrored = ax * by - ay * bx < 0
    anticlockwise = shapely.is_ccw(shapely.LinearRing(ring))
    return 90.0 if (turned > 0) == (anticlockwise != mirrored) else -90.0


def divided(points: Points, crs: CRS, tolerance: float) -> Points:
    """Give the points of a line in EPSG:4326, and as many between them as it takes.

    Args:
        points: Line or closed ring (n, 2) in a CRS.
        crs: That CRS.
        tolerance: Metres by which a piece may leave the true edge.

    Returns:
        Longitudes and latitudes (m, 2); at a pole where an edge runs through one.

    .. versionadded:: 0.1
    """
    there = to_lonlat(points, crs)
    shortest = _SHORTEST * float(np.abs(points).max())
    for _ in range(_ROUNDS):
        way = np.diff(points, axis=0)
        length = np.hypot(*way.T)
        many = _count(points, there, way, crs, tolerance)
        many[length <= shortest] = 1
        if (many == 1).all():
            break
        number = np.repeat(np.arange(len(many)), many)
        step = np.arange(len(number)) - np.repeat(np.cumsum(many) - many, many)
        new = np.flatnonzero(step)
        share = step[new] / many[number[new]]
        added = points[number[new]] + share[:, None] * way[number[new]]
        at = number[new] + 1
        points = np.insert(points, at, added, axis=0)
        there = np.insert(there, at, to_lonlat(added, crs), axis=0)
    # What still turns on the spot runs through a pole.
    turns = (np.abs(steps(there)) > _SPAN) & ~(at_pole(there)[1:] | at_pole(there)[:-1])
    i = np.flatnonzero(turns)
    poles = np.column_stack([there[i, 0], np.copysign(90, there[i, 1])])
    return np.insert(there, i + 1, poles, axis=0)


def _count(
    points: Points, there: Points, way: Points, crs: CRS, tolerance: float
) -> NDArray[np.int64]:
    """Say into how many pieces each edge is to be divided."""
    step = steps(there)
    third = np.stack(
        [to_lonlat(points[:-1] + share * way, crs) for share in (1 / 3, 2 / 3)]
    )
    polar = at_pole(there)
    # A pole lies on every meridian: on that of the other end, too.
    begin = there[:-1].copy()
    begin[polar[:-1], 0] = there[1:][polar[:-1], 0]
    step = np.where(polar[1:] | polar[:-1], 0.0, step)
    scale = np.cos(np.radians(np.abs(there[:, 1])))
    scale = np.maximum(scale[1:], scale[:-1])
    chord = np.stack([step * scale, there[1:, 1] - there[:-1, 1]])
    east = (third[:, :, 0] - begin[:, 0] + 180) % 360 - 180
    # The point is looked for on the side to which the edge goes.
    moved = np.stack([east * scale, third[:, :, 1] - begin[:, 1]])
    square = np.maximum((chord**2).sum(axis=0), 1e-30)
    share = np.clip((chord[:, None] * moved).sum(axis=0) / square, 0, 1)
    away = np.hypot(*(moved - share * chord[:, None]))
    stray = np.nan_to_num(away, nan=0.0, posinf=0.0).max(axis=0) * _DEGREE
    pieces = np.ceil(np.sqrt(stray / tolerance))
    pieces = np.where(np.abs(step) > _SPAN, np.maximum(pieces, 2), pieces)
    return np.clip(pieces, 1, _PIECES).astype(np.int64)
