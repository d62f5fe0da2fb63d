"""Longitudes without a jump: outlines followed across the antimeridian and over the poles.

A ring that was brought to longitudes and latitudes point by point jumps from 180 to -180,
winds round a pole, or runs through one, where a point has no longitude of its own. Here
each step goes the short way round, so that longitudes may leave -180..180; a ring that winds
round a pole is closed along it; one that runs through a pole follows it for as many degrees
as close the ring. What leaves -180..180 is then cut and folded back, whatever its type.

The ``antimeridian`` package does this for STAC items, from longitudes and latitudes alone,
which do not say on which side of an edge a pole lies. Of 400 random polygons in ten CRSs, round,
at and close to the poles and over the antimeridian, two thousand points along each outline, it
put ground on the wrong side in 32, most of them rings with a hole at a pole; none of them
is wrong here (``tests/table/test_outline.py`` holds cases of each kind).
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry, GeometryCollection, LineString, Polygon

from torchgeo_cmr.vectors.singles import singles

type Points = NDArray[np.float64]

_MULTI = (shapely.MultiPoint, shapely.MultiLineString, shapely.MultiPolygon)
#: Degrees of latitude from a pole within which a point is the pole: about a millimetre.
AT_POLE = 1e-8


def fold(shape: Geometry) -> Geometry:
    """Bring a geometry whose longitudes run on beyond 180 into -180..180.

    Args:
        shape: Valid geometry in degrees, longitudes without a jump.

    Returns:
        The same ground, cut where it crosses the antimeridian.
    """
    west, _, east, _ = shape.bounds
    if not (west < -180 or east > 180):
        return shape
    pieces: list[list[Geometry]] = [[], [], []]
    for part in singles(shape):
        kind = int(shapely.get_dimensions(part))
        pieces[kind] += _folded(part, kind)
    return gathered(pieces)


def _folded(part: Geometry, kind: int) -> list[Geometry]:
    """Cut one simple geometry by whole turns, and turn each piece back."""
    west, _, east, _ = part.bounds
    first, last = np.floor((west + 180) / 360), np.ceil((east + 180) / 360)
    pieces: list[Geometry] = []
    for turn in range(int(first), max(int(last), int(first) + 1)):
        world = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        back = np.array([360.0 * turn, 0])
        pieces += [
            shapely.transform(piece, lambda c, back=back: c - back)
            for piece in singles(shapely.intersection(part, world))
            if shapely.get_dimensions(piece) == kind
        ]
    return pieces


def gathered(pieces: list[list[Geometry]]) -> Geometry:
    """Give points, lines and polygons as one valid geometry.

    Args:
        pieces: Points, lines and polygons, each a list.

    Returns:
        A simple geometry, several of one kind, or a collection of at most one of each kind.
    """
    kinds: list[Geometry] = []
    for kind, parts in enumerate(pieces):
        if not parts:
            continue
        whole = parts[0] if len(parts) == 1 else _MULTI[kind](parts)
        # Pieces may share an edge, where a polar ring began, or overlap.
        kinds.append(whole if whole.is_valid else shapely.union_all(parts))
    if not kinds:
        return Polygon()
    return kinds[0] if len(kinds) == 1 else GeometryCollection(kinds)


def steps(points: Points) -> NDArray[np.float64]:
    """Give the degrees of longitude from each point to the next, the short way round.

    Args:
        points: Longitudes and latitudes (n, 2).

    Returns:
        Degrees (n - 1,), from -180 to 180.
    """
    step = points[1:, 0] - points[:-1, 0]
    long = np.abs(step) > 180
    return np.where(long, (step + 180) % 360 - 180, step) if long.any() else step


def follow_ring(points: Points, pole: float) -> Polygon:
    """Fill a ring, its longitudes followed the short way from point to point.

    Args:
        points: Closed ring (n, 2), longitudes and latitudes.
        pole: Latitude, 90 or -90, of the pole that the ring holds if it winds round one.

    Returns:
        A polygon, perhaps invalid, whose longitudes may leave -180..180.
    """
    polar = at_pole(points)
    if polar.all():
        return Polygon()
    if polar.any():
        return Polygon(_through_pole(points[:-1], polar[:-1]))
    ring = _followed(points)
    if abs(ring[-1, 0] - ring[0, 0]) > 180:
        ring = _closed(ring, pole)
    return Polygon(ring)


def follow_line(points: Points) -> list[LineString]:
    """Follow a line the short way from point to point; it is parted at a pole.

    Args:
        points: Longitudes and latitudes (n, 2), at least two.

    Returns:
        Lines whose longitudes may leave -180..180.
    """
    polar = at_pole(points)
    if polar.all():
        return [pole_line(points[0, 1])]
    lines = []
    for first, last in _runs(polar):
        run = _followed(points[first:last])
        before = [_on_pole(run[0], points[first - 1])] if first else []
        after = [_on_pole(run[-1], points[last])] if last < len(points) else []
        lines.append(LineString([*before, *run, *after]))
    return lines


def pole_line(latitude: float) -> LineString:
    """Give a pole as what it is in degrees: all longitudes of its latitude.

    Args:
        latitude: Latitude close to 90 or -90.
    """
    pole = float(np.copysign(90, latitude))
    return LineString([(-180, pole), (180, pole)])


def at_pole(points: Points) -> NDArray[np.bool_]:
    """Say which points (n, 2) are a pole, so that their longitudes mean nothing."""
    return np.abs(points[:, 1]) > 90 - AT_POLE


def _followed(points: Points) -> Points:
    """Let longitudes run on; each keeps its own plus whole turns, to the last bit."""
    lon = points[0, 0] + np.concatenate([[0.0], np.cumsum(steps(points))])
    lon = points[:, 0] + 360 * np.round((lon - points[:, 0]) / 360)
    return np.column_stack([lon, points[:, 1]])


def _runs(polar: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Give first and last + 1 of each run of points that are not a pole."""
    change = np.diff(np.concatenate([[True], polar, [True]]).astype(np.int8))
    return list(
        zip(
            np.flatnonzero(change < 0).tolist(),
            np.flatnonzero(change > 0).tolist(),
            strict=True,
        )
    )


