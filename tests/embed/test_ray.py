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
def test_a_killed_actor_is_replaced(engines: Any, truncated: Path) -> None:
    engines.make(40)
    (engines.scenes / 'broken.tif').write_bytes(b'II*')
    shutil.copy(truncated, engines.scenes)
    assert engines.run('ray', 'worker', 10) == 0, engines.told
    assert engines.killed
    assert engines.told.splitlines()[-1] == '160'
    assert engines.parts() == 40
    report = read_report(engines.out)
    refused = report['refused']
    assert report['done'] == [f'{number:02}.tif' for number in range(40)]
    assert report['patches'] == 160
    assert 'cannot be read as a raster' in refused[str(engines.scenes / 'broken.tif')]
    assert 'truncated' in refused['cut.tif']  # by an actor
    calls = engines.calls()
    # The actor that was killed did one scene in vain, and another one took its place.
    assert 40 < len(calls) <= 44
    assert len(set(calls)) == 3
    engines.check_complete()


@pytest.mark.slow
def test_a_killed_driver_loses_nothing(engines: Any) -> None:
    engines.make(40)
    assert engines.run('ray', 'driver', 10) == -signal.SIGKILL
    engines.rest()
    there = engines.parts()
    assert 10 <= there < 40
    engines.check_each_is_missed()
    assert len(engines.calls()) < 40
    assert engines.run('ray') == 0, engines.told
    assert len(engines.calls()) == 40 - there
    report = read_report(engines.out)
    assert (len(report['skipped']), len(report['done'])) == (there, 40 - there)
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
