"""New files appear whole or not at all."""

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from pyogrio.errors import DataLayerError
from rasterio.errors import RasterioError

from torchgeo_cmr.errors import OutputExistsError
from torchgeo_cmr.export.new_file import new_file, only_writer


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / 'deep' / 'x.txt'
    for text in ('one', 'two'):
        with new_file(target, overwrite=text == 'two') as temporary:
            assert temporary.suffix == '.txt'
            temporary.write_text(text)
    assert target.read_text() == 'two'
    assert [p.name for p in target.parent.iterdir()] == ['x.txt']


def test_refuses(tmp_path: Path) -> None:
    (tmp_path / 'x.txt').write_text('mine')
    with (
        pytest.raises(OutputExistsError, match=r'x\.txt is there already'),
        new_file(tmp_path / 'x.txt'),
    ):
        pass
    with (
        pytest.raises(OutputExistsError, match='is a folder'),
        new_file(tmp_path, overwrite=True),
    ):
        pass
    assert (tmp_path / 'x.txt').read_text() == 'mine'


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / 'x.txt').write_text('mine')

    def fail() -> None:
        with new_file(tmp_path / 'x.txt', overwrite=True) as temporary:
            temporary.write_text('half')
            raise RuntimeError('no')

    with pytest.raises(RuntimeError, match='no'):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ['x.txt']
    assert (tmp_path / 'x.txt').read_text() == 'mine'


def test_the_second_of_two_writers_is_refused(tmp_path: Path) -> None:
    def race() -> None:
        with new_file(tmp_path / 'x.txt') as temporary:
            temporary.write_text('second')
            (tmp_path / 'x.txt').write_text('first')

    with pytest.raises(OutputExistsError, match=r'x\.txt is there already'):
        race()
    assert (tmp_path / 'x.txt').read_text() == 'first'
    assert [p.name for p in tmp_path.iterdir()] == ['x.txt']


def test_litter_of_the_dead_is_swept_and_nothing_else(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, '-c', ''])
    child.wait()
    dead, live = child.pid, os.getppid()
    litter = [f'.x.tmp-{dead}.gpkg', f'.x.tmp-{dead}.gpkg-journal', '.x.lock']
    kept = [
        f'.x.tmp-{live}.gpkg',
        f'.y.tmp-{dead}.gpkg',
        f'x.tmp-{dead}.gpkg',
        'x.gpkg',
    ]
    for name in (*litter, *kept):
        (tmp_path / name).touch()
    with only_writer([tmp_path / 'x'], [tmp_path / 'x.gpkg']):
        assert {p.name for p in tmp_path.iterdir()} == {*kept, '.x.lock'}
    assert {p.name for p in tmp_path.iterdir()} == {*kept}


def test_another_writer_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torchgeo_cmr.export.new_file._PATIENCE', 0)
    with (
        only_writer([tmp_path / 'x'], []),
        pytest.raises(OutputExistsError, match='another process is writing'),
        only_writer([tmp_path / 'a', tmp_path / 'x'], []),
    ):
        pass
    with only_writer([tmp_path / 'a', tmp_path / 'x'], []):
        pass
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    'error',
    [
        OSError(errno.ENOSPC, 'No space left on device'),
        OSError(errno.EROFS, 'Read-only file system'),
        sqlite3.OperationalError('database or disk is full'),
        DataLayerError('Error while writing batch to OGR layer'),
        RasterioError('Seek error at scanline 1024'),
    ],
)
def test_a_full_disk_is_one_sentence(tmp_path: Path, error: Exception) -> None:
    (tmp_path / 'x.txt').write_text('mine')

    def fail() -> None:
        with new_file(tmp_path / 'x.txt', overwrite=True) as temporary:
            temporary.write_text('half')
            raise error

    with pytest.raises(OSError, match=r'x\.txt could not be written.*MB are free'):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == ['x.txt']
    assert (tmp_path / 'x.txt').read_text() == 'mine'
