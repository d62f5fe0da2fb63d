"""From a file to a task that can embed, without running code from the file."""

import inspect
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import nn

from torchgeo_cmr.errors import ArchiveError, CMRError, Finding
from torchgeo_cmr.models.plain_tensors import checked_load
from torchgeo_cmr.regular_files import check_checkpoint
from torchgeo_cmr.tasks.arguments import check_section
from torchgeo_cmr.tasks.base import CrossModalTask
from torchgeo_cmr.typed_json import convert

from .hub import located, read_folder
from .stored_task import DETAILS, SECTION

__all__ = ('describe_checkpoint', 'load_task', 'verify_checkpoint')

_CURE = 'take the checkpoint before it, or train again'


class _Details(TypedDict, total=False):
    fingerprint: str | None
    spaces: dict[str, str]
    own_encoders: list[str] | None


class _Checkpoint(TypedDict):
    state_dict: dict[str, Any]
    hyper_parameters: NotRequired[dict[str, Any] | None]
    torchgeo_cmr_details: NotRequired[_Details | None]


def load_task(
    path: str | os.PathLike[str],
    task_class: type[CrossModalTask] | str | None = None,
    *,
    model: nn.Module | Mapping[str, str | nn.Module] | None = None,
    map_location: str | torch.device = 'cpu',
    revision: str | None = None,
) -> CrossModalTask:
    """Load a task from a checkpoint, or from a folder or repository of the Hub, ready to embed.

    The file is read with ``weights_only=True`` and can name only the tasks that
    :mod:`torchgeo_cmr.tasks` exports. A checkpoint of your own class loads if you name the
    class, because importing it runs its code.

    Args:
        path: Checkpoint file that a trainer wrote; a folder that
            :meth:`~torchgeo_cmr.tasks.CrossModalTask.save_pretrained` wrote; or ``'organisation/name'``
            of the Hugging Face Hub, which is fetched if nothing of that name is here.
        task_class: Your own task class, or its import path ``'package.module.Class'``;
            needed only for classes outside torchgeo_cmr.
        model: The encoders that the task was made with; needed only if one was a network of
            your own, because the file names no code. Its weights come from the file.
        map_location: Device to load to.
        revision: Branch, tag or commit of a repository of the Hub.

    Returns:
        The task in evaluation mode.

    Raises:
        ArchiveError: If the file is missing, cut short, not one of ours, or of a class that
            was not named or cannot be imported, if it has an encoder of your own that was not
            given, or if weights and class do not fit.
        CMRError: If this machine has no such device.

    Examples:
        >>> import tempfile
        >>> from lightning.pytorch import Trainer
        >>> from torchgeo_cmr.tasks import CMIRPretrain
        >>> task = CMIRPretrain({'pan': 1, 'ms': 4}, 3, 'cmir_small')
        >>> trainer = Trainer(
        ...     accelerator='cpu', logger=False, enable_checkpointing=False
        ... )
        >>> trainer.strategy.connect(task)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.save_checkpoint(f'{folder}/last.ckpt')
        ...     loaded = load_task(f'{folder}/last.ckpt')
        ...     record = describe_checkpoint(f'{folder}/last.ckpt')
        >>> loaded.space == task.space == record['space']
        True
        >>> record['task'], list(record['modalities'])
        ('CMIRPretrain', ['pan', 'ms'])
    """
    device = find_device(map_location)
    path = located(path, revision)
    checkpoint, section = read_checkpoint(path)
    return _built(checkpoint, section, path, task_class, model).to(device).eval()


