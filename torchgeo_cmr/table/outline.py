"""Outlines from any CRS to EPSG:4326, with extra points where edges become curved.

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

from torchgeo_cmr.vectors.singles import singles

from .antimeridian import (
    at_pole,
    fold,
    follow_line,
    follow_ring,
    gathered,
    pole_line,
    steps,
)

type Points = NDArray[np.float64]

#: The CRS of every stored footprint.
WGS84 = CRS.from_epsg(4326)

#: Metres of a degree of latitude.
_DEGREE = 111_195.0
#: Degrees of longitude that a piece of an edge may span.
_SPAN = 60.0
_PIECES = 256
_ROUNDS = 40
#: Highest latitude in degrees, and what rounding adds.
_POLE = 90 + 1e-6
#: Share of an edge that no piece is shorter than: less is lost in rounding.
_SHORTEST = 1e-12
#: Metres, twice round the Earth, beyond which no place has coordinates: a projection may turn
#: them into longitudes nevertheless, round after round.
_FARTHEST = 8e7


def outline(shape: Geometry, crs: CRS, tolerance: float) -> Geometry:
    """Give one geometry in EPSG:4326, cut at the antimeridian and closed over the poles.

    Args:
        shape: Valid geometry of any type, two-dimensional, x before y.
        crs: CRS of the geometry.
        tolerance: Metres by which an edge may leave the true one.

    Returns:
        Valid geometry, longitudes in -180..180. A pole among points becomes the line of all
        its longitudes. What cannot be expressed in EPSG:4326 has infinite coordinates.
    """
    if _is_beyond_the_earth(shape, crs):
        return shapely.transform(shape, lambda points: np.full_like(points, np.inf))
    pieces: list[list[Geometry]] = [[], [], []]
    for part in singles(shape):
        kind = int(shapely.get_dimensions(part))
        made = _PARTS[kind](part, crs, tolerance)
        if made is None:
            return shapely.transform(shape, lambda points: to_lonlat(points, crs))
        for found in made:
            folded = fold(found if found.is_valid else shapely.make_valid(found))
            for piece in singles(folded):
                dimension = int(shapely.get_dimensions(piece))
                # What is left of a sliver is not ground.
                if dimension == kind or kind == 0:
                    pieces[dimension].append(piece)
    return gathered(pieces)


def _is_beyond_the_earth(shape: Geometry, crs: CRS) -> bool:
    farthest = np.abs(shapely.bounds(shape)).max(initial=0)
    if not farthest > _FARTHEST:
        return False
    return farthest * crs.axis_info[0].unit_conversion_factor > _FARTHEST


def to_lonlat(points: Points, crs: CRS) -> Points:
    """Give points (n, 2) of a CRS, x before y, as longitudes and latitudes on WGS 84.

    Args:
        points: Coordinates in the units of the CRS.
        crs: Their CRS.

    Returns:
        Degrees (n, 2); infinite where a point has none.
    """
    return np.column_stack(_change(crs.srs).transform(points[:, 0], points[:, 1]))


@lru_cache(maxsize=256)
def _change(crs: str) -> Transformer:
    """Make a transformer once for each CRS; it may be shared between threads."""
    return Transformer.from_crs(crs, WGS84, always_xy=True)


def _polygon(part: Geometry, crs: CRS, tolerance: float) -> list[Geometry] | None:
    ground = None
    for ring in shapely.get_rings(part):
        points = shapely.get_coordinates(ring)
        lonlat = divided(points, crs, tolerance)
        if not np.isfinite(lonlat).all():
            return None
        filled = _filled(points, lonlat, crs)
        # Each hole is folded on its own: it need not lie in the same turn as its shell.
        ground = filled if ground is None else shapely.difference(ground, filled)
    return [ground]


def _filled(ring: Points, lonlat: Points, crs: CRS) -> Geometry:
    """Give the ground that a ring of a CRS goes round."""
    if np.ptp(lonlat[:, 0]) < 180 and np.abs(lonlat[:, 1]).max() < 89:
        shape = shapely.polygons(lonlat)
    else:
        shape = follow_ring(lonlat, _pole(ring, lonlat, crs))
    return fold(shape if shape.is_valid else shapely.make_valid(shape))


def _line(part: Geometry, crs: CRS, tolerance: float) -> list[Geometry] | None:
    lonlat = divided(shapely.get_coordinates(part), crs, tolerance)
    return list(follow_line(lonlat)) if np.isfinite(lonlat).all() else None


def _point(part: Geometry, crs: CRS, tolerance: float) -> list[Geometry] | None:
    lonlat = to_lonlat(shapely.get_coordinates(part), crs)
    if not np.isfinite(lonlat).all():
        return None
    return [pole_line(lonlat[0, 1]) if at_pole(lonlat)[0] else shapely.Point(lonlat[0])]


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
        Longitudes and latitudes (m, 2); at a pole where an edge runs through one. Not finite
        if the CRS leads off the globe.
    """
    way = np.diff(points, axis=0)
    lonlat = to_lonlat(np.concatenate([points, _between(points, way)]), crs)
    lonlat, third = lonlat[: len(points)], lonlat[len(points) :]
    # A damaged CRS, such as one with degrees of another size, gives latitudes beyond the pole:
    # an edge there is never divided finely enough.
    if not (np.abs(lonlat[:, 1]) <= _POLE).all() or not np.isfinite(lonlat).all():
        return np.full_like(lonlat, np.nan)
    shortest = _SHORTEST * float(np.abs(points).max())
    for _ in range(_ROUNDS):
        many = _count(lonlat, third.reshape(2, -1, 2), tolerance)
        many[np.hypot(*way.T) <= shortest] = 1
        # Far from poles an edge bends alike all along, and pieces need no second look.
        even = many.max() < _PIECES and not _uneven(lonlat)
        if many.max() > 1:
            number = np.repeat(np.arange(len(many)), many)
            step = np.arange(len(number)) - np.repeat(np.cumsum(many) - many, many)
            added = points[number] + (step / many[number])[:, None] * way[number]
            points = np.concatenate([added, points[-1:]])
            lonlat = to_lonlat(points, crs)
        if even:
            return lonlat
        if many.max() == 1:
            break
        way = np.diff(points, axis=0)
        third = to_lonlat(_between(points, way), crs)
    # What still turns on the spot runs through a pole.
    polar = at_pole(lonlat)
    i = np.flatnonzero((np.abs(steps(lonlat)) > _SPAN) & ~(polar[1:] | polar[:-1]))
    poles = np.column_stack([lonlat[i, 0], np.copysign(90, lonlat[i, 1])])
    return np.insert(lonlat, i + 1, poles, axis=0)


