"""Somebody else's Parquet files of embeddings as the rows of a table, row group by row group.

Of a row group that an area does not touch only the columns of the place are read, and nothing if
the file has statistics of them.
"""

import json
import logging
import os
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyarrow import fs

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.regular_files import check_regular, check_there
from torchgeo_cmr.table.footprints import WGS84, is_wgs84, to_wgs84
from torchgeo_cmr.table.schema import RESERVED, STANDARD
from torchgeo_cmr.table.whole_numbers import is_long, short_as_floats, unrounded

from .column_roles import Roles, columns_of, counted_times, find_roles, without_views
from .place_columns import Area, footprints, read_places, touching
from .time_columns import all_midnight, read_times, unit_since_1970
from .vector_lists import decode, faults, read_vectors

_LOG = logging.getLogger(__name__)

#: Suffixes of files that a folder is searched for.
SUFFIXES = ('.parquet', '.geoparquet', '.gpq', '.pq')

#: What is counted of rows that are left out for lack of a place, next to faults of vectors.
_NO_PLACE = 'without a place'

#: A file, and the numbers of rows of it.
type _Rows = tuple[str, NDArray[np.int64]]
type Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files are read; :meth:`EmbeddingTable.from_parquet` describes each."""

    vector: str | None = None
    geometry: str | None = None
    time: str | None = None
    id_: str | None = None
    scale: Any = None
    offset: Any = None
    metres: float | None = None
    crs: Any = None
    area: Area | None = None
    drop_missing: bool = False
    placeless: bool = False


@dataclass
class _Counts:
    """What was noticed while rows were read."""

    rescaled: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    groups: int = 0
    skipped: int = 0
    #: Column -> its types, each with the first file that has it.
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)
    #: What is to be said of numbers that may be times and were not read as such.
    undated: str = ''


@dataclass(frozen=True)
class ParquetRows:
    """Rows of one or more files.

    Args:
        frame: Footprints and columns, with ``patch_id``.
        vectors: Array (n, dim), as stored or decoded.
        facts: JSON-able: which files and columns were read, and what was done to them.
    """

    frame: gpd.GeoDataFrame
    vectors: NDArray[Any]
    facts: dict[str, Any]


def read_rows(paths: Paths, reading: Reading) -> ParquetRows:
    """Read all rows of some files that an area touches.

    Args:
        paths: A file, a folder of files, or several.
        reading: How they are read.

    Raises:
        ArchiveError: If files or columns are missing, do not fit one another, or hold what no
            table takes.
    """
    files = parquet_files(paths)
    base = Path(os.path.commonpath([file.parent.absolute() for file in files]))
    frames: list[gpd.GeoDataFrame] = []
    blocks: list[NDArray[Any]] = []
    rows: list[_Rows] = []
    counts, found, stated = _Counts(), [], []
    for file in files:
        label = file.absolute().relative_to(base).as_posix()
        with _opened(file) as parquet:
            schema = without_views(parquet.schema_arrow)
            roles = _roles(schema, label, reading)
            found.append((label, roles))
            for column in schema:
                kinds = counts.kinds.setdefault(column.name, {})
                kinds.setdefault(str(column.type)[:80], label)
            stated += _stated(parquet.schema_arrow)
            if reading.time is None and not roles.time:
                counts.undated = counts.undated or _perhaps_times(parquet, label)
            for part in _groups(parquet, file, label, roles, reading, counts):
                frame, vectors, numbers = part
                if blocks and blocks[0].shape[1] != vectors.shape[1]:
                    raise ArchiveError(
                        f'{label} holds vectors of {vectors.shape[1]} numbers and '
                        f'{found[0][0]} of {blocks[0].shape[1]}: give the files of one model'
                    )
                frames.append(frame)
                blocks.append(vectors)
                rows.append((label, numbers))
    if not blocks:
        where = 'that the area touches' if reading.area is not None else 'with a vector'
        raise ArchiveError(
            f'{files[0]}{" and others" if len(files) > 1 else ""}: there is no row {where}'
        )
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    assert isinstance(frame, gpd.GeoDataFrame)
    short_as_floats(frame)
    vectors = _joined(blocks)
    ids, note = _ids(frame, found[0][1], found[0][0], rows)
    mixed = _mixed(frame, frames, counts.kinds)
    frame = gpd.GeoDataFrame(_with_ids(frame, ids, note).drop(columns=mixed))
    facts = _facts(found, reading, counts, note, stated)
    if mixed:
        facts['columns_left_out'] = {name: counts.kinds[name] for name in mixed}
    notes = _notes(facts, len(frame), vectors)
    for note in notes:
        _LOG.info('%s', note)
    if counts.undated:
        warnings.warn(counts.undated, UserWarning, stacklevel=3)
    return ParquetRows(frame, vectors, facts)


def _mixed(
    frame: pd.DataFrame,
    parts: Sequence[pd.DataFrame],
    kinds: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """Name columns that files hold as types which do not become one, or round the other."""
    mixed = []
    for name, types in kinds.items():
        if len(types) > 1 and name in frame and name != 'geometry':
            try:
                made = pa.array(frame[name], from_pandas=True)
            except (pa.ArrowException, TypeError):
                mixed.append(name)
                continue
            if pa.types.is_floating(made.type) and any(
                name in part and is_long(pa.array(part[name])) for part in parts
            ):
                mixed.append(name)
    return mixed


def _joined(blocks: list[NDArray[Any]]) -> NDArray[Any]:
    """Put blocks below one another, letting go of each, so that they are not held twice."""
    kind = np.result_type(*{block.dtype for block in blocks})
    rows = sum(map(len, blocks))
    vectors = np.empty((rows, blocks[0].shape[1]), kind)
    end = rows
    while blocks:
        block = blocks.pop()
        vectors[end - len(block) : end] = block
        end -= len(block)
    return vectors


def parquet_files(paths: Paths) -> list[Path]:
    """Give the files that are meant, in the order of their names within a folder.

    Args:
        paths: A file, a folder, which is searched at any depth, or several.

    Raises:
        ArchiveError: If one is not there, or a folder holds none.
    """
    named = [paths] if isinstance(paths, str | PathLike) else list(paths)
    files: list[Path] = []
    for path in map(Path, named):
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob('*')
                if file.suffix.lower() in SUFFIXES
                and not any(
                    part.startswith(('.', '_')) for part in file.relative_to(path).parts
                )
            )
            if not inside:
                raise ArchiveError(f'the folder {path} holds no Parquet file: name one')
            files += inside
        else:
            check_there(path, ArchiveError)
            check_regular(path, ArchiveError)
            files.append(path)
    if not files:
        raise ArchiveError('no Parquet file is named: name at least one')
    twice = {file for file in files if files.count(file) > 1} if len(files) > 1 else ()
    if twice:
        raise ArchiveError(f'{min(twice)} is named twice: name it once')
    return files


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ArchiveError(
            f'{file} cannot be read as Parquet ({error}): it is something else, or broken'
        ) from error


def _roles(schema: pa.Schema, label: str, reading: Reading) -> Roles:
    return find_roles(
        schema,
        label,
        vector=reading.vector,
        geometry=reading.geometry,
        time=reading.time,
        id_=reading.id_,
        crs=reading.crs,
        placeless=reading.placeless,
    )


def _stated(schema: pa.Schema) -> list[Any]:
    """Give what a file says of its embeddings, as the community writes it."""
    text = (schema.metadata or {}).get(b'emb')
    try:
        return [] if text is None else [json.loads(text, parse_constant=_no_number)]
    except (ValueError, RecursionError):
        return []


def _no_number(word: str) -> None:
    """Refuse NaN and infinity, which are not JSON."""
    raise ValueError(word)


def _groups(
    parquet: pq.ParquetFile,
    file: Path,
    label: str,
    roles: Roles,
    reading: Reading,
    counts: _Counts,
) -> Iterator[tuple[gpd.GeoDataFrame, NDArray[Any], NDArray[np.int64]]]:
    """Read the rows of one file with their numbers, a row group at a time."""
    start = 0
    groups = _within(file, label, roles, reading)
    roles = replace(roles, days=_days(parquet, label, roles))
    for group in range(parquet.num_row_groups):
        first, start = start, start + parquet.metadata.row_group(group).num_rows
        counts.groups += 1
        if groups is not None and group not in groups:
            counts.skipped += 1
            continue
        with _complete(label):
            made = _group(parquet, group, first, label, roles, reading, counts)
        if made is not None:
            yield made


@contextmanager
def _complete(label: str) -> Generator[None]:
    """Say in one sentence which file cannot be read."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(
            f'{label} cannot be read ({error}): it is truncated or broken'
        ) from error


