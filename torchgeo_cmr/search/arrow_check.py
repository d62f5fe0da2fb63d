"""Arrow columns from a file, checked before Arrow follows what is in them.

Arrow trusts the offsets in a file: one flipped bit in them, and it reads another process's
memory or none at all. Checking a whole column means reading it, so only what is about to be used
is checked: of some rows their own offsets, of all rows the column.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError

type _Rows = NDArray[np.int64]

_CURE = 'its files were damaged; build the index again'


def take(table: pa.Table, rows: _Rows) -> pa.Table:
    """Give some rows of a table, in the given order.

    Args:
        table: The table, often memory-mapped.
        rows: Positions, each in the table.

    Raises:
        ArchiveError: If what the file says of these rows cannot be true.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.num_chunks > 1:
            check(column, name)
        elif column.num_chunks and not _is_sound(column.chunk(0), rows):
            raise ArchiveError(f'the column {name} of the index is broken: {_CURE}')
    made = table.take(pa.array(rows))
    try:
        made.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ArchiveError(
            f'a column of the index is broken ({error}): {_CURE}'
        ) from error
    return made


class Binary:
    """The bytes of a few rows of a column, copied from where they lie.

    Code of Arrow that a search does not use otherwise takes longer to begin than to copy them.

    Args:
        array: Large binary values, often memory-mapped.
        name: Name of the column, for messages.
    """

    def __init__(self, array: pa.LargeBinaryArray, name: str) -> None:
        """Find where offsets, values and validity lie; none is read yet."""
        valid, ends, values = array.buffers()
        self._name, self._start = name, array.offset
        self._ends = np.frombuffer(ends or b'', dtype=np.int64)
        self._values = memoryview(values or b'')
        self._valid = None if valid is None else np.frombuffer(valid, dtype=np.uint8)

    def take(self, rows: _Rows) -> NDArray[np.object_]:
        """Give the bytes of some rows (m,) in the given order, None where one is null.

        Raises:
            ArchiveError: If what the file says of these rows cannot be true.
        """
        place = rows + self._start if self._start else rows
        begin, end = self._ends.take(place), self._ends.take(place + 1)
        if (begin < 0).any() or (begin > end).any() or (end > len(self._values)).any():
            raise ArchiveError(
                f'the column {self._name} of the index is broken: {_CURE}'
            )
        made, values = np.empty(len(rows), dtype=object), self._values
        spans = zip(begin.tolist(), end.tolist(), strict=True)
        made[:] = [values[a:b].tobytes() for a, b in spans]
        if self._valid is not None:
            made[(self._valid[place >> 3] >> (place & 7)) & 1 == 0] = None
        return made


def check(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Give a whole column that Arrow can be trusted with.

    Args:
        column: The column.
        name: Its name, for the message.

    Raises:
        ArchiveError: If it is broken.
    """
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ArchiveError(
            f'the column {name} of the index is broken ({error}): {_CURE}'
        ) from error
    return column


def _is_sound(array: pa.Array, rows: _Rows) -> bool:
    """Say whether the offsets of some rows lie where their values are."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _within(array.indices, rows, len(array.dictionary))
    if pa.types.is_struct(kind):
        # flatten() would compute validity; the fields themselves are what is read.
        return all(_is_sound(array.field(i), rows) for i in range(kind.num_fields))
    if pa.types.is_fixed_size_list(kind):
        size = kind.list_size
        inner = (rows[:, None] * size + np.arange(size)).ravel()
        return _is_sound(array.values, inner + array.offset * size)
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    large = (
        pa.types.is_large_list(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    )
    words = pa.types.is_string(kind) or pa.types.is_binary(kind)
    if not (lists or large or words):
        return True
    buffers = array.buffers()
    if buffers[1] is None:
        return not len(rows)
    offsets = np.frombuffer(buffers[1], dtype=np.int64 if large else np.int32)
    begin, end = offsets[rows + array.offset], offsets[rows + array.offset + 1]
    values = array.values if lists else buffers[2]
    size = 0 if values is None else len(values) if lists else values.size
    if not len(rows):
        return True
    if (begin < 0).any() or (begin > end).any() or (end > size).any():
        return False
    if not lists:
        return True
    inner = [np.arange(a, b) for a, b in zip(begin, end, strict=True)]
    return _is_sound(values, np.concatenate(inner).astype(np.int64))


def _within(indices: pa.Array, rows: _Rows, size: int) -> bool:
    numbers = indices.take(pa.array(rows)).drop_null().to_numpy(zero_copy_only=False)
    return not len(numbers) or bool(numbers.min() >= 0 and numbers.max() < size)
