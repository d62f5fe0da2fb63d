"""Columns of the user's own, through every format and back."""

import datetime
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from torchgeo_cmr.export import read_search, to_csv, to_flatgeobuf, write
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable

#: Names that some format or other does not take.
OWN: dict[str, Any] = {
    'Land Cover (2018)': ['a', 'b', None, 'd'],
    'eo:cloud_cover': [1.5, np.nan, 3, 4],
    'eo:Cloud_Cover': [1, 2, 3, 4],
    'größe': [1, 2, 3, 4],
    'a_name_of_more_than_thirty_characters': ['x'] * 4,
    'fid': [7, 8, 9, 10],
    'geom': ['field', 'wood', None, 'x'],
    'Rank': [4, 3, 2, 1],
    'ok': [True, None, False, True],
    'checked': pd.array([True, None, False, True], dtype='boolean'),
    'cell': np.array([2**63, 2**63 + 1, 1, 2], dtype='uint64'),
    'price': [Decimal('0.5'), None, Decimal(1), Decimal(2)],
    'day': [datetime.date(2024, 6, 1)] * 4,
    'count': pd.array([1, None, 3, 4], dtype='Int64'),
}


@pytest.fixture
def found(make: Callable[..., EmbeddingTable]) -> gpd.GeoDataFrame:
    table = make('s2', 4, **OWN)
    return RetrievalIndex(table).search(table.select([0]), 4, exclude=None)


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.fgb', '.parquet'])
def test_names_and_values_come_back(
    found: gpd.GeoDataFrame, tmp_path: Path, suffix: str
) -> None:
    path = write(found, tmp_path / f'hits{suffix}')
    back = read_search(path).results.set_index('patch_id').loc[found['patch_id']]
    assert set(OWN) <= set(back.columns)
    for name in ('ok', 'checked'):
        truths = [None if pd.isna(v) else bool(v) for v in back[name]]
        assert truths == [None if pd.isna(v) else v for v in found[name]]
    assert back['geom'].isna().tolist() == found['geom'].isna().tolist()
    for name in ('Land Cover (2018)', 'größe', 'fid', 'Rank', 'eo:Cloud_Cover'):
        assert back[name].dropna().tolist() == found[name].dropna().tolist(), name
    assert [str(v) for v in back['cell']] == [str(v) for v in found['cell']]
    assert [None if pd.isna(v) else float(v) for v in back['price']] == [
        None if v is None else float(v) for v in found['price']
    ]
    assert back['relevant'].dtype == 'boolean'


@pytest.mark.slow
def test_geoparquet_keeps_every_type(
    make: Callable[..., EmbeddingTable], tmp_path: Path
) -> None:
    own: dict[str, Any] = {
        **OWN,
        'tags': [['a', 'b'], None, [], ['c']],
        'kind': pd.Categorical(['x', None, 'y', 'x']),
        'rank': [7, 8, 9, 10],
        'archive_rank': ['a', 'b', 'c', 'd'],
    }
    table = make('s2', 4, **own)
    found = RetrievalIndex(table).search(table.select([0]), 4, exclude=None)
    renamed: Any = found.rename_geometry('shape')
    for name, result in {'a': found, 'b': renamed}.items():
        path = write(result, tmp_path / f'{name}.parquet')
        back = read_search(path).results
        assert back['day'].tolist() == found['day'].tolist()
        assert [None if v is None else list(v) for v in back['tags']] == [
            None if v is None else list(v) for v in found['tags']
        ]
        assert all(isinstance(v, Decimal) for v in back['price'].dropna())
        corners = [list(r['native_corners'].iloc[0]) for r in (back, found)]
        assert corners[0] == corners[1]
        assert back['kind'].dtype == found['kind'].dtype == 'category'
        assert back.geometry.name == 'geometry'
        assert shapely.equals(back.geometry.to_numpy(), found.geometry.to_numpy()).all()


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.fgb', '.parquet'])
def test_columns_named_like_those_of_a_result(
    make: Callable[..., EmbeddingTable], tmp_path: Path, suffix: str
) -> None:
    table = make('s2', 4, rank=[7, 8, 9, 10], archive_rank=['a', 'b', 'c', 'd'])
    found = RetrievalIndex(table).search(table.select([0]), 4, exclude=None)
    place = {name: i for i, name in enumerate(table.frame['patch_id'])}
    for result in (
        found,
        read_search(write(found, tmp_path / f'hits{suffix}')).results,
    ):
        order = [place[name] for name in result['patch_id']]
        assert result['rank'].tolist() == [1, 2, 3, 4]
        assert result['archive_archive_rank'].tolist() == [7 + i for i in order]
        assert result['archive_rank'].tolist() == ['abcd'[i] for i in order]


