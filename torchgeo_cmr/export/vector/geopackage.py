"""GeoPackage: a whole search in one file that QGIS opens finished.

Layers ``query``, ``results`` and ``area_of_interest`` with their styles, and the record of
the search as JSON in ``gpkg_metadata``, the table that the GeoPackage standard has for it.
"""

import datetime
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import pandas as pd
import pyarrow as pa
from pyproj import CRS

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.arrow_batches import GEOMETRY, save, stream
from torchgeo_cmr.export.layers.extent import label_scale
from torchgeo_cmr.export.layers.fields import (
    Field,
    fields,
    is_result,
    renamed,
    with_both_times,
)
from torchgeo_cmr.export.layers.layer_outlines import check_layer, kind_of, layer_crs
from torchgeo_cmr.export.layers.links import link_stream
from torchgeo_cmr.export.layers.search_area import area_layer, area_of_interest
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.export.record.record import record_text
from torchgeo_cmr.export.record.saved_search import RECORD_URI, RENAMED
from torchgeo_cmr.export.styles.style import plain_style, results_style
from torchgeo_cmr.search.results import check_result
from torchgeo_cmr.table import EmbeddingTable

#: Fields of ``results`` in their order; the archive's own follow.
RESULT_FIELDS = (
    'rank',
    'score',
    'query_id',
    'patch_id',
    'modality',
    'source',
    'time_start',
    'time_end',
    'src_crs',
    'exact',
    'relevant',
)
#: Fields of ``query``.
QUERY_FIELDS = ('query_id', 'kind', 'modality', 'source', 'time_start', 'time_end')

_TAKEN = ('fid', GEOMETRY)
_STYLES = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME
);
INSERT INTO gpkg_contents (table_name, data_type, identifier, description, srs_id)
VALUES ('layer_styles', 'attributes', 'layer_styles', '', 0);
"""
#: The Metadata extension of GeoPackage 1.3, table for table.
_METADATA = """
CREATE TABLE IF NOT EXISTS gpkg_metadata (
    id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL,
    md_scope TEXT NOT NULL DEFAULT 'dataset',
    md_standard_uri TEXT NOT NULL,
    mime_type TEXT NOT NULL DEFAULT 'text/xml',
    metadata TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS gpkg_metadata_reference (
    reference_scope TEXT NOT NULL,
    table_name TEXT,
    column_name TEXT,
    row_id_value INTEGER,
    timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
    md_file_id INTEGER NOT NULL,
    md_parent_id INTEGER,
    CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id),
    CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id)
);
"""
_EXTENSIONS = """
CREATE TABLE IF NOT EXISTS gpkg_extensions (
    table_name TEXT,
    column_name TEXT,
    extension_name TEXT NOT NULL,
    definition TEXT NOT NULL,
    scope TEXT NOT NULL,
    CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name)
);
"""
#: The Schema extension, as its standard defines it.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS gpkg_data_columns (
    table_name TEXT NOT NULL,
    column_name TEXT NOT NULL,
    name TEXT,
    title TEXT,
    description TEXT,
    mime_type TEXT,
    constraint_name TEXT,
    CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name),
    CONSTRAINT gdc_tn UNIQUE (table_name, name)
);
CREATE TABLE IF NOT EXISTS gpkg_data_column_constraints (
    constraint_name TEXT NOT NULL,
    constraint_type TEXT NOT NULL,
    value TEXT,
    min NUMERIC,
    min_is_inclusive BOOLEAN,
    max NUMERIC,
    max_is_inclusive BOOLEAN,
    description TEXT,
    CONSTRAINT gdcc_ntv UNIQUE (constraint_name, constraint_type, value)
);
"""
_SCHEMA_EXTENSION = 'http://www.geopackage.org/spec130/#extension_schema'
_EXTENSION = 'http://www.geopackage.org/spec130/#extension_metadata'


class Layer(NamedTuple):
    """A layer that was written: its name, its style, and what its columns are called."""

    name: str
    style: str
    fields: Sequence[Field] = ()


