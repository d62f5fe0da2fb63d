"""The life of an index: built, saved, opened, added to, deleted from."""

import threading
import uuid
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Self

import pandas as pd

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.kinds import check_same
from torchgeo_cmr.table.provenance import fingerprint
from torchgeo_cmr.table.sink import merge_records

from . import index_files as store
from . import segment as segments
from .contents import IndexContents
from .engine import select
from .index_summary import is_index
from .origin import Origin, fingerprint_of, origins, table_of
from .snapshot import State, open_state, read_state


class IndexLifecycle(IndexContents):
    """Rows of an archive, sorted along a curve, in memory or on disk.

    Args:
        archive: What :meth:`open` takes. A table is not copied.

    Raises:
        ArchiveError: If a ``patch_id`` occurs more than once, or a folder is neither an
            archive nor an index.
        QueryError: If nothing is named.
    """

    def __init__(self, archive: Origin | Iterable[Origin]) -> None:
        """Remember the archive; what a search needs is computed when first needed."""
        found = origins(archive)
        self._lock = threading.RLock()
        self._path: Path | None = None
        if len(found) == 1 and isinstance(found[0], str | PathLike):
            folder = Path(found[0])
            if is_index(folder):
                super().__init__(open_state(folder))
                self._path = folder
                return
        super().__init__(_of_table(table_of(found)))

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
            overwrite: Replace an index that is at the path.

        Returns:
            The index.

        Raises:
            ArchiveError: If the folder is not an archive, or a ``patch_id`` occurs more than once.
            QueryError: If an argument is not valid.
            OutputExistsError: If the path is there and is not to be replaced.
        """
        if path is not None:
            store.check_free(path, overwrite=overwrite)
        table = table_of(archive)
        state = _of_table(table)
        index = cls(table)
        index._state = replace(
            state,
            parts=(segments.build(table, vectors),),
            facts={**state.facts, 'fingerprint': fingerprint(table)},
        )
        kinds = [approximate] if isinstance(approximate, str) else list(approximate)
        if kinds:
            from torchgeo_cmr.search.rank.approximate import build

            own = index._state.parts[0].vectors
            made = tuple(build(own, kind, recall=recall, seed=seed) for kind in kinds)
            index._state = replace(index._state, approximate=(made,))
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
                memory. Several of these: they are read and combined.
            archive: What the index should have been built from, a table or a folder as it
                was then; the index is refused if it was not.

        Raises:
            ArchiveError: If a folder is neither an index nor an archive, is broken or of a
                newer format, or was built from another archive.
            QueryError: If nothing is named.
        """
        index = cls(path)
        built_from = index._state.facts['fingerprint'] or index.fingerprint
        if archive is not None and not _same(built_from, archive):
            raise ArchiveError(
                f'the index {index._path or "in memory"} was not built from this archive, or the '
                'archive has changed; build it again'
            )
        return index

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
        store.check_free(path, overwrite=overwrite)
        with self._lock:
            state, folder = self._state, Path(path)
            if folder.exists():
                with store.writing(folder) as header:
                    number, generation = store.next_number(header), header['generation']
                    header.clear()
                    header |= _written(state, folder, number, generation)
            else:
                with store.new_folder(folder) as building:
                    store.write_header(building, _written(state, building, 0, 0))
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
                in the index. A table, the folder of an archive, or several.

        Raises:
            ArchiveError: If the rows do not belong into this index, a column of theirs holds
                another type, an id is there already, or another process is changing the index.
            QueryError: If it is not an archive.
        """
        table = table_of(table)
        with self._changing() as header:
            state = self._state
            self._check(table, ArchiveError, 'the new rows')
            new = table.frame['patch_id'].tolist()
            for part in state.parts:
                if len(twice := part.named(new)):
                    raise ArchiveError(
                        f'patch_id {part.ids(twice[:1])[0]!r} is in the index already; delete '
                        'it first or drop it from the table'
                    )
            part = segments.build(table, state.parts[0].vectors.kind)
            if len(part):
                for stored in (one for one in state.parts if len(one)):
                    check_same(part.kinds, stored.kinds)
            facts = {
                **state.facts,
                'spaces': sorted({*state.facts['spaces'], *table.spaces}),
                'record': merge_records([state.facts['record'], table.record]),
            }
            if self._path is None or header is None:
                parts, approximate = (*state.parts, part), (*state.approximate, ())
                self._state = State(parts, approximate, facts)
                return
            number = store.next_number(header)
            header['segments'].append(store.add_segment(self._path, number, part, ()))
            header.update(facts, next=number + 1)

    def delete(
        self, ids: str | Iterable[str] | Where | EmbeddingTable | pd.DataFrame
    ) -> None:
        """Leave rows out from now on; their numbers are not given again.

        Args:
            ids: One ``patch_id`` or several, rows that have one, such as hits, or a filter
                whose rows are deleted.

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
            elif isinstance(ids, EmbeddingTable):
                ids = ids.frame['patch_id'].tolist()
            elif isinstance(ids, pd.DataFrame):
                ids = ids['patch_id'].tolist()
            names = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
            if strange := [one for one in names if not isinstance(one, str)]:
                raise QueryError(
                    f'{strange[0]!r:.80} is not a patch_id; name rows by their ids, or give a filter'
                )
            parts, left = [], set(names)
            for part in state.parts:
                gone = part.named(names)
                left -= set(part.ids(gone))
                parts.append(part.without(gone))
            if left:
                raise QueryError(
                    f'there is no patch_id {min(left)!r} in the index; nothing was deleted'
                )
            if self._path is None or header is None:
                self._state = replace(state, parts=tuple(parts))
                return
            for i, (old, new) in enumerate(zip(state.parts, parts, strict=True)):
                if len(old.dead) != len(new.dead):
                    own = header['segments'][i]
                    number = int(own['name'].split('-')[1])
                    generation = header['generation'] + 1
                    own['dead'] = store.add_dead(
                        self._path, number, generation, new.dead
                    )
                    if 'content' in own:
                        own['content'] = f'{new.content.value:x}'

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
                with store.writing(self._path) as header:
                    # What others have changed since this process looked.
                    self._state = read_state(self._path, header)
                    self._check_build(before.facts['build'])
                    yield header
            except BaseException:
                self._state = before
                raise
            self._state = open_state(self._path)