def _days(parquet: pq.ParquetFile, label: str, roles: Roles) -> tuple[bool, ...]:
    """Say for each column of time whether it holds days: all row groups decide, also those left out."""
    every = range(parquet.num_row_groups)
    with _complete(label):
        return tuple(
            all_midnight(_read(parquet, group, [name]).column(name) for group in every)
            for name in roles.time
        )


def _perhaps_times(parquet: pq.ParquetFile, label: str) -> str:
    """Say which numbers of an undated file would be times if they were named; nothing without any."""
    every = range(parquet.num_row_groups)
    for names in counted_times(parquet.schema_arrow):
        with _complete(label):
            units = {
                unit_since_1970(
                    _read(parquet, group, [name]).column(name) for group in every
                )
                for name in names
            }
        if len(units) == 1 and None not in units:
            words = ','.join(names)
            return (
                f'rows of {label} have no date: {words} holds whole numbers, which may be '
                f'{units.pop()} since 1970; name it with time={words!r} '
                f'(--time-column {words}) if they are, with an empty word if they are not'
            )
    return ''


def _within(file: Path, label: str, roles: Roles, reading: Reading) -> set[int] | None:
    """Give the row groups that can hold rows of the area by their statistics; None for all."""
    if reading.area is None or not roles.place:
        return None
    expression = touching(roles, reading.area, reading.metres)
    if expression is None:
        return None
    with _complete(label):
        # Arrow looks at the statistics itself: those of a broken file end the process where
        # Python asks for them.
        fragment = ds.ParquetFileFormat().make_fragment(
            str(file.absolute()), fs.LocalFileSystem()
        )
        pieces = fragment.split_by_row_group(filter=expression)
        return {info.id for piece in pieces for info in piece.row_groups}


