"""Loading an archive folder into PostgreSQL: each part is one transaction, so it is there or not.

A part that is there with the same bytes is not loaded again, so a load that was killed goes on
where it was. A part whose file has changed replaces the former one. Several loaders of one archive
share its parts (:mod:`.part_claims`).
"""

import hashlib
import json
from collections.abc import Sequence
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.search.store.segment import to_arrow
from torchgeo_cmr.table.archive.completeness import complete_parts
from torchgeo_cmr.table.archive.folder import read_header
from torchgeo_cmr.table.archive.part_footers import Footer, reading
from torchgeo_cmr.table.archive.part_reader import read_part

from .archive_tables import Entry, find_entry, make_tables, remove_rows, widen
from .binary_rows import packed_vectors
from .connection import MOST_NUMBERS, Address, connect, driver, faults, lock
from .grants import grant
from .other_servers import add_servers, slices_elsewhere
from .part_claims import in_turn
from .slices import DIVISIONS, check_new, slices_of, tables_of_slices
from .sql_types import sql_name, sql_type, to_sql

#: Numbers in a vector that an approximate index of pgvector takes.
_INDEXED = {False: 2_000, True: 4_000}


def load_archive(
    archive: str | PathLike[str],
    address: str,
    *,
    role: str | None = None,
    half: bool = False,
    approximate: bool = False,
    prune: bool = False,
    divide: str | None = None,
    shards: Sequence[str] = (),
) -> dict[str, int]:
    """Load an archive folder into PostgreSQL with PostGIS and pgvector.

    Args:
        archive: The folder; its vectors are not packed codes.
        address: ``postgresql://user@host/database``, with ``?archive=NAME`` to keep several
            archives, such as those of several models, next to each other. The first load makes
            the schema ``torchgeo_cmr``, and both extensions if the user may.
        role: Role that may then search and not change anything; it is made if it is missing.
        half: Keep vectors at half precision, which a first load decides: half the space, and
            scores that differ in the fourth digit.
        approximate: Build pgvector's HNSW index, for searches with ``exact=False``.
        prune: Also remove parts that the folder does not have.
        divide: Divide the tables by ``'source'``, ``'year'`` or ``'month'``, which a first load decides.
        shards: ``postgresql://user@host:port/database`` of servers that new slices are put on, as the
            server of ``address`` reaches them; for an archive that is divided.

    Returns:
        Number of ``parts`` loaded, ``kept`` and ``removed``, and of ``rows`` that are there now.

    Raises:
        ArchiveError: If the folder is not an archive, does not fit the one that is there, or the
            database refuses.
        QueryError: If ``divide`` is another word, or a shard is not an address.

    Examples:
        Needs a server::

            load_archive('archive', 'postgresql://localhost/gis', role='readers')
            RetrievalIndex.open('postgresql://localhost/gis').search(...)
    """
    if divide is not None and divide not in DIVISIONS:
        raise QueryError(
            f'divide={divide!r} is not one of {", ".join(DIVISIONS)}; choose one of them'
        )
    folder, place = Path(archive), Address.read(address)
    header = _header(folder, half, approximate)
    footers = complete_parts(folder, header)
    counts = {'parts': 0, 'kept': 0, 'removed': 0}
    with connect(place) as server, faults():
        with server.transaction():
            lock(server, place.name)
            lock(server)
            entry = find_entry(server, place.name)
            if entry is None:
                make_tables(
                    server, place.name, header['dim'], half=half, divided=divide
                )
                entry = find_entry(server, place.name)
                assert entry is not None  # just made
            _check(entry, folder, header, half)
            _check_divided(entry, divide, shards)
            _check_approximate(server, entry, shards, approximate)
            add_servers(server, place.name, list(shards))
            if role is not None:
                # Before rows are there: what is refused leaves nothing.
                grant(server, entry, role)
        loaded, parts = _digests(server, entry.name), _with_digests(footers)
        missing = [part for part in parts if loaded.get(part[0]) != part[1]]
        for key, digest, part in steps(
            in_turn(server, entry.name, missing, itemgetter(0)),
            'part',
            'load',
            total=len(missing),
        ):
            # Another loader may have done it by now.
            if _digests(server, entry.name, key).get(key) != digest:
                _load_part(server, entry.name, header, part, digest)
                counts['parts'] += 1
        counts['kept'] = len(parts) - counts['parts']
        for key in sorted({*loaded} - {key for key, *_ in parts}) if prune else ():
            _prune(server, entry, key)
            counts['removed'] += 1
        with server.transaction():
            lock(server, entry.name)
            _finish(server, entry, approximate)
        total = server.execute(
            driver().sql.SQL('SELECT count(*) FROM {patch}').format(**entry.names)
        )
        return {**counts, 'rows': total.fetchone()[0]}


