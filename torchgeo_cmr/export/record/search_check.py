"""Whether a saved search is as it was written: every layer is read, the record compared."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyogrio

from torchgeo_cmr.errors import CMRError, Finding, QueryError
from torchgeo_cmr.regular_files import name_finding
from torchgeo_cmr.vectors.vector_contents import check_vector

from .manifest import read_manifest
from .saved_search import read_search

_CURE = 'repeat the search: replay, or the command in its record'


def verify_search(path: str | os.PathLike[str]) -> Iterator[Finding]:
    """Read a saved search as a whole, and its manifest where one lies next to it.

    Of a GeoPackage SQLite checks the structure, and every layer is read. Other files have no
    checksums: what cannot be read is found, a changed number is not.

    Args:
        path: What an export of a search wrote.

    Yields:
        One finding per file.

    Examples:
        >>> next(verify_search('nowhere.gpkg')).fault
        'nowhere.gpkg is not a file; name a saved search'
    """
    file = Path(path)
    record: dict[str, Any] = {}
    if finding := name_finding(file):
        yield finding
        return
    try:
        if file.suffix.lower() == '.gpkg' and file.is_file():
            _verify_database(file)
        record = read_search(file).record
    except CMRError as error:
        yield Finding(str(file), str(error), _CURE)
    else:
        yield Finding(str(file))
    manifest = file.with_suffix('.json')
    if manifest == file or not manifest.is_file():
        return
    try:
        content = read_manifest(manifest)
    except QueryError as error:
        yield Finding(str(manifest), str(error), _CURE)
        return
    differs = bool(record) and any(
        record.get(name) != value for name, value in content.items()
    )
    fault = f'it is not of the search in {file.name}' if differs else ''
    yield Finding(str(manifest), fault, _CURE if fault else '')


def _verify_database(file: Path) -> None:
    """Let SQLite check its pages, and read every layer.

    Raises:
        QueryError: If a page or a layer is damaged.
    """
    try:
        with closing(
            sqlite3.connect(f'{file.absolute().as_uri()}?mode=ro', uri=True)
        ) as db:
            (answer,) = db.execute('PRAGMA integrity_check(1)').fetchone()
        if answer != 'ok':
            raise QueryError(f'{file} is damaged ({answer})')
        check_vector(file, QueryError)
        for name, _ in pyogrio.list_layers(file):
            pyogrio.read_dataframe(file, layer=str(name))
    except QueryError:
        raise
    except Exception as error:  # of SQLite and GDAL
        raise QueryError(f'{file} is damaged ({error})') from error
