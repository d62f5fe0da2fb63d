"""GeoJSON according to RFC 7946: the format every map reads.

What GeoJSON cannot carry: a schema for zero rows, a CRS other than EPSG:4326, several layers,
an index. Beyond ten thousand rows it is the wrong format, and a warning recommends a
GeoPackage.
"""

import logging
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa

from torchgeo_cmr.drafts import check_new
from torchgeo_cmr.export.layers.arrow_batches import description, save, stream
from torchgeo_cmr.export.layers.extent import label_scale
from torchgeo_cmr.export.layers.fields import fields, is_result, with_both_times
from torchgeo_cmr.export.layers.layer_outlines import check_layer, kind_of
from torchgeo_cmr.export.new_file import new_file, together
from torchgeo_cmr.export.styles.style import results_style, write_qml
from torchgeo_cmr.search.results import check_result
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84

#: Rows beyond which it is the wrong format.
_MANY = 10_000
_LOG = logging.getLogger(__name__)
_TIMES = ('time_start', 'time_end')


@together()
def to_geojson(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a layer as GeoJSON (RFC 7946), and for results its style as ``.qml`` next to it.

    EPSG:4326 without a ``crs`` member, seven decimals, outer rings counter-clockwise, cut at
    the antimeridian, edges divided into eight. Times become ISO 8601 text in UTC, which QGIS
    and GDAL read back as date-time fields; a time column without any value is dropped,
    because it would come back as text, and the style then leaves QGIS' time slider alone.
    Columns keep their names. Lists, arrays and bytes are dropped. Zero rows give a valid empty
    collection, which has no fields.

    Args:
        results: What a search gave, or any GeoDataFrame with a CRS (queries, an area); only
            the former gets a style.
        path: File to write.
        queries: Not written: GeoJSON holds one layer. Call again with the queries.
        area: Not written, for the same reason.
        record: Not written; taken so that all writers are called in the same way.
        overwrite: Replace files that are there.

    Returns:
        The path.

    Raises:
        QueryError: If the frame has no CRS or a geometry cannot be expressed in EPSG:4326.
        OutputExistsError: If a file is there and ``overwrite`` is False.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> import tempfile
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> folder = tempfile.TemporaryDirectory()
        >>> hits = RetrievalIndex(table).search(table.select([0]), 2)
        >>> to_geojson(hits, f'{folder.name}/hits.geojson').name
        'hits.geojson'
        >>> folder.cleanup()
    """
    check_layer(results)
    styled = is_result(results) and len(results) > 0
    if styled:
        check_result(results)
        kind = kind_of(results.geometry.to_numpy(), 'results')
        check_new(Path(path).with_suffix('.qml'), overwrite=overwrite)
    if len(results) > _MANY:
        _LOG.warning(
            '%s holds %d rows, and every reader takes it whole: write a GeoPackage (.gpkg)',
            path,
            len(results),
        )
    results = with_both_times(results)
    columns = fields(results)
    empty = [
        f
        for f in columns
        if pa.types.is_timestamp(f.kind) and results[f.column].isna().all()
    ]
    columns = [f for f in columns if f not in empty]
    with new_file(path, overwrite=overwrite) as temporary:
        save(
            stream(results, columns, text_times=True),
            temporary,
            driver='GeoJSON',
            geometry_type='Unknown',
            crs=WGS84.to_wkt(),
            # This also limits coordinates to seven decimals.
            layer_options={
                'RFC7946': 'YES',
                'WRITE_NAME': 'NO',
                **description(columns),
            },
        )
    if styled:
        ends = results['score'].agg(['min', 'max']).tolist()
        timed = not {f.column for f in empty} & set(_TIMES)
        write_qml(
            results_style(ends, kind=kind, timed=timed, scale=label_scale(results)),
            path,
            overwrite=overwrite,
        )
    return Path(path)
