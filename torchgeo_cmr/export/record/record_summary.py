"""Summary of the record of a search: how it was made, without the rows and the scenes."""

import shlex
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import QueryError

from .manifest import read_manifest
from .saved_search import read_record_of


def describe_manifest(path: str | PathLike[str]) -> dict[str, Any]:
    """Say which search a manifest repeats.

    Args:
        path: File that a search wrote next to its results.

    Returns:
        JSON-able: ``kind``, ``path``, what :func:`describe_record` gives, ``bytes``.

    Raises:
        QueryError: If it is not a manifest.
    """
    facts = describe_record(read_manifest(path))
    size = Path(path).stat().st_size
    return {'kind': 'manifest', 'path': str(path), **facts, 'bytes': size}


def saved_record(path: str | PathLike[str]) -> dict[str, Any]:
    """Give the summary of the search that a layer is the result of; empty if none is recorded.

    Args:
        path: Vector file.
    """
    try:
        record = read_record_of(Path(path))
    except QueryError:  # of another program, or damaged, which check tells
        return {}
    return describe_record(record) if record else {}


def describe_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Say how a search was made.

    Args:
        record: What :func:`~torchgeo_cmr.export.make_record` gave.

    Returns:
        JSON-able: ``command``, ``queries`` (their number), ``asked`` (how they were named),
        ``archives`` (name -> rows), ``filters``, ``options``, ``k``, ``space``, ``hits`` and
        ``written_by``; those that are recorded.
    """
    command = record.get('command')
    query, rows = record.get('query') or {}, record.get('rows') or {}
    filters = record.get('filters') or {}
    found = {
        'command': shlex.join(command) if command else None,
        'queries': query.get('count'),
        'asked': query.get('asked'),
        'archives': {a['name']: a['rows'] for a in record.get('archives') or ()},
        # The area as it was given says the same as the one that it became.
        'filters': {n: f for n, f in filters.items() if n != 'area' and f is not None},
        'options': record.get('options'),
        'k': record.get('k'),
        'space': record.get('space'),
        'hits': rows.get('count'),
        'written_by': (record.get('versions') or {}).get('torchgeo_cmr'),
    }
    return {name: fact for name, fact in found.items() if fact not in (None, {}, [])}
