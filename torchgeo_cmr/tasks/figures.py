"""Pictures of a validation for loggers that take figures: samples, as tasks of TorchGeo log them, and queries with their hits."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchgeo.datasets import RGBBandsMissingError

from torchgeo_cmr.datasets.retrieval_plot import plot_retrieval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ('Figures',)

#: Batches of each validation of which the first sample is drawn, as many as TorchGeo draws.
_BATCHES = 10
#: Hits that are drawn of the first query of a validation.
_HITS = 5

#: Takes the name of a figure, the figure and the step.
type Writer = Callable[[str, 'Figure', int], Any]


class Figures:
    """Draws the first sample of each of the first validation batches, and how the first of all is answered."""

    def __init__(self) -> None:
        """Initialize a new Figures instance."""
        self._failed = False

    def log(
        self,
        task: Any,
        batch: Mapping[str, Any],
        batch_idx: int,
        unit: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Draw for the loggers that take figures.

        Samples are drawn if the data module can plot. A plot that fails is reported once and never ends the
        training.

        Args:
            task: The task that is validated.
            batch: The batch.
            batch_idx: Its number.
            unit: Unit rows (batch, dim) of each modality of the batch: of the first batch, the first sample of
                each modality is drawn next to its five best hits of each other modality in the batch.
        """
        if batch_idx >= _BATCHES or self._failed:
            return
        if not task.trainer.is_global_zero or task.trainer.sanity_checking:
            return
        loggers = task.trainer.loggers
        if not (writers := _writers(loggers)):
            return
        plot = getattr(getattr(task.trainer, 'datamodule', None), 'plot', None)
        # Samples stay the same, and a folder of them for each validation is not worth its time.
        viewers = _writers(x for x in loggers if not isinstance(x, CSVLogger))
        try:
            if batch_idx == 0 and unit:
                images = {m: batch[task.keys[m]] for m in unit}
                paired = getattr(task, 'paired', True)
                for name, figure in _answers(images, unit, paired):
                    _write(writers, name, figure, task.global_step)
            if plot is not None and viewers:
                figure = plot(_first(batch))
                _write(viewers, f'image/{batch_idx}', figure, task.global_step)
        except RGBBandsMissingError:
            return
        except Exception as error:  # noqa: BLE001
            self._failed = True
            rank_zero_warn(f'validation samples are not drawn: {error}')


def _writers(loggers: Iterable[Any]) -> list[Writer]:
    """Give what writes a figure with each logger that takes any."""
    return [w for w in map(_writer, loggers) if w is not None]


def _writer(logger: Any) -> Writer | None:
    """Give what writes a figure with a logger, None if it takes none.

    TensorBoard, Weights & Biases, MLflow and Comet are known by what they offer, for none of them needs to be installed;
    a CSVLogger gets PNG files next to its table, of retrieval alone.
    """
    if isinstance(logger, CSVLogger):
        return lambda name, figure, step: _save(
            Path(logger.log_dir), name, figure, step
        )
    experiment = getattr(logger, 'experiment', None)
    if hasattr(experiment, 'add_figure'):
        return lambda name, figure, step: experiment.add_figure(
            name, figure, global_step=step, close=False
        )
    if hasattr(logger, 'log_image'):
        return lambda name, figure, step: logger.log_image(name, [figure], step)
    if hasattr(experiment, 'log_figure') and hasattr(logger, 'run_id'):
        return lambda name, figure, step: experiment.log_figure(
            logger.run_id, figure, f'{name}/{step:07}.png'
        )
    if hasattr(experiment, 'log_figure'):
        return lambda name, figure, step: experiment.log_figure(name, figure, step=step)
    return None


def _save(folder: Path, name: str, figure: 'Figure', step: int) -> None:
    """Write a figure as a file."""
    path = folder / 'figures' / f'{name}-{step:07}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def _write(
    writers: Sequence[Writer], name: str, figure: 'Figure | None', step: int
) -> None:
    """Give a figure to all writers and forget it."""
    if figure is None:
        return
    from matplotlib import pyplot as plt

    for writer in writers:
        writer(name, figure, step)
    plt.close(figure)


def _answers(
    images: Mapping[str, Tensor], unit: Mapping[str, Tensor], paired: bool
) -> list[tuple[str, 'Figure']]:
    """Draw the first sample of each modality next to its hits of each other one in the batch."""
    figures = []
    for query, item in permutations(unit, 2):
        scores = unit[query][0] @ unit[item].T
        if len(scores) < 2:
            continue
        best = scores.topk(min(_HITS, len(scores))).indices.tolist()
        words = f'{query} → {item} among {len(scores)} of the first batch'
        if paired:
            words += f': own place at rank {int((scores > scores[0]).sum()) + 1}'
        question, *answers = (
            x.detach().float().cpu().numpy()
            for x in (images[query][0], *images[item][best])
        )
        figure = plot_retrieval(
            question,
            answers,
            relevant=[i == 0 for i in best] if paired else None,
            suptitle=words,
        )
        figures.append((f'retrieval/{query}_to_{item}', figure))
    return figures


def _first(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Take the first sample out of a batch, on the CPU."""
    first = {}
    for key, value in batch.items():
        if isinstance(value, Tensor):
            first[key] = value[0].detach().cpu()
        elif isinstance(value, list | tuple) and value:
            first[key] = value[0]
    return first
