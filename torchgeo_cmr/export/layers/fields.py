"""Columns as fields of a file: their names where the format allows, types, times in UTC."""

import datetime
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.results import RESULT_COLUMNS

#: How times are stored: milliseconds in UTC.
UTC = pa.timestamp('ms', tz='UTC')

_EPOCH = pd.Timestamp(0, tz='UTC')
_TIMES = ('time_start', 'time_end')
#: Columns of a result whose type does not depend on what they hold.
_RESULT_TYPES = {
    'rank': pa.int32(),
    'score': pa.float64(),
    'exact': pa.bool_(),
    'relevant': pa.bool_(),
}
#: What pandas finds in a column of Python objects -> how it is stored.
_OBJECTS = {
    'boolean': pa.bool_(),
    'decimal': pa.float64(),
    'floating': pa.float64(),
    'mixed-integer-float': pa.float64(),
}
_DAY = re.compile(r'\d{4}-\d{2}-\d{2}')


class Field(NamedTuple):
    """A column of a frame and what it is called and stored as in a file."""

    column: str
    name: str
    kind: pa.DataType


def is_result(frame: gpd.GeoDataFrame) -> bool:
    """Say whether a frame has the columns of a search's result.

    Args:
        frame: Any frame.
    """
    return set(RESULT_COLUMNS) <= set(frame.columns)


