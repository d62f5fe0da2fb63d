"""The manifest of a search: its record as a file ``NAME.json``, which ``replay`` reads.

It does not list the scenes: they make it long, and a person who reads it knows them.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.regular_files import check_special
from torchgeo_cmr.typed_json import decode

from .record import FORMAT, record_text
from .record_types import check_record

_CURE = 'name the .json that search wrote next to its result'


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
    source = f'{path} cannot be read as a manifest: it'
    check_special(path, QueryError)
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise QueryError(f'{source} is not readable ({error}); {_CURE}') from error
    content: Any = decode(text, object, source, _CURE, QueryError)
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise QueryError(f'{path} is not a manifest of a search; {_CURE}')
    check_record(content, str(path))
    return content