def _between(points: Points, way: Points) -> Points:
    """Give the points a third and two thirds along each edge."""
    return np.concatenate([points[:-1] + way / 3, points[:-1] + way * (2 / 3)])


def _uneven(lonlat: Points) -> bool:
    """Decide whether pieces of equal length may span very different angles."""
    return bool(
        np.abs(lonlat[:, 1]).max() > 70 or np.abs(steps(lonlat)).max(initial=0) > 20
    )


def _count(lonlat: Points, third: Points, tolerance: float) -> NDArray[np.int64]:
    """Say into how many pieces each edge is to be divided."""
    step = steps(lonlat)
    polar = at_pole(lonlat)
    # A pole lies on every meridian: on that of the other end, too.
    begin = lonlat[:-1].copy()
    if polar.any():
        begin[polar[:-1], 0] = lonlat[1:][polar[:-1], 0]
        step = np.where(polar[1:] | polar[:-1], 0.0, step)
    scale = np.cos(np.radians(lonlat[:, 1]))
    scale = np.maximum(scale[1:], scale[:-1])
    x, y = step * scale, lonlat[1:, 1] - lonlat[:-1, 1]
    # The point is looked for on the side to which the edge goes.
    east = ((third[:, :, 0] - begin[:, 0] + 180) % 360 - 180) * scale
    north = third[:, :, 1] - begin[:, 1]
    square = np.maximum(x * x + y * y, 1e-30)
    share = np.minimum(np.maximum((x * east + y * north) / square, 0), 1)
    away = np.hypot(east - share * x, north - share * y)
    # What has no place is not divided.
    stray = np.where(np.isfinite(away), away, 0).max(axis=0) * _DEGREE
    pieces = np.ceil(np.sqrt(stray / tolerance))
    pieces = np.where(np.abs(step) > _SPAN, np.maximum(pieces, 2), pieces)
    return np.minimum(np.maximum(pieces, 1), _PIECES).astype(np.int64)
