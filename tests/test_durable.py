"""Folders are read from one generation; names are swapped as a whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr import durable
from torchgeo_cmr.durable import read_unreplaced, replace_folder
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.search.store import snapshot
from torchgeo_cmr.table import EmbeddingTable, ParquetSink
from torchgeo_cmr.table.archive import part_reader


def folder_of(path: Path, text: str) -> Path:
    path.mkdir()
    for name in 'abc':
        (path / name).write_text(text)
    return path


def swap(new: Path, target: Path) -> None:
    replace_folder(new, target, target.with_name('retired'))


@pytest.mark.parametrize('moment', range(4))
def test_a_folder_that_is_replaced_while_it_is_read(
    tmp_path: Path, moment: int
) -> None:
    target = folder_of(tmp_path / 'x', 'old')
    new = folder_of(tmp_path / 'new', 'new')
    reads = 0

    def read() -> list[str]:
        nonlocal reads
        found = []
        for name in 'abc':
            if reads == moment:
                swap(new, target)
            reads += 1
            found.append((target / name).read_text())
        return found

    assert read_unreplaced(target, read) == (
        ['old'] * 3 if moment == 3 else ['new'] * 3
    )
    assert (tmp_path / 'new').exists() == (moment == 3)


def test_errors_of_a_folder_that_stays_are_raised(tmp_path: Path) -> None:
    calls = 0

    def read() -> None:
        nonlocal calls
        calls += 1
        if calls == 1 and (tmp_path / 'x').exists():
            shutil.rmtree(tmp_path / 'x')
        raise ArchiveError('half of it is gone')

    (tmp_path / 'x').mkdir()
    with pytest.raises(ArchiveError):
        read_unreplaced(tmp_path / 'x', read)
    assert calls == 2  # once more, for the folder was gone
    with pytest.raises(ArchiveError):
        read_unreplaced(tmp_path, read)
    assert calls == 3


def table(prefix: str) -> EmbeddingTable:
    """Make sixty rows whose vectors and ids differ from those of another prefix."""
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{prefix}{i:02d}' for i in range(60)]},
        geometry=shapely.box(np.arange(60), 0, np.arange(60) + 1, 1),
        crs='EPSG:4326',
    )
    vectors = np.random.default_rng(ord(prefix)).normal(size=(60, 16))
    return EmbeddingTable.from_frame(frame, vectors)


@pytest.mark.parametrize('moment', range(4))
def test_an_index_in_whose_place_another_is_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """Same files, same numbers of rows: only the folder tells them apart."""
    old, new = table('a'), table('b')
    for name, rows in (('i', old), ('new', new)):
        index = RetrievalIndex.build(rows.select(np.arange(40)), tmp_path / name)
        index.append(rows.select(np.arange(40, 60)))
    whole, calls = snapshot.store.read_segment, 0

    def reading(folder: Path, facts: Any) -> Any:
        nonlocal calls
        if calls == moment:
            swap(tmp_path / 'new', tmp_path / 'i')
        calls += 1
        return whole(folder, facts)

    monkeypatch.setattr(snapshot.store, 'read_segment', reading)
    ids = set(RetrievalIndex.open(tmp_path / 'i').search(np.ones(16), 60)['patch_id'])
    expected = old if moment >= 2 else new
    assert ids == set(expected.frame['patch_id'])


def test_opening_reads_the_header_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RetrievalIndex.build(table('a'), tmp_path / 'i')
    whole, calls = snapshot.store.read_header, []
    monkeypatch.setattr(
        snapshot.store, 'read_header', lambda path: calls.append(1) or whole(path)
    )
    snapshot.open_state(tmp_path / 'i')
    assert len(calls) == 1


def archive(path: Path, rows: EmbeddingTable) -> Path:
    parts = ParquetSink(path, {})
    for i in range(3):
        parts.commit(f'{i}', rows.select(np.arange(20 * i, 20 * i + 20)))
    parts.finish()
    return path


@pytest.mark.parametrize('moment', range(4))
def test_an_archive_in_whose_place_another_is_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    old, new = table('a'), table('b')
    archive(tmp_path / 'x', old)
    archive(tmp_path / 'new', new)
    whole, calls = part_reader._read_part, 0

    def reading(part: Path, header: Any, vectors: Any) -> Any:
        nonlocal calls
        if calls == moment:
            swap(tmp_path / 'new', tmp_path / 'x')
        calls += 1
        return whole(part, header, vectors)

    monkeypatch.setattr(part_reader, '_read_part', reading)
    ids = set(EmbeddingTable.load(tmp_path / 'x').frame['patch_id'])
    assert ids == set((old if moment == 3 else new).frame['patch_id'])


def test_a_name_that_another_process_took_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = folder_of(tmp_path / 'new', 'new')
    rename: Callable[..., Any] = os.rename

    def late(source: Any, target: Any) -> None:
        if Path(target).name == 'x' and not Path(target).exists():
            folder_of(tmp_path / 'x', 'of another')
        rename(source, target)

    monkeypatch.setattr(os, 'rename', late)
    swap(new, tmp_path / 'x')
    assert [p.name for p in tmp_path.iterdir()] == ['x']
    assert (tmp_path / 'x' / 'a').read_text() == 'new'
    monkeypatch.undo()
    monkeypatch.setattr(durable, '_exchange', lambda first, second: False)
    swap(folder_of(tmp_path / 'new', 'newer'), tmp_path / 'x')
    assert (tmp_path / 'x' / 'a').read_text() == 'newer'
