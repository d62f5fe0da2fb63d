"""Which encoder a command uses: that of a checkpoint, or one that others trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchgeo_cmr.tasks import CrossModalTask


def read_encoder(
    ckpt: str | None,
    model: str | None,
    modality: Sequence[str] | None,
    bands: str | None,
    task: str | None = None,
) -> 'CrossModalTask':
    """Load a checkpoint, or build what ``--model`` names.

    Args:
        ckpt: Checkpoint.
        model: ``MODEL`` or ``MODEL:WEIGHTS``.
        modality: What is embedded, which a model has to know.
        bands: Names of bands, with commas between.
        task: Python path of the class of the checkpoint.

    Raises:
        QueryError: If not one of both is given, or options do not go with it.
    """
    from torchgeo_cmr.errors import CMRError, QueryError

    if (ckpt is None) == (model is None):
        raise QueryError(
            'give an encoder: --ckpt CHECKPOINT of a trained task, or --model MODEL:WEIGHTS'
        )
    if model is None:
        from torchgeo_cmr.tasks import load_task

        if bands is not None:
            raise QueryError('--bands is for --model: a checkpoint knows its bands')
        assert ckpt is not None
        return load_task(ckpt, task)
    if task is not None:
        raise QueryError('--task is for --ckpt: drop it')
    if not modality or len(modality) > 1 or '+' in modality[0]:
        raise QueryError('--model needs one modality: name it, such as s1')
    from torchgeo_cmr.tasks.frozen.pretrained import read_model

    names = None if bands is None else [band.strip() for band in bands.split(',')]
    try:
        return read_model(model, modality[0], names)
    except CMRError:
        raise
    except ValueError as error:  # an unknown model, weights of another
        raise QueryError(f'--model {model}: {error}') from error
