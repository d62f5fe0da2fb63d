"""Checkpoints of a training run that are whole or not there, whatever stops the run."""

from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from torchgeo_cmr.drafts import new_draft


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
