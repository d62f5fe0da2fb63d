"""Windows of time: what they may be given as, and how far they reach."""

from datetime import date, datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.where.times import read_window
from torchgeo_cmr.table import EmbeddingTable

JUNE = np.datetime64('2024-06-01', 'us'), np.datetime64('2024-07-01', 'us')


def dated(*spans: tuple[Any, Any]) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'p{i}' for i in range(len(spans))],
            'time_start': [start for start, _ in spans],
            'time_end': [end for _, end in spans],
        },
        geometry=[shapely.box(0, 0, 1, 1)] * len(spans),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, np.ones((len(spans), 2)))


@pytest.mark.parametrize(
    'during',
    [
        '2024-06',
        np.datetime64('2024-06'),
        '2024-06-01/2024-07-01',
        ' 2024-06 / 2024-07 ',
        '2024-06-01T02:00+02:00/2024-07-01T00:00Z',
        ('2024-06-01', '2024-07-01'),
        ['2024-06', '2024-07'],
        (date(2024, 6, 1), datetime(2024, 7, 1)),
        slice('2024-06-01', '2024-07-01'),
        slice(date(2024, 6, 1), date(2024, 7, 1)),
        np.array(['2024-06-01', '2024-07-01'], dtype='datetime64[D]'),
        pd.to_datetime(['2024-06-01', '2024-07-01']),
        pd.DatetimeIndex(['2024-06-01T02:00+02:00', '2024-07-01T02:00+02:00']),
        ('2024-05-31T23:59:59.999999001', '2024-07-01'),
    ],
)
def test_june_in_every_way(during: Any) -> None:
    assert read_window(during) == JUNE


@pytest.mark.parametrize(
    ('during', 'start', 'end'),
    [
        ('2024', '2024-01-01', '2025-01-01'),
        ('2024-06-01', '2024-06-01', '2024-06-02'),
        (date(2024, 6, 1), '2024-06-01', '2024-06-02'),
        (np.datetime64('2024'), '2024-01-01', '2025-01-01'),
        ('2024/..', '2024-01-01', None),
        ('../2024', None, '2024-01-01'),
        ('/2024-06', None, '2024-06-01'),
        (slice(None, '2024-06'), None, '2024-06-01'),
        ((None, datetime(9999, 12, 31)), None, '9999-12-31'),
        (('1600', '9999'), '1600-01-01', '9999-01-01'),
        ('2024-06-01/P1M', '2024-06-01', '2024-07-01'),
        ('2024-01-31 / P1M', '2024-01-31', '2024-02-29'),
        ('P1Y2M/2024-03-31', '2023-01-31', '2024-03-31'),
        (('2024-06-01', 'P1W2D'), '2024-06-01', '2024-06-10'),
        (slice('PT36H', date(2024, 6, 2)), '2024-05-31T12', '2024-06-02'),
    ],
)
def test_other_windows(during: Any, start: str | None, end: str | None) -> None:
    expected = tuple(
        None if t is None else np.datetime64(t, 'us') for t in (start, end)
    )
    assert read_window(during) == expected


@pytest.mark.parametrize(
    ('during', 'message'),
    [
        (('01.06.2024', '10.06.2024'), "write '2024-06-01' or '2024-01-06'"),
        ('01.06.2024/10.06.2024', "write '2024-06-01' or '2024-01-06'"),
        ('06-2024', "write '2024-06'"),
        ('06/2024', "write '2024-06'"),
        ('2024/06/01', "write '2024-06-01'"),
        (('now', None), r"'now' is not a date in ISO 8601; write '\d{4}-\d\d-\d\d'"),
        (('240601', '240630'), "write '2024-06-01'"),
        (('2024-06-01', '2024-06-01'), "not after it; .* during='2024-06-01' for the"),
        ((date(2024, 6, 1), date(2024, 6, 1)), "during='2024-06-01' for the whole"),
        (('2024-06-01T10', '2024-06-01T10'), 'not after it; END itself is outside'),
        (('2024-06', '2024'), 'not after it; swap the two'),
        ('2024-06-01T10:30', 'is one moment; give a window'),
        (pd.Timestamp('2024-06-01'), 'is one moment; give a window'),
        (slice(None), 'limits nothing'),
        ('../..', 'limits nothing'),
        ((pd.NaT, None), 'NaT is not a date'),
        (([1], None), r'\[1\] is not a date'),
        (('2024', '2025', '2026'), r'give a pair \(start, end\)'),
        (slice('2024', '2025', 2), r'give a pair \(start, end\)'),
        (5, r'give a pair \(start, end\)'),
        ('P1D/P2D', "'P2D' is a duration without a date on the other side"),
        ('P7D/..', "'P7D' is a duration without a date"),
        ('2024/P7', r"'P7' is not a duration in ISO 8601; write it like 'P7D'"),
        ('2024/P8000Y', 'leads out of the years 1 to 9999'),
        ('2024/P0D', 'is not after it'),
    ],
)
def test_refused(during: Any, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Where(during=during)


def test_far_years_and_nanoseconds_meet() -> None:
    """Nanoseconds reach from 1677 to 2262 only; rows and windows from year 1 to 9999."""
    table = dated(('9999-12-31', None), ('0500-01-01', None), ('2024-06-15', None))
    fine = '2024-06-01T00:00:00.000000001'
    starts: list[Any] = [fine, pd.Timestamp(fine), np.datetime64(fine)]
    for start in starts:
        assert Where(during=(start, None)).rows(table).tolist() == [0, 2]
    assert Where(during=(None, fine)).rows(table).tolist() == [1]
    assert Where(during='9999').rows(table).tolist() == [0]


def test_a_nanosecond_decides() -> None:
    table = dated(('2024-06-01T00:00:00.000001', None), ('2024-06-01', None))
    after = '2024-06-01T00:00:00.000000001', '2024-06-01T00:00:00.000001001'
    assert Where(during=after).rows(table).tolist() == [0]
    before = '2024-05-31', '2024-06-01T00:00:00.000000001'
    assert Where(during=before).rows(table).tolist() == [1]


def test_a_whole_month_against_a_loop(make: Any) -> None:
    table = make(400)
    index = RetrievalIndex.build(table)
    first, after = (pd.Timestamp(t, tz='UTC') for t in JUNE)
    frame = table.frame
    inside = (frame['time_start'] < after) & (frame['time_end'] >= first)
    expected = np.flatnonzero(inside).tolist()
    assert 10 < len(expected) < 100
    for during in ('2024-06', ('2024-06', '2024-07'), '2024-06-01/2024-07-01'):
        assert Where(during=during).rows(table).tolist() == expected
        assert index.rows(Where(during=during)).tolist() == expected


def test_days_beyond_all_time(make: Any) -> None:
    table = make(50)
    query = table.select([int(np.argmax(table.frame['time_start'].notna()))])
    dates = int(table.frame['time_start'].notna().sum())
    assert len(Where(days=1e300).rows(table, query)) == dates
