"""An archive is replaced when the new one is complete, and only if it is nothing but an archive."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.drafts import stamp
from torchgeo_cmr.durable import replace_folder
from torchgeo_cmr.embed import embed
from torchgeo_cmr.errors import CMRError, OutputExistsError
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

BANDS = ('B02', 'B03', 'B04')


@pytest.fixture
def old(
    fake: Callable[..., Any], write_raster: Callable[..., Path], tmp_path: Path
) -> Path:
    """An archive of one scene."""
    path = write_raster('old/a.tif', bands=BANDS)
    embed(
        fake(bands=BANDS), str(path), 's2', 16, out=tmp_path / 'archive', progress=False
    )
    return tmp_path / 'archive'


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.parent.iterdir() if 'archive' in p.name)


@pytest.mark.parametrize(
    'options',
    [
        {'precision': 'bogus'},
        {'runtime': 'bogus'},
        {'engine': 'bogus'},
        {'min_valid': 3.0},
    ],
)
def test_a_mistake_keeps_the_old_archive(
    fake: Callable[..., Any], old: Path, options: dict[str, Any]
) -> None:
    before = EmbeddingTable.load(old)
    scene = str(old.parent / 'old/a.tif')
    with pytest.raises((CMRError, ValueError)):
        embed(
            fake(bands=BANDS),
            scene,
            's2',
            16,
            out=old,
            overwrite=True,
            progress=False,
            **options,
        )
    assert EmbeddingTable.load(old).content == before.content


def test_scenes_that_all_fail_keep_the_old_archive(
    fake: Callable[..., Any], old: Path, write_raster: Callable[..., Path]
) -> None:
    before = EmbeddingTable.load(old)
    empty = write_raster(
        'empty.tif', data=np.full((3, 48, 64), 7), dtype='uint16', nodata=7, bands=BANDS
    )
    with pytest.raises(CMRError):
        embed(
            fake(bands=BANDS),
            str(empty),
            's2',
            16,
            out=old,
            overwrite=True,
            progress=False,
        )
    assert EmbeddingTable.load(old).content == before.content
    assert not [name for name in names(old) if name.startswith('.')]


def test_the_new_one_replaces_the_old_one_when_it_is_complete(
    fake: Callable[..., Any],
    old: Path,
    write_raster: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = EmbeddingTable.load(old)
    scenes = [str(write_raster(f'new/{name}.tif', bands=BANDS)) for name in 'bc']
    commit, seen = ParquetSink.commit, []

    def watched(self: Any, *args: Any, **kwargs: Any) -> None:
        commit(self, *args, **kwargs)
        seen.append(EmbeddingTable.load(old).content == before.content)

    monkeypatch.setattr(ParquetSink, 'commit', watched)
    made = embed(
        fake(bands=BANDS), scenes, 's2', 16, out=old, overwrite=True, progress=False
    )
    assert seen == [True, True]
    assert EmbeddingTable.load(old).content == made.content != before.content
    assert names(old) == ['archive', 'archive-report.json']


def test_folders_of_others_stay(
    fake: Callable[..., Any], write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    scene = str(write_raster('a.tif', bands=BANDS))
    spark = tmp_path / 'spark'
    spark.mkdir()
    (spark / 'part-0000.parquet').write_text('of another program')
    with pytest.raises(OutputExistsError, match='is not an archive and stays as it is'):
        embed(
            fake(bands=BANDS),
            scene,
            's2',
            16,
            out=spark,
            overwrite=True,
            progress=False,
        )
    assert (spark / 'part-0000.parquet').read_text() == 'of another program'


@pytest.mark.parametrize('kind', ['file', 'folder', 'link'])
def test_a_stranger_in_an_archive_stays(
    fake: Callable[..., Any], old: Path, kind: str
) -> None:
    stranger = old / ('mine.txt' if kind == 'file' else 'part-mine.parquet')
    if kind == 'file':
        stranger.write_text('mine')
    elif kind == 'folder':
        stranger.mkdir()
    else:
        stranger.symlink_to(old.parent / 'old/a.tif')
    scene = str(old.parent / 'old/a.tif')
    with pytest.raises(OutputExistsError, match=f'holds {stranger.name}'):
        embed(
            fake(bands=BANDS), scene, 's2', 16, out=old, overwrite=True, progress=False
        )
    assert os.path.lexists(stranger)


def test_what_dead_processes_left_is_swept(
    fake: Callable[..., Any], old: Path, tmp_path: Path
) -> None:
    word = stamp()
    dead = tmp_path / f'.archive.{word.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-")}'
    alive = tmp_path / f'.archive.{word}'
    for folder in (dead, alive, tmp_path / '.archive.mine'):
        folder.mkdir()
    scene = str(tmp_path / 'old/a.tif')
    embed(fake(bands=BANDS), scene, 's2', 16, out=old, overwrite=True, progress=False)
    assert not dead.exists()
    assert alive.exists()
    assert (tmp_path / '.archive.mine').exists()


@pytest.mark.parametrize('swap', [True, False])
def test_replacing_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: bool
) -> None:
    if not swap:
        monkeypatch.setattr('torchgeo_cmr.durable._exchange', lambda a, b: False)
    new, target = tmp_path / 'new', tmp_path / 'target'
    for folder in (new, target):
        folder.mkdir()
        (folder / 'name').write_text(folder.name)
    replace_folder(new, target, tmp_path / 'retired')
    assert [p.name for p in tmp_path.iterdir()] == ['target']
    assert (target / 'name').read_text() == 'new'