def _group(
    parquet: pq.ParquetFile,
    group: int,
    first: int,
    label: str,
    roles: Roles,
    reading: Reading,
    counts: _Counts,
) -> tuple[gpd.GeoDataFrame, NDArray[Any], NDArray[np.int64]] | None:
    """Read one row group: where its rows are, then what is left of them."""
    size = parquet.metadata.row_group(group).num_rows
    shapes = gpd.GeoSeries([None] * size, crs=roles.crs)
    keep = np.ones(size, bool)
    if roles.place:
        table = _read(parquet, group, [*roles.place])
        places = read_places(
            [table.column(c) for c in roles.place], ', '.join(roles.place), roles
        )
        if reading.placeless:
            places[places.is_empty] = None  # an empty geometry is nowhere
        shapes, keep = footprints(places, reading.metres, reading.area)
        keep &= _placed(shapes, keep, label, first, roles, reading, counts)
    elif reading.area is not None:
        raise ArchiveError(f'{label} has no places, and an area was given: drop it')
    if not keep.any():
        counts.skipped += reading.area is not None
        return None
    names = _wanted(without_views(parquet.schema_arrow), roles)
    table = _read(parquet, group, names)
    table = table.filter(pa.array(keep))
    numbers = first + np.flatnonzero(keep)
    vectors, good = _vectors(table, label, numbers, roles, reading, counts)
    frame = _frame(table.filter(pa.array(good)), roles)
    kept = shapes.to_numpy()[keep][good]
    if not is_wgs84(shapes.crs):
        # Files of several zones become one table.
        placed = ~shapely.is_missing(kept)
        kept[placed] = to_wgs84(kept[placed], shapes.crs)
    geometry = gpd.GeoSeries(kept, crs=WGS84)
    return gpd.GeoDataFrame(frame, geometry=geometry), vectors, numbers[good]


