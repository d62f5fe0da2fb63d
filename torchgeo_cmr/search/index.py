"""RetrievalIndex: an archive that can be searched."""

import time
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.queries.forms import (
    Asking,
    Filtering,
    read_asking,
    read_filter,
)
from torchgeo_cmr.search.rank.checks import bare, check_least, checked
from torchgeo_cmr.search.store.contents import taken
from torchgeo_cmr.search.store.engine import (
    question_of,
    ranked,
    reaching,
    stacked,
    summed,
)
from torchgeo_cmr.search.store.explanation import Explanation
from torchgeo_cmr.search.store.lifecycle import IndexLifecycle
from torchgeo_cmr.search.store.snapshot import State
from torchgeo_cmr.search.where.keywords import named
from torchgeo_cmr.search.where.where import Step
from torchgeo_cmr.table import EmbeddingTable

from .results import make_result

__all__ = ('Explanation', 'RetrievalIndex')


class RetrievalIndex(IndexLifecycle):
    """An archive to search in: filter first, then rank what is left.

    An index of a table in memory shares the table's vectors. One that was built
    (:meth:`build`) keeps its rows along a curve, so that an area becomes a few runs of rows,
    and can be saved, opened in a moment and changed. Searching is safe from several threads
    and processes at once; a search that runs while rows are added or deleted sees the index as
    it was before or as it is after.

    Row numbers that go in or come out are those of the archive the index was made from:
    row 0 is its first, whatever the order on disk. Rows that are added are numbered on;
    numbers of deleted rows are not given again.

    Args:
        archive: A table, which is not copied; the folder of an archive, which is read, or of
            an index, which is mapped; or a list of these, which are searched as one.

    Raises:
        ArchiveError: If a ``patch_id`` occurs more than once, or a folder is neither an
            archive nor an index.
        QueryError: If nothing is named.
    """

    @named
    def search(
        self,
        queries: Asking,
        k: int | None = 10,
        where: Filtering | None = None,
        *,
        exact: bool = True,
        min_score: float | None = None,
        calibrated: bool = False,
        exclude: str | float | None = 'self',
        exclude_days: float | None = None,
    ) -> gpd.GeoDataFrame:
        """Find the k closest rows of the archive for each query.

        Args:
            queries: A table whose ``space`` is the archive's (a null space fits any), or
                vectors (num_queries, dim) or (dim,), which are brought to unit norm; or rows of
                this archive: a ``patch_id`` or several, or rows of a frame that has them, such
                as hits.
            k: Rows per query; fewer come if fewer match the filter, never padding. None for
                all that reach ``min_score``.
            where: Which rows may be found; all without it. A :class:`Where`, or anything an area
                may be.
            exact: False allows an approximate answer where that is quicker; the column
                ``exact`` records whether it was given.
            min_score: Drop hits that score less.
            calibrated: Rank by how far a score is above those that the query gets in the same
                modality, in standard deviations, which becomes the score. Without it an
                archive of several modalities is ranked by bare scores, and the modality
                whose vectors lie closer to the query's own fills the list.
            exclude: What a query of a table must not find: ``'self'``, the rows of the
                archive that it is, or was made of as an example (:func:`from_examples`);
                metres, also all at most so far from its footprint (0: what touches it); None
                to leave nothing out. A row is the query if it has its ``patch_id``, its
                vector, and no other modality. A query without a place excludes itself only.
            exclude_days: Also exclude what was taken at most so many days before or after
                the query; rows and queries without a date are not concerned.

        Returns:
            GeoDataFrame in EPSG:4326 with the columns of :data:`RESULT_COLUMNS` and of the
            archive, sorted by query and rank; equal scores in the order of ``patch_id``.
            ``query_id`` is the ``patch_id`` of the query, or ``q0``, ``q1``, ... for vectors.

        Raises:
            QueryError: If k, the queries or the filter do not fit the archive.
        """
        check_least(min_score)
        queries, where = read_asking(self, queries), read_filter(where)
        vectors, ids = self._queries(queries)
        state = self._state  # that of one moment, whatever is changed meanwhile
        question = question_of(vectors, where, _table(queries), exclude, exclude_days)
        if k is None:
            if min_score is None or calibrated:
                raise QueryError(
                    'k is None; give a number of rows, or give min_score for all that reach it, '
                    'without calibrated'
                )
            rows, scores = reaching(state, question, min_score)
            return _result(state, rows, scores, ids)
        rows, scores, reports = ranked(state, question, checked(k), exact, calibrated)
        if min_score is not None:
            good = [s >= np.float32(min_score) for s in scores]
            rows = [r[g] for r, g in zip(rows, good, strict=True)]
            scores = [s[g] for s, g in zip(scores, good, strict=True)]
        exact = all(plan.exact for one in reports for plan in one.plans)
        return _result(state, rows, scores, ids, exact=exact)

    @named
    def rank(
        self,
        vectors: Asking,
        k: int = 10,
        where: Filtering | None = None,
        *,
        exact: bool = True,
        calibrated: bool = False,
        exclude: str | float | None = 'self',
        exclude_days: float | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rank without making a layer: arrays only.

        Args:
            vectors: Queries (num_queries, dim) or (dim,), brought to unit norm; or a table.
            k: Rows per query.
            where: Which rows may be found.
            exact: As for :meth:`search`.
            calibrated: As for :meth:`search`.
            exclude: As for :meth:`search`.
            exclude_days: As for :meth:`search`.

        Returns:
            Row numbers and scores in -1..1 (higher is closer; in standard deviations if
            calibrated), both (num_queries, min(k, matching rows)), best first, ties by
            ``patch_id``.

        Raises:
            QueryError: As :meth:`search`, or if the filter refers to the query, or what is
                excluded, leaves some of several queries other numbers of rows below k than
                others.
        """
        vectors, where = read_asking(self, vectors), read_filter(where)
        unit, _ = self._queries(vectors)
        question = question_of(unit, where, _table(vectors), exclude, exclude_days)
        rows, scores, _ = ranked(self._state, question, checked(k), exact, calibrated)
        if not rows:
            k = min(checked(k), len(self))
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        return stacked(rows, scores)

    @named
    def explain(
        self,
        queries: Asking,
        k: int = 10,
        where: Filtering | None = None,
        *,
        exact: bool = True,
        calibrated: bool = False,
        exclude: str | float | None = 'self',
        exclude_days: float | None = None,
    ) -> Explanation:
        """Run a search and say how it went instead of what it found.

        Args:
            queries: As for :meth:`search`.
            k: Rows per query.
            where: Which rows may be found.
            exact: As for :meth:`search`.
            calibrated: As for :meth:`search`.
            exclude: As for :meth:`search`.
            exclude_days: As for :meth:`search`.

        Raises:
            QueryError: As :meth:`search`.
        """
        queries, where = read_asking(self, queries), read_filter(where)
        vectors, _ = self._queries(queries)
        question = question_of(vectors, where, _table(queries), exclude, exclude_days)
        begin = time.perf_counter()
        rows, _, reports = ranked(
            self._state, question, checked(k), exact, calibrated, counted=True
        )
        spent = time.perf_counter() - begin
        steps = summed([step for one in reports for step in one.steps], len(reports))
        spent -= sum(step.seconds for step in steps)
        plans = [plan for one in reports for plan in one.plans]
        weights = [one.queries for one in reports]
        left = len(self)
        if sum(weights):
            left = round(np.average([one.rows for one in reports], weights=weights))
        elif reports:
            left = round(reports[0].rows)
        found = round(np.mean([len(r) for r in rows])) if rows else min(k, left)
        known = [p.recall for p in plans if p.recall is not None]
        return Explanation(
            plan=' and '.join(dict.fromkeys(p.name for p in plans)) or 'exact',
            queries=len(vectors),
            k=k,
            archive=len(self),
            rows=left,
            found=found,
            undated=sum(step.undated or 0 for step in steps),
            steps=(*steps, Step('rank', left, found, spent)),
            why='; '.join(dict.fromkeys(p.why for p in plans)),
            exact=all(p.exact for p in plans),
            recall=min(known) if len(known) == len(plans) and known else None,
        )

    def result(
        self,
        rows: NDArray[np.int64] | Sequence[NDArray[np.int64]],
        scores: NDArray[np.floating] | Sequence[NDArray[np.floating]],
        query_ids: Sequence[str],
        *,
        exact: bool = True,
    ) -> gpd.GeoDataFrame:
        """Give ranked rows as the layer that :meth:`search` gives.

        Args:
            rows: Row numbers of each query, best first; lists of different lengths are fine.
            scores: Their scores.
            query_ids: One id per query.
            exact: Whether nothing closer can have been missed.
        """
        return _result(self._state, rows, scores, query_ids, exact=exact)

    def _queries(
        self, queries: EmbeddingTable | ArrayLike
    ) -> tuple[NDArray[Any], list[str]]:
        """Check queries and give unit rows and their ids."""
        if isinstance(queries, EmbeddingTable):
            self._check(queries, QueryError, 'the queries')
            return queries.vectors, queries.frame['patch_id'].tolist()
        vectors = bare(queries, packed=self._state.facts['metric'] == 'hamming')
        bits = vectors.shape[1] * (8 if vectors.dtype == np.uint8 else 1)
        if bits != self.dim:
            raise QueryError(
                f'the queries have {bits} numbers and the archive has {self.dim}; '
                'embed both with one checkpoint'
            )
        return vectors, [f'q{i}' for i in range(len(vectors))]


def _table(queries: EmbeddingTable | ArrayLike) -> EmbeddingTable | None:
    return queries if isinstance(queries, EmbeddingTable) else None


def _result(
    state: State,
    rows: NDArray[np.int64] | Sequence[NDArray[np.int64]],
    scores: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    query_ids: Sequence[str],
    *,
    exact: bool = True,
) -> gpd.GeoDataFrame:
    """Give ranked rows of a state as a layer."""
    lengths = [len(r) for r in rows]
    every = np.concatenate([np.empty(0, np.int64), *rows]).astype(np.int64)
    flat = np.concatenate([np.empty(0, np.float32), *scores])
    distinct, place = np.unique(every, return_inverse=True)
    some = taken(state, distinct)
    made = make_result(some, place[None], flat[None], [''], exact=exact)
    made['query_id'] = pd.Series(
        np.repeat(np.asarray(query_ids, dtype=object), lengths),
        dtype=made['query_id'].dtype,
    )
    ranks = [np.arange(1, n + 1, dtype=np.int32) for n in lengths]
    made['rank'] = np.concatenate([np.empty(0, np.int32), *ranks])
    return made
