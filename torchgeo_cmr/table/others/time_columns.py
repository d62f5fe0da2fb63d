"""Times of somebody else's file as the two columns of a table."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.iso8601 import read_period
from torchgeo_cmr.table.schema import TIME

#: Years that a plain number may be.
_YEARS = (1900, 2100)
#: Seconds since 1970 that whole numbers may be: those of the years 1980 to 2099.
_MOMENTS = (315_532_800, 4_102_444_800)
_UNITS = {'s': 1, 'ms': 10**3, 'us': 10**6, 'ns': 10**9}
_UNIT_NAMES = {
    's': 'seconds',
    'ms': 'milliseconds',
    'us': 'microseconds',
    'ns': 'nanoseconds',
}
_INSTANT = pd.Timedelta(microseconds=1)


def all_midnight(blocks: Iterable[pa.ChunkedArray]) -> bool:
    """Say whether timestamps are all midnight in UTC: dates, then, and no instants.

    Args:
        blocks: The column, some rows at a time; nothing is read beyond the first other time.
    """
    for block in blocks:
        kind = (
            block.type.value_type if pa.types.is_dictionary(block.type) else block.type
        )
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            times = _since_1970(block.cast(kind))
        else:
            times = _instants(block) if pa.types.is_timestamp(kind) else None
        if times is None or not ((times == times.dt.normalize()) | times.isna()).all():
            return False
    return True


def unit_since_1970(blocks: Iterable[pa.ChunkedArray]) -> str | None:
    """Say in which unit all numbers of a column are moments since 1970.

    Args:
        blocks: The column, some rows at a time; nothing is read beyond the first other number.

    Returns:
        ``'seconds'``, ``'milliseconds'``, ``'microseconds'`` or ``'nanoseconds'``; None if there is
        no number, or no unit that puts all of them into the years that moments may be in.
    """
    units: set[str | None] = set()
    for block in blocks:
        if (whole := _whole(block)) is None:
            return None
        if whole.null_count < len(whole):
            units.add(_unit(whole))
        if None in units or len(units) > 1:
            return None
    return _UNIT_NAMES[str(units.pop())] if units else None


def read_times(
    columns: Sequence[pa.ChunkedArray],
    name: str,
    days: Sequence[bool],
    cure: str = "name another column, or leave it out with time=''",
) -> tuple[Any, Any]:
    """Read when rows begin and end.

    A year, a month or a day stands for the whole of it. Times without a zone are UTC.

    Args:
        columns: One column, or those of start and end.
        name: Names of the columns, for messages.
        days: For each column, whether its timestamps stand for whole days (:func:`all_midnight`), which
            the rows of a whole file decide.
        cure: What to do if a value is not a time.

    Returns:
        Two series of UTC times, null where the file has none.

    Raises:
        ArchiveError: If a value is not a time.
    """
    try:
        first = _period(columns[0], days[0])
        last = _period(columns[-1], days[-1])
    except (ValueError, OverflowError) as error:
        raise ArchiveError(f'the column {name} {error}; {cure}') from error
    return first[0], last[1]


def _period(column: pa.ChunkedArray, days: bool) -> tuple[Any, Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_null(kind):
        column = column.cast(pa.timestamp('us'))
        kind = column.type
    if pa.types.is_date(kind):
        return _whole_days(_instants(column.cast(pa.timestamp('us'))))
    if pa.types.is_timestamp(kind):
        times = _instants(column)
        return _whole_days(times) if days else (times, times)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        if (times := _since_1970(column)) is not None:
            return _whole_days(times) if days else (times, times)
        numbers = pd.Series(column.to_pandas()).astype('float64')
        known = numbers.dropna()
        wrong = known[~(known.between(*_YEARS) & (known % 1 == 0))]
        if len(wrong):
            raise ValueError(
                f'holds {wrong.iloc[0]:.15g}, a number that is neither a year nor a moment since 1970 in '
                'seconds, milli-, micro- or nanoseconds: give times as timestamps or ISO 8601 text'
            )
        words = numbers.map(lambda n: f'{int(n):04d}', na_action='ignore')
        return _words(words)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _words(pd.Series(column.to_pandas(), dtype=object))
    raise ValueError(f'is stored as {kind}, not as times')


def _since_1970(column: pa.ChunkedArray) -> pd.Series | None:
    """Read whole numbers as moments since 1970; None if their unit could be another."""
    whole = _whole(column)
    if whole is None or (unit := _unit(whole)) is None:
        return None
    return _instants(whole.cast(pa.int64()).cast(pa.timestamp(unit, tz='UTC')))


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Give numbers as whole ones; None if they are not."""
    if pa.types.is_floating(column.type):
        # Whole numbers become floats where pandas had to store a null among them.
        numbers = pd.Series(column.to_pandas())
        if (numbers.dropna() % 1 != 0).any() or (numbers.abs() >= 2**53).any():
            return None
        column = pa.chunked_array([pa.array(numbers.astype('Int64'))])
    return column if pa.types.is_integer(column.type) else None


def _unit(column: pa.ChunkedArray) -> str | None:
    """Say in which unit all whole numbers are moments since 1970.

    All moments of 1980 to 2100 in one unit are numbers that none has in the next unit.
    """
    if column.null_count == len(column):
        return None
    least, most = (
        pc.call_function(which, [column]).as_py() for which in ('min', 'max')
    )
    for unit, parts in _UNITS.items():
        first, last = (second * parts for second in _MOMENTS)
        if first <= least and most < last:
            return unit
    return None


def _instants(column: pa.ChunkedArray) -> pd.Series:
    """Give timestamps in UTC."""
    stamps = column.cast(pa.timestamp('us', tz='UTC'), safe=False)
    return pd.Series(stamps.to_pandas()).astype(TIME)


def _whole_days(start: pd.Series) -> tuple[Any, Any]:
    return start, start + pd.Timedelta(days=1) - _INSTANT


def _words(words: pd.Series) -> tuple[Any, Any]:
    """Read text, each word of which is read once."""
    numbers, found = pd.factorize(words.to_numpy(dtype=object))
    ends = np.full((len(found) + 1, 2), np.datetime64('NaT', 'us'))
    for i, word in enumerate(found):
        try:
            period = read_period(str(word))
            start, end = (
                np.datetime64(side, 'ns').astype('datetime64[us]')
                for side in (period.start, period.end)
            )
        except (ValueError, OverflowError) as error:
            raise ValueError(f'holds what is not a time: {error}') from error
        ends[i] = start, end - np.timedelta64(1, 'us') if period.whole else start
    # What is missing has the number -1, the last row.
    start, end = (pd.Series(ends[numbers, side]) for side in (0, 1))
    return tuple(s.dt.tz_localize('UTC').astype(TIME) for s in (start, end))
