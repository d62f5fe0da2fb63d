"""Builds that replace one another: whoever has an index open goes on with the one he opened."""

import json
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.export.record.record import _fingerprint
from torchgeo_cmr.search import RetrievalIndex, open_archives
from torchgeo_cmr.search.rank import plan
from torchgeo_cmr.search.store import index_files as store
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.provenance import fingerprint, row_digests

Make = Callable[..., Any]
CONTEXT: Any = multiprocessing.get_context('spawn')


def named(table: EmbeddingTable, prefix: str) -> EmbeddingTable:
    frame: Any = table.frame.assign(patch_id=prefix + table.frame['patch_id'])
    return EmbeddingTable.from_frame(frame, table.vectors)


def read_on(path: Path, opened: Any, built: Any, answers: Any) -> None:
    """Open an index, wait until another is built in its place, then search."""
    setattr(plan, 'LEAST_ROWS', 100)  # noqa: B010 (a constant to the type checker)
    index = RetrievalIndex.open(path)
    queries = np.random.default_rng(0).normal(size=(20, 16))
    exact, _ = index.rank(queries, 10)
    opened.set()
    built.wait(60)
    near, _ = index.rank(queries, 10, exact=False)
    told = index.explain(queries, 10, exact=False)
    shares = [
        len(set(a) & set(b)) / 10
        for a, b in zip(exact.tolist(), near.tolist(), strict=True)
    ]
    names = set(index.search(queries, 10)['patch_id'].str[0])
    answers.put((float(np.mean(shares)), told.recall, told.plan, names, len(index)))


def search_while(path: Path, stop: Any, answers: Any) -> None:
    """Open and search until told to stop; each answer must be of one build."""
    found: set[Any] = set()
    while not stop.is_set():
        try:
            index = RetrievalIndex.open(path)
            hits = index.search(np.ones(16), 50)
            # The first letter of an id names its build, which has as many rows.
            found.add((len(index), ''.join(sorted(set(hits['patch_id'].str[0])))))
        except Exception as error:  # noqa: BLE001 (the test names it)
            found.add(repr(error))
    answers.put(found)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:.*multi-threaded.*:DeprecationWarning')
def test_a_process_goes_on_with_the_build_it_opened(make: Make, tmp_path: Path) -> None:
    first, second = named(make(3000), 'a'), named(make(4000, seed=7), 'b')
    path = tmp_path / 'i'
    RetrievalIndex.build(first, path, approximate=['ivf', 'rabitq'])
    opened, built, answers = CONTEXT.Event(), CONTEXT.Event(), CONTEXT.Queue()
    worker = CONTEXT.Process(target=read_on, args=(path, opened, built, answers))
    worker.start()
    assert opened.wait(60)
    RetrievalIndex.build(second, path, approximate='ivf', overwrite=True)
    built.set()
    share, recall, name, names, rows = answers.get(timeout=300)
    worker.join()
    assert (name, names, rows) == ('approximate ivf', {'a'}, 3000)
    assert share >= recall - 0.1 > 0.7
    assert len(RetrievalIndex.open(path)) == 4000


@pytest.mark.slow
def test_a_build_over_an_index_that_others_open(make: Make, tmp_path: Path) -> None:
    builds = [named(make(300, seed=i), chr(ord('a') + i)) for i in range(4)]
    builds = [b.select(np.arange(200 + 20 * i)) for i, b in enumerate(builds)]
    path = tmp_path / 'i'
    RetrievalIndex.build(builds[0], path)
    stop, answers = CONTEXT.Event(), CONTEXT.Queue()
    worker = CONTEXT.Process(target=search_while, args=(path, stop, answers))
    worker.start()
    names: list[str] = []
    for turn in range(24):
        RetrievalIndex.build(builds[turn % 4], path, overwrite=True)
        names += [p.name for p in path.glob('segment-*')]
    stop.set()
    found = answers.get(timeout=300)
    worker.join()
    assert found <= {(200 + 20 * i, chr(ord('a') + i)) for i in range(4)}
    assert len(names) == len(set(names)) == 24  # no name is given twice


def test_a_handle_of_an_older_build(make: Make, tmp_path: Path) -> None:
    path = tmp_path / 'i'
    old = RetrievalIndex.build(named(make(50), 'a'), path)
    sent = pickle.dumps(old)
    truth = old.rank(np.ones(16), 5)[0].tolist()
    RetrievalIndex.build(named(make(30), 'b'), path, overwrite=True)
    for change in (
        lambda: old.delete('ap0003'),
        lambda: old.append(named(make(5), 'c')),
        lambda: pickle.loads(sent),
    ):
        with pytest.raises(ArchiveError, match='was built anew since it was opened'):
            change()
    assert len(old) == 50
    assert old.rank(np.ones(16), 5)[0].tolist() == truth
    assert old.vectors([49]).shape == (1, 16)
    assert old.refresh()
    assert not old.refresh()
    assert len(old) == 30
    old.delete('bp0003')
    assert len(RetrievalIndex.open(path)) == 29


