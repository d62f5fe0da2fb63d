"""Geometries from any CRS to EPSG:4326, cut where they cross the antimeridian.

Changing the coordinates of a polygon over the Fiji islands gives corners at 179.9 and at
-179.9 degrees: a band round the world that every geometry library calls valid. Here the
longitudes of each ring are unwrapped first (an edge longer than 180 degrees is read as the
short way round), then the shape is cut at 180 into a MultiPolygon. A ring that winds once
round a pole is closed over that pole, so that it spans -180..180 and reaches 90 or -90.

What this does not know: edges are straight in longitude and latitude, not geodesics.
Densify before you change the CRS of large polygons (:func:`densify`).
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry, MultiPolygon, Polygon

#: The CRS of every stored footprint.
WGS84 = CRS.from_epsg(4326)


def is_wgs84(crs: CRS) -> bool:
    """Say whether a CRS is longitude and latitude on WGS 84, whatever its axis order.

    Args:
        crs: Any CRS.

    Returns:
        True for EPSG:4326, OGC:CRS84 and their likes.

    .. versionadded:: 0.1
    """
    return crs.equals(WGS84, ignore_axis_order=True)


def to_wgs84(geometries: Iterable[Geometry], crs: CRS) -> NDArray[np.object_]:
    """Give geometries in EPSG:4326, two-dimensional and cut at the antimeridian.

    Points are transformed vertex by vertex; nothing is densified and nothing is mutated.

    Args:
        geometries: Shapely geometries, x before y.
        crs: CRS of the geometries.

    Returns:
        Object array (n,) of shapely geometries; longitudes in -180..180. A coordinate that
        cannot be expressed in EPSG:4326 stays infinite for the caller to refuse.

    .. versionadded:: 0.1
    """
    shapes = shapely.force_2d(np.asarray(list(geometries), dtype=object))
    if not is_wgs84(crs):
        shapes = shapely.transform(shapes, lambda points: to_lonlat(points, crs))
    for i in np.flatnonzero(_crosses(shapes)):
        shapes[i] = cut(shapes[i])
    return shapes


def to_lonlat(points: NDArray[np.float64], crs: CRS) -> NDArray[np.float64]:
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


def _crosses(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Mark geometries with an edge longer than 180 degrees or a longitude beyond 180."""
    crossing = np.zeros(len(shapes), dtype=bool)
    coordinates, owner = shapely.get_coordinates(shapes, return_index=True)
    if not len(coordinates):
        return crossing
    # What could not be transformed is infinite; the caller refuses it.
    lon = np.where(np.isfinite(coordinates[:, 0]), coordinates[:, 0], 0.0)
    west, east = lon.min(), lon.max()
    if west >= -180 and east <= 180 and east - west <= 180:
        return crossing
    crossing[owner[np.abs(lon) > 180]] = True
    jump = (np.abs(np.diff(lon)) > 180) & (owner[1:] == owner[:-1])
    crossing[owner[1:][jump]] = True
    bounds = np.nan_to_num(shapely.bounds(shapes).reshape(-1, 4))
    # The whole world, or a cap drawn down to a pole, is what it says it is.
    whole = (bounds[:, 2] - bounds[:, 0] == 360) & (
        np.abs(bounds[:, [0, 2]]).max(axis=1) == 180
    )
    polar = (np.abs(bounds[:, [1, 3]]) >= 90).any(axis=1) & (
        np.abs(bounds[:, [0, 2]]) <= 180
    ).all(axis=1)
    return crossing & ~whole & ~polar


def cut(geometry: Geometry) -> Geometry:
    """Cut one longitude-latitude geometry at the antimeridian.

    Args:
        geometry: Geometry in degrees. Polygons are unwrapped ring by ring and cut; the
            longitudes of points and lines are only brought into -180..180.

    Returns:
        A Polygon or MultiPolygon inside -180..180, or the wrapped points and lines.

    .. versionadded:: 0.1
    """
    if geometry.geom_type not in ('Polygon', 'MultiPolygon'):
        return shapely.transform(geometry, _wrap)
    pieces: list[Geometry] = []
    for part in shapely.get_parts(geometry):
        shape = _unwrap(part)
        west, _, east, _ = shape.bounds
        if not np.isfinite([west, east]).all():
            return geometry
        for turn in range(
            int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))
        ):
            world = shapely.box(-180 + 360 * turn, -90, 180 + 360 * turn, 90)
            piece = shapely.intersection(shape, world)
            pieces += [
                shapely.transform(p, lambda c, turn=turn: c - [360 * turn, 0])
                for p in shapely.get_parts(piece)
                if p.geom_type == 'Polygon' and not p.is_empty
            ]
    whole = pieces[0] if len(pieces) == 1 else MultiPolygon(pieces)
    # The pieces of a polar cap share an edge where its ring began.
    return whole if whole.is_valid else shapely.union_all(pieces)


