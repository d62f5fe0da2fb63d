"""A disk that fills, closes or vanishes under the commands that work for hours: embed, speak, fit, clips.

Real full disks are small file systems in memory, in a child with mounts of its own; where the system
permits none, injected faults are left.
"""

import ctypes
import errno
import gc
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import injected_faults
import kills
import numpy as np
import pytest
import rasterio
import torch

from torchgeo_cmr import tasks
from torchgeo_cmr.export.pictures import clips
from torchgeo_cmr.main import main
from torchgeo_cmr.speech import corpus, read_wav
from torchgeo_cmr.table import EmbeddingTable

pytestmark = [
    pytest.mark.skipif(sys.platform != 'linux', reason='mounts, /proc'),
    # Lightning's command line calls jsonargparse by names that are going away
    pytest.mark.filterwarnings('ignore'),
]

FIT = """
trainer:
  max_epochs: 1
  accelerator: cpu
  logger: LOGGER
  limit_train_batches: 1
  limit_val_batches: 1
  enable_progress_bar: false
  enable_model_summary: false
model:
  class_path: torchgeo_cmr.tasks.SSCMRSIR
  init_args: {in_channels: {a: 1, b: 1}, model: test_resnet, output_dim: 8}
data:
  class_path: torchgeo_cmr.datamodules.PairedDataModule
  init_args:
    datasets:
      a: {class_path: torchgeo.datasets.RasterDataset, init_args: {paths: s/a.tif}}
      b: {class_path: torchgeo.datasets.RasterDataset, init_args: {paths: fit/b.tif}}
    patch_size: 16
    block: 1
    length: 8
    batch_size: 4
"""


class Engine:
    """Speaks a hum, always the same."""

    name = 'hum'

    def say(
        self, words: str, voice: str, speed: int, pitch: int
    ) -> tuple[np.ndarray, int]:
        length = 3200 + 16 * (len(words) + speed)
        return np.sin(np.arange(length, dtype=np.float32) / (9 + pitch)) / 2, 16_000


def rows(home: Path) -> Mapping[str, Any]:
    return {} if not (home / 'x').exists() else dict(kills.embeddings(home))


def beside(home: Path, ending: str) -> Mapping[str, Any]:
    folder = home / f'x{ending}'
    if not folder.exists():
        return rows(home)
    frame = EmbeddingTable.load(folder).frame
    return {**rows(home), ending: len(frame)}


def sounds(home: Path) -> Mapping[str, Any]:
    found: dict[str, Any] = {
        str(p.relative_to(home)): len(read_wav(p)) for p in home.rglob('*.wav')
    }
    if (home / 'x' / 'manifest.csv').exists():
        found['manifest'] = (home / 'x' / 'manifest.csv').read_text()
    return found


def weights(home: Path) -> Mapping[str, Any]:
    """Every checkpoint loads; give the weights of the last of a run that came to its end."""
    found = [(p, torch.load(p, weights_only=True)) for p in home.rglob('*.ckpt')]
    ends = {
        json.dumps({k: v.double().sum().item() for k, v in c['state_dict'].items()})
        for p, c in found
        if p.name.startswith('last')
    }
    return dict.fromkeys(ends)


def cuts(home: Path) -> Mapping[str, Any]:
    found = {}
    for path in home.rglob('*.tif'):
        with rasterio.open(path) as file:
            found[path.name] = int(file.read().sum())
    sheet = home / 'x' / 'contact_sheet.png'
    return {**found, **({'sheet': sheet.stat().st_size} if sheet.exists() else {})}


class Case(NamedTuple):
    """A command, what its files hold, and where a folder may be removed."""

    words: str
    state: Callable[[Path], Mapping[str, Any]]
    #: Owner and name of a function that is called several times on the way.
    step: tuple[Any, str]
    #: Whether parts of it are kept when it ends early.
    stepwise: bool = True
    before: str | None = None


