"""Correction for hubs: rows that are close to everything score lower.

In many dimensions a few rows are among the nearest of very many queries (hubs), and more so
where two modalities meet. Both corrections here take from a row's score how close it is to
queries in general, known from a set of reference queries.
"""

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.index import RetrievalIndex
from torchgeo_cmr.search.rank.candidates import Pool
from torchgeo_cmr.search.rank.checks import checked
from torchgeo_cmr.search.rank.exact import equal_neighbours
from torchgeo_cmr.search.rank.hidden_rows import HiddenRows
from torchgeo_cmr.search.rank.margin import Margin
from torchgeo_cmr.search.store.engine import (
    Question,
    groups_of,
    names_ranked,
    question_of,
    stacked,
)
from torchgeo_cmr.search.store.snapshot import State
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

type _Rows = NDArray[np.int64]
type _Lists = tuple[list[_Rows], list[NDArray[np.float64]]]

_METHODS = ('csls', 'softmax')
#: Rows that are scored at a time, and numbers in a product with the reference.
_ROWS, _NUMBERS = 8_192, 1 << 22
#: More than scores in single precision are off.
_SLACK = 1e-5
#: Digits of a score: fewer than products of blocks are off.
_DIGITS = 12


class HubFree:
    r"""An index whose scores are corrected for hubs.

    ``'csls'``: :math:`2\cos(x, y) - r(x) - r(y)`, where :math:`r(y)` is the mean cosine of
    a row to its nearest reference queries and :math:`r(x)` that of the query to its nearest
    rows; A. Conneau et al., "Word translation without parallel data", ICLR 2018. ``'softmax'``:
    :math:`\cos(x, y) - \frac{1}{t} \log \mathrm{mean}_{x'} e^{t \cos(x', y)}` over the
    reference queries, the logarithm of the inverted softmax over ``t``; S. L. Smith et al.,
    "Offline bilingual word vectors, orthogonal transformations and the inverted softmax",
    ICLR 2017. Ranks within a query depend on the row's part only.

    What a row is to the reference is computed when the row is first scored, once, and kept.

    Args:
        index: The index.
        reference: Queries that say what a hub is: a table of the queries' modality or vectors
            (num, dim); the more, the better, and best some thousands.
        method: ``'csls'`` or ``'softmax'``.
        neighbours: Nearest reference queries, and rows, that ``'csls'`` takes the mean of.
        temperature: ``t`` of ``'softmax'``.

    Raises:
        QueryError: If the method is not known, a number is not positive, the archive holds
            binary codes, or the reference does not fit it.

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
        >>> from torchgeo_cmr.search import RetrievalIndex, rerank
        >>> index = HubFree(RetrievalIndex(table), table, neighbours=1)
        >>> rerank(index, [0, 1], 1)['patch_id'].tolist()
        ['c']
    """

    def __init__(
        self,
        index: RetrievalIndex,
        reference: EmbeddingTable | ArrayLike,
        *,
        method: str = 'csls',
        neighbours: int = 10,
        temperature: float = 30,
    ) -> None:
        """Keep the reference; nothing is compared yet."""
        if method not in _METHODS:
            raise QueryError(
                f'method {method!r} is not known; use {" or ".join(_METHODS)}'
            )
        if index.select([]).metric != 'cosine':
            raise QueryError(
                'hubs are corrected in cosines and this archive holds binary codes; use the '
                'archive of vectors'
            )
        if neighbours < 1 or not temperature > 0:
            raise QueryError(
                f'neighbours is {neighbours} and temperature {temperature}; give positive numbers'
            )
        self.index = index
        self.method = method
        self.neighbours = neighbours
        self.temperature = temperature
        self._reference = _unit_queries(index, reference).astype(np.float64)
        #: Mean similarity of each row to the reference, by number; NaN where not yet computed.
        self._general = np.empty(0)

    def rank(
        self,
        vectors: EmbeddingTable | ArrayLike,
        k: int = 10,
        where: Where | None = None,
        *,
        exclude: str | float | None = 'self',
        exclude_days: float | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rank rows by corrected score: every row that matches is scored.

        Args:
            vectors: Queries.
            k: Rows per query.
            where: Which rows may be found.
            exclude: As for :meth:`RetrievalIndex.search`.
            exclude_days: As for :meth:`RetrievalIndex.search`.

        Returns:
            Row numbers and corrected scores, (num_queries, min(k, matching rows)).

        Raises:
            QueryError: As :meth:`RetrievalIndex.rank`.
        """
        return stacked(*self._ranked(vectors, k, where, exclude, exclude_days))

    def search(
        self,
        queries: EmbeddingTable | ArrayLike,
        k: int = 10,
        *,
        where: Where | None = None,
        exclude: str | float | None = 'self',
        exclude_days: float | None = None,
    ) -> gpd.GeoDataFrame:
        """Find the k best rows by corrected score, as a layer.

        Args:
            queries: As for :meth:`RetrievalIndex.search`.
            k: Rows per query.
            where: Which rows may be found.
            exclude: As for :meth:`RetrievalIndex.search`.
            exclude_days: As for :meth:`RetrievalIndex.search`.

        Returns:
            A result whose ``score`` is the corrected one.

        Raises:
            QueryError: As :meth:`RetrievalIndex.search`.
        """
        _, ids = self.index._queries(queries)
        rows, scores = self._ranked(queries, k, where, exclude, exclude_days)
        return self.index.result(rows, scores, ids)

    def select(self, rows: NDArray[np.int64]) -> EmbeddingTable:
        """Give some rows as a table."""
        return self.index.select(rows)

    def result(
        self, rows: Any, scores: Any, query_ids: Any, *, exact: bool = True
    ) -> gpd.GeoDataFrame:
        """Give ranked rows as a layer."""
        return self.index.result(rows, scores, query_ids, exact=exact)

    def _ranked(
        self,
        queries: EmbeddingTable | ArrayLike,
        k: int,
        where: Where | None,
        exclude: str | float | None,
        days: float | None,
    ) -> _Lists:
        """Rank every group of queries; rows and scores come one array per query."""
        k, state = checked(k), self.index._state
        unit = _unit_queries(self.index, queries)
        table = queries if isinstance(queries, EmbeddingTable) else None
        question = question_of(unit, where, table, exclude, days)
        self_match = question.exclusion.own
        wide = k if self_match is None else k + self_match.most
        rows: list[_Rows] = [np.empty(0, np.int64)] * len(unit)
        scores: list[NDArray[np.float64]] = [np.empty(0)] * len(unit)
        for group in groups_of(state, question.where, table, len(unit)):
            for queries_of_part, withheld in question.exclusion.chunks(
                state, group.queries
            ):
                owner, row, score = self._best(
                    state, question, queries_of_part, group.selection, withheld, wide
                )
                if self_match is not None:
                    kept = ~self_match.among(
                        state, queries_of_part[owner], row[:, None], None
                    )[:, 0]
                    owner, row, score = owner[kept], row[kept], score[kept]
                first = np.searchsorted(owner, np.arange(len(queries_of_part) + 1))
                for i, query in enumerate(queries_of_part):
                    part = slice(first[i], min(first[i] + k, first[i + 1]))
                    rows[query], scores[query] = row[part], score[part]
        return rows, scores

    def _best(
        self,
        state: State,
        question: Question,
        queries: _Rows,
        selection: list[_Rows],
        withheld: Sequence[HiddenRows | None],
        k: int,
    ) -> tuple[_Rows, _Rows, NDArray[np.float64]]:
        """Give query, row and corrected score of the best rows, sorted by query and score."""
        unit = question.vectors[queries].astype(np.float64)
        left = sum(map(len, selection))
        pool = Pool(len(unit), max(1, min(k, left)), Margin.even(len(unit), _SLACK))
        # The nearest rows of each query, whatever they are to others.
        nearest = np.full((len(unit), min(self.neighbours, left)), -np.inf)
        factor = 2 if self.method == 'csls' else 1
        for part, rows_of_part, held, begin in zip(
            state.parts, selection, withheld, state.starts, strict=False
        ):
            for start in range(0, len(rows_of_part), _ROWS):
                rows_of_block = rows_of_part[start : start + _ROWS]
                block = part.vectors.whole[rows_of_block].astype(np.float64)
                numbers = part.to_numbers(rows_of_block) + begin
                cosine = unit @ block.T
                if factor > 1:
                    both = np.hstack([nearest, cosine])
                    width = nearest.shape[1]
                    nearest = np.partition(both, -width, axis=1)[:, -width:]
                score = factor * cosine - self._to_everyone(state, numbers, block)
                if held is not None:
                    held.hide(rows_of_block, score)
                    held.hide_times(rows_of_block, score)
                pool.add(numbers, score)
        pool.settle()
        owner, row = pool.owner, pool.row
        # In one order of addition, so that equal vectors score alike wherever they are.
        score = np.empty(len(row))
        for start in range(0, len(row), _ROWS):
            part = slice(start, start + _ROWS)
            other = self.index.vectors(row[part]).astype(np.float64)
            score[part] = factor * (unit[owner[part]] * other).sum(axis=1)
        score -= self._general[row]
        if factor > 1 and len(row):
            score -= nearest.mean(axis=1)[owner]
        score = score.round(_DIGITS)
        order = np.lexsort((-score, owner))
        if equal_neighbours(owner[order], score[order]):
            order = np.lexsort((names_ranked(state, row), -score, owner))
        owner, row, score = owner[order], row[order], score[order]
        first = np.searchsorted(owner, owner)
        kept = np.arange(len(owner)) - first < k
        return owner[kept], row[kept], score[kept]

    def _to_everyone(
        self, state: State, numbers: _Rows, block: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Give how close some rows are to the reference; computed once for each."""
        known = self._general
        if len(known) < len(state.columns):
            known = np.full(len(state.columns), np.nan)
            known[: len(self._general)] = self._general
            self._general = known
        new = np.flatnonzero(np.isnan(known[numbers]))
        few = min(self.neighbours, len(self._reference))
        step = max(1, _NUMBERS // max(1, len(self._reference)))
        for start in range(0, len(new), step):
            piece = new[start : start + step]
            cosine = block[piece] @ self._reference.T
            if self.method == 'csls':
                general = np.partition(cosine, -few, axis=1)[:, -few:].mean(axis=1)
            else:
                high = cosine.max(axis=1)
                mean = np.exp(self.temperature * (cosine - high[:, None])).mean(axis=1)
                general = high + np.log(mean) / self.temperature
            known[numbers[piece]] = general
        return known[numbers]


def _unit_queries(
    index: RetrievalIndex, queries: EmbeddingTable | ArrayLike
) -> NDArray[np.float32]:
    """Check queries as a search does, and give unit rows."""
    return index._queries(queries)[0]
