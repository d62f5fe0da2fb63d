"""Opening what is named: archive folders and index folders, one or several as one."""

from collections.abc import Iterable
from os import PathLike

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .describe import is_index
from .index import RetrievalIndex


def open_archives(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
) -> RetrievalIndex:
    """Open archive folders and index folders to search them as one.

    An index that :meth:`RetrievalIndex.build` wrote is opened as it is if it is named alone.
    Several are read and put together; where their records name different files for one
    scene, the record of the whole says so.

    Args:
        paths: Folder or folders.

    Returns:
        The index, to search in.

    Raises:
        QueryError: If no folder is named.
        ArchiveError: If a folder is neither an archive nor an index, or they do not fit
            together.

    .. versionadded:: 0.1
    """
    folders = [paths] if isinstance(paths, str | PathLike) else list(paths)
    if not folders:
        raise QueryError('no archive is named; name at least one folder')
    if len(folders) == 1 and is_index(folders[0]):
        return RetrievalIndex.open(folders[0])
    tables = [_table(folder) for folder in folders]
    if len(tables) == 1:
        return RetrievalIndex(tables[0])
    return RetrievalIndex(EmbeddingTable.concat(tables, strict=False))


def _table(folder: str | PathLike[str]) -> EmbeddingTable:
    if not is_index(folder):
        return EmbeddingTable.load(folder)
    return RetrievalIndex.open(folder).table
