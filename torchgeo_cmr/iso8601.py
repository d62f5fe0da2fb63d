"""Dates as text: ISO 8601, and what was probably meant where they are written otherwise.

``2024``, ``2024-06`` and ``2024-06-01`` (or ``20240601``) stand for the whole year, month or
day, as clients of STAC read them. A date with a time of day is one moment, in UTC unless it
names its offset. Nothing else is read: ``01.06.2024`` is January or June, depending on who
reads it. Durations are ISO 8601, too.
"""

import calendar
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

#: Nanoseconds of a second and of a day.
SECOND = 1_000_000_000
DAY = 86_400 * SECOND

_EPOCH = date(1970, 1, 1).toordinal()
_ZONE = r'(?P<zone>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?'
_FORMS = tuple(
    re.compile(form)
    for form in (
        r'(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?',
        r'(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})',
        r'(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt ]'
        r'(?P<hour>[0-9]{2})(?::(?P<minute>[0-9]{2})'
        r'(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,18}))?)?)?' + _ZONE,
        r'(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})[Tt]'
        r'(?P<hour>[0-9]{2})(?:(?P<minute>[0-9]{2})'
        r'(?:(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,18}))?)?)?' + _ZONE,
    )
)
_DURATION = re.compile(
    r'P(?=.)(?:(?P<years>[0-9]{1,4})Y)?(?:(?P<months>[0-9]{1,5})M)?(?:(?P<weeks>[0-9]{1,6})W)?'
    r'(?:(?P<days>[0-9]{1,7})D)?(?:T(?=.)(?:(?P<hours>[0-9]{1,8})H)?'
    r'(?:(?P<minutes>[0-9]{1,10})M)?(?:(?P<seconds>[0-9]{1,12})S)?)?'
)
_USUAL = "'2024-06-01' or '2024-06-01T10:30Z'"
_LONGEST = 60


@dataclass(frozen=True)
class Period:
    """A stretch of time, in nanoseconds since 1970 in UTC.

    Args:
        start: First nanosecond.
        end: The one after the last.
        whole: Whether it is a year, a month or a day and not one moment.
    """

    start: int
    end: int
    whole: bool


def usual_units(text: str) -> str:
    """Write the units of a span of time as pandas wants them: ``5d12H`` as ``5D12h``."""
    if text.strip().lstrip('+-').startswith('P'):  # ISO 8601 has capitals only
        return text
    return re.sub(
        r'(?<=[0-9. ])[dwHS](?![A-Za-z])', lambda unit: unit[0].swapcase(), text
    )


def read_period(text: str) -> Period:
    """Read a date, or a date and a time of day.

    Args:
        text: ISO 8601, as the module describes.

    Returns:
        The year, month or day; or one moment, which lasts a nanosecond (none at all if it is
        given finer than that).

    Raises:
        ValueError: If it is not in ISO 8601; the message holds what was probably meant.
    """
    fault = 'is not a date in ISO 8601'
    for form in _FORMS:
        if (match := form.fullmatch(text.strip())) is None:
            continue
        fields = match.groupdict()
        try:
            return _moment(fields) if fields.get('hour') else _whole(fields)
        except ValueError:
            fault = 'is not in the calendar'
    raise ValueError(f'{text[:_LONGEST]!r} {fault}; write {meant(text)}')


def shifted(moment: int, duration: str, sign: int) -> int:
    """Give the moment that lies a duration after another, or before it.

    Args:
        moment: Nanoseconds since 1970 in UTC.
        duration: ISO 8601 in whole numbers: ``P7D``, ``P1M``, ``P1Y2M10DT2H30M``. Years and months
            are those of the calendar, and a month that is shorter ends at its last day.
        sign: 1 for after, -1 for before.

    Returns:
        Nanoseconds since 1970.

    Raises:
        ValueError: If it is no such duration, or leads out of the years 1 to 9999.
    """
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(
            f"{duration[:_LONGEST]!r} is not a duration in ISO 8601; write it like 'P7D' or 'P1M'"
        )
    years, months, weeks, days, hours, minutes, seconds = (
        sign * int(number or 0) for number in match.groups()
    )
    first, rest = divmod(moment, DAY)
    try:
        start = date.fromordinal(first + _EPOCH)
        year, month = divmod(12 * (start.year + years) + start.month - 1 + months, 12)
        last = calendar.monthrange(year, month + 1)[1] if year > 0 else 0
        start = date(year, month + 1, min(start.day, last))
        start += timedelta(weeks=weeks, days=days)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f'{duration[:_LONGEST]!r} leads out of the years 1 to 9999; give a shorter one'
        ) from error
    seconds += 60 * (minutes + 60 * hours)
    return (start.toordinal() - _EPOCH) * DAY + rest + seconds * SECOND


