"""Lines from each query to its hits."""

from collections.abc import Generator

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely
from pyproj import CRS
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table.footprints import WGS84, is_wgs84, unwrap

from .arrow_batches import BATCH, GEOMETRY
from .fields import fields, to_array
from .layer_outlines import footprints

#: Centres nearer than about a centimetre are one place: outlines may be densified or not.
_SAME_DEGREES, _SAME_METRES = 1e-7, 1e-2


def link_stream(
    results: gpd.GeoDataFrame, queries: gpd.GeoDataFrame, crs: CRS = WGS84
) -> pa.RecordBatchReader:
    """Draw a line from each query to its hits, where both have a place.

    Args:
        results: What a search gave.
        queries: Layer of queries with ``query_id``.
        crs: CRS of the lines.

    Returns:
        Batches with ``rank``, ``score``, ``query_id``, ``patch_id`` and the line.

    Raises:
        QueryError: If none of the queries is one of the results'.
    """
    if len(results) and not results['query_id'].isin(queries['query_id']).any():
        raise QueryError(
            'no query of the result is among the queries given; give those of the search'
        )
    places = dict(zip(queries['query_id'], footprints(queries, crs), strict=True))
    columns = [
        f
        for f in fields(results, ('rank', 'score'))
        if f.column in ('rank', 'score', 'query_id', 'patch_id')
    ]
    schema = pa.schema([(f.name, f.kind) for f in columns] + [(GEOMETRY, pa.binary())])

    def batches() -> Generator[pa.RecordBatch]:
        for begin in range(0, len(results), BATCH):
            part = results.iloc[begin : begin + BATCH]
            ends = footprints(part, crs)
            lines = np.array(
                [
                    None
                    if (start := places.get(i)) is None or end is None
                    else connect(start, end, crs)
                    for i, end in zip(part['query_id'], ends, strict=True)
                ],
                dtype=object,
            )
            drawn = ~shapely.is_missing(lines)
            arrays = [to_array(part[f.column][drawn], f) for f in columns]
            arrays.append(pa.array(shapely.to_wkb(lines[drawn]), type=pa.binary()))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def connect(start: Geometry, end: Geometry, crs: CRS = WGS84) -> Geometry | None:
    """Draw a line between the centres of two footprints, the short way round.

    Args:
        start: Footprint in the CRS.
        end: Another.
        crs: Their CRS.

    Returns:
        A MultiLineString, in EPSG:4326 cut at 180; None if both centres are the same to a
        centimetre.
    """
    a, b = (np.array(unwrap(s).centroid.coords[0]) for s in (start, end))
    if not is_wgs84(crs):
        same = np.allclose(a, b, rtol=0, atol=_SAME_METRES)
        return None if same else shapely.multilinestrings([[a, b]])
    a[0] = (a[0] + 180) % 360 - 180
    b[0] = a[0] + (b[0] - a[0] + 180) % 360 - 180
    if np.allclose(a, b, rtol=0, atol=_SAME_DEGREES):
        return None
    if -180 <= b[0] <= 180:
        return shapely.multilinestrings([[a, b]])
    edge = 180.0 if b[0] > 180 else -180.0
    middle = a + (b - a) * (edge - a[0]) / (b[0] - a[0])
    middle[0] = edge
    turn = np.array([2 * edge, 0.0])
    pieces = [(a, middle), (middle - turn, b - turn)]
    # A query that lies on the cut has one piece only.
    return shapely.multilinestrings([p for p in pieces if (p[0] != p[1]).any()])
