"""What the real QGIS makes of our files: the oldest supported, 3.22, without a screen.

Needs ``/usr/bin/python3`` with PyQGIS (``apt-get install python3-qgis``). The tests skip
where it is missing, unless ``TORCHGEO_CMR_REQUIRE_QGIS=1``: then they fail.
"""

import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.export import (
    clip_hits,
    read_search,
    scenes_of,
    to_geojson,
    to_geopackage,
    to_geotiff,
    to_project,
    to_stac,
)
from torchgeo_cmr.export.layers.extent import label_scale
from torchgeo_cmr.main import main
from torchgeo_cmr.search import RetrievalIndex, from_feedback

pytestmark = pytest.mark.qgis

AREA = shapely.box(9, 45.14, 9.02, 45.16)
TYPES = {
    'rank': 'Integer',
    'score': 'Real',
    'query_id': 'String',
    'patch_id': 'String',
    'modality': 'String',
    'source': 'String',
    'time_start': 'DateTime',
    'time_end': 'DateTime',
    'src_crs': 'String',
    'exact': 'Boolean',
    'relevant': 'Boolean',
}


def finished(told: dict[str, Any], **expected: int) -> dict[str, dict[str, Any]]:
    """Check what holds for every vector file, and give its layers by name."""
    layers = {layer['name']: layer for layer in told['layers']}
    assert list(layers) == list(expected)
    for name, count in expected.items():
        layer = layers[name]
        assert layer['valid']
        assert layer['count'] == count
        assert layer['crs'].startswith('EPSG:')
        assert layer['not_drawn'] == 0
    return layers


def drawn(told: dict[str, Any], least: float = 0.005) -> float:
    """Check that the picture is not blank; give the share of it that is drawn."""
    picture = told['picture']
    assert picture['errors'] == []
    assert picture['drawn'] > least
    assert picture['colours'] > 2
    return picture['drawn']


def styled(layer: dict[str, Any], classes: int = 5) -> None:
    assert layer['renderer'] == 'graduatedSymbol'
    assert layer['attribute'] == 'score'
    assert len(layer['classes']) == classes
    assert layer['labels']
    assert layer['label'] == 'rank'
    assert layer['widgets']['relevant'] == 'ValueMap'


@pytest.mark.slow
def test_geopackage(
    qgis: Any, hits: gpd.GeoDataFrame, make: Any, tmp_path: Path
) -> None:
    path = to_geopackage(
        hits,
        tmp_path / 'a.gpkg',
        queries=make('s1', 2),
        area=AREA,
        record={'k': 3},
        links=True,
    )
    told = qgis(path, picture=tmp_path / 'a.png')
    # A hit on the query's own ground has no line to it.
    count = sum(
        s['source'] is not None
        and s['patch_id'].split(':')[2] != s['query_id'].split(':')[2]
        for _, s in hits.iterrows()
    )
    layers = finished(told, query=2, results=6, area_of_interest=1, links=count)
    results = layers['results']
    styled(results)
    assert {k: results['fields'][k] for k in TYPES} == TYPES
    assert results['label_scales'] == [True, 0.0, label_scale(hits)]
    assert results['temporal']
    assert results['time_fields'] == ['time_start', 'time_end']
    assert results['first']['time_start'] == '2024-06-01T10:30:00.000'
    assert results['first']['relevant'] is None
    for name in ('query', 'area_of_interest', 'links'):
        assert layers[name]['renderer'] == 'singleSymbol'
        assert not layers[name]['temporal']
    assert all(layer['crs'] == 'EPSG:4326' for layer in layers.values())
    drawn(told)


