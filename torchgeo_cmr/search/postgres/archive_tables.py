"""The tables of an archive in PostgreSQL, and the entry that describes them.

``archive`` has one row per archive, ``part`` one per part that was loaded. An archive is a table
of patches, which a GIS shows as a layer, and a side table of its vectors, so that drawing a map
reads no wide rows. Both may be divided into slices, which :mod:`.slices` makes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.kinds import are_plain_together

from .connection import SCHEMA, Address, driver, lock
from .other_servers import slices_elsewhere
from .sql_types import sql_name, sql_type

_FORMAT = 1

_REGISTRY = """
CREATE SCHEMA IF NOT EXISTS torchgeo_cmr;
CREATE TABLE IF NOT EXISTS torchgeo_cmr.archive (
    name text PRIMARY KEY, format integer NOT NULL, dim integer NOT NULL,
    half boolean NOT NULL, record json NOT NULL, columns bytea, divided text,
    changes bigint NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS torchgeo_cmr.part (
    archive text REFERENCES torchgeo_cmr.archive, key text, digest text NOT NULL,
    rows bigint NOT NULL, content text, spaces json NOT NULL, record json NOT NULL,
    PRIMARY KEY (archive, key));
CREATE TABLE IF NOT EXISTS torchgeo_cmr.slice (
    archive text REFERENCES torchgeo_cmr.archive, value text, number integer NOT NULL, server text,
    PRIMARY KEY (archive, value));
CREATE TABLE IF NOT EXISTS torchgeo_cmr.shard (
    archive text REFERENCES torchgeo_cmr.archive, server text, address text NOT NULL,
    PRIMARY KEY (archive, server));
"""
_PATCHES = """
CREATE TABLE {patch} (
    row_number bigint NOT NULL,
    part_key text NOT NULL,{slice}
    geometry public.geometry(Geometry, 4326)){divided};
CREATE TABLE {vector} (row_number bigint NOT NULL,{slice} v {kind} NOT NULL){divided};
CREATE SEQUENCE {numbers} MINVALUE 0 START 0 OWNED BY {patch}.row_number;
CREATE INDEX ON {patch} USING gist (geometry);
CREATE INDEX ON {patch} (part_key);
"""
#: Keys, which tables that are divided cannot have as a whole.
_KEYS = """
ALTER TABLE {patch} ADD PRIMARY KEY (row_number);
ALTER TABLE {vector} ADD PRIMARY KEY (row_number);
ALTER TABLE {vector} ADD FOREIGN KEY (row_number) REFERENCES {patch} ON DELETE CASCADE;
"""


@dataclass(frozen=True)
class Entry:
    """An archive as the database describes it.

    Args:
        name: Its name.
        dim: Numbers in a vector.
        half: Whether vectors are kept at half precision.
        record: How the archive was made.
        columns: Its columns as an Arrow table without rows, with their categories.
        changes: How often it was changed.
        divided: What its tables are divided by; None if they are whole.
    """

    name: str
    dim: int
    half: bool
    record: dict[str, Any]
    columns: pa.Table
    changes: int
    divided: str | None

    @property
    def names(self) -> dict[str, Any]:
        """Identifiers of the tables, quoted, for psycopg's ``sql``."""
        return identifiers(self.name)


def identifiers(name: str) -> dict[str, Any]:
    """Give the identifiers of the tables of an archive."""
    quoted = driver().sql.Identifier
    return {
        'patch': quoted(SCHEMA, name),
        'vector': quoted(SCHEMA, f'{name}_vector'),
        'numbers': quoted(SCHEMA, f'{name}_numbers'),
    }


def find_entry(server: Any, name: str) -> Entry | None:
    """Read the entry of an archive; None if there is none.

    Raises:
        ArchiveError: If it is of a newer format.
    """
    known = server.execute("SELECT to_regclass('torchgeo_cmr.archive')").fetchone()[0]
    if known is None:
        return None
    found = server.execute(
        'SELECT format, dim, half, record, columns, changes, divided FROM torchgeo_cmr.archive '
        'WHERE name = %s',
        [name],
    ).fetchone()
    if found is None:
        return None
    version, dim, half, record, columns, changes, divided = found
    if version > _FORMAT:
        raise ArchiveError(
            f'the archive {name!r} of the database is of format {version}, this version reads '
            f'{_FORMAT}; update torchgeo_cmr'
        )
    blank = pa.table({}) if columns is None else pa.ipc.open_stream(columns).read_all()
    return Entry(name, dim, half, record, blank, changes, divided)


def read_entry(server: Any, address: Address) -> Entry:
    """Read the entry of an archive.

    Raises:
        ArchiveError: If there is none, or it has no rows yet; the message names those that are there.
    """
    entry = find_entry(server, address.name)
    if entry is not None and entry.columns.column_names:
        return entry
    if entry is not None:
        raise ArchiveError(
            f'the archive {address.name!r} of the database is being loaded for the first time and has no '
            'rows yet; wait, or load it again'
        )
    names = []
    if server.execute("SELECT to_regclass('torchgeo_cmr.archive')").fetchone()[0]:
        names = server.execute('SELECT name FROM torchgeo_cmr.archive ORDER BY name')
    found = ', '.join(name for (name,) in names) or 'none'
    raise ArchiveError(
        f'the database has no archive {address.name!r} (found: {found}); load one with torchgeo-cmr '
        'load, or name it with ?archive=NAME'
    )


def make_tables(
    server: Any, name: str, dim: int, *, half: bool, divided: str | None = None
) -> None:
    """Make the tables of an archive that is new, and the extensions that they need, under both locks."""
    sql = driver().sql
    server.execute('CREATE EXTENSION IF NOT EXISTS postgis')
    server.execute('CREATE EXTENSION IF NOT EXISTS vector')
    server.execute(_REGISTRY)
    kind = sql.SQL('halfvec({})' if half else 'vector({})').format(sql.Literal(dim))
    server.execute(
        sql.SQL(_PATCHES).format(
            kind=kind,
            slice=sql.SQL(' slice text NOT NULL,' if divided else ''),
            divided=sql.SQL(' PARTITION BY LIST (slice)' if divided else ''),
            **identifiers(name),
        )
    )
    if divided is None:
        server.execute(sql.SQL(_KEYS).format(**identifiers(name)))
    server.execute(
        'INSERT INTO torchgeo_cmr.archive (name, format, dim, half, record, divided) '
        'VALUES (%s, %s, %s, %s, %s, %s)',
        [name, _FORMAT, dim, half, '{}', divided],
    )


def widen(server: Any, name: str, columns: pa.Table, record: dict[str, Any]) -> None:
    """Give the table of an archive the columns of new rows, if it lacks any.

    Args:
        server: Connection.
        name: Name of the archive.
        columns: Columns of new rows, of which only types and categories matter.
        record: The record of the archive.

    Raises:
        ArchiveError: If a column holds another type in the new rows.
    """
    entry = find_entry(server, name)
    assert entry is not None  # it was made before
    if entry.record == record and _alike(_united(entry, columns), entry.columns):
        return
    with server.transaction():
        lock(server, name)
        entry = find_entry(server, name)
        assert entry is not None  # as above
        blank = _united(entry, columns)
        alter(server, entry, blank.schema)
        server.execute(
            'UPDATE torchgeo_cmr.archive SET columns = %s, record = %s, changes = changes + 1 '
            'WHERE name = %s',
            [_stream(blank), json.dumps(record), name],
        )


def remove_rows(
    server: Any, entry: Entry, condition: str, values: list[Any]
) -> list[tuple[str, str]]:
    """Remove rows and their vectors; give the ids of their patches and the keys of their parts."""
    sql = driver().sql
    delete = f'DELETE FROM {{patch}} WHERE {condition} RETURNING row_number, patch_id, part_key'
    found = server.execute(sql.SQL(delete).format(**entry.names), values).fetchall()
    if entry.divided is not None:  # else a key of the table of vectors does it
        delete = 'DELETE FROM {vector} WHERE row_number = ANY(%s::bigint[])'
        numbers = [number for number, *_ in found]
        server.execute(sql.SQL(delete).format(**entry.names), [numbers])
    return [(name, key) for _, name, key in found]


def _united(entry: Entry, columns: pa.Table) -> pa.Table:
    """Give the columns of an archive and of new rows, without rows.

    Categories are kept, those of both, where both have them; with plain values they are plain.
    """
    tables = entry.columns, columns
    try:
        kept = pa.unify_schemas(
            [_plain(table.schema) for table in tables], promote_options='permissive'
        )
    except pa.ArrowException as error:
        raise ArchiveError(
            f'the archive {entry.name!r} has columns of another kind ({error}); load this one under '
            'another name'
        ) from error
    made: dict[str, pa.Array] = {}
    for field in kept:
        found = [t.column(field.name) for t in tables if field.name in t.column_names]
        known = [column for column in found if pa.types.is_dictionary(column.type)]
        plain = not known or are_plain_together(column.type for column in found)
        empty = pa.array([], field.type)
        made[field.name] = empty if plain else _categories(known, empty)
    return pa.table(made)


def _alike(first: pa.Table, second: pa.Table) -> bool:
    """Say whether two tables without rows have the same columns and categories.

    Arrow compares rows, so categories that no row has do not count for it.
    """
    return first.schema.equals(second.schema) and all(
        left.chunk(0).dictionary.equals(right.chunk(0).dictionary)
        for left, right in zip(first.columns, second.columns, strict=True)
        if pa.types.is_dictionary(left.type)
    )


def _plain(schema: pa.Schema) -> pa.Schema:
    """Give a schema with the types of values in place of categories."""
    return pa.schema(
        [
            (f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type)
            for f in schema
        ]
    )


def alter(server: Any, entry: Entry, schema: pa.Schema) -> None:
    """Add columns, and widen those whose type has become wider, on other servers first."""
    changes = []
    for field in schema:
        i = entry.columns.schema.get_field_index(field.name)
        old = None if i < 0 else sql_type(entry.columns.schema.field(i).type)
        new = sql_type(field.type)
        if new is not None and new != old:
            changes.append((sql_name(field.name), new, old is None))
    sql, remote = driver().sql, slices_elsewhere(server, entry.name)
    for column, kind, added in changes:
        verb = 'ADD COLUMN {c} {t}' if added else 'ALTER COLUMN {c} TYPE {t}'
        change = sql.SQL(f'ALTER TABLE {{p}} {verb}')
        # What a load that failed has added there may be of another type; it holds nothing.
        anew = sql.SQL('ALTER TABLE {p} DROP COLUMN IF EXISTS {c}, ADD COLUMN {c} {t}')
        words = {'c': sql.Identifier(column), 't': sql.SQL(kind)}
        for shard in remote:
            shard.run((anew if added else change).format(p=shard.patch, **words))
        server.execute(change.format(p=entry.names['patch'], **words))
    if not entry.columns.column_names:
        orders = _ORDERS if entry.divided else _ORDERS + _UNIQUE
        server.execute(sql.SQL(orders).format(**entry.names))


_ORDERS = """
CREATE INDEX ON {patch} ((coalesce(time_start, time_end)));
CREATE INDEX ON {patch} ((coalesce(time_end, time_start)));
"""
_UNIQUE = 'CREATE UNIQUE INDEX ON {patch} (patch_id);'


def _categories(columns: Sequence[pa.ChunkedArray], empty: pa.Array) -> pa.Array:
    """Give a column without rows that has the categories of all columns, the first ones in front."""
    words = [
        part.dictionary.cast(empty.type) for column in columns for part in column.chunks
    ]
    distinct = pa.chunked_array([empty, *words]).unique()
    width = max(column.type.index_type.bit_width for column in columns)
    while len(distinct) > 2 ** (width - 1):
        width *= 2
    codes = pa.array(
        [], {8: pa.int8(), 16: pa.int16(), 32: pa.int32()}.get(width, pa.int64())
    )
    ordered = all(column.type.ordered for column in columns)
    return pa.DictionaryArray.from_arrays(codes, distinct, ordered=ordered)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in _batches(table):
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _batches(table: pa.Table) -> list[pa.RecordBatch]:
    """Give one batch without rows, which carries the categories; tables give none."""
    columns = [
        column.chunk(0) if column.num_chunks else pa.array([], column.type)
        for column in table.columns
    ]
    return [pa.RecordBatch.from_arrays(columns, schema=table.schema)]
