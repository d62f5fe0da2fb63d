"""What a newcomer writes works as meant, or is answered by what to type."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
import torch

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search import (
    RetrievalIndex,
    Where,
    at,
    changes,
    from_ids,
    from_places,
    fuse,
)
from torchgeo_cmr.search.queries.forms import read_filter
from torchgeo_cmr.table import EmbeddingTable

BOX = (9.2, 44.2, 10.2, 45.2)
POLYGON = shapely.box(*BOX)
MAPPING = shapely.geometry.mapping(POLYGON)
FRAME = gpd.GeoDataFrame({'name': ['x']}, geometry=[POLYGON], crs=4326)


class Drawn:
    __geo_interface__ = MAPPING

    def __str__(self) -> str:
        return 'drawn'


@pytest.fixture
def table(make: Callable[..., Any]) -> EmbeddingTable:
    return make(200)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    other = gpd.GeoDataFrame(
        {'name': ['y']}, geometry=[shapely.box(10, 45, 11, 46)], crs=4326
    )
    FRAME.to_file(Path('aoi.gpkg'), layer='x')
    other.to_file(Path('aoi.gpkg'), layer='y')
    FRAME.to_file(Path('aoi.geojson'))
    return tmp_path


def hits(found: gpd.GeoDataFrame) -> list[str]:
    return found['patch_id'].tolist()


@pytest.mark.parametrize(
    'area',
    [
        Where(BOX),
        BOX,
        list(BOX),
        np.array(BOX),
        FRAME,
        FRAME.geometry,
        MAPPING,
        json.dumps(MAPPING),
        Drawn(),
        f'SRID=4326;{POLYGON.wkt}',
        '9.2,44.2,10.2,45.2',
        'aoi.geojson',
        'aoi.gpkg|layername=x',
    ],
    ids=str,
)
def test_areas(folder: Path, table: EmbeddingTable, area: Any) -> None:
    index = RetrievalIndex(table)
    queries = table.select([0, 1])
    right = hits(index.search(queries, 5, where=Where(POLYGON, 4326)))
    assert hits(index.search(queries, 5, area)) == right
    assert hits(index.search(queries, 5, where=area)) == right
    assert index.rank(queries, 5, area)[0].shape == (2, 5)
    assert index.explain(queries, 5, area).rows == len(Where(BOX).rows(table))
    if not isinstance(area, Where):
        assert (Where(area).rows(table) == Where(BOX).rows(table)).all()


@pytest.mark.parametrize('area', [POLYGON, POLYGON.wkt, FRAME.iloc[0]], ids=type)
def test_areas_without_crs(table: EmbeddingTable, area: Any) -> None:
    with pytest.raises(QueryError, match=r"has no CRS; say .* crs='EPSG:4326'"):
        Where(area)
    with pytest.raises(QueryError, match=r"has no CRS; say .* crs='EPSG:4326'"):
        RetrievalIndex(table).search(table.select([0]), 5, area)
    for crs in (4326, 'EPSG:4326'):
        assert (Where(area, crs).rows(table) == Where(BOX).rows(table)).all()


def test_a_table_is_the_ground_of_its_patches(table: EmbeddingTable) -> None:
    some = table.select([3, 7])
    found = Where(some).rows(table)
    assert {3, 7} <= set(found.tolist())
    assert (found == Where(some.frame).rows(table)).all()


def test_conditions(table: EmbeddingTable) -> None:
    index = RetrievalIndex(table)
    for search in (index.search, index.rank, index.explain):
        with pytest.raises(QueryError, match=r"give a .* Where\(where='cloud < 10'\)"):
            search('p0000', 5, 'cloud < 10')
    for text in ('cloud = 10', "source == 'x'", 'cloud IS NULL', 'cloud in (1, 2)'):
        with pytest.raises(QueryError, match=r'is not an area; write .* Where\(where='):
            Where(text)


def test_rows_by_name(table: EmbeddingTable) -> None:
    index = RetrievalIndex(table)
    frame = table.frame
    one, other = frame['patch_id'].iloc[[3, 7]]
    right = index.search(table.select([3]), 5)
    for asked in (
        one,
        frame.iloc[3],
        frame.iloc[[3]],
        next(frame.iloc[[3]].itertuples()),
    ):
        assert index.search(asked, 5).equals(right)
        assert (index.rank(asked, 5)[0] == index.rank(table.select([3]), 5)[0]).all()
    right = hits(index.search(table.select([3, 7]), 5))
    for asked in (
        [one, other],
        (one, other),
        frame['patch_id'].iloc[[3, 7]],
        pd.Index([one, other]),
        frame.iloc[[3, 7]],
    ):
        assert hits(index.search(asked, 5)) == right
    # A hit asks for its like.
    assert len(index.search(index.search(one, 5).iloc[[0]], 5)) == 5
    # What refers to the query knows its place and date.
    near = Where(beyond=1_000)
    assert hits(index.search(one, 5, near)) == hits(
        index.search(table.select([3]), 5, near)
    )


@pytest.mark.parametrize(
    ('asked', 'message'),
    [
        ('p00', "no patch_id 'p00'; similar ones are p0"),
        ('aoi.geojson', r'a file or folder; .* from_places\(index, FILE\)'),
        (POLYGON, r'a Polygon is a place; use from_places\(index, place, crs\)'),
        (FRAME, r'a GeoDataFrame is a place; use from_places'),
        (3, r'table.select\(\[3\]\), or with its patch_id'),
        ((9.2, 45.0), 'the queries have 2 numbers and the archive has 16'),
    ],
    ids=str,
)
def test_queries_that_are_none(
    folder: Path, table: EmbeddingTable, asked: Any, message: str
) -> None:
    with pytest.raises(QueryError, match=message):
        RetrievalIndex(table).search(asked, 5)


def test_filters_that_are_none(table: EmbeddingTable) -> None:
    index = RetrievalIndex(table)
    for where, message in (
        ([Where(BOX), Where(where='cloud < 1')], 'several filters; join them with &'),
        ({'cloud': 10}, "give a Where.* such as Where.where='cloud < 10'"),
        ('nowhere.geojson', 'nowhere.geojson is not there; check its name'),
        ((9.2, 45.0), r'is not an area; .* a box \(west, south, east, north\)'),
        (table.frame['cloud'] < 10, 'is not an area; give'),
    ):
        with pytest.raises(QueryError, match=message) as caught:
            index.search(table.select([0]), 5, where)
        assert '\n' not in str(caught.value)


def test_near(table: EmbeddingTable) -> None:
    right = Where(near=((9.5, 45.0), 20_000)).rows(table)
    point = shapely.Point(9.5, 45.0)
    for near, crs in (
        ((point, 20_000), 4326),
        (('POINT(9.5 45.0)', 20_000), 'EPSG:4326'),
        ((shapely.geometry.mapping(point), 20_000), None),
        ((gpd.GeoSeries([point], crs=4326), 20_000), None),
        ((9.5, 45.0, 20_000), None),
        ([9.5, 45.0, 20_000], None),
    ):
        assert (Where(near=near, crs=crs).rows(table) == right).all()  # ty: ignore
    for near, message in (
        ((point, 20_000), "crs='EPSG:4326'"),
        (point, 'give a pair .place, metres., such as'),
        (((9.5, 45.0), '20km'), "near is '20km'; give a number"),
        (((45.0, 109.5), 500), 'give longitude'),
    ):
        with pytest.raises(QueryError, match=message):
            Where(near=near)  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(
    'during',
    [
        '2024-06',
        '2024-06-01/2024-07-01',
        '2024-06/2024-07',
        ('2024-06-01', '2024-07-01'),
        (dt.date(2024, 6, 1), dt.date(2024, 7, 1)),
        slice('2024-06', '2024-07'),
        np.datetime64('2024-06'),
    ],
    ids=str,
)
def test_june(table: EmbeddingTable, during: Any) -> None:
    found = Where(during=during).rows(table)
    start = table.frame['time_start']
    june = (start >= '2024-06-01T00:00Z') & (start < '2024-07-01T00:00Z')
    assert set(np.flatnonzero(june)) <= set(found.tolist())
    assert (found == Where(during=('2024-06-01', '2024-07-01')).rows(table)).all()


@pytest.mark.parametrize('sign', [' to ', ',', ', ', '..', ' - ', ':', ' ', ' until '])
def test_two_dates_without_a_slash(sign: str) -> None:
    text = f'2024-06-01{sign}2024-07-01'
    with pytest.raises(
        QueryError, match="is not a window; write '2024-06-01/2024-07-01'"
    ):
        Where(during=text)


@pytest.mark.parametrize('months', ['6', '6-8', 'june'])
def test_months_as_text(months: str) -> None:
    with pytest.raises(
        QueryError, match=r'give numbers from 1 to 12, such as \(6, 7\)'
    ):
        Where(months=months)  # ty: ignore[invalid-argument-type]


def test_places(folder: Path, table: EmbeddingTable) -> None:
    right = from_places(table, POLYGON, 4326)
    for places, options in (
        (POLYGON.wkt, {'crs': 4326}),
        (f'SRID=4326;{POLYGON.wkt}', {}),
        (json.dumps(MAPPING), {}),
        (MAPPING, {}),
        (Drawn(), {}),
        (BOX, {}),
        ('9.2,44.2,10.2,45.2', {}),
        ('aoi.gpkg', {'layer': 'x'}),
        (Path('aoi.gpkg'), {'layer': 'x'}),
        ('aoi.gpkg|layername=x', {}),
    ):
        found = from_places(table, places, **options)  # ty: ignore
        assert np.allclose(found.vectors, right.vectors)
    with pytest.raises(QueryError, match="crs='EPSG:4326'"):
        from_places(table, POLYGON.wkt)
    with pytest.raises(QueryError, match='has 2 layers, x, y; name one'):
        from_places(table, 'aoi.gpkg')
    with pytest.raises(QueryError, match="layer='x' was given without a file"):
        from_places(table, POLYGON.wkt, 4326, layer='x')


def test_positions(table: EmbeddingTable) -> None:
    place = table.frame.geometry.iloc[5].centroid
    right = at(table, place.x, place.y).frame['patch_id'].tolist()
    for given in (place, (place.x, place.y), [place.x, place.y]):
        assert at(table, given).frame['patch_id'].tolist() == right
    with pytest.raises(QueryError, match='longitude comes first: '):
        at(table, place.y, place.x)
    with pytest.raises(
        QueryError, match='is not a position; give longitude, then latitude'
    ):
        at(table, '9.5,45')  # ty: ignore[invalid-argument-type]
    with pytest.raises(QueryError, match='patch_id is 5; give text'):
        from_ids(table, 5)  # ty: ignore[invalid-argument-type]


def test_other_verbs(folder: Path, table: EmbeddingTable) -> None:
    table.save('archive')
    index = RetrievalIndex(table)
    for where in (BOX, FRAME, Where(where='cloud < 50')):
        right = changes(table, 5, where=read_filter(where), min_overlap=0.1)
        assert len(right)
        for given in (table, index, 'archive', Path('archive')):
            found = changes(given, 5, where=where, min_overlap=0.1)
            assert hits(found) == hits(right)
    found = index.search('p0000', 5)
    with pytest.raises(QueryError, match=r'give one list: fuse\(\[one, other\]\)'):
        fuse(found, found)  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        ({'bbox': BOX}, 'has no argument bbox; write geometry='),
        ({'area': BOX}, 'write geometry='),
        ({'date': '2024-06'}, 'write during='),
        ({'query': 'cloud < 10'}, 'write where='),
        ({'modality': 's2'}, 'compare a column by where="modality = '),
    ],
)
def test_other_names_of_arguments(
    table: EmbeddingTable, words: dict[str, Any], told: str
) -> None:
    make_filter: Any = Where
    with pytest.raises(QueryError, match=told):
        make_filter(**words)
    with pytest.raises(QueryError, match=r'name the others: layer, predicate, '):
        make_filter(BOX, 4326, 'within')
    index: Any = RetrievalIndex(table)
    for search in (index.search, index.rank, index.explain):
        with pytest.raises(QueryError, match='has no argument top_k; write k='):
            search('p0000', top_k=5)
        with pytest.raises(QueryError, match='has no argument bbox; write where='):
            search('p0000', bbox=BOX)
        with pytest.raises(QueryError, match=r'write where=Where\(during=...\)'):
            search('p0000', during='2024-06')


def test_and_of_python_drops_no_filter(table: EmbeddingTable) -> None:
    index = RetrievalIndex(table)
    with pytest.raises(QueryError, match='join filters with &, '):
        index.search('p0000', 5, Where(BOX) and Where(where='cloud < 10'))
    with pytest.raises(QueryError, match='join filters with &, '):
        assert not Where(BOX)


def test_ids_in_whatever_holds_them(table: EmbeddingTable) -> None:
    index: Any = RetrievalIndex(table)
    ids = table.frame['patch_id'].iloc[[3, 7]].sort_values()
    right = hits(index.search(ids.tolist(), 5))
    for asked in (
        ids.to_numpy(dtype=str),
        ids.to_numpy(dtype=object),
        ids.array,
        set(ids),
        iter(ids.tolist()),
        pa.array(ids.tolist()),
        {'patch_id': ids.tolist()},
    ):
        assert hits(index.search(asked, 5)) == right, type(asked)


def test_tensors(table: EmbeddingTable) -> None:
    index: Any = RetrievalIndex(table)
    right = hits(index.search(table.vectors[:2], 5))
    tensor = torch.tensor(table.vectors[:2], requires_grad=True)
    assert hits(index.search(tensor, 5)) == right
    assert len(index.search(tensor.bfloat16(), 5)) == 10


def test_numbers_that_are_none(table: EmbeddingTable) -> None:
    index: Any = RetrievalIndex(table)
    for wrong in (np.nan, '0.5', True):
        with pytest.raises(QueryError, match=r'min_score is .*give a number, such as'):
            index.search('p0000', 5, min_score=wrong)
    with pytest.raises(QueryError, match='min_score is 90, which no cosine reaches'):
        index.search('p0000', 5, min_score=90)
    assert index.search('p0000', 5, min_score=90, calibrated=True).empty
    place = (9.5, 44.5)
    right = Where(near=(place, 9_000)).rows(table)
    make_filter: Any = Where
    for near in (('9.5,44.5', 9_000), (9.5, 44.5, 9_000)):
        assert (make_filter(near=near).rows(table) == right).all()
    for near in (place, {'lon': 9.5, 'lat': 44.5}):
        with pytest.raises(QueryError, match=r'give a pair \(place, metres\)'):
            make_filter(near=near)
    compare: Any = changes
    with pytest.raises(
        QueryError, match=r'several tables as one, by EmbeddingTable\.con'
    ):
        compare(table, table)


def test_a_table_without_its_columns(table: EmbeddingTable) -> None:
    frame = table.frame[['patch_id', 'geometry']]
    with pytest.raises(
        ArchiveError, match=r'EmbeddingTable\.from_frame\(frame, vectors'
    ):
        EmbeddingTable(frame, table.vectors)


def test_rows_to_add_and_to_take_away(table: EmbeddingTable, tmp_path: Path) -> None:
    frame: Any = table.frame.assign(patch_id=[f'n{i}' for i in range(200)])
    more = EmbeddingTable.from_frame(frame, table.vectors)
    index: Any = RetrievalIndex(table)
    index.append(more.save(tmp_path / 'more'))
    assert len(index) == 400
    index.delete(more.select([0, 1]))
    index.delete(index.search('p0000', 3))
    assert len(index) == 395
    with pytest.raises(QueryError, match='3 is not a patch_id; name rows by their ids'):
        index.delete(['p0000', 3])
    for wrong in (table.frame, None, table.vectors):
        with pytest.raises(
            QueryError, match='give an EmbeddingTable, the folder of an'
        ):
            index.append(wrong)
    assert len(index) == 395
