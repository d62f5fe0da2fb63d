"""Dates as text: what is read, what is refused, and what was probably meant."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.iso8601 import meant, read_period, shifted


def utc(text: str) -> int:
    return int(np.datetime64(text, 'ns').astype(np.int64))


@pytest.mark.parametrize(
    'duration', ['P3D', 'P2W', 'P5M', 'P1Y7M', 'PT100H', 'P1Y1M1DT1H1M1S', 'PT0S']
)
@pytest.mark.parametrize('sign', [-1, 1])
def test_durations_are_those_of_the_calendar(duration: str, sign: int) -> None:
    words = re.fullmatch(
        r'P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?',
        duration,
    )
    assert words is not None
    names = 'years', 'months', 'weeks', 'days', 'hours', 'minutes', 'seconds'
    parts: dict[str, Any] = {
        n: int(w) for n, w in zip(names, words.groups(), strict=True) if w
    }
    step = sign * pd.DateOffset(**parts)
    for moment in pd.date_range('1967-12-29T13:07', '2031-03-01', freq='37D'):
        expected = (moment + step).as_unit('ns').value
        assert shifted(moment.as_unit('ns').value, duration, sign) == expected


@pytest.mark.parametrize('text', ['P', 'PT', 'P1', '1D', 'P1H', 'PT1D', 'P1.5D', 'p1d'])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match='is not a duration in ISO 8601; write it'):
        shifted(0, text, 1)


@pytest.mark.parametrize(
    ('text', 'start', 'end'),
    [
        ('2024', '2024-01-01', '2025-01-01'),
        ('2024-02', '2024-02-01', '2024-03-01'),
        ('2024-12', '2024-12-01', '2025-01-01'),
        ('2024-02-29', '2024-02-29', '2024-03-01'),
        ('20240229', '2024-02-29', '2024-03-01'),
        (' 1969-12-31 ', '1969-12-31', '1970-01-01'),
    ],
)
def test_a_lone_date_is_the_whole_of_it(text: str, start: str, end: str) -> None:
    period = read_period(text)
    assert (period.start, period.end, period.whole) == (utc(start), utc(end), True)


@pytest.mark.parametrize(
    ('text', 'moment'),
    [
        ('2024-06-01T10', '2024-06-01T10:00'),
        ('2024-06-01T10:30', '2024-06-01T10:30'),
        ('2024-06-01 10:30:15', '2024-06-01T10:30:15'),
        ('2024-06-01t10:30:15.25z', '2024-06-01T10:30:15.25'),
        ('2024-06-01T10:30:15,123456789Z', '2024-06-01T10:30:15.123456789'),
        ('2024-06-01T01:30+02:00', '2024-05-31T23:30'),
        ('2024-06-01T01:30-0330', '2024-06-01T05:00'),
        ('2024-06-01T01:30+02', '2024-05-31T23:30'),
        ('20240601T013000Z', '2024-06-01T01:30'),
    ],
)
def test_a_time_of_day_makes_a_moment(text: str, moment: str) -> None:
    period = read_period(text)
    assert (period.start, period.end) == (utc(moment), utc(moment) + 1)
    assert not period.whole


def test_every_year_and_every_fraction() -> None:
    assert read_period('9999').end - read_period('9999-12-31').start == 86_400 * 10**9
    assert read_period('0001').start < read_period('0002').start < utc('1700-01-01')
    finer = read_period('2024-06-01T00:00:00.0000000001')
    assert finer.start == finer.end == utc('2024-06-01') + 1


@pytest.mark.parametrize(
    ('text', 'advice'),
    [
        ('01.06.2024', "'2024-06-01' or '2024-01-06'"),
        ('1.6.2024', "'2024-06-01' or '2024-01-06'"),
        ('01/06/2024', "'2024-06-01' or '2024-01-06'"),
        ('05-06-2024', "'2024-06-05' or '2024-05-06'"),
        ('13.06.2024', "write '2024-06-13'"),
        ('06-2024', "write '2024-06'"),
        ('06/2024', "write '2024-06'"),
        ('202406', "write '2024-06'"),
        ('2024/06', "write '2024-06'"),
        ('2024/06/01', "write '2024-06-01'"),
        ('2024-6-1', "write '2024-06-01'"),
        ('240601', "write '2024-06-01'"),
        ('June 2024', "write '2024-06'"),
        ('1 June 2024', "write '2024-06-01'"),
        ('Jun 1, 2024', "write '2024-06-01'"),
        ('2024-W23', "write '2024-06-03'"),
        ('2024-W23-7', "write '2024-06-09'"),
        ('2024-153', "write '2024-06-01'"),
        ('13.06.2024 10:30', "write '2024-06-13T10:30'"),
        ('13.06.2024 10:30:05.5+02:00', "write '2024-06-13T10:30:05.500000+02:00'"),
        ('2024-13-01', "is not in the calendar; write '2024-01-13'"),
        ('2024-02-30', "is not in the calendar; write it like '2024-06-01'"),
        ('2024-00', "is not in the calendar; write it like '2024-06-01'"),
        ('2024-06-01T25:00', 'is not in the calendar'),
        ('2024-06-01T10:30+99:00', 'is not in the calendar'),
        ('0000', 'is not in the calendar'),
        ('10:30', "write it like '2024-06-01'"),
        ('2024-06-01T10:30 CET', "write it like '2024-06-01'"),
        ('12', "write it like '2024-06-01'"),
        ('soon', "write it like '2024-06-01'"),
        ('', "write it like '2024-06-01'"),
        ('nan', "write it like '2024-06-01'"),
        ('NaT', "write it like '2024-06-01'"),
        ('٢٠٢٤', "write it like '2024-06-01'"),
        ('2024-06-01T10:30:00.' + '1' * 19, "write '2024-06-01T10:30:00.111111'"),
        ('x' * 10_000, "x' is not a date in ISO 8601"),
        ('1717200000', "write '2024-06-01T00:00:00Z'"),
        ('1717200000123', "write '2024-06-01T00:00:00Z'"),
        ('2024060110', "'2034-02-20T14:55:10Z' or '2024-06-01T10:00:00Z', whichever"),
    ],
)
def test_refused_with_what_was_meant(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)) as info:
        read_period(text)
    assert len(str(info.value)) < 250


@pytest.mark.parametrize('word', ['now', 'Today', 'yesterday', 'TOMORROW'])
def test_days_by_name_are_written_out(word: str) -> None:
    shift = {'y': -1, 't': 0, 'n': 0}[word[0].lower()] + (word == 'TOMORROW')
    around = {
        str((datetime.now(UTC) + timedelta(days=shift, seconds=s)).date())
        for s in (-5, 0, 5)
    }
    assert meant(word).strip("'") in around
    with pytest.raises(ValueError, match='is not a date in ISO 8601'):
        read_period(word)


@pytest.mark.slow
def test_what_is_advised_can_be_read() -> None:
    """Any way to write a day, of any day, is read right or advised right."""
    rng = np.random.default_rng(0)
    ways = [
        '%d.%m.%Y',
        '%d/%m/%Y',
        '%m/%d/%Y',
        '%Y/%m/%d',
        '%Y.%m.%d',
        '%d %B %Y',
        '%y%m%d',
    ]
    for number in rng.integers(10958, 20000, 300).tolist():
        day = datetime(1970, 1, 1) + timedelta(days=number)
        for way in ways:
            text = day.strftime(way)
            with pytest.raises(ValueError, match='ISO 8601'):
                read_period(text)
            advised = re.findall(r"'([^']*)'", meant(text))
            assert str(day.date()) in advised, (text, advised)
            for one in advised:
                assert read_period(one).whole
