"""Actors of Ray write the archive of a run on its own, whoever is killed meanwhile."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr.embed import embed, read_report
from torchgeo_cmr.errors import ArchiveError, CMRError, QueryError


@pytest.mark.slow
def test_killed_drivers_and_actors_lose_nothing(engines: Any, truncated: Path) -> None:
    engines.make(40)
    (engines.scenes / 'broken.tif').write_bytes(b'II*')
    shutil.copy(truncated, engines.scenes)
    assert engines.run('ray', 'driver', 10) == -signal.SIGKILL
    engines.rest()
    there = engines.parts()
    assert 10 <= there < 30
    engines.check_each_is_missed()
    assert len(engines.calls()) < 40
    # The run that goes on loses an actor.
    engines.forget_who_was_killed()
    assert engines.run('ray', 'worker', there + 5) == 0, engines.told
    assert engines.killed
    assert engines.told.splitlines()[-1] == '160'
    assert engines.parts() == 40
    report = read_report(engines.out)
    refused, every = report['refused'], {f'{number:02}.tif' for number in range(40)}
    assert (len(report['skipped']), len(report['done'])) == (there, 40 - there)
    assert {*report['skipped'], *report['done']} == every
    assert report['patches'] == 4 * (40 - there)
    assert 'cannot be read as a raster' in refused[str(engines.scenes / 'broken.tif')]
    assert 'truncated' in refused['cut.tif']  # by an actor
    calls = engines.calls()
    # The actor that was killed did one scene in vain, and another one took its place.
    assert 40 - there < len(calls) <= 44 - there
    assert len(set(calls)) == 3
    engines.check_complete()


def test_mistakes_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Any, write_raster: Any
) -> None:
    path = write_raster('a.tif')

    def run(**more: Any) -> None:
        embed(fake(channels=1), path, 's2', 16, progress=False, **more)

    with pytest.raises(QueryError, match=r"no engine 'onnx': choose .*runtime='onnx'"):
        run(engine='onnx')
    for engine in ('ray', 'lightning'):
        with pytest.raises(ArchiveError, match='name an archive with out'):
            run(engine=engine)
    for more in ({'workers': 2}, {'engine': 'ray', 'workers': 0}):
        with pytest.raises(QueryError, match='give 1 or more, of Ray alone'):
            run(out=tmp_path / 'out', **more)
    monkeypatch.setitem(sys.modules, 'ray', None)
    monkeypatch.delitem(sys.modules, 'torchgeo_cmr.embed.ray', raising=False)
    with pytest.raises(CMRError, match=r'install torchgeo-cmr\[ray\], or'):
        run(engine='ray', out=tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
