"""Common column types of several tables, and which are incompatible.

A column that one table lacks, or that holds nothing there, is null in its rows and has the type
it has in the others. Put below one another, searched as parts of an index or saved and read
back, the same rows have the same columns.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from torchgeo_cmr.errors import ArchiveError

from .schema import TEXT, types_in_arrow
from .whole_numbers import as_described, is_long, nullable


class Kind(NamedTuple):
    """What a column holds."""

    dtype: Any
    #: Its type in Arrow, of categories that of their values.
    arrow: pa.DataType
    #: Whether there is nothing but nulls, so that another type does no harm.
    void: bool
    #: Whether there are whole numbers that float64 would round.
    long: bool = False
    #: Whether a value is missing.
    null: bool = False


def kinds_of(table: pa.Table | pd.DataFrame) -> dict[str, Kind]:
    """Give the kind of each column but the geometry.

    Args:
        table: The frame of an embedding table, or its columns in Arrow with ``geometry``.

    Returns:
        Name -> kind. The dtype is that of all rows, so may hold nulls if one of them is null.

    Raises:
        ArchiveError: If a column holds values of several kinds.
    """
    made: dict[str, Kind] = {}
    if isinstance(table, pa.Table):
        plain = table.drop_columns(['geometry'])
        for name, dtype in as_described(plain.schema.empty_table()).dtypes.items():
            column = plain.column(name)
            if pa.types.is_dictionary(column.type) and column.num_chunks:
                # An empty table does not know the categories.
                empty = column.unify_dictionaries().chunk(0).slice(0, 0)
                dtype = empty.to_pandas().dtype
            void, long = column.null_count == len(column), is_long(column)
            fits = nullable(dtype, long=long) if column.null_count else dtype
            null = column.null_count > 0
            made[name] = Kind(fits, _plain(column.type), void, long, null)
        return made
    frame = pd.DataFrame(table.drop(columns='geometry'))
    schema = types_in_arrow(table)
    for name, dtype in frame.dtypes.items():
        kind = _plain(schema.field(name).type)
        long = pa.types.is_integer(kind) and is_long(pa.array(frame[name]))
        missing = frame[name].isna()
        made[name] = Kind(dtype, kind, bool(missing.all()), long, bool(missing.any()))
    return made


def united(parts: Sequence[Mapping[str, Kind]]) -> dict[str, Any]:
    """Give the dtypes of columns of several tables put below one another.

    Args:
        parts: Kinds of each table; omit those without rows.

    Returns:
        Name -> pandas dtype, names in the order in which they first appear.
    """
    together: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        kinds = [part[name] for part in parts if name in part]
        known = [kind for kind in kinds if not kind.void] or kinds[:1]
        dtype = known[0].dtype
        if any(kind.dtype != dtype for kind in known):
            words = all(_wordy(kind.arrow) for kind in known)
            # Words of two kinds, such as two sets of categories, are plain words together.
            dtype = TEXT if words else _common(known)
        # Categories take a missing value where their values alone have no room for it.
        if len(known) < len(parts) or any(kind.null for kind in known):
            dtype = nullable(dtype, long=any(kind.long for kind in known))
        together[name] = dtype
    return together


def filled(frame: pd.DataFrame, dtypes: Mapping[str, Any]) -> pd.DataFrame:
    """Give some rows the columns that all have, null where theirs have none.

    Args:
        frame: Some rows; a ``geometry`` is kept.
        dtypes: Name -> pandas dtype.
    """
    columns: dict[str, Any] = {}
    for name, dtype in dtypes.items():
        values = frame.get(name)
        if values is not None and values.dtype == dtype:
            columns[name] = values
        elif values is None or (len(values) and values.isna().all()):
            nothing = pd.Series([None], dtype=dtype)
            columns[name] = nothing.take(np.zeros(len(frame), dtype=np.intp))
            columns[name].index = frame.index
        else:
            columns[name] = values.astype(dtype)
    if 'geometry' in frame:
        columns['geometry'] = frame['geometry']
    return pd.DataFrame(columns, index=frame.index)


def check_same(new: Mapping[str, Kind], present: Mapping[str, Kind]) -> None:
    """Refuse columns whose values are incompatible with existing ones.

    Numbers go with numbers that need not be rounded for it, words with categories of words, and
    nulls with everything.

    Args:
        new: Kinds of the columns of new rows.
        present: Kinds of the existing columns.

    Raises:
        ArchiveError: If two of a name do not; the message names the column and both types.
    """
    for name in new.keys() & present.keys():
        pair = new[name], present[name]
        if pair[0].void or pair[1].void:
            continue
        schemas = [pa.schema([(name, kind.arrow)]) for kind in pair]
        try:
            pa.unify_schemas(schemas, promote_options='permissive')
            if _common(pair) == object and all(_is_number(kind.arrow) for kind in pair):
                raise pa.ArrowInvalid('floats would round the whole numbers')
        except pa.ArrowException as error:
            words = [
                str(kind.arrow if kind.dtype == object else kind.dtype) for kind in pair
            ]
            raise ArchiveError(
                f'column {name!r} holds {words[0]} in the new rows and {words[1]} in those that '
                'are there; give it one type or rename it'
            ) from error


def are_plain_together(types: Iterable[pa.DataType]) -> bool:
    """Say whether columns of these types, put below one another, lose their categories.

    Arrow joins categories neither with plain values nor with others that have an order.

    Args:
        types: Types of the columns; nulls go with everything.
    """
    known = [kind for kind in types if not pa.types.is_null(kind)]
    orders = {kind.ordered for kind in known if pa.types.is_dictionary(kind)}
    plain = any(not pa.types.is_dictionary(kind) for kind in known)
    return bool(orders) and (plain or len(orders) > 1)


def _common(kinds: Sequence[Kind]) -> Any:
    """Give the dtype of columns put below one another; objects if floats would round their numbers."""
    dtype = pd.concat([pd.Series([], dtype=kind.dtype) for kind in kinds]).dtype
    if not pd.api.types.is_float_dtype(dtype) or not any(kind.long for kind in kinds):
        return dtype
    if all(pa.types.is_signed_integer(kind.arrow) for kind in kinds):
        return pd.Int64Dtype()
    if all(pa.types.is_unsigned_integer(kind.arrow) for kind in kinds):
        return pd.UInt64Dtype()
    return np.dtype(object)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _wordy(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
