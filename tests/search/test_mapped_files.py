"""Arrays as NumPy maps them, and no other file."""

import os
from pathlib import Path

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import mapped_files
from torchgeo_cmr.search.mapped_files import MappedFiles, write_array


@pytest.mark.parametrize(
    'array',
    [
        np.arange(6, dtype=np.float32).reshape(3, 2),
        np.arange(3, dtype=np.float16),
        np.empty((0, 4), np.int8),
        np.arange(12, dtype=np.uint8).reshape(3, 4).T,
    ],
)
def test_arrays_are_those_that_were_written(tmp_path: Path, array: np.ndarray) -> None:
    write_array(tmp_path / 'a.npy', array, 'token')
    files = MappedFiles(tmp_path, {}, 'token')
    found = files.array('a.npy')
    files.compare_all()
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()
    assert not found.flags.writeable
    assert np.load(tmp_path / 'a.npy').tolist() == array.tolist()
    other = MappedFiles(tmp_path, {}, 'others')
    other.array('a.npy')
    with pytest.raises(ValueError, match=r'a\.npy is not the file that was written'):
        other.compare_all()


def _header(text: str, length: int | None = None) -> bytes:
    body = text.encode()
    size = len(body) if length is None else length
    return b'\x93NUMPY\x01\0' + size.to_bytes(2, 'little') + body + bytes(64)


def _described(descr: str, shape: str) -> str:
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}   \n"


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'is empty'),
        (b'not an array', 'is not an array of an index'),
        (_header(_described('|O', '(2,)')), 'is not an array of an index'),
        (_header(_described('<f4', '(2, 2, 2)')), 'is not an array of an index'),
        (_header('__import__("os")\n'), 'is not an array of an index'),
        (_header(_described('<f4', '(2, 2)'), 20), 'of another length'),
        (_header(_described('<f4', '(100, 2)')), 'buffer is too small'),
        (_header(_described('<f4', '(999999999999999999, 99)')), r'a\.npy: '),
        (_header(_described('<i9', '(2,)')), r'a\.npy: .*type'),
        (_header(_described('<i4', '(2,)')), 'holds int32, which no index does'),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / 'a.npy').write_bytes(content)
    with pytest.raises(ValueError, match=message):
        MappedFiles(tmp_path, {}).array('a.npy')


def test_pipes_and_other_types_are_refused(tmp_path: Path) -> None:
    write_array(tmp_path / 'a.npy', np.arange(3))
    with pytest.raises(ValueError, match='holds int64, not float64'):
        MappedFiles(tmp_path, {}).array('a.npy', np.float64)
    if hasattr(os, 'mkfifo'):
        os.mkfifo(tmp_path / 'pipe.npy')
        with pytest.raises(ArchiveError, match='is a named pipe'):
            MappedFiles(tmp_path, {}).array('pipe.npy')


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_array(tmp_path / 'a.npy', np.arange(3))
    opened = []
    monkeypatch.setattr(mapped_files, 'check_special', lambda *x: opened.append(x))
    files = MappedFiles(tmp_path, {'a.npy': '00000000'})
    files.array('a.npy', np.int64)
    with pytest.raises(ValueError, match='damaged'):
        files.compare('a.npy')
    with pytest.raises(ValueError, match='damaged'):
        files.compare_all()
    assert len(opened) == 1
