"""Updates, refusals, reports, and twenty kills in a row."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import rasterio

from torchgeo_cmr import tasks
from torchgeo_cmr.embed import RefusedWarning, embed, read_report
from torchgeo_cmr.embed.run_report import Report
from torchgeo_cmr.embed.scenes.archive_plan import plan_scenes
from torchgeo_cmr.embed.scenes.content import fingerprint
from torchgeo_cmr.errors import ArchiveError, RasterError
from torchgeo_cmr.main import main
from torchgeo_cmr.table import EmbeddingTable, read_header

Writer = Callable[..., Path]
Fake = Callable[..., Any]

QUIET: dict[str, Any] = {'progress': False}


@pytest.fixture
def folder(write_raster: Writer, tmp_path: Path) -> Path:
    """Three scenes of four patches each, random pixels."""
    for seed, name in enumerate('abc'):
        scene(write_raster, name, seed)
    return tmp_path / 'in'


def scene(write_raster: Writer, name: str, seed: int) -> Path:
    data = np.random.default_rng(seed).random((1, 32, 32))
    return write_raster(f'in/{name}.tif', data=data)


def run(task: Any, folder: Path, out: Path | None, **more: Any) -> EmbeddingTable:
    return embed(task, folder, 's2', 16, out=out, **{**QUIET, **more})


def test_an_update_embeds_what_is_new_or_changed(
    folder: Path, write_raster: Writer, fake: Fake, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    run(fake(channels=1), folder, out)
    before = {p.name: p.stat().st_mtime_ns for p in out.glob('part-*')}
    scene(write_raster, 'b', seed=7)
    scene(write_raster, 'd', seed=8)
    os.utime(folder / 'a.tif')  # touched, not changed
    with pytest.raises(ArchiveError, match=r'begun with scenes = .*; update it, name'):
        run(fake(channels=1), folder, out)
    task = fake(channels=1)
    table = run(task, folder, out, update=True)
    report = read_report(out)
    assert report['done'] == ['b.tif', 'd.tif']
    assert report['changed'] == ['b.tif']
    assert report['skipped'] == ['a.tif', 'c.tif']
    assert task.batches == [1, 4, 4]
    after = {p.name: p.stat().st_mtime_ns for p in out.glob('part-*')}
    assert sum(before.get(name) == stamp for name, stamp in after.items()) == 2
    whole = run(fake(channels=1), folder, None)
    assert table.frame['patch_id'].tolist() == whole.frame['patch_id'].tolist()
    np.testing.assert_array_equal(table.vectors, whole.vectors)
    # Now it is an archive of these scenes, which a plain run completes.
    task = fake(channels=1)
    run(task, folder, out)
    assert task.batches == [1]
    assert read_header(out)['work_items'] == 4


@pytest.mark.parametrize('prune', [False, True])
def test_a_scene_that_became_smaller_than_a_patch_has_no_rows(
    prune: bool, folder: Path, write_raster: Writer, fake: Fake, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    run(fake(channels=1), folder, out)
    write_raster('in/b.tif', shape=(8, 8))
    with pytest.warns(UserWarning, match='smaller than a patch') as caught:
        table = run(fake(channels=1), folder, out, update=True, prune=prune)
    assert len(caught) == 1
    assert set(table.frame['source']) == {'a.tif', 'c.tif'}
    report = read_report(out)
    assert report['too_small'] == report['changed'] == ['b.tif']
    assert report['vanished'] == report['pruned'] == []


def test_vanished_scenes_stay_until_they_are_pruned(
    folder: Path, fake: Fake, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    run(fake(channels=1), folder, out)
    (folder / 'b.tif').unlink()
    table = run(fake(channels=1), folder, out, update=True)
    assert set(table.frame['source']) == {'a.tif', 'b.tif', 'c.tif'}
    assert read_report(out)['vanished'] == ['b.tif']
    assert read_report(out)['pruned'] == []
    table = run(fake(channels=1), folder, out, update=True, prune=True)
    assert set(table.frame['source']) == {'a.tif', 'c.tif'}
    assert read_report(out)['pruned'] == ['b.tif']


def test_an_update_of_one_folder_keeps_the_root(
    folder: Path, fake: Fake, tmp_path: Path, write_raster: Writer
) -> None:
    out = tmp_path / 'out'
    run(fake(channels=1), folder, out)
    # Only one scene is left, in a folder of its own: its id must not change.
    (folder / 'deep').mkdir()
    (folder / 'c.tif').rename(folder / 'deep' / 'c.tif')
    table = embed(
        fake(channels=1), folder / 'deep', 's2', 16, out=out, update=True, **QUIET
    )
    assert set(table.frame['source']) == {'a.tif', 'b.tif', 'c.tif', 'deep/c.tif'}


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ({'update': True, 'overwrite': True}, 'do not overwrite it'),
        ({'prune': True}, 'only an update prunes'),
        ({'errors': 'ignore'}, "errors is 'ignore': choose one of refuse, raise"),
    ],
)
def test_an_update_needs_an_archive(
    folder: Path, fake: Fake, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises((ArchiveError, RasterError), match=message):
        run(fake(channels=1), folder, tmp_path / 'out', **more)
    with pytest.raises(ArchiveError, match='name it with out'):
        run(fake(channels=1), folder, None, update=True)


def test_a_broken_scene_is_refused_and_the_others_go_on(
    folder: Path, truncated: Path, fake: Fake, tmp_path: Path, write_raster: Writer
) -> None:
    out = tmp_path / 'out'
    (folder / 'empty.tif').write_bytes(b'II*')
    write_raster('in/bare.tif', crs=None)
    shutil.copy(truncated, folder / 'cut.tif')
    with pytest.warns(RefusedWarning, match='3 of 6 scenes were refused'):
        table = run(fake(channels=1), folder, out)
    assert set(table.frame['source']) == {'a.tif', 'b.tif', 'c.tif'}
    report = read_report(out)
    assert report['counts']['refused'] == 3
    told = {Path(name).name: why for name, why in report['refused'].items()}
    assert 'cannot be read as a raster' in told['empty.tif']
    assert 'has no CRS' in told['bare.tif']
    assert 'truncated' in told['cut.tif']
    # A scene that was mended is embedded by the next run.
    scene(write_raster, 'cut', seed=5)
    (folder / 'empty.tif').unlink()
    (folder / 'bare.tif').unlink()
    table = run(fake(channels=1), folder, out, update=True)
    assert read_report(out)['done'] == ['cut.tif']
    assert len(table) == 16


def test_errors_can_be_raised(folder: Path, fake: Fake, tmp_path: Path) -> None:
    (folder / 'empty.tif').write_bytes(b'II*')
    with pytest.raises(RasterError, match=r'empty\.tif cannot be read'):
        run(fake(channels=1), folder, tmp_path / 'out', errors='raise')
    for name in 'abc':
        (folder / f'{name}.tif').write_bytes(b'II*')
    with pytest.raises(RasterError, match='other scenes that were refused: 3'):
        run(fake(channels=1), folder, tmp_path / 'out')


def test_the_exit_code_tells_of_refused_scenes(
    folder: Path,
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = fake(channels=1)
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: task)
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    out = tmp_path / 'out'
    words = ['embed', str(folder), '--ckpt', 'x', '--modality', 's2', '--quiet']
    words += ['--out', str(out), '--gsd', 'ignore']
    (folder / 'empty.tif').write_bytes(b'II*')
    with warnings.catch_warnings():
        warnings.simplefilter('always')  # as outside of tests
        assert main(words) == 1
    told = capsys.readouterr().err
    assert 'warning: 1 of 4 scenes were refused' in told
    assert 'scenes: 3 done, 0 there already, 0 smaller than a patch, 1 refused' in told
    (folder / 'empty.tif').unlink()
    assert main([*words, '--update', '--prune']) == 0
    assert main([*words, '--errors', 'raise']) == 0
    assert main([*words, '--precision', '8']) == 2


def test_a_report_counts(folder: Path, fake: Fake, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    run(fake(channels=1), folder, out)
    told = json.loads((tmp_path / 'out-report.json').read_text())
    assert told == read_report(out)
    assert told['counts']['done'] == 3
    assert told['patches'] == 12
    assert told['patches_per_second'] > 0
    run(fake(channels=1), folder, out)
    assert read_report(out)['counts'] == {
        **dict.fromkeys(told['counts'], 0),
        'skipped': 3,
    }
    with pytest.raises(ArchiveError, match='written by the run that embeds'):
        read_report(tmp_path / 'nowhere')
    assert Report().to_dict()['patches_per_second'] == 0


def test_a_fingerprint_sees_edges_and_samples(write_raster: Writer) -> None:
    # Larger than what is read of it: edges and samples alone decide.
    path = write_raster('big.tif', data=np.zeros((1, 512, 512)))

    def mark() -> str:
        from torchgeo_cmr.embed.scenes.inputs import list_scenes

        (item,) = plan_scenes(list_scenes([path]), 's2', 16).items
        return fingerprint(item)

    first = mark()
    os.utime(path, (0, 0))
    assert mark() == first
    size = path.stat().st_size
    assert size > 2 * 65_536 + 14 * 4096
    with rasterio.open(path, 'r+') as file:
        pixels = file.read()
        pixels[0, 256] = 1  # 2 KiB in the middle of 1 MiB may go unseen
        pixels[0, -1] = 1  # the end never does
        file.write(pixels)
    assert path.stat().st_size == size
    assert mark() != first


SCRIPT = """
import importlib.util, os, random, shutil, signal, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location('fakes', {fakes!r})
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)
from torchgeo_cmr.embed import embed

