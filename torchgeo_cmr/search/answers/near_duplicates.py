"""Groups of patches that look the same: near-duplicates of an archive."""

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.table import EmbeddingTable

_ROWS = 4_096


def near_duplicates(
    table: EmbeddingTable, min_score: float = 0.99
) -> NDArray[np.int64]:
    """Number the groups of patches whose vectors are nearly equal.

    Two patches are in one group if their cosine is at least ``min_score`` or others lead
    from one to the other. All rows are compared with all, in blocks: meant for results and
    archives of up to some hundred thousand rows.

    Args:
        table: Patches of one space.
        min_score: Least cosine, above -1 and at most 1.

    Returns:
        Group numbers (n,) from 0, in the order of the first row of each.

    Raises:
        QueryError: If the score is not a cosine, or vectors of two spaces would be compared.
    """
    if not -1 < min_score <= 1:
        raise QueryError(
            f'min_score is {min_score!r}; give a cosine above -1 and at most 1'
        )
    if len(table.spaces) > 1:
        raise QueryError(
            f'the table holds vectors in space {" and ".join(table.spaces)}; compare those of '
            'one checkpoint'
        )
    left, right = [], []
    # Equal vectors of float32 may come out a rounding error below 1.
    rows = table.unit_rows()
    least = min_score - (rows.shape[1] + 2) * 2.0**-24
    firsts = range(0, len(table), _ROWS)
    blocks = [(i, j) for i in firsts for j in firsts if j >= i]
    for i, j in steps(blocks, 'block', 'compare'):
        a, b = np.nonzero(rows[i : i + _ROWS] @ rows[j : j + _ROWS].T >= least)
        left.append(a + i)
        right.append(b + j)
    empty = np.empty(0, dtype=np.int64)
    return components(
        len(table), np.concatenate([empty, *left]), np.concatenate([empty, *right])
    )


def components(
    n: int, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Number the connected parts of a graph.

    Args:
        n: Nodes.
        left: One end of each edge (edges,).
        right: The other end.

    Returns:
        Part of each node (n,), numbered from 0 in the order of their first nodes.
    """
    # Loaded here, since most searches need no SciPy.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left), bool), (left, right)), shape=(n, n))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def duplicates(table: EmbeddingTable, min_score: float = 0.99) -> gpd.GeoDataFrame:
    """Find the patches that look like another, group by group.

    Args:
        table: Patches of one space.
        min_score: As for :func:`near_duplicates`.

    Returns:
        Rows of ``table.frame`` in groups of two or more, after their ``group`` (from 1, in
        the order of the first patches) and its ``members``.

    Raises:
        QueryError: As :func:`near_duplicates`.

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
        >>> found = duplicates(table, 0.7)
        >>> found[['patch_id', 'group']].values.tolist()
        [['a', 1], ['b', 1]]
    """
    group = near_duplicates(table, min_score)
    members = np.bincount(group, minlength=1)[group]
    rows = np.flatnonzero(members > 1)
    rows = rows[np.argsort(group[rows], kind='stable')]
    found = table.frame.iloc[rows].reset_index(drop=True)
    found.insert(0, 'members', members[rows])
    # Numbered without the gaps that patches alone leave.
    found.insert(0, 'group', np.unique(group[rows], return_inverse=True)[1] + 1)
    return found
