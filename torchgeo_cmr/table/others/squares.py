"""Squares on the ground round points."""

from typing import Any

import geopandas as gpd
import numpy as np
from shapely import box

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.footprints import WGS84

#: Metres: a square that is wider leaves what a zone of UTM can express.
_WIDEST = 500_000


def squares(points: gpd.GeoSeries, metres: float) -> gpd.GeoSeries:
    """Give the square round each point, its sides along the UTM zone of the point.

    Args:
        points: Points with any CRS.
        metres: Width of a square.

    Returns:
        Polygons in EPSG:4326, in the order of the points.

    Raises:
        ArchiveError: If *metres* is not above 0, or more than 500 km.

    Examples:
        >>> point = gpd.GeoSeries(gpd.points_from_xy([9.0], [45.0]), crs='EPSG:4326')
        >>> square = squares(point, 320).to_crs('EPSG:32632')
        >>> round(square.area[0])
        102400
    """
    if not 0 < metres <= _WIDEST:
        raise ArchiveError(
            f'metres is {metres:g}: give the width of a patch, above 0 and at most {_WIDEST:g}'
        )
    degrees: Any = points.to_crs(WGS84)
    zone = np.clip((degrees.x.to_numpy() + 180) // 6 + 1, 1, 60).astype(int)
    codes = 32600 + 100 * (degrees.y.to_numpy() < 0) + zone
    outlines = np.empty(len(points), object)
    half = metres / 2
    for code in np.unique(codes):
        mine = codes == code
        centres: Any = degrees[mine].to_crs(int(code))
        made = gpd.GeoSeries(
            box(centres.x - half, centres.y - half, centres.x + half, centres.y + half),
            crs=int(code),
        )
        outlines[mine] = made.to_crs(WGS84).to_numpy()
    return gpd.GeoSeries(outlines, crs=WGS84)
