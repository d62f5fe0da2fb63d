"""Archive folders: parts that appear whole or not at all.

``_archive.json`` describes the folder; every ``part-*.parquet`` is complete, because it is
written under a temporary name, flushed to disk and renamed. A process killed at any moment
leaves the parts it had committed and perhaps one temporary file, which readers ignore and
the next writer removes. A part that somebody removes is missed by the list in the header, or by
its marker (:mod:`.part_markers`). Writing and reading share this one long module, because each rule
of the format has both sides.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import (
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, nullcontext, suppress
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from torchgeo_cmr.drafts import (
    Draft,
    as_meant,
    check_on_disk,
    disk_faults,
    draft_folder,
    publish,
    stamp,
    sweep,
)
from torchgeo_cmr.durable import flush, replace_folder
from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.regular_files import check_special
from torchgeo_cmr.typed_json import check_versioned, decode, signed_text, unsigned

from .others.emb_fields import EMB_KEY, footer
from .part_markers import find_markers, list_names, marked, removed_parts, unmark
from .provenance import Content, Rows
from .schema import (
    FORMAT,
    FORMAT_VERSION,
    ArchiveHeader,
    check_metadata,
    check_part,
    check_vectors,
    empty_frame,
    frame_from_arrow,
    read_facts,
    to_arrow,
    unpacked,
)

#: The header. Readers of many Parquet files (Arrow, DuckDB, Spark, geopandas) skip names that
#: begin with an underscore, so that the folder is a data set to them.
HEADER = '_archive.json'
#: Its former name; archives that have it are read and continued without change.
_OLDER = 'archive.json'
#: Pattern of the part files of an archive.
PARTS = 'part-*.parquet'
_OURS = re.compile(
    r'_?archive\.json|part-.*\.parquet|_part-.*\.parquet\.tmp-.*|\.tmp-.*'
)
#: Numbers in a vector: more than any model gives.
_MOST_NUMBERS = 1 << 24
#: Rows whose vectors are read at a time.
_BATCH = 4_096
_CURE = 'write the archive again'
_AGAIN = 'remove it and run again'


class ParquetSink:
    """Where work items put their rows: one part file per key.

    Several processes may write to one folder, each its own keys. Committing a key again
    replaces its part, so a repeated work item leaves one part.

    Args:
        path: Folder of the archive; made at the first commit.
        header: JSON-able facts that all parts share: ``space``, ``plan``, ``record`` and so
            on. ``metric`` and ``dim`` are taken from the first table if they are not given.
        replacing: Names of facts that may differ from those of the archive that is there:
            :meth:`finish` writes the new ones.

    Raises:
        ArchiveError: If the folder holds something else, or an archive begun with another
            header; the message names the first field that differs.

    Examples:
        >>> import tempfile
        >>> import geopandas as gpd
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> points = gpd.points_from_xy([10, 11], [46, 47])
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': ['a', 'b']}, geometry=points, crs='EPSG:4326'
        ... )
        >>> table = EmbeddingTable.from_frame(frame, [[1, 0], [0, 1]], space='demo')
        >>> folder = tempfile.TemporaryDirectory()
        >>> sink = ParquetSink(f'{folder.name}/archive', {'space': 'demo'})
        >>> sink.commit('first scene', table)
        >>> sink.done()
        {'first scene'}
        >>> EmbeddingTable.load(sink.path)
        EmbeddingTable(2 rows, dim=2, modality=unknown, metric=cosine)
        >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | PathLike[str],
        header: Mapping[str, Any],
        *,
        replacing: Collection[str] = (),
    ) -> None:
        """Check the folder; nothing is written yet."""
        check_on_disk(path)
        self.path = Path(path)
        self._replacing = frozenset(replacing)
        try:
            given = json.loads(json.dumps(dict(header), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ArchiveError(
                f'the header cannot be written as JSON ({error})'
            ) from error
        self.header: dict[str, Any] = {
            'format': FORMAT,
            'version': FORMAT_VERSION,
            **given,
        }
        self._ready, self._seen = False, _mark(self.path)
        #: Parts that this writer has found or committed.
        self._known: set[str] = set()
        #: Parts that the header names.
        self._listed: frozenset[str] = frozenset()
        self._given = self.header
        self._check()

    def done(self) -> set[str]:
        """Give the keys of the parts that are committed.

        Raises:
            ArchiveError: If a part cannot be read.
        """
        return set(self.fingerprints())

    def fingerprints(self) -> dict[str, str | None]:
        """Give the keys of the parts that are committed, and what each was made of.

        Returns:
            Key -> the fingerprint with which it was committed, None if it had none.

        Raises:
            ArchiveError: If a part cannot be read.
        """
        found: dict[str, str | None] = {}
        for part in self.path.glob(PARTS):
            with reading(part):
                schema = pq.read_schema(part)
            facts = read_facts(schema, str(part))
            found[facts['key']] = facts.get('fingerprint')
            self._known.add(part.name)
        return found

    def rows(self) -> dict[str, int]:
        """Give the number of rows of each part that is committed, by key; only footers are read.

        Raises:
            ArchiveError: If there is no archive, or a part cannot be read.
        """
        found = by_key(self.path, read_header(self.path)['dim'])
        return {facts['key']: facts['rows'] for facts, _ in found}

    def expect(self, key: str) -> None:
        """Know of a part that another process has committed: :meth:`finish` misses it if it is gone.

        Args:
            key: Name of the work item.
        """
        self._known.add(part_name(key))

    def remove(self, *keys: str) -> None:
        """Remove the parts of some keys; nothing happens if there are none.

        Args:
            keys: Names of the work items.
        """
        if not is_archive(self.path):
            return
        names = {*map(part_name, keys)}
        if not names:
            return
        self._known -= names
        header = read_header(self.path)
        if names & {*header.get('parts', ())}:
            # First the header: a part that it names must not be missing.
            kept = [name for name in header['parts'] if name not in names]
            self._write_header({**header, 'parts': kept})
        with disk_faults(self.path):
            unmark(m for m in find_markers(self.path) if m.part.name in names)
            for name in names:
                (self.path / name).unlink(missing_ok=True)

    def finish(self) -> None:
        """Write that the parts are complete, and the facts that were to be replaced.

        The header then names the parts, so that one that is missing is noticed.
        """
        if not is_archive(self.path):
            return
        self._sweep()
        # Those of parts that are on their way are looked for before the parts, and stay.
        markers = [m for m in find_markers(self.path) if not m.draft.exists()]
        old = read_header(self.path)
        new = {**old, **(self._given if self._replacing else {})}
        new['parts'] = sorted(part.name for part in self.path.glob(PARTS))
        if missing := self._known - {*new['parts']}:
            raise ArchiveError(
                f'{as_meant(self.path) / min(missing)} was removed while the archive was written; '
                'embed again'
            )
        if new != old:
            self._write_header(new)
        self.header, self._listed = new, frozenset(new['parts'])
        with disk_faults(self.path):
            unmark(markers)

    def commit(self, key: str, table: Rows, *, fingerprint: str | None = None) -> None:
        """Write a table as the part of a key, all of it or nothing.

        Args:
            key: Name of the work item, any text; parts are loaded in the order of their keys.
            table: Rows of the item; may be empty.
            fingerprint: What the rows were made of, to tell later whether that changed.

        Raises:
            ArchiveError: If dimension, metric or space differ from the header.
        """
        self._begin(table)
        for name, found in (('dim', table.dim), ('metric', table.metric)):
            if self.header[name] != found:
                raise ArchiveError(
                    f'part {key!r} has {name} {found!r} but the archive {self.path} has '
                    f'{self.header[name]!r}; embed with the model the archive was begun with'
                )
        if (space := self.header.get('space')) is not None and table.spaces not in (
            (),
            (space,),
        ):
            raise ArchiveError(
                f'part {key!r} has space {", ".join(table.spaces)} but the archive {self.path} '
                f'has {space}; embed with the model the archive was begun with'
            )
        facts = {
            'format': FORMAT,
            'version': FORMAT_VERSION,
            'key': key,
            'rows': len(table),
            'dim': table.dim,
            'metric': table.metric,
            'spaces': list(table.spaces),
            'modalities': sorted(table.frame['modality'].dropna().unique()),
            'record': _part_record(table),
            'content': f'{table.content.value:x}',
        }
        if fingerprint is not None:
            facts['fingerprint'] = fingerprint
        content = to_arrow(table.frame, table.vectors, facts)
        community = footer(facts['record'], table.dim, table.metric, table.spaces)
        content = content.replace_schema_metadata(
            {**content.schema.metadata, EMB_KEY: community}
        )
        name = part_name(key)
        # The header knows of it, or at least how many rows there are.
        known = 'rows' in self.header or name in self._listed
        with _committing(self.path / name, known=known) as temporary:
            pq.write_table(
                content,
                temporary,
                compression='zstd',
                row_group_size=16_384,
                # Vectors and footprints hardly repeat: a dictionary of them only takes room.
                use_dictionary=[
                    column.name
                    for column in content.schema
                    if not pa.types.is_nested(column.type)
                    and not pa.types.is_binary(column.type)
                    and not pa.types.is_fixed_size_binary(column.type)
                ],
                write_page_checksum=True,
            )
        self._known.add(name)

    def _begin(self, table: Rows) -> None:
        """Make the folder and its header once, and sweep out what dead writers left."""
        if self._ready:
            if _mark(self.path) != self._seen and not self._check():
                raise ArchiveError(
                    f'the archive {as_meant(self.path)} was removed while it was written; embed again'
                )
            self._seen = _mark(self.path)
            return
        self.header = {'dim': table.dim, 'metric': table.metric, **self.header}
        with disk_faults(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if not self._check():
            self._begin_header()
            self._check()
        self._sweep()
        self._ready, self._seen = True, _mark(self.path)

    def _sweep(self) -> None:
        """Sweep out what dead writers left, and first the markers of parts that never came."""

        def given_up(draft: Path) -> None:
            unmark(m for m in find_markers(self.path) if m.draft == draft)

        sweep(self.path, '', given_up)

    def _begin_header(self) -> None:
        """Write the header of a new archive, unless another process was quicker."""
        with suppress(OutputExistsError):
            self._write_header(self.header, overwrite=False)

    def _write_header(
        self, header: Mapping[str, Any], *, overwrite: bool = True
    ) -> None:
        with _appearing(header_file(self.path), overwrite=overwrite) as temporary:
            temporary.write_bytes(signed_text(header))

    def _check(self) -> bool:
        """Compare with the header that is there; False if there is none."""
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise ArchiveError(f'{self.path} is a file; name a folder for the archive')
        if not is_archive(self.path):
            if any(not p.name.startswith('.tmp-') for p in self.path.iterdir()):
                raise ArchiveError(
                    f'{self.path} holds files but no {HEADER}; name a new folder for the archive'
                )
            return False
        written = read_header(self.path)
        defaults = ({'dim', 'metric'} - set(self.header)) | self._replacing | {'parts'}
        for name in sorted({*written, *self.header} - defaults):
            if written.get(name) != self.header.get(name):
                path, old, new = _difference(
                    name, written.get(name), self.header.get(name)
                )
                update = 'update it, ' if name in ('scenes', 'pairs') else ''
                raise ArchiveError(
                    f'the archive {self.path} was begun with {path} = {old} and not {new}; '
                    f'{update}name another folder or replace the archive'
                )
        self.header, self._listed = written, frozenset(written.get('parts', ()))
        return True


def write_archive(
    path: str | PathLike[str], table: Rows, *, overwrite: bool = False
) -> Path:
    """Write a whole table as an archive of one part, replacing an older archive if requested.

    Args:
        path: Folder to make.
        table: What to write.
        overwrite: Replace an archive, never anything else.

    Returns:
        The folder.

    Raises:
        OutputExistsError: If the path is there and is not to be, or cannot safely be, replaced.
    """
    target = Path(path)
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(
            f'{target} is there already; choose another name or overwrite it'
        )
    building = begin_replacement(target)
    header = {
        'dim': table.dim,
        'metric': table.metric,
        'space': table.spaces[0] if len(table.spaces) == 1 else None,
        'rows': len(table),
        'record': table.record,
    }
    try:
        ParquetSink(building, header).commit('all', table)
        replace_archive(building, target, overwrite=overwrite)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Path(path)


def begin_replacement(path: str | PathLike[str]) -> Path:
    """Name a folder in which an archive is made that will replace another.

    Args:
        path: The archive to replace; it may be missing.

    Returns:
        A free name next to it. Folders that processes which are gone have begun there are removed.

    Raises:
        OutputExistsError: If the folder is not an archive, or holds anything else.
    """
    check_on_disk(path)
    target = Path(path).resolve()
    if os.path.lexists(target):
        _refuse_foreign(target)
    with disk_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name)
    return draft_folder(target)


def replace_archive(
    building: Path, path: str | PathLike[str], *, overwrite: bool = True
) -> None:
    """Put a complete archive in the place of another, see :func:`begin_replacement`."""
    target = Path(path).resolve()
    if os.path.lexists(target):  # again: somebody may have made it meanwhile
        if not overwrite:
            raise OutputExistsError(
                f'{target} is there already; choose another name or overwrite it'
            )
        _refuse_foreign(target)
    with disk_faults(target):
        replace_folder(building, target, draft_folder(target))


def read_archive(
    path: str | PathLike[str], make: Callable[..., NDArray[Any]] = np.empty
) -> tuple[gpd.GeoDataFrame, NDArray[Any], str, dict[str, Any], Content | None]:
    """Read an archive folder.

    Args:
        path: The folder.
        make: Makes the array of the vectors from a shape and a type.

    Returns:
        Frame, vectors, metric and record of the table, and what its parts record of their
        content, None if one records none.

    Raises:
        ArchiveError: If the folder is not an archive, broken, mixed or of a newer format.
    """
    folder = Path(path)
    header = read_header(folder)
    check_complete(folder, header)
    vectors, parts = _read_parts(folder, header, make)
    vectors.flags.writeable = False
    records = [
        header.get('record') or {},
        *(facts.get('record') or {} for *_, facts in parts),
    ]
    record, metric = merge_records(records), header['metric']
    if not parts:
        return empty_frame(), vectors, metric, record, Content()
    try:
        filled = [c for _, c, _ in parts if len(c)] or [parts[0][1]]
        together = pa.concat_tables(
            filled, promote_options='permissive'
        ).unify_dictionaries()
    except pa.ArrowException as error:
        raise ArchiveError(
            f'the parts of {folder} have columns of different kinds ({error}); '
            'write them into separate archives'
        ) from error
    try:
        frame = frame_from_arrow(together)
    except ArchiveError as error:
        raise ArchiveError(f'{folder}: {error}') from error
    start = 0
    for part, content, _ in parts:
        block = slice(start, start := start + len(content))
        try:
            check_vectors(frame['patch_id'].iloc[block], vectors[block])
        except ArchiveError as error:
            raise ArchiveError(f'{part}: {error}; {_AGAIN}') from error
    if frame['patch_id'].duplicated().any():
        twice = frame['patch_id'][frame['patch_id'].duplicated()].iloc[0]
        raise ArchiveError(
            f'patch_id {twice!r} is in two parts of {folder}; remove one of them'
        )
    return frame, vectors, metric, record, _content(facts for *_, facts in parts)


def missing_parts(folder: Path, header: Mapping[str, Any]) -> list[str]:
    """Name the parts that were committed to an archive and are gone, whether or not a run was complete.

    Args:
        folder: The archive; others may write to it meanwhile.
        header: Its header.

    Returns:
        Names of files, sorted. Of parts that were written before archives kept account of
        unfinished runs, none is known.
    """
    names = list_names(folder)
    missing = removed_parts(folder, names)
    if listed := {*header.get('parts', ())} - names:
        # A part that is dropped meanwhile goes from the header first.
        listed &= {*read_header(folder).get('parts', ())}
        missing |= {name for name in listed if not (folder / name).exists()}
    return sorted(missing)


def check_complete(folder: Path, header: Mapping[str, Any]) -> None:
    """Refuse an archive of which a part was removed.

    Args:
        folder: The archive.
        header: Its header.

    Raises:
        ArchiveError: With the part, and what to do.
    """
    if fault := incomplete(folder, header):
        raise ArchiveError(fault)


def incomplete(folder: Path, header: Mapping[str, Any]) -> str:
    """Say in a sentence which parts an archive lacks and what to do; empty if it lacks none."""
    if missing := missing_parts(folder, header):
        rest = f' and {len(missing) - 1} more' if missing[1:] else ''
        return (
            f'{folder} lacks {missing[0]}{rest}, written and then removed; copy it there again, or run '
            'the command that embedded it again'
        )
    if 'rows' in header:
        rows = sum(facts['rows'] for facts, _ in by_key(folder, header['dim']))
        if rows != header['rows']:
            return (
                f'{folder} holds {rows} of {header["rows"]} rows: a part file is missing; '
                'write the archive again'
            )
    return ''


def read_part_facts(part: Path, dim: int) -> dict[str, Any]:
    """Read what a part says of itself, and refuse one that does not fit vectors of *dim* numbers."""
    with reading(part):
        schema = pq.read_schema(part)
    return check_part(schema, dim, str(part))


def read_part(
    part: Path, header: Mapping[str, Any]
) -> tuple[pa.Table, NDArray[Any], dict[str, Any]]:
    """Read a part.

    Args:
        part: The file.
        header: Header of its archive.

    Returns:
        Columns of the frame and vectors, in the order in which rows were committed, and its facts.

    Raises:
        ArchiveError: If the part is broken or does not fit the header.
    """
    vectors, [(_, content, facts)] = _read_parts(part, header)
    return content, vectors, facts


def by_key(path: Path, dim: int) -> list[tuple[dict[str, Any], Path]]:
    """List the parts of an archive in its order, each with what it says of itself.

    Args:
        path: The archive, or one part.
        dim: Numbers in a vector.

    Raises:
        ArchiveError: If a part cannot be read.
    """
    files = path.glob(PARTS) if path.is_dir() else [path]
    found = [(read_part_facts(part, dim), part) for part in files]
    return sorted(found, key=lambda item: item[0]['key'])


def _read_parts(
    path: Path, header: Mapping[str, Any], make: Callable[..., NDArray[Any]] = np.empty
) -> tuple[NDArray[Any], list[tuple[Path, pa.Table, dict[str, Any]]]]:
    """Read a part, or all of a folder in the order of their keys: vectors, and the rest of each.

    The vectors of all are put into one array, some at a time, so that they are in memory once.
    """
    while True:
        found = by_key(path, header['dim'])
        vectors = _room(sum(facts['rows'] for facts, _ in found), header, path, make)
        parts, start = [], 0
        for facts, part in steps(found, 'part', 'read'):
            block = vectors[start : start + facts['rows']]
            read = _read_part(part, header, block)
            if read is None:  # it was replaced meanwhile
                break
            parts.append((part, *read))
            start += len(block)
        else:
            return vectors, parts


def _room(
    rows: int, header: Mapping[str, Any], path: Path, make: Callable[..., NDArray[Any]]
) -> NDArray[Any]:
    """Give an array for vectors; the system gives its memory as it is filled."""
    dim, bits = header['dim'], header['metric'] == 'hamming'
    try:
        return make((rows, dim // 8 if bits else dim), np.uint8 if bits else np.float32)
    except (MemoryError, ValueError) as error:  # ValueError: beyond all addresses
        raise ArchiveError(
            f'{path} claims {rows} vectors of {dim} numbers, more than there is memory for; search '
            'an index of it, or load a part of the rows'
        ) from error


def _read_part(
    part: Path, header: Mapping[str, Any], vectors: NDArray[Any]
) -> tuple[pa.Table, dict[str, Any]] | None:
    """Fill in the vectors of a part and give the rest; None if it has other rows than there is room for."""
    with reading(part), pq.ParquetFile(part, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        facts = check_part(schema, header['dim'], str(part))
        check_metadata(file, str(part))
        if pa.types.is_fixed_size_binary(schema.field('vector').type) != (
            header['metric'] == 'hamming'
        ):
            raise ArchiveError(
                f'{part} holds {"vectors" if header["metric"] == "hamming" else "codes"}, which do '
                f'not fit the metric {header["metric"]!r} of {HEADER}; {_CURE}'
            )
        if facts['rows'] != len(vectors):
            return None
        names = [name for name in schema.names if name not in ('vector', 'bbox')]
        # Of a column named vector.list, say, Arrow would also take the vectors for a part.
        stored = file.read(names).select(names)
        numbers = _check_rows(stored, facts, part)
        next_row = 0
        for batch in _vector_batches(file):
            column = batch.column('vector')
            if column.null_count:
                raise ArchiveError(f'{part} has rows without vector; {_AGAIN}')
            rows = numbers[next_row : next_row + len(column)]
            vectors[rows] = unpacked(column)
            next_row += len(column)
        if next_row != len(numbers):
            raise ArchiveError(f'{part} lacks vectors; {_AGAIN}')
        # By one name, so that each step lets go of what the one before it had.
        stored = _whole(stored.drop_columns(['part_row']), facts.get('blank', ()))
        return stored.take(pa.array(np.argsort(numbers))), facts


def _vector_batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """Read the vectors some at a time: of several row groups, Arrow would fetch all first."""
    for i in range(file.num_row_groups):
        yield from file.iter_batches(_BATCH, row_groups=[i], columns=['vector'])


def _check_rows(
    stored: pa.Table, facts: Mapping[str, Any], part: Path
) -> NDArray[np.int64]:
    """Give the number of each row inside its part, if each is there once and has an id."""
    for name in ('patch_id', 'part_row'):
        if stored.column(name).null_count:
            raise ArchiveError(f'{part} has rows without {name}; {_AGAIN}')
    numbers = stored.column('part_row').to_numpy()
    if (
        len(numbers) != facts['rows']
        or (np.sort(numbers) != np.arange(len(numbers))).any()
    ):
        raise ArchiveError(f'{part} lacks rows or has some twice; {_AGAIN}')
    if pc.any(pc.equal(stored.column('patch_id'), '')).as_py():  # ty: ignore[missing-attribute]
        raise ArchiveError(f'{part} has rows whose patch_id is empty; {_AGAIN}')
    return numbers.astype(np.int64)


def _whole(table: pa.Table, blank: Sequence[tuple[int, str]]) -> pa.Table:
    """Give a part as a table: columns without any value are there again.

    Offsets are long, so that the geometry may be longer than 2 GiB.
    """
    i = table.schema.get_field_index('geometry')
    long = table.column('geometry').cast(pa.large_binary())
    table = table.set_column(i, pa.field('geometry', pa.large_binary()), long)
    for place, name in blank:
        table = table.add_column(place, name, pa.nulls(len(table)))
    return table


def read_content(path: str | PathLike[str]) -> Content | None:
    """Say what the rows of an archive are, from the footers of its parts.

    Args:
        path: The folder.

    Returns:
        None if a part was written before parts recorded it.

    Raises:
        ArchiveError: If the folder is not an archive, or a part cannot be read.
    """
    header = read_header(path)
    check_complete(Path(path), header)
    return _content(facts for facts, _ in by_key(Path(path), header['dim']))


def read_record(path: str | PathLike[str], *, strict: bool = True) -> dict[str, Any]:
    """Read the record of an archive as its table has it, from the header and the footers of its parts.

    Args:
        path: The folder.
        strict: As in :func:`merge_records`.

    Raises:
        ArchiveError: If the folder is not an archive, a part cannot be read, or as
            :func:`merge_records`.
    """
    header = read_header(path)
    found = [header, *(facts for facts, _ in by_key(Path(path), header['dim']))]
    records = [facts.get('record') or {} for facts in found]
    return merge_records(records, strict=strict)


def _content(parts: Iterable[Mapping[str, Any]]) -> Content | None:
    """Combine the content that parts record, in the order of their keys."""
    whole = Content()
    for facts in parts:
        if 'content' not in facts:
            return None
        whole += Content(int(facts['rows']), int(facts['content'], 16))
    return whole


def header_file(path: str | PathLike[str]) -> Path:
    """Say where the header of an archive is, or would be.

    Args:
        path: The folder.
    """
    older = Path(path) / _OLDER
    new = Path(path) / HEADER
    return older if older.exists() and not new.exists() else new


def is_archive(path: str | PathLike[str]) -> bool:
    """Decide whether a folder has the header of an archive.

    Args:
        path: Any path.
    """
    return header_file(path).exists()


def read_header(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the header, ``_archive.json``, of an archive folder.

    Args:
        path: The folder.

    Returns:
        The header as it was written.

    Raises:
        ArchiveError: If it is missing, broken or of a newer format.

    Examples:
        >>> import tempfile
        >>> import geopandas as gpd
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> points = gpd.points_from_xy([10, 11], [46, 47])
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': ['a', 'b']}, geometry=points, crs='EPSG:4326'
        ... )
        >>> table = EmbeddingTable.from_frame(frame, [[1, 0], [0, 1]], space='demo')
        >>> folder = tempfile.TemporaryDirectory()
        >>> read_header(table.save(f'{folder.name}/archive'))['space']
        'demo'
        >>> folder.cleanup()
    """
    file = header_file(path)
    check_special(file, ArchiveError)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ArchiveError(
            f'{path} is not an archive: it has no readable {HEADER}'
        ) from error
    header: Any = decode(text, object, str(file), _CURE)
    if not isinstance(header, dict) or header.get('format') != FORMAT:
        raise ArchiveError(
            f'{file} does not describe a {FORMAT}; name an archive folder'
        )
    check_versioned(header, ArchiveHeader, FORMAT_VERSION, str(file), _CURE)
    dim, bits = header['dim'], header['metric'] == 'hamming'
    if not 1 <= dim < _MOST_NUMBERS or (bits and dim % 8):
        raise ArchiveError(f'{file} is broken (dim {dim} is not possible); {_CURE}')
    return unsigned(header, text, str(file), _CURE)[0]


def merge_records(
    records: Sequence[Mapping[str, Any]], *, strict: bool = True
) -> dict[str, Any]:
    """Merge records of tables that are concatenated.

    Args:
        records: JSON-able mappings.
        strict: Refuse records that name different files for one scene; else such a scene
            goes, with the files of each, under ``ambiguous_sources``.

    Returns:
        One record: ``sources`` united, mappings merged. If two facts disagree, the records
        are kept side by side, without their scenes, as a list under ``merged_from``.

    Raises:
        ArchiveError: If two records name different files for one scene, and ``strict``.
    """
    sources: dict[str, Any] = {}
    unclear: dict[str, list[Any]] = {}
    facts: list[dict[str, Any]] = []
    for record in records:
        for scene, files in record.get('ambiguous_sources', {}).items():
            unclear.setdefault(scene, []).extend(files)
        for scene, files in record.get('sources', {}).items():
            if sources.setdefault(scene, files) != files:
                if strict:
                    raise ArchiveError(
                        f'scene {scene!r} names different files in two records'
                    )
                unclear.setdefault(scene, [sources[scene]]).append(files)
        plain = {
            name: value
            for name, value in record.items()
            if name not in ('sources', 'ambiguous_sources', 'merged_from')
        }
        for fact in [*record.get('merged_from', []), *([plain] if plain else [])]:
            if fact not in facts:
                facts.append(fact)
    merged: dict[str, Any] = {}
    try:
        if not all(_unite(merged, fact) for fact in facts):
            merged = {'merged_from': facts}
    except RecursionError as error:
        raise ArchiveError(f'a record is nested too deeply; {_CURE}') from error
    if any('sources' in record for record in records):
        merged['sources'] = {s: f for s, f in sources.items() if s not in unclear}
    if unclear:
        merged['ambiguous_sources'] = unclear
    return json.loads(json.dumps(merged))


def _unite(into: dict[str, Any], other: Mapping[str, Any]) -> bool:
    """Merge a mapping into another in place; False if two values disagree."""
    for name, value in other.items():
        if name not in into:
            into[name] = json.loads(json.dumps(value))
        elif isinstance(into[name], dict) and isinstance(value, dict):
            if not _unite(into[name], value):
                return False
        elif into[name] != value:
            return False
    return True


def _part_record(table: Rows) -> dict[str, Any]:
    """Give the record of a part: of the scenes, only those its rows come from."""
    record = dict(table.record)
    if isinstance(record.get('sources'), dict):
        # Rows made of several scenes join their ids.
        ids = table.frame['source'].dropna()
        used = {*ids, *(name for word in ids for name in word.split('+'))}
        record['sources'] = {
            s: files for s, files in record['sources'].items() if s in used
        }
    return record


def _difference(name: str, old: Any, new: Any) -> tuple[str, str, str]:
    """Name the first place where two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key):
                return _difference(f'{name}.{key}', old.get(key), new.get(key))
    return name, json.dumps(old)[:80], json.dumps(new)[:80]


def part_name(key: str) -> str:
    """Give a file name that any file system takes, readable, and different for each key."""
    readable = re.sub(r'[^A-Za-z0-9_.=]+', '-', key).strip('-.')[-80:]
    return f'part-{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet'


def _mark(folder: Path) -> tuple[int, int, int] | None:
    """Tell the header of an archive from one that replaced it; None if there is none."""
    try:
        found = header_file(folder).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def _appearing(target: Path, *, overwrite: bool = True) -> Generator[Path]:
    """Write a file of an archive as a draft without a name, which :func:`sweep` knows there."""
    draft = Draft(target.with_name(f'.{stamp()}'), target, overwrite)
    with disk_faults(target):
        try:
            yield draft.path
            flush(draft.path)
            publish([draft])
        finally:
            with suppress(OSError):
                draft.path.unlink(missing_ok=True)


@contextmanager
def _committing(part: Path, *, known: bool) -> Generator[Path]:
    """Write a part as a draft and give it its name, with a marker unless it is known without."""
    draft = part.with_name(f'.{stamp()}')
    with disk_faults(part):
        try:
            yield draft
            flush(draft)
            # Not by publish(), which removes the draft of a failure before its marker is looked at.
            with nullcontext() if known else marked(part, draft):
                draft.replace(part)
                flush(part.parent)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


@contextmanager
def reading(part: Path) -> Generator[None]:
    """Turn whatever a broken part raises into one sentence; a pipe would never end."""
    check_special(part, ArchiveError)
    try:
        yield
    except ArchiveError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        # ValueError: a name of the file that is not Unicode
        raise ArchiveError(
            f'{part} cannot be read, it is truncated or broken; remove it and run again'
        ) from error


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace anything but a folder that holds an archive and nothing else."""
    try:
        read_header(folder)
        strangers = sorted(
            p.name
            for p in folder.iterdir()
            if p.is_symlink()
            or not _OURS.fullmatch(p.name)
            # What is gone went with an archive that another process has just replaced.
            or (p.exists() and not p.is_file())
        )
    except ArchiveError as error:
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise OutputExistsError(
            f'{folder} is not an archive and stays as it is; choose another name'
        ) from error
    if strangers:
        raise OutputExistsError(
            f'{folder} holds {strangers[0]} next to the archive, which is not replaced; '
            'move that file away'
        )
