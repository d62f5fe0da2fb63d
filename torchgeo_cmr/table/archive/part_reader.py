"""Rows of the parts of an archive, checked; the vectors of all are in memory once."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.table.schema import check_vectors

from .folder import HEADER
from .part_footers import AGAIN, Footer, check_metadata, check_part, reading
from .part_schema import frame_from_arrow, unpacked
from .records import CURE

#: Rows whose vectors are read at a time.
_BATCH = 4_096


def read_part(
    part: Path, header: Mapping[str, Any]
) -> tuple[gpd.GeoDataFrame, NDArray[Any], dict[str, Any]]:
    """Read a part.

    Args:
        part: The file.
        header: Header of its archive.

    Returns:
        Frame and vectors, in the order in which rows were committed, and its facts. The vectors are
        read-only.

    Raises:
        ArchiveError: If the part is broken or does not fit the header.
    """
    with _opened(part, header) as (file, facts):
        vectors = _room(facts['rows'], header, part, np.empty)
        columns = _read_rows(file, facts, part, vectors)
    try:
        frame = frame_from_arrow(columns)
        check_vectors(frame['patch_id'], vectors)
    except ArchiveError as error:
        raise ArchiveError(f'{part}: {error}; {AGAIN}') from error
    vectors.flags.writeable = False
    return frame, vectors, facts


def read_parts(
    footers: Sequence[Footer],
    header: Mapping[str, Any],
    folder: Path,
    make: Callable[..., NDArray[Any]],
) -> tuple[NDArray[Any], list[tuple[pa.Table, dict[str, Any]]]] | None:
    """Read the parts of an archive: their vectors, below one another, and the rest of each.

    The vectors are put into one array, some at a time, so that they are in memory once.

    Args:
        footers: The parts.
        header: Header of the archive.
        folder: The archive, for the message.
        make: Makes the array of the vectors from a shape and a type.

    Returns:
        Vectors, and columns and facts of each part as it was when its rows were read; None if a
        part was replaced meanwhile by one with another number of rows.

    Raises:
        ArchiveError: If a part is broken or does not fit the header, or there is no memory for all.
    """
    rows = sum(footer.facts['rows'] for footer in footers)
    vectors = _room(rows, header, folder, make)
    parts, start = [], 0
    for footer in steps(footers, 'part', 'read'):
        block = vectors[start : start + footer.facts['rows']]
        read = _read_part(footer.file, header, block)
        if read is None:
            return None
        parts.append(read)
        start += len(block)
    return vectors, parts


def _read_part(
    part: Path, header: Mapping[str, Any], vectors: NDArray[Any]
) -> tuple[pa.Table, dict[str, Any]] | None:
    """Fill in the vectors of a part and give the rest; None if it has other rows than there is room for."""
    with _opened(part, header) as (file, facts):
        if facts['rows'] != len(vectors):
            return None
        return _read_rows(file, facts, part, vectors), facts


@contextmanager
def _opened(
    part: Path, header: Mapping[str, Any]
) -> Generator[tuple[pq.ParquetFile, dict[str, Any]]]:
    """Open a part that fits the header of its archive, and give its facts."""
    with reading(part), pq.ParquetFile(part, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        facts = check_part(schema, header['dim'], str(part))
        check_metadata(file, str(part))
        if pa.types.is_fixed_size_binary(schema.field('vector').type) != (
            header['metric'] == 'hamming'
        ):
            raise ArchiveError(
                f'{part} holds {"vectors" if header["metric"] == "hamming" else "codes"}, which do '
                f'not fit the metric {header["metric"]!r} of {HEADER}; {CURE}'
            )
        yield file, facts


def _read_rows(
    file: pq.ParquetFile, facts: Mapping[str, Any], part: Path, vectors: NDArray[Any]
) -> pa.Table:
    """Fill in the vectors of a part and give its other columns, rows in the order of the commit."""
    names = [name for name in file.schema_arrow.names if name not in ('vector', 'bbox')]
    # Of a column named vector.list, say, Arrow would also take the vectors for a part.
    stored = file.read(names).select(names)
    numbers = _check_rows(stored, facts, part)
    next_row = 0
    for batch in _vector_batches(file):
        column = batch.column('vector')
        if column.null_count:
            raise ArchiveError(f'{part} has rows without vector; {AGAIN}')
        rows = numbers[next_row : next_row + len(column)]
        vectors[rows] = unpacked(column)
        next_row += len(column)
    if next_row != len(numbers):
        raise ArchiveError(f'{part} lacks vectors; {AGAIN}')
    # By one name, so that each step lets go of what the one before it had.
    stored = _whole(stored.drop_columns(['part_row']), facts.get('blank', ()))
    return stored.take(pa.array(np.argsort(numbers)))


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
            raise ArchiveError(f'{part} has rows without {name}; {AGAIN}')
    numbers = stored.column('part_row').to_numpy()
    if (
        len(numbers) != facts['rows']
        or (np.sort(numbers) != np.arange(len(numbers))).any()
    ):
        raise ArchiveError(f'{part} lacks rows or has some twice; {AGAIN}')
    if pc.any(pc.equal(stored.column('patch_id'), '')).as_py():  # ty: ignore[missing-attribute]
        raise ArchiveError(f'{part} has rows whose patch_id is empty; {AGAIN}')
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
