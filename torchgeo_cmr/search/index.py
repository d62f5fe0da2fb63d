"""RetrievalIndex: an archive that answers."""

import time
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .exact import top_k
from .filters import Step, Where
from .results import make_result


@dataclass(frozen=True)
class Explanation:
    """How a search was, or would be, answered; ``str()`` gives a few readable lines.

    Args:
        plan: ``'exact'``: every row left by the filters was scored.
        queries: Number of queries.
        k: Rows asked for a query.
        archive: Rows in the archive.
        rows: Rows left by the filters.
        found: Rows given for each query, ``min(k, rows)``.
        undated: Rows without time that a time window met.
        steps: What each filter did, then the ranking, with seconds.

    .. versionadded:: 0.1
    """

    plan: str
    queries: int
    k: int
    archive: int
    rows: int
    found: int
    undated: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """Lay the steps out below one another."""
        lines = [
            f'plan: {self.plan}; {self.queries} queries, k={self.k}, {self.archive} rows'
        ]
        lines += [
            f'  {s.clause}: {s.before} -> {s.after} rows, {s.seconds * 1000:.1f} ms'
            for s in self.steps
        ]
        if self.undated:
            lines.append(f'  rows without time met by the window: {self.undated}')
        return '\n'.join(lines)


class RetrievalIndex:
    """A table to search in: filter first, then rank what is left.

    Args:
        table: The archive. It is not copied.

    .. versionadded:: 0.1
    """

    def __init__(self, table: EmbeddingTable) -> None:
        """Remember the table and the alphabetical order of its ids, which breaks ties."""
        self.table = table
        order = np.argsort(
            table.frame['patch_id'].to_numpy(dtype=object), kind='stable'
        )
        self._ties = np.empty(len(table), dtype=np.int64)
        self._ties[order] = np.arange(len(table))

    def search(
        self,
        queries: EmbeddingTable | ArrayLike,
        k: int = 10,
        *,
        where: Where | None = None,
        exact: bool = True,
    ) -> gpd.GeoDataFrame:
        """Find the k closest rows of the archive for each query.

        Args:
            queries: A table whose ``space`` is the archive's (a null space fits any), or
                vectors (num_queries, dim) or (dim,), which are brought to unit norm.
            k: Rows a query; fewer come if fewer match the filter, never padding.
            where: Which rows may be found; all without it.
            exact: False allows an approximate answer. So far every answer is exact.

        Returns:
            GeoDataFrame in EPSG:4326 with the columns of :data:`RESULT_COLUMNS` and of the
            archive, sorted by query and rank; equal scores in the order of ``patch_id``.
            ``query_id`` is the ``patch_id`` of the query, or ``q0``, ``q1``, ... for vectors.

        Raises:
            QueryError: If k, the queries or the filter do not fit the archive.
        """
        vectors, ids = self._queries(queries)
        rows, scores = self._rank(vectors, _checked(k), self._rows(where))
        return make_result(self.table, rows, scores, ids, exact=True)

    def rank(
        self, vectors: ArrayLike, k: int = 10, where: Where | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rank without making a layer: arrays only.

        Args:
            vectors: Queries (num_queries, dim) or (dim,); brought to unit norm.
            k: Rows a query.
            where: Which rows may be found.

        Returns:
            Row numbers and scores in -1..1 (higher is closer), both
            (num_queries, min(k, matching rows)), best first, ties by ``patch_id``.

        Raises:
            QueryError: As :meth:`search`.
        """
        unit, _ = self._queries(vectors)
        return self._rank(unit, _checked(k), self._rows(where))

    def explain(
        self,
        queries: EmbeddingTable | ArrayLike,
        k: int = 10,
        *,
        where: Where | None = None,
    ) -> Explanation:
        """Run a search and say how it went instead of what it found.

        Args:
            queries: As for :meth:`search`.
            k: Rows a query.
            where: Which rows may be found.

        Raises:
            QueryError: As :meth:`search`.
        """
        vectors, _ = self._queries(queries)
        k = _checked(k)
        rows, steps = (where or Where()).narrow(self.table)
        begin = time.perf_counter()
        found, _ = self._rank(vectors, k, rows)
        ranking = Step('rank', len(rows), found.shape[1], time.perf_counter() - begin)
        return Explanation(
            plan='exact',
            queries=len(vectors),
            k=k,
            archive=len(self.table),
            rows=len(rows),
            found=found.shape[1],
            undated=sum(step.undated or 0 for step in steps),
            steps=(*steps, ranking),
        )

    def _rows(self, where: Where | None) -> NDArray[np.int64]:
        if where is None:
            return np.arange(len(self.table), dtype=np.int64)
        if not isinstance(where, Where):
            raise QueryError(f'where is a {type(where).__name__}; give a Where(...)')
        return where.rows(self.table)

    def _rank(
        self, vectors: NDArray[np.float32], k: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return top_k(self.table.vectors, rows, vectors, k, ties=self._ties)

    def _queries(
        self, queries: EmbeddingTable | ArrayLike
    ) -> tuple[NDArray[np.float32], list[str]]:
        """Check queries and give unit rows and their ids."""
        table = self.table
        if isinstance(queries, EmbeddingTable):
            both = sorted({*queries.spaces, *table.spaces})
            if len(both) > 1:
                raise QueryError(
                    f'the queries were embedded in space {_words(queries.spaces)} and the archive in '
                    f'{_words(table.spaces)}; embed both with one checkpoint'
                )
            if queries.metric != table.metric:
                raise QueryError(
                    f'the queries are compared by {queries.metric} and the archive by {table.metric}; '
                    'embed both with one checkpoint'
                )
            vectors, ids = queries.vectors, queries.frame['patch_id'].tolist()
        else:
            vectors = _unit(queries)
            ids = [f'q{i}' for i in range(len(vectors))]
        if vectors.shape[1] != table.dim:
            raise QueryError(
                f'the queries have {vectors.shape[1]} numbers and the archive has {table.dim}; '
                'embed both with one checkpoint'
            )
        return vectors, ids


def _unit(queries: ArrayLike) -> NDArray[np.float32]:
    """Check bare vectors and bring them to unit norm."""
    try:
        given = np.asarray(queries)
    except ValueError as error:
        raise QueryError(
            'the queries have different lengths; give (num_queries, dim)'
        ) from error
    if given.ndim == 1:
        given = given[None]
    if given.ndim != 2 or given.shape[1] == 0 or given.dtype.kind not in 'fiu':
        raise QueryError(
            f'queries have shape {given.shape} and type {given.dtype}; give real numbers (num_queries, dim)'
        )
    given = given.astype(np.float64)
    largest = np.abs(given).max(axis=1, keepdims=True)
    if not np.isfinite(largest).all():
        raise QueryError(
            f'query {int(np.argmin(np.isfinite(largest)))} holds NaN or infinite numbers'
        )
    if (largest == 0).any():
        raise QueryError(
            f'query {int(np.argmin(largest))} holds only zeros, which point nowhere'
        )
    given = given / largest
    return (given / np.linalg.norm(given, axis=1, keepdims=True)).astype(np.float32)


def _checked(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise QueryError(f'k is {k!r}; give a whole number of at least 1')
    if k < 1:
        raise QueryError(f'k is {k}; ask for at least 1 row a query')
    return int(k)


def _words(spaces: tuple[str, ...]) -> str:
    return ' and '.join(spaces) or 'none'
