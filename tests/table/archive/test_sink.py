"""ParquetSink: whole parts or none, whatever happens to the writer."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from torchgeo_cmr.drafts import stamp
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, read_header, verify_archive
from torchgeo_cmr.table.archive.folder import part_name

type Make = Callable[..., EmbeddingTable]


def test_parts_load_in_the_order_of_their_keys(make: Make, tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / 'a', {'space': 'abc', 'record': {'model': 'm'}})
    assert not (tmp_path / 'a').exists()
    assert sink.done() == set()
    for key in ('T33/b', 'T32/ü x', 'T32/a'):
        sink.commit(key, make(key))
    assert sink.done() == {'T33/b', 'T32/ü x', 'T32/a'}
    table = EmbeddingTable.load(tmp_path / 'a')
    assert table.frame['source'].unique().tolist() == sorted(
        ['T33/b', 'T32/ü x', 'T32/a']
    )
    assert set(table.record['sources']) == {'T33/b', 'T32/ü x', 'T32/a'}
    assert table.record['model'] == 'm'
    assert len(table) == 9


def test_rows_keep_their_order_inside_a_part(make: Make, tmp_path: Path) -> None:
    table = make('x', 40)
    ParquetSink(tmp_path / 'a', {}).commit('x', table)
    loaded = EmbeddingTable.load(tmp_path / 'a')
    assert loaded.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
    assert loaded.vectors.tobytes() == table.vectors.tobytes()


def test_parts_say_what_they_were_made_of(make: Make, tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / 'a', {})
    sink.commit('x', make('x'), fingerprint='1234')
    sink.commit('y', make('y'))
    assert sink.fingerprints() == {'x': '1234', 'y': None}
    sink.remove('x')
    sink.remove('never there')
    assert sink.done() == {'y'}


def test_facts_to_be_replaced_change_when_all_is_done(
    make: Make, tmp_path: Path
) -> None:
    ParquetSink(tmp_path / 'a', {'size': 1, 'scenes': 'old'}).commit('x', make('x'))
    with pytest.raises(ArchiveError, match=r'with scenes = "old" .*; update it, name'):
        ParquetSink(tmp_path / 'a', {'size': 1, 'scenes': 'new'})
    with pytest.raises(ArchiveError, match='begun with size = 1 and not 2; name'):
        ParquetSink(tmp_path / 'a', {'size': 2, 'scenes': 'new'}, replacing=['scenes'])
    sink = ParquetSink(
        tmp_path / 'a', {'size': 1, 'scenes': 'new'}, replacing=['scenes']
    )
    sink.commit('y', make('y'))
    # Killed here, it is still the archive of the old scenes.
    assert read_header(tmp_path / 'a')['scenes'] == 'old'
    sink.finish()
    header = read_header(tmp_path / 'a')
    assert (header['scenes'], header['dim'], header['size']) == ('new', 4, 1)
    assert len(EmbeddingTable.load(tmp_path / 'a')) == 6


def test_commit_twice_leaves_one_part(make: Make, tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / 'a', {})
    sink.commit('x', make('x'))
    ParquetSink(tmp_path / 'a', {}).commit('x', make('x'))
    assert len(EmbeddingTable.load(tmp_path / 'a')) == 3
    assert len(list((tmp_path / 'a').glob('part-*'))) == 1


@pytest.mark.parametrize(
    'keys',
    [('a/b', 'a-b'), ('x' * 300 + '1', 'x' * 300 + '2'), ('A', 'a'), ('..', '.')],
)
def test_keys_never_collide(make: Make, tmp_path: Path, keys: tuple[str, str]) -> None:
    sink = ParquetSink(tmp_path / 'a', {})
    for i, key in enumerate(keys):
        sink.commit(key, make(f'p{i}'))
    assert sink.done() == set(keys)
    assert len({p.name.lower() for p in (tmp_path / 'a').glob('part-*')}) == 2
    assert [p.name for p in tmp_path.iterdir()] == ['a']


def test_empty_parts(make: Make, tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / 'a', {'space': 'abc'})
    sink.commit('empty', make('e').select([]))
    assert len(EmbeddingTable.load(tmp_path / 'a')) == 0
    sink.commit('full', make('f'))
    assert len(EmbeddingTable.load(tmp_path / 'a')) == 3
    sink.remove('empty', 'full')
    none = EmbeddingTable.load(tmp_path / 'a')
    assert (len(none), none.dim) == (0, 4)


def test_header_is_written_once_and_compared(make: Make, tmp_path: Path) -> None:
    header = {'space': 'abc', 'plan': {'size': 32, 'stride': 16}}
    ParquetSink(tmp_path / 'a', header).commit('x', make('x'))
    written = read_header(tmp_path / 'a')
    assert written['plan'] == {'size': 32, 'stride': 16}
    assert (written['dim'], written['metric'], written['version']) == (4, 'cosine', 1)
    assert ParquetSink(tmp_path / 'a', header).done() == {'x'}
    with pytest.raises(ArchiveError, match=r'begun with plan\.stride = 16 and not 32'):
        ParquetSink(
            tmp_path / 'a', {'space': 'abc', 'plan': {'size': 32, 'stride': 32}}
        )
    with pytest.raises(ArchiveError, match='begun with space = "abc" and not "xyz"'):
        ParquetSink(tmp_path / 'a', header | {'space': 'xyz'})
    with pytest.raises(ArchiveError, match='begun with dim = 4 and not 5'):
        ParquetSink(tmp_path / 'a', header | {'dim': 5})
    with pytest.raises(ArchiveError, match='begun with plan = '):
        ParquetSink(tmp_path / 'a', {'space': 'abc'})


def test_tables_that_do_not_fit(make: Make, tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / 'a', {'space': 'abc'})
    sink.commit('x', make('x'))
    with pytest.raises(ArchiveError, match='has dim 5 but the archive'):
        sink.commit('y', make('y', dim=5))
    with pytest.raises(ArchiveError, match='has space other but'):
        sink.commit('y', make('y', space='other'))
    assert sink.done() == {'x'}


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'photo.jpg').write_bytes(b'1')
    with pytest.raises(ArchiveError, match=r'holds files but no _archive\.json'):
        ParquetSink(tmp_path, {})
    with pytest.raises(ArchiveError, match='is a file; name a folder'):
        ParquetSink(tmp_path / 'photo.jpg', {})
    with pytest.raises(ArchiveError, match='header cannot be written as JSON'):
        ParquetSink(tmp_path / 'b', {'x': {1, 2}})


def test_patch_in_two_parts(make: Make, tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / 'a', {})
    sink.commit('x', make('same'))
    sink.commit('y', make('same'))
    with pytest.raises(ArchiveError, match="'same:0' is in two parts"):
        EmbeddingTable.load(tmp_path / 'a')


def test_broken_part_is_named(make: Make, tmp_path: Path) -> None:
    sink = ParquetSink(tmp_path / 'a', {})
    sink.commit('x', make('x'))
    (part,) = (tmp_path / 'a').glob('part-*')
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(ArchiveError, match=rf'{part.name} cannot be read'):
        sink.done()
    sink.commit('x', make('x'))
    assert sink.done() == {'x'}


def test_failed_write_leaves_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = ParquetSink(tmp_path / 'a', {})
    sink.commit('x', make('x'))

    def half(table: object, path: Path, **kwargs: object) -> None:
        path.write_bytes(b'PAR1 and then')
        raise OSError('disk full')

    monkeypatch.setattr('torchgeo_cmr.table.archive.part_writer.pq.write_table', half)
    with pytest.raises(OSError, match='disk full'):
        sink.commit('y', make('y'))
    assert sorted(p.name[:4] for p in (tmp_path / 'a').iterdir()) == [
        *('_arc', '_par', 'part')
    ]
    assert sink.done() == {'x'}


def test_sweeps_dead_writers_only(make: Make, tmp_path: Path) -> None:
    first = ParquetSink(tmp_path / 'a', {})
    first.commit('x', make('x'))
    live = tmp_path / 'a' / f'.{stamp()}'
    dead = live.with_name(live.name.replace(f'-{os.getpid()}-', '-99999999-'))
    elsewhere = live.with_name('.tmp-otherhost-1-0')
    old = live.with_name('.tmp-otherhost-2-0')
    for file in (live, dead, elsewhere, old):
        file.write_bytes(b'half')
    os.utime(old, (time.time() - 1e6, time.time() - 1e6))
    assert len(EmbeddingTable.load(tmp_path / 'a')) == 3
    ParquetSink(tmp_path / 'a', {}).commit('y', make('y'))
    assert live.exists()
    assert elsewhere.exists()
    assert not dead.exists()
    assert not old.exists()


WRITER = """
import sys
import geopandas as gpd, numpy as np, shapely
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

