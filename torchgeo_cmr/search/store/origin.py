"""The sources of an index: a table, an archive folder, an index folder, or several."""

import re
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.regular_files import check_there
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.archive_reader import read_content
from torchgeo_cmr.table.archive.folder import HEADER as ARCHIVE
from torchgeo_cmr.table.archive.folder import is_archive, name_inside, read_header
from torchgeo_cmr.table.provenance import fingerprint

from .contents import IndexContents
from .index_files import HEADER
from .index_summary import is_index
from .snapshot import open_state

#: A table, an index, or the folder of an archive or of an index.
type Origin = EmbeddingTable | IndexContents | str | PathLike[str]

#: What the address of a database begins with.
_DATABASES = ('postgresql://', 'postgres://')


def is_server(archive: Any) -> TypeGuard[str]:
    """Say whether something is the address of a database."""
    return isinstance(archive, str) and archive.startswith(_DATABASES)


def without_password(words: str) -> str:
    """Give the address of a database without its password, and anything else as it is.

    Args:
        words: An address, or any other word.
    """
    if not is_server(words):
        return words
    bare = re.sub(r'(?<=://)([^:@/?]*):[^/?]*@', r'\1@', words)
    kept = re.sub(r'(?<=[?&])(?:ssl)?password=[^&]*&?', '', bare)
    return kept.rstrip('?&')


def origins(archive: Origin | Iterable[Origin]) -> list[Origin]:
    """Give what is named, one or several, as a list.

    Args:
        archive: One or several.

    Raises:
        QueryError: If nothing is named, or something that is not an archive.
    """
    several = isinstance(archive, list | tuple | set | Iterator)
    found: list[Any] = list(archive) if several else [archive]
    if not found:
        raise QueryError('no archive is named; name at least one folder')
    for each in found:
        if not isinstance(each, EmbeddingTable | IndexContents | str | PathLike):
            raise QueryError(
                f'an index is not made from a {type(each).__name__}; give an EmbeddingTable, the '
                'folder of an archive or of an index, or a list of these'
            )
        if is_server(each):
            raise QueryError(
                'a database is opened alone, by RetrievalIndex.open(address); it is not combined '
                'with others'
            )
    return found


def table_of(archive: Origin | Iterable[Origin]) -> EmbeddingTable:
    """Read what is named as one table.

    Args:
        archive: One or several; where the records of several name different files for one
            scene, the combined record lists them.

    Raises:
        QueryError: As :func:`origins`.
        ArchiveError: If a folder is neither an archive nor an index, or they do not fit
            together.
    """
    tables = [_table(source) for source in origins(archive)]
    return (
        tables[0] if len(tables) == 1 else EmbeddingTable.concat(tables, strict=False)
    )


def fingerprint_of(archive: Origin | Iterable[Origin]) -> str:
    """Give the fingerprint of what is named; of folders, from their headers.

    Args:
        archive: One or several.
    """
    found = origins(archive)
    if len(found) > 1 or isinstance(found[0], EmbeddingTable):
        return fingerprint(table_of(found))
    if isinstance(found[0], IndexContents):
        return found[0].fingerprint
    folder = Path(found[0])
    if is_index(folder):
        return IndexContents(open_state(folder)).fingerprint
    header, content = read_header(folder), read_content(folder)
    if content is None:  # written before parts recorded their content
        return fingerprint(EmbeddingTable.load(folder))
    return content.fingerprint(header['dim'], header['metric'])


def _table(source: Origin) -> EmbeddingTable:
    if isinstance(source, EmbeddingTable):
        return source
    if isinstance(source, IndexContents):
        return source.table
    if is_index(source):
        return IndexContents(open_state(Path(source))).table
    if not is_archive(source):
        check_there(source, ArchiveError)
        raise ArchiveError(
            f'{source} is neither an archive nor an index: it has no readable {ARCHIVE} and no '
            f'readable {HEADER}'
            f'{name_inside(source) or "; name a folder that embed or index has written"}'
        )
    return EmbeddingTable.load(source)
