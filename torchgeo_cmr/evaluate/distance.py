"""Bounds on the metres between many footprints, cheap enough to ask for all pairs."""

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.table.distance import centres, whole

_RADIUS = 6_371_008.8
#: A sphere is off by less than this share of a distance on the ellipsoid.
_SPHERE = 0.006


class Spots:
    """Footprints as points on a sphere with a reach: cheap bounds on many distances.

    Args:
        shapes: Footprints (n,) in EPSG:4326.

    .. versionadded:: 0.1
    """

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        """Find centres, and how far the corners are from them."""
        self.shapes = shapes
        joined = whole(shapes)
        self.points = _on_sphere(centres(joined))
        corners, owner = shapely.get_coordinates(joined, return_index=True)
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


def _on_sphere(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.radians(degrees).T
    return np.column_stack(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    )
