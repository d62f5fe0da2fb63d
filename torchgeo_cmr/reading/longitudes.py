"""Rasters in degrees that lie at the antimeridian, or count longitudes from 0 to 360."""

import re
from typing import Any

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError

from torchgeo_cmr.scenes.outlines import full_turn

#: Part of a pixel by which an edge may lie beyond 180 degrees.
_ROUNDING = 0.01


def readable(crs: CRS, transform: Affine, shape: tuple[int, int]) -> dict[str, Any]:
    """Name a grid in such a way that the warper finds all of it.

    The warper looks for a place between -180 and 180, so it finds nothing of a raster that
    goes on beyond. Longitudes that are counted from the middle of the raster have no such end.

    Args:
        crs: CRS of the grid.
        transform: Affine of the grid.
        shape: Number of its rows and columns.

    Returns:
        Options of a ``WarpedVRT``; none for most rasters.
    """
    if not crs.is_geographic:
        return {}
    half = np.pi / crs.axis_info[0].unit_conversion_factor
    corners = [(c, r) for c in (0, shape[1]) for r in (0, shape[0])]
    lon = [transform.a * c + transform.b * r + transform.c for c, r in corners]
    ends = min(lon), max(lon)
    slack = abs(transform.a) * _ROUNDING
    if ends[0] >= -half - slack and ends[1] <= half + slack:
        return {}
    middle = sum(ends) / 2
    counted = _counted_from(crs, middle)
    if counted is None:
        return {}
    moved = Affine.translation(-middle, 0) @ transform
    return {'src_crs': counted, 'src_transform': moved}


def _counted_from(crs: CRS, middle: float) -> str | None:
    """Write a geographic CRS whose longitudes are 0 where those of another are *middle*."""
    try:
        text = crs.to_wkt('WKT1_GDAL')
    except CRSError:  # of a pole that was moved
        return None
    meridian = re.search(r'PRIMEM\["[^"]*",([^,\]]+)', text)
    if meridian is None:
        return None
    degrees = np.degrees(middle * crs.axis_info[0].unit_conversion_factor)
    zero = float(meridian[1]) + float(degrees)
    # Without authorities: they would bring the old meridian back.
    text = re.sub(r',AUTHORITY\["[^"]*","[^"]*"\]', '', text)
    named = f'PRIMEM["middle of the raster",{(zero + 180) % 360 - 180!r}'
    return re.sub(r'PRIMEM\["[^"]*",[^,\]]+', named, text)


def as_named(
    span: tuple[float, float], ends: tuple[float, float], crs: CRS
) -> tuple[float, float]:
    """Name a span of longitudes as a raster names them.

    Args:
        span: West and east, of which the east is never the lesser number.
        ends: West and east of the raster, in either order.
        crs: CRS of both.

    Returns:
        The span by whole turns nearer to the raster; the ends of the raster where the span
        lies on both of them. The span as it is in a CRS whose map does not go round the Earth.
    """
    turn = full_turn(crs)
    if turn is None:
        return span
    ends = min(ends), max(ends)
    first = np.ceil((ends[0] - span[1]) / turn)
    last = np.floor((ends[1] - span[0]) / turn)
    if last > first:
        return ends
    return (span[0] + first * turn, span[1] + first * turn) if last == first else span
