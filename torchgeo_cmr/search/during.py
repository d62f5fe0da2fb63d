"""Time clauses: a window, months of any year, days around the query's own date.

All of them see a row as a span from its ``time_start`` to its ``time_end``; a missing end
stands for the start and the other way round. Times are UTC, with microseconds. A row
without any time is undated: no clause can judge it, so the filter says what becomes of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError

#: What a time may be given as; naive times are UTC.
type TimeLike = str | date | datetime | np.datetime64 | pd.Timestamp

_YEAR = 12


@dataclass(frozen=True)
class Spans:
    """When some rows were taken.

    Args:
        start: First moment (n,), ``datetime64[us]`` in UTC, NaT where undated.
        end: Last moment (n,), likewise; both are NaT or none is.

    .. versionadded:: 0.1
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

    .. versionadded:: 0.1
    """
    return Spans(
        np.where(np.isnat(start), end, start), np.where(np.isnat(end), start, end)
    )


def read_window(
    during: tuple[TimeLike | None, TimeLike | None],
) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Read a window (start, end), either may be None.

    Args:
        during: The pair.

    Returns:
        Both as ``datetime64[us]`` in UTC.

    Raises:
        QueryError: If it is no pair, limits nothing, holds no times or is upside down.

    .. versionadded:: 0.1
    """
    if isinstance(during, str) or not isinstance(during, Sequence) or len(during) != 2:
        raise QueryError(
            f'during is {during!r:.80}; give a pair (start, end), either may be None'
        )
    start, end = (_time(value) for value in during)
    if start is None and end is None:
        raise QueryError(
            'during=(None, None) limits nothing; give a start or an end, or leave it out'
        )
    if start is not None and end is not None and start > end:
        raise QueryError(
            f'the time window starts at {start} after it ends at {end}; swap the two'
        )
    return _plain(start), _plain(end)


def read_months(months: int | Iterable[int]) -> tuple[int, ...]:
    """Read months 1 to 12.

    Args:
        months: One or several.

    Returns:
        The months, sorted, each once.

    Raises:
        QueryError: If there is none, or one is no month.

    .. versionadded:: 0.1
    """
    given = [months] if isinstance(months, int | np.integer) else list(months)
    if not given:
        raise QueryError('months is empty; give numbers from 1 to 12, such as (6, 7)')
    for month in given:
        if (
            isinstance(month, bool)
            or not isinstance(month, int | np.integer)
            or not 1 <= month <= _YEAR
        ):
            raise QueryError(f'{month!r} is no month; give numbers from 1 to 12')
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

    .. versionadded:: 0.1
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

    .. versionadded:: 0.1
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


def within_days(times: Spans, own: Spans, days: float) -> NDArray[np.bool_]:
    """Say which rows were taken at most some days before or after one other row.

    Args:
        times: When the rows were taken.
        own: When the other was taken (1,).
        days: Largest gap between the two spans, both ends included.

    Returns:
        Mask (n,), False where undated.

    .. versionadded:: 0.1
    """
    gap = np.timedelta64(round(days * 86_400_000_000), 'us')
    return (
        ~times.undated
        & (times.start <= own.end[0] + gap)
        & (times.end >= own.start[0] - gap)
    )


def _time(value: TimeLike | None) -> pd.Timestamp | None:
    if value is None:
        return None
    try:
        if not isinstance(value, str | date | np.datetime64):
            raise TypeError(f'a {type(value).__name__}')
        moment = pd.Timestamp(value)
        if not isinstance(moment, pd.Timestamp):
            raise TypeError('not a time')
    except (TypeError, ValueError) as error:
        raise QueryError(
            f"{value!r} is no time; write it like '2024-06-01' or '2024-06-01T10:30Z'"
        ) from error
    zoned = (
        moment.tz_localize('UTC') if moment.tzinfo is None else moment.tz_convert('UTC')
    )
    assert isinstance(zoned, pd.Timestamp)  # only NaT becomes NaT
    return zoned


def _plain(moment: pd.Timestamp | None) -> np.datetime64 | None:
    return None if moment is None else moment.tz_localize(None).to_datetime64()
