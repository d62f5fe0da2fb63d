"""Whole numbers among nulls: as float64, or, where that would round them, as nullable integers."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

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


def in_pandas(table: pa.Table) -> pd.DataFrame:
    """Give a table of Arrow to pandas, without rounding whole numbers among nulls.

    Args:
        table: Columns without geometry.
    """
    frame = table.to_pandas()
    for name, column in zip(table.column_names, table.columns, strict=True):
        if (
            column.null_count
            and frame[name].dtype.kind == 'f'
            and pa.types.is_integer(column.type)
            and is_long(column)
        ):
            kind = nullable(np.dtype(column.type.to_pandas_dtype()), long=True)
            frame[name] = column.to_pandas(types_mapper={column.type: kind}.get)
    return frame
