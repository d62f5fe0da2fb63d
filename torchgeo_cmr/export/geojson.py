"""GeoJSON as RFC 7946 asks for it: the format every map reads.

What GeoJSON cannot carry: a schema for zero rows, a CRS other than EPSG:4326, several layers.
"""

import re
import unicodedata
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable, densify, to_wgs84
from torchgeo_cmr.table.footprints import WGS84, is_wgs84

from .output import new_file

_LONGEST_NAME = 30


def to_geojson(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a layer as GeoJSON (RFC 7946).

    EPSG:4326 without a ``crs`` member, seven decimals, outer rings counter-clockwise, cut at
    the antimeridian. Times become ISO 8601 text in UTC, which QGIS and GDAL read back as
    date-time fields; a time column without any value is left out, because it would come back
    as text. Field names become lower-case ASCII of at most 30 characters. Lists, arrays and
    bytes are left out. Zero rows give a valid empty collection, which has no fields.

    Args:
        results: What a search gave, or any GeoDataFrame with a CRS (queries, an area). In
            another CRS than EPSG:4326 every edge is densified to eight segments before the
            coordinates are changed.
        path: File to write.
        queries: Not written: GeoJSON holds one layer. Call again with the queries.
        area: Not written, likewise.
        record: Not written; taken so that all writers are called in the same way.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the frame has no CRS or a geometry cannot be expressed in EPSG:4326.
        OutputExistsError: If the file is there and ``overwrite`` is False.

    .. versionadded:: 0.1
    """
    layer = _layer(results)
    with new_file(path, overwrite=overwrite) as temporary:
        pyogrio.write_dataframe(
            layer,
            temporary,
            driver='GeoJSON',
            geometry_type='Unknown' if layer.empty else None,
            # This also limits coordinates to seven decimals.
            RFC7946='YES',
            WRITE_NAME='NO',
        )
    return Path(path)


def _layer(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Give a copy that holds only what GeoJSON can carry."""
    if not isinstance(frame, gpd.GeoDataFrame):
        raise QueryError(f'a layer is a GeoDataFrame, not a {type(frame).__name__}')
    if frame._geometry_column_name not in frame or frame.crs is None:
        raise QueryError(
            'the layer has no geometry with a CRS; declare it with set_crs(...)'
        )
    shapes = frame.geometry.to_numpy()
    if not is_wgs84(frame.crs):
        shapes = densify(shapes)
    shapes = to_wgs84(shapes, frame.crs)
    if not np.isfinite(shapely.get_coordinates(shapes)).all():
        raise QueryError(
            f'a geometry cannot be expressed in EPSG:4326 from {frame.crs.to_string()[:60]}; check its CRS'
        )
    columns: dict[str, pd.Series] = {}
    for name in frame.columns:
        if name == frame._geometry_column_name:
            continue
        values = _field(frame[name].reset_index(drop=True))
        if values is not None:
            columns[_name(str(name), set(columns))] = values
    return gpd.GeoDataFrame(
        pd.DataFrame(columns, index=range(len(frame))),
        geometry=gpd.GeoSeries(shapes, crs=WGS84),
    )


def _field(values: pd.Series) -> pd.Series | None:
    """Give a column as GDAL can write it; None if it is to be left out."""
    dtype = values.dtype
    if isinstance(dtype, gpd.array.GeometryDtype):
        return None
    if isinstance(dtype, pd.CategoricalDtype):
        return _field(values.astype(dtype.categories.dtype))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return None if values.isna().all() and len(values) else _iso(values)
    if pd.api.types.is_bool_dtype(dtype):
        return values
    if pd.api.types.is_float_dtype(dtype):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        # JSON has no infinity; NaN is written as null.
        return pd.Series(np.where(np.isfinite(numbers), numbers, np.nan))
    if pd.api.types.is_numeric_dtype(dtype):
        return None if pd.api.types.is_complex_dtype(dtype) else values
    there = values.dropna()
    if dtype == object and any(
        isinstance(v, list | tuple | dict | set | bytes | np.ndarray) for v in there
    ):
        return None
    return (
        values.map(str, na_action='ignore').astype(object).where(values.notna(), None)
    )


def _iso(values: pd.Series) -> pd.Series:
    """Write times as ISO 8601 in UTC, with fractions of a second only where there are any."""

    def text(moment: Any) -> str | None:
        if pd.isna(moment):
            return None
        style = 'milliseconds' if moment.microsecond else 'seconds'
        return moment.replace(tzinfo=None).isoformat(timespec=style) + 'Z'

    moments = pd.to_datetime(values, utc=True).dt.floor('ms')
    return pd.Series([text(m) for m in moments], dtype=object)


def _name(name: str, taken: set[str]) -> str:
    """Give a field name in lower-case ASCII that is not taken yet."""
    ascii_only = (
        unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode().lower()
    )
    clean = (
        re.sub(r'[^a-z0-9_]+', '_', ascii_only).strip('_')[:_LONGEST_NAME] or 'field'
    )
    number, unique = 2, clean
    while unique in taken:
        unique = f'{clean[: _LONGEST_NAME - 3]}_{number}'
        number += 1
    return unique
