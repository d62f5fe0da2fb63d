"""What a check of an index finds: nothing in a whole one, each damage by its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import RetrievalIndex, mapped_files, verify_index
from torchgeo_cmr.search.store import index_files

type Make = Callable[..., Any]


def faults(folder: Path) -> list[str]:
    return [
        str(Path(f.file).relative_to(folder)) for f in verify_index(folder) if f.fault
    ]


def test_large_files_are_compared(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'i'
    index = RetrievalIndex.build(make(300), folder, vectors='int8', approximate='ivf')
    index.delete('p0003')
    files = [f.file for f in verify_index(folder)]
    assert len(files) == len(set(files)) == sum(f.is_file() for f in folder.rglob('*'))
    monkeypatch.setattr(mapped_files, '_SMALL', 0)
    assert faults(folder) == []
    for name in (
        *index_files.checksums(index_files.read_header(folder)['segments'][0]),
    ):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert faults(folder) == [name]
        (folder / name).unlink()
        assert faults(folder) == [name]
        (folder / name).write_bytes(content)


def test_large_files_of_two_indexes_are_not_mixed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make(300)
    for name in 'ab':  # all but a random token is the same
        RetrievalIndex.build(table, tmp_path / name, vectors='int8')
    monkeypatch.setattr(mapped_files, '_SMALL', 0)
    home = tmp_path / 'a/segment-0'
    for file in sorted(home.iterdir()):
        content = file.read_bytes()
        other = (tmp_path / 'b/segment-0' / file.name).read_bytes()
        assert len(other) == len(content)
        file.write_bytes(other)
        with pytest.raises(ArchiveError, match=f'{file.name} is not the file that was'):
            RetrievalIndex.open(tmp_path / 'a')
        file.write_bytes(content)
    assert len(RetrievalIndex.open(tmp_path / 'a')) == 300


def test_an_index_without_checksums(make: Make, tmp_path: Path) -> None:
    """Indexes of earlier versions: rows still have digests."""
    folder = tmp_path / 'i'
    RetrievalIndex.build(make(60), folder)
    header = index_files.read_header(folder)
    del header['segments'][0]['files'], header['segments'][0]['token']
    index_files.write_header(folder, header)
    assert faults(folder) == []
    vectors = np.load(folder / 'segment-0/vectors.npy')
    vectors[7] = vectors[8]
    np.save(folder / 'segment-0/vectors.npy', vectors)
    assert faults(folder) == ['segment-0']


def test_a_broken_header(make: Make, tmp_path: Path) -> None:
    RetrievalIndex.build(make(5), tmp_path / 'i')
    (tmp_path / 'i/index.json').write_text('{')
    assert faults(tmp_path / 'i') == ['index.json']
