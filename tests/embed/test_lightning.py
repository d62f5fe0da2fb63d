"""Ranks of torchrun write the archive of a run on its own, whoever is killed meanwhile."""

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.embed import RefusedWarning, embed, read_report
from torchgeo_cmr.errors import QueryError, RasterError


@pytest.mark.slow
def test_a_killed_rank_loses_nothing(engines: Any) -> None:
    engines.make(11)  # odd: ranks have shares of 6 and 5
    begun = time.monotonic()
    assert engines.run('lightning', 'worker', 4, ranks=2) not in (0, -signal.SIGKILL)
    assert engines.killed
    # Nobody waits for the rank that is gone.
    assert time.monotonic() - begun < 120
    engines.rest()
    there = engines.parts()
    assert 4 <= there < 11
    engines.check_each_is_missed()
    engines.calls()
    assert engines.run('lightning', ranks=2) == 0, engines.told
    assert engines.told.split().count('44') == 2  # every rank returns the whole
    calls = engines.calls()
    assert len(calls) == 11 - there
    assert len(set(calls)) == min(2, len(calls))
    report = read_report(engines.out)
    assert (len(report['skipped']), len(report['done'])) == (there, 11 - there)
    engines.check_complete()
    # One scene for two ranks.
    min(engines.out.glob('part-*')).unlink()
    assert engines.run('lightning', ranks=2) == 0, engines.told
    assert len(engines.calls()) == 1
    engines.check_complete()


@pytest.mark.slow
def test_ranks_without_their_launcher_do_no_harm(engines: Any) -> None:
    engines.make(41)
    with engines.start('lightning', 'driver', 4, ranks=2) as launcher:
        assert launcher.wait(timeout=900) == -signal.SIGKILL
    # One of its ranks goes on when another run has done some scenes.
    assert engines.run('local') == 0, engines.told
    engines.check_complete()
    engines.rest()
    engines.check_complete()
    # What was done twice was written in place of the same.
    assert 41 < len(engines.calls()) <= 82


@pytest.mark.parametrize('name', ['RANK', 'WORLD_SIZE'])
def test_a_rank_that_is_no_number_is_refused(
    tmp_path: Path,
    fake: Any,
    write_raster: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    write_raster('in/0.tif', data=np.ones((1, 32, 32)))
    monkeypatch.setenv(name, 'first')
    with pytest.raises(
        QueryError, match=f"the variable {name} is 'first', .* remove it"
    ):
        embed(
            fake(channels=1),
            tmp_path / 'in',
            's2',
            16,
            out=tmp_path / 'out',
            engine='lightning',
        )


@pytest.mark.slow
def test_one_process_reports_as_a_local_run(
    tmp_path: Path, fake: Any, write_raster: Any
) -> None:
    for seed in range(3):
        data = np.random.default_rng(seed).random((1, 32, 32))
        write_raster(f'in/{seed}.tif', data=data)
    (tmp_path / 'in' / 'empty.tif').write_bytes(b'II*')
    tables, reports = [], []
    for engine in ('local', 'lightning'):
        out, task = tmp_path / engine, fake(channels=1)
        given: dict[str, Any] = {'out': out, 'progress': False, 'engine': engine}
        for done, more in (
            (3, {}),
            (0, {}),
            (1, {'update': True}),
            (4, {'overwrite': True}),
        ):
            if 'update' in more:
                write_raster('in/3.tif', data=data)
            with pytest.warns(RefusedWarning, match='1 of . scenes were refused'):
                table = embed(task, tmp_path / 'in', 's2', 16, **given, **more)
            told = read_report(out)
            assert told['counts']['done'] == done
            for name in ('seconds', 'patches_per_second', 'archive'):
                del told[name]
            reports.append(told)
        (tmp_path / 'in' / '3.tif').unlink()
        tables.append(table)
        with pytest.raises(RasterError, match=r'empty\.tif cannot be read'):
            embed(task, tmp_path / 'in', 's2', 16, errors='raise', **given)
    assert reports[:4] == reports[4:]
    first, second = tables
    pd.testing.assert_frame_equal(first.frame, second.frame)
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.record == second.record
