"""Geometries with arcs, which shapely does not hold: how they are known, and what to do with them.

GDAL makes lines of arcs where it reads a file, except of those in a collection. Where shapely reads
WKB or WKT itself, it refuses them.
"""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType
from shapely.errors import ShapelyError

#: Geometries with arcs, as WKT calls them.
ARCS = ('CIRCULARSTRING', 'COMPOUNDCURVE', 'CURVEPOLYGON', 'MULTICURVE', 'MULTISURFACE')
#: What to do with them.
CURE = (
    'make its arcs lines first, as ogr2ogr -nlt CONVERT_TO_LINEAR and ST_CurveToLine of '
    'PostGIS do'
)
#: What shapely raises of WKB or WKT that it cannot read, arcs among them.
UNREADABLE = (ShapelyError, NotImplementedError)


def has_arcs(shapes: NDArray[np.object_]) -> bool:
    """Say whether collections among some geometries hold arcs, at any depth.

    Args:
        shapes: Geometries (n,), of which some may be None.
    """
    parts: NDArray[Any] = shapes
    try:
        while True:
            kinds = shapely.get_type_id(parts)
            within = parts[kinds == GeometryType.GEOMETRYCOLLECTION]
            if not len(within):
                return False
            parts = shapely.get_parts(within)
    except NotImplementedError:
        return True


__all__ = ('ARCS', 'CURE', 'UNREADABLE', 'has_arcs')