sink = ParquetSink(sys.argv[1], {'space': 'abc', 'dim': 256})
n = 400
shapes = [shapely.box(i % 20, i // 20, i % 20 + 1, i // 20 + 1) for i in range(n)]
for key in range(100000):
    frame = gpd.GeoDataFrame({'patch_id': [f'{key}:{i}' for i in range(n)]}, geometry=shapes, crs=4326)
    vectors = np.random.default_rng(key).normal(size=(n, 256))
    sink.commit(f'{key:06d}', EmbeddingTable.from_frame(frame, vectors, space='abc'))
    sys.stdout.write('.')
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_kill_minus_nine(tmp_path: Path) -> None:
    folder = tmp_path / 'a'
    committed = 0
    for parts in (2, 3):
        with subprocess.Popen(
            [sys.executable, '-c', WRITER, str(folder)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.read(parts) == b'.' * parts
            time.sleep(0.013 * parts)
            writer.send_signal(signal.SIGKILL)
            written = parts + len(writer.stdout.read())
        table = EmbeddingTable.load(folder)
        done = ParquetSink(folder, {'space': 'abc', 'dim': 256}).done()
        assert len(done) >= max(committed, written)
        assert len(table) == 400 * len(done)
        assert table.frame['patch_id'].is_unique
        committed = len(done)
    (folder / '.tmp-x-1-1').write_bytes(b'PAR1')
    assert len(EmbeddingTable.load(folder)) == 400 * committed
    assert json.loads((folder / '_archive.json').read_text())['dim'] == 256


def test_the_folder_is_a_data_set_to_everybody(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / 'archive'
    sink = ParquetSink(folder, {'space': 'abc'})
    for key in ('a', 'b', 'c'):
        sink.commit(key, make(key, n=5))
    (folder / '.tmp-host-1-1').write_bytes(b'PAR1')
    table = EmbeddingTable.load(folder)
    ids = sorted(table.frame['patch_id'])
    frame = gpd.read_parquet(folder)
    assert frame.crs == 4326
    assert sorted(frame['patch_id']) == ids
    shapes = dict(zip(table.frame['patch_id'], table.frame.geometry, strict=True))
    for name, shape in zip(frame['patch_id'], frame.geometry, strict=True):
        assert shape.equals(shapes[name])
    assert len(gpd.read_parquet(folder, bbox=(0.2, 0.2, 1.5, 0.5))) == 6
    rows = ds.dataset(folder).to_table(filter=ds.field('source') == 'b')
    assert sorted(rows.column('patch_id').to_pylist()) == [f'b:{i}' for i in range(5)]
    assert pq.read_table(folder).num_rows == pd.read_parquet(folder).shape[0] == 15
    files = sorted(map(str, folder.glob('*.parquet')))
    assert ds.dataset(files).count_rows() == 15


def test_an_older_archive_is_read_and_continued(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / 'archive'
    sink = ParquetSink(folder, {'space': 'abc'})
    sink.commit('a', make('a'))
    before = EmbeddingTable.load(folder)
    (folder / '_archive.json').rename(folder / 'archive.json')
    assert read_header(folder)['space'] == 'abc'
    assert EmbeddingTable.load(folder).frame.equals(before.frame)
    RetrievalIndex.build(folder, tmp_path / 'index')
    assert len(RetrievalIndex.open(tmp_path / 'index', folder)) == 3
    later = ParquetSink(folder, {'space': 'abc', 'plan': 1}, replacing=['plan'])
    assert later.done() == {'a'}
    later.commit('b', make('b'))
    later.finish()
    assert read_header(folder)['plan'] == 1
    assert len(EmbeddingTable.load(folder)) == 6
    assert sorted(p.name for p in folder.glob('*.json')) == ['archive.json']
    with pytest.raises(ArchiveError, match='was begun with space = "abc"'):
        ParquetSink(folder, {'space': 'other', 'plan': 1})
    before.save(folder, overwrite=True)
    assert sorted(p.name for p in folder.glob('*.json')) == ['_archive.json']
    # If both are there, the new one counts.
    (folder / 'archive.json').write_text('{')
    assert len(EmbeddingTable.load(folder)) == 3


def test_a_part_that_is_missing_is_noticed(make: Make, tmp_path: Path) -> None:
    """Of an archive that was once complete, whatever was added or removed since."""
    folder = tmp_path / 'a'
    sink = ParquetSink(folder, {})
    for key in 'abc':
        sink.commit(key, make(key))
    assert len(EmbeddingTable.load(folder)) == 9
    sink.finish()
    assert len(EmbeddingTable.load(folder)) == 9
    again = ParquetSink(folder, {})
    again.commit('d', make('d'))  # killed before it was complete: one more is no fault
    again.remove('b')
    assert len(EmbeddingTable.load(folder)) == 9
    again.finish()
    for key in 'acd':
        whole = (folder / part_name(key)).read_bytes()
        (folder / part_name(key)).unlink()
        with pytest.raises(
            ArchiveError, match=f'lacks part-{key}-.*copy it there again'
        ):
            EmbeddingTable.load(folder)
        faults = [f for f in verify_archive(folder) if f.fault]
        assert [(Path(f.file).name, f.fault) for f in faults] == [
            (part_name(key), 'it is missing')
        ]
        # The same run again writes what is missing.
        assert key not in ParquetSink(folder, {}).done()
        (folder / part_name(key)).write_bytes(whole)
    assert len(EmbeddingTable.load(folder)) == 9


@pytest.mark.parametrize('how', ['replaced', 'removed', 'same'])
def test_an_archive_that_is_replaced_while_it_is_written(
    make: Make, tmp_path: Path, how: str
) -> None:
    """Rows of one model never come into the archive of another."""
    folder = tmp_path / 'a'
    sink = ParquetSink(folder, {'plan': 1})
    sink.commit('x', make('x'))
    if how == 'same':
        ParquetSink(folder, {'plan': 1}).finish()
        sink.commit('y', make('y'))
        assert sink.done() == {'x', 'y'}
        return
    shutil.rmtree(folder)
    if how == 'replaced':
        ParquetSink(folder, {'plan': 2}).commit('z', make('z'))
    match = (
        'was removed while' if how == 'removed' else 'was begun with plan = 2 and not 1'
    )
    with pytest.raises(ArchiveError, match=match):
        sink.commit('y', make('y'))
    assert not list(folder.glob('part-y-*'))


@pytest.mark.parametrize('plan', [1, 2])
def test_two_that_begin_an_archive_at_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: int
) -> None:
    """Whoever writes the header second goes by the first, and mixes nothing with its rows."""
    folder = tmp_path / 'a'
    late, real = ParquetSink(folder, {'plan': plan}), ParquetSink._check

    def check(self: ParquetSink) -> bool:
        found = real(self)
        if self is late and not found:  # between the look and the writing
            ParquetSink(folder, {'plan': 1}).commit('x', make('x'))
        return found

    monkeypatch.setattr(ParquetSink, '_check', check)
    if plan == 2:
        with pytest.raises(ArchiveError, match='was begun with plan = 1 and not 2'):
            late.commit('y', make('y'))
    else:
        late.commit('y', make('y'))
    found = ParquetSink(folder, {'plan': 1}).done()
    assert found == ({'x'} if plan == 2 else {'x', 'y'})
    assert not list(folder.glob('.*'))
