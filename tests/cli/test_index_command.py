"""The verb index: what it makes answers as the archive does, and what it changes is changed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from torchgeo_cmr.search import RetrievalIndex, describe_index
from torchgeo_cmr.table import EmbeddingTable

type Run = Callable[..., Any]
type Refused = Callable[..., str]
type Make = Callable[..., EmbeddingTable]


def name(i: int, prefix: str = 's2') -> str:
    return f'{prefix}:scene.tif:0_{32 * i}_32x32'


@pytest.mark.parametrize('kind', ['float32', 'int8', 'binary'])
def test_an_index_answers_as_its_archive(
    run: Run, archive: Path, asking: Path, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / 'index'
    ran = run('index', archive, '--out', path, '--vectors', kind)
    assert (ran.code, ran.out, ran.err) == (0, f'{path}: 30 rows\n', '')
    assert describe_index(path)['vectors'] == [kind]
    RetrievalIndex.open(path, archive)  # refuses an index of another archive
    words = ['--query', asking, '--within', '-98.6,29.55,-98.56,29.6', '-k', 7]
    assert run('search', path, *words).out == run('search', archive, *words).out
    # An index can ask as well.
    run('index', asking, '--out', tmp_path / 'asking')
    words[1] = tmp_path / 'asking'
    assert run('search', path, *words).out == run('search', archive, *words).out


def test_an_approximate_part(run: Run, make: Make, tmp_path: Path) -> None:
    archive = make(n=300).save(tmp_path / 'archive')
    words = ['--approximate', 'rabitq', '--approximate', 'ivf', '--recall', 0.9]
    assert run('index', archive, '--out', tmp_path / 'index', *words).code == 0
    assert describe_index(tmp_path / 'index')['approximate'] == ['ivf', 'rabitq']
    ask = ['--query', name(3), '--approximate']
    assert run('search', tmp_path / 'index', *ask).code == 0


@pytest.mark.parametrize('recall', ['95', '0', 'nan'])
def test_a_recall_is_a_share_whether_it_is_used_or_not(
    refused: Refused, archive: Path, tmp_path: Path, recall: str
) -> None:
    out = tmp_path / 'index'
    for words in ((), ('--approximate', 'ivf')):
        line = refused('index', archive, '--out', out, '--recall', recall, *words)
        assert 'give a share above 0, at most 1' in line
        assert not out.exists()


def test_several_archives_become_one(
    run: Run, archive: Path, asking: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'index'
    assert run('index', archive, asking, '--out', path).out == f'{path}: 33 rows\n'
    words = ['--query', name(3), '-k', 40]
    both = run('search', archive, asking, *words).out
    assert run('search', path, *words).out == both
    # And what was changed much is built anew from itself.
    run('index', '--out', path, '--delete', name(4))
    ran = run('index', path, '--out', path, '--overwrite')
    assert ran.out == f'{path}: 32 rows\n'
    assert describe_index(path)['parts'] == 1


def test_rows_come_and_go(run: Run, archive: Path, make: Make, tmp_path: Path) -> None:
    path = tmp_path / 'index'
    new = replace(make('s1', n=3, seed=1), record={}).save(tmp_path / 'new')
    run('index', archive, '--out', path)
    words = ['--delete', name(4), '--delete', name(5)]
    words += ['--delete-where', 'cloud >= 20 and cloud < 23']
    ran = run('index', new, '--out', path, '--append', *words)
    assert ran.out == f'{path}: 28 rows, 5 deleted, 3 added\n'
    left = set(RetrievalIndex.open(path).table.frame['patch_id'])
    gone = {name(i) for i in (4, 5, 20, 21, 22)}
    every = set(EmbeddingTable.load(archive).frame['patch_id'])
    assert left == every - gone | {name(i, 's1') for i in range(3)}
    ran = run('index', '--out', path, '--delete-where', 'cloud > 1000')
    assert ran.out == f'{path}: 28 rows, 0 deleted, 0 added\n'


class TestEmbeddingsOfOthers:
    """Parquet files that this program has not written."""

    @pytest.fixture
    def theirs(self, tmp_path: Path) -> Path:
        lon = [9.0, 9.1, 9.2]
        frame = pd.DataFrame({'id': [7, 8, 9], 'lon': lon, 'lat': 45.0})
        frame['embedding'] = [[3.0, 4.0], [0.0, 2.0], [4.0, 3.0]]
        frame.to_parquet(tmp_path / 'theirs.parquet')
        return tmp_path / 'theirs.parquet'

    def test_an_index_that_is_searched(
        self, run: Run, theirs: Path, tmp_path: Path
    ) -> None:
        index = tmp_path / 'index'
        options = ['--metres', 320, '--space', 'x', '--modality', 's2']
        ran = run('index', theirs, '--out', index, *options)
        assert (ran.code, ran.out) == (0, f'{index}: 3 rows\n')
        assert ran.err == (
            '3 vectors of 2 numbers, vector: embedding; geometry: lon, lat; patch_id: id\n'
            '3 vectors were not of length 1 and were scaled to it\n'
        )
        made = RetrievalIndex.open(index)
        assert made.table.frame.geom_type.eq('Polygon').all()
        hits = made.search('7', k=2)
        assert hits['patch_id'].tolist() == ['9', '8']
        assert hits['score'].round(2).tolist() == [0.96, 0.8]

    def test_only_an_area_and_added_to_an_index(
        self, run: Run, theirs: Path, tmp_path: Path
    ) -> None:
        index = tmp_path / 'index'
        run('index', theirs, '--out', index, '--within', '9.05,44,9.15,46')
        assert RetrievalIndex.open(index).table.frame['patch_id'].tolist() == ['8']
        folder = tmp_path / 'more'
        folder.mkdir()
        theirs.rename(folder / theirs.name)
        words = ['--append', '--id-column', '', '--scale', 0.5]
        ran = run('index', folder, '--out', index, *words)
        assert ran.out == f'{index}: 4 rows, 0 deleted, 3 added\n'

    def test_mistakes(
        self, refused: Refused, theirs: Path, archive: Path, tmp_path: Path
    ) -> None:
        out = ['--out', tmp_path / 'index']
        said = refused('index', theirs, *out, '--vector-column', 'v')
        assert 'no column v' in said
        assert 'embedding (list<' in said
        said = refused('index', theirs, *out, '--geometry-column', 'id')
        assert 'does not state the CRS of id: give it, such as --crs' in said
        said = refused('index', archive, *out, '--metres', 320)
        assert '--metres is for Parquet files of others' in said
        assert '--within 1,2 is not a box' in refused(
            'index', theirs, *out, '--within', '1,2'
        )
        assert not (tmp_path / 'index').exists()


class TestMistakes:
    def test_nothing_is_named(self, refused: Refused, tmp_path: Path) -> None:
        assert 'name an archive folder' in refused('index', '--out', tmp_path / 'i')

    def test_what_is_there_stays(
        self, run: Run, refused: Refused, archive: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / 'index'
        run('index', archive, '--out', path)
        assert 'is there already' in refused('index', archive, '--out', path)
        told = refused('index', archive, '--out', archive, '--overwrite')
        assert 'is not an index, so it is not replaced' in told
        assert len(EmbeddingTable.load(archive)) == 30

    @pytest.mark.parametrize(
        ('words', 'told'),
        [
            (['--append'], 'name at least one'),
            (['ARCHIVE', '--delete', 'x'], '--append adds it'),
            (['ARCHIVE', '--append'], 'is in the index already'),
            (['--delete', 'x'], "no patch_id 'x'"),
            (['--delete-where', 'cloudy > 1'], 'cloudy'),
            (['--delete', 'x', '--vectors', 'int8'], 'build it again'),
            (['--delete', 'x', '--overwrite'], 'build it again'),
        ],
    )
    def test_changes_that_do_not_fit(
        self,
        run: Run,
        refused: Refused,
        archive: Path,
        tmp_path: Path,
        words: list[str],
        told: str,
    ) -> None:
        run('index', archive, '--out', tmp_path / 'index')
        given = [str(archive) if word == 'ARCHIVE' else word for word in words]
        assert told in refused('index', '--out', tmp_path / 'index', *given)
        assert len(RetrievalIndex.open(tmp_path / 'index')) == 30

    def test_a_kind_that_is_not_known(
        self, refused: Refused, archive: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / 'index'
        assert 'int4' in refused('index', archive, '--out', path, '--vectors', 'int4')
        assert 'tree' in refused(
            'index', archive, '--out', path, '--approximate', 'tree'
        )
        assert not path.exists()


@pytest.mark.parametrize(
    'words',
    [
        ['index', 'ARCHIVE', '--out', 's3://bucket/index'],
        [
            'search',
            'ARCHIVE',
            '--query',
            name(3),
            '--out',
            'https://a.example/h.geojson',
        ],
        ['export', 'ARCHIVE', '--out', 'gs://bucket/a.stac.json'],
    ],
)
def test_nothing_is_written_to_an_address(
    refused: Refused,
    archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    said = refused(*(str(archive) if word == 'ARCHIVE' else word for word in words))
    assert f'{words[-1]} is an address' in said
    assert not [*(tmp_path / 'work').iterdir()]