def _placed(
    shapes: gpd.GeoSeries,
    keep: NDArray[np.bool_],
    label: str,
    first: int,
    roles: Roles,
    reading: Reading,
    counts: _Counts,
) -> NDArray[np.bool_]:
    """Say which rows have a place, or may do without."""
    geometry = shapes.to_numpy()
    missing = keep & (shapely.is_missing(geometry) | shapely.is_empty(geometry))
    if reading.placeless or not missing.any():
        return np.ones(len(keep), bool)
    if not reading.drop_missing:
        raise ArchiveError(
            f'{label}: {int(missing.sum())} rows have no place ({", ".join(roles.place)} is null '
            f'or empty), the first in row {first + int(np.argmax(missing))}; give '
            'drop_missing=True to leave such rows out, or placeless=True to keep them'
        )
    count = counts.dropped.get(_NO_PLACE, 0) + int(missing.sum())
    counts.dropped[_NO_PLACE] = count
    return ~missing


def _read(parquet: pq.ParquetFile, group: int, names: list[str]) -> pa.Table:
    """Read some columns of a row group."""
    table = parquet.read_row_group(group, columns=names)
    return table.cast(without_views(table.schema))


def _wanted(schema: pa.Schema, roles: Roles) -> list[str]:
    """Name the columns that are read: those with a role, and plain ones."""
    used = {*roles.vector, *roles.place}
    names = [*roles.vector]
    for column in schema:
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if column.name in roles.time or (
            column.name not in used
            and (not pa.types.is_nested(kind) or column.name == 'native_corners')
            and not pa.types.is_binary(kind)
            and not pa.types.is_large_binary(kind)
            and not isinstance(kind, pa.BaseExtensionType)
        ):
            names.append(column.name)
    return names