def unwrap(geometry: Geometry) -> Geometry:
    """Put the parts of a geometry that was cut at 180 side by side again.

    Args:
        geometry: Geometry in EPSG:4326, as :func:`to_wgs84` gives it.

    Returns:
        The same ground with longitudes in 0..360 if that makes it narrower than 180 degrees,
        else the geometry as it is. Use it before taking a centroid or a width.

    .. versionadded:: 0.1
    """
    west, _, east, _ = geometry.bounds
    parts = shapely.get_parts(geometry)
    if not east - west > 180 or len(parts) < 2:
        return geometry
    moved = [
        p
        if p.bounds[0] >= 0
        else shapely.transform(p, lambda c: c + np.array([360, 0]))
        for p in parts
    ]
    joined = shapely.union_all(moved)
    return joined if joined.bounds[2] - joined.bounds[0] <= 180 else geometry


def densify(
    geometries: Iterable[Geometry], *, segments: int = 8
) -> NDArray[np.object_]:
    """Divide every edge of polygons into equal segments, in the CRS they are in.

    Args:
        geometries: Shapely geometries; what is no polygon stays as it is.
        segments: Segments an edge, at least 1.

    Returns:
        Object array (n,) of shapely geometries.

    .. versionadded:: 0.1
    """
    steps = np.arange(segments)[None, :, None] / segments

    def ring(line: Geometry) -> NDArray[np.float64]:
        points = shapely.get_coordinates(line)
        start, end = points[:-1, None], points[1:, None]
        return np.vstack([(start + steps * (end - start)).reshape(-1, 2), points[-1:]])

    def shape(geometry: Geometry) -> Geometry:
        if isinstance(geometry, Polygon) and not geometry.is_empty:
            return Polygon(
                ring(geometry.exterior), [ring(hole) for hole in geometry.interiors]
            )
        if isinstance(geometry, MultiPolygon):
            return MultiPolygon([shape(part) for part in geometry.geoms])
        return geometry

    return np.fromiter((shape(g) for g in geometries), dtype=object)


def _wrap(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring longitudes into -180..180, leaving those that are there as they are."""
    lon = coordinates[:, 0]
    lon = np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon)
    return np.column_stack([lon, coordinates[:, 1]])


def _unwrap(polygon: Geometry) -> Geometry:
    """Let every edge of a polygon go the short way round; close polar rings over the pole."""
    exterior = _unwrap_ring(shapely.get_coordinates(shapely.get_exterior_ring(polygon)))
    middle = exterior[:, 0].mean()
    holes = []
    for i in range(shapely.get_num_interior_rings(polygon)):
        hole = _unwrap_ring(
            shapely.get_coordinates(shapely.get_interior_ring(polygon, i))
        )
        holes.append(hole - [360 * np.round((hole[:, 0].mean() - middle) / 360), 0])
    shape = Polygon(exterior)
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
    for hole in holes:
        # Taken out one by one: a hole of a polar ring need not lie in the same turn.
        for turn in (-360, 0, 360):
            moved = Polygon(hole + np.array([turn, 0]))
            if moved.intersects(shape):
                shape = shapely.difference(shape, moved)
    return shape


def _unwrap_ring(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unwrap the longitudes of one closed ring (n, 2)."""
    step = np.diff(points[:, 0])
    step = np.where(np.abs(step) > 180, (step + 180) % 360 - 180, step)
    lon = points[0, 0] + np.concatenate([[0.0], np.cumsum(step)])
    # Differences lose the last bit; a vertex keeps its own longitude plus whole turns.
    lon = points[:, 0] + 360 * np.round((lon - points[:, 0]) / 360)
    ring = np.column_stack([lon, points[:, 1]])
    if abs(lon[-1] - lon[0]) > 180:
        ring = _close_over_pole(ring)
    return ring


def _close_over_pole(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Close an unwrapped ring that winds once round a pole, with its seam on the antimeridian.

    Anywhere else the seam would be cut open again when the shape is cut at 180.
    """
    turn = np.array([360 * np.round((ring[-1, 0] - ring[0, 0]) / 360), 0])
    world = np.floor((ring[:, 0] + 180) / 360)
    i = int(np.argmax(world[1:] != world[:-1]))
    edge = 360 * max(world[i], world[i + 1]) - 180
    (ax, ay), (bx, by) = ring[i], ring[i + 1]
    seam = np.array([edge, ay + (by - ay) * (edge - ax) / (bx - ax)])
    pole = [0, (90.0 if ring[:, 1].mean() >= 0 else -90.0) - seam[1]]
    return np.vstack(
        [
            seam,
            ring[i + 1 :],
            ring[1 : i + 1] + turn,
            seam + turn,
            seam + turn + pole,
            seam + pole,
            seam,
        ]
    )
