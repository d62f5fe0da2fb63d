"""GeoJSON: what the text holds, and what another reader makes of it."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import shapely

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import to_geojson


def written(frame: Any, path: Path) -> dict[str, Any]:
    assert to_geojson(frame, path) == path
    return json.loads(
        path.read_text(encoding='utf-8'),
        parse_constant=lambda name: pytest.fail(f'{name} is no JSON'),
    )


def rings(feature: dict[str, Any]) -> list[tuple[bool, list]]:
    geometry = feature['geometry']
    polygons = (
        geometry['coordinates']
        if geometry['type'] == 'MultiPolygon'
        else [geometry['coordinates']]
    )
    return [(i == 0, ring) for polygon in polygons for i, ring in enumerate(polygon)]


def test_result(hits: Any, tmp_path: Path) -> None:
    text = written(hits, tmp_path / 'hits.geojson')
    assert set(text) == {'type', 'features'}
    assert text['type'] == 'FeatureCollection'
    assert len(text['features']) == 6
    first = text['features'][0]['properties']
    assert list(first) == [
        'query_id',
        'rank',
        'score',
        'patch_id',
        'modality',
        'source',
        'time_start',
        'time_end',
        'src_crs',
        'exact',
        'relevant',
        'space',
        'valid_fraction',
    ]
    assert first['time_start'] == '2024-06-01T10:30:00Z'
    assert first['time_end'] == '2024-06-01T10:30:00.500Z'
    assert first['relevant'] is None
    assert first['exact'] is True
    assert isinstance(first['rank'], int)
    assert first['score'] == pytest.approx(hits['score'][0])
    assert {p.name for p in tmp_path.iterdir()} == {'hits.geojson', 'hits.qml'}


def test_read_back_typed(hits: Any, tmp_path: Path) -> None:
    hits['relevant'] = pd.array([True, False, None] * 2, dtype='boolean')
    to_geojson(hits, tmp_path / 'hits.geojson')
    info = pyogrio.read_info(tmp_path / 'hits.geojson')
    kinds = dict(zip(info['fields'], info['ogr_types'], strict=True))
    assert kinds['time_start'] == kinds['time_end'] == 'OFTDateTime'
    assert (kinds['rank'], kinds['score'], kinds['source']) == (
        'OFTInteger',
        'OFTReal',
        'OFTString',
    )
    subtypes = dict(zip(info['fields'], info['ogr_subtypes'], strict=True))
    assert subtypes['relevant'] == subtypes['exact'] == 'OFSTBoolean'
    assert info['crs'] == 'EPSG:4326'
    read = gpd.read_file(tmp_path / 'hits.geojson')
    assert read['time_start'].tolist() == hits['time_start'].tolist()
    assert read['patch_id'].tolist() == hits['patch_id'].tolist()
    assert (
        shapely.hausdorff_distance(
            read.geometry.to_numpy(), hits.geometry.to_numpy()
        ).max()
        < 1e-7
    )
    relevant = [
        f['properties']['relevant']
        for f in json.loads((tmp_path / 'hits.geojson').read_text())['features']
    ]
    assert relevant == [True, False, None] * 2


def test_wound_with_seven_decimals(tmp_path: Path) -> None:
    clockwise = shapely.Polygon(
        shapely.box(0, 0, 3, 3).exterior.coords[::-1],
        [shapely.box(1 / 3, 1, 2, 2).exterior.coords],
    )
    text = written(
        gpd.GeoDataFrame(
            geometry=[clockwise, shapely.MultiPolygon([clockwise])], crs=4326
        ),
        tmp_path / 'a.geojson',
    )
    for feature in text['features']:
        for outer, ring in rings(feature):
            assert shapely.is_ccw(shapely.LinearRing(ring)) == outer
            assert ring[0] == ring[-1]
    assert 0.3333333 in np.ravel(rings(text['features'][0])[1][1])


@pytest.mark.parametrize(
    ('shape', 'crs'),
    [
        (shapely.box(790_000, 8e6, 860_000, 8.07e6), 32760),
        (shapely.box(179.7, -18, 180.4, -17.4), 4326),
        (
            shapely.MultiPolygon(
                [
                    shapely.box(179.7, -18, 180, -17.4),
                    shapely.box(-180, -18, -179.6, -17.4),
                ]
            ),
            4326,
        ),
    ],
)
def test_cut_at_the_antimeridian(
    shape: shapely.Geometry, crs: int, tmp_path: Path
) -> None:
    text = written(gpd.GeoDataFrame(geometry=[shape], crs=crs), tmp_path / 'a.geojson')
    (feature,) = text['features']
    assert feature['geometry']['type'] == 'MultiPolygon'
    found = rings(feature)
    assert len(found) == 2
    for _, ring in found:
        lon = [c[0] for c in ring]
        assert max(lon) - min(lon) < 1
        assert -180 <= min(lon) <= max(lon) <= 180


def test_other_crs_is_densified_first(tmp_path: Path) -> None:
    box = shapely.box(0, 5e6, 1e6, 6e6)
    frame = gpd.GeoDataFrame(geometry=[box], crs=32632)
    (feature,) = written(frame, tmp_path / 'a.geojson')['features']
    ((_, ring),) = rings(feature)
    assert len(ring) == 4 * 8 + 1
    back = gpd.GeoSeries([shapely.Polygon(ring)], crs=4326).to_crs(32632)
    assert back.iloc[0].hausdorff_distance(box) < 1
    assert frame.crs.to_epsg() == 32632
    assert shapely.get_num_coordinates(frame.geometry.iloc[0]) == 5


def test_times(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {
            'none': pd.Series([pd.NaT, pd.NaT], dtype='datetime64[us, UTC]'),
            'some': pd.Series(
                ['2024-06-01T12:00+02:00', None], dtype='datetime64[us, UTC]'
            ),
            'naive': pd.to_datetime(['2024-06-01', '2024-06-02']),
        },
        geometry=[shapely.Point(0, 0)] * 2,
        crs=4326,
    )
    text = written(frame, tmp_path / 'a.geojson')
    assert [f['properties'] for f in text['features']] == [
        {'some': '2024-06-01T10:00:00Z', 'naive': '2024-06-01T00:00:00Z'},
        {'some': None, 'naive': '2024-06-02T00:00:00Z'},
    ]


def test_zero_rows(hits: Any, tmp_path: Path) -> None:
    assert written(hits.iloc[:0], tmp_path / 'a.geojson') == {
        'type': 'FeatureCollection',
        'features': [],
    }
    assert len(gpd.read_file(tmp_path / 'a.geojson')) == 0


def test_any_frame_and_any_column(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {
            'Größe (m²)': [1.5, np.nan],
            'grosse_m2': [np.inf, 2.0],
            'x' * 40: [1, 2],
            'x' * 41: [3, 4],
            'text': ['a "b" <&> \n ü', None],
            'count': pd.array([1, None], dtype='Int64'),
            'kind': pd.Categorical(['u', None]),
            'list': [[1], None],
            'raw': [b'1', b'2'],
            '日本': ['a', 'b'],
            'second': gpd.GeoSeries([shapely.Point(0, 0)] * 2, crs=4326),
        },
        geometry=gpd.GeoSeries([shapely.Point(0, 0)] * 2, crs=4326),
        index=[5, 5],
    )
    first, second = (
        f['properties']
        for f in written(frame.rename_geometry('shape'), tmp_path / 'a.geojson')[
            'features'
        ]
    )
    assert list(first) == [
        'Größe (m²)',
        'grosse_m2',
        'x' * 40,
        'x' * 41,
        'text',
        'count',
        'kind',
        '日本',
    ]
    assert list(first.values()) == [1.5, None, 1, 3, 'a "b" <&> \n ü', 1, 'u', 'a']
    assert list(second.values()) == [None, 2.0, 2, 4, None, None, None, 'b']


def test_area_alone(tmp_path: Path) -> None:
    area = gpd.GeoDataFrame(
        {'name': ['asked']}, geometry=[shapely.box(9, 45, 10, 46)], crs=4326
    )
    (feature,) = written(area, tmp_path / 'area.geojson')['features']
    assert feature['properties'] == {'name': 'asked'}
    bare = written(area[['geometry']], tmp_path / 'bare.geojson')
    assert bare['features'][0]['properties'] == {}


def test_other_arguments_are_taken(hits: Any, tmp_path: Path) -> None:
    to_geojson(hits, tmp_path / 'a.geojson', queries=hits, area=None, record={'a': 1})
    assert len(json.loads((tmp_path / 'a.geojson').read_text())['features']) == 6


def test_refuses(hits: Any, tmp_path: Path) -> None:
    path = tmp_path / 'a.geojson'
    to_geojson(hits, path)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match='there already'):
        to_geojson(hits.iloc[:1], path)
    assert path.read_bytes() == before
    to_geojson(hits.iloc[:1], path, overwrite=True)
    assert path.read_bytes() != before
    with pytest.raises(
        QueryError, match=r'no geometry with a CRS; declare it with set_crs'
    ):
        to_geojson(hits.set_crs(None, allow_override=True), tmp_path / 'b.geojson')
    with pytest.raises(QueryError, match='a layer is a GeoDataFrame, not a DataFrame'):
        to_geojson(pd.DataFrame(hits), tmp_path / 'b.geojson')  # ty: ignore[invalid-argument-type]
    far = gpd.GeoDataFrame(geometry=[shapely.Point(1e30, 1e30)], crs=32632)
    with pytest.raises(
        QueryError, match='cannot be expressed in EPSG:4326 from EPSG:32632'
    ):
        to_geojson(far, tmp_path / 'b.geojson')
    assert {p.name for p in tmp_path.iterdir()} == {'a.geojson', 'a.qml'}


def test_style_beside_results(hits: Any, tmp_path: Path) -> None:
    to_geojson(hits, tmp_path / 'a.geojson')
    style = (tmp_path / 'a.qml').read_text()
    assert 'startField="time_start"' in style
    # A start alone stands for the end.
    hits['time_end'] = pd.NaT
    to_geojson(hits, tmp_path / 'b.geojson')
    assert '<temporal enabled="1"' in (tmp_path / 'b.qml').read_text()
    first = json.loads((tmp_path / 'b.geojson').read_text())['features'][0]
    assert first['properties']['time_end'] == '2024-06-01T10:30:00Z'
    hits['time_start'] = pd.NaT
    to_geojson(hits, tmp_path / 'b.geojson', overwrite=True)
    assert '<temporal enabled="0"' in (tmp_path / 'b.qml').read_text()
    # The layer is not written either where its style may not be.
    (tmp_path / 'c.qml').touch()
    with pytest.raises(OutputExistsError, match=r'c\.qml is there already'):
        to_geojson(hits, tmp_path / 'c.geojson')
    assert not (tmp_path / 'c.geojson').exists()
    for frame in (hits.iloc[:0], hits[['rank', 'geometry']]):
        to_geojson(frame, tmp_path / 'd.geojson', overwrite=True)
    assert not (tmp_path / 'd.qml').exists()


@pytest.mark.parametrize(('crs', 'pole'), [(3413, 90), (3031, -90)])
def test_pole_in_degrees(result: Any, crs: int, pole: float, tmp_path: Path) -> None:
    """A GeoJSON never stays in a polar CRS."""
    hits = result([(-2e5, -1e5, 3e5, 4e5)], crs)
    to_geojson(hits, tmp_path / 'a.geojson')
    read = gpd.read_file(tmp_path / 'a.geojson')
    assert read.crs.to_epsg() == 4326
    (shape,) = read.geometry
    assert shape.is_valid
    assert (shape.bounds[0], shape.bounds[2]) == (-180, 180)
    assert pole in shape.bounds


def test_broken_results(hits: Any, tmp_path: Path) -> None:
    hits.loc[0, 'score'] = np.nan
    with pytest.raises(QueryError, match='not a finite number'):
        to_geojson(hits, tmp_path / 'a.geojson')


def test_says_when_it_is_the_wrong_format(
    result: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hits = result([(5e5 + i, 5e6, 5e5 + i + 1, 5e6 + 1) for i in range(3)])
    to_geojson(hits, tmp_path / 'a.geojson')
    assert caplog.records == []
    monkeypatch.setattr('torchgeo_cmr.export.vector.geojson._MANY', 2)
    to_geojson(hits, tmp_path / 'b.geojson')
    (told,) = caplog.messages
    assert 'b.geojson holds 3 rows' in told
    assert 'write a GeoPackage' in told