class Mortal(fakes.FakeTask):
    # Dies at a step, which is a batch, or a file that is about to be written or to get its name.
    left = 0

    def step(self, event, args=()):
        written = event == 'open' and isinstance(args[1], str) and set(args[1]) & set('wax+')
        if event in ('embed', 'os.rename', 'os.link') or written:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

    def embed(self, batch, modality):
        self.step('embed')
        return super().embed(batch, modality)

# Children of one process that has everything imported: each dies for itself.
generator, seen = random.Random(0), []
while len(seen) < 20:
    left = generator.randint(1, 20)
    pid = os.fork()
    if pid == 0:
        task = Mortal(channels=1)
        task.left = left
        sys.addaudithook(task.step)
        embed(task, {folder!r}, 's2', 16, out={out!r}, batch_size=2, progress=False)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == signal.SIGKILL:
        seen.append(len([*Path({out!r}).glob('part-*.parquet')]))
    else:
        # It was done before its step came: the next one starts afresh.
        shutil.rmtree({out!r})
print(*seen)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_killed_again_and_again_the_archive_is_that_of_an_undisturbed_run(
    write_raster: Writer, fake: Fake, tmp_path: Path
) -> None:
    for seed in range(24):
        scene(write_raster, f'{seed:02}', seed)
    folder, out = tmp_path / 'in', tmp_path / 'out'
    script = SCRIPT.format(
        fakes=str(Path(__file__).with_name('conftest.py')),
        folder=str(folder),
        out=str(out),
    )
    done = forked.run('-c', script, env=os.environ | {'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    seen = [int(parts) for parts in done.stdout.split()]
    assert len(seen) == 20
    assert len({parts for parts in seen if parts < 24}) > 5
    resumed = run(fake(channels=1), folder, out, batch_size=2)
    whole = run(fake(channels=1), folder, None, batch_size=2)
    assert resumed.frame['patch_id'].tolist() == whole.frame['patch_id'].tolist()
    assert (resumed.frame.geometry == whole.frame.geometry).all()
    np.testing.assert_allclose(resumed.vectors, whole.vectors, atol=1e-6)
    assert not list(out.glob('.tmp-*'))
