"""Which encoder a command uses: that of a checkpoint, or one that others trained."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchgeo_cmr.tasks import CrossModalTask


def check_encoder(
    ckpt: str | None,
    model: str | None,
    bands: str | None = None,
    normalize: str | None = None,
) -> None:
    """Refuse an encoder that is not named or not there, before torch is loaded, which takes seconds.

    Args:
        ckpt: Checkpoint, folder or name of the Hub.
        model: ``MODEL`` or ``MODEL:WEIGHTS``, or as ``ckpt``.
        bands: Names of bands, which only models take.
        normalize: By whose statistics pixels are normalised, which only models take.

    Raises:
        QueryError: If not one of both is given, or options do not go with a checkpoint.
        ArchiveError: If there is no such checkpoint.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.regular_files import check_checkpoint

    if ckpt is not None and model is not None:
        raise QueryError(
            f'--ckpt {ckpt} and --model {model} are two encoders: leave one out'
        )
    if ckpt is None and model is None:
        raise QueryError(
            'give an encoder: --ckpt CHECKPOINT of a trained task, or --model MODEL:WEIGHTS'
        )
    trained = _trained(ckpt, model)
    if trained is not None and bands is not None:
        raise QueryError('--bands is for --model: a checkpoint knows its bands')
    if trained is not None and normalize is not None:
        raise QueryError(
            '--normalize is for --model: a checkpoint knows its statistics'
        )
    if ckpt is not None:
        check_checkpoint(ckpt)


def _trained(ckpt: str | None, model: str | None) -> str | None:
    """Give the checkpoint; the word of a model may name one too, in a folder or of the Hub."""
    return model if model is not None and '/' in model.partition(':')[0] else ckpt


def read_encoder(
    ckpt: str | None,
    model: str | None,
    modality: Sequence[str] | None,
    bands: str | None,
    task: str | None = None,
    normalize: str | None = None,
) -> 'CrossModalTask':
    """Load a checkpoint, or build what ``--model`` names.

    Args:
        ckpt: Checkpoint, folder or name of the Hub.
        model: ``MODEL`` or ``MODEL:WEIGHTS``, or as ``ckpt``.
        modality: What is embedded, which a model has to know.
        bands: Names of bands, with commas between.
        task: Python path of the class of the checkpoint.
        normalize: By whose statistics the pixels of a model are normalised.

    Raises:
        QueryError: If not one of both is given, or options do not go with it.
    """
    from torchgeo_cmr.errors import QueryError

    check_encoder(ckpt, model, bands, normalize)
    trained = _trained(ckpt, model)
    if trained is not None:
        from torchgeo_cmr.tasks import load_task

        return load_task(trained, task)
    assert model is not None  # see check_encoder
    if task is not None:
        raise QueryError('--task is for --ckpt: drop it')
    if not modality or len(modality) > 1 or '+' in modality[0]:
        raise QueryError('--model needs one modality: name it, such as s1')
    from torchgeo_cmr.tasks.frozen.named_models import read_model

    names = None if bands is None else [band.strip() for band in bands.split(',')]
    return read_model(model, modality[0], names, normalize or 'weights')  # ty: ignore[invalid-argument-type]


def set_measured(
    task: 'CrossModalTask', specs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Have a model with ``--normalize data`` take statistics that were measured.

    Args:
        task: The model.
        specs: Per modality ``mean`` and ``std`` and, of radar that states them, ``units``.
    """
    names = 'mean', 'std', 'units'
    task.set_specs(
        {m: {n: spec[n] for n in names if n in spec} for m, spec in specs.items()}
    )


@contextmanager
def naming_bands(model: str | None) -> Generator[None]:
    """Say how bands are named if those that a model has by default are not there.

    Args:
        model: What ``--model`` names; None if bands were named.
    """
    from torchgeo_cmr.errors import RasterError

    try:
        yield
    except RasterError as error:
        if model is None or 'there is no band' not in str(error):
            raise
        name = model.partition(':')[0]
        raise RasterError(
            f'{error}; name the bands that there are with --bands, if {name} takes them'
        ) from error
