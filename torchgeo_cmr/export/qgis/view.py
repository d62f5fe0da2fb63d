"""Where a map opens: a CRS away from the antimeridian, an extent, a span of time."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry

from torchgeo_cmr.export.layers.extent import placed
from torchgeo_cmr.export.layers.layer_outlines import (
    POLAR_LATITUDE,
    footprints,
    layer_crs,
)
from torchgeo_cmr.export.layers.search_area import area_of_interest
from torchgeo_cmr.export.vector.geopackage import query_layer
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84, unwrap

type Bounds = tuple[float, float, float, float]

_MARGIN = 0.1


def view(
    results: gpd.GeoDataFrame,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
) -> tuple[CRS, Bounds]:
    """Choose a CRS away from the antimeridian, and the extent of the map in it.

    Args:
        results: Results in EPSG:4326.
        queries: The queries; their zone decides.
        area: The searched area; counts if there are no results.

    Returns:
        The CRS, and (xmin, ymin, xmax, ymax) in it with a margin of a tenth.
    """
    result_crs = layer_crs(results)
    query_shapes = [] if queries is None else _shapes(query_layer(queries), result_crs)
    found = _shapes(results, result_crs)
    shapes = [*found, *query_shapes]
    where = area_of_interest(area)
    if not found and where is not None:
        shapes.append(where)
    if not shapes:
        return WGS84, (-180.0, -90.0, 180.0, 90.0)
    parts = shapely.get_parts(np.array(shapes, dtype=object))
    crs = result_crs
    if result_crs == WGS84:
        parts = shapely.segmentize(parts, 1.0)
        crs = _view_crs(parts, (query_shapes or found or shapes)[0])
    points = shapely.get_coordinates(parts)
    x, y = Transformer.from_crs(result_crs, crs, always_xy=True).transform(*points.T)
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]
    wide, high = x.max() - x.min(), y.max() - y.min()
    # A single point still needs a map round it.
    least = 0.02 if crs.is_geographic else 2000.0
    margin = _MARGIN * max(wide, high, least)
    return crs, (
        float(x.min() - margin),
        float(y.min() - margin),
        float(x.max() + margin),
        float(y.max() + margin),
    )


def span(results: gpd.GeoDataFrame) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Give the first and last moment of results.

    Args:
        results: Any frame; ``time_start`` and ``time_end`` count where they are there.

    Returns:
        Two UTC moments; None if there are none.
    """
    if not {'time_start', 'time_end'} <= set(results.columns):
        return None
    times = [
        pd.to_datetime(results[n], utc=True).dropna()
        for n in ('time_start', 'time_end')
    ]
    if times[0].empty or times[1].empty:
        return None
    return times[0].min(), times[1].max()


def _shapes(frame: gpd.GeoDataFrame, crs: CRS) -> list[Geometry]:
    """Give the outlines of a layer in the CRS it is drawn in, without missing ones."""
    located = frame[placed(frame)]
    if located.empty:
        return []
    if crs == WGS84:
        # For an extent, corners will do.
        located = gpd.GeoDataFrame(geometry=located.geometry)
    return list(footprints(located, crs))


def _view_crs(parts: NDArray[np.object_], first: Geometry) -> CRS:
    """Choose the CRS for parts in EPSG:4326; the zone is that of the first footprint."""
    bounds = shapely.bounds(parts).reshape(-1, 4)
    south, north = bounds[:, 1].min(), bounds[:, 3].max()
    if south > POLAR_LATITUDE:
        return CRS.from_epsg(3413)
    if north < -POLAR_LATITUDE:
        return CRS.from_epsg(3031)
    centre = unwrap(first).centroid
    zone = int((centre.x + 180) % 360 // 6) + 1
    middle = zone * 6 - 183
    # How far east or west of the zone's middle the parts lie, the short way round.
    off = np.abs((bounds[:, [0, 2]] - middle + 180) % 360 - 180).max()
    if off <= 6 and south >= -80 and north <= 84:
        return CRS.from_epsg((32600 if centre.y >= 0 else 32700) + zone)
    crosses = (bounds[:, 0] <= -180 + 1e-9).any() and (bounds[:, 2] >= 180 - 1e-9).any()
    whole = (bounds[:, 2] - bounds[:, 0] > 180).any()
    if crosses and not whole and south >= -85 and north <= 85:
        return CRS.from_epsg(3832)
    return WGS84
