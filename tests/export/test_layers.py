"""Names, types and times of a layer's fields, and batches."""

import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export import layers
from torchgeo_cmr.export.layers import fields, is_result, stream, to_array

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
        ('geom_2', 'double'),
        ('name', 'string'),
        ('small', 'int32'),
        ('kind', 'int64'),
        ('day', 'date32[day]'),
    ]
    table = stream(given, found).read_all()
    assert table['flag'].to_pylist() == [True, None]
    assert table['day'].to_pylist() == [datetime.date(2024, 6, 1), None]
    assert table['name'].to_pylist() == ['a', None]
    assert table['kind'].to_pylist() == [3, 4]


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
    with pytest.raises(QueryError, match='time_start holds something that is no time'):
        stream(given, fields(given)).read_all()


def test_numbers() -> None:
    given = frame(number=[np.inf, 1.5])
    (column,) = fields(given)
    assert to_array(given['number'], column).to_pylist() == [None, 1.5]


def test_batches_are_small(monkeypatch: pytest.MonkeyPatch, result: Any) -> None:
    many = result([(5e5 + i, 5e6, 5e5 + i + 1, 5e6 + 1) for i in range(25)])
    whole = stream(many, fields(many)).read_all()
    monkeypatch.setattr(layers, 'BATCH', 10)
    batches = list(stream(many, fields(many)))
    assert [len(b) for b in batches] == [10, 10, 5]
    assert pa.Table.from_batches(batches) == whole


def test_multi(result: Any) -> None:
    many = result([(790_000, 8e6, 880_000, 8.07e6), (2e5, 8e6, 2.1e5, 8.01e6)], 32760)
    shapes = shapely.from_wkb(stream(many, [], multi='Polygon').read_all()['geom'])
    assert [s.geom_type for s in shapes] == ['MultiPolygon'] * 2
    assert [len(s.geoms) for s in shapes] == [2, 1]
