"""The same rows as a filter reads them: of a table, of a segment, of several as one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.search.store.row_numbers import Numbered
from torchgeo_cmr.search.store.segment import build, from_table, to_arrow, to_frame
from torchgeo_cmr.search.where.columns import (
    Columns,
    StoredColumns,
    TableColumns,
    as_columns,
)

Make = Callable[..., Any]


def test_a_segment_says_what_the_table_says(make: Make) -> None:
    archive = make(200)
    segment = build(archive, 'float32')
    stored, table = segment.columns, TableColumns(archive)
    order = segment.to_numbers(np.arange(200))
    assert isinstance(stored, StoredColumns)
    assert isinstance(stored, Columns)
    assert isinstance(table, Columns)
    assert len(stored) == len(table) == 200
    assert sorted(order.tolist()) == list(range(200))
    assert order.tolist() != list(range(200))
    assert (segment.to_positions(order) == np.arange(200)).all()
    assert (stored.boxes == table.boxes[order]).all()
    for one, two in zip(stored.times, table.times, strict=True):
        assert one.dtype == two.dtype == 'datetime64[us]'
        assert np.array_equal(one, two[order], equal_nan=True)
    assert np.isnat(stored.times[0]).any()
    some = np.array([3, 150, 7])
    assert shapely.equals(stored.footprints(some), table.footprints(order[some])).all()
    for name in ('patch_id', 'source', 'cloud', 'time_start'):
        pd.testing.assert_series_equal(
            stored.attributes(some)[name],
            table.attributes(order[some])[name].reset_index(drop=True),
        )
    assert stored.attributes(names=['cloud']).columns.tolist() == ['cloud']


def test_columns_of_several_parts_are_numbered_on(make: Make) -> None:
    archive = make(150)
    parts = [archive.select(np.arange(a, b)) for a, b in ((0, 60), (60, 61), (61, 150))]
    numbered = Numbered([build(parts[0], 'float32'), *map(from_table, parts[1:])])
    plain = TableColumns(archive)
    assert isinstance(numbered, Columns)
    assert len(numbered) == 150
    assert (numbered.boxes == plain.boxes).all()
    for one, two in zip(numbered.times, plain.times, strict=True):
        assert np.array_equal(one, two, equal_nan=True)
    rows = np.array([149, 0, 60, 59, 100, 0])
    assert shapely.equals(numbered.footprints(rows), plain.footprints(rows)).all()
    assert (
        numbered.attributes(rows)['patch_id'].tolist()
        == plain.attributes(rows)['patch_id'].tolist()
    )
    assert numbered.attributes()['cloud'].equals(archive.frame['cloud'])
    pd.testing.assert_frame_equal(
        pd.DataFrame(numbered.frame(rows[:5])),
        pd.DataFrame(archive.select(rows[:5]).frame),
    )
    area = shapely.box(9.3, 44.3, 10.4, 45.4)
    cover = numbered.cover(area, 0)
    assert cover is not None
    truth = np.flatnonzero(shapely.intersects(plain.footprints(np.arange(150)), area))
    assert len(cover.inside) > 0
    assert np.isin(truth, np.union1d(cover.inside, cover.border)).all()
    assert np.isin(cover.inside, truth).all()


def test_a_table_keeps_its_kinds_through_arrow(make: Make) -> None:
    archive = make(
        20,
        when=pd.date_range('2024', periods=20),
        many=[[1, 2]] * 20,
        kind=pd.Categorical(['a', 'b'] * 10),
        whole=np.arange(20),
        blank=None,
    )
    again = to_frame(to_arrow(archive.frame))
    pd.testing.assert_frame_equal(pd.DataFrame(again), pd.DataFrame(archive.frame))


def test_as_columns(make: Make) -> None:
    archive = make(10)
    columns = as_columns(archive)
    assert isinstance(columns, TableColumns)
    assert as_columns(columns) is columns
    assert columns.cover(shapely.box(9, 44, 10, 45), 0) is None
    cover = RetrievalIndex(archive).columns.cover(shapely.box(9, 44, 11, 46), 0)
    assert cover is not None


def test_names_are_found_and_deleted_rows_are_not(make: Make) -> None:
    archive = make(40)
    index = RetrievalIndex.build(archive)
    index.delete(archive.frame['patch_id'].iloc[[4, 9]])
    (part,) = index._state.parts
    asked = archive.frame['patch_id'].iloc[[4, 5, 30]].tolist()
    assert sorted(part.ids(part.named([*asked, 'other'])).tolist()) == sorted(asked[1:])
    assert len(part.named([])) == 0
    with pytest.raises(KeyError):
        part.columns.attributes()['nothing']