def _header(folder: Path, half: bool, approximate: bool) -> dict[str, Any]:
    """Read the header of an archive, and refuse one that no database takes."""
    header = read_header(folder)
    if header['metric'] != 'cosine':
        raise ArchiveError(
            f'{folder} holds packed codes, which are not loaded into a database; load the archive of '
            'vectors'
        )
    dim = header['dim']
    if dim > MOST_NUMBERS or (approximate and dim > _INDEXED[half]):
        raise ArchiveError(
            f'{folder} has vectors of {dim} numbers, more than pgvector takes ({MOST_NUMBERS}, and '
            f'{_INDEXED[half]} for an approximate index); search the folder itself'
        )
    return header


def _prune(server: Any, entry: Entry, key: str) -> None:
    with server.transaction():
        _remove(server, entry, key)
        _changed(server, entry.name)


def _check(entry: Entry, folder: Path, header: dict[str, Any], half: bool) -> None:
    """Refuse an archive of another size or space than the one that is there."""
    if entry.dim != header['dim']:
        raise ArchiveError(
            f'{folder} has vectors of {header["dim"]} numbers and the archive {entry.name!r} of the '
            f'database of {entry.dim}; load it under another name, with ?archive=NAME'
        )
    if half and not entry.half:
        raise ArchiveError(
            f'the archive {entry.name!r} of the database keeps float32 vectors; leave half out, or '
            'load it under another name, with ?archive=NAME'
        )


def _check_divided(entry: Entry, divide: str | None, shards: Sequence[str]) -> None:
    """Refuse what an archive that is divided otherwise, or not at all, cannot have."""
    if divide is not None and entry.divided != divide:
        how = f'divided by {entry.divided}' if entry.divided else 'not divided'
        raise ArchiveError(
            f'the archive {entry.name!r} of the database is {how}, which its first load decided; load it '
            'under another name, with ?archive=NAME'
        )
    if shards and entry.divided is None:
        raise ArchiveError(
            'only an archive that is divided can be on several servers; add --divide source, year or month'
        )


def _check_approximate(
    server: Any, entry: Entry, shards: Sequence[str], approximate: bool
) -> None:
    """Refuse an approximate index over several servers, named now or by an earlier load."""
    if approximate and (shards or slices_elsewhere(server, entry.name)):
        raise ArchiveError(
            'an approximate index is not built over several servers; leave approximate out'
        )


def _digests(server: Any, name: str, key: str | None = None) -> dict[str, str]:
    """Give the digests of all parts that are there by key, or of one."""
    found = server.execute(
        'SELECT key, digest FROM torchgeo_cmr.part WHERE archive = %s AND key = coalesce(%s, key)',
        [name, key],
    )
    return dict(found.fetchall())


def _with_digests(footers: Sequence[Footer]) -> list[tuple[str, str, Path]]:
    """Give key, digest and file of each part."""
    found = []
    for part, facts in steps(footers, 'part', 'compare'):
        with reading(part), part.open('rb') as file:
            digest = hashlib.file_digest(file, 'sha256').hexdigest()
        found.append((facts['key'], digest, part))
    return found


def _load_part(
    server: Any, name: str, header: dict[str, Any], part: Path, digest: str
) -> None:
    """Load one part in one transaction, in place of a former one of its key."""
    frame, vectors, facts = read_part(part, header)
    shapes = frame.geometry.to_numpy()
    columns = to_arrow(frame).drop_columns(['geometry'])
    widen(server, name, columns, header.get('record') or {})
    entry = find_entry(server, name)
    assert entry is not None  # it was made before
    tables_and_rows = _tables(server, entry, facts['key'], frame)
    # Kept at once: rows that other servers keep without this one must not have numbers of others.
    numbers = _numbers(server, entry, len(frame))
    psycopg = driver()
    try:
        with server.transaction():
            if entry.divided is not None:
                lock(server, name)
            _remove(server, entry, facts['key'])
            if entry.divided is not None:
                found = check_new(server, entry, frame['patch_id'])
                if found is not None:
                    raise _twice(part, name, found)
            for tables, among in tables_and_rows:
                kept = columns.take(among)
                _copy_patches(
                    server, tables, facts['key'], numbers[among], kept, shapes[among]
                )
                copy = psycopg.sql.SQL(
                    'COPY {vector} (row_number, v) FROM STDIN (FORMAT BINARY)'
                )
                with server.cursor().copy(copy.format(**tables)) as stream:
                    stream.write(
                        packed_vectors(numbers[among], vectors[among], half=entry.half)
                    )
            server.execute(
                'INSERT INTO torchgeo_cmr.part VALUES (%s, %s, %s, %s, %s, %s, %s)',
                [
                    name,
                    facts['key'],
                    digest,
                    len(frame),
                    None if entry.half else facts.get('content'),
                    json.dumps(facts['spaces']),
                    json.dumps(facts.get('record') or {}),
                ],
            )
            # Last, so that loaders wait for each other only while this is committed.
            _changed(server, name)
    except psycopg.errors.UniqueViolation as error:
        raise _twice(part, name, ' '.join(str(error).split())) from error


