"""STAC items, read back through pystac and as plain GeoJSON."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pystac
import pytest
import shapely
from pystac.extensions.projection import ProjectionExtension

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import scenes_of, to_stac
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]


def read(path: Path) -> list[pystac.Item]:
    return list(pystac.ItemCollection.from_file(str(path)))


def test_fields(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    hits['relevant'] = pd.array([True, False, None] * 2, dtype='boolean')
    items = read(to_stac(hits, tmp_path / 'hits.stac.json'))
    assert len(items) == len({item.id for item in items}) == len(hits)
    for item, (_, hit) in zip(items, hits.iterrows(), strict=True):
        assert item.id == f'{hit["patch_id"]}@{hit["query_id"]}'
        assert item.datetime is None
        assert item.common_metadata.start_datetime == hit['time_start']
        assert item.common_metadata.end_datetime == hit['time_end']
        assert item.properties['cmr:score'] == hit['score']
        assert item.properties['cmr:rank'] == hit['rank']
        known = not pd.isna(hit['relevant'])
        assert item.properties.get('cmr:relevant') == (
            hit['relevant'] if known else None
        )
        outline = shapely.geometry.shape(item.geometry)
        assert outline.is_valid
        assert outline.exterior.is_ccw
        assert np.allclose(item.bbox or [], hit['geometry'].bounds, atol=1e-6)
        projection = ProjectionExtension.ext(item)
        assert projection.code == 'EPSG:32632'
        assert projection.shape == [32, 32]
        x, y = np.asarray(hit['native_corners']).reshape(4, 2).T
        assert projection.bbox == [x.min(), y.min(), x.max(), y.max()]
        assert projection.transform == [10, 0, x.min(), 0, -10, y.max()]


def test_one_moment(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    hits['time_end'] = hits['time_start']
    hits.loc[0, 'time_start'] = pd.NaT
    for item in read(to_stac(hits, tmp_path / 'a.stac.json')):
        assert item.datetime == pd.Timestamp('2024-06-01T10:30Z')
        assert item.common_metadata.start_datetime is None


def test_assets_are_the_scenes(
    make: Make, hits: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    (item, *_) = read(to_stac(hits, tmp_path / 'plain.stac.json'))
    assert {n: Path(a.href).name for n, a in item.assets.items()} == {
        'source': 's2.tif'
    }
    record = {'scenes': scenes_of([make('s2')])}
    record['scenes']['s2']['sources']['s2.tif'] = [
        ['/far/B02.tif', 1, 'B02', 10.0],
        ['/far/B03.tif', 1, 'B03', 10.0],
    ]
    (item, *_) = read(to_stac(hits, tmp_path / 'a.stac.json', record=record))
    assert {n: a.href for n, a in item.assets.items()} == {
        'source_1': '/far/B02.tif',
        'source_2': '/far/B03.tif',
    }


def test_a_crs_without_a_code(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    hits = hits.head(1)
    hits['src_crs'] = '+proj=laea +lat_0=45 +lon_0=9'
    hits['native_corners'] = None
    (item,) = read(to_stac(hits, tmp_path / 'a.stac.json'))
    projection = ProjectionExtension.ext(item)
    assert projection.code is None
    assert 'Lambert Azimuthal' in str(projection.wkt2)
    hits['src_crs'] = None
    (item,) = read(to_stac(hits, tmp_path / 'b.stac.json'))
    assert not [name for name in item.properties if name.startswith('proj:')]


def test_over_the_antimeridian(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    parts = [shapely.box(179.5, -17, 180, -16), shapely.box(-180, -17, -179, -16)]
    one = hits.head(1).drop(columns=['native_corners', 'geometry'])
    hits = gpd.GeoDataFrame(one, geometry=[shapely.MultiPolygon(parts)], crs=4326)
    (item,) = read(to_stac(hits, tmp_path / 'a.stac.json'))
    assert item.bbox == [179.5, -17, -179, -16]
    assert shapely.geometry.shape(item.geometry).area == pytest.approx(1.5)


def test_any_geojson_reader(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_stac(hits, tmp_path / 'hits.stac.json')
    assert len(gpd.read_file(path)) == len(hits)
    told = json.loads(path.read_text())
    assert told['type'] == 'FeatureCollection'
    no_row = to_stac(hits.head(0), tmp_path / 'none.stac.json')
    assert json.loads(no_row.read_text())['features'] == []


def test_refuses(
    hits: gpd.GeoDataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undated = hits.copy()
    undated.loc[[1, 2], ['time_start', 'time_end']] = pd.NaT
    with pytest.raises(QueryError, match='2 of 6 hits have no time, and a STAC item'):
        to_stac(undated, tmp_path / 'a.stac.json')
    nowhere = hits.copy()
    nowhere.loc[[0], 'geometry'] = None
    with pytest.raises(QueryError, match='1 of 6 hits have no place, and a STAC item'):
        to_stac(nowhere, tmp_path / 'a.stac.json')
    with pytest.raises(QueryError, match='the result lacks score'):
        to_stac(gpd.GeoDataFrame(hits.drop(columns='score')), tmp_path / 'a.stac.json')
    with monkeypatch.context() as absent:
        absent.setitem(sys.modules, 'pystac', None)
        with pytest.raises(QueryError, match=r'pip install pystac'):
            to_stac(hits, tmp_path / 'a.stac.json')
    assert not list(tmp_path.iterdir())
    (tmp_path / 'a.stac.json').touch()
    with pytest.raises(OutputExistsError, match='is there already'):
        to_stac(hits, tmp_path / 'a.stac.json')