def test_a_geopackage_says_what_its_columns_were_called(
    found: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = write(found, tmp_path / 'hits.gpkg')
    names = pyogrio.read_info(path, layer='results')['fields'].tolist()
    changed = {'fid_2', 'geom_2', 'Rank_2', 'eo:Cloud_Cover_2'}
    assert changed <= set(names)
    assert {*OWN} - {'fid', 'geom', 'Rank', 'eo:Cloud_Cover'} <= set(names)
    with closing(sqlite3.connect(path)) as db:
        told = dict(db.execute('SELECT column_name, name FROM gpkg_data_columns'))
        assert db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
    assert told == {name: name.removesuffix('_2') for name in changed}


def test_csv_for_spreadsheets(found: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_csv(found, tmp_path / 'hits.csv')
    back = pd.read_csv(path)
    assert back.columns[:3].tolist() == ['query_id', 'rank', 'score']
    assert set(OWN) - {'Rank', 'eo:Cloud_Cover'} <= set(back.columns)
    assert back['time_start'].tolist() == ['2024-06-01T10:30:00Z'] * 4
    assert back['ok'].tolist()[0] in (True, 'True')
    shapes = shapely.from_wkt(back['WKT'])
    assert shapely.equals_exact(shapes, found.geometry.to_numpy(), 1e-6).all()
    assert len(pyogrio.read_dataframe(path)) == 4
    moved = write(found.to_crs(32632), tmp_path / 'moved.csv')
    assert pd.read_csv(moved)['WKT'].tolist()[0].startswith('POLYGON ((9.')
    empty = pd.read_csv(write(found.iloc[:0], tmp_path / 'none.csv'))
    assert len(empty) == 0
    assert {'rank', 'WKT'} <= set(empty)


def test_flatgeobuf_has_an_index_and_a_style(
    found: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = to_flatgeobuf(found, tmp_path / 'hits.fgb')
    first = found.geometry.iloc[0]
    inside = pyogrio.read_dataframe(path, bbox=first.buffer(-1e-4).bounds)
    assert inside['patch_id'].tolist() == [found['patch_id'].iloc[0]]
    assert inside['time_start'].dt.tz is not None
    assert 'graduatedSymbol' in path.with_suffix('.qml').read_text()
    nowhere: Any = found.set_geometry([None, *found.geometry[1:]], crs=4326)
    assert len(pyogrio.read_dataframe(write(nowhere, tmp_path / 'some.fgb'))) == 4
    assert (
        len(pyogrio.read_dataframe(write(found.iloc[:0], tmp_path / 'none.fgb'))) == 0
    )


@pytest.mark.parametrize(
    'suffix', ['.gpkg', '.geojson', '.fgb', '.csv', '.html', '.stac.json']
)
def test_a_geometry_of_another_name(
    found: gpd.GeoDataFrame, tmp_path: Path, suffix: str
) -> None:
    renamed: Any = found.rename_geometry('shape')
    one, other = (
        write(frame, tmp_path / name / f'hits{suffix}')
        for name, frame in (('a', renamed), ('b', found))
    )
    if suffix == '.gpkg':
        layers = [read_search(path).results for path in (one, other)]
        assert layers[0].equals(layers[1])
    else:
        assert one.read_bytes() == other.read_bytes()


def test_stac_keeps_the_archives_columns(
    make: Callable[..., EmbeddingTable], tmp_path: Path
) -> None:
    own = {name: values for name, values in OWN.items() if not name.startswith('eo:')}
    table = make(
        's2', 4, **own, cloud=[12.5, np.nan, 0, 1], **{'eo:snow_cover': [1, 2, 3, 4]}
    )
    found = RetrievalIndex(table).search(table.select([0]), 4, exclude=None)
    path = write(found, tmp_path / 'hits.stac.json')
    items = json.loads(path.read_text())['features']
    for (_, row), item in zip(found.iterrows(), items, strict=True):
        told = item['properties']
        assert told.get('eo:cloud_cover') == (
            None if np.isnan(row['cloud']) else row['cloud']
        )
        assert ('eo:cloud_cover' in told) == any(
            '/eo/' in e for e in item['stac_extensions']
        )
        assert told['eo:snow_cover'] == row['eo:snow_cover']
        assert told['cmr:größe'] == row['größe']
        assert told.get('cmr:ok') == row['ok']
        assert told['cmr:day'] == '2024-06-01'
        assert told['cmr:cell'] == int(row['cell'])
        assert not {'cmr:geometry', 'cmr:native_corners', 'cmr:cloud'} & set(told)


@pytest.mark.parametrize('suffix', ['.geojson', '.fgb', '.gpkg'])
def test_a_layer_is_called_by_its_file(
    found: gpd.GeoDataFrame, tmp_path: Path, suffix: str
) -> None:
    """And not by the draft that the file was, which names a process."""
    path = write(found, tmp_path / f'hits{suffix}')
    names = [str(name) for name, _ in pyogrio.list_layers(path)]
    assert names[0] in ('hits', 'results')
    assert b'.tmp-' not in path.read_bytes()


def test_no_format_moves_a_time_to_a_later_moment(
    found: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    last = ['2024-05-31T23:59:59.999999Z', '1969-12-31T23:59:59.999999Z']
    times = pd.to_datetime(
        [*last, '1965-06-30T23:59:59.5Z', None], utc=True, format='ISO8601'
    )
    found['time_start'], found['time_end'] = times, times
    wanted = pd.to_datetime(
        ['2024-05-31T23:59:59.999Z', '1969-12-31T23:59:59Z', '1965-06-30T23:59:59Z'],
        utc=True,
        format='ISO8601',
    )
    for suffix in ('.gpkg', '.geojson', '.fgb'):
        path = write(found, tmp_path / f'{suffix[1:]}{suffix}')
        back = read_search(path).results.sort_values('rank')
        assert list(back['time_start'].dropna()) == list(wanted), suffix
        assert list(back['time_end'].dropna()) == list(wanted), suffix
