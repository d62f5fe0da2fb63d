"""How footprints may lie to an area: the tests behind ``predicate`` and ``min_overlap``.

What this does not know: predicates are planar in longitude and latitude, so an edge between
two far corners is not a geodesic. Shares are of ground, not of square degrees.
"""

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod
from shapely import Geometry

from torchgeo_cmr.table import to_wgs84
from torchgeo_cmr.table.footprints import WGS84, unwrap

#: How a footprint may lie to the area.
PREDICATES = ('intersects', 'within', 'contains', 'centroid')

_GEOD = Geod(ellps='WGS84')
_PARTS = 16


def lies(
    shapes: NDArray[np.object_], area: Geometry, predicate: str
) -> NDArray[np.bool_]:
    """Say which footprints lie to the area as asked.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        area: Area in EPSG:4326; it is prepared, which shapely keeps.
        predicate: One of :data:`PREDICATES`.

    Returns:
        Mask (n,).

    .. versionadded:: 0.1
    """
    # Prepared once, the area is tested against many footprints in one call.
    shapely.prepare(area)
    if predicate == 'within':
        return shapely.contains(area, shapes)
    if predicate == 'contains':
        return shapely.contains(shapes, area)
    if predicate == 'centroid':
        return shapely.intersects(area, _centroids(shapes))
    return shapely.intersects(area, shapes)


def overlap(shapes: NDArray[np.object_], area: Geometry) -> NDArray[np.float64]:
    """Give the share of each footprint that an area covers.

    Measured on the equal-area cylinder (longitude, sine of latitude), where a square degree
    near the pole counts for the little ground it is.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        area: Area in EPSG:4326.

    Returns:
        Shares (n,) in 0..1; a footprint without extent (a point, a line) counts as whole or not at all.

    .. versionadded:: 0.1
    """
    shares = np.zeros(len(shapes))
    shapely.prepare(area)
    inside = shapely.contains_properly(area, shapes)
    shares[inside] = 1
    rest = np.flatnonzero(~inside & shapely.intersects(area, shapes))
    if len(rest):
        full = _ground(shapes[rest])
        part = _ground(shapely.intersection(shapes[rest], area))
        shares[rest] = np.where(
            full > 0, np.clip(part / np.where(full > 0, full, 1), 0, 1), 1
        )
    return shares


def near_boxes(boxes: NDArray[np.float64], area: Geometry) -> NDArray[np.bool_]:
    """Say which boxes meet the box of a part of the area: a cheap first sieve.

    Args:
        boxes: Boxes (n, 4) in degrees: xmin, ymin, xmax, ymax.
        area: Area in EPSG:4326.

    Returns:
        Mask (n,), True at least where the footprints touch.

    .. versionadded:: 0.1
    """
    few = np.array([area])
    if area.geom_type != 'Polygon':
        # Two parts either side of 180 must not become one box round the world.
        parts = shapely.get_parts(area)
        few = parts if len(parts) <= _PARTS else few
    near = np.zeros(len(boxes), dtype=bool)
    for west, south, east, north in shapely.bounds(few).reshape(-1, 4).tolist():
        near |= (
            (boxes[:, 0] <= east)
            & (boxes[:, 2] >= west)
            & (boxes[:, 1] <= north)
            & (boxes[:, 3] >= south)
        )
    return near


def distance(shapes: NDArray[np.object_], area: Geometry) -> float:
    """Give metres along the ellipsoid between an area and the nearest of many footprints.

    Args:
        shapes: Footprints (n,) in EPSG:4326, at least one.
        area: Area in EPSG:4326.

    .. versionadded:: 0.1
    """
    tree = shapely.STRtree(shapes)
    best = np.inf
    # The nearest footprint may lie on the other side of 180.
    for turn in (-360.0, 0.0, 360.0):
        moved = shapely.transform(area, lambda c, turn=turn: c + np.array([turn, 0]))
        nearest = shapes[tree.nearest(moved)]
        (lon1, lat1), (lon2, lat2) = shapely.get_coordinates(
            shapely.shortest_line(moved, nearest)
        )
        best = min(best, _GEOD.inv(lon1, lat1, lon2, lat2)[2])
    return best


def _ground(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give areas that are in proportion to ground."""
    flat = shapely.transform(
        shapes,
        lambda c: np.column_stack([c[:, 0], np.degrees(np.sin(np.radians(c[:, 1])))]),
    )
    return shapely.area(flat)


def _centroids(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give centroids; those of footprints cut at 180 are taken side by side, not at 0."""
    centres = shapely.centroid(shapes)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        centres[i] = to_wgs84([unwrap(shapes[i]).centroid], WGS84)[0]
    return centres
