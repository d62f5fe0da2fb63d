"""Time clauses: a window, months of any year, days around the query's own date.

All of them see a row as a span from its ``time_start`` to its ``time_end``; a missing end
stands for the start and the other way round. Times are UTC, with microseconds. A row
without any time is undated: no clause can judge it, so the filter decides what becomes of it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.iso8601 import DAY, Period, read_period, shifted
from torchgeo_cmr.search.number_checks import is_whole

#: What a time may be given as, text in ISO 8601; naive times are UTC.
type TimeLike = str | date | datetime | np.datetime64 | pd.Timestamp
#: What a window may be given as: a pair, a slice, ``'START/END'``, or one year, month or day.
type WindowLike = TimeLike | slice | Sequence[TimeLike | None]

_YEAR = 12
#: What people write between two dates, besides the slash of ISO 8601.
_BETWEEN = re.compile(r'\s+(?:to|until|and)\s+|\.\.+|\s+-\s+|[,;:–\s]', re.IGNORECASE)
#: Days that hold all of time between the years 1 and 9999; more would not fit microseconds.
_EVER = 3_700_000
_US = 1_000
_EXAMPLE = (
    "such as '2024-06-01/2024-07-01', or one year, month or day, such as '2024-06'"
)


@dataclass(frozen=True)
class Spans:
    """When some rows were taken.

    Args:
        start: First moment (n,), ``datetime64[us]`` in UTC, NaT where undated.
        end: Last moment (n,), in the same form; both are NaT or neither.
    """

    start: NDArray[np.datetime64]
    end: NDArray[np.datetime64]

    @property
    def undated(self) -> NDArray[np.bool_]:
        """Rows without any time."""
        return np.isnat(self.start)


def spans(start: NDArray[np.datetime64], end: NDArray[np.datetime64]) -> Spans:
    """Let a missing end stand for the start and the other way round.

    Args:
        start: First moments (n,), ``datetime64`` in UTC, NaT where unknown.
        end: Last moments (n,).
    """
    return Spans(
        np.where(np.isnat(start), end, start), np.where(np.isnat(end), start, end)
    )


def read_window(
    during: WindowLike,
) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Read a window: from its start until before its end.

    Args:
        during: A pair (start, end), a slice or text ``'START/END'``, either side None, empty or
            two dots where it is open; a year, month or day in it stands for its first moment, and
            one of both may be a duration, as in ``'2024-06-01/P7D'``. Or one year, month or day, which is the whole of it.

    Returns:
        Both as ``datetime64[us]`` in UTC, None where open.

    Raises:
        QueryError: If it is not a window, limits nothing, a date is not in ISO 8601, or the end
            is not after the start.
    """
    pair = _pair(during)
    if pair is None:
        period = read_time(during)
        if not period.whole:
            raise QueryError(
                f'during={during!r:.80} is one moment; give a window, {_EXAMPLE}'
            )
        return _ceiled(period.start), _ceiled(period.end)
    start, end = _bounds(*pair)
    if start is None and end is None:
        raise QueryError(
            f'during={during!r:.80} limits nothing; give a start or an end, or drop it'
        )
    window = _ceiled(start), _ceiled(end)
    if start is not None and end is not None and end <= start:
        first, last = (str(bound).removesuffix('.000000') for bound in window)
        advice = 'swap the two'
        if end == start:
            advice = 'END itself is outside, so give a later one'
            if read_time(pair[0]).whole:
                advice += f', or during={str(pair[0])!r} for the whole of it'
        raise QueryError(
            f'the time window starts at {first} and ends at {last}, which is not after it; {advice}'
        )
    return window


def read_sides(text: str) -> tuple[str | None, str | None] | None:
    """Divide ``START/END``.

    Args:
        text: A window or a date.

    Returns:
        The sides, None where empty or two dots; None of one date, and of a date that is
        written with slashes, so that the caller can suggest how to write it.
    """
    sides = [part.strip() for part in text.split('/')]
    if len(sides) != 2 or any(len(part) < 3 and part.isdecimal() for part in sides):
        return None
    start, end = (None if part in ('', '..') else part for part in sides)
    return start, end


def read_time(value: Any) -> Period:
    """Read one date or moment.

    Args:
        value: Text in ISO 8601, or an object of Python, NumPy or pandas; naive times are UTC. A
            ``date`` is a day, a ``datetime64`` of years, months or days the whole of one.

    Raises:
        QueryError: If it is something else, or text in another form; the message suggests what was
            probably meant.
    """
    given = value
    try:
        if isinstance(value, str):
            return read_period(value)
        if isinstance(value, date) and not isinstance(value, datetime):
            return read_period(value.isoformat())
        if isinstance(value, datetime):
            moment = pd.Timestamp(value)
            if isinstance(moment, pd.Timestamp) and moment.tzinfo is not None:
                moment = moment.tz_convert('UTC').tz_localize(None)
            value = moment.to_datetime64()
        if isinstance(value, np.datetime64) and not np.isnat(value):
            return _numpy_period(value)
    except ValueError as error:
        raise QueryError(_window_meant(given) or str(error)) from error
    raise QueryError(
        f"{given!r:.80} is not a date; write it like '2024-06-01' or '2024-06-01T10:30Z'"
    )