def _twice(part: Path, name: str, found: str) -> ArchiveError:
    return ArchiveError(
        f'{part} has a patch_id that is in another part of the archive {name!r} of the database '
        f'({found:.200}); remove one of them, or load this archive under another name, with '
        '?archive=NAME'
    )


def _tables(
    server: Any, entry: Entry, key: str, frame: gpd.GeoDataFrame
) -> list[tuple[dict[str, Any], NDArray[np.int64]]]:
    """Give the tables that rows go into, and which of them.

    Several servers do not commit as one. So before rows are sent, new slices are kept, and that the
    part of this key is to be loaded: what is left of a load that fails belongs to a part without a
    digest, which the next load replaces, or prunes.
    """
    if entry.divided is None:
        return [(entry.names, np.arange(len(frame)))]
    values = slices_of(frame, entry.divided)
    with server.transaction():
        lock(server, entry.name)
        tables = tables_of_slices(server, entry, values)
        server.execute(
            'INSERT INTO torchgeo_cmr.part VALUES (%s, %s, %s, 0, NULL, %s, %s) '
            'ON CONFLICT (archive, key) DO UPDATE SET digest = excluded.digest',
            [entry.name, key, '', '[]', '{}'],
        )
    return [(names, np.flatnonzero(values == v)) for v, names in tables.items()]


def _numbers(server: Any, entry: Entry, count: int) -> Any:
    """Take row numbers that no other loader takes; those of a failed load are not used."""
    found = server.execute(
        'SELECT nextval(%s::regclass) FROM generate_series(1, %s)',
        [entry.names['numbers'].as_string(server), count],
    )
    return np.fromiter((number for (number,) in found), np.int64, count)


def _copy_patches(
    server: Any,
    tables: dict[str, Any],
    key: str,
    numbers: Any,
    columns: pa.Table,
    shapes: Any,
) -> None:
    sql = driver().sql
    kept = [name for name in columns.column_names if sql_type(columns[name].type)]
    values = [to_sql(columns.column(name)) for name in kept]
    wkb = shapely.to_wkb(shapely.set_srid(shapes, 4326), hex=True, include_srid=True)
    fields = ['row_number', 'part_key', 'geometry', *map(sql_name, kept)]
    copy = sql.SQL('COPY {patch} ({fields}) FROM STDIN').format(
        fields=sql.SQL(', ').join(map(sql.Identifier, fields)), **tables
    )
    with server.cursor().copy(copy) as stream:
        for number, shape, *row in zip(numbers.tolist(), wkb, *values, strict=True):
            stream.write_row((number, key, shape, *row))


def _remove(server: Any, entry: Entry, key: str) -> None:
    remove_rows(server, entry, 'part_key = %s', [key])
    server.execute(
        'DELETE FROM torchgeo_cmr.part WHERE archive = %s AND key = %s',
        [entry.name, key],
    )


def _changed(server: Any, name: str) -> None:
    server.execute(
        'UPDATE torchgeo_cmr.archive SET changes = changes + 1 WHERE name = %s', [name]
    )


def _finish(server: Any, entry: Entry, approximate: bool) -> None:
    """Build the approximate index if it is wanted, and refresh the planner's statistics."""
    sql = driver().sql
    if approximate:
        build = 'CREATE INDEX IF NOT EXISTS {hnsw} ON {vector} USING hnsw (v {ops})'
        ops = sql.SQL('halfvec_ip_ops' if entry.half else 'vector_ip_ops')
        hnsw = sql.Identifier(f'{entry.name}_vector_hnsw')
        server.execute(sql.SQL(build).format(hnsw=hnsw, ops=ops, **entry.names))
    for table in ('patch', 'vector'):
        server.execute(sql.SQL('ANALYZE {}').format(entry.names[table]))
    for shard in slices_elsewhere(server, entry.name):
        for name in (shard.patch, shard.vector):
            shard.run(sql.SQL('ANALYZE {}').format(name))
