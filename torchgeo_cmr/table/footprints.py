"""Footprints in EPSG:4326, cut where they cross the antimeridian.

Changing the coordinates of a polygon over the Fiji islands gives corners at 179.9 and at
-179.9 degrees: a band round the world that every geometry library calls valid. Here it
becomes a MultiPolygon with a part on either side of 180, and what holds or touches a pole
reaches it (:mod:`~torchgeo_cmr.table.outline`).

Edges are straight in longitude and latitude between points. Most footprints keep their
vertices alone; of long ones, and of those close to a pole, edges are divided.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely import Geometry, MultiPolygon, Polygon

from torchgeo_cmr.vectors.singles import singles

from .antimeridian import fold, follow_line, follow_ring, gathered, steps
from .outline import WGS84, outline, to_lonlat

#: Metres times the tangent of latitude from which the middle of an edge leaves the straight
#: line in degrees by more than a thousandth of its length.
_LONG = 50_000.0
#: Degrees of longitude from which the way an edge goes round is not left to chance.
_WIDE = 30.0
#: Share of its extent by which a divided edge may leave the true one.
_STRAY = 2e-5


def is_wgs84(crs: CRS) -> bool:
    """Decide whether a CRS is longitude and latitude on WGS 84, whatever its axis order.

    Args:
        crs: Any CRS.

    Returns:
        True for EPSG:4326, OGC:CRS84 and their likes.
    """
    return crs.equals(WGS84, ignore_axis_order=True)


def to_wgs84(
    geometries: Iterable[Geometry], crs: CRS, *, divided: bool = False
) -> NDArray[np.object_]:
    """Give geometries in EPSG:4326, two-dimensional and cut at the antimeridian.

    Vertices alone are transformed where the edges between them stay straight to a thousandth
    of their length. Longer edges, and those close to a pole, are divided. Nothing is mutated.

    Args:
        geometries: Valid shapely geometries of any type, x before y. In EPSG:4326, edges
            longer than 180 degrees are read as the short way round.
        crs: CRS of the geometries.
        divided: Whether long edges were divided before (:func:`densify`).

    Returns:
        Object array (n,) of shapely geometries; longitudes in -180..180. A coordinate that
        cannot be expressed in EPSG:4326 stays infinite for the caller to refuse.

    Examples:
        >>> fiji = shapely.box(800_000, 8_000_000, 900_000, 8_100_000)
        >>> (footprint,) = to_wgs84([fiji], CRS.from_epsg(32760))
        >>> footprint.geom_type, footprint.bounds[0], footprint.bounds[2]
        ('MultiPolygon', -180.0, 180.0)
    """
    shapes = shapely.force_2d(np.asarray(list(geometries), dtype=object))
    if is_wgs84(crs):
        for i in np.flatnonzero(_crosses(shapes)):
            shapes[i] = cut(shapes[i])
        return shapes
    moved = shapely.transform(shapes, lambda points: to_lonlat(points, crs))
    for i in np.flatnonzero(_curved(moved, divided)):
        moved[i] = outline(shapes[i], crs, _stray(shapes[i], moved[i]))
    return moved


def _curved(shapes: NDArray[np.object_], divided: bool) -> NDArray[np.bool_]:
    """Mark geometries whose edges are not what the straight lines between vertices are."""
    marked = np.zeros(len(shapes), dtype=bool)
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    if not len(points):
        return marked
    # What could not be transformed is infinite; the caller refuses it.
    points = np.where(np.isfinite(points), points, 0.0)
    lon, lat = points.T
    marked[owner[(np.abs(lon) > 180) | (np.abs(lat) > 89.99)]] = True
    same = owner[1:] == owner[:-1]
    jump, step = np.abs(np.diff(lon)), np.abs(steps(points))
    slope = np.radians(np.maximum(np.abs(lat[1:]), np.abs(lat[:-1])))
    metres = 111_320 * np.hypot(step * np.cos(slope), np.diff(lat))
    odd = (jump > 180) | (step > _WIDE)
    if not divided:
        odd |= metres * np.tan(slope) > _LONG
    marked[owner[1:][odd & same]] = True
    return marked


def _stray(shape: Geometry, moved: Geometry) -> float:
    """Give metres by which the divided edges of a footprint may leave the true ones."""
    points = shapely.get_coordinates(moved)
    if not len(points) or not np.isfinite(points).all():
        return 1.0
    east = (points[:, 0] - points[0, 0] + 180) % 360 - 180
    scale = np.cos(np.radians(np.abs(points[:, 1]).min()))
    extent = np.hypot(np.ptp(east) * scale, np.ptp(points[:, 1])) * 111_320
    return max(0.01, _STRAY * float(extent))


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
    # The whole world, or a cap drawn down to a pole, is taken literally.
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
        geometry: Geometry of any type in degrees; each edge goes the short way round.

    Returns:
        The same ground inside -180..180.
    """
    pieces: list[list[Geometry]] = [[], [], []]
    for part in singles(geometry):
        kind = int(shapely.get_dimensions(part))
        points = shapely.get_coordinates(part)
        if not np.isfinite(points).all():
            return geometry
        if kind == 2:
            rings = [shapely.get_coordinates(ring) for ring in shapely.get_rings(part)]
            shell, *holes = (
                fold(ring if ring.is_valid else shapely.make_valid(ring))
                for ring in (
                    follow_ring(r, float(np.copysign(90, r[:, 1].mean())))
                    for r in rings
                )
            )
            for hole in holes:
                shell = shapely.difference(shell, hole)
            made = [shell]
        elif kind == 1:
            made = [fold(line) for line in follow_line(points)]
        else:
            made = [fold(part)]
        for shape in made:
            pieces[kind] += [
                p for p in singles(shape) if shapely.get_dimensions(p) == kind
            ]
    return gathered(pieces)


