"""Checkpoints of a run: the old one or the new one, never half of one."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from torchgeo_cmr.cli.checkpoint_files import CheckpointFiles


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
