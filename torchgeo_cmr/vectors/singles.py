"""The simple geometries in a geometry, in collections of collections too."""

import numpy as np
import shapely
from shapely import Geometry


def singles(shape: Geometry) -> list[Geometry]:
    """Give the points, lines and polygons of a geometry, however deep they lie.

    Args:
        shape: Any geometry.

    Returns:
        Simple geometries that are not empty.
    """
    parts = np.array([shape], dtype=object)
    while (shapely.get_type_id(parts) > 3).any():
        parts = shapely.get_parts(parts)
    return [part for part in parts if not part.is_empty]


__all__ = ('singles',)
