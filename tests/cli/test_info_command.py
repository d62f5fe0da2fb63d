"""The verb info: archives, checkpoints and layers, in lines and as JSON."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from torchgeo_cmr.search import RetrievalIndex, describe_index
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, describe
from torchgeo_cmr.tasks import SSCMRSIR, describe_checkpoint


def test_an_archive_in_lines(run: Callable[..., Any], archive: Path) -> None:
    ran = run('info', archive)
    assert ran.code == 0
    lines = {
        line.split()[0]: line.split(maxsplit=1)[1] for line in ran.out.splitlines()
    }
    assert lines['kind'] == 'archive'
    assert lines['rows'] == '30'
    assert lines['modalities'] == 's2: 30'
    assert lines['undated'] == '2'
    assert lines['bounds'] == '-98.6, 29.55, -98.54, 29.6'
    assert lines['complete'] == 'yes'


def test_an_archive_as_json(run: Callable[..., Any], archive: Path) -> None:
    told = json.loads(run('info', archive, '--json').out)
    table = EmbeddingTable.load(archive)
    assert told == describe(archive)
    assert told['rows'] == len(table)
    assert told['time'][0].startswith('2024-01-01')
    assert told['bounds'] == pytest.approx(table.frame.total_bounds.tolist())
    assert told['crs'] == {'unknown': 30}
    assert told['columns'] == ['cloud']
    assert told['scenes'] == 1
    assert told['bytes'] == sum(p.stat().st_size for p in archive.glob('part-*'))
    assert 'sources' not in told['record']


def test_an_index(run: Callable[..., Any], archive: Path, tmp_path: Path) -> None:
    index = RetrievalIndex.build(archive, tmp_path / 'index', vectors='int8')
    index.delete(EmbeddingTable.load(archive).frame['patch_id'].iloc[3])
    told = json.loads(run('info', tmp_path / 'index', '--json').out)
    assert told == describe_index(tmp_path / 'index')
    assert (told['kind'], told['rows'], told['vectors']) == ('index', 30, ['int8'])
    assert told['deleted'] == 1
    assert told['approximate'] == []
    assert told['bytes'] > 30 * told['dim']
    assert run('info', tmp_path / 'index').out.startswith('kind')


def test_parts_are_counted_and_a_missing_one_is_told(
    tmp_path: Path, make: Callable[..., EmbeddingTable]
) -> None:
    sink = ParquetSink(tmp_path / 'a', {'space': 'abc', 'work_items': 3})
    table = make('s2', n=10)
    sink.commit('0', table.select(range(4)))
    sink.commit('1', table.select(range(4, 8)))
    told = describe(tmp_path / 'a')
    assert (told['parts'], told['planned'], told['complete']) == (2, 3, False)
    assert told['modalities'] == {'s2': 8}
    assert told['rows'] == 8
    sink.commit('2', table.select([8, 9]))
    assert describe(tmp_path / 'a')['complete'] is True


def test_an_archive_of_nothing(
    tmp_path: Path, make: Callable[..., EmbeddingTable]
) -> None:
    make(n=3).select([]).save(tmp_path / 'a')
    told = describe(tmp_path / 'a')
    assert (told['rows'], told['time'], told['bounds']) == (0, None, None)


def test_a_layer(run: Callable[..., Any], archive: Path, tmp_path: Path) -> None:
    layer = tmp_path / 'layer.gpkg'
    EmbeddingTable.load(archive).frame[['patch_id', 'geometry']].to_file(layer)
    told = json.loads(run('info', layer, '--json').out)
    assert (told['kind'], told['format'], told['rows']) == ('layer', 'GPKG', 30)
    assert told['crs'] == 'EPSG:4326'
    assert told['columns'] == ['patch_id']


def test_of_a_saved_search_its_results(
    run: Callable[..., Any], archive: Path, tmp_path: Path
) -> None:
    out = tmp_path / 'hits.gpkg'
    run('search', archive, '--query', archive, '-k', 2, '--out', out)
    told = json.loads(run('info', out, '--json').out)
    assert told['layer'] == 'results'
    assert told['rows'] == 2 * told['layers']['query']
    assert 'score' in told['columns']
    other = json.loads(run('info', f'{out}|layername=query', '--json').out)
    assert other['layer'] == 'query'
    assert other['rows'] == told['layers']['query']


def test_a_layer_of_geoparquet(
    run: Callable[..., Any], archive: Path, tmp_path: Path
) -> None:
    layer = tmp_path / 'layer.parquet'
    frame = EmbeddingTable.load(archive).frame[['patch_id', 'geometry']]
    for crs, shown in ((4326, 'EPSG:4326'), (32632, 'EPSG:32632')):
        moved = frame.to_crs(crs)
        moved.to_parquet(layer)
        told = json.loads(run('info', layer, '--json').out)
        assert (told['format'], told['rows'], told['crs']) == ('Parquet', 30, shown)
        assert told['bounds'] == pytest.approx(moved.total_bounds.tolist())
        assert told['columns'] == ['patch_id']
        assert 'patch_id' in run('info', layer).out
    layer.write_bytes(b'PAR1')
    assert 'is not an archive, a checkpoint or a layer' in run('info', layer).err


def test_a_checkpoint(tmp_path: Path) -> None:
    task = SSCMRSIR(
        in_channels={'s1': 2, 's2': 3},
        model='resnet10t',
        mean={'s1': [0.0, 1.0], 's2': [1.0, 2.0, 3.0]},
        std={'s1': [1.0, 1.0], 's2': [1.0, 1.0, 1.0]},
        bands={'s1': ['VV', 'VH'], 's2': ['B02', 'B03', 'B04']},
    )
    checkpoint: dict[str, Any] = {'state_dict': task.state_dict(), 'epoch': 4}
    task.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / 'best.ckpt')
    told = describe_checkpoint(tmp_path / 'best.ckpt')
    assert told['kind'] == 'checkpoint'
    assert told['task'] == 'SSCMRSIR'
    assert told['space'] == task.space
    assert told['epoch'] == 4
    assert told['modalities']['s2'] == {
        'bands': ['B02', 'B03', 'B04'],
        'mean': [1.0, 2.0, 3.0],
        'std': [1.0, 1.0, 1.0],
    }
    assert json.loads(json.dumps(told)) == told


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('nothing', 'name an archive, an index, a checkpoint or a layer'),
        ('folder', 'is not an archive'),
        ('x.ckpt', 'cannot be read as a checkpoint'),
        ('x.gpkg', 'is not an archive, a checkpoint or a layer'),
    ],
)
def test_what_is_nothing_is_one_line(
    refused: Callable[..., str], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / 'folder').mkdir()
    for broken in ('x.ckpt', 'x.gpkg'):
        (tmp_path / broken).write_bytes(b'nothing')
    assert message in refused('info', tmp_path / name)


@pytest.mark.slow
def test_archives_need_no_torch(program: Callable[..., Any], archive: Path) -> None:
    code = (
        'import sys; from torchgeo_cmr.main import main; '
        f'main(["info", {str(archive)!r}]); sys.exit("torch" in sys.modules)'
    )
    assert program('-c', code).returncode == 0


class TestOtherFiles:
    """Whatever a command writes can be explained."""

    @pytest.fixture
    def folder(
        self,
        run: Callable[..., Any],
        archive: Path,
        asking: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Path:
        monkeypatch.chdir(archive.parent)
        assert asking.parent == archive.parent
        for line in (
            'search archive --query queries -k 3 --where cloud<20 --out hits.gpkg --project',
            'align archive queries --out centred --using means.npz --method center',
            'hash archive --out codes --using sign.npz --kind sign',
            'export archive --out all.stac.json',
            'qgis-plugin --out plugin.zip',
        ):
            ran = run(*line.split())
            if ran.code and 'names different files' in ran.err:
                # Both archives have a scene of one name; each is aligned alone.
                ran = run(*line.replace(' queries', '').split())
            assert ran.code == 0, ran.err
        return archive.parent

    def test_each_has_its_facts(self, run: Callable[..., Any], folder: Path) -> None:
        def told(name: str) -> dict[str, Any]:
            ran = run('info', name, '--json')
            assert ran.code == 0, ran.err
            facts = json.loads(ran.out)
            assert facts['path'] == name
            assert facts['bytes'] == (folder / name).stat().st_size
            assert run('info', name).out.startswith('kind ')
            return facts

        search = told('hits.gpkg')['search']
        manifest = told('hits.json')
        assert manifest['kind'] == 'manifest'
        for facts in (search, manifest):
            assert facts['command'].startswith('torchgeo-cmr search archive --query ')
            assert (facts['queries'], facts['asked']) == (3, ['queries'])
            assert facts['archives'] == {'archive': 30}
            assert facts['filters'] == {'where': 'cloud<20'}
            assert (facts['k'], facts['hits'], facts['space']) == (3, 9, 'abc')
        assert told('hits.qgz') | {'bytes': 0} == {
            'kind': 'QGIS project',
            'layers': ['query', 'results'],
            'path': 'hits.qgz',
            'bytes': 0,
        }
        means = told('means.npz')
        assert (means['kind'], means['method'], means['dim']) == (
            'alignment',
            'center',
            8,
        )
        assert means['modalities']['s2'] == 'abc'
        sign = told('sign.npz')
        assert (sign['kind'], sign['method'], sign['bits']) == ('hash', 'sign', 8)
        assert describe(folder / 'codes')['spaces'] == [f'abc+{sign["name"]}']
        collection = told('all.stac.json')
        assert (collection['kind'], collection['items']) == ('STAC collection', 1)
        assert collection['bounds'] == pytest.approx([-98.6, 29.55, -98.54, 29.6])
        plugin = told('plugin.zip')
        assert (plugin['kind'], plugin['needs QGIS']) == ('plugin for QGIS', '3.22')

    def test_a_layer_of_others_has_no_search(
        self, run: Callable[..., Any], tmp_path: Path
    ) -> None:
        point = {'type': 'Point', 'coordinates': [9, 45]}
        feature = {'type': 'Feature', 'geometry': point, 'properties': {'a': 1}}
        for name in ('theirs.geojson', 'theirs.json'):
            (tmp_path / name).write_text(
                json.dumps({'type': 'FeatureCollection', 'features': [feature]})
            )
            facts = json.loads(run('info', tmp_path / name, '--json').out)
            assert (facts['kind'], facts['rows']) == ('layer', 1)
            assert 'search' not in facts

    @pytest.mark.parametrize(
        ('name', 'content', 'message'),
        [
            ('_archive.json', b'{}', 'belongs to the folder it is in: name '),
            ('a.npz', b'PK\x03\x04', 'cannot be read as an alignment or a hash'),
            ('a.zip', b'PK\x03\x04', 'is not a whole zip file'),
            ('a.qgz', b'', 'is not a whole zip file'),
            ('a.json', b'{"format": "torchgeo_cmr.search"', 'is broken'),
            ('b.json', b'{"type": "Collection"}', 'is broken'),
            ('c.json', b'{"a": 1}', 'is not an archive, a checkpoint or a layer'),
            ('d.json', b'{"a": 1}', 'as being in a supported file format.)'),
            ('a.html', b'<!doctype html>', 'open it in a browser'),
            ('a.tif', b'II*', 'open it in QGIS'),
        ],
    )
    def test_what_is_broken(
        self,
        refused: Callable[..., str],
        tmp_path: Path,
        name: str,
        content: bytes,
        message: str,
    ) -> None:
        (tmp_path / name).write_bytes(content)
        assert message in refused('info', tmp_path / name)

    def test_a_zip_that_grows(
        self, refused: Callable[..., str], tmp_path: Path
    ) -> None:
        with zipfile.ZipFile(tmp_path / 'a.qgz', 'w', zipfile.ZIP_DEFLATED) as file:
            file.writestr('a.qgs', b'\0' * (1 << 25))
        assert 'has more than' in refused('info', tmp_path / 'a.qgz')

    def test_names_of_layers_do_not_move_the_cursor(
        self, run: Callable[..., Any], tmp_path: Path
    ) -> None:
        with zipfile.ZipFile(tmp_path / 'a.qgz', 'w') as file:
            file.writestr('a.qgs', '<layername>a&amp;b\x1b[2J</layername>')
        out = run('info', tmp_path / 'a.qgz').out
        assert 'a&b\\x1b[2J' in out
        assert '\x1b' not in out


def test_of_a_folder_around_an_archive(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    """The folder of a demo is easily taken for its archive."""
    inside = tmp_path / 'demo' / 'archive'
    inside.mkdir(parents=True)
    (inside / '_archive.json').write_text('{}')
    for words in (
        ('info', tmp_path / 'demo'),
        ('search', tmp_path / 'demo', '--query', '1,2'),
    ):
        assert f'perhaps {inside} is meant' in refused(*words)
