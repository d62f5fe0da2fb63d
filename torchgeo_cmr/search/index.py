"""RetrievalIndex: an archive that can be searched.

Long because every argument is documented: what is done is in functions of the state, those that
rank in :mod:`~torchgeo_cmr.search.store.engine` and those that change it in
:mod:`~torchgeo_cmr.search.store.lifecycle`.
"""

import logging
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Self

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr import freed_memory
from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search.keywords import named
from torchgeo_cmr.search.queries.forms import (
    Asking,
    Filtering,
    read_asking,
    read_filter,
)
from torchgeo_cmr.search.rank.checks import bare, check_least, checked
from torchgeo_cmr.search.rank.plan import Plan
from torchgeo_cmr.search.store import lifecycle
from torchgeo_cmr.search.store.contents import IndexContents, frame_of
from torchgeo_cmr.search.store.engine import (
    question_of,
    ranked,
    reaching,
    stacked,
    summed,
)
from torchgeo_cmr.search.store.explanation import Explanation, unmet
from torchgeo_cmr.search.store.index_files import check_free, writing
from torchgeo_cmr.search.store.index_summary import is_index
from torchgeo_cmr.search.store.origin import Origin, is_server, origins, table_of
from torchgeo_cmr.search.store.snapshot import (
    State,
    join_states,
    open_state,
    read_state,
)
from torchgeo_cmr.search.where.where import Step, Where
from torchgeo_cmr.table import EmbeddingTable

from .memory import FEWER, check_fits
from .results import make_result

__all__ = ('Explanation', 'RetrievalIndex')

_LOG = logging.getLogger(__name__)

#: Bytes of a row's rank, score and query; and how often a result is in memory while it is made
#: and written, measured.
_OWN, _COPIES = 48, 5
#: Rows of a result whose size is estimated before they are ranked, and once they are.
_MANY, _FEW = 100_000, 1_000