def meant(text: str) -> str:
    """Say in ISO 8601 what a date was probably meant to be.

    Args:
        text: A date as somebody wrote it.

    Returns:
        Quoted dates to choose from; the usual forms where nothing can be made of it.
    """
    word = text.strip()[:_LONGEST]
    found = [*_named(word), *_parsed(word)] or _counted(word)
    found = [f"'{date}'" for date in dict.fromkeys(found)]
    if len(found) == 2:
        return f'{found[0]} or {found[1]}, whichever is meant'
    return found[0] if found else f'it like {_USUAL}'


def _whole(fields: dict[str, str | None]) -> Period:
    """Give a year, a month or a day."""
    year, month, day = (
        int(word) if (word := fields.get(name)) else None
        for name in ('year', 'month', 'day')
    )
    assert year is not None  # every form has one
    first = date(year, 1 if month is None else month, 1 if day is None else day)
    start = first.toordinal()
    if day is not None:
        end = start + 1
    elif month is None or month == 12:
        # The year after 9999 has a first day too, which no date object can be.
        end = date(year, 12, 31).toordinal() + 1
    else:
        end = date(year, month + 1, 1).toordinal()
    return Period((start - _EPOCH) * DAY, (end - _EPOCH) * DAY, whole=True)


def _moment(fields: dict[str, str | None]) -> Period:
    """Give a moment to the nanosecond; one between two of them holds none."""
    year, month, day, hour, minute, second = (
        int(fields[name] or 0)
        for name in ('year', 'month', 'day', 'hour', 'minute', 'second')
    )
    moment = datetime(year, month, day, hour, minute, second)
    seconds = (moment - datetime(1970, 1, 1)) // timedelta(seconds=1)
    zone = fields['zone'] or 'Z'
    if zone not in 'Zz':
        hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(':') or 0)
        if hours > 23 or minutes > 59:
            raise ValueError(zone)
        offset = 60 * (60 * hours + minutes)
        seconds += offset if zone[0] == '-' else -offset
    digits = (fields['fraction'] or '').ljust(18, '0')
    nanoseconds, finer = int(digits[:9]), int(digits[9:])
    start = seconds * SECOND + nanoseconds
    if finer:
        return Period(start + 1, start + 1, whole=False)
    return Period(start, start + 1, whole=False)


def _named(word: str) -> list[str]:
    """Give days that have a name or a number: today, week 23, day 153."""
    today = datetime.now(UTC).date()
    days = {'now': 0, 'today': 0, 'yesterday': -1, 'tomorrow': 1}
    if word.lower() in days:
        return [str(today + timedelta(days=days[word.lower()]))]
    try:
        if week := re.fullmatch(r'([0-9]{4})-?W([0-9]{2})(?:-?([1-7]))?', word):
            year, number, day = (int(n or 1) for n in week.groups())
            return [str(date.fromisocalendar(year, number, day))]
        if place := re.fullmatch(r'([0-9]{4})-([0-9]{3})', word):
            first = date(int(place[1]), 1, 1)
            return [str(first + timedelta(days=int(place[2]) - 1))]
    except (ValueError, OverflowError):
        pass
    if month := re.fullmatch(r'((?:19|20)[0-9]{2})(0[1-9]|1[0-2])', word):
        return [f'{month[1]}-{month[2]}']
    return []


def _counted(word: str) -> list[str]:
    """Give the moment of a number of seconds or milliseconds since 1970, or of digits of an hour."""
    if not re.fullmatch(r'[0-9]{10}(?:[0-9]{3})?', word):
        return []
    moments = [datetime(1970, 1, 1) + timedelta(seconds=int(word[:10]))]
    with suppress(ValueError):
        moments.append(datetime.strptime(word, '%Y%m%d%H'))
    return [f'{moment.isoformat()}Z' for moment in moments]


def _parsed(word: str) -> list[str]:
    """Read a date as people of several countries write it."""
    from dateutil import parser

    if re.search(r'[0-9]\s+[A-Za-z]{3,5}$', word) and ':' in word:
        return []  # a time zone by name, whose offset cannot be guessed
    found = []
    early = re.match(r'[0-9]{4}[^0-9]|[0-9]{6}$|[0-9]{8,}$', word) is not None
    for dayfirst in (False, True) if early else (True, False):
        try:
            # Read twice: what differs was not written but filled in.
            left, right = (
                parser.parse(
                    word,
                    default=default,
                    dayfirst=dayfirst,
                    yearfirst=early,
                    ignoretz=True,
                )
                for default in (datetime(2000, 1, 1), datetime(2004, 2, 2, 1, 1))
            )
        except (ValueError, OverflowError, TypeError):
            continue
        if (left.year, left.month) != (right.year, right.month):
            continue
        if left.day != right.day:
            text = f'{left:%Y-%m}'
        elif (left.hour, left.minute) != (right.hour, right.minute):
            text = str(left.date())
        else:
            zone = re.search(r'(?:Z|[+-][0-9]{2}:?[0-9]{2})$', word)
            whole = left.second == left.microsecond == 0
            text = left.isoformat(timespec='minutes' if whole else 'auto')
            text += zone[0] if zone else ''
        found.append(text)
        if early:
            break  # after the year comes the month
    return [text for text in found if text != word]
