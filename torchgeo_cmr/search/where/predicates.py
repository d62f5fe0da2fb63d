"""Spatial relations of footprints to an area: the tests behind ``predicate`` and ``min_overlap``.

Predicates are planar in longitude and latitude, so an edge between two far corners is not a
geodesic. Shares are of ground, not of square degrees.

A patch that is flush with an area lies within it. In degrees it need not: the area's edges are
divided, and the chord of the patch leaves the same line by a hair. So what falls short there
is tried again in the CRS in which the area was drawn, where both edges are straight, with a
tolerance of a centimetre.
"""

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry

from torchgeo_cmr.table.antimeridian import fold
from torchgeo_cmr.table.distance import centres
from torchgeo_cmr.table.footprints import is_wgs84
from torchgeo_cmr.table.outline import WGS84

from .area import Drawn, polygons

#: How a footprint may lie to the area.
PREDICATES = ('intersects', 'within', 'contains', 'centroid')

_PARTS = 16
#: Metres, and degrees, by which a footprint may stand out of an area that it is flush with.
_FLUSH, _FLUSH_DEGREES = 0.01, 1e-7
_RADIUS = 6_371_008.8


def lies(
    shapes: NDArray[np.object_],
    area: Geometry,
    predicate: str,
    drawn: Drawn | None = None,
) -> NDArray[np.bool_]:
    """Say which footprints stand in the given relation to the area.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        area: Area in EPSG:4326; it is prepared, which shapely keeps.
        predicate: One of :data:`PREDICATES`. Of an area of several types, only the polygons
            count for ``'within'`` and ``'contains'``.
        drawn: The area in the CRS in which it was drawn, for footprints flush with it.

    Returns:
        Mask (n,).
    """
    if predicate == 'centroid':
        shapely.prepare(area)
        return shapely.intersects(area, _centroids(shapes))
    if predicate == 'intersects':
        # Prepared once, the area is tested against many footprints in one call.
        shapely.prepare(area)
        return shapely.intersects(area, shapes)
    area = polygons(area)
    shapely.prepare(area)
    drawn = drawn or Drawn(area, WGS84.srs)
    within = predicate == 'within'
    hit = shapely.contains(area, shapes) if within else shapely.contains(shapes, area)
    short = np.flatnonzero(~hit & shapely.intersects(area, shapes))
    if len(short) and shapely.get_dimensions(area) == 2:
        native, known = _native(shapes[short], drawn.crs)
        if within:
            small = shrunk(native[known], drawn.crs)
            full = ~shapely.is_empty(small)
            shapely.prepare(drawn.shape)
            hit[short[known][full]] = shapely.contains(drawn.shape, small[full])
        else:
            small = shrunk(np.array([drawn.shape]), drawn.crs)[0]
            if not small.is_empty:
                hit[short[known]] = shapely.contains(native[known], small)
    return hit


def in_degrees(drawn: Drawn) -> bool:
    """Say whether an area was drawn in degrees, where its edges are those that footprints have."""
    return _crs(drawn.crs).is_geographic


def only_edges(shapes: NDArray[np.object_], drawn: Drawn) -> NDArray[np.bool_]:
    """Say which footprints share no more than an edge with an area.

    Args:
        shapes: Footprints (n,) in EPSG:4326 that touch the area there, where the chord of a long edge
            leaves that of the area by metres.
        drawn: The area in the projected CRS in which it was drawn.

    Returns:
        Mask (n,); all False of an area too thin to have an inside.
    """
    out = np.zeros(len(shapes), dtype=bool)
    small = shrunk(np.array([drawn.shape]), drawn.crs)[0]
    native, known = _native(shapes, drawn.crs)
    native = native[known]
    # What is far off lies there by other coordinates than the area, as beyond 180 degrees.
    near = shapely.dwithin(native, drawn.shape, 0.01 * np.sqrt(shapely.area(native)))
    if not small.is_empty:
        shapely.prepare(small)
        out[known] = near & ~shapely.intersects(small, native)
    return out


def enough(
    shapes: NDArray[np.object_],
    area: Geometry,
    least: float,
    drawn: Drawn | None = None,
) -> NDArray[np.bool_]:
    """Say of which footprints an area covers at least some share.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        area: Area in EPSG:4326.
        least: Share of the footprint's ground, above 0 and at most 1.
        drawn: The area in the CRS in which it was drawn, for footprints flush with it.

    Returns:
        Mask (n,).
    """
    shares = overlap(shapes, area)
    hit = shares >= least - 1e-9
    if drawn is None or is_wgs84(_crs(drawn.crs)):
        return hit
    doubt = np.flatnonzero(~hit & (shares >= least - _chord(shapes)))
    native, known = _native(shapes[doubt], drawn.crs)
    native, doubt = native[known], doubt[known]
    both = shapely.area(shapely.intersection(native, drawn.shape))
    # What is flush with the area may stand out of it along one side of a square.
    both += _flush(drawn.crs) * shapely.length(native) / 4
    hit[doubt] = both >= (least - 1e-9) * shapely.area(native)
    return hit