def _built(
    checkpoint: dict[str, Any],
    section: Mapping[str, Any],
    path: str,
    task_class: type[CrossModalTask] | str | None = None,
    model: nn.Module | Mapping[str, str | nn.Module] | None = None,
) -> CrossModalTask:
    """Build the task of a checkpoint that was read; arguments and errors as of :func:`load_task`."""
    cls = _find_class(section.get('task'), task_class, path)

    # Weights of others are in the file already; to name them would fetch them again.
    names = _option_names(cls) - {'weights'}
    given: dict[str, Any] = {
        name: value
        for name, value in (checkpoint.get('hyper_parameters') or {}).items()
        if name in names
    }
    if wrong := [name for name, value in given.items() if 'nan' in _floats(value)]:
        raise ArchiveError(f'{path} is broken ({wrong[0]} is not a number); {_CURE}')
    networks = (checkpoint.get(DETAILS) or {}).get('own_encoders')
    if model is not None:
        given['model'] = model
    elif networks:
        raise ArchiveError(
            f'{path} has an encoder of your own for {", ".join(networks)}: pass the networks as '
            'model=, as when the task was made; their weights come from the checkpoint'
        )
    try:
        task = cls(**given)
        task.on_load_checkpoint(checkpoint)
        task.load_state_dict(checkpoint['state_dict'])
    except Exception as error:  # what a constructor raises for options of a file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArchiveError(
            f'{path}, written by torchgeo_cmr {section.get("version")}, does not fit '
            f'{cls.__name__}: {reason}'
        ) from error
    return task


