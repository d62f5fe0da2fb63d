"""Saved searches: what was written comes back, also after somebody has judged it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export import (
    read_search,
    to_geojson,
    to_geopackage,
    to_parquet,
    write,
    write_manifest,
)
from torchgeo_cmr.search.results import RESULT_COLUMNS

AREA = shapely.box(9, 45, 9.1, 45.2)
RECORD = {'k': 3, 'where': 'ü < "x"'}


@pytest.fixture
def saved(hits: gpd.GeoDataFrame, make: Any, tmp_path: Path) -> Path:
    return to_geopackage(
        hits, tmp_path / 'a.gpkg', queries=make('s1', 2), area=AREA, record=RECORD
    )


def same(found: gpd.GeoDataFrame, hits: gpd.GeoDataFrame) -> None:
    columns = [*RESULT_COLUMNS, 'space', 'valid_fraction']
    assert list(found.columns)[: len(RESULT_COLUMNS)] == list(RESULT_COLUMNS)
    pd.testing.assert_frame_equal(
        pd.DataFrame(found[columns]), pd.DataFrame(hits[columns])
    )
    assert found.crs.to_epsg() == 4326
    off = shapely.hausdorff_distance(
        found.geometry.to_numpy(), hits.geometry.to_numpy()
    )
    assert off.max() < 1e-7
    assert set(found.geom_type) == {'Polygon'}


def test_geopackage(saved: Path, hits: gpd.GeoDataFrame, make: Any) -> None:
    results, queries, area, record = read_search(saved)
    same(results, hits)
    assert queries is not None
    assert queries['query_id'].tolist() == make('s1', 2).frame['patch_id'].tolist()
    assert queries['time_start'].dt.tz is not None
    assert area is not None
    assert area.equals(AREA)
    assert record == RECORD


@pytest.mark.parametrize('suffix', ['.gpkg', '.fgb', '.parquet'])
def test_long_whole_numbers_among_nulls(
    hits: gpd.GeoDataFrame, tmp_path: Path, suffix: str
) -> None:
    cells = [2**53 + 1 + i for i in range(len(hits) - 1)]
    given: Any = hits.assign(
        cell=pd.array([*cells, None], dtype='Int64'),
        short=[1, *[None] * (len(hits) - 1)],
    )
    found = read_search(write(given, tmp_path / f'a{suffix}')).results
    assert [None if pd.isna(n) else int(n) for n in found['cell']] == [*cells, None]
    assert found['short'].dtype == float


def test_written_again(saved: Path, tmp_path: Path) -> None:
    results, queries, area, record = read_search(saved)
    again = to_geopackage(
        results,
        tmp_path / 'b.gpkg',
        queries=queries,
        area=area,
        record=record,
        links=True,
    )
    found = read_search(again)
    pd.testing.assert_frame_equal(pd.DataFrame(found.results), pd.DataFrame(results))
    assert found.record == record


def test_judged(saved: Path, hits: gpd.GeoDataFrame) -> None:
    with closing(sqlite3.connect(saved)) as db:
        # A plain connection lacks the functions that the spatial index calls.
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            db.execute(f'DROP TRIGGER "{name}"')
        db.execute('UPDATE results SET relevant = 1 WHERE rank = 1')
        db.execute('UPDATE results SET relevant = 0 WHERE rank = 2')
        db.commit()
    relevant = read_search(saved).results['relevant']
    assert str(relevant.dtype) == 'boolean'
    assert relevant.tolist() == [True, False, pd.NA] * 2


@pytest.mark.parametrize('suffix', ['geojson', 'parquet'])
def test_one_layer(hits: gpd.GeoDataFrame, tmp_path: Path, suffix: str) -> None:
    write = {'geojson': to_geojson, 'parquet': to_parquet}[suffix]
    hits['relevant'] = pd.array([True, False, None] * 2, dtype='boolean')
    path = write(hits, tmp_path / f'a.{suffix}', record=RECORD)
    results, queries, area, record = read_search(path)
    same(results, hits)
    assert queries is None
    assert area is None
    assert record == (RECORD if suffix == 'parquet' else {})


def test_without_times_and_judgements(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    hits['time_start'] = hits['time_end'] = pd.NaT
    found = read_search(to_geojson(hits, tmp_path / 'a.geojson')).results
    assert found['time_start'].isna().all()
    assert str(found['time_start'].dtype) == 'datetime64[us, UTC]'
    assert found['relevant'].isna().all()


@pytest.mark.parametrize('suffix', ['geojson', 'gpkg'])
def test_zero_rows(hits: gpd.GeoDataFrame, tmp_path: Path, suffix: str) -> None:
    write = {'geojson': to_geojson, 'gpkg': to_geopackage}[suffix]
    found = read_search(write(hits.iloc[:0], tmp_path / f'a.{suffix}')).results
    assert len(found) == 0
    assert list(found.columns)[: len(RESULT_COLUMNS)] == list(RESULT_COLUMNS)
    assert found.crs.to_epsg() == 4326


@pytest.mark.parametrize('crs', [3413, 3031])
def test_polar(result: Any, tmp_path: Path, crs: int) -> None:
    hits = result([(-2e5, -1e5, 3e5, 4e5), (3e5, 0, 4e5, 1e5)], crs)
    found = read_search(to_geopackage(hits, tmp_path / 'a.gpkg', area=AREA))
    assert found.results.crs.to_epsg() == 4326
    assert found.results.geometry.is_valid.all()
    assert abs(found.results.total_bounds[[1, 3]]).max() == 90
    assert found.area is not None
    assert found.area.symmetric_difference(AREA).area < 1e-3


def test_order_of_queries_is_kept(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    swapped = hits.iloc[[3, 4, 5, 0, 1, 2]].reset_index(drop=True)
    found = read_search(to_geopackage(swapped, tmp_path / 'a.gpkg')).results
    assert found['query_id'].tolist() == swapped['query_id'].tolist()
    assert found['rank'].tolist() == [1, 2, 3] * 2


def test_refuses(hits: gpd.GeoDataFrame, make: Any, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match='is not a file; name a saved search'):
        read_search(tmp_path / 'gone.gpkg')
    (tmp_path / 'a.gpkg').write_text('text')
    with pytest.raises(QueryError, match='cannot be read as a saved search'):
        read_search(tmp_path / 'a.gpkg')
    (tmp_path / 'a.parquet').write_text('text')
    with pytest.raises(QueryError, match='cannot be read as a saved search'):
        read_search(tmp_path / 'a.parquet')
    path = to_geopackage(make('s2').frame, tmp_path / 'b.gpkg')
    with pytest.raises(QueryError, match='no layer called results but footprints'):
        read_search(path)
    path = to_geojson(hits[['rank', 'geometry']], tmp_path / 'c.geojson')
    with pytest.raises(
        QueryError, match=r'lacks query_id, score, .* not a saved result'
    ):
        read_search(path)


def test_the_manifest_beside_geojson(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_geojson(hits, tmp_path / 'a.geojson')
    record = {'format': 'torchgeo_cmr.search', 'version': 1, 'k': 3, 'scenes': {}}
    write_manifest(record, tmp_path / 'a.json')
    assert read_search(path).record == {
        'format': 'torchgeo_cmr.search',
        'version': 1,
        'k': 3,
    }
    # A file of that name that is none.
    (tmp_path / 'a.json').write_text('{"k": 4}')
    assert read_search(path).record == {}