def _on_pole(point: Points, pole: Points) -> tuple[float, float]:
    return float(point[0]), float(np.copysign(90, pole[1]))


def _through_pole(ring: Points, polar: NDArray[np.bool_]) -> Points:
    """Close an open ring with points at a pole.

    What lies between leaves the pole on one meridian and comes back on another: the ring
    runs along the pole from the one to the other.
    """
    start = int(np.flatnonzero(~polar & np.roll(polar, 1))[0])
    ring, polar = np.roll(ring, -start, axis=0), np.roll(polar, -start)
    out: list[Points] = []
    for first, last in _runs(polar):
        run = _followed(ring[first:last])
        if out:
            run += [360 * np.round((out[-1][-1, 0] - run[0, 0]) / 360), 0]
        begin, end = _on_pole(run[0], ring[first - 1]), _on_pole(run[-1], ring[last])
        out.append(np.vstack([begin, run, end]))
    return np.vstack([*out, out[0][:1]])


def _closed(ring: Points, pole: float) -> Points:
    """Close a ring that winds once round a pole, with its seam on the antimeridian.

    Anywhere else the seam would be cut open again when the shape is folded.
    """
    turn = np.array([360 * np.round((ring[-1, 0] - ring[0, 0]) / 360), 0])
    world = np.floor((ring[:, 0] + 180) / 360)
    crossing = np.flatnonzero(world[1:] != world[:-1])
    edges = 360 * np.maximum(world[crossing], world[crossing + 1]) - 180
    (ax, ay), (bx, by) = ring[crossing].T, ring[crossing + 1].T
    lat = ay + (by - ay) * (edges - ax) / (bx - ax)
    # A ring may cross the antimeridian to and fro: nothing lies between the last and the pole.
    last = int(np.argmin(np.abs(pole - lat)))
    i, seam = int(crossing[last]), np.array([edges[last], lat[last]])
    up = np.array([0, pole - seam[1]])
    ends = [seam + turn, seam + turn + up, seam + up, seam]
    return np.vstack([seam, ring[i + 1 :], ring[1 : i + 1] + turn, *ends])
