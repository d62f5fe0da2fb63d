"""Searches of every kind, saved, replayed, refined: what several parts do together."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.export import read_search
from torchgeo_cmr.search import (
    RetrievalIndex,
    Where,
    from_feedback,
    from_ids,
    from_places,
)
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]
type Make = Callable[..., EmbeddingTable]


def name(i: int, prefix: str = 's2') -> str:
    return f'{prefix}:scene.tif:0_{32 * i}_32x32'


@pytest.fixture
def words_as_sound(make: Make, tmp_path: Path) -> Path:
    """Ten rows without a place and, as sound is, without scenes and dates."""
    table = make('speech', n=10, seed=3)
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'speech:{i}.wav' for i in range(10)], 'source': 'x.wav'},
        geometry=[None] * 10,
        crs=4326,
    )
    spoken = EmbeddingTable.from_frame(
        frame, table.vectors, space='abc', modality='speech', placeless=True
    )
    return spoken.save(tmp_path / 'spoken')


FILTERS: list[tuple[list[Any], dict[str, Any]]] = [
    (
        ['--within', '-98.6,29.5,-98.57,29.6', '--min-overlap', 0.5],
        {'geometry': [-98.6, 29.5, -98.57, 29.6], 'min_overlap': 0.5},
    ),
    (['--near', '-98.57,29.57,1500'], {'near': [[-98.57, 29.57], 1500.0]}),
    (['--exclude-own', 100, '--days', 90], {'beyond': 100.0, 'days': 90.0}),
    (['--months', '11-2', '--undated'], {'months': [11, 12, 1, 2], 'undated': True}),
    (
        ['--within', '-98.6,29.5,-98.5,29.6', '--predicate', 'centroid'],
        {'geometry': [-98.6, 29.5, -98.5, 29.6], 'predicate': 'centroid'},
    ),
    (['--during', '../2024-06-01'], {'during': [None, '2024-06-01']}),
]
OPTIONS: list[tuple[list[Any], dict[str, Any]]] = [
    (['--spacing', 1500, '--max-overlap', 0.3], {'spacing': 1500, 'max_overlap': 0.3}),
    (
        ['--diversity', 0.4, '--min-score', '-0.5'],
        {'diversity': 0.4, 'min_score': -0.5},
    ),
    (['--one-per', 'source'], {'one_per': 'source'}),
    (['--distinct', 0.6], {'distinct': 0.6}),
    (['--calibrated'], {'calibrated': True}),
    (['--examples', 'mean'], {'examples': 'mean'}),
    (['--approximate'], {'exact': False}),
]


@pytest.mark.parametrize(
    ('words', 'filters', 'options'),
    [(words, told, {}) for words, told in FILTERS]
    + [(words, {}, told) for words, told in OPTIONS],
)
def test_the_manifest_holds_every_word_and_replays_it(
    run: Run,
    archive: Path,
    tmp_path: Path,
    words: list[Any],
    filters: dict[str, Any],
    options: dict[str, Any],
) -> None:
    out = tmp_path / 'hits.gpkg'
    ran = run('search', archive, '--query', name(8), '-k', 4, *words, '--out', out)
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / 'hits.json').read_text())
    told['filters'].pop('area', None)
    assert told['filters'] == filters
    assert told['options'] == options
    again = run('replay', tmp_path / 'hits.json')
    assert (again.code, again.out) == (0, f'the same {told["rows"]["count"]} rows\n')


def test_a_changed_option_is_told(run: Run, archive: Path, tmp_path: Path) -> None:
    words = ('--query', name(8), '-k', 4, '--spacing', 1500)
    run('search', archive, *words, '--out', tmp_path / 'hits.gpkg')
    manifest = tmp_path / 'hits.json'
    told = json.loads(manifest.read_text())
    told['command'][told['command'].index('1500.0')] = '9000.0'
    manifest.write_text(json.dumps(told))
    ran = run('replay', manifest)
    assert ran.code == 1
    assert "options: {'spacing': 1500.0} -> {'spacing': 9000.0}" in ran.out


@pytest.mark.slow
def test_several_archives_and_an_index(
    run: Run, archive: Path, asking: Path, tmp_path: Path
) -> None:
    """An index has the fingerprint of its archive and the same scenes."""
    RetrievalIndex.build(archive, tmp_path / 'index')
    records = []
    for i, folders in enumerate(
        ([archive], [tmp_path / 'index'], [tmp_path / 'index', asking])
    ):
        out = tmp_path / f'{i}.gpkg'
        assert run('search', *folders, '--query', name(3), '--out', out).code == 0
        assert run('replay', out.with_suffix('.json')).out == 'the same 10 rows\n'
        records.append(read_search(out).record)
    one, indexed, both = records
    assert indexed['archives'][0]['sha256'] == one['archives'][0]['sha256']
    assert indexed['scenes'] == one['scenes']
    assert indexed['rows'] == one['rows']
    assert [a['name'] for a in both['archives']] == [
        str(tmp_path / 'index'),
        str(asking),
    ]
    assert [a['rows'] for a in both['archives']] == [30, 3]
    assert set(both['scenes']) == {'s1', 's2'}
    index = RetrievalIndex.open(tmp_path / 'index')
    index.delete(name(29))
    ran = run('replay', tmp_path / '1.json')
    assert f'archive {tmp_path / "index"}: 30 rows, ' in ran.out
    assert ' -> 29 rows, ' in ran.out


def test_what_asked_is_told(
    run: Run, archive: Path, asking: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'hits.gpkg'
    words = ['--query', asking, '--query', name(8), '--query', '-98.595,29.595']
    assert run('search', archive, *words, '-k', 1, '--out', out).code == 0
    layer = read_search(out).queries
    assert layer is not None
    assert layer['kind'].tolist() == ['table'] * 3 + ['patch', 'location']


def test_places_drawn_on_a_map(run: Run, archive: Path, tmp_path: Path) -> None:
    places = gpd.GeoDataFrame(
        geometry=[
            shapely.box(-98.6, 29.58, -98.585, 29.6),
            shapely.Point(-98.56, 29.57),
        ],
        crs=4326,
    ).to_crs(32614)
    file, out = tmp_path / 'port.geojson', tmp_path / 'hits.gpkg'
    places.to_crs(4326).to_file(file)
    ran = run('search', archive, '--query', file, '-k', 3, '--out', out)
    assert ran.code == 0, ran.err
    results, queries, _, _ = read_search(out)
    table = EmbeddingTable.load(archive)
    expected = RetrievalIndex(table).search(from_places(table, file), 3)
    assert results['patch_id'].tolist() == expected['patch_id'].tolist()
    assert queries is not None
    assert queries['query_id'].tolist() == ['port.geojson:0', 'port.geojson:1']
    assert queries['kind'].tolist() == ['location'] * 2
    assert run('replay', tmp_path / 'hits.json').code == 0


def test_named_places_and_one_outside(
    run: Run, refused: Any, archive: Path, tmp_path: Path
) -> None:
    """Queries have the names of the layer; what lies outside is reported, not fatal."""
    inside = shapely.box(-98.6, 29.58, -98.585, 29.6)
    away = shapely.box(2, 48, 3, 49)
    file, other, out = (tmp_path / n for n in ('a.geojson', 'b.geojson', 'hits.gpkg'))
    frame = gpd.GeoDataFrame(
        {'name': ['port', 'sea', 'nothing']}, geometry=[inside, away, None], crs=4326
    )
    frame.to_file(file)
    frame.iloc[:1].to_file(other)
    words = ['search', archive, '--query', file, '--query', other, '-k', 2, '-o', out]
    ran = run(*words, '--query', '2,48')
    assert ran.code == 0, ran.err
    assert 'sea touches no patch' in ran.err
    assert 'nothing is empty' in ran.err
    assert 'no patch covers 2,48' in ran.err
    assert read_search(out).results['query_id'].unique().tolist() == [
        'port',
        'b.geojson:port',
    ]
    assert 'no patch covers 2,48' in refused('search', archive, '--query', '2,48')
    frame.iloc[1:].to_file(file)
    assert 'sea touches no patch' in refused('search', archive, '--query', file)


@pytest.mark.slow
def test_refined_by_the_file_that_search_wrote(
    run: Run, archive: Path, asking: Path, tmp_path: Path
) -> None:
    """The GeoPackage has the queries as its first layer; the marks are in another."""
    out, again = tmp_path / 'hits.gpkg', tmp_path / 'again.gpkg'
    words = ['search', archive, '--query', asking, '-k', 4]
    area = ['--within', '-98.6,29.5,-98.5,29.6']
    assert run(*words, *area, '--out', out).code == 0
    layer = gpd.read_file(out, layer='results')
    layer['relevant'] = layer['rank'].map({1: True, 2: False})
    layer.to_file(out, layer='results', mode='w')
    ran = run(*words, '--refine', out, '--out', again)
    assert ran.code == 0, ran.err
    table, asked = EmbeddingTable.load(archive), EmbeddingTable.load(asking)
    marked = read_search(out).results
    refined = from_feedback(table, marked, queries=asked)
    expected = RetrievalIndex(table).search(refined, 4)
    found = read_search(again)
    assert found.results['patch_id'].tolist() == expected['patch_id'].tolist()
    assert found.record['options'] == {'refine': str(out)}
    assert run('replay', tmp_path / 'again.json').out == 'the same 12 rows\n'
    # Other marks make another search, and the replay says why.
    layer['relevant'] = layer['rank'].map({3: True})
    layer.to_file(out, layer='results', mode='w')
    ran = run('replay', tmp_path / 'again.json')
    assert ran.code == 1
    assert '\nqueries: 3 rows, ' in ran.out


@pytest.mark.slow
def test_links(run: Run, refused: Refused, archive: Path, tmp_path: Path) -> None:
    out, again = tmp_path / 'hits.gpkg', tmp_path / 'again.gpkg'
    words = ['search', archive, '--query', name(8), '-k', 4, '--include-self']
    words.append('--links')
    assert run(*words, '--out', out).code == 0
    lines = gpd.read_file(out, layer='links')
    # The best hit is the query itself: no line.
    assert lines['rank'].tolist() == [2, 3, 4]
    assert run('replay', tmp_path / 'hits.json').code == 0
    assert run('export', out, '--out', again, '--links').code == 0
    assert len(gpd.read_file(again, layer='links')) == 3
    said = 'links are a layer of a GeoPackage, and none is written; add --out '
    assert said + 'a.gpkg' in refused(*words, '--out', tmp_path / 'a.geojson')
    assert said + 'hits.gpkg' in refused(*words)
    assert run(*words[:-1], '--out', tmp_path / 'a.parquet').code == 0
    line = refused(
        'export', tmp_path / 'a.parquet', '--out', tmp_path / 'b.gpkg', '--links'
    )
    assert 'links join queries to hits; give the queries' in line


class TestWithoutAPlace:
    @pytest.mark.slow
    def test_files_that_need_none(
        self, run: Run, words_as_sound: Path, archive: Path, tmp_path: Path
    ) -> None:
        outs = [tmp_path / f'hits{s}' for s in ('.gpkg', '.geojson', '.parquet')]
        words = [word for out in outs for word in ('--out', out)]
        words += ['--project', '--html', '--links']
        ran = run('search', words_as_sound, '--query', archive, '-k', 1, *words)
        assert (ran.code, ran.err) == (0, '')
        first = read_search(outs[0]).results
        assert len(first) == 30
        for out in outs:
            found = read_search(out)
            assert found.results['patch_id'].tolist() == first['patch_id'].tolist()
            assert found.results.geometry.isna().all()
            assert found.record['rows'] == read_search(outs[0]).record['rows']
        page = (tmp_path / 'hits.html').read_text()
        assert '<svg' not in page
        assert '30 of them have no place and are not on the map' in page
        assert page.count('<tr id="row-') == 30
        assert len(gpd.read_file(outs[0], layer='links')) == 0
        assert run('replay', tmp_path / 'hits.json').out == 'the same 30 rows\n'

    @pytest.mark.parametrize(
        ('words', 'message'),
        [
            (
                ['--heatmap'],
                'none of the 3 hits has a place on the ground, so no raster',
            ),
            (['--out', '{}/a.tif'], 'none of the 3 hits has a place on the ground'),
            (['--out', '{}/a.stac.json'], '3 of 3 hits have no time, and a STAC item'),
            (['--clips', '{}/clips'], 'archives of pairs, sound and plain images name'),
        ],
    )
    def test_files_that_need_one(
        self,
        run: Run,
        words_as_sound: Path,
        tmp_path: Path,
        words: list[str],
        message: str,
    ) -> None:
        """One sentence, and nothing half written."""
        out = tmp_path / 'new' / 'hits.gpkg'
        asked = ['--query', 'speech:3.wav', '-k', 3, '--out', out]
        words = [word.format(out.parent) for word in words]
        ran = run('search', words_as_sound, *asked, *words)
        assert ran.code == 2
        assert message in ran.err
        assert len(ran.err.splitlines()) == 1
        assert not out.parent.exists()

    def test_marked_and_asked_again(
        self, run: Run, words_as_sound: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / 'hits.gpkg'
        words = ['search', words_as_sound, '--query', 'speech:3.wav', '-k', 5]
        assert run(*words, '--out', out).code == 0
        layer = gpd.read_file(out, layer='results')
        layer['relevant'] = layer['rank'] == 2
        layer.to_file(out, layer='results', mode='w')
        ran = run(*words, '--refine', out)
        assert ran.code == 0, ran.err
        table = EmbeddingTable.load(words_as_sound)
        refined = from_feedback(
            table, read_search(out).results, queries=from_ids(table, 'speech:3.wav')
        )
        expected = RetrievalIndex(table).search(refined, 5)
        for line, hit in zip(
            ran.out.splitlines()[1:], expected['patch_id'], strict=True
        ):
            assert line.endswith(hit)

    def test_some_with_and_some_without(
        self, run: Run, words_as_sound: Path, archive: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / 'hits.gpkg'
        words = ['--query', name(8), '-k', 40, '--heatmap', '--html', '--links']
        words.append('--include-self')
        ran = run('search', words_as_sound, archive, *words, '--out', out)
        assert (ran.code, ran.err) == (0, '')
        results = read_search(out).results
        assert results.geometry.isna().sum() == 10
        page = (tmp_path / 'hits.html').read_text()
        assert page.count(' id="hit-') == 30
        assert page.count('<a href="#hit-') == 30
        assert '10 of them have no place' in page
        assert len(gpd.read_file(out, layer='links')) == 29
        # Inside an area only what has a place is found.
        area = ['--within', '-98.6,29.5,-98.5,29.6']
        ran = run('search', words_as_sound, archive, '--query', name(8), *area)
        assert 'speech:' not in ran.out


def test_only_geoparquet_is_warned_of(run: Run, archive: Path, tmp_path: Path) -> None:
    ran = run('search', archive, '--query', name(3), '--out', tmp_path / 'a.parquet')
    assert ran.code == 0
    assert 'many builds of QGIS cannot read GeoParquet; name a .gpkg' in ran.err
    both = ['--out', tmp_path / 'b.parquet', '--out', tmp_path / 'b.gpkg']
    assert run('search', archive, '--query', name(3), *both).err == ''


@pytest.mark.slow
def test_an_archive_of_pairs(run: Run, archive: Path, tmp_path: Path) -> None:
    """Rows of two sensors on one place, columns of its own, no scenes."""
    table = EmbeddingTable.load(archive)
    both = []
    for modality in ('s1', 's2'):
        frame = table.frame.assign(
            modality=modality,
            patch_id=[f'{modality}:pair{i}' for i in range(len(table))],
            source=None,
            pair=[f'pair{i}' for i in range(len(table))],
            split='test',
            label='wood; water',
        )
        vectors = np.roll(table.vectors, modality == 's1', axis=1)
        both.append(EmbeddingTable.from_frame(gpd.GeoDataFrame(frame), vectors))
    pairs = replace(EmbeddingTable.concat(both), record={'data': 'x'})
    pairs.save(tmp_path / 'pairs')
    out = tmp_path / 'hits.gpkg'
    words: list[Any] = ['--query', 's1:pair4', '--where', 'modality == "s2"', '-k', 3]
    words += ['--out', out, '--project', '--heatmap', '--html']
    ran = run('search', tmp_path / 'pairs', *words)
    assert (ran.code, ran.err) == (0, '')
    results, queries, _, record = read_search(out)
    assert results['pair'].str.startswith('pair').all()
    assert set(results['modality']) == {'s2'}
    assert results['source'].isna().all()
    assert queries is not None
    assert queries['modality'].tolist() == ['s1']
    assert record['scenes'] == {}
    assert run('replay', tmp_path / 'hits.json').out == 'the same 3 rows\n'
    ran = run('export', out, '--clips', tmp_path / 'clips')
    assert ran.code == 2
    assert 'archives of pairs, sound and plain images name none' in ran.err
    footprints = tmp_path / 'footprints.gpkg'
    assert run('export', tmp_path / 'pairs', '--out', footprints).code == 0
    assert gpd.read_file(footprints, layer='footprints')['label'].unique().tolist() == [
        'wood; water'
    ]


def test_filters_put_together_are_told(make: Make) -> None:
    from torchgeo_cmr.export import make_record

    table = make('s2')
    june = Where(months=range(6, 9)) & ~Where(where='cloud > 20')
    either = june | Where((-98.6, 29.5, -98.57, 29.6))
    results = RetrievalIndex(table).search(table.select([0]), 3, where=either)
    told = make_record(
        results, archives={'a': table}, queries=table.select([0]), where=either, k=3
    )['filters']
    assert told == {
        'or': [
            {'and': [{'months': [6, 7, 8]}, {'not': {'where': 'cloud > 20'}}]},
            {
                'geometry': [-98.6, 29.5, -98.57, 29.6],
                'area': shapely.box(-98.6, 29.5, -98.57, 29.6).wkt,
            },
        ]
    }
    assert json.loads(json.dumps(told)) == told
