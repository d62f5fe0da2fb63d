"""What an archive in PostgreSQL is, and whether its rows are those that were loaded."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from torchgeo_cmr.errors import ArchiveError, Finding
from torchgeo_cmr.table.provenance import Content, row_digests

from .server_index import ServerIndex
from .server_part import ServerPart

_CURE = 'remove the part from the database (load --prune without its file) and load it again'


def describe_server(address: str) -> dict[str, Any]:
    """Say what an archive in PostgreSQL holds; no vector is read.

    Args:
        address: ``postgresql://...``, with ``?archive=NAME`` if it is not ``patch``.

    Returns:
        JSON-able: ``kind``, ``archive`` (its name), ``rows``, ``dim``, ``half`` (whether vectors
        are kept at half precision), ``spaces``, ``divided``, ``slices`` and ``servers`` of
        these, ``approximate``, ``parts``, ``bytes`` on the first server, and ``record`` without its
        sources.

    Raises:
        ArchiveError: If the server does not answer, or has no such archive.
    """
    index = ServerIndex(address)
    with index._moment():
        part = _part(index)
        entry, run = part.server.entry, part.server.run
        slices, servers = run(
            'SELECT count(*), count(DISTINCT server) FROM torchgeo_cmr.slice WHERE archive = %s',
            [entry.name],
        ).fetchone()
        (parts,) = run(
            "SELECT count(*) FROM torchgeo_cmr.part WHERE archive = %s AND digest <> ''",
            [entry.name],
        ).fetchone()
        # A divided table is the sum of its partitions; one that is whole has no such tree.
        tables = [entry.names[n].as_string(index._server) for n in ('patch', 'vector')]
        (size,) = run(
            'SELECT sum(pg_total_relation_size(relid))::bigint FROM '
            '(SELECT unnest(%s::regclass[]) AS relid UNION '
            'SELECT (pg_partition_tree(unnest(%s::regclass[]))).relid) AS tree',
            [tables, tables],
        ).fetchone()
        return {
            'kind': 'archive in PostgreSQL',
            'archive': entry.name,
            'rows': len(index),
            'dim': entry.dim,
            'half': entry.half,
            'spaces': list(index.spaces),
            'divided': entry.divided,
            'slices': slices,
            'servers': servers,
            'approximate': [each.kind for each in index._state.approximate[0]],
            'parts': parts,
            'bytes': size,
            'record': {n: f for n, f in index.record.items() if n != 'sources'},
        }


def verify_server(address: str) -> Iterator[Finding]:
    """Read every row of an archive in PostgreSQL and compare it with what was loaded.

    A part of which rows were deleted since, or that is kept at half precision, is counted only.

    Args:
        address: As for :func:`describe_server`.

    Yields:
        One finding per part, and one for rows that belong to none.
    """
    index = ServerIndex(address)
    with index._moment():
        part = _part(index)
        run, name = part.server.run, part.server.entry.name
        known = run(
            'SELECT key, rows, content FROM torchgeo_cmr.part WHERE archive = %s ORDER BY key',
            [name],
        ).fetchall()
        for key, rows, content in known:
            fault = _fault(part, key, rows, content)
            yield Finding(f'{name}/{key}', fault, _CURE if fault else '')
        (lost,) = run(
            'SELECT count(*) FROM {patch} WHERE NOT (part_key = ANY(%s::text[]))',
            [[key for key, *_ in known]],
        ).fetchone()
        if lost:
            yield Finding(
                f'{name}/', f'{lost} rows belong to no part', 'load the archive again'
            )


def _part(index: ServerIndex) -> ServerPart:
    (part,) = index._state.parts
    assert isinstance(part, ServerPart)
    return part


def _fault(part: ServerPart, key: str, rows: int, content: str | None) -> str:
    """Say what is wrong with a part, empty if nothing is."""
    found = part.server.run(
        'SELECT row_number FROM {patch} WHERE part_key = %s ORDER BY row_number', [key]
    ).fetchall()
    numbers = np.array(found, dtype=np.int64).reshape(-1)
    if len(numbers) > rows or (content and len(numbers) < rows):
        return f'it has {len(numbers)} rows, and {rows} were loaded'
    try:
        vectors = part.server.vectors(numbers)
    except ArchiveError as error:
        return str(error)
    if content is None:
        return ''
    ids = part.server.arrow(numbers, ['patch_id']).column('patch_id').to_pylist()
    if Content.of(row_digests(ids, vectors)).value != int(content, 16):
        return 'vectors and ids are not those that were loaded'
    return ''
