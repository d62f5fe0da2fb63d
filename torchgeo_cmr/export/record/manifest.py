"""The manifest of a search: its record as a file ``NAME.json``, which ``replay`` reads.

It does not list the scenes: they make it long, and a person who reads it knows them.
"""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.new_file import new_file

from .record import FORMAT, FORMAT_VERSION, record_text


def write_manifest(
    record: Mapping[str, Any], path: str | PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a record as a manifest: JSON for people and for ``replay``, without its scenes.

    Args:
        record: What :func:`make_record` gave, or any JSON-able mapping.
        path: File to write.
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        QueryError: If the record holds something that JSON cannot.
        OutputExistsError: If the file is there and ``overwrite`` is False.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_manifest({'k': 2}, f'{folder}/hits.json')
        ...     '"k": 2' in path.read_text()
        True
    """
    content = {name: value for name, value in record.items() if name != 'scenes'}
    text = record_text(content, indent=1)
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_text(f'{text}\n', encoding='utf-8')
    return Path(path)


def read_manifest(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a manifest.

    Args:
        path: What :func:`write_manifest` wrote.

    Returns:
        The record without its scenes.

    Raises:
        QueryError: If the file is missing, is not a manifest, or is of a newer version.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        raise QueryError(
            f'{path} cannot be read as a manifest ({error}); name the .json that search '
            'wrote next to its result'
        ) from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise QueryError(
            f'{path} is not a manifest of a search; name the .json that search wrote next to '
            'its result'
        )
    version = content.get('version')
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise QueryError(
            f'{path} has version {version} but this torchgeo_cmr reads up to '
            f'{FORMAT_VERSION}; install a newer torchgeo_cmr'
        )
    return content
