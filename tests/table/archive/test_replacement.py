"""An archive in the place of another: the old one goes when the new one is complete, and nothing else does."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

#: Any: pandas' stubs lose the type of assigned frames.
type Frame = Any
type Make = Callable[..., EmbeddingTable]
type Same = Callable[[EmbeddingTable, EmbeddingTable], None]


def test_existing_path_is_refused_and_replaced(
    frame: Frame, vectors: np.ndarray, tmp_path: Path
) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    table.save(tmp_path / 'a')
    with pytest.raises(OutputExistsError, match='there already'):
        table.select([0]).save(tmp_path / 'a')
    assert len(EmbeddingTable.load(tmp_path / 'a')) == 12
    table.select([0]).save(tmp_path / 'a', overwrite=True)
    assert len(EmbeddingTable.load(tmp_path / 'a')) == 1
    assert [p.name for p in tmp_path.iterdir()] == ['a']


def test_never_deletes_what_is_not_an_archive(
    frame: Frame, vectors: np.ndarray, tmp_path: Path
) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    folder = tmp_path / 'mine'
    folder.mkdir()
    (folder / 'thesis.txt').write_text('years')
    with pytest.raises(OutputExistsError, match='not an archive and stays'):
        table.save(folder, overwrite=True)
    with pytest.raises(OutputExistsError, match='not an archive and stays'):
        table.save(folder / 'thesis.txt', overwrite=True)
    table.save(tmp_path / 'a')
    (tmp_path / 'a' / 'notes.txt').write_text('mine')
    with pytest.raises(
        OutputExistsError, match=r'holds notes\.txt next to the archive'
    ):
        table.save(tmp_path / 'a', overwrite=True)
    assert (folder / 'thesis.txt').read_text() == 'years'
    assert (tmp_path / 'a' / 'notes.txt').exists()
    (tmp_path / 'empty').mkdir()
    table.save(tmp_path / 'empty', overwrite=True)
    assert len(EmbeddingTable.load(tmp_path / 'empty')) == 12


def test_failed_save_leaves_the_old_archive(
    frame: Frame,
    vectors: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    assert_same: Same,
) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    table.save(tmp_path / 'a')

    def full(*args: object, **kwargs: object) -> None:
        raise OSError('disk full')

    monkeypatch.setattr('torchgeo_cmr.table.archive.part_writer.pq.write_table', full)
    with pytest.raises(OSError, match='disk full'):
        table.select([0]).save(tmp_path / 'a', overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ['a']
    assert_same(EmbeddingTable.load(tmp_path / 'a'), table)


def test_two_that_write_an_archive_at_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'a'
    whole = ParquetSink.commit

    def slow(self: ParquetSink, key: str, table: Any) -> None:
        whole(self, key, table)
        if not folder.exists():
            monkeypatch.setattr(ParquetSink, 'commit', whole)
            make('first').save(folder)

    monkeypatch.setattr(ParquetSink, 'commit', slow)
    with pytest.raises(OutputExistsError, match='is there already'):
        make('second').save(folder)
    assert EmbeddingTable.load(folder).frame['patch_id'][0].startswith('first')
    assert [p.name for p in tmp_path.iterdir()] == ['a']


def test_an_archive_that_goes_while_it_is_looked_at(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that went with an archive which another process replaced are no strangers."""
    folder = make('old').save(tmp_path / 'a')
    real = Path.iterdir

    def listed(self: Path) -> Any:
        names = [*real(self)]
        if self == folder:
            monkeypatch.undo()
            shutil.rmtree(folder)
            ParquetSink(folder, {}).commit('other', make('other'))
        return iter(names)

    monkeypatch.setattr(Path, 'iterdir', listed)
    make('new').save(folder, overwrite=True)
    assert EmbeddingTable.load(folder).frame['patch_id'][0].startswith('new')


def test_a_folder_that_appears_at_the_last_moment_stays(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was free when it was looked at is not replaced by who must not overwrite."""
    folder = tmp_path / 'a'
    real = Path.rename

    def late(self: Path, target: Any) -> Path:
        monkeypatch.setattr(Path, 'rename', real)
        make('first').save(folder)
        return real(self, target)

    monkeypatch.setattr(Path, 'rename', late)
    with pytest.raises(OutputExistsError, match='is there already'):
        make('second').save(folder)
    assert EmbeddingTable.load(folder).frame['patch_id'][0].startswith('first')
    assert [p.name for p in tmp_path.iterdir()] == ['a']


def test_a_folder_that_is_a_link_to_itself_is_refused(
    frame: Frame, vectors: np.ndarray, tmp_path: Path
) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    (tmp_path / 'a').symlink_to('a')
    with pytest.raises(QueryError, match='a is a link that leads to itself: remove it'):
        table.save(tmp_path / 'a', overwrite=True)
    table.save(tmp_path / ('x' * 250))
    table.save(tmp_path / ('x' * 250), overwrite=True)
    assert {len(p.name) for p in tmp_path.iterdir()} == {1, 250}
