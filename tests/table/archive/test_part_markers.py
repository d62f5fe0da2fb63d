"""A part that is removed is missed, whatever the history of its archive; and no other is."""

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from torchgeo_cmr.drafts import stamp
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.main import main
from torchgeo_cmr.search import RetrievalIndex, load_archive, open_archives
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, describe, verify_archive
from torchgeo_cmr.table.archive.completeness import missing_parts
from torchgeo_cmr.table.archive.folder import part_name, read_header
from torchgeo_cmr.table.archive.replacement import begin_replacement, replace_archive


def make(name: str) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{name}:0', f'{name}:1'], 'source': name, 'modality': 's2'},
        geometry=shapely.box([0, 1], 0, [1, 2], 1),
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, [[1, 0], [0, 1]], space='abc')


def commit(folder: Path, *keys: str) -> ParquetSink:
    sink = ParquetSink(folder, {'space': 'abc'})
    for key in keys:
        sink.commit(key, make(key))
    return sink


def never_finished(folder: Path) -> str:
    commit(folder, *'abc')
    return 'abc'


def finished(folder: Path) -> str:
    commit(folder, *'abc').finish()
    return 'abc'


def updated(folder: Path) -> str:
    """A run that was complete, and a later one that was stopped."""
    finished(folder)
    commit(folder, *'bd')
    return 'abcd'


def updated_and_finished(folder: Path) -> str:
    updated(folder)
    commit(folder, 'e').finish()
    return 'abcde'


def pruned(folder: Path) -> str:
    """Parts went of a run that was complete and of one that was stopped, and one came again."""
    updated(folder)
    ParquetSink(folder, {'space': 'abc'}).remove(*'abd')
    commit(folder, 'b')
    return 'bc'


def pruned_and_finished(folder: Path) -> str:
    pruned(folder)
    commit(folder).finish()
    return 'bc'


def replaced(folder: Path) -> str:
    """Built next to an archive that it replaces."""
    finished(folder)
    building = begin_replacement(folder)
    commit(building, *'xy').finish()
    replace_archive(building, folder)
    return 'xy'


