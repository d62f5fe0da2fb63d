"""Names, types and times of a layer's fields."""

import datetime
from decimal import Decimal
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.arrow_batches import stream
from torchgeo_cmr.export.layers.fields import (
    fields,
    is_result,
    to_array,
    with_both_times,
)

POINT = shapely.Point(0, 0)


def frame(**columns: object) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=[POINT, POINT], crs=4326)


def test_names_and_types() -> None:
    given = frame(
        fid=[1, 2],
        Geom=[1.0, 2.0],
        Name=['a', None],
        small=np.array([1, 2], dtype=np.int16),
        kind=pd.Categorical([3, 4]),
        day=[datetime.date(2024, 6, 1), None],
        list=[[1], [2]],
        wave=[1j, 2j],
        flag=pd.array([True, None], dtype='boolean'),
    )
    found = fields(given, ['flag'], taken=('fid', 'geom'))
    assert [(f.name, str(f.kind)) for f in found] == [
        ('flag', 'bool'),
        ('fid_2', 'int64'),
        ('Geom_2', 'double'),
        ('Name', 'string'),
        ('small', 'int32'),
        ('kind', 'int64'),
        ('day', 'date32[day]'),
    ]
    table = stream(given, found).read_all()
    assert table['flag'].to_pylist() == [True, None]
    assert table['day'].to_pylist() == [datetime.date(2024, 6, 1), None]
    assert table['Name'].to_pylist() == ['a', None]
    assert table['kind'].to_pylist() == [3, 4]


@pytest.mark.parametrize('words', [[3, None], [2**60 + 1, None], ['a', None]])
def test_categories_with_one_missing(words: list[Any]) -> None:
    given = frame(kind=pd.Categorical(words))
    assert stream(given, fields(given)).read_all()['kind'].to_pylist() == words


def test_result_types_do_not_depend_on_values(hits: Any) -> None:
    assert is_result(hits)
    assert not is_result(hits.drop(columns='rank'))
    hits['relevant'] = None
    kinds = {f.name: str(f.kind) for f in fields(hits.iloc[:0])}
    assert kinds == {f.name: str(f.kind) for f in fields(hits)}
    assert (kinds['rank'], kinds['score'], kinds['relevant'], kinds['exact']) == (
        'int32',
        'double',
        'bool',
        'bool',
    )
    assert kinds['time_start'] == 'timestamp[ms, tz=UTC]'


def test_times_are_utc() -> None:
    east = pd.Series(pd.to_datetime(['2024-06-01T12:00+05:00', None]))
    given = frame(
        time_start=['2024-06-01', '2024-06-02T01:00+05:00'],
        time_end=['2024-06-01', None],
        seen=east,
    )
    columns = fields(given)
    table = stream(given, columns).read_all()
    utc = datetime.UTC
    assert table['time_start'].to_pylist() == [
        datetime.datetime(2024, 6, 1, tzinfo=utc),
        datetime.datetime(2024, 6, 1, 20, tzinfo=utc),
    ]
    # A date alone ends with its last second.
    assert table['time_end'].to_pylist() == [
        datetime.datetime(2024, 6, 1, 23, 59, 59, tzinfo=utc),
        None,
    ]
    assert table['seen'].to_pylist() == [
        datetime.datetime(2024, 6, 1, 7, tzinfo=utc),
        None,
    ]
    words = stream(given, columns, text_times=True).read_all()
    assert words['time_end'].to_pylist() == ['2024-06-01T23:59:59Z', None]


def test_no_time() -> None:
    given = frame(time_start=['yesterday', None])
    with pytest.raises(
        QueryError, match='time_start holds something that is not a time'
    ):
        stream(given, fields(given)).read_all()


def test_numbers() -> None:
    given = frame(number=[np.inf, 1.5])
    (column,) = fields(given)
    assert to_array(given['number'], column).to_pylist() == [None, 1.5]


def test_a_known_time_stands_for_an_unknown_one() -> None:
    both = with_both_times(
        frame(
            time_start=pd.to_datetime(['2024-06-01', None], utc=True),
            time_end=pd.to_datetime([None, '2024-06-02'], utc=True),
        )
    )
    assert both['time_end'].equals(both['time_start'].rename('time_end'))
    assert both['time_start'].dt.day.tolist() == [1, 2]
    # A day has a beginning and an end.
    words = with_both_times(
        frame(time_start=['2024-06-01', None], time_end=[None, pd.NaT])
    )
    table = stream(words, fields(words)).read_all()
    assert [m and m.hour for m in table['time_start'].to_pylist()] == [0, None]
    assert [m and m.hour for m in table['time_end'].to_pylist()] == [23, None]
    given = frame(time_start=pd.to_datetime(['2024-06-01', None], utc=True))
    assert with_both_times(given) is given


def test_names_are_kept() -> None:
    names = [
        'Größe [m²]',
        'eo:cloud_cover',
        'a' * 80,
        'geom',
        'Geom',
        'with "quotes"',
        ' ',
    ]
    given = frame(**{name: [1, 2] for name in names})
    differ = {'Geom': 'Geom_2'}
    assert [f.name for f in fields(given)] == [differ.get(n, n) for n in names]
    (*_, outlines) = stream(given, fields(given)).schema.names
    assert outlines not in names
    kept = {f.column: f.name for f in fields(given, taken=('geom',))}
    assert kept == {name: name for name in names} | {'geom': 'geom_2', 'Geom': 'Geom_3'}
    assert [f.name for f in fields(frame(**{'a\0b': [1, 2], '\0': [1, 2]}))] == [
        'ab',
        'field',
    ]


def test_objects_are_stored_as_what_they_are() -> None:
    given = frame(
        truth=pd.Series([True, None], dtype=object),
        never=pd.Series([None, None], dtype=object),
        price=pd.Series([Decimal('0.5'), None], dtype=object),
        count=pd.Series([2**62, None], dtype=object),
        cell=np.array([2**63 + 1, 5], dtype='uint64'),
        small=np.array([1, 5], dtype='uint64'),
        maybe=pd.array([2**63, None], dtype='UInt64'),
    )
    columns = fields(given)
    table = stream(given, columns).read_all()
    assert {f.name: str(f.kind) for f in columns} == {
        'truth': 'bool',
        'never': 'string',
        'price': 'double',
        'count': 'int64',
        'cell': 'string',
        'small': 'int64',
        'maybe': 'string',
    }
    assert table['truth'].to_pylist() == [True, None]
    assert table['price'].to_pylist() == [0.5, None]
    assert table['count'].to_pylist() == [2**62, None]
    assert table['cell'].to_pylist() == [str(2**63 + 1), '5']
    assert table['maybe'].to_pylist() == [str(2**63), None]
