"""A training in lines: what a log file keeps where a bar would fill it."""

import logging
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

_LOG = logging.getLogger(__name__)


class EpochNotes(Callback):
    """Say after each epoch how long it took, what is left, and the score that is watched."""

    def __init__(self) -> None:
        """Start no clock yet."""
        self._begun = 0.0

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Start the clock."""
        self._begun = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it, once per run of several processes."""
        if not trainer.is_global_zero:
            return
        seconds = time.monotonic() - self._begun
        done, total = trainer.current_epoch + 1, trainer.max_epochs
        endless = total is None or total < 0
        text = f'epoch {done}' if endless else f'epoch {done} of {total}'
        monitor = str(getattr(pl_module, 'monitor', ''))
        watched: Any = trainer.callback_metrics.get(monitor)
        if watched is not None:
            text += f', {monitor} {float(watched):.4g}'
        text += f', {seconds:.1f} s'
        if not endless and total > done:
            text += f', {seconds * (total - done):.0f} s left'
        _LOG.info('%s', text)
