"""A run that returns no rows: the same archive, report and words, and no row in memory."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr import tasks
from torchgeo_cmr.embed import embed, read_report
from torchgeo_cmr.embed.scenes.pixel_statistics import measure_pixels
from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.main import main
from torchgeo_cmr.table import EmbeddingTable

Writer = Callable[..., Path]
Run = Callable[..., EmbeddingTable]


@pytest.fixture
def folder(write_raster: Writer, tmp_path: Path) -> Path:
    """Three scenes of four patches each, of which one lacks pixels, and a broken one."""
    for seed, name in enumerate('abc'):
        data = np.random.default_rng(seed).random((1, 32, 32))
        if name == 'b':
            data[:, :16, :16] = np.nan
        write_raster(f'in/{name}.tif', data=data)
    (tmp_path / 'in' / 'broken.tif').write_bytes(b'II*')
    return tmp_path / 'in'


@pytest.fixture
def run(fake: Callable[..., Any], folder: Path) -> Run:
    def run(out: Path | None, **more: Any) -> EmbeddingTable:
        return embed(
            fake(channels=1), folder, 's2', 16, out=out, progress=False, **more
        )

    return run


def history(run: Run, folder: Path, out: Path, **more: Any) -> list[EmbeddingTable]:
    """A first run, one with nothing to do, an update that prunes, and a replacement."""
    made = [run(out, **more), run(out, **more)]
    content = (folder / 'a.tif').read_bytes()
    (folder / 'a.tif').rename(folder / 'd.tif')
    made.append(run(out, update=True, prune=True, **more))
    (folder / 'd.tif').unlink()
    (folder / 'a.tif').write_bytes(content)
    made.append(run(out, overwrite=True, **more))
    return made


@pytest.mark.slow
@pytest.mark.parametrize('engine', ['local', 'lightning'])
@pytest.mark.filterwarnings('ignore:1 of . scenes were refused')
def test_archive_report_and_words_are_the_same(
    run: Run,
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    told, reports = [], []
    for load in (True, False):
        caplog.clear()
        out = tmp_path / f'out-{load}'
        with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
            if not load:
                patch.setattr(EmbeddingTable, 'load', None)
            tables = history(run, folder, out, engine=engine, load=load)
        assert [len(table) for table in tables] == [11 * load] * 4
        assert tables[-1].dim == 8
        told.append([line.replace(str(out), 'out') for line in caplog.messages])
        report = read_report(out)
        for name in ('seconds', 'patches_per_second', 'archive'):
            del report[name]
        reports.append(report)
    assert reports[0] == reports[1]
    assert sum('11 patches of 3 scenes' in line for line in told[0]) == 4
    assert told[0] == told[1]
    first = EmbeddingTable.load(tmp_path / 'out-True')
    second = EmbeddingTable.load(tmp_path / 'out-False')
    pd.testing.assert_frame_equal(first.frame, second.frame)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.record == second.record


@pytest.mark.filterwarnings('ignore:1 of . scenes were refused')
def test_what_cannot_be(run: Run, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match='load=False leaves all rows in an archive'):
        run(None, load=False)
    for name in 'abc':
        (folder / f'{name}.tif').unlink()
    with pytest.raises(RasterError, match='cannot be read as a raster'):
        run(tmp_path / 'out', load=False)


@pytest.mark.filterwarnings('ignore:1 of . scenes were refused')
def test_what_rows_were_normalised_by_is_read_without_them(
    fake: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    """Also of an archive that lacks a part, which is to be written again."""
    task, out = fake(channels=1), tmp_path / 'out'
    task.specs['s2'] |= {'mean': [7.0], 'std': [3.0]}
    embed(task, folder, 's2', 16, out=out, progress=False)
    next(out.glob('part-*a.tif*')).unlink()
    measured = measure_pixels(fake(channels=1), folder, 's2', out=out)
    assert measured == {'mean': [7.0], 'std': [3.0]}


def test_the_command_reads_no_row(
    fake: Callable[..., Any],
    write_raster: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: fake(channels=1))
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    write_raster('in/a.tif', data=np.ones((1, 32, 32)))
    words = f'embed {tmp_path}/in --ckpt best.ckpt --modality s2 --quiet --out '
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingTable, 'load', None)
        assert main([*words.split(), f'{tmp_path}/out']) == 0
    assert len(EmbeddingTable.load(tmp_path / 'out')) == 4
    assert main([*words.split(), f'{tmp_path}/centred', '--center']) == 0
    assert len(EmbeddingTable.load(tmp_path / 'centred-centred')) == 4
