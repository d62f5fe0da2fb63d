"""The plugin's algorithms in the Processing of the real QGIS: the oldest supported, 3.22."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely
import torch

from torchgeo_cmr import __version__
from torchgeo_cmr.cli.commands import load_command
from torchgeo_cmr.cli.signature import read_arguments
from torchgeo_cmr.embed import embed
from torchgeo_cmr.export import read_search
from torchgeo_cmr.search import RetrievalIndex, Where, at, from_places
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import SSCMRSIR, load_task

pytestmark = pytest.mark.qgis

type Run = Callable[..., dict[str, Any]]

#: Two places and an area in degrees: west, south, east, north.
LEFT, RIGHT = [9.001, 45.147, 9.003, 45.149], [9.013, 45.146, 9.015, 45.148]
AREA = [9.0, 45.14, 9.0121, 45.16]


def pairs(hits: gpd.GeoDataFrame) -> list[list[str]]:
    return hits[['query_id', 'patch_id']].to_numpy().tolist()


@pytest.mark.slow
def test_search_by_layer(run: Run, archive: Path, tmp_path: Path) -> None:
    """The selected feature alone, in an area and before a day, as the library finds it."""
    out = tmp_path / 'hits.gpkg'
    told = run(
        'search_by_layer',
        archive=archive,
        places=[LEFT, RIGHT],
        area=AREA,
        end='2024-06-29',
        out=out,
    )
    index = RetrievalIndex(archive)
    places = gpd.GeoDataFrame(
        {'name': ['right']}, geometry=[shapely.box(*RIGHT)], crs=4326
    )
    # A day that is the last one is searched, too: row 18 was taken on it.
    where = Where(shapely.box(*AREA), 'EPSG:4326', during=('2024-01-01', '2024-06-30'))
    truth = index.search(from_places(index, places), 50, where)
    assert 's2:scene.tif:0_576_32x32' in set(truth['patch_id'])
    assert 0 < len(truth) < 18
    assert read_search(out).results['patch_id'].tolist() == truth['patch_id'].tolist()
    ((group, layers),) = told['tree']
    assert group == 'hits'
    assert [layer['name'] for layer in layers] == [
        'query',
        'results',
        'area_of_interest',
        'hits_similarity',
    ]
    results = layers[1]
    assert results['hits'] == pairs(truth)
    assert (results['renderer'], results['temporal']) == ('graduatedSymbol', True)
    assert layers[3]['renderer'] == 'singlebandpseudocolor'
    assert told['told'].get('error') is None
    assert any('--heatmap' in line for line in told['told']['command'])


@pytest.mark.slow
def test_layers_of_a_run_are_in_order(run: Run) -> None:
    """Also where QGIS puts a new layer into the group of the one that is chosen."""
    order = ['query', 'links', 'results', 'area_of_interest', 'hits_similarity']
    for names in (sorted(order), sorted(order, reverse=True)):
        tree = [['later', ['results']], ['run', order]]
        assert run('grouped', names=names)['tree'] == tree


@pytest.mark.slow
def test_search_by_point(run: Run, archive: Path, queries: Path) -> None:
    """Points and extents in their own CRS; another archive; nothing is loaded unasked."""
    utm = {
        'ARCHIVE': str(archive),
        'QUERY_POINT': '500100,4999900 [EPSG:32632]',
        'EXTENT': '500000,500960,4999000,5000000 [EPSG:32632]',
        'WHERE': 'cloud < 20',
        'K': 4,
        'OUTPUT': 'TEMPORARY_OUTPUT',
    }
    radar = {
        'ARCHIVE': str(archive),
        'QUERY_ARCHIVE': str(queries),
        'EXCLUDE_OWN': 0,
        'MODALITY': 's2',
        'K': 1,
        'OUTPUT': 'TEMPORARY_OUTPUT',
    }
    told = run('search_by_point', runs=[utm, radar])
    index = RetrievalIndex(archive)
    box = Where(shapely.box(500000, 4999000, 500960, 5000000), 'EPSG:32632')
    patch = index.table.frame.to_crs(32632).covers(shapely.Point(500100, 4999900))
    query = index.select(patch.to_numpy().nonzero()[0])
    first = index.search(query, 4, box & Where(where='cloud < 20'))
    assert told['layers'][0]['hits'] == pairs(first)
    second = index.search(EmbeddingTable.load(queries), 1, Where(beyond=0.0))
    assert told['layers'][1]['hits'] == pairs(second)
    assert told['tree'] == []
    longitude, latitude = index.table.frame.geometry.iloc[0].centroid.coords[0]
    assert at(index, longitude, latitude).frame['patch_id'].tolist() == [
        query.frame['patch_id'][0]
    ]


@pytest.mark.slow
def test_search_in_a_model(run: Run, archive: Path) -> None:
    """The next step gets the hits, and the step itself loads nothing."""
    search = {'ARCHIVE': str(archive), 'QUERY_POINT': '9.002,45.148', 'K': 3}
    told = run('model', search=search)
    index = RetrievalIndex(archive)
    assert told['hits'] == pairs(index.search(at(index, 9.002, 45.148), 3))
    assert told['tree'] == []


@pytest.mark.slow
def test_bad_input_is_one_sentence(run: Run, archive: Path, tmp_path: Path) -> None:
    point = {'ARCHIVE': str(archive), 'QUERY_POINT': '9.002,45.148', 'K': 2}
    layer = {'ARCHIVE': str(archive), 'K': 2}
    kept = tmp_path / 'kept.gpkg'
    kept.write_text('mine')
    cases: list[tuple[str, dict[str, Any], str]] = [
        ('search', {**point, 'ARCHIVE': ''}, 'nothing is given'),
        ('search', {**point, 'ARCHIVE': str(tmp_path)}, 'neither an archive nor'),
        ('search', layer, 'nothing to look for'),
        ('search', {**point, 'QUERY_POINT': '1,1'}, 'no patch covers 1,1'),
        ('search', {**point, 'WHERE': 'clod < 1'}, 'perhaps cloud'),
        ('search', {**layer, 'QUERY_LAYER': 'bare'}, 'table without geometry'),
        ('search', {**layer, 'QUERY_LAYER': 'lost'}, 'lost has no CRS'),
        ('search', {**layer, 'QUERY_LAYER': 'empty'}, 'no features to use'),
        ('search', {**layer, 'QUERY_LAYER': 'none selected'}, 'select some'),
        ('search', {**layer, 'QUERY_RASTER': 'web'}, 'web is not a file'),
        (
            'search',
            {**point, 'AREA': 'empty', 'EXTENT': '9,10,45,46 [EPSG:4326]'},
            'an extent or a layer, not both',
        ),
        ('search', {**point, 'OUTPUT': str(kept)}, 'is there already'),
        ('embed', {'CHECKPOINT': str(kept)}, 'nothing to embed'),
        ('embed', {'SCENES': str(tmp_path)}, 'give an encoder'),
        ('export', {}, 'an archive folder or a saved search'),
        ('changes', {'ARCHIVE': str(tmp_path)}, 'neither an archive nor'),
        ('index', {'ARCHIVE': str(tmp_path / 'no')}, 'check the path'),
        ('index', {}, 'nothing to index'),
        (
            'evaluate',
            {'QUERIES': str(archive), 'ARCHIVE': str(archive), 'RELEVANCE': 'x'},
            'relevance',
        ),
    ]
    runs = [[n, {'OUTPUT': 'TEMPORARY_OUTPUT', **p}] for n, p, _ in cases]
    told = run('sentences', archive=archive, runs=runs)['sentences']
    for (name, parameters, part), sentence in zip(cases, told, strict=False):
        assert sentence is not None, (name, parameters)
        assert part in sentence, (name, parameters)
        assert 'Traceback' not in sentence
        # Processing itself puts a line in front of what is found before a run.
        assert (
            len(sentence.removeprefix('Unable to execute algorithm\n').splitlines())
            == 1
        )
    assert 'does not start' in told[-1]
    assert 'Settings > Options' in told[-1]
    assert kept.read_text() == 'mine'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        (
            'echo "ModuleNotFoundError: nothing" >&2\nexit 1',
            'ModuleNotFoundError: nothing',
        ),
        ('exit 3', 'torchgeo-cmr ended with code 3'),
        ('kill -9 $$', 'torchgeo-cmr ended with code -9'),
        ('echo a note >&2\necho "torchgeo-cmr: a mistake" >&2\nexit 2', 'a mistake'),
        (
            'echo "torchgeo-cmr search: at postgresql://me:word@host/x" >&2\nexit 2',
            'at postgresql://me:***@host/x',
        ),
        (
            'echo "torchgeo-cmr: at postgresql:///x?password=word&user=me" >&2\nexit 2',
            'at postgresql:///x?password=***&user=me',
        ),
    ],
)
def test_a_program_that_fails(
    run: Run, archive: Path, tmp_path: Path, text: str, sentence: str
) -> None:
    """Its own sentence, else its last line, else its code; never a password."""
    program = tmp_path / 'torchgeo-cmr'
    program.write_text(f'#!/bin/sh\n{text}\n')
    program.chmod(0o755)
    address = 'postgresql://me:word@host/x'
    search = {'ARCHIVE': address, 'QUERY_POINT': '9,45', 'OUTPUT': 'TEMPORARY_OUTPUT'}
    (told,) = run('others', program=program, runs=[['search', search]])['runs']
    assert told['sentence'] == sentence
    assert 'postgresql://me:***@host/x' in told['told']['command'][0]


@pytest.mark.slow
def test_a_program_of_another_version(run: Run, archive: Path, tmp_path: Path) -> None:
    """It may not know what the plugin says to it."""
    text = (
        '#!/bin/sh\nif [ "$1" = --version ]; then echo torchgeo-cmr 0.0.9; exit; fi\n'
        'echo "torchgeo-cmr search: unrecognized arguments: --progress" >&2\nexit 2\n'
    )
    program = tmp_path / 'torchgeo-cmr'
    program.write_text(text)
    program.chmod(0o755)
    search = {
        'ARCHIVE': str(archive),
        'QUERY_POINT': '9,45',
        'OUTPUT': 'TEMPORARY_OUTPUT',
    }
    (told,) = run('others', program=program, runs=[['search', search]])['runs']
    assert told['sentence'] == (
        'unrecognized arguments: --progress (torchgeo-cmr is of version 0.0.9 and the plugin of '
        f'{__version__}: run torchgeo-cmr qgis-plugin --install and start QGIS anew, or choose '
        'another program)'
    )


@pytest.mark.slow
def test_cancel_stops_the_process_and_its_own(run: Run, tmp_path: Path) -> None:
    """Also one that a shell has started in the background, which hears no interrupt."""
    program = tmp_path / 'torchgeo-cmr'
    program.write_text(
        '#!/bin/sh\nsleep 300 &\n'
        f'echo $$ $! > "{tmp_path}/pids"\n'
        r"printf 'a note\n 10%%|#    | 1/10 [00:01<00:09, 1.0scene/s]\r' >&2"
        '\nwait\n'
    )
    program.chmod(0o755)
    told = run('cancelled', program=program)
    assert told['alive'] == []
    assert told['progress'] == 10
    assert told['sentence'].startswith('cancelled: torchgeo-cmr was stopped')
    assert told['seconds'] < 20
    assert told['told']['info'] == ['a note']
    assert told['told']['progress'] == ['1/10 [00:01<00:09, 1.0scene/s]']


@pytest.mark.slow
def test_a_deaf_program_is_killed(run: Run, tmp_path: Path) -> None:
    program = tmp_path / 'torchgeo-cmr'
    program.write_text(
        f'#!{sys.executable}\n'
        'import os, signal, sys, time\n'
        'for name in (signal.SIGINT, signal.SIGTERM):\n'
        '    signal.signal(name, signal.SIG_IGN)\n'
        f'open({str(tmp_path / "pids")!r}, "w").write(str(os.getpid()))\n'
        'sys.stderr.write(" 20%|##   | 2/10 [00:01<00:09]\\r")\n'
        'sys.stderr.flush()\n'
        'time.sleep(300)\n'
    )
    program.chmod(0o755)
    # It would hear neither in the seconds that the plugin gives.
    stops = [['SIGINT', 1], ['SIGTERM', 1]]
    told = run('cancelled', program=program, stops=stops)
    assert told['alive'] == []
    assert told['sentence'].startswith('cancelled')


@pytest.mark.slow
def test_index_changes_evaluate_export(
    run: Run, archive: Path, queries: Path, tmp_path: Path
) -> None:
    twice = EmbeddingTable.load(archive)
    day = pd.Timedelta('400D')
    shifted = twice.frame.assign(
        patch_id=[f'late:{name}' for name in twice.frame['patch_id']],
        time_start=twice.frame['time_start'] + day,
        time_end=twice.frame['time_end'] + day,
    )
    frame = gpd.GeoDataFrame(shifted)
    late = EmbeddingTable.from_frame(
        frame, twice.vectors[::-1], space='abc', modality='s2'
    )
    late.save(tmp_path / 'late')
    report = tmp_path / 'report.md'
    runs = [
        [
            'index',
            {
                'ARCHIVE': str(archive),
                'VECTORS': 'int8',
                'OUTPUT': str(tmp_path / 'index'),
            },
        ],
        [
            'search',
            {
                'ARCHIVE': str(tmp_path / 'index'),
                'QUERY_POINT': '9.002,45.148',
                'K': 2,
                'OUTPUT': str(tmp_path / 'hits.gpkg'),
            },
        ],
        [
            'changes',
            {
                'ARCHIVE': str(archive),
                'OTHERS': str(tmp_path / 'late'),
                'K': 5,
                'OUTPUT': str(tmp_path / 'changed.gpkg'),
            },
        ],
        [
            'evaluate',
            {
                'QUERIES': str(queries),
                'ARCHIVE': str(archive),
                'RELEVANCE': 'place',
                'K': '1\n5',
                'OUTPUT': str(report),
            },
        ],
        ['export', {'ARCHIVE': str(archive), 'OUTPUT': str(tmp_path / 'all.gpkg')}],
        [
            'export',
            {
                'SOURCE': str(tmp_path / 'hits.gpkg'),
                'HTML': True,
                'OUTPUT': str(tmp_path / 'again.geojson'),
            },
        ],
    ]
    told = run('others', runs=runs)
    assert [r.get('sentence') for r in told['runs']] == [None] * len(runs)
    groups = dict(told['tree'])
    assert {n: [x['name'] for x in g] for n, g in groups.items()} == {
        'again': ['again'],
        'all': ['footprints'],
        'changed': ['results'],
        'hits': ['query', 'results'],
    }
    assert groups['changed'][0]['count'] == 5
    assert groups['all'][0]['count'] == 36
    assert groups['again'][0]['renderer'] == 'graduatedSymbol'
    assert (tmp_path / 'again.html').exists()
    assert 'recall@5' in report.read_text()
    (words,) = [w for w in told['runs'][3]['told']['info'] if 'recall@5' in w]
    assert words == report.read_text()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small encoder of two sensors, as it is before training."""
    from lightning.pytorch import Trainer

    torch.manual_seed(0)
    task = SSCMRSIR(
        {'s1': 2, 's2': 3},
        model='test_resnet',
        output_dim=16,
        bands={'s1': ['VV', 'VH'], 's2': ['B02', 'B03', 'B04']},
        mean={'s1': [-12.0] * 2, 's2': [1000.0] * 3},
        std={'s1': [5.0] * 2, 's2': [500.0] * 3},
    )
    trainer = Trainer(accelerator='cpu', logger=False, enable_checkpointing=False)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / 'x.ckpt')
    return tmp_path / 'x.ckpt'