def test_refresh_sees_what_others_changed(make: Make, tmp_path: Path) -> None:
    path = tmp_path / 'i'
    reader = RetrievalIndex.build(named(make(50), 'a'), path)
    RetrievalIndex.open(path).append(named(make(20), 'b'))
    RetrievalIndex.open(path).delete('ap0001')
    assert len(reader) == 50
    assert reader.refresh()
    assert len(reader) == 69
    assert not RetrievalIndex(make(5)).refresh()


def test_saving_an_index_over_itself(make: Make, tmp_path: Path) -> None:
    path = tmp_path / 'i'
    index = RetrievalIndex.build(named(make(50), 'a'), path)
    index.append(named(make(20), 'b'))
    index.delete(['ap0001', 'bp0002'])
    before = index.rank(np.ones(16), 9)[0].tolist()
    index.save(path, overwrite=True)
    assert index.rank(np.ones(16), 9)[0].tolist() == before
    index.append(named(make(3), 'c'))
    assert len(index) == len(RetrievalIndex.open(path)) == 71
    assert index.fingerprint == fingerprint(index.table)
    with pytest.raises(OutputExistsError):
        index.save(path)
    names = {p.name.split('-')[0] for p in path.iterdir()}
    assert names <= {'segment', 'dead', 'index.json', '.writer'}
    assert len(list(path.glob('dead-*'))) == 2  # what is no longer named is gone


def die_while_writing(path: Path) -> None:
    with store.writing(path):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_writer_that_was_killed_blocks_nobody(make: Make, tmp_path: Path) -> None:
    index = RetrievalIndex.build(named(make(20), 'a'), tmp_path / 'i')
    worker = CONTEXT.Process(target=die_while_writing, args=(tmp_path / 'i',))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    index.append(named(make(5), 'b'))
    assert len(RetrievalIndex.open(tmp_path / 'i')) == 25


