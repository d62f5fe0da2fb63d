"""Opening archive folders and index folders, one or several as one."""

import logging
import time
from collections.abc import Iterable

from torchgeo_cmr.search.store.origin import Origin, is_server

from .index import RetrievalIndex

_LOG = logging.getLogger(__name__)


def open_archives(paths: Origin | Iterable[Origin]) -> RetrievalIndex:
    """Open archive folders and index folders to search them as one.

    An index that :meth:`RetrievalIndex.build` wrote is opened as it is if it is named alone.
    Several are searched as one; where their records name different files for one scene, the
    combined record lists them. What is appended to several or deleted from them stays in memory, and
    what others change in the folders is seen when they are opened again.

    Args:
        paths: Folder or folders; tables are taken too. A database, ``postgresql://...``, is
            named alone.

    Returns:
        The index, to search in.

    Raises:
        QueryError: If no folder is named.
        ArchiveError: If a folder is neither an archive nor an index, or they do not fit
            together.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> archive = table.save(f'{folder.name}/archive')
        >>> len(open_archives(archive))
        3
        >>> folder.cleanup()
    """
    alone = isinstance(paths, list | tuple) and len(paths) == 1
    path = paths[0] if alone else paths
    begun = time.perf_counter()
    index = RetrievalIndex.open(path) if is_server(path) else RetrievalIndex(paths)
    _LOG.debug('opened %r in %.2f s', index, time.perf_counter() - begun)
    return index