@pytest.mark.slow
def test_embed_and_search_with_a_raster(
    run: Run, checkpoint: Path, write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    """A raster without a CRS is refused, and the others are embedded and found."""
    optical = write_raster('s2/a.tif', bands=('B02', 'B03', 'B04'))
    write_raster('s2/b.tif', bands=('B02', 'B03', 'B04'), crs=None)
    radar = write_raster('s1/a.tif', bands=('VV', 'VH'), shape=(32, 32))
    archive, hits = tmp_path / 'made', tmp_path / 'hits.gpkg'
    common = {'CHECKPOINT': str(checkpoint), 'SIZE': 16}
    runs: list[Any] = [
        [
            'embed',
            {
                **common,
                'RASTERS': [str(optical)],
                'SCENES': str(tmp_path / 's2'),
                'MODALITY': 's2',
                'DEVICE': 'cpu',
                'OUTPUT': str(archive),
            },
        ],
        [
            'search',
            {
                **common,
                'ARCHIVE': str(archive),
                'QUERY_RASTER': str(radar),
                'QUERY_MODALITY': 's1',
                'UNITS': 'db',
                'K': 2,
                'OUTPUT': str(hits),
            },
        ],
    ]
    told = run('others', runs=runs)
    assert [r.get('sentence') for r in told['runs']] == [None, None]
    (warning,) = told['runs'][0]['told']['warning']
    assert '1 of 2 scenes were refused' in warning
    assert 'has no CRS' in warning
    assert Path(f'{archive}-report.json').exists()
    assert any('[' in line for line in told['runs'][0]['told']['progress'])
    table = EmbeddingTable.load(archive)
    assert len(table) == 16
    queries = embed(
        load_task(checkpoint), [str(radar)], 's1', 16, units='db', progress=False
    )
    truth = RetrievalIndex(table).search(queries, 2)
    assert read_search(hits).results['patch_id'].tolist() == truth['patch_id'].tolist()


@pytest.mark.slow
def test_embeddings_of_others_become_an_index(
    run: Run, archive: Path, tmp_path: Path
) -> None:
    table = EmbeddingTable.load(archive)
    theirs = table.frame[['geometry']].assign(vector=[*table.vectors])
    gpd.GeoDataFrame(theirs).to_parquet(tmp_path / 'theirs.parquet')
    given = {'SOURCE': str(tmp_path / 'theirs.parquet'), 'SPACE': 'x', 'ID': ''}
    told = run('others', runs=[['index', {**given, 'OUTPUT': str(tmp_path / 'index')}]])
    assert told['runs'][0].get('sentence') is None
    index = RetrievalIndex.open(tmp_path / 'index')
    assert (len(index), index.spaces) == (36, ('x',))


@pytest.mark.slow
def test_every_flag_is_one_of_the_command(run: Run) -> None:
    """Each algorithm writes only what the command line takes, and explains itself."""
    told = run('flags')
    assert set(told) == {'search', 'embed', 'index', 'changes', 'evaluate', 'export'}
    for name, algorithm in told.items():
        known = {argument.flag for argument in read_arguments(load_command(name))}
        assert set(algorithm['flags'].values()) <= known, name
        assert algorithm['help']
        assert algorithm['icon']
    assert len(told['search']['names']) > 40


@pytest.mark.slow
def test_the_page_of_the_options(run: Run, program: Path, tmp_path: Path) -> None:
    """Finds programs in folders of the user, and says whether a file is the program."""
    home = tmp_path / 'home'
    found = []
    for place in ('.local/bin', 'miniforge3/envs/eo/bin', 'work/.venv/bin'):
        path = home / place / 'torchgeo-cmr'
        path.parent.mkdir(parents=True)
        path.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
        path.chmod(0o755)
        found.append(str(path))
    for name, text in (
        ('other', '#!/bin/sh\necho other 1\n'),
        ('broken', 'x'),
        ('older', '#!/bin/sh\necho torchgeo-cmr 0.0.9\n'),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    told = run('program_page', home=home)
    assert told['found'] == [found[0], f'{found[0]} works: version {__version__}.']
    assert told['next'] == found[1]
    assert 'nowhere is not a file' in told['nowhere']
    assert 'other is another program' in told['other']
    assert (
        'older works: version 0.0.9. torchgeo-cmr is of version 0.0.9' in told['older']
    )
    assert f'and the plugin of {__version__}: run' in told['older']
    assert 'broken does not start' in told['broken']
    assert told['program'] == f'{program} works: version {__version__}.'
    assert told['kept'] == told['page'] == str(program)


@pytest.mark.slow
def test_more_like_this_and_search_again(
    run: Run, archive: Path, tmp_path: Path
) -> None:
    point = '9.002,45.148 [EPSG:4326]'
    extent = '9,9.0121,45.14,45.16 [EPSG:4326]'
    told = run('window', archive=archive, point=point, extent=extent)
    assert told['actions'] == [
        'Search an archive…',
        'More like this: click on a hit',
        'Search again with marked hits',
        'Options…',
    ]
    assert told['tool']
    index, where = RetrievalIndex(archive), Where((9, 45.14, 9.0121, 45.16))
    more = index.search(told['clicked'], 3, where)
    assert told['message'] == ''
    # Next to the group of the first search, not in it.
    (group, layers), (first_group, first_layers) = told['more']
    assert first_group == 'hits'
    assert len(first_layers) == 3
    assert group == 'Cross-modal retrieval (temporary)'
    assert layers[1]['hits'] == pairs(more)
    assert layers[1]['temporal']
    assert 'there is no patch at this place' in told['beside']
    assert 'choose the layer of results' in told['no layer']
    assert 'relevant' in told['no marks']
    assert told['unsaved']
    assert told['saved']
    assert told['message again'] == ''
    first = index.search(at(index, 9.002, 45.148), 3, where)
    assert first['patch_id'][1] == told['clicked']
    again = told['again'][0][1][1]['hits']
    # Nearer to what was marked as right.
    assert told['clicked'] == again[0][1]
    # A layer that this session has not found starts nothing.
    settings = {'ARCHIVE': str(archive), 'K': 3}
    assert told['dialogs'] == [
        ['torchgeo_cmr:search', {**settings, 'QUERY_PATCH': told['clicked']}],
        ['torchgeo_cmr:search', {**settings, 'REFINE': str(tmp_path / 'hits.gpkg')}],
    ]
    assert told['running'] == 0
    assert told['recorded'] == {'ARCHIVE': str(archive), 'K': 3}
    assert told['nothing recorded'] == {}
    assert told['left'] == [0, 0, True]
    assert not told['provider']