EMBED = 'embed s --ckpt x --modality s2 --quiet --out HOME/x'
CASES = {
    'embed': Case(EMBED, rows, (corpus, '_sound')),
    'embed --overwrite': Case(
        f'{EMBED} --overwrite --flips', rows, (corpus, '_sound'), False, EMBED
    ),
    'embed --over-dates': Case(
        f'{EMBED} --over-dates mean',
        lambda home: beside(home, '-over-dates'),
        (corpus, '_sound'),
    ),
    'embed --center': Case(
        f'{EMBED} --center', lambda home: beside(home, '-centred'), (corpus, '_sound')
    ),
    'speak': Case(
        'speak --labels sea --labels town --voice en --takes 2 --quiet --out HOME/x',
        sounds,
        (corpus, '_sound'),
    ),
    'fit': Case(
        'fit --config run.yaml --trainer.default_root_dir HOME/x',
        weights,
        (tasks.SSCMRSIR, 'validation_step'),
    ),
    'fit, logged': Case(
        'fit --config logged.yaml --trainer.default_root_dir HOME/x',
        weights,
        (tasks.SSCMRSIR, 'validation_step'),
    ),
    'clips': Case(
        'search A --query s2:a.tif:0_0_16x16 -k 3 --clips HOME/x', cuts, (clips, '_cut')
    ),
}


@pytest.fixture(scope='module')
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('inputs')
    kills.scenes(folder, 'abc')
    (folder / 'fit').mkdir()
    shutil.copy(folder / 's' / 'a.tif', folder / 'fit' / 'b.tif')
    for name, logger in (('run', 'false'), ('logged', 'true')):
        (folder / f'{name}.yaml').write_text(FIT.replace('LOGGER', logger))
    kills.embed(
        encoder(),
        [str(folder / 's')],
        's2',
        16,
        out=folder / 'A',
        root=folder / 's',
        progress=False,
    )
    return folder


def encoder() -> Any:
    made = kills.Encoder('one')
    made.specs = {'s2': {'patch_size': 16}}
    return made


