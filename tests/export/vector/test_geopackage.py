"""GeoPackage without QGIS: schema, order, styles, record, and the hard places on Earth."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import to_geopackage
from torchgeo_cmr.export.layers.layer_outlines import widths
from torchgeo_cmr.export.styles.style import OUTLINES
from torchgeo_cmr.export.vector.geopackage import (
    QUERY_FIELDS,
    RESULT_FIELDS,
    query_layer,
)

AREA = shapely.box(9, 45, 9.1, 45.2)


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def layers(path: Path) -> list[str]:
    return [name for name, kind in pyogrio.list_layers(path) if kind is not None]


def read(path: Path, layer: str = 'results') -> gpd.GeoDataFrame:
    frame = pyogrio.read_dataframe(path, layer=layer)
    assert frame.geometry.is_valid.all()
    assert not frame.geometry.is_empty.any()
    return frame


@pytest.fixture
def whole(hits: gpd.GeoDataFrame, make: Any, tmp_path: Path) -> Path:
    """Every layer, a record with awkward words."""
    record = {'k': 3, 'where': 'a < "b" & ü', 'list': [1, None]}
    return to_geopackage(
        hits,
        tmp_path / 'hits.gpkg',
        queries=make('s1', 2),
        area=AREA,
        record=record,
        links=True,
    )


def test_layers_in_order(whole: Path) -> None:
    assert layers(whole) == ['query', 'results', 'area_of_interest', 'links']
    for name, kind in pyogrio.list_layers(whole):
        if kind is None:
            continue
        info = pyogrio.read_info(whole, layer=name)
        assert info['crs'] == 'EPSG:4326'
        multi = 'LineString' if name == 'links' else 'Polygon'
        assert info['geometry_type'] == f'Multi{multi}'
    assert [p.name for p in whole.parent.iterdir()] == ['hits.gpkg']


def test_fields_and_types(whole: Path, hits: gpd.GeoDataFrame) -> None:
    info = pyogrio.read_info(whole, layer='results')
    names = info['fields'].tolist()
    assert names[: len(RESULT_FIELDS)] == list(RESULT_FIELDS)
    assert names[len(RESULT_FIELDS) :] == ['space', 'valid_fraction']
    types = dict(zip(names, info['ogr_types'], strict=True))
    subtypes = dict(zip(names, info['ogr_subtypes'], strict=True))
    assert types['rank'] == 'OFTInteger'
    assert types['score'] == 'OFTReal'
    assert types['time_start'] == types['time_end'] == 'OFTDateTime'
    assert subtypes['exact'] == subtypes['relevant'] == 'OFSTBoolean'
    assert types['patch_id'] == types['src_crs'] == 'OFTString'
    asked = pyogrio.read_info(whole, layer='query')['fields'].tolist()
    assert asked == list(QUERY_FIELDS)
    assert pyogrio.read_info(whole, layer='area_of_interest')['fields'] == ['name']
    frame = read(whole)
    for name in ('rank', 'score', 'patch_id', 'query_id'):
        assert frame[name].tolist() == hits[name].tolist()
    assert frame['relevant'].isna().all()
    assert frame['exact'].all()


def test_times_are_utc(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    hits['time_start'] = pd.Timestamp('2024-06-01T12:00:00.250+05:00')
    hits.loc[1, ['time_start', 'time_end']] = pd.NaT
    path = to_geopackage(hits, tmp_path / 'a.gpkg')
    text = rows(path, 'SELECT time_start, time_end FROM results')
    assert text[0] == ('2024-06-01T07:00:00.250Z', '2024-06-01T10:30:00.500Z')
    assert text[1] == (None, None)


def test_one_style_a_layer(whole: Path, hits: gpd.GeoDataFrame) -> None:
    found = rows(
        whole,
        'SELECT f_table_catalog, f_table_schema, f_table_name, f_geometry_column, '
        'useAsDefault, styleQML FROM layer_styles ORDER BY id',
    )
    assert [r[2] for r in found] == layers(whole)
    columns = dict(
        rows(whole, 'SELECT table_name, column_name FROM gpkg_geometry_columns')
    )
    for catalog, schema, name, column, default, qml in found:
        assert (catalog, schema, default) == ('', '', 1)
        assert column == columns[name]
        assert ET.fromstring(qml).tag == 'qgis'
    ranges = ET.fromstring(found[1][5]).findall('renderer-v2/ranges/range')
    ends = [(float(r.attrib['lower']), float(r.attrib['upper'])) for r in ranges]
    assert all(any(low <= s <= high for low, high in ends) for s in hits['score'])
    told = rows(
        whole,
        "SELECT data_type, srs_id FROM gpkg_contents WHERE table_name = 'layer_styles'",
    )
    assert told == [('attributes', 0)]


def test_version_and_integrity(whole: Path) -> None:
    assert rows(whole, 'PRAGMA user_version') == [(10300,)]
    assert rows(whole, 'PRAGMA application_id') == [(0x47504B47,)]
    assert rows(whole, 'PRAGMA integrity_check') == [('ok',)]
    assert rows(whole, 'PRAGMA foreign_key_check') == []


def test_record_is_metadata_of_the_file(whole: Path) -> None:
    ((text, kind, scope),) = rows(
        whole, 'SELECT metadata, mime_type, md_scope FROM gpkg_metadata'
    )
    assert json.loads(text) == {'k': 3, 'where': 'a < "b" & ü', 'list': [1, None]}
    assert (kind, scope) == ('application/json', 'dataset')
    assert rows(
        whole, 'SELECT reference_scope, md_file_id FROM gpkg_metadata_reference'
    ) == [('geopackage', 1)]
    names = rows(
        whole,
        "SELECT table_name FROM gpkg_extensions WHERE extension_name = 'gpkg_metadata'",
    )
    assert {n for (n,) in names} == {'gpkg_metadata', 'gpkg_metadata_reference'}


def test_what_is_not_given_is_left_out(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_geopackage(hits, tmp_path / 'a.gpkg')
    assert layers(path) == ['results']
    tables = {n for (n,) in rows(path, 'SELECT name FROM sqlite_master')}
    assert 'gpkg_metadata' not in tables


def test_zero_rows(hits: gpd.GeoDataFrame, make: Any, tmp_path: Path) -> None:
    path = to_geopackage(
        hits.iloc[:0], tmp_path / 'a.gpkg', queries=make('s1', 2), links=True
    )
    info = pyogrio.read_info(path, layer='results')
    assert info['fields'].tolist()[: len(RESULT_FIELDS)] == list(RESULT_FIELDS)
    assert (info['features'], info['crs'], info['geometry_type']) == (
        0,
        'EPSG:4326',
        'MultiPolygon',
    )
    assert pyogrio.read_info(path, layer='links')['features'] == 0


@pytest.mark.parametrize('scores', [[0.5], [-0.3, -0.3], [-0.1, -0.9], [0.4, -0.4]])
def test_few_equal_and_negative_scores(
    result: Any, tmp_path: Path, scores: list[float]
) -> None:
    boxes = [(5e5 + i, 5e6, 5e5 + i + 1, 5e6 + 1) for i in range(len(scores))]
    path = to_geopackage(result(boxes, scores=scores), tmp_path / 'a.gpkg')
    assert read(path)['score'].tolist() == pytest.approx(scores)
    ((qml,),) = rows(path, 'SELECT styleQML FROM layer_styles')
    ranges = ET.fromstring(qml).findall('renderer-v2/ranges/range')
    assert len(ranges) == (1 if len(set(scores)) == 1 else 5)


def test_words_of_any_kind(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    word = 'a<b>&"c"\'d\' Größe 日本/x.tif'
    hits['source'] = word
    hits['fid'] = 7
    hits['GEOM'] = 'x'
    frame = read(to_geopackage(hits, tmp_path / 'a.gpkg'))
    assert set(frame['source']) == {word}
    assert set(frame['fid_2']) == {7}
    assert set(frame['GEOM_2']) == {'x'}


class TestHardPlaces:
    def test_date_line(self, result: Any, tmp_path: Path) -> None:
        hits = result([(790_000, 8e6, 880_000, 8.07e6)], 32760)
        path = to_geopackage(hits, tmp_path / 'a.gpkg', area=(179, -20, -179, -10))
        for layer in ('results', 'area_of_interest'):
            (shape,) = read(path, layer).geometry
            assert len(shape.geoms) == 2
            assert widths(shape).max() <= 1
            assert np.abs(shapely.get_coordinates(shape)[:, 0]).max() == 180

    @pytest.mark.parametrize('crs', [3413, 3031])
    def test_pole(self, result: Any, tmp_path: Path, crs: int) -> None:
        hits = result([(-2e5, -1e5, 3e5, 4e5), (3e5, 0, 4e5, 1e5)], crs)
        side = 1 if crs == 3413 else -1
        cap = sorted([side * 84, side * 90])
        area = shapely.box(-180, cap[0], 180, cap[1])
        path = to_geopackage(hits, tmp_path / 'a.gpkg', area=area)
        for layer in ('results', 'area_of_interest'):
            frame = read(path, layer)
            assert frame.crs.to_epsg() == crs
            assert frame.geometry.iloc[0].contains(shapely.Point(0, 0))
        assert read(path).geometry.area.tolist() == pytest.approx([2.5e11, 1e10])

    def test_pole_among_others(self, result: Any, tmp_path: Path) -> None:
        """Sources in several CRSs: degrees, with the cap drawn down to the pole."""
        both = [
            result([(-2e5, -1e5, 3e5, 4e5)], 3413),
            result([(5e5, 5e6, 6e5, 5.1e6)]),
        ]
        hits = gpd.GeoDataFrame(pd.concat(both, ignore_index=True), crs=4326)
        frame = read(to_geopackage(hits, tmp_path / 'a.gpkg'))
        assert frame.crs.to_epsg() == 4326
        west, _, east, north = frame.geometry.iloc[0].bounds
        assert (west, east, north) == (-180, 180, 90)

    def test_two_zones(self, result: Any, tmp_path: Path) -> None:
        box = (6e5, 5e6, 6.1e5, 5.01e6)
        both = [result([box], 32632), result([box], 32633)]
        hits = gpd.GeoDataFrame(pd.concat(both, ignore_index=True), crs=4326)
        one, two = read(to_geopackage(hits, tmp_path / 'a.gpkg')).geometry
        assert two.centroid.x - one.centroid.x == pytest.approx(6, abs=1e-6)
        assert gpd.GeoSeries([one], crs=4326).to_crs(32632).area[0] == pytest.approx(
            1e8
        )


class TestQueries:
    def test_table(self, make: Any) -> None:
        layer = query_layer(make('s1', 2))
        assert layer['query_id'].tolist() == make('s1', 2).frame['patch_id'].tolist()
        assert set(layer['kind']) == {'patch'}

    def test_a_query_id_of_their_own(self, make: Any) -> None:
        """An archive may be made of a saved search."""
        table = make('s1', 2)
        frame = table.frame.assign(query_id=['other', 'names'])
        for queries in (replace(table, frame=frame), frame):
            found = query_layer(queries)['query_id'].tolist()
            assert found == frame['patch_id'].tolist()

    def test_kind_and_no_place(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        asked = gpd.GeoDataFrame(
            {'query_id': ['words', 'place'], 'kind': ['text', 'location']},
            geometry=[None, shapely.Point(9, 45)],
            crs=4326,
        )
        path = to_geopackage(hits, tmp_path / 'a.gpkg', queries=asked)
        frame = pyogrio.read_dataframe(path, layer='query')
        assert frame['kind'].tolist() == ['text', 'location']
        assert frame.geometry.isna().tolist() == [True, False]
        ((qml,),) = rows(
            path, "SELECT styleQML FROM layer_styles WHERE f_table_name = 'query'"
        )
        assert ET.fromstring(qml).findall('.//symbol')[0].get('type') == 'marker'

    def test_no_name(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        with pytest.raises(QueryError, match='have no query_id or patch_id'):
            to_geopackage(hits, tmp_path / 'a.gpkg', queries=hits[['rank', 'geometry']])


def test_any_other_frame(make: Any, tmp_path: Path) -> None:
    path = to_geopackage(make('s2').frame, tmp_path / 'a.gpkg')
    assert layers(path) == ['footprints']
    ((qml,),) = rows(path, 'SELECT styleQML FROM layer_styles')
    colour = ','.join(map(str, OUTLINES['footprints']))
    assert colour in qml


def test_batches(result: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hits = result([(5e5 + i, 5e6, 5e5 + i + 1, 5e6 + 1) for i in range(25)])
    whole = read(to_geopackage(hits, tmp_path / 'a.gpkg'))
    monkeypatch.setattr('torchgeo_cmr.export.layers.arrow_batches.BATCH', 10)
    pd.testing.assert_frame_equal(read(to_geopackage(hits, tmp_path / 'b.gpkg')), whole)


def test_nothing_given_is_changed(
    hits: gpd.GeoDataFrame, make: Any, tmp_path: Path
) -> None:
    before, queries = hits.copy(deep=True), make('s1', 2)
    to_geopackage(hits, tmp_path / 'a.gpkg', queries=queries, links=True)
    pd.testing.assert_frame_equal(hits, before)


class TestRefuses:
    def test_there_already(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        path = to_geopackage(hits, tmp_path / 'a.gpkg')
        before = path.read_bytes()
        with pytest.raises(OutputExistsError, match='is there already'):
            to_geopackage(hits.head(1), path)
        assert path.read_bytes() == before
        to_geopackage(hits.head(1), path, overwrite=True)
        assert len(read(path)) == 1

    def test_leaves_nothing_behind(
        self, hits: gpd.GeoDataFrame, tmp_path: Path
    ) -> None:
        band = shapely.segmentize(shapely.box(-100, 10, 110, 20), 20)
        hits.loc[5, 'geometry'] = band
        hits['native_corners'] = None
        with pytest.raises(QueryError, match='210 degrees wide'):
            to_geopackage(hits, tmp_path / 'a.gpkg')
        assert not list(tmp_path.iterdir())

    def test_broken_results(self, hits: Any, tmp_path: Path) -> None:
        path = tmp_path / 'a.gpkg'
        with pytest.raises(QueryError, match='no geometry with a CRS'):
            to_geopackage(hits.set_crs(None, allow_override=True), path)
        hits.loc[0, 'score'] = np.nan
        with pytest.raises(QueryError, match='not a finite number'):
            to_geopackage(hits, path)

    def test_record(self, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
        with pytest.raises(QueryError, match='the record cannot be written as JSON'):
            to_geopackage(hits, tmp_path / 'a.gpkg', record={'a': {1, 2}})

    def test_links_without_queries(
        self, hits: gpd.GeoDataFrame, tmp_path: Path
    ) -> None:
        with pytest.raises(QueryError, match='links join queries to hits'):
            to_geopackage(hits, tmp_path / 'a.gpkg', links=True)
