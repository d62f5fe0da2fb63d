"""Opening archive folders and index folders, one or several as one."""

from collections.abc import Iterable

from torchgeo_cmr.search.store.origin import Origin

from .index import RetrievalIndex


def open_archives(paths: Origin | Iterable[Origin]) -> RetrievalIndex:
    """Open archive folders and index folders to search them as one.

    An index that :meth:`RetrievalIndex.build` wrote is opened as it is if it is named alone.
    Several are read and combined; where their records name different files for one
    scene, the combined record lists them.

    Args:
        paths: Folder or folders; tables are taken too.

    Returns:
        The index, to search in.

    Raises:
        QueryError: If no folder is named.
        ArchiveError: If a folder is neither an archive nor an index, or they do not fit
            together.
    """
    return RetrievalIndex(paths)
