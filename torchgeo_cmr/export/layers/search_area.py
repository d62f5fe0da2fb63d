"""The area that was searched, as a layer."""

from typing import Any

import geopandas as gpd
import shapely
from pyproj import CRS
from shapely import Geometry

from torchgeo_cmr.search import Where
from torchgeo_cmr.table.footprints import WGS84, is_wgs84

from .layer_outlines import in_crs, widths


def area_of_interest(area: Any) -> Geometry | None:
    """Give an area of any kind as one geometry in EPSG:4326.

    Args:
        area: None; a :class:`~torchgeo_cmr.search.Where`; a shapely geometry in EPSG:4326;
            or what ``Where`` takes as an area: a GeoDataFrame with a CRS, a file, a box.

    Returns:
        A geometry cut at 180; None without an area.

    Raises:
        QueryError: If it is not an area.
    """
    if isinstance(area, Where):
        shape = area.area
    elif area is None:
        shape = None
    else:
        shape = Where(area, crs=WGS84 if isinstance(area, Geometry) else None).area
    # Filters whose areas share nothing have no ground to draw.
    return None if shape is None or shape.is_empty else shape


def area_layer(area: Geometry, crs: CRS) -> gpd.GeoDataFrame:
    """Give an area as a layer.

    Args:
        area: Geometry in EPSG:4326.
        crs: CRS of the layer, that of the results.

    Returns:
        One row; two, one a hemisphere, if a part is wider than 180 degrees and holds no pole,
        because QGIS may take such a part for one across the antimeridian.
    """
    shapes = [area]
    if is_wgs84(crs) and (widths(area) > 180).any():
        halves = [shapely.box(-180, -90, 0, 90), shapely.box(0, -90, 180, 90)]
        cuts = [shapely.intersection(area, half) for half in halves]
        shapes = [cut for cut in cuts if cut.area > 0]
    return gpd.GeoDataFrame(
        {'name': ['area of interest'] * len(shapes)},
        geometry=[in_crs(shape, crs) for shape in shapes],
        crs=crs,
    )