def _vectors(
    table: pa.Table,
    label: str,
    numbers: NDArray[np.int64],
    roles: Roles,
    reading: Reading,
    counts: _Counts,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read the vectors of a row group, and say which are good."""
    name = roles.words()['vector']
    stored, missing = read_vectors([table.column(c) for c in roles.vector], name)
    if not stored.shape[1]:
        raise ArchiveError(f'{label}: the column {name} holds no numbers')
    scale = reading.scale
    if isinstance(scale, str):
        if scale not in table.column_names:
            raise ArchiveError(
                f'{label} has no column {scale} of scales: it has {columns_of(table.schema)}'
            )
        scale = np.asarray(table.column(scale).to_numpy(), np.float64)[:, None]
    vectors = decode(stored, scale, reading.offset, name)
    found, rescaled = faults(vectors, missing)
    bad = np.any([*found.values()], axis=0)
    for fault, rows in found.items():
        if not rows.any():
            continue
        if not reading.drop_missing:
            raise ArchiveError(
                f'{label}: {int(rows.sum())} vectors of the column {name} are {fault}, the first '
                f'in row {numbers[np.argmax(rows)]}; give drop_missing=True to leave such rows out'
            )
        counts.dropped[fault] = counts.dropped.get(fault, 0) + int(rows.sum())
    counts.rescaled += rescaled
    return vectors[~bad], ~bad


def _frame(table: pa.Table, roles: Roles) -> pd.DataFrame:
    """Give times and plain columns as those of a table."""
    frame = pd.DataFrame(index=range(len(table)))
    for name in table.column_names:
        if (
            name in roles.vector
            or name in roles.time
            or name in (*RESERVED, 'geometry')
        ):
            continue
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if name in STANDARD and pa.types.is_string(STANDARD[name]):
            frame[name] = column.cast(pa.string()).to_pandas()
        elif name not in STANDARD or _is_like(column.type, STANDARD[name]):
            frame[name] = unrounded(column)
    if roles.time:
        columns = [table.column(name) for name in roles.time]
        start, end = read_times(columns, ', '.join(roles.time), roles.days)
        frame['time_start'], frame['time_end'] = start, end
    return frame


def _is_like(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Say whether a column of theirs can be the standard one of its name."""
    if pa.types.is_floating(wanted):
        return pa.types.is_floating(kind) or pa.types.is_integer(kind)
    return kind == wanted or (pa.types.is_nested(kind) and pa.types.is_nested(wanted))


def _ids(
    frame: gpd.GeoDataFrame, roles: Roles, label: str, rows: Sequence[_Rows]
) -> tuple[list[str], str]:
    """Name the rows: by the first column that tells them apart, else by file and row."""
    for name in roles.ids:
        if name not in frame:
            continue
        # As text: one file may hold numbers and another one words.
        known, words = frame[name].notna(), frame[name].astype(str)
        twice = words.duplicated() & known
        if known.all() and not twice.any() and (words != '').all():
            return words.tolist(), name
        if roles.named:
            fault = (
                f'has {frame[name][twice].iloc[0]!r:.80} more than once'
                if known.all() and twice.any()
                else f'is null or empty in {int((~known | (words == "")).sum())} rows'
            )
            raise ArchiveError(
                f'the column {name} of {label} {fault}: name one that identifies rows, or give '
                "id='' to number them"
            )
    ids = [f'{file}:{row}' for file, numbers in rows for row in numbers.tolist()]
    return ids, 'file and row'


def _with_ids(frame: pd.DataFrame, ids: Sequence[str], note: str) -> pd.DataFrame:
    """Put ids into a frame; a ``patch_id`` of theirs that is not the id gets another name."""
    if 'patch_id' in frame and note != 'patch_id':
        kept = 'file_patch_id'
        while kept in frame:
            kept = f'file_{kept}'
        frame = frame.rename(columns={'patch_id': kept})
    return frame.assign(patch_id=list(ids))


def _facts(
    found: Sequence[tuple[str, Roles]],
    reading: Reading,
    counts: _Counts,
    ids: str,
    stated: Sequence[Any],
) -> dict[str, Any]:
    """Say what was read, for the record."""
    facts: dict[str, Any] = {
        'files': [label for label, _ in found],
        'columns': {**found[0][1].words(), 'patch_id': ids},
        'crs': found[0][1].crs.to_string()[:200],
        'row_groups': counts.groups,
        'row_groups_skipped': counts.skipped,
        'rescaled_to_length_1': counts.rescaled,
        'dropped': counts.dropped,
    }
    for name in ('metres', 'area', 'offset', 'scale'):
        value = getattr(reading, name)
        if value is not None:
            facts[name] = (
                value if isinstance(value, str) else np.asarray(value).tolist()
            )
    if stated and all(other == stated[0] for other in stated):
        facts['emb'] = stated[0]
    return facts


def _notes(
    facts: Mapping[str, Any], rows: int, vectors: NDArray[Any]
) -> tuple[str, ...]:
    """Say in sentences what was read."""
    words = '; '.join(f'{role}: {name}' for role, name in facts['columns'].items())
    notes = [f'{rows} vectors of {vectors.shape[1]} numbers, {words}']
    if facts['rescaled_to_length_1']:
        notes.append(
            f'{facts["rescaled_to_length_1"]} vectors were not of length 1 and were scaled to it'
        )
    notes += [
        f'{count} rows were left out: '
        + ('they have no place' if fault == _NO_PLACE else f'their vector is {fault}')
        for fault, count in facts['dropped'].items()
    ]
    for name, kinds in facts.get('columns_left_out', {}).items():
        types = ' and '.join(f'{kind} in {label}' for kind, label in kinds.items())
        notes.append(f'the column {name} was left out: it is {types}')
    if facts['row_groups_skipped']:
        notes.append(
            f'{facts["row_groups_skipped"]} of {facts["row_groups"]} row groups were not read: the '
            'area does not touch them'
        )
    return tuple(notes)