@pytest.mark.slow
@pytest.mark.parametrize('mapped', [True, False])
def test_threads_that_change_an_index_lose_nothing(
    make: Make, tmp_path: Path, mapped: bool
) -> None:
    index = RetrievalIndex.build(
        named(make(200), 'a'), tmp_path / 'i' if mapped else None
    )
    turns = 4 if mapped else 10
    errors: list[BaseException] = []

    def change(i: int) -> None:
        try:
            for j in range(turns):
                index.append(named(make(5, seed=i), f't{i}-{j}-'))
                index.delete([f'ap{i * 40 + j:04d}', f't{i}-{j}-p0001'])
        except BaseException as error:  # noqa: BLE001 (the test names it)
            errors.append(error)

    threads = [threading.Thread(target=change, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(index) == 200 + 4 * turns * (5 - 2)
    assert index.fingerprint == fingerprint(index.table)
    if mapped:
        assert len(RetrievalIndex.open(tmp_path / 'i')) == len(index)


@pytest.mark.slow
def test_an_archive_a_folder_a_table_or_several(make: Make, tmp_path: Path) -> None:
    a, b = named(make(40), 'a'), named(make(30), 'b')
    folder, index = a.save(tmp_path / 'a'), tmp_path / 'i'
    RetrievalIndex.build(b, index)
    both = EmbeddingTable.concat([a, b])
    truth = RetrievalIndex(both).search(np.ones(16), 9)
    for how in (
        RetrievalIndex,
        RetrievalIndex.open,
        open_archives,
        RetrievalIndex.build,
    ):
        make_index: Any = how
        for one, rows in (
            (folder, 40),
            (str(folder), 40),
            (index, 30),
            (b, 30),
            ([b], 30),
        ):
            assert len(make_index(one)) == rows
        for several in ([folder, index], (a, index), iter([str(folder), b])):
            found = make_index(several)
            assert found.search(np.ones(16), 9)['patch_id'].tolist() == (
                truth['patch_id'].tolist()
            )
            assert found.fingerprint == fingerprint(both)
        with pytest.raises(QueryError, match='no archive is named'):
            make_index([])
        with pytest.raises(QueryError, match='is not made from a GeoDataFrame'):
            make_index(a.frame)
        with pytest.raises(ArchiveError, match='is neither an archive nor an index'):
            make_index(tmp_path)
    # One index folder is mapped, so that changes go to the disk.
    RetrievalIndex(index).delete('bp0003')
    assert len(RetrievalIndex.open(index)) == 29
    RetrievalIndex.build([folder, b], tmp_path / 'both')
    RetrievalIndex.open(tmp_path / 'both', both)
    RetrievalIndex.open(tmp_path / 'both', [folder, b])
    with pytest.raises(ArchiveError, match='was not built from this archive'):
        RetrievalIndex.open(tmp_path / 'both', [b, folder])


def test_one_fingerprint_wherever_the_rows_are(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make(60)
    made = fingerprint(table)
    folder = table.save(tmp_path / 'a')
    RetrievalIndex.build(folder, tmp_path / 'i', vectors='int8')
    RetrievalIndex.build(table, tmp_path / 'j')
    loaded = EmbeddingTable.load(folder)
    for built in ('i', 'j'):
        for archive in (table, folder, loaded, tmp_path / 'i', tmp_path / 'j'):
            RetrievalIndex.open(tmp_path / built, archive)
    changed = RetrievalIndex.open(tmp_path / 'i')
    changed.append(named(make(25), 'b'))
    changed.delete(['bp0002', table.frame['patch_id'].iloc[7]])
    whole = changed.table
    wanted = fingerprint(EmbeddingTable.from_frame(whole.frame, whole.vectors))
    assert len({made, wanted}) == 2

    def hashed(*_: object) -> None:
        pytest.fail('vectors are hashed in a search')

    for module in ('provenance', 'table'):
        monkeypatch.setattr(f'torchgeo_cmr.table.{module}.row_digests', hashed)
    monkeypatch.setattr('torchgeo_cmr.search.store.segment.row_digests', hashed)
    assert _fingerprint(loaded) == _fingerprint(RetrievalIndex(folder)) == made
    assert _fingerprint(RetrievalIndex.open(tmp_path / 'j')) == made
    assert _fingerprint(RetrievalIndex.open(tmp_path / 'i')) == wanted
    assert _fingerprint(EmbeddingTable.load(folder)) == made


def test_an_index_that_was_built_before_there_were_digests(
    make: Make, tmp_path: Path
) -> None:
    table = named(make(60), 'a')
    path = tmp_path / 'i'
    RetrievalIndex.build(table, path, approximate=())
    file = path / 'index.json'
    header = json.loads(file.read_text())
    for name in ('build', 'next'):
        del header[name]
    header['fingerprint'] = store.older_fingerprint(table)
    for facts in header['segments']:
        del facts['content']
        (path / facts['name'] / 'digests.npy').unlink()
    file.write_text(json.dumps(header))
    index = RetrievalIndex.open(path, table)
    with pytest.raises(ArchiveError, match='was not built from this archive'):
        RetrievalIndex.open(path, table.select(np.arange(59)))
    assert index.fingerprint == fingerprint(table)
    index.append(named(make(9), 'b'))
    index.delete('ap0003')
    again = RetrievalIndex.open(index.save(tmp_path / 'j'))
    assert again.fingerprint == index.fingerprint == fingerprint(index.table)
    index.save(path, overwrite=True)
    assert len(RetrievalIndex.open(path)) == 68


def test_rows_that_are_no_rows(make: Make) -> None:
    index = RetrievalIndex.build(make(20))
    index.append(named(make(20), 'b'))
    table = make(20)
    for rows, message in (
        ([0, 0], 'a row is selected twice'),
        ([-1], 'row numbers go from 0 to'),
        ([40], 'row numbers go from 0 to'),
        ([0.5], 'rows have the type float64'),
    ):
        with pytest.raises(ArchiveError, match=message):
            index.select(rows)
        with pytest.raises(ArchiveError, match=message):
            table.select(rows)
    with pytest.raises(
        ArchiveError, match='there is no row -1: row numbers go from 0 to 39'
    ):
        index.vectors([3, -1])
    index.delete('bp0003')
    gone = int(np.setdiff1d(np.arange(40), index.rows())[0])
    with pytest.raises(ArchiveError, match=f'row {gone} was deleted'):
        index.select([0, gone])
    assert len(index.select([])) == 0


def test_digests_see_ids_and_vectors(make: Make) -> None:
    table = make(10)
    ids = table.frame['patch_id'].tolist()
    one = row_digests(ids, table.vectors)
    assert one.shape == (10, 16)
    assert len(np.unique(one, axis=0)) == 10
    moved = table.vectors.copy()
    moved[3, [0, 5]] *= -1
    assert np.flatnonzero((row_digests(ids, moved) != one).any(axis=1)).tolist() == [3]
    parts = [table.select(np.arange(4)), table.select(np.arange(4, 10))]
    assert parts[0].content + parts[1].content == table.content
    assert parts[1].content + parts[0].content != table.content
