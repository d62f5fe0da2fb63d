"""What changed: places whose own patches look least alike, across dates or sensors."""

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .blend import same_ground
from .filters import Where
from .groups import components
from .results import make_result

_ACROSS = ('dates', 'modalities')


def changes(
    table: EmbeddingTable,
    k: int = 10,
    *,
    across: str = 'dates',
    where: Where | None = None,
    min_overlap: float = 0.5,
) -> gpd.GeoDataFrame:
    """Rank places by the largest distance between two of their own patches.

    Patches that share most of their ground are one place. Across dates, patches of one
    modality with different ``time_start`` are compared; across modalities, those of
    different ones, whatever their date. Each place is found once, by its most different pair.

    Args:
        table: The archive, with more than one patch a place.
        k: Places to find; fewer come if there are fewer.
        across: ``'dates'`` or ``'modalities'``.
        where: Which patches are looked at.
        min_overlap: Least share of ground (intersection over union) of one place, above 0
            and at most 1.

    Returns:
        A result with one row a place: ``query_id`` is ``'change'``, ``patch_id`` the later
        patch of the pair, ``score`` the cosine distance, 0 to 2, most changed first. Of the
        other patch it has ``other_patch_id``, ``other_modality`` and ``other_time_start``.

    Raises:
        QueryError: If vectors of two spaces would be compared, or an argument is none of
            the above.

    .. versionadded:: 0.1
    """
    if across not in _ACROSS:
        raise QueryError(f'across {across!r} is not known; use {" or ".join(_ACROSS)}')
    if k < 1:
        raise QueryError(f'k is {k}; ask for at least 1 place')
    if not 0 < min_overlap <= 1:
        raise QueryError(
            f'min_overlap is {min_overlap!r}; give a share above 0, at most 1'
        )
    if len(table.spaces) > 1:
        raise QueryError(
            f'the archive holds vectors in space {" and ".join(table.spaces)}; compare those '
            'of one checkpoint'
        )
    rows = np.arange(len(table)) if where is None else where.rows(table)
    own = table.select(rows)
    one, other, _ = same_ground(own, own, min_overlap)
    keep = one < other
    one, other = one[keep], other[keep]
    place = components(len(own), one, other)
    one, other = _ordered(own, one, other, across)
    scores = _distances(own, one, other)
    names = own.frame['patch_id'].to_numpy(dtype=object)
    ties = np.argsort(np.argsort(names, kind='stable'))
    best = np.lexsort((ties[one], ties[other], -scores))
    # The first pair of each place is its most different one.
    _, first = np.unique(place[one[best]], return_index=True)
    top = best[np.sort(first)][:k]
    found = make_result(
        own, other[top][None], scores[top][None].astype(np.float32), ['change']
    )
    before = own.frame.iloc[one[top]]
    for column in ('patch_id', 'modality', 'time_start'):
        values = before[column].reset_index(drop=True)
        found.insert(len(found.columns) - 1, f'other_{column}', values)
    return found


def _ordered(
    table: EmbeddingTable, one: NDArray[np.int64], other: NDArray[np.int64], across: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the pairs that are compared, the earlier patch first."""
    kinds = pd.factorize(table.frame['modality'])[0]
    start = table.frame['time_start'].fillna(table.frame['time_end'])
    times = start.dt.tz_localize(None).to_numpy(dtype='datetime64[us]')
    same = kinds[one] == kinds[other]
    if across == 'modalities':
        keep = ~same
    else:
        dated = ~np.isnat(times[one]) & ~np.isnat(times[other])
        keep = same & dated & (times[one] != times[other])
    one, other = one[keep], other[keep]
    late = times[one] > times[other]
    return np.where(late, other, one), np.where(late, one, other)


def _distances(
    table: EmbeddingTable, one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosine distances of pairs, block by block."""
    found = np.empty(len(one))
    rows = table.unit_rows()
    step = max(1, 4_000_000 // rows.shape[1])
    for i in range(0, len(one), step):
        part = slice(i, i + step)
        a = rows[one[part]].astype(np.float64)
        found[part] = 1 - (a * rows[other[part]]).sum(axis=1)
    return np.clip(found, 0, 2)
