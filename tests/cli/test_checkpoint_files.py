"""Checkpoints of a run: the old one or the new one, never half of one."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from torchgeo_cmr.cli.checkpoint_files import CheckpointFiles, only_run
from torchgeo_cmr.durable import locked
from torchgeo_cmr.errors import CMRError, OutputExistsError


def test_saved_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / 'deep' / 'last.ckpt'
    for step in (1, 2):
        CheckpointFiles().save_checkpoint({'step': step}, path)
        assert torch.load(path, weights_only=True) == {'step': step}
    assert [p.name for p in path.parent.iterdir()] == ['last.ckpt']


@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'full'), KeyboardInterrupt()])
def test_the_last_one_outlives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / 'last.ckpt'
    CheckpointFiles().save_checkpoint({'step': 1}, path)

    def save(content: Any, file: Path) -> None:
        file.write_bytes(b'half')
        raise error

    monkeypatch.setattr(torch, 'save', save)
    with pytest.raises(type(error)):
        CheckpointFiles().save_checkpoint({'step': 2}, path)
    assert torch.load(path, weights_only=True) == {'step': 1}
    assert [p.name for p in tmp_path.iterdir()] == ['last.ckpt']


@pytest.mark.parametrize('logged', [True, False])
@pytest.mark.parametrize('dirpath', [None, 'mine'])
def test_two_runs_do_not_share_a_folder(
    tmp_path: Path, logged: bool, dirpath: str | None
) -> None:
    def trainer() -> Trainer:
        return Trainer(
            default_root_dir=tmp_path,
            accelerator='cpu',
            # Both begin when there is no version yet.
            logger=CSVLogger(tmp_path) if logged else False,
            callbacks=ModelCheckpoint(dirpath and tmp_path / dirpath),
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    runs = trainer(), trainer()
    other = tmp_path / 'lightning_logs' / 'version_9' / 'checkpoints'
    other.mkdir(parents=True)
    left = other / '.best.tmp-4000000.ckpt'  # a number that no process has
    left.touch()
    with only_run(runs[0]):
        busy = 'another process trains into .*: start again'
        with pytest.raises(OutputExistsError, match=busy), only_run(runs[1]):
            pass
        assert left.exists() is not logged
    with only_run(runs[1]):
        pass
    assert not list(tmp_path.rglob('.*.lock'))


def test_locks_of_killed_runs_are_swept(tmp_path: Path) -> None:
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator='cpu',
        logger=CSVLogger(tmp_path),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    logs = tmp_path / 'lightning_logs'
    logs.mkdir()
    dead, alive = logs / '.version_7.lock', logs / '.version_8.lock'
    dead.touch()
    with locked(alive, CMRError('busy')), only_run(trainer):
        assert not dead.exists()
        assert alive.exists()
    assert not list(tmp_path.rglob('.*.lock'))
