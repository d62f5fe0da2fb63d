"""Metres between footprints: along the ellipsoid, between their nearest points."""

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from .footprints import unwrap

_GEOD = Geod(ellps='WGS84')


def metres_between(
    one: NDArray[np.object_], other: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Measure pairs of footprints.

    The nearest points are found on a plane scaled for the latitude of the pair, so the
    result is exact to about a percent far away and to the metre between neighbours.

    Args:
        one: Footprints (n,) in EPSG:4326.
        other: As many.

    Returns:
        Metres (n,), 0 where footprints touch.

    .. versionadded:: 0.1
    """
    if not len(one):
        return np.zeros(0)
    here, there = whole(one), whole(other)
    first, second = centres(here), centres(there)
    turn = 360 * np.round((first[:, 0] - second[:, 0]) / 360)
    scale = np.maximum(np.cos(np.radians((first[:, 1] + second[:, 1]) / 2)), 1e-6)
    lines = shapely.shortest_line(
        _move(here, 0 * turn, scale), _move(there, turn, scale)
    )
    ends = shapely.get_coordinates(lines).reshape(-1, 2, 2)
    ends[:, :, 0] /= scale[:, None]
    return _GEOD.inv(ends[:, 0, 0], ends[:, 0, 1], ends[:, 1, 0], ends[:, 1, 1])[2]


def centres(shapes: NDArray[np.object_]) -> NDArray[np.float64]:
    """Give the centres of footprints; those cut at 180 degrees are put together first.

    Args:
        shapes: Footprints (n,) in EPSG:4326.

    Returns:
        Longitudes, up to 360 where a footprint was cut, and latitudes (n, 2).

    .. versionadded:: 0.1
    """
    return shapely.get_coordinates(shapely.centroid(whole(shapes))).reshape(-1, 2)


def whole(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Put footprints that were cut at 180 degrees side by side again.

    Args:
        shapes: Footprints (n,) in EPSG:4326.

    Returns:
        As many, longitudes up to 360 where a footprint was cut.

    .. versionadded:: 0.1
    """
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    joined = np.array(shapes, dtype=object)
    for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        joined[i] = unwrap(joined[i])
    return joined


def _move(
    shapes: NDArray[np.object_], turn: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.object_]:
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    points[:, 0] = (points[:, 0] + turn[owner]) * scale[owner]
    return shapely.set_coordinates(shapes.copy(), points)
