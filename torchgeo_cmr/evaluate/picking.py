"""Rows of a table or an array: those that lie next to each other are not copied."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.spool import spooled
from torchgeo_cmr.table import EmbeddingTable


def pick(values: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Give some rows of an array.

    Args:
        values: Array (n, ...), not to be changed.
        rows: Sorted row numbers (m,), each once.

    Returns:
        Array (m, ...): a view where the rows are a run, else a copy, which lies in a temporary file
        if the array does.
    """
    run = _run(rows)
    if isinstance(run, slice) or not isinstance(values, np.memmap):
        return values[run]
    copy = spooled((len(rows), *values.shape[1:]), values.dtype)
    # In the mode 'raise' NumPy would make a copy in memory first.
    return np.take(values, rows, axis=0, out=copy, mode='clip')


def pick_rows(table: EmbeddingTable, rows: NDArray[np.int64]) -> EmbeddingTable:
    """Give the table of some rows, whose vectors :func:`pick` gives.

    Args:
        table: The table; if all of its rows are wanted, it is given back.
        rows: Sorted row numbers, each once.
    """
    if len(rows) == len(table):
        return table
    vectors = pick(table.vectors, rows)
    vectors.flags.writeable = False
    frame = table.frame.iloc[_run(rows)].reset_index(drop=True)
    return replace(table, frame=frame, vectors=vectors)


def _run(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    if not len(rows) or rows[-1] - rows[0] + 1 != len(rows):
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1)
