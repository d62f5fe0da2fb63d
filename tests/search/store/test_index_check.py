"""What a check of an index finds: nothing in a whole one, each damage by its file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.search import RetrievalIndex, verify_index
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
    monkeypatch.setattr(index_files, '_SMALL', 0)
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


def test_an_index_without_checksums(make: Make, tmp_path: Path) -> None:
    """Indexes of earlier versions: rows still have digests."""
    folder = tmp_path / 'i'
    RetrievalIndex.build(make(60), folder)
    header = index_files.read_header(folder)
    del header['segments'][0]['files']
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
