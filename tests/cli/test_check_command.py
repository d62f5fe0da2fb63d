"""The verb check: each kind of file whole, and damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchgeo_cmr.search import RetrievalIndex


def damage(file: Path) -> None:
    """Flip a bit of what the file holds, behind the header of its first part."""
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)


def test_whole_and_damaged(
    run: Callable[..., Any], archive: Path, tmp_path: Path
) -> None:
    index, hits = tmp_path / 'index', tmp_path / 'hits.gpkg'
    RetrievalIndex.build(archive, index)
    assert run('search', archive, '--query', archive, '--out', hits).code == 0
    ran = run('check', archive, index, hits)
    assert ran.code == 0
    assert ran.out.endswith(' files checked, 0 faults\n')
    part = next(archive.glob('part-*'))
    damage(part)
    damage(index / 'segment-0/vectors.npy')
    ran = run('check', archive, index, hits)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0].startswith(f'{part}: ')
    assert lines[0].endswith('; remove it and run the command that embedded it again')
    assert lines[1].startswith(f'{index}/segment-0/vectors.npy: it is damaged')
    assert lines[-1].endswith(', 2 faults')


def test_json(run: Callable[..., Any], archive: Path) -> None:
    ran = run('check', archive, '--json')
    assert [Path(f['file']).name for f in json.loads(ran.out)] == [
        '_archive.json',
        next(archive.glob('part-*')).name,
    ]


def test_what_is_not_there(refused: Callable[..., str], tmp_path: Path) -> None:
    assert 'name an archive, an index' in refused('check', tmp_path / 'nothing')


def test_a_folder_of_something_else(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_text('hello')
    ran = run('check', tmp_path)
    assert ran.code == 1
    assert (
        'is not an archive: it has no readable _archive.json; name a folder' in ran.out
    )
    # What is left of an archive is one that was damaged.
    (tmp_path / 'part-0.parquet').write_text('hello')
    assert 'write the archive again' in run('check', tmp_path).out


def test_what_is_something_else(run: Callable[..., Any], tmp_path: Path) -> None:
    for name in ('a.ckpt', 'a.gpkg', 'a.parquet', 'a.txt'):
        (tmp_path / name).write_text('hello')
        ran = run('check', tmp_path / name)
        assert ran.code == 1, name
        assert ran.out.startswith(f'{tmp_path / name}: '), name