@pytest.fixture(
    params=[
        n if n in ('embed', 'speak') else pytest.param(n, marks=pytest.mark.slow)
        for n in CASES
    ]
)
def case(
    request: pytest.FixtureRequest, inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> Case:
    monkeypatch.chdir(inputs)
    task = encoder()
    monkeypatch.setattr(tasks, 'load_task', lambda ckpt, task_class: task)
    monkeypatch.setattr('torchgeo_cmr.regular_files.check_checkpoint', str)
    monkeypatch.setattr(corpus, 'open_engine', Engine)
    case = CASES[request.param]
    return case._replace(step=(task, 'embed')) if 'embed' in request.param else case


class Trial:
    """A case in a folder, its old state, and that of an undisturbed run."""

    def __init__(self, case: Case, home: Path, errors: Callable[[], str]) -> None:
        self.case, self.home, self.errors = case, home, errors
        self.begin()
        self.old = case.state(home)
        assert self.run()[0] == 0
        self.new = case.state(home)
        assert self.old != self.new

    def begin(self) -> None:
        """Empty the folder, and make what is to be replaced."""
        for path in self.home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if self.case.before is not None:
            assert self.run(self.case.before)[0] == 0

    def run(self, words: str | None = None) -> tuple[int, str]:
        self.errors()
        text = self.case.words if words is None else words
        code = main(text.replace('HOME', str(self.home)).split())
        return code, self.errors()

    def check_failed(self, code: int, errors: str) -> None:
        """See that it ended in a sentence with name and cure, and that nothing is half there."""
        assert code == 2, errors
        assert 'Traceback' not in errors
        line = errors.splitlines()[-1]
        assert str(self.home) in line
        assert '.tmp-' not in line.partition('(')[0]
        assert 'make room' in line or 'again' in line
        state = self.case.state(self.home)
        if self.case.stepwise:
            assert state.items() <= self.new.items()
        else:
            assert state == self.old

    def check_again(self) -> None:
        """See that the same again gives what an undisturbed run gives, and leaves no draft."""
        code, errors = self.run()
        assert code == 0, errors
        assert self.case.state(self.home) == self.new
        assert not [p for p in self.home.rglob('.*') if 'tmp-' in p.name]


def in_mounts(folder: Path, trial: Callable[[Callable[..., None]], None]) -> None:
    """Run a trial in a child that may mount a file system on a folder; skip if it may not."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(options: str, flags: int = 0) -> None:
        words = b'tmpfs', os.fsencode(folder), b'tmpfs', flags, options.encode()
        for _ in range(_PATIENCE):
            if not libc.mount(*words):
                return
            if ctypes.get_errno() != errno.EBUSY:
                break
            # A logger that was left open is closed when it is collected.
            gc.collect()
            time.sleep(0.1)
        raise OSError(ctypes.get_errno(), 'mount')

    report = folder.with_name('report')
    process = os.fork()
    if not process:
        code = 3
        try:
            # A namespace of users, and one of mounts that is not shared with others.
            user, group = os.getuid(), os.getgid()
            os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNS)
            # Whoever has no number in it makes no files.
            Path('/proc/self/setgroups').write_text('deny')
            Path('/proc/self/uid_map').write_text(f'0 {user} 1')
            Path('/proc/self/gid_map').write_text(f'0 {group} 1')
            mount('size=1m')
            code = 1
            trial(mount)
            code = 0
        except BaseException as error:  # noqa: BLE001 (the parent names it)
            report.write_text(f'{type(error).__name__}: {error}')
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code == 3:
        pytest.skip('this system permits no mounts')
    assert code == 0, report.read_text()


def used(home: Path) -> int:
    sizes = [p.stat().st_size for p in home.rglob('*') if p.is_file()]
    return sum(-(-size // 4096) * 4096 for size in sizes)


_REMOUNT, _CLOSED = 32, 1
#: Tries while a file is still open, a tenth of a second apart.
_PATIENCE = 50


@pytest.mark.slow
def test_a_disk_that_is_full(
    case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / 'home'
    home.mkdir()

    def trial(mount: Callable[..., None]) -> None:
        mount('size=100m', _REMOUNT)
        made = Trial(case, home, lambda: capfd.readouterr().err)
        full, failed = used(home), 0
        for share in (0.2, 0.8) if 'fit' in case.words else (0, 0.3, 0.6):
            made.begin()
            mount(f'size={max(used(home) + int(full * share), 8192)}', _REMOUNT)
            code, errors = made.run()
            failed += code
            if code:
                made.check_failed(code, errors)
            mount('size=100m', _REMOUNT)
            made.check_again()
        assert failed >= 2 * 2
        made.begin()
        mount('', _REMOUNT | _CLOSED)
        made.check_failed(*made.run())
        mount('', _REMOUNT)
        made.check_again()

    in_mounts(home, trial)


@pytest.mark.slow
@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_from_some_moment(
    case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    home = tmp_path / 'home'
    home.mkdir()
    Disk = injected_faults.Disk
    made = Trial(case, home, lambda: capfd.readouterr().err)
    made.begin()
    with Disk(home) as disk:
        assert made.run()[0] == 0
    moments = (2, disk.count // 2, disk.count - 1)
    for nth in moments[1:2] if 'fit' in case.words else moments:
        made.begin()
        with Disk(home, 'full', nth, number):
            result = made.run()
        if result[0]:  # what was no draft any more may have failed to be flushed
            made.check_failed(*result)
        made.check_again()


def test_a_folder_that_is_removed(
    case: Case,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / 'home'
    home.mkdir()
    made = Trial(case, home, lambda: capfd.readouterr().err)
    made.begin()
    calls, real, ending = [], getattr(*case.step), signal.getsignal(signal.SIGTERM)

    def step(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == last:
            for path in home.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return real(*args, **options)

    last = 0
    monkeypatch.setattr(*case.step, step)
    assert made.run()[0] == 0
    last = len(calls)
    calls.clear()
    made.begin()
    made.old = {}
    code, errors = made.run()
    assert (
        signal.getsignal(signal.SIGTERM) == ending
    )  # so that it still ends the process
    if code:
        made.check_failed(code, errors)
    else:  # it could do without what was removed
        assert made.case.state(home) == made.new
    last = 0
    made.check_again()
