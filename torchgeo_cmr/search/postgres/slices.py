"""Slices: an archive's tables divided by source, year or month, on its own server or on others.

A slice is a pair of partitions, of patches and of vectors, each of which has its own indexes. A
slice never moves; a new one goes to the server that has fewest.
"""

from collections import Counter
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError

from .archive_tables import Entry
from .connection import SCHEMA, driver
from .other_servers import REMOTE, SliceElsewhere, check_free, slice_tables
from .sql_types import sql_name, sql_type

#: What an archive may be divided by.
DIVISIONS = ('source', 'year', 'month')
#: PostgreSQL plans slowly with more tables than that.
_MOST = 1_000
_LETTERS = {'year': 4, 'month': 7}
#: Bytes of a source: PostgreSQL keeps it in a row of its catalogue, and in an index.
_LONGEST = 1_000

_LOCAL = """
CREATE TABLE {patch} PARTITION OF {all_patch} (slice DEFAULT {value}) FOR VALUES IN ({value});
CREATE TABLE {vector} PARTITION OF {all_vector} (slice DEFAULT {value}) FOR VALUES IN ({value});
ALTER TABLE {patch} ADD PRIMARY KEY (row_number);
ALTER TABLE {vector} ADD PRIMARY KEY (row_number);
CREATE UNIQUE INDEX ON {patch} (patch_id);
"""
_FOREIGN = """
CREATE FOREIGN TABLE {patch} PARTITION OF {all_patch} (slice DEFAULT {value})
    FOR VALUES IN ({value}) SERVER {server} OPTIONS (schema_name {schema}, table_name {far_patch});
CREATE FOREIGN TABLE {vector} PARTITION OF {all_vector} (slice DEFAULT {value})
    FOR VALUES IN ({value}) SERVER {server} OPTIONS (schema_name {schema}, table_name {far_vector});
"""
#: One transaction, for which all who change what is shared there wait (:func:`.connection.lock`).
_REMOTE = """
SELECT pg_advisory_xact_lock(hashtext({ours}), hashtext(''));
CREATE EXTENSION IF NOT EXISTS postgis;
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS {schema};
"""
_REMOTE_TABLES = (
    """CREATE TABLE IF NOT EXISTS {patch} (row_number bigint PRIMARY KEY, part_key text NOT NULL,
    slice text NOT NULL, geometry public.geometry(Geometry, 4326))""",
    """CREATE TABLE IF NOT EXISTS {vector} (row_number bigint PRIMARY KEY, slice text NOT NULL,
    v public.{kind} NOT NULL)""",
)
_OWNER = 'COMMENT ON TABLE {patch} IS {owner}'
_REMOTE_ORDERS = (
    'CREATE UNIQUE INDEX IF NOT EXISTS {i0} ON {patch} (patch_id)',
    'CREATE INDEX IF NOT EXISTS {i1} ON {patch} USING gist (geometry)',
    'CREATE INDEX IF NOT EXISTS {i2} ON {patch} (part_key)',
    'CREATE INDEX IF NOT EXISTS {i3} ON {patch} ((coalesce(time_start, time_end)))',
    'CREATE INDEX IF NOT EXISTS {i4} ON {patch} ((coalesce(time_end, time_start)))',
)


def slices_of(frame: gpd.GeoDataFrame, divided: str) -> NDArray[np.object_]:
    """Give the slice of each row (n,): its source, or its year or month as in ``2024-06``.

    Rows without a source are in the slice ``''``, rows without a time in ``'undated'``.
    """
    if divided == 'source':
        return frame['source'].astype(object).fillna('').to_numpy()
    times = frame['time_start'].fillna(frame['time_end'])
    words = times.dt.strftime('%Y-%m').str[: _LETTERS[divided]]
    return words.astype(object).where(times.notna(), 'undated').to_numpy()


def tables_of_slices(
    server: Any, entry: Entry, values: NDArray[np.object_]
) -> dict[str, dict[str, Any]]:
    """Give the tables of some slices, for psycopg's ``sql``; those that are missing are made.

    Args:
        server: Connection, in the transaction of a loader, which others wait for.
        entry: The archive.
        values: Slices of rows.

    Raises:
        ArchiveError: If they become too many, or a source cannot be one.
    """
    rows = server.execute(
        'SELECT value, number, server FROM torchgeo_cmr.slice WHERE archive = %s',
        [entry.name],
    ).fetchall()
    known = {value: number for value, number, _ in rows}
    load = Counter(where for *_, where in rows)
    shards = [
        name
        for (name,) in server.execute(
            'SELECT server FROM torchgeo_cmr.shard WHERE archive = %s ORDER BY server',
            [entry.name],
        )
    ]
    wanted = sorted({*values.tolist()})
    for value in wanted:
        if value in known:
            continue
        if len(known) == _MOST:
            raise ArchiveError(
                f'the archive {entry.name!r} would have more than {_MOST} slices by {entry.divided}; '
                'divide it by year or month, which its first load decides'
            )
        _check_word(value)
        number = max(known.values(), default=0) + 1
        where = min(shards, key=lambda name: load[name]) if shards else None
        _make(server, entry, value, number, where)
        known[value] = number
        load[where] += 1
    quoted = driver().sql.Identifier
    return {
        value: dict(
            zip(
                ('patch', 'vector'),
                (quoted(SCHEMA, t) for t in slice_tables(entry.name, known[value])),
                strict=True,
            )
        )
        for value in wanted
    }