class RetrievalIndex(IndexContents):
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
            an index, which is mapped; or a list of these, which are searched as one. Of several index
            folders all stay mapped, and ids are not compared before they are found: an answer that
            has one twice is refused.

    Raises:
        ArchiveError: If a ``patch_id`` occurs more than once, or a folder is neither an
            archive nor an index.
        QueryError: If nothing is named.

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
        >>> index = RetrievalIndex(table)
        >>> hits = index.search(table.select([0]), k=2)
        >>> hits['patch_id'].tolist()
        ['b', 'c']
        >>> index.search([1, 0], k=2, where=(9.5, 45, 12, 47))['score'].round(
        ...     3
        ... ).tolist()
        [0.8, 0.0]
    """

    def __init__(self, archive: Origin | Iterable[Origin]) -> None:
        """Remember the archive; what a search needs is computed when first needed."""
        freed_memory.keep()
        found = origins(archive)
        self._lock = threading.RLock()
        self._path: Path | None = None
        folders = [Path(f) for f in found if isinstance(f, str | PathLike)]
        if len(folders) == len(found) and all(map(is_index, folders)):
            states = [open_state(folder) for folder in folders]
            if len(states) > 1:
                super().__init__(join_states(states, [str(f) for f in folders]))
                return
            super().__init__(states[0])
            self._path = folders[0]
            return
        super().__init__(lifecycle.state_of(table_of(found)))

    def __repr__(self) -> str:
        """Name size and place in one line."""
        place = 'in memory' if self._path is None else str(self._path)
        return f'RetrievalIndex({len(self)} rows, dim={self.dim}, metric={self.metric}, {place})'

    @classmethod
    def build(
        cls,
        archive: Origin | Iterable[Origin],
        path: str | PathLike[str] | None = None,
        *,
        vectors: str = 'float32',
        approximate: str | Iterable[str] = (),
        recall: float = 0.95,
        seed: int = 0,
        codes: bool = True,
        overwrite: bool = False,
    ) -> Self:
        """Put an archive in the order of a curve, in memory or on disk.

        Args:
            archive: What :meth:`open` takes.
            path: Folder to write; the index is then mapped from there. In memory without it.
            vectors: What a scan reads: ``'float32'``, ``'float16'``, ``'int8'`` (one scale per
                row) or ``'binary'`` (signs). Whole vectors are kept along with the last three, on
                disk, for the second look that makes answers exact.
            approximate: Approximate indexes to make as well, the one to prefer first: of
                ``'ivf'``, ``'ivf_pq'``, ``'rabitq'``.
                They are used only with ``exact=False``.
            recall: Recall at 10 that approximate indexes are adjusted to.
            seed: For the sample they are adjusted with.
            codes: Give float32 vectors codes of one byte per number as well, a quarter more, which
                exact searches of many rows read first; answers are the same without.
            overwrite: Replace an index that is at the path.

        Returns:
            The index.

        Raises:
            ArchiveError: If the folder is not an archive, or a ``patch_id`` occurs more than once.
            QueryError: If an argument is not valid.
            OutputExistsError: If the path is there and is not to be replaced.
        """
        if path is not None:
            check_free(path, overwrite=overwrite)
        table = table_of(archive)
        index = cls(table)
        kinds = [approximate] if isinstance(approximate, str) else list(approximate)
        index._state = lifecycle.built(
            index._state, table, vectors, kinds, recall, seed, codes
        )
        if path is not None:
            index.save(path, overwrite=overwrite)
            index._path = Path(path)
            index._state = open_state(index._path)
        return index

    @classmethod
    def open(
        cls,
        path: Origin | Iterable[Origin],
        archive: Origin | Iterable[Origin] | None = None,
    ) -> Self:
        """Open what is named to search in it.

        Args:
            path: Folder that :meth:`build` or :meth:`save` wrote: it is mapped, and almost
                nothing is read until it is needed. An archive folder or a table: it is held in
                memory. Several of these: index folders are mapped side by side, anything else is
                read and combined. Or the address of a
                database, ``postgresql://...``, that :func:`load_archive` filled.
            archive: What the index should have been built from, a table or a folder as it
                was then; the index is refused if it was not.

        Raises:
            ArchiveError: If a folder is neither an index nor an archive, is broken or of a
                newer format, or was built from another archive.
            QueryError: If nothing is named.
        """
        if is_server(path):
            from .postgres.server_index import ServerIndex

            index: Any = ServerIndex(path)
        else:
            index = cls(path)
        if archive is None:
            return index
        built_from = index._state.facts['fingerprint'] or index.fingerprint
        if not lifecycle.is_built_from(built_from, archive):
            raise ArchiveError(
                f'the index {index._path or "in memory"} was not built from this archive, or the '
                'archive has changed; build it again'
            )
        return index

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
        check_least(min_score, calibrated=calibrated)
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
        # Less after a least score, of which nothing is known before.
        size = 0.0
        if min_score is None and len(vectors) * min(checked(k), len(self)) > _MANY:
            size = _size(state.columns.frame(np.arange(min(100, len(state.columns)))))
        rows, scores, reports = ranked(
            state, question, checked(k), exact, calibrated, size=size
        )
        if min_score is not None:
            good = [s >= np.float32(min_score) for s in scores]
            rows = [r[g] for r, g in zip(rows, good, strict=True)]
            scores = [s[g] for s, g in zip(scores, good, strict=True)]
        plans = [plan for report in reports for plan in report.plans]
        for plan in plans:
            _LOG.debug('ranked %s, %s: %s', plan.left, plan.name, plan.how)
        exact = all(plan.exact for plan in plans)
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
        steps = summed([report.steps for report in reports], len(reports))
        spent -= sum(step.seconds for step in steps)
        plans = [plan for report in reports for plan in report.plans]
        weights = [report.queries for report in reports]
        left = len(self)
        if sum(weights):
            left = round(
                np.average([report.rows for report in reports], weights=weights)
            )
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
            again=_again(plans, len(vectors)),
            unmet=() if where is None else unmet(self, where, left=left),
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

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the index as a folder that :meth:`open` maps.

        Args:
            path: Folder to make; its parents are made too. It appears when it is complete.
            overwrite: Replace an index that is there, never anything else. Those who have it open
                keep the old one.

        Returns:
            The folder.

        Raises:
            OutputExistsError: If the path is there and is not to be replaced.
            ArchiveError: If another process is changing the index that is there.
        """
        check_free(path, overwrite=overwrite)
        with self._lock:
            folder = lifecycle.write(self._state, Path(path), overwrite=overwrite)
            if self._path is not None and folder.samefile(self._path):
                self._state = open_state(folder)
        return folder

    def refresh(self) -> bool:
        """See what others have changed in the folder since the index was opened.

        Row numbers stay what they are, unless the index was built anew.

        Returns:
            Whether anything has changed; an index in memory changes by its own methods only.
        """
        if self._path is None:
            return False
        with self._lock:
            before = self._state
            self._state = open_state(self._path)
            after = self._state
        return (before.facts, len(before.columns), before.columns.total) != (
            after.facts,
            len(after.columns),
            after.columns.total,
        )

    def append(self, table: Origin | Iterable[Origin]) -> None:
        """Add rows; those that are there stay untouched, on disk too.

        Args:
            table: Rows of the same dimension, metric and space; no ``patch_id`` of theirs is
                in the index. A table, the folder of an archive, or several. On disk, the rows
                that were appended last may be given again, and nothing happens: the call may
                be that of a process that was killed when it was done.

        Raises:
            ArchiveError: If the rows do not belong into this index, a column of theirs holds
                another type, an id is there already, or another process is changing the index.
            QueryError: If it is not an archive.
        """
        table = table_of(table)
        with self._changing() as header:
            self._check(table, ArchiveError, 'the new rows')
            self._state = lifecycle.appended(self._state, table, self._path, header)

    def delete(
        self, ids: str | Iterable[str] | Where | EmbeddingTable | pd.DataFrame
    ) -> None:
        """Leave rows out from now on; their numbers are not given again.

        Args:
            ids: One ``patch_id`` or several, rows that have one, such as hits, or a filter
                whose rows are deleted. If all were deleted before, nothing happens.

        Raises:
            QueryError: If an id is not in the index, or the filter does not fit it.
            ArchiveError: If another process is changing the index.
        """
        with self._changing() as header:
            self._state = lifecycle.deleted(self._state, ids, self._path, header)

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process as a path, not as vectors, if the index is on disk."""
        state = {
            name: value for name, value in self.__dict__.items() if name != '_lock'
        }
        if self._path is None:
            return state
        return {'_path': self._path, '_build': self._state.facts['build']}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the index again in the process it came to."""
        build = state.pop('_build', None)
        self.__dict__.update(state)
        self._lock = threading.RLock()
        if self._path is not None:
            self._state = open_state(self._path)
            self._check_build(build)

    def _check_build(self, build: str | None) -> None:
        """Refuse to go on with another build, whose row numbers are others."""
        if self._state.facts['build'] != build:
            raise ArchiveError(
                f'the index {self._path} was built anew since it was opened; open it again'
            )

    @contextmanager
    def _changing(self) -> Generator[dict[str, Any] | None]:
        """Hold the index while it is changed; on disk, its header is written at the end."""
        with self._lock:
            if self._path is None:
                yield None
                return
            before = self._state
            try:
                with writing(self._path) as header:
                    # What others have changed since this process looked.
                    self._state = read_state(self._path, header)
                    self._check_build(before.facts['build'])
                    yield header
            except BaseException:
                self._state = before
                raise
            self._state = open_state(self._path)

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


def _again(plans: Sequence[Plan], num_queries: int) -> float | None:
    """Give how many rows per query were scored again; None if that is not known of all."""
    counts = [plan.again for plan in plans if plan.again is not None]
    known = len(counts) == len(plans)
    return sum(counts) / max(1, num_queries) if known else None


def _size(frame: pd.DataFrame) -> float:
    """Estimate the bytes that a row of a result takes until it is written."""
    first = frame.iloc[:1000]
    every = first.memory_usage(deep=True, index=False).sum()
    return _COPIES * (_OWN + every / max(1, len(first)))


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
    # Hits of one query are different rows; those of several are made once.
    distinct, place = every, None
    if len(lengths) != 1:
        distinct, place = np.unique(every, return_inverse=True)
    frame = frame_of(state, distinct)
    if len(every) > _FEW:
        check_fits(len(every) * _size(frame), f'a result of {len(every)} rows', FEWER)
    if place is not None:
        frame = frame.iloc[place]
    ranks = [np.arange(1, n + 1, dtype=np.int32) for n in lengths]
    return make_result(
        frame,
        np.repeat(np.asarray(query_ids, dtype=object), lengths),
        np.concatenate([np.empty(0, np.int32), *ranks]),
        flat,
        exact=exact,
    )