def unwrap(geometry: Geometry) -> Geometry:
    """Put the parts of a geometry that was cut at 180 side by side again.

    Args:
        geometry: Geometry in EPSG:4326, as :func:`to_wgs84` gives it.

    Returns:
        The same ground with longitudes in 0..360 if that makes it narrower than 180 degrees,
        else the geometry as it is. Use it before taking a centroid or a width.
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
        geometries: Shapely geometries; anything but a polygon stays as it is.
        segments: Segments per edge, at least 1.

    Returns:
        Object array (n,) of shapely geometries.

    Examples:
        >>> (outline,) = densify([shapely.box(0, 0, 8, 8)], segments=4)
        >>> len(outline.exterior.coords)
        17
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


def to_wkb(shapes: NDArray[np.object_]) -> pa.LargeBinaryArray:
    """Give geometries as WKB, byte for byte as shapely does.

    Polygons without holes that all have so many corners, as those of patches, are written as
    rows of one array, in a third of the time.

    Args:
        shapes: Geometries (n,); None where there is none.
    """
    made = _alike(shapes)
    if made is None:
        return pa.array(shapely.to_wkb(shapes), type=pa.large_binary())
    ends = np.arange(len(made) + 1, dtype=np.int64) * made.itemsize
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(made)]
    return pa.Array.from_buffers(pa.large_binary(), len(made), buffers)


def _alike(shapes: NDArray[np.object_]) -> NDArray[np.void] | None:
    """Give polygons of one ring and so many corners as records of WKB; None if they are not."""
    polygon = shapely.GeometryType.POLYGON.value
    corners = shapely.get_num_coordinates(shapes)
    if (
        not len(shapes)
        or not corners[0]
        or (corners != corners[0]).any()
        or (shapely.get_type_id(shapes) != polygon).any()
        or shapely.get_num_interior_rings(shapes).any()
        or (shapely.get_coordinate_dimension(shapes) != 2).any()
        or shapely.get_srid(shapes).any()
    ):
        return None
    record = [
        ('order', 'u1'),
        ('type', '<u4'),
        ('rings', '<u4'),
        ('corners', '<u4'),
        ('points', '<f8', (corners[0], 2)),
    ]
    made = np.empty(len(shapes), dtype=record)
    # 1 stands for little endian.
    made['order'], made['type'], made['rings'], made['corners'] = (
        1,
        polygon,
        1,
        corners[0],
    )
    made['points'] = shapely.get_coordinates(shapes).reshape(len(shapes), -1, 2)
    return made
