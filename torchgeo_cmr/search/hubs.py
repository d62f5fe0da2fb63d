"""Answers freed of hubs: rows that are close to everything are worth less.

In many dimensions a few rows are among the nearest of very many queries (hubs), and more so
where two modalities meet. Both corrections here take from a row's score how close it is to
queries in general, known from a set of reference queries.
"""

from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .filters import Where
from .index import RetrievalIndex

_METHODS = ('csls', 'softmax')
_ROWS = 8_192


class HubFree:
    r"""An index whose scores are corrected for hubs.

    ``'csls'``: :math:`2\cos(x, y) - r(x) - r(y)`, where :math:`r(y)` is the mean cosine of
    a row to its nearest reference queries and :math:`r(x)` that of the query to its nearest
    rows; A. Conneau et al., "Word translation without parallel data", ICLR 2018. ``'softmax'``:
    :math:`\cos(x, y) - \frac{1}{t} \log \mathrm{mean}_{x'} e^{t \cos(x', y)}` over the
    reference queries, the logarithm of the inverted softmax over ``t``; S. L. Smith et al.,
    "Offline bilingual word vectors, orthogonal transformations and the inverted softmax",
    ICLR 2017. Ranks within a query depend on the row's part only.

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

    .. versionadded:: 0.1
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
        self._reference = _unit_queries(index, reference)

    def rank(
        self,
        vectors: EmbeddingTable | ArrayLike,
        k: int = 10,
        where: Where | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rank rows by corrected score: every row that matches is scored.

        Args:
            vectors: Queries; with a filter that refers to the query, one row of a table.
            k: Rows a query.
            where: Which rows may be found.

        Returns:
            Row numbers and corrected scores, (num_queries, min(k, matching rows)).

        Raises:
            QueryError: As :meth:`RetrievalIndex.rank`.
        """
        unit = _unit_queries(self.index, vectors).astype(np.float64)
        table = vectors if isinstance(vectors, EmbeddingTable) else None
        rows = self.index.rows(where, table)
        if not len(rows):
            return (
                np.empty((len(unit), 0), dtype=np.int64),
                np.empty((len(unit), 0), dtype=np.float64),
            )
        score = np.empty((len(unit), len(rows)))
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            block = self.index.vectors(rows[part]).astype(np.float64)
            score[:, part] = self._corrected(unit, block)
        if self.method == 'csls':
            score -= self._own(unit, rows)[:, None]
        k = min(k, len(rows))
        ties = self.index.ties[rows]
        best = np.stack([np.lexsort((ties, -one))[:k] for one in score])
        return rows[best], np.take_along_axis(score, best, axis=1)

    def search(
        self,
        queries: EmbeddingTable | ArrayLike,
        k: int = 10,
        *,
        where: Where | None = None,
    ) -> gpd.GeoDataFrame:
        """Find the k best rows by corrected score, as a layer.

        Args:
            queries: As for :meth:`RetrievalIndex.search`.
            k: Rows a query.
            where: Which rows may be found.

        Returns:
            A result whose ``score`` is the corrected one.

        Raises:
            QueryError: As :meth:`RetrievalIndex.search`.
        """
        from .rerank import rerank

        return rerank(self, queries, k, where=where)

    def select(self, rows: NDArray[np.int64]) -> EmbeddingTable:
        """Give some rows as a table."""
        return self.index.select(rows)

    def result(
        self, rows: Any, scores: Any, query_ids: Any, *, exact: bool = True
    ) -> gpd.GeoDataFrame:
        """Give ranked rows as a layer."""
        return self.index.result(rows, scores, query_ids, exact=exact)

    def _corrected(
        self, unit: NDArray[np.float64], block: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Score queries against some rows, less what the rows are to everyone."""
        cosine = unit @ block.T
        general = self._reference.astype(np.float64) @ block.T
        if self.method == 'softmax':
            high = general.max(axis=0)
            mean = np.exp(self.temperature * (general - high)).mean(axis=0)
            return cosine - high - np.log(mean) / self.temperature
        few = min(self.neighbours, len(general))
        return 2 * cosine - np.partition(general, -few, axis=0)[-few:].mean(axis=0)

    def _own(
        self, unit: NDArray[np.float64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Mean cosine of each query to its nearest rows."""
        few = min(self.neighbours, len(rows))
        best = np.full((len(unit), few), -np.inf)
        for start in range(0, len(rows), _ROWS):
            block = self.index.vectors(rows[start : start + _ROWS]).astype(np.float64)
            pool = np.hstack([best, unit @ block.T])
            best = np.partition(pool, -few, axis=1)[:, -few:]
        return best.mean(axis=1)


def _unit_queries(
    index: RetrievalIndex, queries: EmbeddingTable | ArrayLike
) -> NDArray[np.float32]:
    """Check queries as a search does, and give unit rows."""
    return index._queries(queries)[0]
