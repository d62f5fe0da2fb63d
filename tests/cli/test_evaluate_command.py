"""The verb evaluate: two archives and a rule, a report as text and as files."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from torchgeo_cmr.evaluate import PROTOCOLS, Protocol, feature_report, make_report
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]
type Make = Callable[..., EmbeddingTable]


@pytest.fixture(scope='module')
def _both(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tables = [
        replace(make(name, seed=i), record={}) for i, name in enumerate(('s1', 's2'))
    ]
    one = EmbeddingTable.concat(tables)
    frame = one.frame.copy()
    kinds = [['a'], ['a', 'b'], ['b', 'c']]
    frame.insert(0, 'kind', [kinds[i % 3] for i in range(len(frame))])
    made = EmbeddingTable.from_frame(frame, one.vectors)
    return made.save(tmp_path_factory.mktemp('evaluated') / 'both')


@pytest.fixture
def both(_both: Path, tmp_path: Path) -> Path:
    """Two sensors over the same thirty places, with labels, as one archive."""
    return Path(shutil.copytree(_both, tmp_path / 'both'))


def test_markdown_on_the_terminal(run: Run, asking: Path, archive: Path) -> None:
    ran = run('evaluate', asking, archive, '--relevance', 'place', '--k', '3')
    assert (ran.code, ran.err) == (0, '')
    tables = [EmbeddingTable.load(folder) for folder in (asking, archive)]
    assert ran.out == make_report(*tables, relevance='place', k=[3]).to_markdown()
    assert '## s1->s2' in ran.out
    assert '| recall@3 | ' in ran.out


def test_every_option_reaches_the_report(run: Run, both: Path, tmp_path: Path) -> None:
    table = EmbeddingTable.load(both)
    table.frame.iloc[:3].to_file(tmp_path / 'train.gpkg')
    table.frame.iloc[:12][['patch_id', 'geometry']].to_file(tmp_path / 'regions.gpkg')
    out = tmp_path / 'new' / 'report.json', tmp_path / 'report.md'
    words = (
        '--relevance jaccard:kind>=0.5 --directions s1->s2 --directions s2->s2 --k 5 --k 10 '
        '--metric f1@k --metric map --exclude-self none --bootstrap 50 --seed 3 --block 3000 '
        f'--by class --by region --regions {tmp_path}/regions.gpkg '
        f'--train-area {tmp_path}/train.gpkg --train-metres 100 '
        f'--out {out[0]} --out {out[1]}'
    )
    ran = run('evaluate', both, both, *words.split())
    told = ''.join(f'{path}: 2 directions\n' for path in out)
    assert ran == (0, told, '')
    data = json.loads(out[0].read_text())
    assert data['relevance'].startswith('Jaccard index of the labels at least 0.5')
    assert [*data['directions']] == ['s1->s2', 's2->s2']
    found = data['directions']['s1->s2']
    assert [*found['scores']] == ['f1@5', 'f1@10', 'map']
    assert {*found['by']} == {'class', 'region'}
    assert {*found['leak']} == {'metres', 'k', 'queries', 'gallery', 'hits'}
    assert data['bootstrap'] == {
        'draws': 50,
        'resampled': 'blocks of ground',
        'metres': 3000.0,
    }
    assert data['seed'] == 3
    assert data['protocol']['exclude_self'] == 'none'
    assert '| f1@10 |' in out[1].read_text()


def test_one_split(run: Run, both: Path, tmp_path: Path) -> None:
    table = EmbeddingTable.load(both)
    split = np.where(np.arange(len(table)) % 3, 'test', 'train')
    frame = table.frame.copy()
    frame.insert(0, 'split', split)
    EmbeddingTable.from_frame(frame, table.vectors).save(tmp_path / 'pairs')
    out, pairs = tmp_path / 'r.json', tmp_path / 'pairs'
    words = ['evaluate', pairs, pairs, '--relevance', 'place', '--out', out]
    ran = run(*words)
    assert (ran.code, ran.out) == (0, f'{out}: 4 directions\n')
    assert 'are rows of training (train 20, test 40), and all count' in ran.err
    ran = run(*words, '--overwrite', '--split', 'test')
    assert (ran.code, ran.err) == (0, '')
    assert sum(json.loads(out.read_text())['counts']['queries'].values()) == 40


def test_published_distance(run: Run, both: Path, tmp_path: Path) -> None:
    table = EmbeddingTable.load(both)
    raw = np.abs(np.random.default_rng(0).normal(size=(len(table), 5)))
    raw[[0, 3]] = 0
    frame = table.frame.copy()
    frame.insert(0, 'raw', list(raw))
    folder = EmbeddingTable.from_frame(frame, table.vectors).save(tmp_path / 'raw')
    out = tmp_path / 'report.json'
    words = (
        '--relevance label:kind --distance chi_square --features raw --metric ndcg@k'
    )
    assert run('evaluate', folder, folder, *words.split(), '--out', out).code == 0
    data = json.loads(out.read_text())
    loaded = EmbeddingTable.load(folder)
    expected = feature_report(
        loaded,
        loaded,
        relevance='label:kind',
        column='raw',
        protocol=Protocol(similarity='chi_square'),
        metrics=['ndcg@k'],
    )
    assert data == json.loads(expected.to_json())
    assert data['counts']['zero features'] == {'queries': 2, 'archive': 2}
    assert data['protocol']['similarity'] == 'chi_square'
    assert data['notes'] == []


@pytest.mark.parametrize(
    'rule', ['place', 'near:1', 'label:kind', 'exact:kind', 'distance:2000']
)
def test_rules(run: Run, both: Path, rule: str) -> None:
    ran = run('evaluate', both, both, '--relevance', rule, '--directions', 'cross')
    assert ran.code == 0, ran.err
    assert ran.out.count('## s') == 2


def test_label_raster(run: Run, both: Path, tmp_path: Path) -> None:
    boxes = EmbeddingTable.load(both).boxes
    west, north = boxes[:, 0].min() - 0.01, boxes[:, 3].max() + 0.01
    classes = np.ones((90, 90), np.uint8)
    classes[:, 40:] = 2
    (tmp_path / 'maps').mkdir()
    with rasterio.open(
        tmp_path / 'maps' / 'cover.tif',
        'w',
        driver='GTiff',
        width=90,
        height=90,
        count=1,
        dtype='uint8',
        crs='EPSG:4326',
        transform=from_origin(west, north, 0.001, 0.001),
    ) as file:
        file.write(classes, 1)
    out = tmp_path / 'report.json'
    rule = f'raster:{tmp_path}/maps/*.tif'
    words = ('--relevance', rule, '--directions', 's1->s2', '--by', 'class')
    assert run('evaluate', both, both, *words, '--out', out).code == 0
    data = json.loads(out.read_text())
    groups = data['directions']['s1->s2']['by']['class']
    # the border lies between the third and the fourth of six columns
    assert {name: group['queries'] for name, group in groups.items()} == {
        '1': 15,
        '2': 15,
    }
    assert 'cover.tif' in data['relevance'] or '*.tif' in data['relevance']


def test_layers_of_regions_and_training_ground(
    run: Run, refused: Refused, both: Path, tmp_path: Path
) -> None:
    frame = EmbeddingTable.load(both).frame[['patch_id', 'geometry']]
    file = tmp_path / 'places.gpkg'
    frame.iloc[:3].to_file(file, layer='few')
    frame.to_file(file, layer='all')
    words = ['evaluate', both, both, '--relevance', 'place', '--by', 'region']
    line = refused(*words, '--regions', file)
    assert f'places.gpkg has 2 layers, few, all; name one: {file}|layername=all' in line
    named = (
        '--regions',
        f'{file}|layername=few',
        '--train-area',
        f'{file}|layername=all',
    )
    ran = run(*words, *named)
    assert ran.code == 0, ran.err
    assert '| elsewhere |' in ran.out
    frame.assign(geometry=frame.boundary).to_file(file, layer='few')
    assert 'no polygon: it holds LineString, which cover' in refused(*words, *named)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--relevance same', "'same' is not a rule of relevance: write place"),
        ('--relevance label:no', "have no column 'no': found patch_id"),
        ('--relevance raster:gone.tif', 'gone.tif names no raster'),
        ('--relevance place --k 0', 'give whole numbers of at least 1'),
        ('--relevance place --metric f1@k', 'f1@k needs labels'),
        ('--relevance place --metric ndcg@k', 'ndcg@k needs graded relevance'),
        (
            '--relevance place --distance chi2',
            "'chi2' is not a distance: choose one of",
        ),
        ('--relevance place --features raw', "there is no column 'raw' of features"),
        ('--relevance place --protocol dsrsid', 'judges by label, not by ground'),
        ('--relevance place --protocol new', "there is no protocol 'new'"),
        (
            '--relevance place --directions s3->s1',
            "'s3->s1' is not a direction of these tables",
        ),
        ('--relevance place --exclude-self me', "'me' is not one of same_modality"),
        ('--relevance place --train-area gone.gpkg', 'gone.gpkg is not there'),
        ('--relevance place --regions gone.gpkg', 'gone.gpkg is not there'),
        (
            '--relevance place --out {t}/a.csv',
            'has the suffix .csv: a report is written',
        ),
        ('--relevance place --out {t}/old.md', 'old.md is there already'),
        ('--relevance place --out a.md --out a.md', 'a.md is named twice as output'),
        ('', 'arguments are required: --relevance'),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    refused: Refused, both: Path, tmp_path: Path, words: str, message: str
) -> None:
    (tmp_path / 'old.md').write_text('mine')
    before = sorted(tmp_path.rglob('*'))
    assert message in refused('evaluate', both, both, *words.format(t=tmp_path).split())
    assert sorted(tmp_path.rglob('*')) == before
    assert (tmp_path / 'old.md').read_text() == 'mine'


def test_other_weights(
    refused: Refused, make: Make, both: Path, tmp_path: Path
) -> None:
    make('s1', space='other').save(tmp_path / 'other')
    line = refused('evaluate', tmp_path / 'other', both, '--relevance', 'place')
    assert 'embedded with different weights' in line


def test_overwrite(run: Run, asking: Path, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / 'a.md'
    out.write_text('old')
    words = ('evaluate', asking, archive, '--relevance', 'place', '--out', out)
    assert run(*words, '--overwrite').code == 0
    assert out.read_text().startswith('# Evaluation')


@pytest.mark.slow
def test_never_loads_torch(program: Run, asking: Path, archive: Path) -> None:
    code = (
        'import sys\n'
        'from torchgeo_cmr.main import main\n'
        'assert main(sys.argv[1:]) == 0\n'
        "bad = {'torch', 'torchgeo', 'matplotlib'} & set(sys.modules)\n"
        'assert not bad, bad\n'
    )
    words = ('evaluate', asking, archive, '--relevance', 'place')
    done = program('-c', code, *words)
    assert done.returncode == 0, done.stderr


def test_help(run: Run) -> None:
    ran = run('evaluate', '--help')
    assert (ran.code, ran.err) == (0, '')
    told = ' '.join(ran.out.split())
    assert told.startswith('usage: torchgeo-cmr evaluate ')
    for option in (
        '--relevance',
        '--bootstrap',
        '--train-area',
        '--directions',
        '--out',
    ):
        assert option in told


def test_help_and_guide_list_every_protocol(run: Run) -> None:
    # a long name may be cut at its hyphens
    text = ' '.join(run('evaluate', '--help').out.split()).replace('- ', '-')
    guide = Path(__file__).parents[2] / 'docs' / 'user' / 'evaluation.md'
    for name in PROTOCOLS:
        assert name in text
        assert f'| `{name}` |' in guide.read_text()
