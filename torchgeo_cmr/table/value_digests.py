"""Numbers that are equal where values of a column are, in tables that store it in other ways.

A part of an archive may have whole numbers where another, in which one is missing, has floats;
hours where all times of another are midnight; its own categories; other units and scales.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.util import hash_pandas_object

#: Units of times in a second.
_PER_SECOND = {'s': 1, 'ms': 10**3, 'us': 10**6, 'ns': 10**9}


def value_digests(column: pd.Series) -> NDArray[np.uint64]:
    """Give a number for each value of a column; 0 where it is missing.

    Args:
        column: Values of any type that a table has.
    """
    if isinstance(column.dtype, pd.ArrowDtype):
        column = pa.array(column).to_pandas(integer_object_nulls=True)
    if isinstance(column.dtype, pd.CategoricalDtype):
        # One for each category, and the last for -1, which stands for a missing value.
        made = value_digests(column.cat.categories.to_series())
        return np.append(made, np.uint64(0))[column.cat.codes.to_numpy()]
    numbers = hash_pandas_object(_words(column), index=False).to_numpy()  # ty: ignore[not-callable]
    return np.where(column.isna(), np.uint64(0), numbers)


def _words(column: pd.Series) -> pd.Series:
    """Write values as text."""
    if column.dtype.kind in 'mM':
        return _instants(column)
    if column.dtype == object:
        words = [v if isinstance(v, str) else _word(v) for v in column]
        return pd.Series(words, column.index, dtype=object)
    if not pd.api.types.is_float_dtype(column):
        return column.astype(str)
    column = column.astype('float64')
    words = column.astype(str)
    whole = (column % 1 == 0) & (column.abs() < 2**53)
    words[whole] = column[whole].astype('int64').astype(str)
    return words


def _instants(column: pd.Series) -> pd.Series:
    """Write times or durations as seconds and billionths, whatever unit they are counted in."""
    present = column.notna()
    per_second = _PER_SECOND[column.dt.unit]
    seconds, rest = np.divmod(column[present].astype('int64').to_numpy(), per_second)
    words = pd.Series('', column.index, dtype=object)
    billionths = rest * (10**9 // per_second)
    words[present] = [f'{s}.{b}' for s, b in zip(seconds, billionths, strict=True)]
    return words


def _word(value: Any) -> str:
    """Write a value so that equal ones are written alike, and no others."""
    if isinstance(value, np.ndarray | list | tuple):
        # NumPy writes the ends of long arrays only, and eight digits of each number.
        return f'[{",".join(map(_word, value))}]'
    if isinstance(value, Mapping):
        return _word([[name, value[name]] for name in sorted(value)])
    if isinstance(value, Decimal):
        text = f'{value:f}'
        return text.rstrip('0').rstrip('.') if '.' in text else text
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return repr(value)