def _window_meant(text: Any) -> str | None:
    """Say how to write two dates that something else than a slash divides."""
    for sign in _BETWEEN.finditer(str(text)):
        sides = text[: sign.start()].strip(), text[sign.end() :].strip()
        try:
            for side in sides:
                read_period(side)
        except ValueError:
            continue
        return f'{text!r:.80} is not a window; write {"/".join(sides)!r}, of which END is outside'
    return None


def read_months(months: int | Iterable[int]) -> tuple[int, ...]:
    """Read months 1 to 12.

    Args:
        months: One or several.

    Returns:
        The months, sorted, each once.

    Raises:
        QueryError: If there is none, or one is not a month.
    """
    given = [months] if isinstance(months, int | np.integer) else months
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise QueryError(
            f'months is {months!r}; give numbers from 1 to 12, such as (6, 7)'
        )
    given = list(given)
    if not given:
        raise QueryError('months is empty; give numbers from 1 to 12, such as (6, 7)')
    for month in given:
        if not is_whole(month) or not 1 <= month <= _YEAR:
            raise QueryError(f'{month!r} is not a month; give numbers from 1 to 12')
    return tuple(sorted({int(month) for month in given}))


def in_window(
    times: Spans, window: tuple[np.datetime64 | None, np.datetime64 | None]
) -> NDArray[np.bool_]:
    """Say which rows begin before the end of a window and end at or after its start.

    Args:
        times: When the rows were taken.
        window: Start and end.

    Returns:
        Mask (n,), False where undated.
    """
    start, end = window
    mask = ~times.undated
    if end is not None:
        mask &= times.start < end
    if start is not None:
        mask &= times.end >= start
    return mask


def in_months(times: Spans, months: Sequence[int]) -> NDArray[np.bool_]:
    """Say which rows were taken, at least in part, in one of some months of any year.

    Args:
        times: When the rows were taken.
        months: Months, 1 to 12.

    Returns:
        Mask (n,), False where undated.
    """
    dated = ~times.undated
    first = times.start[dated].astype('datetime64[M]').astype(np.int64)
    last = times.end[dated].astype('datetime64[M]').astype(np.int64)
    wanted = np.zeros(_YEAR, dtype=bool)
    wanted[np.asarray(months) - 1] = True
    hit = wanted[first % _YEAR]
    for later in range(1, min(_YEAR, 1 + int((last - first).max(initial=0)))):
        hit |= wanted[(first + later) % _YEAR] & (first + later <= last)
    mask = np.zeros(len(dated), dtype=bool)
    mask[dated] = hit
    return mask


def within_days(times: Spans, query: Spans, days: float) -> NDArray[np.bool_]:
    """Say which rows were taken at most some days before or after one other row.

    Args:
        times: When the rows were taken.
        query: When the other was taken (1,).
        days: Largest gap between the two spans, both ends included.

    Returns:
        Mask (n,), False where undated.
    """
    gap = np.timedelta64(round(min(days, _EVER) * 86_400_000_000), 'us')
    return (
        ~times.undated
        & (times.start <= query.end[0] + gap)
        & (times.end >= query.start[0] - gap)
    )


def _pair(during: WindowLike) -> tuple[Any, Any] | None:
    """Give the two sides of a window; None of something that has one only."""
    if isinstance(during, str):
        return read_sides(during)
    if isinstance(during, slice) and during.step is None:
        return during.start, during.stop
    if isinstance(during, date | np.datetime64):
        return None
    if isinstance(during, Sequence | np.ndarray | pd.Index) and len(during) == 2:
        return during[0], during[1]
    raise QueryError(
        f'during is {during!r:.80}; give a pair (start, end), either may be None, {_EXAMPLE}'
    )


def _bounds(start: Any, end: Any) -> tuple[int | None, int | None]:
    """Give the nanoseconds of both sides, one of which may be a duration."""
    after, before = _is_duration(end), _is_duration(start)
    if (after or before) and (after == before or None in (start, end)):
        raise QueryError(
            f'{(end if after else start)!r:.80} is a duration without a date on the other side; '
            "write '2024-06-01/P7D'"
        )
    first, last = (
        None if side is None or length else read_time(side).start
        for side, length in ((start, before), (end, after))
    )
    try:
        if first is not None and after:
            last = shifted(first, end.strip(), 1)
        if last is not None and before:
            first = shifted(last, start.strip(), -1)
    except ValueError as error:
        raise QueryError(str(error)) from error
    return first, last


def _is_duration(side: Any) -> bool:
    return isinstance(side, str) and side.strip().startswith('P')


def _numpy_period(value: np.datetime64) -> Period:
    """Give the nanoseconds of a NumPy time, which may be a whole year, month or day."""
    unit, count = np.datetime_data(value.dtype)
    if unit in 'YMWD' and count == 1:
        first, after = (
            int(day.astype('datetime64[D]').astype(np.int64)) * DAY
            for day in (value, value + np.ones((), dtype=f'timedelta64[{unit}]'))
        )
        return Period(first, after, whole=unit != 'W')
    if unit in ('ps', 'fs', 'as'):
        value = value.astype('datetime64[ns]')
    seconds = value.astype('datetime64[s]')
    rest = (value - seconds).astype('timedelta64[ns]').astype(np.int64)
    start = int(seconds.astype(np.int64)) * 10**9 + int(rest)
    return Period(start, start + 1, whole=False)


def _ceiled(nanoseconds: int | None) -> np.datetime64 | None:
    """Give microseconds: rows have no finer times, so no comparison changes."""
    return None if nanoseconds is None else np.datetime64(-(-nanoseconds // _US), 'us')
