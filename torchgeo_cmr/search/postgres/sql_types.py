"""Columns of an archive as columns of PostgreSQL, and back without loss.

Types that PostgreSQL has are stored as such, so that a GIS reads them. Times of nanoseconds and
durations become whole numbers of their unit; what PostgreSQL has no type for becomes bytes of
Arrow. The Arrow schema of the archive is kept along with the table and decides how values are read.
"""

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from torchgeo_cmr.errors import ArchiveError

#: Names of columns that every table of PostgreSQL has.
SYSTEM_COLUMNS = ('tableoid', 'xmin', 'cmin', 'xmax', 'cmax', 'ctid')
_OURS = ('row_number', 'part_key', 'slice', 'geometry')
_TAKEN = frozenset((*_OURS, *SYSTEM_COLUMNS, 'oid'))
_LONGEST = 63


def sql_name(name: str) -> str:
    """Give the column of a name: the name, unless it is taken or cannot be one."""
    usual = name and name not in _TAKEN and '%' not in name and '\0' not in name
    if usual and len(name.encode()) <= _LONGEST:
        return name
    return f'column_{hashlib.sha256(name.encode()).hexdigest()[:16]}'


def sql_type(kind: pa.DataType) -> str | None:
    """Give the type in which PostgreSQL keeps values of an Arrow type; None for nulls."""
    if pa.types.is_null(kind):
        return None
    if pa.types.is_dictionary(kind):
        return sql_type(kind.value_type)
    if _is_number_of_units(kind):
        return 'bigint'
    if _is_plain_list(kind):
        return f'{sql_type(kind.value_type)}[]'
    tests = {
        'text': (pa.types.is_string, pa.types.is_large_string),
        'boolean': (pa.types.is_boolean,),
        'numeric': (pa.types.is_uint64, pa.types.is_decimal),
        'bigint': (pa.types.is_integer,),
        'real': (pa.types.is_float16, pa.types.is_float32),
        'double precision': (pa.types.is_float64,),
        'date': (pa.types.is_date,),
    }
    for name, accepted in tests.items():
        if any(test(kind) for test in accepted):
            return name
    if pa.types.is_timestamp(kind):
        return 'timestamp' if kind.tz is None else 'timestamptz'
    return 'bytea'


def to_sql(column: pa.ChunkedArray) -> list[Any]:
    """Give the values of a column as psycopg writes them.

    Raises:
        ArchiveError: If a word holds the character NUL, which PostgreSQL cannot store, or a time is
            before the year 1 or after 9999.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return to_sql(column.cast(kind.value_type))
    if _is_number_of_units(kind):
        whole = pa.int32() if kind.bit_width == 32 else pa.int64()
        return column.cast(whole).to_pylist()
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError) as error:
        raise ArchiveError(
            f'a time or date is not in the years 1 to 9999, which are those that a database is given ({error}); '
            'remove it, or search the folder itself'
        ) from error
    if sql_type(kind) == 'text':
        for value in values:
            if value is not None and '\0' in value:
                raise ArchiveError(
                    f'{value!r:.80} holds a NUL character, which PostgreSQL cannot store; remove it'
                )
    if sql_type(kind) != 'bytea':
        return values
    return [
        None if value is None else _packed(column.slice(i, 1))
        for i, value in enumerate(values)
    ]


def from_sql(values: list[Any], kind: pa.DataType, words: pa.Array | None) -> pa.Array:
    """Give values that psycopg read as a column of an Arrow type.

    Args:
        values: The values.
        kind: The type.
        words: The categories of a dictionary.
    """
    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    if pa.types.is_dictionary(kind):
        assert words is not None  # kept with the schema
        plain = from_sql(values, kind.value_type, None)
        codes = pc.call_function(
            'index_in', [plain], pc.SetLookupOptions(words, skip_nulls=True)
        )
        if codes.null_count > plain.null_count:
            # Archives of earlier versions may lack categories of which there are values.
            return plain.dictionary_encode()
        return pa.DictionaryArray.from_arrays(
            codes.cast(kind.index_type), words, ordered=kind.ordered
        )
    if _is_number_of_units(kind):
        whole = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(values, whole).cast(kind)
    if sql_type(kind) != 'bytea':
        return pa.array(values, kind)
    pieces = [pa.nulls(1, kind) if v is None else _unpacked(v) for v in values]
    return pa.concat_arrays(pieces) if pieces else pa.array([], kind)


def _is_number_of_units(kind: pa.DataType) -> bool:
    fine = pa.types.is_timestamp(kind) and kind.unit == 'ns'
    return fine or pa.types.is_duration(kind) or pa.types.is_time(kind)


def _is_plain_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(test(kind) for test in lists):
        return False
    item = kind.value_type
    return pa.types.is_floating(item) or pa.types.is_integer(item)


def _packed(column: pa.ChunkedArray) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({'v': column})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _unpacked(value: bytes) -> pa.Array:
    column = pa.ipc.open_stream(value).read_all().column('v')
    return column.combine_chunks()
