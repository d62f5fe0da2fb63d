"""Checkpoints of a training run that are whole or not there, whatever stops the run."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO

from torchgeo_cmr.drafts import claimed, new_draft, sweep
from torchgeo_cmr.durable import locked
from torchgeo_cmr.errors import CMRError, OutputExistsError
from torchgeo_cmr.tasks.storage.checkpoint import load_plain


class CheckpointFiles(TorchCheckpointIO):
    """Write checkpoints next to their name, flush them to the disk, then rename them.

    Lightning writes them in the folder for temporary files; from there to another disk they are
    copied, and a run that is killed meanwhile leaves half of one in the place of the last.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Save a checkpoint.

        Args:
            checkpoint: What the trainer gives.
            path: Target; one on the network is left to Lightning.
            storage_options: None.

        Raises:
            OSError: If the disk is full or closed; the checkpoint before it is still there.
        """
        if storage_options is not None or '://' in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with new_draft(path, overwrite=True) as draft:
            torch.save(checkpoint, draft)

    def load_checkpoint(
        self, path: Any, map_location: Any = 'cpu', weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint, of weights and plain values unless the user wants more.

        Lightning also looks for some unasked, and runs what those on a disk hold.

        Args:
            path: File, also one on the network.
            map_location: As of ``torch.load``.
            weights_only: False runs what the file holds.

        Raises:
            ArchiveError: If it is damaged or holds anything else.
        """
        if weights_only is False:
            return super().load_checkpoint(path, map_location, weights_only=False)
        if '://' not in str(path):
            return load_plain(path, map_location=map_location)
        with fsspec.open(str(path), 'rb') as file:
            return load_plain(file, map_location=map_location)


@contextmanager
def only_run(trainer: Trainer) -> Generator[None]:
    """Let one run at a time write logs and checkpoints into a folder.

    Lightning numbers its folders by those that are there, so that two runs which begin at once
    take the same one. Checkpoints that a dead run left half written are removed.

    Args:
        trainer: Of the run; only the first of its processes takes the locks.

    Raises:
        OutputExistsError: If another run has one of its folders.
    """
    with ExitStack() as held:
        for folder in _folders(trainer) if trainer.is_global_zero else ():
            busy = OutputExistsError(
                f'another process trains into {folder}: start again for a new version, name another '
                '--trainer.default_root_dir, or wait until it is done'
            )
            lock = folder.with_name(f'.{folder.name}.lock')
            held.enter_context(claimed(lock, folder, busy))
            for old in (folder, *folder.parent.glob('*/checkpoints')):
                sweep(old)
            # A run that was killed leaves the lock of a number that no other run takes.
            for left in folder.parent.glob('.version_*.lock'):
                if left != lock:
                    with suppress(CMRError, OSError), locked(left, busy):
                        pass
        yield


def _folders(trainer: Trainer) -> list[Path]:
    """List the folders of a run on this disk; those of other loggers have names of their own."""
    named: list[str | Path | None] = [
        logger.log_dir
        for logger in trainer.loggers
        if isinstance(logger, CSVLogger | TensorBoardLogger)
    ]
    default = None if trainer.loggers else f'{trainer.default_root_dir}/checkpoints'
    named += [
        callback.dirpath or default
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
    ]
    return sorted(
        {Path(name).absolute() for name in named if name and '://' not in str(name)}
    )
