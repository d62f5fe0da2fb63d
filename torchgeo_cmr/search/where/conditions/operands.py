"""Columns as conditions compare them: one NumPy array, its nulls, and its kind."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError

from .tree import Column

#: What pandas finds in a column of Python objects -> what it holds.
_OBJECTS = {
    'string': 'word',
    'boolean': 'flag',
    'decimal': 'decimal',
    'integer': 'decimal',
    'floating': 'decimal',
    'mixed-integer-float': 'decimal',
    'date': 'time',
    'datetime': 'time',
    'datetime64': 'time',
    'timedelta': 'duration',
    'timedelta64': 'duration',
    'empty': 'null',
}


@dataclass(frozen=True)
class Side:
    """A column, ready to be compared.

    Args:
        name: Its name.
        values: Array (n,); what stands where ``null`` is true has no meaning.
        null: Which rows have no value (n,); NaN is not a value.
        kind: ``'flag'``, ``'number'``, ``'decimal'`` (numbers as Python objects), ``'time'``
            (``datetime64`` in UTC), ``'duration'``, ``'word'``, or ``'null'`` for a column
            without any value.
    """

    name: str
    values: NDArray[Any]
    null: NDArray[np.bool_]
    kind: str


def side(column: Column, frame: pd.DataFrame) -> Side:
    """Look a column up.

    Args:
        column: The column.
        frame: A table that has it.

    Raises:
        QueryError: If it holds lists, bytes or the like.
    """
    values = frame[column.name]
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()
        distinct = _side(column.name, pd.Series(values.cat.categories))
        if len(distinct.values):
            # A missing code, -1, takes the last category, which null hides.
            made = Side(column.name, distinct.values[codes], codes < 0, distinct.kind)
        else:
            made = Side(column.name, codes, codes < 0, 'null')
    else:
        made = _side(column.name, values)
    if column.fold and made.kind == 'word':
        words = np.array([str(word).casefold() for word in made.values], dtype=object)
        return Side(column.name, words, made.null, made.kind)
    return made


def _side(name: str, values: pd.Series) -> Side:
    """Give the values of a column as NumPy compares them."""
    dtype = values.dtype
    if isinstance(dtype, pd.ArrowDtype):
        values = values.astype(object)
        dtype = values.dtype
    null = values.isna().to_numpy(dtype=bool)
    if pd.api.types.is_bool_dtype(dtype):
        return Side(name, values.to_numpy(dtype=bool, na_value=False), null, 'flag')
    if dtype == object:
        return _of_objects(name, values, null)
    if isinstance(dtype, pd.StringDtype):
        return Side(name, values.to_numpy(dtype=object), null, 'word')
    if pd.api.types.is_datetime64_any_dtype(dtype):
        if getattr(dtype, 'tz', None) is not None:
            values = values.dt.tz_convert('UTC').dt.tz_localize(None)
        return Side(name, values.to_numpy(), null, 'time')
    if pd.api.types.is_timedelta64_dtype(dtype):
        return Side(name, values.to_numpy(), null, 'duration')
    if pd.api.types.is_integer_dtype(dtype) or pd.api.types.is_float_dtype(dtype):
        if not isinstance(dtype, np.dtype):
            kept = getattr(dtype, 'numpy_dtype', None)  # of masked arrays
            plain = values.to_numpy(dtype=kept, na_value=0)
            return Side(name, plain, null | np.isnan(plain), 'number')
        return Side(name, values.to_numpy(), null, 'number')
    raise _opaque(name, str(dtype))


def _of_objects(name: str, values: pd.Series, null: NDArray[np.bool_]) -> Side:
    """Give the values of a column of Python objects, all of one kind."""
    found = pd.api.types.infer_dtype(values, skipna=True)
    kind = _OBJECTS.get(found)
    if kind is None:
        raise _opaque(name, f'{found} values')
    if kind == 'time' and found == 'date':
        days = np.zeros(len(null), dtype='datetime64[D]')
        days[~null] = values[~null].to_numpy().astype('datetime64[D]')
        return Side(name, days, null, kind)
    if kind == 'time':
        times = pd.to_datetime(values, utc=True).dt.tz_localize(None)
        return Side(name, times.to_numpy(), null, kind)
    if kind == 'duration':
        return Side(name, pd.to_timedelta(values).to_numpy(), null, kind)
    if kind == 'flag':
        truths = np.zeros(len(null), dtype=bool)
        truths[~null] = values[~null].astype(bool)
        return Side(name, truths, null, kind)
    return Side(name, values.to_numpy(), null, kind)


def _opaque(name: str, found: str) -> QueryError:
    return QueryError(
        f'column {name!r} holds {found}, which conditions cannot compare with anything'
    )