def describe_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a checkpoint, without building its task.

    Args:
        path: Checkpoint file that a trainer wrote.

    Returns:
        JSON-able: ``kind``, ``path``, ``task``, ``version``, ``space``, ``modalities`` (name
        -> what is known of its bands, statistics, patch size and units), ``epoch``, ``step``,
        ``parameters`` (numbers among the weights) and ``bytes``.

    Raises:
        ArchiveError: If the file is missing, cut short or not one of ours.

    Examples:
        >>> describe_checkpoint('nowhere.ckpt')
        Traceback (most recent call last):
        torchgeo_cmr.errors.ArchiveError: there is no checkpoint nowhere.ckpt: check the path
    """
    file = Path(path)
    checkpoint, section = read_checkpoint(file)
    return {
        'kind': 'checkpoint',
        'path': str(file),
        'task': section.get('task'),
        'version': section.get('version'),
        'space': section.get('space'),
        'modalities': {
            name: {k: v for k, v in spec.items() if v not in (None, [])}
            for name, spec in section['specs'].items()
            if spec
        },
        'epoch': checkpoint.get('epoch'),
        'step': checkpoint.get('global_step'),
        # Layers that modalities share have several names and one place in memory.
        'parameters': sum(
            {
                t.data_ptr(): t.numel()
                for t in checkpoint['state_dict'].values()
                if t.is_floating_point()
            }.values()
        ),
        'bytes': sum(
            f.stat().st_size for f in ([file] if file.is_file() else file.iterdir())
        ),
    }


def verify_checkpoint(path: str | os.PathLike[str]) -> Iterator[Finding]:
    """Compare a checkpoint with the checksums in it, and load its task.

    Args:
        path: Checkpoint file that a trainer wrote.

    Yields:
        One finding.

    Examples:
        >>> next(verify_checkpoint('nowhere.ckpt')).fault
        'there is no checkpoint nowhere.ckpt: check the path'
    """
    try:
        _verify(os.fspath(path))
    except CMRError as error:
        yield Finding(str(path), str(error), _CURE)
    else:
        yield Finding(str(path))


def find_device(device: str | torch.device) -> torch.device:
    """Find a device of this machine by name.

    Args:
        device: Name of a device, or one.

    Returns:
        The device.

    Raises:
        CMRError: If this machine has no such device.
    """
    try:
        found = torch.empty(0, device=device).device
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CMRError(
            f"cannot load to {device}, which this machine does not have ({reason}): use map_location='cpu'"
        ) from error
    if found.type == 'meta':
        raise CMRError("the device 'meta' holds no numbers: use map_location='cpu'")
    return found


def read_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a checkpoint without running code from it, and the section that describes it.

    Args:
        path: Checkpoint file that a trainer wrote, or a folder of the Hub.

    Returns:
        The checkpoint, and our section of it.

    Raises:
        ArchiveError: If the file is missing, damaged or not one of ours.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        return read_folder(path)
    check_checkpoint(path)
    checkpoint = load_plain(path, map_location='cpu')
    _compare(path)
    section = checkpoint.get(SECTION) if isinstance(checkpoint, dict) else None
    if not isinstance(section, dict) or 'state_dict' not in checkpoint:
        raise ArchiveError(
            f'{path} is not a checkpoint of torchgeo_cmr: it has no {SECTION!r} section; '
            'train with a task of torchgeo_cmr.tasks'
        )
    check_section(section, path)
    convert(checkpoint, _Checkpoint, path, _CURE)
    weights = checkpoint['state_dict'].values()
    if not all(isinstance(tensor, torch.Tensor) for tensor in weights):
        raise ArchiveError(f'{path} holds weights that are not tensors; {_CURE}')
    return checkpoint, section


def _verify(path: str) -> None:
    """Read a checkpoint as a whole.

    Raises:
        CMRError: If it is damaged, or does not fit the task that it names.
    """
    checkpoint, section = read_checkpoint(path)
    for name, weights in checkpoint['state_dict'].items():
        if weights.is_floating_point() and not torch.isfinite(weights).all():
            raise ArchiveError(
                f'{path} holds NaN or infinity in {name}: training diverged'
            )
    _built(checkpoint, section, path)


def _compare(path: str) -> None:
    """Compare the members of a checkpoint with their checksums, which torch passes over.

    Raises:
        ArchiveError: If one differs.
    """
    if not zipfile.is_zipfile(path):
        return  # torch still reads what it wrote before 2020
    try:
        with zipfile.ZipFile(path) as packed:
            name = packed.testzip()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ArchiveError(f'{path} is damaged ({error})') from error
    if name is not None:
        raise ArchiveError(f'{path} is damaged: the checksum of {name} differs')


def load_plain(path: str, **options: Any) -> Any:
    """Load a file of torch that holds weights and plain values, and nothing that runs.

    Args:
        path: The file.
        **options: Further arguments of ``torch.load``.

    Raises:
        ArchiveError: If it is damaged, cut short or holds anything else.
    """
    try:
        return checked_load(path, **options)
    except OSError as error:
        raise ArchiveError(f'{path} cannot be read: {error.strerror}') from error
    except Exception as error:
        raise ArchiveError(
            f'{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged, '
            'cut short or holds more than weights and plain values'
        ) from error


def _option_names(cls: type[CrossModalTask]) -> set[str]:
    """Names of the options that a class takes itself or passes on to its parents."""
    names: set[str] = set()
    for parent in cls.__mro__:
        parameters = inspect.signature(parent.__init__).parameters
        names |= set(parameters)
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            break
    return names


def _floats(value: Any) -> set[str]:
    """Write the numbers of an option, such as a share per modality."""
    values = value.values() if isinstance(value, Mapping) else [value]
    return {str(number) for number in values if isinstance(number, float)}


def _find_class(
    name: Any, task_class: type[CrossModalTask] | str | None, path: str
) -> type[CrossModalTask]:
    """Find the class that the user named, or the exported one that the file names."""
    from torchgeo_cmr import tasks  # a sibling; imported late, it imports this file

    cls: Any = task_class
    if task_class is None:
        cls = (
            getattr(tasks, name)
            if isinstance(name, str) and name in tasks.__all__
            else None
        )
        hint = (
            f'{path} is of the task {name!r:.80}, which torchgeo_cmr does not have: name its class, '
            "as in task_class='package.module.Class'"
        )
    else:
        hint = (
            f'{task_class!r} is not a task class: name a subclass of CrossModalTask as '
            "'package.module.Class'"
        )
    if isinstance(task_class, str):
        module, _, attribute = task_class.rpartition('.')
        try:
            cls = getattr(import_module(module), attribute) if module else None
        except (AttributeError, ImportError) as error:
            raise ArchiveError(
                f'there is no task class {task_class}: {error}'
            ) from error
    if not isinstance(cls, type) or not issubclass(cls, CrossModalTask):
        raise ArchiveError(hint)
    if inspect.isabstract(cls):
        raise ArchiveError(hint)
    return cls
