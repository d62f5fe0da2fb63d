"""The life of an index, as functions of its state: built, written, added to, deleted from."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from torchgeo_cmr.errors import ArchiveError, QueryError, check_seed
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.records import merge_records
from torchgeo_cmr.table.kinds import check_same
from torchgeo_cmr.table.provenance import fingerprint

from . import index_files as store
from . import segment as segments
from .contents import IndexContents
from .engine import select
from .origin import Origin, fingerprint_of, origins, table_of
from .snapshot import State

type _Header = dict[str, Any]
#: What names rows to delete.
type Rows = str | Iterable[str] | Where | EmbeddingTable | pd.DataFrame


def state_of(table: EmbeddingTable) -> State:
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
        'codes': True,
    }
    return State((segments.from_table(table),), ((),), facts)


def built(
    state: State,
    table: EmbeddingTable,
    vectors: str,
    approximate: list[str],
    recall: float,
    seed: int,
    codes: bool,
) -> State:
    """Sort a table along a curve, in memory; arguments as of :meth:`RetrievalIndex.build`."""
    check_seed(seed, QueryError)
    if not 0 < recall <= 1:
        raise QueryError(f'recall is {recall}: give a share above 0, at most 1')
    parts = (segments.build(table, vectors, codes=codes),)
    facts = {**state.facts, 'fingerprint': fingerprint(table), 'codes': codes}
    state = replace(state, parts=parts, facts=facts)
    if approximate:
        from torchgeo_cmr.search.rank.approximate import build

        stored = parts[0].vectors
        made = tuple(build(stored, k, recall=recall, seed=seed) for k in approximate)
        state = replace(state, approximate=(made,))
    return state


def write(state: State, folder: Path, *, overwrite: bool) -> Path:
    """Write a state as the folder of an index, new or in place of one that is there.

    Args:
        state: The state.
        folder: The folder, free or an index.
        overwrite: Replace an index.

    Returns:
        The folder.

    Raises:
        OutputExistsError: If something is there that is not to be replaced.
    """
    if overwrite and folder.exists():
        with store.writing(folder) as header:
            number, generation = store.next_number(header), header['generation']
            header.clear()
            header |= _written(state, folder, number, generation)
    else:
        with store.new_folder(folder) as building:
            store.write_first_header(building, _written(state, building, 0, 0))
    return folder


def appended(
    state: State, table: EmbeddingTable, path: Path | None, header: _Header | None
) -> State:
    """Add rows to a state; on disk a new segment is written and entered in the header.

    Args:
        state: The state.
        table: New rows, of the same dimension, metric and space.
        path: Folder of the index; None in memory.
        header: Header of the folder, changed here.

    Returns:
        The state with the rows, in memory; on disk the old one, to be read again.

    Raises:
        ArchiveError: If an id is there already, or a column holds another type.
    """
    if path is not None and _is_last(state, table):
        return state  # the same again, whose process was killed when it was done
    new = table.frame['patch_id'].tolist()
    for part in state.parts:
        if len(twice := part.named(new)):
            raise ArchiveError(
                f'patch_id {part.ids(twice[:1])[0]!r} is in the index already; delete '
                'it first or drop it from the table'
            )
    kind, codes = state.parts[0].vectors.kind, state.facts['codes']
    part = segments.build(table, kind, codes=codes)
    if len(part):
        for stored in (p for p in state.parts if len(p)):
            check_same(part.kinds, stored.kinds)
    facts = {
        **state.facts,
        'spaces': sorted({*state.facts['spaces'], *table.spaces}),
        'record': merge_records([state.facts['record'], table.record]),
    }
    if path is None or header is None:
        return State((*state.parts, part), (*state.approximate, ()), facts)
    number = store.next_number(header)
    header['segments'].append(store.add_segment(path, number, part, ()))
    header.update(facts, next=number + 1)
    return state


def deleted(
    state: State, ids: Rows, path: Path | None, header: _Header | None
) -> State:
    """Hide rows of a state; on disk their positions are written and entered in the header.

    Args:
        state: The state.
        ids: As for :meth:`RetrievalIndex.delete`.
        path: Folder of the index; None in memory.
        header: Header of the folder, changed here.

    Returns:
        As :func:`appended`.

    Raises:
        QueryError: If an id is not in the index, or the filter does not fit it. All were deleted
            before, as by the same call whose process was killed: nothing happens.
    """
    names = _names(state, ids)
    parts, missing = [], set(names)
    for part in state.parts:
        rows = part.named(names)
        missing -= set(part.ids(rows))
        parts.append(part.without(rows))
    if missing and not (missing == set(names) <= _deleted_ids(state)):
        raise QueryError(
            f'there is no patch_id {min(missing)!r} in the index; nothing was deleted'
        )
    if path is None or header is None:
        return replace(state, parts=tuple(parts))
    for entry, old, new in zip(header['segments'], state.parts, parts, strict=True):
        if len(old.dead) != len(new.dead):
            number = int(entry['name'].split('-')[1])
            generation = header['generation'] + 1
            entry |= store.add_dead(path, number, generation, new.dead)
            if 'content' in entry:
                entry['content'] = f'{new.content.value:x}'
    return state


def _is_last(state: State, table: EmbeddingTable) -> bool:
    """Say whether some rows are those that were appended last."""
    return len(state.parts) > 1 and state.parts[-1].content == table.content


def _deleted_ids(state: State) -> set[str]:
    return {name for part in state.parts for name in part.ids(part.dead)}


def _names(state: State, ids: Rows) -> list[str]:
    """Give the ids of the rows that are named, each once."""
    if isinstance(ids, Where):
        found, _ = select(state, ids, None)
        pairs = zip(state.parts, found, strict=True)
        ids = [name for part, rows in pairs for name in part.ids(rows)]
    elif isinstance(ids, EmbeddingTable):
        ids = ids.frame['patch_id'].tolist()
    elif isinstance(ids, pd.DataFrame):
        ids = ids['patch_id'].tolist()
    names = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
    if strange := [name for name in names if not isinstance(name, str)]:
        raise QueryError(
            f'{strange[0]!r:.80} is not a patch_id; name rows by their ids, or give a filter'
        )
    return names


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


def is_built_from(built_from: str, archive: Origin | Iterable[Origin]) -> bool:
    """Say whether a fingerprint is that of an archive."""
    kind, _, rest = built_from.partition(':')
    if not rest:
        return fingerprint_of(archive) == built_from
    (source,) = origins(archive)[:1]
    if isinstance(source, IndexContents) or kind == 'table':
        source = table_of(source)
    return store.older_fingerprint(source) == built_from
