"""Hits as GeoJSON in memory: what a model reads, without what only files need."""

import json
from typing import Any

import geopandas as gpd
import shapely

from torchgeo_cmr.export.layers.fields import fields, to_array

#: Columns that say the same for all hits of one exact search, or are for marks in a GIS.
_DROPPED = ('query_id', 'exact', 'relevant', 'space')
#: Digits of a score; more are below the precision of vectors.
_DIGITS = 6


def collection(hits: gpd.GeoDataFrame) -> dict[str, Any]:
    """Write hits as a GeoJSON FeatureCollection (RFC 7946).

    Args:
        hits: Result of one query, in EPSG:4326.

    Returns:
        JSON-able. A feature has the footprint with seven decimals, cut at the antimeridian as the
        archive has it (null for a row without a place), and as properties ``rank``, ``score`` and
        the columns of the archive; times are ISO 8601 in UTC, and columns without any value are
        left out.
    """
    columns = {
        f.name: to_array(hits[f.column], f, text_times=True).to_pylist()
        for f in fields(hits)
        if f.column not in _DROPPED and (hits[f.column].notna().any() or not len(hits))
    }
    columns['score'] = [round(score, _DIGITS) for score in columns['score']]
    shapes = shapely.orient_polygons(hits.geometry.to_numpy(), exterior_cw=False)
    return {
        'type': 'FeatureCollection',
        'features': [
            {
                'type': 'Feature',
                'geometry': None if shape is None else _rounded(shape),
                'properties': dict(zip(columns, row, strict=True)),
            }
            for shape, row in zip(
                shapes, zip(*columns.values(), strict=True), strict=True
            )
        ],
    }


def _rounded(shape: shapely.Geometry) -> dict[str, Any]:
    """Give a geometry as GeoJSON with seven decimals, a centimetre.

    A footprint of that size stays what it is, whereas shapely's grid would empty it.
    """
    return json.loads(
        shapely.to_geojson(shape), parse_float=lambda number: round(float(number), 7)
    )