_RANK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_part_markers import commit
commit(Path(sys.argv[2]), *sys.argv[3])
"""


def divided(folder: Path) -> str:
    """Two processes at once, of which none says that all is there."""
    tests = str(Path(__file__).parent)
    ranks = [
        subprocess.Popen([sys.executable, '-c', _RANK, tests, str(folder), keys])
        for keys in ('ace', 'bdf')
    ]
    assert [rank.wait(120) for rank in ranks] == [0, 0]
    return 'abcdef'


def continued(folder: Path) -> str:
    """Begun by a version without markers: what it wrote is not known of, what follows is."""
    commit(folder, *'ab')
    for marker in folder.glob('_part-*'):
        marker.unlink()
    commit(folder, 'c')
    return 'c'


HISTORIES = [
    never_finished,
    finished,
    updated,
    updated_and_finished,
    pruned,
    pruned_and_finished,
    replaced,
    divided,
    continued,
]


@pytest.mark.slow
@pytest.mark.parametrize('history', HISTORIES)
def test_each_part_is_missed_when_it_is_removed(
    tmp_path: Path, history: Callable[[Path], str]
) -> None:
    folder = tmp_path / 'a'
    known = history(folder)
    rows = len(EmbeddingTable.load(folder))
    assert describe(folder)['missing'] == []
    assert not [f for f in verify_archive(folder) if f.fault]
    for key in known:
        part = folder / part_name(key)
        whole = part.read_bytes()
        part.unlink()
        sentence = f'lacks {part.name}, written and then removed; copy it'
        with pytest.raises(ArchiveError, match=sentence):
            EmbeddingTable.load(folder)
        with pytest.warns(UserWarning, match=sentence):
            summary = describe(folder)
        assert (summary['missing'], summary['complete']) == ([part.name], False)
        faults = [f for f in verify_archive(folder) if f.fault]
        assert [(Path(f.file), f.fault) for f in faults] == [(part, 'it is missing')]
        part.write_bytes(whole)
    assert len(EmbeddingTable.load(folder)) == rows
    # The same run again writes what is missing; then the header alone knows.
    (folder / part_name(known[0])).unlink()
    again = commit(folder)
    assert known[0] not in again.done()
    again.commit(known[0], make(known[0]))
    again.finish()
    assert len(EmbeddingTable.load(folder)) == rows
    assert not [*folder.glob('_part-*'), *folder.glob('.*')]


def test_an_archive_written_at_once_misses_its_part(tmp_path: Path) -> None:
    folder = make('a').save(tmp_path / 'a')
    assert sorted(p.name[:5] for p in folder.iterdir()) == ['_arch', 'part-']
    next(folder.glob('part-*')).unlink()
    sentence = 'holds 0 of 2 rows: a part file is missing; write the archive again'
    with pytest.raises(ArchiveError, match=sentence):
        EmbeddingTable.load(folder)
    with pytest.raises(ArchiveError, match=sentence):
        EmbeddingTable.load_parts(folder)
    with pytest.raises(ArchiveError, match=sentence):
        load_archive(folder, 'postgresql://nowhere.invalid/gis')
    with pytest.warns(UserWarning, match=sentence):
        assert describe(folder)['complete'] is False


def test_commands_say_what_is_missing_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    never_finished(Path('a'))
    RetrievalIndex.build('a', 'before')
    (tmp_path / 'a' / part_name('b')).unlink()
    lacks = f'a lacks {part_name("b")}, written and then removed; '
    for words in (
        'search a --query a:0 --out h.csv',
        'index a --out i',
        'load a postgresql://nowhere.invalid/gis',
    ):
        assert main(words.split()) == 2
        error = capsys.readouterr().err
        assert lacks in error
        assert 'run the command that embedded it again' in error
    with pytest.raises(ArchiveError, match=lacks):
        open_archives('a')
    with pytest.raises(ArchiveError, match=lacks):
        RetrievalIndex.open('before', 'a')
    with warnings.catch_warnings(action='default'):
        assert main(['info', 'a']) == 0
    out, error = capsys.readouterr()
    assert lacks in error
    lines = out.splitlines()
    assert [line.split() for line in lines if line.startswith('missing')] == [
        ['missing', part_name('b')]
    ]
    assert main(['check', 'a']) == 1
    assert f'{part_name("b")}: it is missing' in capsys.readouterr().out
    (tmp_path / 'a' / part_name('c')).unlink()
    with pytest.raises(
        ArchiveError, match=r'parquet and 1 more, written and then removed'
    ):
        EmbeddingTable.load('a')


def test_a_part_that_never_got_its_name_is_not_missed(tmp_path: Path) -> None:
    """Its writer was killed between the marker and the name; the next one clears up."""
    folder = tmp_path / 'a'
    commit(folder, 'a')
    draft = f'.{stamp()}'.rsplit('-', 3)[0] + '-99999999-1-0'
    (folder / draft).write_bytes(b'PAR1')
    marker = folder / f'_{part_name("b")}{draft}'
    marker.touch()
    assert len(EmbeddingTable.load(folder)) == 2
    commit(folder, 'b')
    assert not marker.exists()
    assert not (folder / draft).exists()
    (folder / part_name('b')).unlink()
    with pytest.raises(ArchiveError, match='lacks part-b-'):
        EmbeddingTable.load(folder)


@pytest.mark.slow
def test_a_writer_at_work_raises_no_alarm(tmp_path: Path) -> None:
    """Parts come, are written anew, are dropped and listed, while others look."""
    folder = tmp_path / 'a'
    commit(folder, 'a')
    done = threading.Event()

    def work() -> None:
        try:
            for _ in range(12):
                sink = commit(folder, *'bcb')
                sink.finish()
                sink.remove(*'bc')
        finally:
            done.set()

    writer = threading.Thread(target=work)
    writer.start()
    looks = 0
    while not done.is_set():
        assert missing_parts(folder, read_header(folder)) == []
        looks += 1
    writer.join()
    assert looks > 20
    assert len(EmbeddingTable.load(folder)) == 2
