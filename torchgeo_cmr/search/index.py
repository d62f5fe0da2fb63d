"""RetrievalIndex: an archive that answers.

The module is long because it is the door to the engine: building, keeping, changing and
asking meet here, and each is a few lines that call the module that does it.
"""

import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Self

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.sink import merge_records

from . import segment as segments
from . import store
from .asked import bare, checked
from .columns import Columns, TableColumns
from .engine import State, ranked, reaching, read_state, select, summed
from .filters import Step, Where
from .plan import Explanation
from .results import make_result

type _Rows = NDArray[np.int64]

__all__ = ('Explanation', 'RetrievalIndex')


class RetrievalIndex:
    """An archive to search in: filter first, then rank what is left.

    An index of a table in memory shares the table's vectors. One that was built
    (:meth:`build`) keeps its rows along a curve, so that an area becomes a few runs of rows,
    and can be saved, opened in a moment and changed. Searching is safe from several threads
    and processes at once; whoever searches while rows are added or deleted sees the index as
    it was before or as it is after.

    Row numbers that go in or come out are those of the archive the index was made from:
    row 0 is its first, whatever the order on disk. Rows that are added are numbered on;
    numbers of deleted rows are not given again.

    Args:
        table: The archive. It is not copied.

    Raises:
        ArchiveError: If a ``patch_id`` occurs more than once.

    .. versionadded:: 0.1
    """

    def __init__(self, table: EmbeddingTable) -> None:
        """Remember the table; what a search needs is computed when first needed."""
        ids = table.frame['patch_id']
        if not ids.is_unique:
            first = ids[ids.duplicated()].iloc[0]
            raise ArchiveError(
                f'patch_id {first!r} occurs more than once; make it unique'
            )
        facts = {
            'dim': table.dim,
            'metric': table.metric,
            'spaces': list(table.spaces),
            'record': table.record,
            'fingerprint': None,
        }
        self._state = State((segments.from_table(table),), ((),), facts)
        self._path: Path | None = None

    @classmethod
    def build(
        cls,
        archive: EmbeddingTable | str | PathLike[str],
        path: str | PathLike[str] | None = None,
        *,
        vectors: str = 'float32',
        approximate: str | Iterable[str] = (),
        recall: float = 0.95,
        seed: int = 0,
        overwrite: bool = False,
    ) -> Self:
        """Put an archive in the order of a curve, in memory or on disk.

        Args:
            archive: A table, or an archive folder.
            path: Folder to write; the index is then mapped from there. In memory without it.
            vectors: What a scan reads: ``'float32'``, ``'float16'``, ``'int8'`` (one scale a
                row) or ``'binary'`` (signs). Whole vectors are kept beside the last three, on
                disk, for the second look that makes answers exact.
            approximate: Approximate indexes to make as well, the one to prefer first: of
                ``'ivf'``, ``'ivf_pq'``, ``'rabitq'``, ``'hnsw'``, ``'sq'``, ``'binary'``.
                They are asked only with ``exact=False``.
            recall: Recall at 10 that approximate indexes are adjusted to.
            seed: For the sample they are adjusted with.
            overwrite: Replace an index that is at the path.

        Returns:
            The index.

        Raises:
            ArchiveError: If the folder is no archive, or a ``patch_id`` occurs more than once.
            QueryError: If an argument is none of the above.
            OutputExistsError: If the path is there and is not to be replaced.
        """
        if path is not None:
            store.check_free(path, overwrite=overwrite)
        table = (
            archive
            if isinstance(archive, EmbeddingTable)
            else EmbeddingTable.load(archive)
        )
        index = cls(table)
        index._state = replace(
            index._state,
            parts=(segments.build(table, vectors),),
            facts={**index._state.facts, 'fingerprint': store.fingerprint(archive)},
        )
        kinds = [approximate] if isinstance(approximate, str) else list(approximate)
        if kinds:
            from .approximate import build

            own = index._state.parts[0].vectors
            made = tuple(build(own, kind, recall=recall, seed=seed) for kind in kinds)
            index._state = replace(index._state, approximate=(made,))
        if path is None:
            return index
        index.save(path, overwrite=overwrite)
        return cls.open(path)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        archive: EmbeddingTable | str | PathLike[str] | None = None,
    ) -> Self:
        """Map an index from disk; almost nothing is read until it is asked.

        Args:
            path: Folder that :meth:`build` or :meth:`save` wrote.
            archive: What the index should have been built from, a table or a folder as it
                was then; the index is refused if it was not.

        Raises:
            ArchiveError: If the folder is no index, is broken or of a newer format, or was
                built from another archive.
        """
        folder = Path(path)
        header = store.read_header(folder)
        if archive is not None and store.fingerprint(archive) != header['fingerprint']:
            raise ArchiveError(
                f'the index {folder} was not built from this archive, or the archive has changed; '
                'build it again'
            )
        index = cls.__new__(cls)
        index._path = folder
        index._state = read_state(folder, header)
        return index

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the index as a folder that :meth:`open` maps.

        Args:
            path: Folder to make; its parents are made too. It appears when it is complete.
            overwrite: Replace an index that is there, never anything else.

        Returns:
            The folder.

        Raises:
            OutputExistsError: If the path is there and is not to be replaced.
        """
        state = self._state
        header: dict[str, Any] = {
            'format': store.FORMAT,
            'version': store.VERSION,
            'generation': 0,
            'segments': [],
            **state.facts,
        }
        if header['fingerprint'] is None:
            header['fingerprint'] = store.fingerprint(self.table)
        with store.new_folder(path, overwrite=overwrite) as folder:
            for i, part in enumerate(state.parts):
                header['segments'].append(
                    store.add_segment(folder, i, part, state.approximate[i])
                )
            store.write_header(folder, header)
        return Path(path)

    def append(self, table: EmbeddingTable) -> None:
        """Add rows; those that are there stay untouched, on disk too.

        Args:
            table: Rows of the same dimension, metric and space; no ``patch_id`` of theirs is
                in the index.

        Raises:
            ArchiveError: If the rows do not belong into this index, an id is there already,
                or another process is changing the index.
        """
        with self._changing() as header:
            state = self._state
            self._check(table, ArchiveError, 'the new rows')
            new = table.frame['patch_id'].tolist()
            for part in state.parts:
                if len(twice := part.named(new)):
                    raise ArchiveError(
                        f'patch_id {part.ids(twice[:1])[0]!r} is in the index already; delete '
                        'it first or leave it out'
                    )
            part = segments.build(table, state.parts[0].vectors.kind)
            facts = {
                **state.facts,
                'spaces': sorted({*state.facts['spaces'], *table.spaces}),
                'record': merge_records([state.facts['record'], table.record]),
            }
            if self._path is None or header is None:
                parts, approximate = (*state.parts, part), (*state.approximate, ())
                self._state = State(parts, approximate, facts)
                return
            number = len(header['segments'])
            header['segments'].append(store.add_segment(self._path, number, part, ()))
            header.update(facts)

    def delete(self, ids: str | Iterable[str] | Where) -> None:
        """Leave rows out from now on; their numbers are not given again.

        Args:
            ids: One ``patch_id`` or several, or a filter whose rows shall go.

        Raises:
            QueryError: If an id is not in the index, or the filter does not fit it.
            ArchiveError: If another process is changing the index.
        """
        with self._changing() as header:
            state = self._state
            if isinstance(ids, Where):
                found, _ = select(state, ids, None)
                named = zip(state.parts, found, strict=True)
                ids = [one for part, some in named for one in part.ids(some)]
            asked = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
            parts, left = [], set(asked)
            for part in state.parts:
                gone = part.named(asked)
                left -= set(part.ids(gone))
                parts.append(replace(part, dead=np.union1d(part.dead, gone)))
            if left:
                raise QueryError(
                    f'there is no patch_id {min(left)!r} in the index; nothing was deleted'
                )
            if self._path is None or header is None:
                self._state = replace(state, parts=tuple(parts))
                return
            for i, (old, new) in enumerate(zip(state.parts, parts, strict=True)):
                if len(old.dead) != len(new.dead):
                    header['segments'][i]['dead'] = store.add_dead(
                        self._path, i, header['generation'] + 1, new.dead
                    )

    def __getstate__(self) -> dict[str, Any]:
        """Go to another process as a path, not as vectors, if the index is on disk."""
        return dict(self.__dict__) if self._path is None else {'_path': self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the index again in the process it came to."""
        self.__dict__.update(state)
        if self._path is not None:
            self._state = read_state(self._path, store.read_header(self._path))

    def __len__(self) -> int:
        """Give the number of rows that can be found."""
        return sum(len(part) - len(part.dead) for part in self._state.parts)

    @property
    def dim(self) -> int:
        """Numbers in a vector, or bits in a code."""
        return int(self._state.facts['dim'])

    @property
    def spaces(self) -> tuple[str, ...]:
        """Fingerprints of the weights that made the vectors."""
        return tuple(self._state.facts['spaces'])

    @property
    def metric(self) -> str:
        """What vectors are compared by: ``'cosine'`` or ``'hamming'``."""
        return str(self._state.facts['metric'])

    @property
    def record(self) -> dict[str, Any]:
        """How the archive was made, and where its scenes are."""
        return dict(self._state.facts['record'])

    @property
    def columns(self) -> Columns:
        """What a filter reads, by row number; deleted rows are still in it."""
        return self._state.columns

    @property
    def ties(self) -> _Rows:
        """Alphabetical rank of each row's ``patch_id``, by row number."""
        return self._state.ties

    @property
    def table(self) -> EmbeddingTable:
        """All rows that can be found, as a table; an index on disk is read for it."""
        state = self._state
        part = state.parts[0]
        alone = len(state.parts) == 1 and not len(part.dead)
        if alone and isinstance(part.columns, TableColumns):
            return part.columns.table
        return self.select(self.rows())

    def rows(
        self, where: Where | None = None, query: EmbeddingTable | None = None
    ) -> _Rows:
        """Give the numbers of rows that can be found.

        Args:
            where: Which rows; all without it.
            query: One row that clauses of the filter may refer to.

        Returns:
            Sorted row numbers (m,).

        Raises:
            QueryError: As :meth:`Where.rows`.
        """
        state = self._state
        selection, _ = select(state, where, query)
        numbers = [
            part.to_numbers(some) + start
            for part, some, start in zip(
                state.parts, selection, state.starts, strict=False
            )
        ]
        return np.sort(np.concatenate(numbers))

    def vectors(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Give the vectors of some rows (m, dim), in the order asked."""
        state = self._state
        numbers = np.asarray(rows, dtype=np.int64)
        whole = state.parts[0].vectors.whole
        taken = np.empty((len(numbers), whole.shape[1]), dtype=whole.dtype)
        for part, own, positions in state.columns.places(numbers):
            taken[own] = part.vectors.whole[positions]
        return taken

    def select(self, rows: ArrayLike) -> EmbeddingTable:
        """Give some rows as a table, in the order asked.

        Args:
            rows: Row numbers, each once.
        """
        numbers = np.asarray(rows, dtype=np.int64).reshape(-1)
        vectors = self.vectors(numbers)
        vectors.flags.writeable = False
        facts = self._state.facts
        return EmbeddingTable(
            self._state.columns.frame(numbers),
            vectors,
            facts['metric'],
            facts['record'],
        )

    def search(
        self,
        queries: EmbeddingTable | ArrayLike,
        k: int | None = 10,
        *,
        where: Where | None = None,
        exact: bool = True,
        min_score: float | None = None,
        calibrated: bool = False,
    ) -> gpd.GeoDataFrame:
        """Find the k closest rows of the archive for each query.

        Args:
            queries: A table whose ``space`` is the archive's (a null space fits any), or
                vectors (num_queries, dim) or (dim,), which are brought to unit norm.
            k: Rows a query; fewer come if fewer match the filter, never padding. None for
                all that reach ``min_score``.
            where: Which rows may be found; all without it.
            exact: False allows an approximate answer where that is quicker; the column
                ``exact`` says whether it was given.
            min_score: Leave out hits that score less.
            calibrated: Rank by how far a score is above those that the query gets in the same
                modality, in standard deviations, which becomes the score. Without it an
                archive of several modalities is ranked by bare scores, and the modality
                whose vectors lie closer to the query's own fills the list.

        Returns:
            GeoDataFrame in EPSG:4326 with the columns of :data:`RESULT_COLUMNS` and of the
            archive, sorted by query and rank; equal scores in the order of ``patch_id``.
            ``query_id`` is the ``patch_id`` of the query, or ``q0``, ``q1``, ... for vectors.

        Raises:
            QueryError: If k, the queries or the filter do not fit the archive.
        """
        vectors, ids = self._queries(queries)
        if k is None:
            if min_score is None or calibrated:
                raise QueryError(
                    'k is None; say how many rows, or give min_score for all that reach it, '
                    'without calibrated'
                )
            rows, scores = reaching(
                self._state, vectors, min_score, where, _table(queries)
            )
            return self.result(rows, scores, ids)
        rows, scores, _, plans = ranked(
            self._state, vectors, checked(k), where, _table(queries), exact, calibrated
        )
        if min_score is not None:
            good = [s >= np.float32(min_score) for s in scores]
            rows = [r[g] for r, g in zip(rows, good, strict=True)]
            scores = [s[g] for s, g in zip(scores, good, strict=True)]
        return self.result(rows, scores, ids, exact=all(p.exact for p in plans))

    def rank(
        self,
        vectors: EmbeddingTable | ArrayLike,
        k: int = 10,
        where: Where | None = None,
        *,
        exact: bool = True,
        calibrated: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rank without making a layer: arrays only.

        Args:
            vectors: Queries (num_queries, dim) or (dim,), brought to unit norm; or a table.
            k: Rows a query.
            where: Which rows may be found.
            exact: As for :meth:`search`.
            calibrated: As for :meth:`search`.

        Returns:
            Row numbers and scores in -1..1 (higher is closer; in standard deviations if
            calibrated), both (num_queries, min(k, matching rows)), best first, ties by
            ``patch_id``.

        Raises:
            QueryError: As :meth:`search`, or if the filter refers to the query and leaves
                some of several queries other numbers of rows below k than others.
        """
        unit, _ = self._queries(vectors)
        rows, scores, _, _ = ranked(
            self._state, unit, checked(k), where, _table(vectors), exact, calibrated
        )
        width = {len(r) for r in rows}
        if len(width) > 1:
            raise QueryError(
                f'the filter leaves {min(width)} rows to one query and {max(width)} to another, '
                'which is no array; rank them one by one or use search'
            )
        if not rows:
            k = min(checked(k), len(self))
            return np.empty((0, k), np.int64), np.empty((0, k), np.float32)
        return np.stack(rows), np.stack(scores)

    def explain(
        self,
        queries: EmbeddingTable | ArrayLike,
        k: int = 10,
        *,
        where: Where | None = None,
        exact: bool = True,
    ) -> Explanation:
        """Run a search and say how it went instead of what it found.

        Args:
            queries: As for :meth:`search`.
            k: Rows a query.
            where: Which rows may be found.
            exact: As for :meth:`search`.

        Raises:
            QueryError: As :meth:`search`.
        """
        vectors, _ = self._queries(queries)
        begin = time.perf_counter()
        rows, _, groups, plans = ranked(
            self._state, vectors, checked(k), where, _table(queries), exact, False
        )
        spent = time.perf_counter() - begin
        steps = summed([step for group in groups for step in group.steps], len(groups))
        spent -= sum(s.seconds for g in groups for s in g.steps)
        left = round(np.mean([g.rows for g in groups])) if groups else len(self)
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
        scores: NDArray[np.float32] | Sequence[NDArray[np.float32]],
        query_ids: Sequence[str],
        *,
        exact: bool = True,
    ) -> gpd.GeoDataFrame:
        """Give ranked rows as the layer that :meth:`search` gives.

        Args:
            rows: Row numbers of each query, best first; lists of different lengths are fine.
            scores: Their scores.
            query_ids: One id a query.
            exact: Whether nothing closer can have been missed.
        """
        lengths = [len(r) for r in rows]
        every = np.concatenate([np.empty(0, np.int64), *rows]).astype(np.int64)
        flat = np.concatenate([np.empty(0, np.float32), *scores])
        distinct, place = np.unique(every, return_inverse=True)
        taken = self.select(distinct)
        made = make_result(taken, place[None], flat[None], [''], exact=exact)
        made['query_id'] = pd.Series(
            np.repeat(np.asarray(query_ids, dtype=object), lengths),
            dtype=made['query_id'].dtype,
        )
        ranks = [np.arange(1, n + 1, dtype=np.int32) for n in lengths]
        made['rank'] = np.concatenate([np.empty(0, np.int32), *ranks])
        return made

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

    def _check(self, table: EmbeddingTable, kind: type[ValueError], words: str) -> None:
        """Refuse a table of another space, metric or dimension."""
        facts = self._state.facts
        if len({*table.spaces, *self.spaces}) > 1:
            raise kind(
                f'{words} were embedded in space {_words(table.spaces)} and the archive in '
                f'{_words(self.spaces)}; embed both with one checkpoint'
            )
        if table.metric != facts['metric']:
            raise kind(
                f'{words} are compared by {table.metric} and the archive by {facts["metric"]}; '
                'embed both with one checkpoint'
            )
        if table.dim != self.dim:
            raise kind(
                f'{words} have {table.dim} numbers and the archive has {self.dim}; '
                'embed both with one checkpoint'
            )

    @contextmanager
    def _changing(self) -> Generator[dict[str, Any] | None]:
        """Hold the index on disk while it is changed; its header is written at the end."""
        if self._path is None:
            yield None
            return
        with store.writing(self._path) as header:
            # What others have changed since this process looked.
            self._state = read_state(self._path, header)
            yield header
        self._state = read_state(self._path, store.read_header(self._path))


def _table(queries: EmbeddingTable | ArrayLike) -> EmbeddingTable | None:
    return queries if isinstance(queries, EmbeddingTable) else None


def _words(spaces: tuple[str, ...]) -> str:
    return ' and '.join(spaces) or 'none'