def to_geopackage(
    results: gpd.GeoDataFrame,
    path: str | PathLike[str],
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    links: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a search as a GeoPackage 1.3 with styles, the default for QGIS.

    Layers come in the order ``query``, ``results``, ``area_of_interest``, ``links``; one
    whose argument is missing is not written. They are in EPSG:4326, cut at the antimeridian,
    edges divided into eight; footprints at a pole stay in the polar CRS of their source.
    Times are UTC. Columns keep their names, but for those that SQLite takes for the same
    (``fid``, ``geom``, names that differ in case only); these get a number, and QGIS shows
    the name they had. Results are written in batches, so a million of them need little memory.
    :func:`~torchgeo_cmr.export.read_search` reads the file back.

    Args:
        results: What a search gave. Any other GeoDataFrame with a CRS becomes one layer
            ``footprints``.
        path: File to write.
        queries: The queries: a table, or a GeoDataFrame with ``patch_id`` or
            ``query_id``. A column ``kind`` holds image, patch, location, text, audio or table;
            without it queries are patches. A query without a place may have no geometry.
        area: The searched area: a ``Where``, a geometry in EPSG:4326, a GeoDataFrame.
        record: How the search was made; must be JSON-able.
        links: Add a layer of lines from each query to its hits.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If a layer has no CRS, mixes kinds of geometry or cannot be drawn, the
            record is not JSON-able, or ``links`` is requested without queries.
        OutputExistsError: If the file is there and ``overwrite`` is False.

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
        >>> path = to_geopackage(
        ...     hits, f'{folder.name}/hits.gpkg', queries=table.select([0])
        ... )
        >>> gpd.list_layers(path)['name'].tolist()
        ['query', 'results', 'layer_styles']
        >>> folder.cleanup()
    """
    check_layer(results)
    hits = is_result(results)
    if hits:
        check_result(results)
    if links and (queries is None or not hits):
        raise QueryError('links join queries to hits; give the queries of the search')
    record_json = None if record is None else record_text(record)
    query_frame = None if queries is None else query_layer(queries)
    where = area_of_interest(area)
    crs = layer_crs(results)
    with new_file(path, overwrite=overwrite) as temporary:
        layers = (
            []
            if query_frame is None
            else [_write(query_frame, temporary, 'query', QUERY_FIELDS)]
        )
        name, first = ('results', RESULT_FIELDS) if hits else ('footprints', ())
        layers.append(_write(results, temporary, name, first, crs))
        if where is not None:
            layers.append(_write(area_layer(where, crs), temporary, 'area_of_interest'))
        if links and query_frame is not None:
            lines = link_stream(results, query_frame, crs)
            _append(lines, temporary, 'links', 'LineString', crs)
            layers.append(Layer('links', plain_style('links', kind='LineString')))
        with closing(sqlite3.connect(temporary)) as db:
            # The draft is flushed as a whole before it gets its name: none of the transactions below has
            # to reach the disk on its own.
            db.executescript('PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY')
            _add_styles(db, layers)
            _add_names(db, layers)
            if record_json is not None:
                _add_record(db, record_json)
    return Path(path)


def query_layer(queries: gpd.GeoDataFrame | EmbeddingTable) -> gpd.GeoDataFrame:
    """Give queries the columns of the layer ``query``.

    Args:
        queries: A table, or a GeoDataFrame with a CRS and ``patch_id`` or, of a saved search, ``query_id``.

    Returns:
        A copy with :data:`QUERY_FIELDS`, what native corners need, and the geometry.

    Raises:
        QueryError: If it is not a layer or does not identify the query of each row.
    """
    frame = queries.frame if isinstance(queries, EmbeddingTable) else queries
    check_layer(frame)
    # A table may have a query_id of its own, which names no query of this search.
    id_column = next((name for name in ('patch_id', 'query_id') if name in frame), None)
    if id_column is None:
        raise QueryError('the queries have no query_id or patch_id; give each a name')
    columns = {'query_id': frame[id_column]}
    for name in (*QUERY_FIELDS[1:], 'src_crs', 'native_corners'):
        columns[name] = (
            frame[name]
            if name in frame
            else pd.Series(
                ['patch' if name == 'kind' else None] * len(frame), index=frame.index
            )
        )
    return gpd.GeoDataFrame(columns, geometry=frame.geometry, crs=frame.crs)


def _write(
    frame: gpd.GeoDataFrame,
    path: Path,
    name: str,
    first: Sequence[str] = (),
    crs: CRS | None = None,
) -> Layer:
    """Append a layer to the file."""
    crs = layer_crs(frame) if crs is None else crs
    frame = with_both_times(frame)
    kind = kind_of(frame.geometry.to_numpy(), name)
    columns = fields(frame, first, _TAKEN)
    if name == 'query':
        columns = [f for f in columns if f.column in QUERY_FIELDS]
    _append(stream(frame, columns, crs=crs, multi=kind), path, name, kind, crs)
    if name == 'results':
        ends = frame['score'].agg(['min', 'max']).tolist() if len(frame) else []
        style = results_style(ends, kind=kind, scale=label_scale(frame))
        return Layer(name, style, columns)
    return Layer(name, plain_style(name, kind=kind), columns)


def _append(
    batches: pa.RecordBatchReader, path: Path, name: str, kind: str, crs: CRS
) -> None:
    save(
        batches,
        path,
        layer=name,
        driver='GPKG',
        geometry_type=f'Multi{kind}',
        crs=crs.to_wkt(),
        # Newer versions make the GDAL of old QGIS warn. An existing file keeps its own.
        dataset_options=None if path.exists() else {'VERSION': '1.3'},
        layer_options={'GEOMETRY_NAME': GEOMETRY},
    )


def _add_styles(db: sqlite3.Connection, layers: Sequence[Layer]) -> None:
    """Embed a default style for each layer."""
    now = datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%dT%H:%M:%S.000Z')
    db.executescript(_STYLES)
    db.executemany(
        'INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, '
        'f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, '
        "owner, ui, update_time) VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '', NULL, ?)",
        [
            (
                layer.name,
                GEOMETRY,
                layer.name,
                layer.style,
                f'torchgeo_cmr: {layer.name}',
                now,
            )
            for layer in layers
        ],
    )
    db.commit()


def _add_names(db: sqlite3.Connection, layers: Sequence[Layer]) -> None:
    """Store the names that columns had, where the format did not take them.

    QGIS shows them as aliases.
    """
    rows = [
        (layer.name, name, original, original, RENAMED)
        for layer in layers
        for name, original in renamed(layer.fields).items()
    ]
    if not rows:
        return
    db.executescript(_EXTENSIONS + _SCHEMA)
    db.executemany(
        'INSERT OR IGNORE INTO gpkg_extensions VALUES (?, NULL, ?, ?, ?)',
        [
            (table, 'gpkg_schema', _SCHEMA_EXTENSION, 'read-write')
            for table in ('gpkg_data_columns', 'gpkg_data_column_constraints')
        ],
    )
    db.executemany(
        'INSERT INTO gpkg_data_columns (table_name, column_name, name, title, description) '
        'VALUES (?, ?, ?, ?, ?)',
        rows,
    )
    db.commit()


def _add_record(db: sqlite3.Connection, record: str) -> None:
    """Store the record of the search as metadata of the whole file."""
    db.executescript(_EXTENSIONS + _METADATA)
    db.executemany(
        'INSERT OR IGNORE INTO gpkg_extensions VALUES (?, NULL, ?, ?, ?)',
        [
            (table, 'gpkg_metadata', _EXTENSION, 'read-write')
            for table in ('gpkg_metadata', 'gpkg_metadata_reference')
        ],
    )
    cursor = db.execute(
        'INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata) '
        "VALUES ('dataset', ?, 'application/json', ?)",
        (RECORD_URI, record),
    )
    db.execute(
        'INSERT INTO gpkg_metadata_reference (reference_scope, md_file_id) '
        "VALUES ('geopackage', ?)",
        (cursor.lastrowid,),
    )
    db.commit()