def check_new(server: Any, entry: Entry, ids: pd.Series) -> str | None:
    """Give an id of some that the archive has already; no index spans its slices."""
    sql = driver().sql
    question = 'SELECT patch_id FROM {patch} WHERE patch_id = ANY(%s::text[]) LIMIT 1'
    found = server.execute(
        sql.SQL(question).format(**entry.names), [ids.tolist()]
    ).fetchone()
    return None if found is None else found[0]


def _check_word(value: str) -> None:
    if '\0' in value or len(value.encode()) > _LONGEST:
        raise ArchiveError(
            f'the source {value!r:.40} cannot be a slice: it has more than {_LONGEST} bytes, or a NUL '
            'character; divide by year or month, which the first load decides'
        )


def _make(
    server: Any, entry: Entry, value: str, number: int, where: str | None
) -> None:
    """Make the tables of a slice, on another server first."""
    sql, tables = driver().sql, slice_tables(entry.name, number)
    words: dict[str, Any] = {
        'patch': sql.Identifier(SCHEMA, tables[0]),
        'vector': sql.Identifier(SCHEMA, tables[1]),
        'all_patch': entry.names['patch'],
        'all_vector': entry.names['vector'],
        'value': sql.Literal(value),
    }
    text = _LOCAL
    if where is not None:
        text = _FOREIGN
        shard = SliceElsewhere(server, where, tables)
        _make_elsewhere(shard, entry)
        words |= {
            'server': sql.Identifier(where),
            'schema': sql.Literal(REMOTE),
            'far_patch': sql.Literal(tables[0]),
            'far_vector': sql.Literal(tables[1]),
        }
    server.execute(sql.SQL(text).format(**words))
    server.execute(
        'INSERT INTO torchgeo_cmr.slice VALUES (%s, %s, %s, %s)',
        [entry.name, value, number, where],
    )


def _owner(server: Any, entry: Entry) -> str:
    """Name an archive as no other is named, of whatever first server."""
    found = server.execute(
        'SELECT system_identifier, oid, %s::regclass::oid FROM pg_control_system(), pg_database '
        'WHERE datname = current_database()',
        [entry.names['patch'].as_string(server)],
    ).fetchone()
    return f'torchgeo_cmr: slice of {"/".join(map(str, found))}'


def _make_elsewhere(shard: SliceElsewhere, entry: Entry) -> None:
    """Make the tables of a slice on another server; a load that was killed may have made them."""
    sql = driver().sql
    kind = sql.SQL('halfvec({})' if entry.half else 'vector({})')
    words: dict[str, Any] = {
        'schema': sql.Identifier(REMOTE),
        'ours': sql.Literal(SCHEMA),
        'patch': shard.patch,
        'vector': shard.vector,
        'kind': kind.format(sql.Literal(entry.dim)),
    }
    words |= {f'i{i}': sql.Identifier(f'{shard.tables[0]}_{i}') for i in range(5)}
    for statement in (_REMOTE, *_REMOTE_TABLES):
        shard.run(sql.SQL(statement).format(**words))
    owner = _owner(shard.server, entry)
    words['owner'] = sql.Literal(owner)
    check_free(shard, owner)
    # Columns of a load that failed may be of other types than those of this one.
    for statement in ('DROP TABLE {patch}, {vector}', *_REMOTE_TABLES, _OWNER):
        shard.run(sql.SQL(statement).format(**words))
    for field in entry.columns.schema:
        column = sql.SQL('ALTER TABLE {p} ADD COLUMN IF NOT EXISTS {c} {t}')
        if (name := sql_type(field.type)) is not None:
            shard.run(
                column.format(
                    p=shard.patch,
                    c=sql.Identifier(sql_name(field.name)),
                    t=sql.SQL(name),
                )
            )
    for statement in _REMOTE_ORDERS:
        shard.run(sql.SQL(statement).format(**words))