def overlap(shapes: NDArray[np.object_], area: Geometry) -> NDArray[np.float64]:
    """Give the share of each footprint that an area covers.

    Measured on the equal-area cylinder (longitude, sine of latitude), where a square degree
    near the pole counts for the little ground it is.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        area: Area in EPSG:4326.

    Returns:
        Shares (n,) in 0..1; a footprint without extent (a point, a line) counts as whole or not at all.
    """
    shares = np.zeros(len(shapes))
    shapely.prepare(area)
    touching = shapely.intersects(area, shapes)
    area = polygons(area)
    shapely.prepare(area)
    inside = shapely.contains_properly(area, shapes)
    shares[inside] = 1
    rest = np.flatnonzero(~inside & touching)
    if len(rest):
        full = _ground(shapes[rest])
        part = _ground(shapely.intersection(shapes[rest], area))
        shares[rest] = np.where(
            full > 0, np.clip(part / np.where(full > 0, full, 1), 0, 1), 1
        )
    return shares


def near_boxes(
    boxes: NDArray[np.float64], area: Geometry | list[list[float]]
) -> NDArray[np.bool_]:
    """Say which boxes meet the box of a part of the area: a cheap first sieve.

    Args:
        boxes: Boxes (n, 4) in degrees: xmin, ymin, xmax, ymax.
        area: Area in EPSG:4326, or its :func:`part_boxes`.

    Returns:
        Mask (n,), True at least where the footprints touch.
    """
    near = np.zeros(len(boxes), dtype=bool)
    parts = area if isinstance(area, list) else part_boxes(area)
    for west, south, east, north in parts:
        near |= (
            (boxes[:, 0] <= east)
            & (boxes[:, 2] >= west)
            & (boxes[:, 1] <= north)
            & (boxes[:, 3] >= south)
        )
    return near


def part_boxes(area: Geometry) -> list[list[float]]:
    """Give the boxes of the parts of an area in degrees; one box if they are many."""
    if area.geom_type == 'Polygon':
        return [shapely.bounds(area).tolist()]
    # Two parts either side of 180 must not become one box round the world.
    parts = shapely.get_parts(area)
    return shapely.bounds(parts if len(parts) <= _PARTS else [area]).tolist()


def _ground(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give areas that are in proportion to ground."""
    flat = shapely.transform(
        shapes,
        lambda c: np.column_stack([c[:, 0], np.degrees(np.sin(np.radians(c[:, 1])))]),
    )
    return shapely.area(flat)


def _centroids(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give centroids; those of footprints cut at 180 are taken side by side, not at 0."""
    points = shapely.points(centres(shapes))
    for i in np.flatnonzero(np.abs(shapely.get_x(points)) > 180):
        points[i] = fold(points[i])
    return points


def _native(
    shapes: NDArray[np.object_], crs: str
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Bring footprints to a CRS, vertex by vertex, and say which have a place there."""
    if is_wgs84(_crs(crs)):
        return shapes, np.ones(len(shapes), dtype=bool)
    change = _back(crs)
    native = shapely.transform(
        shapes, lambda c: np.column_stack(change.transform(c[:, 0], c[:, 1]))
    )
    known = np.isfinite(shapely.bounds(native).reshape(-1, 4)).all(axis=1)
    broken = known & ~shapely.is_valid(native)
    native[broken] = shapely.make_valid(native[broken])
    return native, known


def shrunk(shapes: NDArray[np.object_], crs: str) -> NDArray[np.object_]:
    """Take the tolerance, about a centimetre, off geometries all round."""
    return shapely.buffer(shapes, -_flush(crs), join_style='mitre')


def _flush(crs: str) -> float:
    """Give the tolerance in the units of a CRS."""
    system = _crs(crs)
    unit = system.axis_info[0].unit_conversion_factor if system.axis_info else 1.0
    return _FLUSH_DEGREES if system.is_geographic else _FLUSH / unit


def _chord(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the share of its ground by which a footprint may be off, as its edges are chords."""
    _, south, _, north = shapely.bounds(shapes).reshape(-1, 4).T
    side = np.radians(np.maximum(north - south, 1e-9)) * _RADIUS
    slope = np.tan(np.radians(np.minimum(np.maximum(np.abs(south), np.abs(north)), 89)))
    return side * slope / (4 * _RADIUS) + 4 * _FLUSH / side + 1e-9


@lru_cache(maxsize=64)
def _crs(crs: str) -> CRS:
    return CRS.from_user_input(crs)


@lru_cache(maxsize=64)
def _back(crs: str) -> Transformer:
    return Transformer.from_crs(WGS84, _crs(crs), always_xy=True)
