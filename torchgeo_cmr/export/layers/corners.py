"""Outlines from the corners that a patch has in the CRS of its source.

Exact where a footprint in degrees is not: each edge is divided before its CRS is changed.
"""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from torchgeo_cmr.table import to_wgs84
from torchgeo_cmr.table.footprints import WGS84, is_wgs84

#: Pieces an edge is divided into before the CRS is changed.
SEGMENTS = 8

#: How far (degrees) native corners may lie from the footprint they belong to.
_SAME = 1e-6


def from_corners(
    frame: gpd.GeoDataFrame, shapes: NDArray[np.object_], crs: CRS
) -> list[tuple[NDArray[np.int64], NDArray[np.object_]]]:
    """Draw outlines from native corners, source CRS by source CRS.

    Args:
        frame: Layer; without ``native_corners`` and ``src_crs`` there is nothing to draw.
        shapes: Its geometries (n,), which the corners must agree with.
        crs: CRS of the outlines.

    Returns:
        Row numbers and outlines, a pair a source CRS; rows not among them have no corners,
        or corners that lie elsewhere than the geometry.
    """
    if not {'native_corners', 'src_crs'} <= set(frame.columns):
        return []
    corners = frame['native_corners'].to_numpy()
    known = np.fromiter(
        (isinstance(c, np.ndarray | list) and len(c) == 8 for c in corners), dtype=bool
    )
    numbers, codes = pd.factorize(frame['src_crs'])
    numbers = np.where(known & ~shapely.is_missing(shapes), numbers, -1)
    found = []
    for number, code in enumerate(codes):
        rows = np.flatnonzero(numbers == number)
        if not len(rows):
            continue
        points = np.concatenate(corners[rows].tolist()).astype(np.float64)
        points = points.reshape(-1, 4, 2)
        ring = _divided(points)
        source_crs = CRS.from_user_input(code)
        if not source_crs.equals(crs):
            change = Transformer.from_crs(source_crs, crs, always_xy=True)
            ring = np.stack(change.transform(*np.moveaxis(ring, -1, 0)), axis=-1)
        outlines = shapely.polygons(ring)
        if is_wgs84(crs):
            for i in np.flatnonzero(_jumps(ring)):
                outlines[i] = to_wgs84([outlines[i]], WGS84)[0]
        # Somebody may have moved or buffered the footprint since: then it is what counts.
        if frame.crs.equals(crs):
            points, source_crs = ring[:, ::SEGMENTS], crs
        same = _match(points, source_crs, shapes[rows], frame.crs)
        found.append((rows[same], outlines[same]))
    return found


def _divided(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide the edges of open rings (n, m, 2): (n, m * SEGMENTS, 2), corners at multiples."""
    step = (np.roll(corners, -1, axis=1) - corners)[:, :, None] / SEGMENTS
    points = corners[:, :, None] + step * np.arange(SEGMENTS)[:, None]
    return points.reshape(len(corners), -1, 2)


def _match(
    corners: NDArray[np.float64], source_crs: CRS, shapes: NDArray[np.object_], crs: CRS
) -> NDArray[np.bool_]:
    """Tell which corners (n, 4, 2) agree with the footprint, box against box."""
    if not source_crs.equals(crs):
        change = Transformer.from_crs(source_crs, crs, always_xy=True)
        x, y = change.transform(corners[..., 0], corners[..., 1])
        corners = np.stack([x, y], axis=-1)
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    if is_wgs84(crs):
        for i in np.flatnonzero(_jumps(corners)):
            boxes[i] = to_wgs84([shapely.polygons(corners[i])], WGS84)[0].bounds
    near = _SAME if crs.is_geographic else 0.1
    return (np.abs(boxes - shapely.bounds(shapes)) < near).all(axis=1)


def _jumps(rings: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark open rings (n, m, 2) with an edge over the antimeridian."""
    lon = rings[..., 0]
    return (np.abs(lon - np.roll(lon, -1, axis=1)) > 180).any(axis=1)
