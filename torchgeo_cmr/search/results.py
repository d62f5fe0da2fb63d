"""The columns of a result, and the check for them."""

from collections.abc import Iterable, Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table.schema import TEXT

#: First columns of every result, in order; the archive's own follow, ``geometry`` is last.
RESULT_COLUMNS = (
    'query_id',
    'rank',
    'score',
    'patch_id',
    'modality',
    'source',
    'time_start',
    'time_end',
    'src_crs',
    'exact',
    'relevant',
)
_MADE = ('query_id', 'rank', 'score', 'exact', 'relevant')


def make_result(
    frame: pd.DataFrame,
    query_ids: Sequence[str] | NDArray[np.object_],
    ranks: NDArray[np.int32],
    scores: NDArray[np.float32],
    *,
    exact: bool = True,
) -> gpd.GeoDataFrame:
    """Give ranked rows as a layer.

    Args:
        frame: A row of the archive for each hit (m,), sorted by query, then best first; its
            geometry is called ``geometry``.
        query_ids: Query of each hit (m,).
        ranks: Rank of each hit (m,), int32 from 1.
        scores: Score of each hit (m,).
        exact: Whether nothing closer can have been missed.

    Returns:
        GeoDataFrame in EPSG:4326 with the index 0..m-1: ``score`` float64 (higher is closer), ``exact``
        bool, ``relevant`` nullable boolean, all null. Columns of the archive named like one of these
        come out as ``archive_<name>``, with one more ``archive_`` before it if the archive has a
        column of that name too.
    """
    renamed = _own_names(frame.columns)
    # Bare arrays: no indexes are compared, no series are made, which a search of ten hits notices.
    columns: dict[Any, Any] = {
        renamed.get(name, name): values.array
        for name, values in pd.DataFrame(frame, copy=False).items()
    }
    rest = [c for c in columns if c not in RESULT_COLUMNS and c != 'geometry']
    columns |= {
        'query_id': pd.array(np.asarray(query_ids, dtype=object), dtype=TEXT),
        'rank': ranks,
        'score': scores.astype(np.float64),
        'exact': np.full(len(frame), exact),
        'relevant': pd.array([None] * len(frame), dtype='boolean'),
    }
    names = (*RESULT_COLUMNS, *rest, 'geometry')
    return gpd.GeoDataFrame({n: columns[n] for n in names}, geometry='geometry')


def _own_names(columns: Iterable[str]) -> dict[str, str]:
    """Say what columns of an archive are called that are named like those of a result."""
    known = set(columns)
    renamed = {}
    for name in _MADE:
        if name not in known:
            continue
        free = f'archive_{name}'
        while free in known:
            free = f'archive_{free}'
        renamed[name] = free
    return renamed


def check_result(results: gpd.GeoDataFrame) -> None:
    """Refuse a frame that is not a result.

    Args:
        results: What a search gave, perhaps with more columns.

    Raises:
        QueryError: If columns are missing, there is no CRS, or a score is not a number.

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
        >>> from torchgeo_cmr.search import RetrievalIndex
        >>> check_result(RetrievalIndex(table).search([1, 0], 2))
    """
    if not isinstance(results, pd.DataFrame):
        raise QueryError(
            f'the result is a {type(results).__name__}; use what RetrievalIndex.search gives, or '
            'read_search(FILE).results'
        )
    missing = [name for name in RESULT_COLUMNS if name not in results]
    if not isinstance(
        results, gpd.GeoDataFrame
    ) or results._geometry_column_name not in (results):
        missing.append('geometry')
    if missing:
        raise QueryError(
            f'the result lacks {", ".join(missing)}; use what RetrievalIndex.search gives'
        )
    if results.crs is None:
        raise QueryError('the result has no CRS; declare it with results.set_crs(...)')
    if not np.isfinite(results['score'].to_numpy(dtype=np.float64)).all():
        raise QueryError('a score of the result is not a finite number; search again')
