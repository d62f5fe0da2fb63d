"""Rows are dropped only of scenes whose files are known to be gone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.embed import RefusedWarning, embed, read_report
from torchgeo_cmr.embed.scenes.prune import is_gone
from torchgeo_cmr.errors import RasterError

Writer = Callable[..., Path]


@pytest.fixture
def disks(write_raster: Writer, tmp_path: Path, fake: Callable[..., Any]) -> Any:
    """Two disks with two scenes each, embedded; call to update with pruning."""
    for disk, name in (('one', 'a'), ('one', 'b'), ('two', 'c'), ('two', 'd')):
        data = np.random.default_rng(ord(name)).random((1, 32, 32))
        write_raster(f'{disk}/{name}.tif', data=data)

    def run(*words: str, **more: Any) -> list[str]:
        paths = [tmp_path / word for word in words]
        out = tmp_path / 'out'
        task = fake(channels=1)
        table = embed(task, paths, 's2', 16, out=out, progress=False, **more)
        return sorted(set(table.frame['source']))

    assert len(run('one', 'two')) == 4
    return lambda *words: run(*words, update=True, prune=True)


def test_a_deleted_file_and_a_deleted_folder(disks: Any, tmp_path: Path) -> None:
    (tmp_path / 'one' / 'a.tif').unlink()
    assert disks('one', 'two') == ['one/b.tif', 'two/c.tif', 'two/d.tif']
    (tmp_path / 'one' / 'more').mkdir()
    (tmp_path / 'one' / 'b.tif').rename(tmp_path / 'one' / 'more' / 'b.tif')
    assert 'one/more/b.tif' in disks('one', 'two')


def test_a_disk_that_is_not_mounted(disks: Any, tmp_path: Path) -> None:
    (tmp_path / 'two').rename(tmp_path / 'away')
    with pytest.raises(RasterError, match=r'no raster matches .*two.*mounted'):
        disks('one', 'two')
    # The empty folder that is left where it was mounted.
    (tmp_path / 'two').mkdir()
    with pytest.warns(UserWarning, match='rows of 2 scenes are kept'):
        assert len(disks('one', 'two/../one')) == 4
    assert read_report(tmp_path / 'out')['pruned'] == []


def test_a_file_that_is_refused(disks: Any, tmp_path: Path) -> None:
    (tmp_path / 'two' / 'd.tif').write_bytes(b'half')
    with (
        pytest.warns(RefusedWarning),
        pytest.warns(UserWarning, match=r's2:two/d\.tif'),
    ):
        assert len(disks('one', 'two')) == 4
    report = read_report(tmp_path / 'out')
    assert (report['pruned'], len(report['refused'])) == ([], 1)


def test_files_that_are_there_but_not_named(disks: Any) -> None:
    with pytest.warns(UserWarning, match='rows of 2 scenes are kept'):
        assert len(disks('one')) == 4


def test_a_folder_that_was_not_named_is_not_judged(disks: Any, tmp_path: Path) -> None:
    (tmp_path / 'two' / 'c.tif').unlink()
    with pytest.warns(UserWarning, match='rows of 2 scenes are kept'):
        assert len(disks('one')) == 4


def test_a_date_that_left_a_cube(tmp_path: Path) -> None:
    cube = tmp_path / 'cube.nc'
    cube.touch()
    (tmp_path / 'other.nc').touch()
    root, folders = str(tmp_path), [os.path.realpath(tmp_path)]
    opened = {os.path.realpath(cube)}
    assert is_gone('cube.nc#2024-06-01', root, folders, opened)
    assert not is_gone('other.nc#2024-06-01', root, folders, opened)
    assert not is_gone('cube.nc', root, folders, opened)
    cube.unlink()
    assert is_gone('cube.nc#2024-06-01', root, folders, set())