@pytest.mark.slow
def test_time_slider(qgis: Any, result: Any, tmp_path: Path) -> None:
    """Features outside the time are not drawn, those without one are."""
    boxes = [(5e5 + 400 * i, 5e6, 5e5 + 400 * i + 320, 5e6 + 320) for i in range(3)]
    days = pd.to_datetime(['2024-06-01', '2024-07-01', None], utc=True)
    hits = result(boxes, time_start=days, time_end=days + pd.Timedelta('1h'))
    path = to_geopackage(hits, tmp_path / 'a.gpkg')
    shares = {
        name: drawn(qgis(path, picture=tmp_path / 'a.png', **window))
        for name, window in {
            'all': {},
            'june': {'time': ['2024-06-01T00:00:00Z', '2024-06-02T00:00:00Z']},
            'none': {'time': ['2024-08-01T00:00:00Z', '2024-08-02T00:00:00Z']},
        }.items()
    }
    assert shares['june'] == pytest.approx(2 / 3 * shares['all'], rel=0.1)
    assert shares['none'] == pytest.approx(1 / 3 * shares['all'], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize('scores', [[0.5], [-0.3, -0.3], [-0.9, 0.4]])
def test_few_equal_and_negative_scores(
    qgis: Any, result: Any, tmp_path: Path, scores: list[float]
) -> None:
    boxes = [
        (5e5 + 400 * i, 5e6, 5e5 + 400 * i + 320, 5e6 + 320) for i in range(len(scores))
    ]
    told = qgis(
        to_geopackage(result(boxes, scores=scores), tmp_path / 'a.gpkg'),
        picture=tmp_path / 'a.png',
    )
    layers = finished(told, results=len(scores))
    styled(layers['results'], 1 if len(set(scores)) == 1 else 5)
    drawn(told)


@pytest.mark.slow
def test_zero_rows(qgis: Any, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    layers = finished(
        qgis(to_geopackage(hits.iloc[:0], tmp_path / 'a.gpkg', area=AREA)),
        results=0,
        area_of_interest=1,
    )
    assert {k: layers['results']['fields'][k] for k in TYPES} == TYPES
    assert layers['results']['crs'] == 'EPSG:4326'


@pytest.mark.slow
def test_judged_in_qgis(
    qgis: Any, hits: gpd.GeoDataFrame, make: Any, tmp_path: Path
) -> None:
    """The loop with the desktop: fill ``relevant``, save, read it back."""
    path = to_geopackage(hits, tmp_path / 'a.gpkg', queries=make('s1', 2))
    yes, no = hits['patch_id'].iloc[0], hits['patch_id'].iloc[1]
    qgis(path, relevant={yes: True, no: False})
    found = read_search(path).results
    assert found['relevant'][found['patch_id'] == yes].all()
    assert not found['relevant'][found['patch_id'] == no].any()
    rest = ~found['patch_id'].isin([yes, no])
    assert found['relevant'][rest].isna().all()


@pytest.mark.slow
def test_geojson(qgis: Any, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_geojson(hits, tmp_path / 'a.geojson')
    told = qgis(path, picture=tmp_path / 'a.png')
    results = finished(told, a=6)['a']
    styled(results)
    assert results['crs'] == 'EPSG:4326'
    assert results['temporal']
    assert results['fields']['time_start'] == 'DateTime'
    drawn(told)
    hits['time_start'] = hits['time_end'] = pd.NaT
    told = qgis(to_geojson(hits, tmp_path / 'b.geojson'), picture=tmp_path / 'b.png')
    results = finished(told, b=6)['b']
    styled(results)
    assert not results['temporal']
    assert 'time_start' not in results['fields']
    drawn(told)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('box', 'crs', 'code'),
    [
        ((790_000, 8e6, 880_000, 8.07e6), 32760, 'EPSG:4326'),
        ((-2e5, -1e5, 3e5, 4e5), 3413, 'EPSG:3413'),
        ((-2e5, -1e5, 3e5, 4e5), 3031, 'EPSG:3031'),
    ],
    ids=['date line', 'north pole', 'south pole'],
)
def test_hard_places(
    qgis: Any, result: Any, tmp_path: Path, box: tuple[float, ...], crs: int, code: str
) -> None:
    """The project opens on the footprint, which then fills most of the picture."""
    told = qgis(
        to_project(result([box], crs), tmp_path / 'a.qgz'),
        picture=tmp_path / 'a.png',
        size=[200, 200],
    )
    assert finished(told, results=1)['results']['crs'] == code
    assert told['crs'] not in ('', 'EPSG:4326')
    assert drawn(told) > 0.4


@pytest.mark.slow
def test_project(qgis: Any, hits: gpd.GeoDataFrame, make: Any, scenes: Path) -> None:
    folder = scenes / 'one'
    heat = to_geotiff(hits, folder / 'a_similarity.tif')
    path = to_project(
        hits,
        folder / 'a.qgz',
        queries=make('s1', 2),
        area=AREA,
        similarity=heat,
        rasters=[shutil.copy(scenes / 's2.tif', folder / 's2.tif')],
    )
    names = ['query', 'results', 'area_of_interest', 'similarity', 's2']
    moved = Path(shutil.move(folder, scenes / 'two' / 'deep')) / path.name
    told = qgis(moved, picture=scenes / 'a.png')
    assert told['read']
    assert told['nodes_without_layer'] == []
    assert [layer['name'] for layer in told['layers']] == names
    assert all(layer['valid'] for layer in told['layers'])
    assert told['crs'] == told['view_crs'] == 'EPSG:32632'
    west, south, east, north = told['extent']
    assert 499_000 < west < 500_000
    assert 501_920 < east < 503_000
    assert 4_998_000 < south < north < 5_001_000
    assert told['times'] == ['2024-06-01T10:30:00Z', '2024-06-01T10:30:00Z']
    layers = {layer['name']: layer for layer in told['layers']}
    styled(layers['results'])
    assert layers['results']['temporal']
    assert layers['results']['not_drawn'] == 0
    assert layers['similarity']['renderer'] == 'singlebandpseudocolor'
    assert layers['s2']['renderer'] == 'multibandcolor'
    everything = drawn(told)
    vectors = qgis(moved, picture=scenes / 'b.png', only=names[:3])
    assert everything > drawn(vectors)


@pytest.mark.slow
def test_words_of_any_kind(qgis: Any, hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    word = 'a<b>&"c"\'d\' Größe 日本/x.tif'
    hits['source'] = word
    told = qgis(to_project(hits, tmp_path / 'ü & <x>.qgz'))
    assert told['layers'][0]['first']['source'] == word


@pytest.mark.slow
def test_two_zones(qgis: Any, result: Any, tmp_path: Path) -> None:
    boxes = [result([(7e5, 5e6, 7.1e5, 5.01e6)], z) for z in (32632, 32633)]
    hits = gpd.GeoDataFrame(pd.concat(boxes, ignore_index=True), crs=4326)
    told = qgis(to_project(hits, tmp_path / 'a.qgz'), picture=tmp_path / 'a.png')
    finished(told, results=2)
    drawn(told, 0.0001)


@pytest.mark.slow
def test_judged_in_qgis_and_searched_again(
    qgis: Any, make: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole loop: search, edit in QGIS, search with what was judged, replay."""
    archive = make('s2').save(tmp_path / 'archive')
    queries = make('s1', 2).save(tmp_path / 'queries')
    out, again = tmp_path / 'hits.gpkg', tmp_path / 'again.gpkg'
    words = ['search', str(archive), '--query', str(queries), '-k', '4', '--links']
    assert main([*words, '--out', str(out), '--project']) == 0
    first = read_search(out).results
    asked = first['query_id'].iloc[0]
    right = first.loc[(first['query_id'] == asked) & (first['rank'] == 3), 'patch_id']
    told = qgis(out, relevant={right.iloc[0]: True})
    layers = {layer['name']: layer for layer in told['layers']}
    assert layers['query']['first']['kind'] == 'table'
    assert layers['links']['valid']
    assert main([*words, '--refine', str(out), '--out', str(again)]) == 0
    marked = read_search(out).results
    refined = from_feedback(make('s2'), marked, queries=make('s1', 2))
    expected = RetrievalIndex(make('s2')).search(refined, 4)
    found = read_search(again).results
    assert found['patch_id'].tolist() == expected['patch_id'].tolist()
    assert found['score'].tolist() != first['score'].tolist()
    # The patch was right for both queries; they ask from its ground, where no line begins.
    elsewhere = int((found['patch_id'] != right.iloc[0]).sum())
    finished(qgis(again), query=2, results=8, links=elsewhere)
    capsys.readouterr()
    assert main(['replay', str(tmp_path / 'again.json')]) == 0
    assert capsys.readouterr().out == 'the same 8 rows\n'


@pytest.mark.slow
def test_hits_without_a_place(
    qgis: Any, hits: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    """QGIS lists them in the attribute table, where they can be judged."""
    hits['geometry'] = gpd.GeoSeries([None] * len(hits), crs=4326)
    path = to_geopackage(hits, tmp_path / 'a.gpkg')
    layers = finished(qgis(path), results=6)
    styled(layers['results'])
    patch = hits['patch_id'].iloc[0]
    qgis(path, relevant={patch: False})
    found = read_search(path).results
    assert not found['relevant'][found['patch_id'] == patch].any()
    # A project has nothing to show and opens all the same.
    told = qgis(to_project(hits, tmp_path / 'b.qgz'))
    assert told['read']
    finished(told, results=6)


@pytest.mark.slow
def test_stac_and_clips(
    qgis: Any, hits: gpd.GeoDataFrame, make: Any, scenes: Path, tmp_path: Path
) -> None:
    path = to_stac(hits, tmp_path / 'a.stac.json')
    told = qgis(path, picture=tmp_path / 'a.png')
    (layer,) = told['layers']
    assert (layer['valid'], layer['count'], layer['crs']) == (True, 6, 'EPSG:4326')
    assert told['picture']['drawn'] > 0.005
    record = {'scenes': scenes_of([make('s2')])}
    record['scenes']['s2']['root'] = str(scenes)
    folder = clip_hits(hits, tmp_path / 'clips', record=record)
    told = qgis(folder / '001_001_s2.tif', picture=tmp_path / 'b.png')
    (layer,) = told['layers']
    assert (layer['valid'], layer['crs']) == (True, 'EPSG:32632')
    assert layer['bands'] == ['Band 1: B02', 'Band 2: B03', 'Band 3: B04']
    assert told['picture']['drawn'] > 0.5
    assert told['picture']['colours'] > 2
