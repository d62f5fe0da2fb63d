"""Pictures of validation samples for loggers that take figures, as tasks of TorchGeo log them."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchgeo.datasets import RGBBandsMissingError

__all__ = ('Figures',)

#: Batches of each validation of which the first sample is drawn, as many as TorchGeo draws.
_BATCHES = 10


class Figures:
    """Draws the first sample of each of the first validation batches."""

    def __init__(self) -> None:
        """Initialize a new Figures instance."""
        self._failed = False

    def log(self, task: Any, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Draw a sample for the loggers, if the data module can plot and a logger takes figures.

        A plot that fails is reported once and never ends the training.

        Args:
            task: The task that is validated.
            batch: The batch.
            batch_idx: Its number.
        """
        plot = getattr(getattr(task.trainer, 'datamodule', None), 'plot', None)
        if batch_idx >= _BATCHES or plot is None or self._failed:
            return
        if not task.trainer.is_global_zero or task.trainer.sanity_checking:
            return
        writers = [
            logger.experiment
            for logger in task.trainer.loggers
            if hasattr(getattr(logger, 'experiment', None), 'add_figure')
        ]
        if not writers:
            return
        try:
            figure = plot(_first(batch))
        except RGBBandsMissingError:
            return
        except Exception as error:  # noqa: BLE001
            self._failed = True
            rank_zero_warn(f'validation samples are not drawn: {error}')
            return
        if figure is None:
            return
        from matplotlib import pyplot as plt

        for writer in writers:
            writer.add_figure(
                f'image/{batch_idx}', figure, global_step=task.global_step, close=False
            )
        plt.close(figure)


def _first(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Take the first sample out of a batch, on the CPU."""
    first = {}
    for key, value in batch.items():
        if isinstance(value, Tensor):
            first[key] = value[0].detach().cpu()
        elif isinstance(value, list | tuple) and value:
            first[key] = value[0]
    return first
