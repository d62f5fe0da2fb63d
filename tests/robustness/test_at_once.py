"""Many at once: whoever reads an index or archive sees one generation of it, writers wait or are refused."""

import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.export import to_geojson
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

pytestmark = pytest.mark.skipif(
    sys.platform == 'win32', reason='open files cannot be replaced'
)
CONTEXT: Any = multiprocessing.get_context('spawn')
#: Seconds of change; 60 with ``TORCHGEO_CMR_SECONDS=60``.
SECONDS = float(os.environ.get('TORCHGEO_CMR_SECONDS', '4'))
_ROWS = 200


def build_of(number: int) -> EmbeddingTable:
    """Give the rows of a build, whose ids name it; with each build a row turns towards the query."""
    return table(f'b{number:04d}', _ROWS)


def table(prefix: str, n: int) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{prefix}_{i:03d}' for i in range(n)]},
        geometry=shapely.box(np.arange(n) * 0.1, 0, np.arange(n) * 0.1 + 0.1, 1),
        crs='EPSG:4326',
    )
    # The angle to the query is known for each row, so the ranking is too.
    angles = 0.001 * (np.arange(n) + 1)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return EmbeddingTable.from_frame(frame, vectors)


def answer(index: RetrievalIndex) -> str:
    """Search, and give the generation that the answer is of, or what is wrong with it."""
    hits = index.search([1.0, 0.0], 5 * _ROWS)['patch_id']
    (build, *others) = sorted(
        {name.partition('_')[0] for name in hits if name[0] == 'b'}
    )
    own = [name for name in hits if name[0] == 'b']
    new = [name for name in hits if name[0] == 'n']
    if others:
        return f'wrong: builds {build} and {others}'
    # First the build, then rows are appended, then some of the build are deleted.
    if new and new != [f'n{build}_{i:03d}' for i in range(20)]:
        return f'wrong: {len(new)} of 20 appended rows'
    whole = [f'{build}_{i:03d}' for i in range(_ROWS)]
    if own not in (whole, whole[10:]) or (own != whole and not new):
        return f'wrong: {len(own)} rows of {build}'
    return f'right: {"built" if not new else "appended" if own == whole else "deleted"}'


def search_until(
    path: Path, stop: Any, index: RetrievalIndex | None = None
) -> Counter[str]:
    """Open or refresh, and search, until it is time to stop."""
    found: Counter[str] = Counter()
    while not stop.is_set():
        try:
            if index is None:
                found[answer(RetrievalIndex.open(path))] += 1
            else:
                index.refresh()
                found[answer(index)] += 1
        except CMRError as error:
            found[f'refused: {error}'[:60]] += 1
        except Exception as error:  # noqa: BLE001 (the test names it)
            found[f'wrong: {error!r}'[:200]] += 1
    return found


def search_in_process(path: Path, stop: Any, answers: Any) -> None:
    answers.put(search_until(path, stop))


def change_until(path: Path, end: float) -> int:
    number = 0
    while number < 2 or time.monotonic() < end:
        number += 1
        RetrievalIndex.build(build_of(number), path, overwrite=True)
        index = RetrievalIndex.open(path)
        index.append(table(f'nb{number:04d}', 20))
        index.delete([f'b{number:04d}_{i:03d}' for i in range(10)])
    return number


@pytest.mark.slow
def test_an_index_that_is_changed_while_many_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight threads and four processes; each answer is that of some generation."""
    path = tmp_path / 'i'
    RetrievalIndex.build(build_of(0), path)
    stop, answers = CONTEXT.Event(), CONTEXT.Queue()
    workers = [
        CONTEXT.Process(target=search_in_process, args=(path, stop, answers))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    shared = RetrievalIndex.open(path)
    found: Counter[str] = Counter()
    with ThreadPoolExecutor(8) as threads:
        indexes = [shared] * 4 + [None] * 4
        waiting = [threads.submit(search_until, path, stop, i) for i in indexes]
        number = change_until(path, time.monotonic() + SECONDS)
        stop.set()
        for thread in waiting:
            found += thread.result()
    for _ in workers:
        found += answers.get(timeout=60)
    for worker in workers:
        worker.join()
    right = sum(count for what, count in found.items() if what.startswith('right'))
    with capsys.disabled():
        sys.stdout.write(
            f'\n{3 * number} changes, {right} answers right; {dict(found)}\n'
        )
    assert not {what for what in found if what.startswith('wrong')}
    assert right == sum(found.values())
    assert {p.name[0] for p in path.iterdir()} <= {'i', 's', 'd', '.'}


def commit_all(path: Path, ready: Any, answers: Any) -> None:
    ready.wait()
    sink = ParquetSink(path, {'space': None})
    for key in 'abcdefgh':
        if key not in sink.done():
            sink.commit(key, table(key, 5))
    sink.finish()
    answers.put(len(EmbeddingTable.load(path)))


def build_over(path: Path, ready: Any, answers: Any) -> None:
    ready.wait()
    try:
        for number in range(5):
            RetrievalIndex.build(build_of(number), path, overwrite=True)
        answers.put('done')
    except CMRError as error:
        answers.put(str(error))


def save_over(path: Path, ready: Any, answers: Any) -> None:
    ready.wait()
    for number in range(10):
        table(f'a{number}', 5).save(path, overwrite=True)
    answers.put('done')


def two(target: Any, path: Path) -> list[Any]:
    """Run a function in two processes at once."""
    ready, answers = CONTEXT.Barrier(2), CONTEXT.Queue()
    workers = [
        CONTEXT.Process(target=target, args=(path, ready, answers)) for _ in 'ab'
    ]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    return found


def names(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@pytest.mark.slow
def test_two_processes_share_an_archive(tmp_path: Path) -> None:
    assert two(commit_all, tmp_path / 'x') == [40, 40]
    assert len(EmbeddingTable.load(tmp_path / 'x')) == 40
    assert not [name for name in names(tmp_path / 'x') if name[0] == '.']


@pytest.mark.slow
def test_two_overwriting_builds(tmp_path: Path) -> None:
    found = two(build_over, tmp_path / 'i')
    assert 'done' in found
    refused = 'another process is changing the index', 'is there already'
    assert all(what == 'done' or any(r in what for r in refused) for what in found)
    assert answer(RetrievalIndex.open(tmp_path / 'i')) == 'right: built'
    assert names(tmp_path) == {'i'}


@pytest.mark.slow
def test_two_overwriting_saves(tmp_path: Path) -> None:
    assert two(save_over, tmp_path / 'x') == ['done', 'done']
    ids = EmbeddingTable.load(tmp_path / 'x').frame['patch_id']
    assert {name[:2] for name in ids} == {'a9'}
    assert names(tmp_path) == {'x'}


def test_writers_of_one_output_in_threads(tmp_path: Path) -> None:
    """One of many that may not overwrite wins, and its file is whole."""
    ready = threading.Barrier(6)

    def export(number: int) -> str:
        frame = table('x', number + 1).frame
        ready.wait()
        try:
            to_geojson(frame, tmp_path / 'x.geojson')
        except CMRError as error:
            return str(error)
        return str(number)

    with ThreadPoolExecutor(6) as threads:
        found = [*threads.map(export, range(6))]
    (winner,) = [what for what in found if len(what) == 1]
    assert all('is there already' in what for what in found if what != winner)
    assert len(gpd.read_file(tmp_path / 'x.geojson')) == int(winner) + 1
    assert names(tmp_path) == {'x.geojson'}
