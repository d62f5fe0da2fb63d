"""Parts of an index are one table: columns, places and types of all of them."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search import RetrievalIndex, Where, at, patch_ids
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., Any]
AREA = Where((9.2, 44.2, 10.2, 45.2))


def part(make: Make, prefix: str, n: int = 40, **columns: object) -> EmbeddingTable:
    """Make a table whose ids no other part has."""
    table = make(n, seed=len(prefix), **columns)
    frame = table.frame.assign(patch_id=prefix + table.frame['patch_id'])
    return EmbeddingTable.from_frame(frame, table.vectors)


def sound(n: int = 6) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'snd{i}' for i in range(n)], 'modality': 'audio'},
        geometry=[None] * n,
        crs=4326,
    )
    vectors = np.random.default_rng(3).normal(size=(n, 16))
    return EmbeddingTable.from_frame(frame, vectors, space='abc', placeless=True)


def of_parts(tables: list[EmbeddingTable], path: Path | None = None) -> RetrievalIndex:
    index = RetrievalIndex.build(tables[0], path)
    for table in tables[1:]:
        index.append(table)
    return index


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(a), pd.DataFrame(b))


@pytest.fixture(params=['memory', 'folder'])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / 'index' if request.param == 'folder' else None


@pytest.mark.slow
def test_columns_of_all_parts(make: Make, place: Path | None) -> None:
    plain: Any = part(make, 'a')
    plain = EmbeddingTable.from_frame(
        gpd.GeoDataFrame(plain.frame.drop(columns='cloud')), plain.vectors
    )
    tables = [
        plain,
        part(make, 'bb', orbit=np.arange(40), good=np.arange(40) % 2 == 0),
        part(make, 'ccc', orbit=np.arange(40) / 2, kind=['x'] * 40, blank=None),
        part(make, 'dddd', kind=pd.Categorical(['y', 'z'] * 20), blank='w'),
    ]
    index = of_parts(tables, place)
    whole = EmbeddingTable.concat(tables)
    truth = RetrievalIndex(whole)
    for text in (
        'cloud < 50',
        'cloud is null',
        'orbit > 10.5',
        'not good',
        "kind in ('x', 'y')",
        "kind is null or blank = 'w'",
        'good',
    ):
        where = Where(where=text)
        assert index.rows(where).tolist() == where.rows(whole).tolist()
        for both in (where & AREA, AREA | where, ~where):
            assert index.rows(both).tolist() == both.rows(whole).tolist()
        told, wanted = (i.explain(np.ones(16), 3, where=where) for i in (index, truth))
        assert told.filters[0].clause == wanted.filters[0].clause
        for name in ('before', 'after', 'undated'):
            one, other = (getattr(e.filters[0], name) for e in (told, wanted))
            assert one == other
    for k in (1, 7, 160):
        same(index.search(whole.vectors[:5], k), truth.search(whole.vectors[:5], k))
    same(index.table.frame, whole.frame)
    same(index.select([3]).frame, whole.select([3]).frame)
    same(
        index.columns.attributes(np.array([2, 100]), ['kind', 'orbit']),
        whole.frame[['kind', 'orbit']].iloc[[2, 100]].reset_index(drop=True),
    )
    with pytest.raises(QueryError, match=r"no column 'clouds'.*orbit.*kind.*cloud\)"):
        index.rows(Where(where='clouds < 5'))
    with pytest.raises(QueryError, match='cannot be compared'):
        index.rows(Where(where='kind > 5'))


def test_places_and_none(make: Make, place: Path | None) -> None:
    for tables in ([part(make, 'a'), sound()], [sound(), part(make, 'a')]):
        if place is not None and place.exists():
            place = place.with_name('other')
        index, whole = of_parts(tables, place), EmbeddingTable.concat(tables)
        assert index.rows(AREA).tolist() == AREA.rows(whole).tolist() != []
        assert index.rows(~AREA).tolist() == (~AREA).rows(whole).tolist()
        near = Where(near=((10, 45), 20_000))
        assert index.rows(near).tolist() == near.rows(whole).tolist() != []
        centre = tables[0].frame.geometry.dropna()
        centre = (centre if len(centre) else tables[1].frame.geometry).iloc[0].centroid
        assert len(at(index, centre.x, centre.y))
        for calibrated in (False, True):
            found = index.search(whole.vectors[:4], 9, calibrated=calibrated)
            truth = RetrievalIndex(whole).search(
                whole.vectors[:4], 9, calibrated=calibrated
            )
            same(found, truth)
        index.delete([one for one in patch_ids(index) if not one.startswith('snd')])
        with pytest.raises(QueryError, match='none of the 6 rows of the archive has a'):
            index.rows(AREA)
        index.delete(list(patch_ids(index)))
        assert index.rows(AREA).tolist() == []


def test_explain_counts_the_rows_there_are(make: Make, place: Path | None) -> None:
    tables = [part(make, 'a'), part(make, 'bb')]
    index = of_parts(tables, place)
    gone = tables[0].frame['patch_id'].tolist()[:30]
    index.delete(gone)
    whole = EmbeddingTable.concat(tables)
    left = whole.select(~whole.frame['patch_id'].isin(gone).to_numpy())
    # A clause that comes twice is two steps, which say the same words.
    twice = Where(months=range(1, 12)) & Where(where='cloud < 80') & AREA & AREA
    where = Where(during=('2024-02-01', None), where='cloud < 90') & twice
    told, truth = (
        i.explain(np.ones(16), 3, where=where) for i in (index, RetrievalIndex(left))
    )
    for one, other in zip(told.steps, truth.steps, strict=True):
        assert (one.clause, one.before, one.after) == (
            other.clause,
            other.before,
            other.after,
        )
    assert told.undated == truth.undated
    for one, other in pairwise(told.steps):
        assert one.after == other.before
    assert [step.clause for step in told.steps].count('area, intersects') == 2


@pytest.mark.parametrize(
    ('there', 'new', 'message'),
    [
        (
            [1.5],
            ['high'],
            "column 'own' holds str in the new rows and float64 in those",
        ),
        (['high'], [1], "column 'own' holds int64 in the new rows and str in those"),
        ([True], [1], "column 'own' holds int64 in the new rows and bool in those"),
        ([pd.Timestamp('2024')], ['2024'], r"'own' holds str .* and datetime64\["),
        ([[1.0]], [1.0], r"'own' holds float64 .* and list<"),
        # Together they would be floats, which round them.
        ([2**53 + 1], [0.5], r"'own' holds float64 .* and int64"),
        ([0.5], [2**53 + 1], r"'own' holds int64 .* and float64"),
        ([2**63 + 1], [-5], r"'own' holds int64 .* and uint64"),
    ],
)
def test_a_column_of_another_type_is_refused(
    make: Make, place: Path | None, there: list[Any], new: list[Any], message: str
) -> None:
    index = RetrievalIndex.build(part(make, 'a', own=there * 40), place)
    with pytest.raises(ArchiveError, match=message):
        index.append(part(make, 'bb', own=new * 40))
    assert len(index) == 40
    index.append(part(make, 'ccc', own=None))
    index.append(part(make, 'dddd', own=there * 40).select([]))
    assert len(index) == 80
    assert index.table.frame['own'].isna().sum() == 40


def test_whole_numbers_are_not_rounded_where_a_part_has_none(
    make: Make, place: Path | None, tmp_path: Path
) -> None:
    own = np.arange(40) + 2**53
    tables = [part(make, 'a', own=own), part(make, 'bb')]
    for name, order in (('one', tables), ('other', tables[::-1])):
        index = of_parts(order, place and tmp_path / name)
        whole = EmbeddingTable.concat(order)
        saved = RetrievalIndex(whole.save(tmp_path / f'{name}_saved'))
        for one in (index, RetrievalIndex(whole), saved):
            found = one.search(whole.vectors[:1], 9, Where(where=f'own = {2**53 + 7}'))
            assert found['own'].tolist() == [2**53 + 7]
            assert len(one.rows(Where(where='own is null'))) == 40
    # Numbers that float64 holds are floats, as pandas has them.
    small = EmbeddingTable.concat([part(make, 'a', own=own - 2**53), tables[1]])
    assert small.frame['own'].dtype == np.float64


def test_long_whole_numbers_among_floats_are_not_rounded(make: Make) -> None:
    own = np.arange(40) + 2**53
    tables = [part(make, 'a', own=own), part(make, 'bb', own=0.5)]
    whole = EmbeddingTable.concat(tables)
    assert whole.frame['own'].tolist() == [*own.tolist(), *[0.5] * 40]
    found = RetrievalIndex(tables).rows(Where(where=f'own = {2**53 + 7}'))
    assert found.tolist() == [7]
    # Short ones go with floats as before.
    small = EmbeddingTable.concat([part(make, 'a', own=own - 2**53), tables[1]])
    assert small.frame['own'].dtype == np.float64


def test_numbers_of_two_widths_among_which_none_is_null(
    make: Make, place: Path | None
) -> None:
    tables = [part(make, 'a', own=np.int8(3)), part(make, 'bb', own=1000)]
    index = of_parts(tables, place)
    nothing = index.search(tables[0].vectors[:1], 9, Where(where='own is null'))
    assert len(nothing) == 0
    assert len(index.rows(Where(where='own = 3'))) == 40


def test_a_column_without_values_takes_any_type(make: Make, place: Path | None) -> None:
    index = RetrievalIndex.build(part(make, 'a', own=np.nan), place)
    index.append(part(make, 'bb', own='word'))
    assert len(index.rows(Where(where="own = 'word'"))) == 40
    with pytest.raises(ArchiveError, match="'own' holds int64"):
        index.append(part(make, 'ccc', own=1))


def test_categories_of_numbers_that_differ_and_are_partly_null(
    make: Make, place: Path | None
) -> None:
    tables = [
        part(make, 'a', own=pd.Categorical([1, 2, None, 2] * 10)),
        part(make, 'bb', own=pd.Categorical([2, 3] * 20)),
    ]
    for index in (
        of_parts(tables, place),
        RetrievalIndex(EmbeddingTable.concat(tables)),
    ):
        assert len(index.rows(Where(where='own = 2'))) == 40
        assert len(index.rows(Where(where='own is null'))) == 10
