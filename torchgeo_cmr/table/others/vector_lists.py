"""Vectors of somebody else's file as an array, with what is wrong with them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError

from .column_roles import storage

#: How far from 1 the length of a vector is called 1.
_TOLERANCE = 1e-3


def read_vectors(
    columns: Sequence[pa.ChunkedArray], name: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read vectors, in the type in which they are stored.

    Args:
        columns: One column of lists, or one column for each number.
        name: Name of the column, for messages.

    Returns:
        Array (n, dim) of floats or integers, and which rows are null (n,), whose numbers mean
        nothing.

    Raises:
        ArchiveError: If lists have different lengths or hold no numbers.
    """
    if len(columns) > 1:
        arrays = [c.to_numpy() for c in columns]
        missing = np.any([c.is_null().to_numpy() for c in columns], axis=0)
        return np.column_stack(arrays), missing
    column = columns[0]
    kind = storage(column.type)
    if kind != column.type:
        column = pa.chunked_array([c.storage for c in column.chunks], type=kind)
    missing = column.is_null().to_numpy()
    lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    lengths = pc.call_function('list_value_length', [lists]).drop_null().to_numpy()
    if not lengths.any():
        return np.empty((len(column), 0), np.float32), missing
    dim = int(lengths[0])
    if (lengths != dim).any():
        row = int(np.flatnonzero(~missing)[np.argmax(lengths != dim)])
        other = int(lengths[np.argmax(lengths != dim)])
        raise ArchiveError(
            f'the column {name} holds vectors of {dim} numbers and, in row {row} of those read, '
            f'of {other}: give the rows of one model'
        )
    # Where a list is null its numbers are not there, or mean nothing.
    values = pc.call_function('list_flatten', [lists])
    flat = values.to_numpy(zero_copy_only=False).reshape(-1, dim)
    if not missing.any():
        return flat, missing
    full = np.zeros((len(column), dim), flat.dtype)
    full[~missing] = flat
    return full, missing


def decode(
    vectors: NDArray[Any], scale: Any, offset: Any, name: str
) -> NDArray[np.floating]:
    """Undo a linear quantisation: ``(stored - offset) ...`` is never guessed.

    Args:
        vectors: Stored numbers (n, dim).
        scale: What stored numbers are multiplied by: a number, one per component (dim,), or
            one per row (n, 1); None for 1.
        offset: What is added to that: a number, or one per component; None for 0.
        name: Name of the column, for messages.

    Returns:
        Vectors (n, dim) of float32; of floats without scale and offset, as they are.

    Raises:
        ArchiveError: If unsigned numbers come without an offset, or shapes do not fit.
    """
    if vectors.dtype.kind == 'u' and offset is None:
        raise ArchiveError(
            f'the column {name} is stored as {vectors.dtype}, whose 0 is not known: give scale= '
            'and offset=, as its owner states them'
        )
    if scale is None and offset is None:
        return vectors if vectors.dtype.kind == 'f' else vectors.astype(np.float32)
    try:
        numbers = vectors.astype(np.float64)
        numbers = numbers * (1.0 if scale is None else np.asarray(scale, np.float64))
        numbers = numbers + (0.0 if offset is None else np.asarray(offset, np.float64))
        if numbers.shape != vectors.shape:
            raise ValueError(f'{numbers.shape} in place of {vectors.shape}')
    except (TypeError, ValueError) as error:
        raise ArchiveError(
            f'scale and offset do not fit the column {name} of {vectors.shape[1]} numbers '
            f'({error}): give a number each, or one per component'
        ) from error
    return numbers.astype(np.float32)


def faults(
    vectors: NDArray[np.floating], missing: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[np.bool_]], int]:
    """Find vectors that no table takes, and count those that are not of length 1.

    Args:
        vectors: Array (n, dim).
        missing: Which are null (n,).

    Returns:
        What is wrong -> which rows (n,); and how many of the others are longer or shorter
        than 1.
    """
    numbers = vectors.astype(np.float64)
    # In a list of integers or of single columns, null is NaN.
    broken = ~np.isfinite(numbers).all(axis=1) & ~missing
    empty = ~numbers.any(axis=1) & ~missing & ~broken
    found = {'null': missing, 'NaN or infinite': broken, 'only zeros': empty}
    good = ~(missing | broken | empty)
    with np.errstate(over='ignore'):  # too long to be a number is not 1 either
        lengths = np.linalg.norm(numbers[good], axis=1)
    return found, int((np.abs(lengths - 1) > _TOLERANCE).sum())
