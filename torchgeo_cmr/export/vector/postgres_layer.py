"""Results as a table of PostgreSQL, which a GIS shows live and opens with its style.

A table is written in one transaction: who looks at it meanwhile sees the former results. Its style
lies in ``layer_styles``, the table that QGIS itself keeps styles in.
"""

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import pyarrow as pa

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export.layers.arrow_batches import GEOMETRY, stream
from torchgeo_cmr.export.layers.extent import label_scale
from torchgeo_cmr.export.layers.fields import fields, with_both_times
from torchgeo_cmr.export.layers.layer_outlines import kind_of
from torchgeo_cmr.export.record.record import record_text
from torchgeo_cmr.export.styles.style import results_style
from torchgeo_cmr.search.postgres.connection import (
    Address,
    connect,
    driver,
    faults,
    lock,
)
from torchgeo_cmr.search.postgres.sql_types import SYSTEM_COLUMNS, sql_type, to_sql
from torchgeo_cmr.search.results import check_result
from torchgeo_cmr.table import EmbeddingTable

from .geopackage import RESULT_FIELDS

#: What the comment of a table of ours begins with; the record of the search follows.
_OURS = 'torchgeo_cmr: results'
_STYLES = """
CREATE TABLE IF NOT EXISTS public.layer_styles (
    id serial PRIMARY KEY, f_table_catalog varchar, f_table_schema varchar, f_table_name varchar,
    f_geometry_column varchar, stylename text, styleqml xml, stylesld xml, useasdefault boolean,
    description text, owner varchar(63) DEFAULT CURRENT_USER, ui xml,
    update_time timestamp DEFAULT CURRENT_TIMESTAMP, type varchar);
"""


def to_postgres(
    results: gpd.GeoDataFrame,
    address: str,
    *,
    queries: gpd.GeoDataFrame | EmbeddingTable | None = None,
    area: Any = None,
    record: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> str:
    """Write results as a table of a database with PostGIS, with a style for QGIS.

    Outlines are in EPSG:4326, cut at the antimeridian. The record of the search is the comment of the
    table. A layer that QGIS shows of it has the new results as soon as it is drawn again.

    Args:
        results: What a search gave.
        address: ``postgresql://user@host/database?table=NAME``; the schema is ``public``.
        queries: Not used: a table is one layer.
        area: Not used.
        record: How the search was made; must be JSON-able.
        overwrite: Replace the results of a table of that name; any other table is refused.

    Returns:
        Name of the table.

    Raises:
        QueryError: If the address names no table, or it is not the result of a search.
        OutputExistsError: If a table is there and ``overwrite`` is False, or it is not of results.
        ArchiveError: If the database refuses.

    Examples:
        Needs a server::

            to_postgres(hits, 'postgresql://localhost/gis?table=hits')
    """
    check_result(results)
    place = Address.read(address)
    table = check_table(place)
    frame = with_both_times(results)
    kind = kind_of(frame.geometry.to_numpy(), table)
    columns = fields(frame, RESULT_FIELDS, ('fid', GEOMETRY, *SYSTEM_COLUMNS))
    comment = f'{_OURS}\n{"" if record is None else record_text(record)}'
    ends = frame['score'].agg(['min', 'max']).tolist() if len(frame) else []
    style = results_style(ends, kind=kind, scale=label_scale(frame))
    with connect(place) as server, faults(), server.transaction():
        lock(server)
        server.execute('CREATE EXTENSION IF NOT EXISTS postgis')
        batches = stream(frame, columns, multi=kind)
        _make(server, table, batches.schema, f'Multi{kind}', overwrite)
        _fill(server, table, batches)
        sql = driver().sql
        words = {'t': sql.Identifier('public', table), 'c': sql.Literal(comment)}
        server.execute(sql.SQL('COMMENT ON TABLE {t} IS {c}').format(**words))
        _add_style(server, table, style)
    return table


def check_table(place: Address) -> str:
    """Give the table that an address names.

    Raises:
        QueryError: If it names none.
    """
    if not place.table:
        raise QueryError(
            'the address of a database names no table for results; add ?table=NAME (or &table=NAME)'
        )
    return place.table


def _make(
    server: Any, table: str, schema: pa.Schema, kind: str, overwrite: bool
) -> None:
    """Make the table; one that has the same columns is emptied, so that rights on it stay."""
    sql = driver().sql
    name = sql.Identifier('public', table)
    comment = server.execute(
        'SELECT relkind, obj_description(c.oid) FROM pg_class c JOIN pg_namespace n '
        "ON n.oid = relnamespace WHERE nspname = 'public' AND relname = %s",
        [table],
    ).fetchone()
    if comment is not None:
        if not overwrite:
            raise OutputExistsError(
                f'the database has a table {table!r}; choose another name, or overwrite it'
            )
        if comment[0] != 'r' or not (comment[1] or '').startswith(_OURS):
            raise OutputExistsError(
                f'the table {table!r} of the database is not one of results; choose another name'
            )
    columns = [(f.name, sql_type(f.type) or 'text') for f in schema][:-1]
    wanted = [*columns, (GEOMETRY, f'geometry({kind},4326)')]
    if comment is not None:
        found = server.execute(
            'SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute '
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'fid' "
            'ORDER BY attnum',
            [name.as_string(server)],
        ).fetchall()
        long = {'timestamptz': 'timestamp with time zone'}
        if found == [(n, long.get(t, t)) for n, t in wanted]:
            server.execute(sql.SQL('DELETE FROM {}').format(name))
            return
        server.execute(sql.SQL('DROP TABLE {}').format(name))
    listed = [sql.SQL('{} {}').format(sql.Identifier(n), sql.SQL(t)) for n, t in wanted]
    statement = sql.SQL('CREATE TABLE {t} (fid serial PRIMARY KEY, {c})').format(
        t=name, c=sql.SQL(', ').join(listed)
    )
    server.execute(statement)
    server.execute(
        sql.SQL('CREATE INDEX ON {} USING gist ({})').format(
            name, sql.Identifier(GEOMETRY)
        )
    )


def _fill(server: Any, table: str, batches: pa.RecordBatchReader) -> None:
    sql = driver().sql
    names = [*batches.schema.names[:-1], GEOMETRY]
    copy = sql.SQL('COPY {t} ({c}) FROM STDIN').format(
        t=sql.Identifier('public', table),
        c=sql.SQL(', ').join(map(sql.Identifier, names)),
    )
    with server.cursor().copy(copy) as stream_in:
        for batch in batches:
            content = pa.Table.from_batches([batch])
            values = [to_sql(column) for column in content.columns[:-1]]
            shapes = [None if s is None else s.hex() for s in content[-1].to_pylist()]
            for row in zip(*values, shapes, strict=True):
                stream_in.write_row(row)


def _add_style(server: Any, table: str, style: str) -> None:
    """Keep a style where QGIS looks for it, in place of our former one of this table."""
    server.execute(_STYLES)
    key = ['public', table, GEOMETRY, _OURS]
    server.execute(
        'DELETE FROM public.layer_styles WHERE f_table_catalog = current_database() '
        'AND f_table_schema = %s AND f_table_name = %s AND f_geometry_column = %s '
        'AND description = %s',
        key,
    )
    server.execute(
        'INSERT INTO public.layer_styles (f_table_catalog, f_table_schema, f_table_name, '
        'f_geometry_column, description, stylename, styleqml, useasdefault) '
        'VALUES (current_database(), %s, %s, %s, %s, %s, XMLPARSE(DOCUMENT %s), true)',
        [*key, table, style],
    )