def _of_table(table: EmbeddingTable) -> State:
    """Give the state of a table in memory."""
    ids = table.frame['patch_id']
    if not ids.is_unique:
        first = ids[ids.duplicated()].iloc[0]
        raise ArchiveError(f'patch_id {first!r} occurs more than once; make it unique')
    facts = {
        'dim': table.dim,
        'metric': table.metric,
        'spaces': list(table.spaces),
        'record': table.record,
        'fingerprint': None,
        'build': None,
    }
    return State((segments.from_table(table),), ((),), facts)


def _written(
    state: State, folder: Path, number: int, generation: int
) -> dict[str, Any]:
    """Write the parts of a state into a folder, numbered on, and give their header."""
    header: dict[str, Any] = {
        'format': store.FORMAT,
        'version': store.VERSION,
        'generation': generation,
        'next': number + len(state.parts),
        **state.facts,
        'build': uuid.uuid4().hex,
        'segments': [
            store.add_segment(
                folder, number + i, part, state.approximate[i], generation + 1
            )
            for i, part in enumerate(state.parts)
        ],
    }
    if header['fingerprint'] is None:
        header['fingerprint'] = state.content.fingerprint(
            header['dim'], header['metric']
        )
    return header


def _same(built_from: str, archive: Origin | Iterable[Origin]) -> bool:
    """Say whether a fingerprint is that of an archive."""
    kind, _, rest = built_from.partition(':')
    if not rest:
        return fingerprint_of(archive) == built_from
    (one,) = origins(archive)[:1]
    if isinstance(one, IndexContents) or kind == 'table':
        one = table_of(one)
    return store.older_fingerprint(one) == built_from
