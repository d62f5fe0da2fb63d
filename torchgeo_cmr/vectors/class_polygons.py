"""Polygons of classes and regions, as vector files hold them.

Only polygons are ground: a line or a point covers none, whatever its column says.
"""

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType

from torchgeo_cmr.errors import CMRError

from .place_crs import check_degrees, check_places, without_heights
from .singles import singles

_POLYGONS = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)


def only_polygons(
    frame: gpd.GeoDataFrame, what: str, kind: type[CMRError]
) -> gpd.GeoDataFrame:
    """Keep the features that cover ground, each with its polygons alone, without heights.

    Args:
        frame: Features, of which some may be lines, points, empty or without geometry.
        what: What the frame is called if something is wrong with it.
        kind: What to raise.

    Returns:
        The features that have a polygon, in a CRS of places.

    Raises:
        CMRError: Of the kind *kind*, if there is no polygon, no CRS, one without places, or one
            of degrees for other numbers.
    """
    drawn = frame.active_geometry_name is not None
    shapes = frame.geometry.to_numpy() if drawn else np.full(len(frame), None)
    grounds = _polygons(shapes)
    covers = ~shapely.is_missing(grounds)
    if not covers.any():
        raise kind(
            f'{what} has no polygon: {_held(shapes)}; give polygons, or name another layer'
        )
    if frame.crs is None:
        raise kind(f'{what} has no CRS; declare the one it is in')
    crs = without_heights(frame.crs)
    check_places(crs, what, kind)
    series = gpd.GeoSeries(grounds[covers], index=frame.index[covers], crs=crs)
    cure = 'declare the CRS these coordinates are in'
    check_degrees(series.total_bounds.tolist(), crs, what, cure, kind)
    return frame[covers].set_geometry(series)


def _polygons(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Polygons of each shape, two-dimensional; None where there is none."""
    grounds = shapely.force_2d(shapes)
    kinds = shapely.get_type_id(grounds)
    for i in np.flatnonzero(kinds == GeometryType.GEOMETRYCOLLECTION):
        parts = singles(grounds[i])
        grounds[i] = shapely.MultiPolygon(
            [p for p in parts if p.geom_type == 'Polygon']
        )
    kinds = shapely.get_type_id(grounds)
    grounds[~np.isin(kinds, _POLYGONS) | shapely.is_empty(grounds)] = None
    return grounds


def _held(shapes: NDArray[np.object_]) -> str:
    """Say what is there in place of polygons."""
    present = shapes[~shapely.is_missing(shapes)]
    filled = present[~shapely.is_empty(present)]
    if len(filled):
        kinds = sorted({shape.geom_type for shape in filled})
        return f'it holds {" and ".join(kinds)}, which cover no ground'
    if len(present):
        return 'all its geometries are empty'
    return 'its features have no geometry' if len(shapes) else 'it has no features'


__all__ = ('only_polygons',)
