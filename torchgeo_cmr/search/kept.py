"""The life of an index: built, saved, opened, added to, deleted from."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.kinds import check_same
from torchgeo_cmr.table.sink import merge_records

from . import segment as segments
from . import store
from .engine import select
from .filters import Where
from .held import Held
from .state import State, read_state


class Kept(Held):
    """Rows of an archive, put in order, in memory or on disk.

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
            ArchiveError: If the rows do not belong into this index, a column of theirs holds
                another type, an id is there already, or another process is changing the index.
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
            if len(part):
                for there in (one for one in state.parts if len(one)):
                    check_same(part.kinds, there.kinds)
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
