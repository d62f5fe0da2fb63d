"""Change: the places whose own patches look least alike, across dates or sensors."""

from os import PathLike

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.search.archives import open_archives
from torchgeo_cmr.search.index import RetrievalIndex
from torchgeo_cmr.search.number_checks import is_real, is_whole
from torchgeo_cmr.search.queries.blend import same_ground
from torchgeo_cmr.search.queries.forms import Filtering, read_filter
from torchgeo_cmr.search.results import make_result
from torchgeo_cmr.search.where.columns import as_columns
from torchgeo_cmr.search.where.times import spans
from torchgeo_cmr.table import EmbeddingTable

from .near_duplicates import components

_ACROSS = ('dates', 'modalities')
#: Share of ground from which two footprints are one.
_EQUAL = 0.999


def changes(
    table: EmbeddingTable | RetrievalIndex | str | PathLike[str],
    k: int = 10,
    *,
    across: str = 'dates',
    where: Filtering | None = None,
    min_overlap: float = 0.5,
) -> gpd.GeoDataFrame:
    """Rank places by the largest distance between two of their own patches.

    A place is a footprint and what lies on the same ground in other acquisitions, at most one
    footprint of each: patches of one acquisition that overlap are places of their own, so that
    a change in one of them is not lost among its neighbours. Across dates, patches of one
    modality with different ``time_start`` or ``time_end`` are compared; across modalities, those
    of different ones, whatever their date. Each place is found once, by its most different pair.

    Args:
        table: The archive, with more than one patch per place: a table, an index or a folder.
        k: Places to find; fewer come if there are fewer.
        across: ``'dates'`` or ``'modalities'``.
        where: Which patches are compared: a filter or an area.
        min_overlap: Least share of ground (intersection over union) of two patches that are
            compared, above 0 and at most 1: lower it where the grids of two dates are shifted
            by a large part of a patch.

    Returns:
        A result with one row per place: ``query_id`` is ``'change'``, ``patch_id`` the later
        patch of the pair, ``score`` the cosine distance, 0 to 2, most changed first. Of the
        other patch it has ``other_patch_id``, ``other_modality`` and ``other_time_start``.

    Raises:
        QueryError: If vectors of two spaces would be compared, or an argument is not
            valid.

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
        >>> import pandas as pd
        >>> twice = pd.concat(
        ...     [frame.iloc[:2], frame.iloc[:2].assign(patch_id=['a2', 'b2'])]
        ... )
        >>> twice['time_start'] = pd.to_datetime(
        ...     ['2023', '2023', '2024', '2024'], utc=True
        ... )
        >>> vectors = [[1, 0], [1, 0], [1, 0], [0, 1]]
        >>> table = EmbeddingTable.from_frame(twice, vectors, space='demo')
        >>> changes(table, 1)['patch_id'].tolist()
        ['b2']
    """
    if across not in _ACROSS:
        raise QueryError(f'across {across!r} is not known; use {" or ".join(_ACROSS)}')
    if not is_whole(k):
        raise QueryError(
            f'k is {k!r:.80}; give a whole number of at least 1, and several tables as one, by '
            'EmbeddingTable.concat'
        )
    if k < 1:
        raise QueryError(f'k is {k}; give at least 1 place')
    if not is_real(min_overlap) or not 0 < min_overlap <= 1:
        raise QueryError(
            f'min_overlap is {min_overlap!r}; give a share above 0, at most 1'
        )
    where = read_filter(where)
    if isinstance(table, str | PathLike):
        table = open_archives(table)
    if isinstance(table, RetrievalIndex):
        table = table.table
    if len(table.spaces) > 1:
        raise QueryError(
            f'the archive holds vectors in space {" and ".join(table.spaces)}; compare those '
            'of one checkpoint'
        )
    rows = np.arange(len(table)) if where is None else where.rows(table)
    selected = table.select(rows)
    left, right, shared = same_ground(selected, selected, min_overlap)
    keep = left < right
    left, right = left[keep], right[keep]
    place = _places(selected, left, right, shared[keep])
    keep = place[left] == place[right]
    left, right = _ordered(selected, left[keep], right[keep], across)
    scores = _distances(selected, left, right)
    names = selected.frame['patch_id'].to_numpy(dtype=object)
    ties = np.argsort(np.argsort(names, kind='stable'))
    best = np.lexsort((ties[left], ties[right], -scores))
    # The first pair of each place is its most different one.
    _, first = np.unique(place[left[best]], return_index=True)
    top = best[np.sort(first)][:k]
    found = make_result(
        selected.frame.iloc[right[top]],
        ['change'] * len(top),
        np.arange(1, len(top) + 1, dtype=np.int32),
        scores[top].astype(np.float32),
    )
    before = selected.frame.iloc[left[top]]
    for column in ('patch_id', 'modality', 'time_start'):
        values = before[column].reset_index(drop=True)
        found.insert(len(found.columns) - 1, f'other_{column}', values)
    return found