def with_both_times(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Let a known start stand for an unknown end, and the other way round.

    A program with a time slider would show what has no end for ever.

    Args:
        frame: The layer; it is not changed.
    """
    if not set(_TIMES) <= set(frame.columns):
        return frame
    start, end = (frame[name] for name in _TIMES)
    if (start.isna() == end.isna()).all():
        return frame
    if start.dtype != end.dtype:
        start, end = start.astype(object), end.astype(object)
    made = frame.copy()
    made['time_start'] = start.where(start.notna(), end)
    made['time_end'] = end.where(end.notna(), start)
    return made


def fields(
    frame: gpd.GeoDataFrame, first: Iterable[str] = (), taken: Iterable[str] = ()
) -> list[Field]:
    """Decide which columns are written, under which names and types.

    A column keeps its name, but for a number behind it where the file needs that name for
    itself, or another column's differs in case only, which GDAL treats as the same. Lists, arrays, bytes, complex numbers and further geometries are
    dropped; whole numbers beyond 64 bits with sign become text.

    Args:
        frame: The layer.
        first: Columns to put in front, in this order, where they are there.
        taken: Names that the file needs for itself.
    """
    used = {name.lower() for name in taken}
    found = []
    fixed_types = _RESULT_TYPES if is_result(frame) else {}
    for column in dict.fromkeys(
        [*(c for c in first if c in frame), *(c for c in frame.columns)]
    ):
        if column in (frame._geometry_column_name, 'native_corners'):
            continue
        kind = fixed_types.get(column) or _kind(frame[column])
        if kind is not None:
            name = _name(str(column), used)
            used.add(name.lower())
            found.append(Field(column, name, kind))
    return found


def renamed(columns: Iterable[Field]) -> dict[str, str]:
    """Give the fields that are not called like their column, and the columns' names."""
    return {f.name: str(f.column) for f in columns if f.name != str(f.column)}


def to_array(values: pd.Series, field: Field, *, text_times: bool = False) -> pa.Array:
    """Give a column of a batch as it is stored.

    Args:
        values: Part of a column.
        field: The column, as :func:`fields` decided.
        text_times: Write times as ISO 8601 text in UTC.

    Raises:
        QueryError: If a value in a column of times is not a time.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        held = values.dtype.categories.dtype
        # Whole numbers have no room for a missing one.
        room = not (pd.api.types.is_integer_dtype(held) and values.hasnans)
        values = values.astype(held if room else object)
    kind = field.kind
    if kind == UTC:
        times = _utc(values)
        return (
            _iso(times) if text_times else pa.array(times, type=kind, from_pandas=True)
        )
    if kind == pa.float64():
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        # Neither JSON nor a legend knows infinity; NaN becomes null.
        return pa.array(numbers, type=kind, mask=~np.isfinite(numbers))
    if kind == pa.string() and values.dtype == object:
        values = values.map(str, na_action='ignore')
    elif kind == pa.string() and not pd.api.types.is_string_dtype(values):
        values = values.astype(object).map(str, na_action='ignore')
    made = pa.array(values, type=kind, from_pandas=True)
    made = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
    if kind == pa.string():
        # GDAL would end the text there, and two ids might become one.
        change = pc.ReplaceSubstringOptions('\0', r'\x00')
        made = pc.call_function('replace_substring', [made], change)
    return made


def _kind(values: pd.Series) -> pa.DataType | None:
    """Give the Arrow type of a column; None if it is dropped."""
    dtype = values.dtype
    if isinstance(dtype, gpd.array.GeometryDtype):
        return None
    if isinstance(dtype, pd.CategoricalDtype):
        return _kind(pd.Series(dtype.categories))
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return UTC
    if pd.api.types.is_bool_dtype(dtype):
        return pa.bool_()
    if pd.api.types.is_float_dtype(dtype):
        return pa.float64()
    if pd.api.types.is_integer_dtype(dtype):
        width = getattr(dtype, 'itemsize', 8)
        if width < 4 or dtype == np.int32:
            return pa.int32()
        return pa.int64() if _fits(values) else pa.string()
    if pd.api.types.is_complex_dtype(dtype):
        return None
    if values.name in _TIMES:
        return UTC
    if dtype == object:
        present = values.dropna()
        if any(
            isinstance(v, list | tuple | dict | set | bytes | np.ndarray)
            for v in present
        ):
            return None
        if len(present) and all(type(v) is datetime.date for v in present):
            return pa.date32()
        held = pd.api.types.infer_dtype(present, skipna=True)
        if held == 'integer':
            return pa.int64() if _fits(present) else pa.string()
        return _OBJECTS.get(held, pa.string())
    return pa.string()


def _fits(values: pd.Series) -> bool:
    """Say whether whole numbers fit 64 bits with a sign."""
    present = values.dropna()
    return not len(present) or bool(present.min() >= -(2**63) and present.max() < 2**63)


def _utc(values: pd.Series) -> pd.Series:
    """Read times as UTC; a date alone begins at 00:00:00 and ends at 23:59:59."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return _floored(pd.to_datetime(values, utc=True))
    try:
        times = pd.to_datetime(values, utc=True, format='ISO8601')
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(
            f'column {values.name} holds something that is not a time ({error}); give '
            'datetimes or ISO 8601 text'
        ) from error
    if values.name == 'time_end':
        days = [
            type(v) is datetime.date
            or (isinstance(v, str) and _DAY.fullmatch(v) is not None)
            for v in values
        ]
        times = times.where(
            ~np.asarray(days, dtype=bool), times + pd.Timedelta('23:59:59')
        )
    return _floored(times)


def _floored(times: pd.Series) -> pd.Series:
    """Cut times to what GDAL stores, which would round others to a later moment or day.

    That is milliseconds, and seconds before 1970, where it counts fractions towards zero.
    """
    cut = times.dt.floor('ms')
    early = times < _EPOCH
    return cut.where(~early, cut.dt.floor('s')) if early.any() else cut


def _iso(times: pd.Series) -> pa.Array:
    """Write times as ISO 8601 in UTC, with fractions of a second only where there are any."""

    def text(moment: Any) -> str:
        style = 'milliseconds' if moment.microsecond else 'seconds'
        return moment.replace(tzinfo=None).isoformat(timespec=style) + 'Z'

    # Many patches share a scene, and a scene has one time.
    codes, distinct = pd.factorize(times)
    words = pa.array([text(moment) for moment in distinct], type=pa.string())
    return words.take(pa.array(codes, mask=codes < 0))


def _name(name: str, taken: set[str]) -> str:
    """Give a name that is not taken yet: the column's own, or with a number behind it."""
    # No database takes a name that ends in the middle.
    cleaned = name.replace('\0', '') or 'field'
    number, unique = 2, cleaned
    while unique.lower() in taken:
        unique = f'{cleaned}_{number}'
        number += 1
    return unique
