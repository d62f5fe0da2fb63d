"""Whole numbers among nulls: as float64, or, where that would round them, as nullable integers."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from torchgeo_cmr.errors import ArchiveError

#: Up to this, float64 holds every whole number.
_EXACT = 1 << 53


def is_long(column: pa.Array | pa.ChunkedArray) -> bool:
    """Decide whether float64 would round a whole number of a column.

    Args:
        column: A column of any type.
    """
    if not pa.types.is_integer(column.type) or column.type.bit_width < 64:
        return False
    ends = pc.call_function('min_max', [column]).as_py().values()
    return any(end is not None and abs(end) > _EXACT for end in ends)


def nullable(dtype: Any, *, long: bool) -> Any:
    """Give the dtype that a column takes when it gets nulls.

    Args:
        dtype: pandas dtype of the column without nulls.
        long: Whether it holds whole numbers that float64 would round.
    """
    if isinstance(dtype, np.dtype) and dtype.kind in 'iu':
        return (
            pd.Series([], dtype=dtype).convert_dtypes().dtype
            if long
            else np.dtype('float64')
        )
    if isinstance(dtype, np.dtype) and dtype.kind == 'b':
        return np.dtype(object)
    return dtype


def as_described(table: pa.Table) -> pd.DataFrame:
    """Give a table of Arrow to pandas, with the dtypes that its metadata describe.

    Args:
        table: Columns without geometry.

    Raises:
        ArchiveError: If the metadata are broken.
    """
    try:
        return table.to_pandas()
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        raise ArchiveError(
            f'what its metadata say about columns is broken ({type(error).__name__}: {error!s:.80}); '
            'write the archive again'
        ) from error


def in_pandas(table: pa.Table) -> pd.DataFrame:
    """Give a table of Arrow to pandas, without rounding whole numbers among nulls.

    Args:
        table: Columns without geometry.

    Raises:
        ArchiveError: If its metadata are broken.
    """
    frame = as_described(table)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if (
            column.null_count
            and pa.types.is_integer(column.type)
            and frame[name].dtype.kind == 'f'
            and is_long(column)
        ):
            kind = nullable(np.dtype(column.type.to_pandas_dtype()), long=True)
            frame[name] = column.to_pandas(types_mapper={column.type: kind}.get)
    return frame


def unrounded(column: pa.ChunkedArray) -> pd.Series:
    """Give a column of a part of a file to pandas: whole numbers among nulls stay whole.

    Args:
        column: The column.
    """
    whole = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    return column.to_pandas(types_mapper=whole.get if column.null_count else None)


def short_as_floats(frame: pd.DataFrame) -> None:
    """Change, in place, what :func:`unrounded` gave to float64 where that rounds nothing.

    Args:
        frame: All parts of a file, below one another.
    """
    for name in frame:
        whole = isinstance(frame[name].dtype, pd.Int64Dtype | pd.UInt64Dtype)
        if whole and not is_long(pa.array(frame[name])):
            frame[name] = frame[name].astype('float64')
