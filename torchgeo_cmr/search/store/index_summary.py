"""Summary of an index on disk, from its header."""

from os import PathLike
from pathlib import Path
from typing import Any

from .index_files import HEADER, count_deleted, read_header


def describe_index(path: str | PathLike[str]) -> dict[str, Any]:
    """Say what an index folder holds; nothing is mapped.

    Args:
        path: Folder that :meth:`RetrievalIndex.build` or ``save`` wrote.

    Returns:
        JSON-able: ``kind``, ``path``, ``version``, ``rows`` (deleted ones included), ``deleted``,
        ``dim``, ``metric``, ``spaces``, ``vectors`` (what a scan reads), ``approximate``
        (kinds that were built), ``parts`` (rows that came together), ``archive``
        (fingerprint of what it was built from), ``bytes`` and ``record`` without its sources.

    Raises:
        ArchiveError: If the folder is not an index, is broken or of a newer format.
    """
    folder = Path(path)
    header = read_header(folder)
    parts = header['segments']
    record = header.get('record') or {}
    return {
        'kind': 'index',
        'path': str(folder),
        'version': header['version'],
        'rows': sum(part['rows'] for part in parts),
        'deleted': sum(count_deleted(folder, part) for part in parts),
        'dim': header['dim'],
        'metric': header['metric'],
        'spaces': header['spaces'],
        'vectors': sorted({part['vectors'] for part in parts}),
        'approximate': sorted(
            {entry['kind'] for part in parts for entry in part.get('approximate', ())}
        ),
        'parts': len(parts),
        'archive': header['fingerprint'],
        'bytes': sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()),
        'record': {name: fact for name, fact in record.items() if name != 'sources'},
    }


def is_index(path: str | PathLike[str]) -> bool:
    """Say whether a folder is an index, as opposed to an archive."""
    return (Path(path) / HEADER).exists()
