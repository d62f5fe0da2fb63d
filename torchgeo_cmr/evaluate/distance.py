"""Metres between footprints: along the ellipsoid, between their nearest points."""

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Geod

from torchgeo_cmr.table.footprints import unwrap

_GEOD = Geod(ellps='WGS84')
_RADIUS = 6_371_008.8
#: A sphere is off by less than this share of a distance on the ellipsoid.
_SPHERE = 0.006


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
    here, there = _whole(one), _whole(other)
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
    return shapely.get_coordinates(shapely.centroid(_whole(shapes))).reshape(-1, 2)


class Spots:
    """Footprints as points on a sphere with a reach: cheap bounds on many distances.

    Args:
        shapes: Footprints (n,) in EPSG:4326.

    .. versionadded:: 0.1
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        """Find centres, and how far the corners are from them."""
        self.shapes = shapes
        whole = _whole(shapes)
        self.points = _on_sphere(centres(whole))
        corners, owner = shapely.get_coordinates(whole, return_index=True)
        away = _chord(np.sum((_on_sphere(corners) - self.points[owner]) ** 2, axis=1))
        self.reach = np.zeros(len(shapes))
        np.maximum.at(self.reach, owner, away)

    def apart(self, rows: NDArray[np.int64], others: 'Spots') -> NDArray[np.float64]:
        """Metres on the sphere between centres, (rows, others)."""
        product = self.points[rows] @ others.points.T
        return _chord(np.maximum(2 - 2 * product, 0))

    def bounds(
        self, rows: NDArray[np.int64], others: 'Spots'
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Least and largest metres that nearest points can be apart, (rows, others)."""
        apart = self.apart(rows, others)
        # A metre for what the cosine loses at small angles.
        least = apart * (1 - _SPHERE) - 1
        least -= 1.02 * (self.reach[rows][:, None] + others.reach)
        return least, apart * (1 + _SPHERE) + 1


def _chord(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2 * _RADIUS * np.arcsin(np.minimum(np.sqrt(squared) / 2, 1))


def _whole(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Footprints that were cut at 180 degrees, side by side again."""
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    whole = np.array(shapes, dtype=object)
    for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        whole[i] = unwrap(whole[i])
    return whole


def _on_sphere(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(degrees).T
    return np.column_stack(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    )


def _move(
    shapes: NDArray[np.object_], turn: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.object_]:
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    points[:, 0] = (points[:, 0] + turn[owner]) * scale[owner]
    return shapely.set_coordinates(shapes.copy(), points)