def _places(
    table: EmbeddingTable,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    shared: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Number the places (n,): equal footprints, then those that share most, from the most.

    Two places are merged only if no acquisition has patches in both, so that a chain of
    overlapping patches does not become one place.
    """
    equal = shared >= _EQUAL
    node = components(len(table), left[equal], right[equal])
    taken = _acquisitions(table)
    held: list[set[int]] = [set() for _ in range(int(node.max(initial=-1)) + 1)]
    for at, acquisition in zip(node.tolist(), taken.tolist(), strict=True):
        held[at].add(acquisition)
    a, b = np.minimum(node[left], node[right]), np.maximum(node[left], node[right])
    rest = np.flatnonzero(~equal & (a != b))
    # Shares that differ by rounding are equal, and then the order of the rows decides.
    rest = rest[np.lexsort((b[rest], a[rest], -shared[rest].round(6)))]
    root = list(range(len(held)))

    def find(at: int) -> int:
        while root[at] != at:
            root[at] = at = root[root[at]]
        return at

    for i, j in zip(a[rest].tolist(), b[rest].tolist(), strict=True):
        i, j = find(i), find(j)
        if i != j and held[i].isdisjoint(held[j]):
            root[j] = i
            held[i] |= held[j]
    return np.array([find(at) for at in range(len(root))], dtype=np.int64)[node]


def _acquisitions(table: EmbeddingTable) -> NDArray[np.int64]:
    """Number what was taken by one sensor at one time (n,)."""
    columns = table.frame[['modality', 'time_start', 'time_end']]
    return columns.groupby(list(columns), dropna=False, sort=False).ngroup().to_numpy()


def _ordered(
    table: EmbeddingTable,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    across: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the pairs that are compared, the earlier patch first."""
    kinds = pd.factorize(table.frame['modality'])[0]
    times = spans(*as_columns(table).times)
    start, end = times.start, times.end
    same = kinds[left] == kinds[right]
    if across == 'modalities':
        keep = ~same
    else:
        dated = ~times.undated[left] & ~times.undated[right]
        differ = (start[left] != start[right]) | (end[left] != end[right])
        keep = same & dated & differ
    left, right = left[keep], right[keep]
    late = (start[left] > start[right]) | (
        (start[left] == start[right]) & (end[left] > end[right])
    )
    return np.where(late, right, left), np.where(late, left, right)


def _distances(
    table: EmbeddingTable, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosine distances of pairs, block by block."""
    found = np.empty(len(left))
    rows = table.unit_rows()
    step = max(1, 4_000_000 // rows.shape[1])
    for i in steps(range(0, len(left), step), 'block', 'compare'):
        part = slice(i, i + step)
        a = rows[left[part]].astype(np.float64)
        found[part] = 1 - (a * rows[right[part]]).sum(axis=1)
    return np.clip(found, 0, 2)
