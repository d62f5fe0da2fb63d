"""Re-ranking: hits spread on the ground, in looks or by a column, filled up to k.

Other libraries filter the first k hits and return what remains. Here the ranking is
continued until k hits are found or every row that matches the filter has been examined.
"""

from typing import Any, Protocol

import geopandas as gpd
import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.number_checks import is_real, is_whole
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

from .diversity import Close, alike, choose, diverse, near, overlapping, same

type _Queries = EmbeddingTable | ArrayLike

#: Rows examined first, for each hit requested; then four times as many, and so on.
_FETCH = 4
#: Rows that MMR chooses from, for each hit requested.
_POOL = 10


class Ranks(Protocol):
    """What can be re-ranked: a :class:`RetrievalIndex`, or one freed of hubs."""

    def rank(
        self,
        vectors: Any,
        k: int,
        where: Where | None,
        *,
        exclude: str | float | None,
        exclude_days: float | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        """Rank rows: arrays (num_queries, min(k, matches)), best first."""
        ...

    def select(self, rows: NDArray[np.int64]) -> EmbeddingTable:
        """Give some rows as a table, in the given order."""
        ...

    def result(
        self, rows: Any, scores: Any, query_ids: Any, *, exact: bool
    ) -> gpd.GeoDataFrame:
        """Give ranked rows, one array a query, as a layer."""
        ...


def rerank(
    index: Ranks,
    queries: _Queries,
    k: int = 10,
    *,
    where: Where | None = None,
    min_score: float | None = None,
    spacing: float | None = None,
    max_overlap: float | None = None,
    distinct: float | None = None,
    one_per: str | None = None,
    diversity: float | None = None,
    exclude: str | float | None = 'self',
    exclude_days: float | None = None,
) -> gpd.GeoDataFrame:
    """Search, then choose hits that are apart, unlike each other, or close enough.

    A hit is skipped if it is too near, shares too much ground or looks too much alike with
    a better hit of the same query, or has the same value in a column. What the query must not find
    at all is for ``exclude`` to say.

    Args:
        index: A :class:`RetrievalIndex` or :class:`HubFree`.
        queries: As for :meth:`RetrievalIndex.search`.
        k: Hits per query.
        where: Which rows may be found.
        min_score: Least score of a hit; worse ones do not count as matches.
        spacing: Least metres between any two hits of a query, geodesic, nearest points.
        max_overlap: Largest share of the smaller footprint that two hits may have in
            common, 0 to 1; 0 lets edges touch.
        distinct: Cosine from which two hits are near-duplicates, of which the better stays.
        one_per: Column of which hits have no value in common, such as the label of spoken
            words: the first hits are then the words that name an image best.
        diversity: 0 to 1: order by maximal marginal relevance (:func:`diverse`) among the
            best ``10 * k`` that the rest leaves. Ranks then follow the choice, not the score.
        exclude: As for :meth:`RetrievalIndex.search`.
        exclude_days: As for :meth:`RetrievalIndex.search`.

    Returns:
        A result. Each query has ``k`` hits, or as many as all its matches allow: the ranking
        is continued until they are found.

    Raises:
        QueryError: If an argument is not valid, or as :meth:`RetrievalIndex.search`.

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
        >>> hits = rerank(RetrievalIndex(table), [1, 0], 3, distinct=0.7)
        >>> hits['patch_id'].tolist()
        ['a', 'c']
    """
    _check('min_score', min_score, -np.inf, np.inf)
    _check('spacing', spacing, 0, np.inf)
    _check('max_overlap', max_overlap, 0, 1)
    _check('distinct', distinct, -1, 1)
    _check('diversity', diversity, 0, 1)
    if not is_whole(k) or k < 1:
        raise QueryError(f'k is {k!r}; give at least 1 hit per query')
    pool = k if diversity is None else _POOL * k
    rows: list[NDArray[np.int64]] = []
    scores: list[NDArray[np.floating]] = []
    without: Any = {'exclude': exclude, 'exclude_days': exclude_days}
    singles, ids = one_by_one(queries)
    for query in singles:
        depth = _FETCH * pool
        while True:
            found, worth = (a[0] for a in index.rank(query, depth, where, **without))
            reached = len(found) < depth
            if min_score is not None:
                enough = worth >= min_score
                reached |= not enough.all()
                found, worth = found[enough], worth[enough]
            close = _close(index, found, spacing, max_overlap, distinct, one_per)
            kept = choose(len(found), pool, *close)
            if len(kept) == pool or reached:
                break
            depth *= 4
        if diversity is not None and len(kept):
            vectors = index.select(found[kept]).unit_rows()
            kept = kept[diverse(vectors, worth[kept], diversity, k)]
        rows.append(found[kept])
        scores.append(worth[kept])
    return index.result(rows, scores, ids, exact=diversity is None)


def one_by_one(queries: _Queries) -> tuple[list[Any], list[str]]:
    """Give queries one at a time, as a filter that refers to them needs them, and their ids."""
    if isinstance(queries, EmbeddingTable):
        names = queries.frame['patch_id'].tolist()
        return [queries.select([i]) for i in range(len(queries))], names
    given = np.asarray(queries)
    if given.ndim == 1:
        given = given[None]
    return [row[None] for row in given], [f'q{i}' for i in range(len(given))]


def _close(
    index: Ranks,
    rows: NDArray[np.int64],
    spacing: float | None,
    max_overlap: float | None,
    distinct: float | None,
    one_per: str | None,
) -> list[Close]:
    """Say what close means, cheapest test first."""
    if {spacing, max_overlap, distinct, one_per} == {None}:
        return []
    table = index.select(rows)
    shapes = table.frame.geometry.to_numpy()
    close = []
    if one_per is not None:
        if one_per not in table.frame.columns:
            has = ', '.join(table.frame.drop(columns='geometry'))
            raise QueryError(
                f'one_per is {one_per!r}, which is not a column of the archive; it has {has}'
            )
        close.append(same(table.frame[one_per].to_numpy(dtype=object)))
    if distinct is not None:
        close.append(alike(table.unit_rows(), distinct))
    if spacing is not None:
        close.append(near(shapes, spacing))
    if max_overlap is not None:
        close.append(overlapping(shapes, max_overlap))
    return close


def _check(name: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    if not is_real(value) or not low <= value <= high:
        limits = (
            'a number'
            if low == -np.inf
            else f'a number of {low:g} or more'
            if high == np.inf
            else f'a number from {low:g} to {high:g}'
        )
        raise QueryError(f'{name} is {value!r}; give {limits}')
