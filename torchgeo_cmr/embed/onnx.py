"""An encoder as a file for other engines: raw pixels in, unit vectors out."""

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Collection, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import torchgeo_cmr
from torchgeo_cmr.embed.device import evaluating
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.errors import CMRError, QueryError, RasterError
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.tasks import CrossModalTask

_LOG = logging.getLogger(__name__)

#: Floating-point operations from which ONNX Runtime is chosen: about a minute of one core.
_WORTH = 4e12

#: Weights from which it is not: a graph of more takes long to write, and is twice in memory.
_LARGEST = 10**8

#: Largest difference between a number of its vectors and torch's.
_TOLERANCE = 1e-5

#: Patches that are compared.
_TRIED = 4


def export_onnx(
    task: CrossModalTask,
    modality: str,
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the encoder of one modality as an ONNX model.

    The statistics are part of the graph: its input ``pixels``, float32 of shape
    ``(batch, bands, size, size)``, holds raw pixels in the units of the training data, with
    NaN where there are none; its output ``vectors``, float32 of shape ``(batch, dim)``, holds
    what :meth:`~torchgeo_cmr.tasks.CrossModalTask.embed` gives, to about 1e-6. The number of
    patches may vary, their size may not. The metadata of the model has
    ``modality``, ``space``, ``bands``, ``units`` and the version of this package.

    Needs the extra ``torchgeo-cmr[onnx]``.

    Args:
        task: A trained task; it is left as it was.
        modality: Whose encoder.
        path: File to write; it appears when it is complete.
        size: Patch width in pixels (default: that of the training).
        overwrite: Replace a file that is there.

    Returns:
        The path.

    Raises:
        CMRError: If the packages for the export are not installed.
        OutputExistsError: If the file exists and *overwrite* is off.
        QueryError: If the task has no such modality, or not on its own.
        RasterError: If the patch size or the statistics are unknown.
    """
    if modality not in task.in_channels:
        raise QueryError(
            f'the task has no modality {modality!r}: it knows {", ".join(task.in_channels)}'
        )
    spec = task.specs[modality]
    size = spec['patch_size'] if size is None else size
    if size is None or size < 1:
        raise RasterError(
            f'the patch size of {modality} is {size or "unknown"}: give size in pixels'
        )
    metadata = {
        'modality': modality,
        'space': task.space,
        'bands': json.dumps(spec['bands']),
        'units': spec['units'] or '',
        'torchgeo_cmr': torchgeo_cmr.__version__,
    }
    pixels = torch.zeros(2, task.in_channels[modality], size, size)
    with evaluating(task, 'cpu'), new_file(path, overwrite=overwrite) as draft:
        # Refuses a task that has no statistics, or embeds its modalities only together.
        task.embed({task.keys[modality]: pixels}, modality)
        _write(_Graph(task, modality), pixels, metadata, draft)
    return Path(path)


def onnx_encoder(
    task: Any,
    modality: str,
    sizes: Collection[int],
    device: torch.device,
    encoding: Encoding,
    runtime: str,
) -> 'OnnxEncoder':
    """Open the encoder of one modality in ONNX Runtime, in place of the task.

    Args:
        task: A trained task.
        modality: Whose encoder.
        sizes: Patch widths in pixels; a graph has one.
        device: Where the encoder is to run.
        encoding: Precision and flips.
        runtime: Its name, of which there is only ``'onnx'`` besides torch.

    Raises:
        RasterError: If the runtime is unknown or cannot do this.
    """
    if runtime != 'onnx':
        raise RasterError(
            f'there is no runtime {runtime!r}: choose one of auto, torch, onnx'
        )
    if device.type != 'cpu' or encoding.precision != '32' or len(sizes) > 1:
        raise RasterError(
            'ONNX Runtime is for the CPU, precision 32 and patches of one size, found '
            f'{device.type}, precision {encoding.precision} and {len(sizes)} sizes: do not '
            'set runtime'
        )
    return OnnxEncoder(task, modality, *sizes)


def quicker_encoder(
    task: Any,
    modality: str,
    sizes: Mapping[int, int],
    device: torch.device,
    encoding: Encoding,
) -> Any:
    """Open the encoder of one modality in ONNX Runtime, if that is quicker; else give the task.

    It is where the export, of some seconds, is a small part of the work, which is counted in
    floating-point operations: the same plan leads to the same choice on any machine that has
    the extra ``onnx``.

    Args:
        task: A trained task.
        modality: Whose encoder.
        sizes: Patch width in pixels -> number of patches.
        device: Where the encoder is to run.
        encoding: Precision and flips.

    Returns:
        The task, or what runs it with the same vectors to 1e-5.
    """
    fits = device.type == 'cpu' and encoding.precision == '32' and len(sizes) == 1
    if not (fits and isinstance(task, CrossModalTask) and _can_export()):
        return task
    ((size, patches),) = sizes.items()
    weights = sum(weight.numel() for weight in task.parameters())
    turns = 4 if encoding.flips else 1
    if (
        weights > _LARGEST
        or _operations(task, modality, size) * patches * turns < _WORTH
    ):
        return task
    try:
        encoder = OnnxEncoder(task, modality, size)
    except Exception as error:  # noqa: BLE001 - the exporter raises kinds of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        _LOG.info('torch runs the encoder; ONNX Runtime cannot: %s', reason)
        return task
    _LOG.info('ONNX Runtime runs the encoder')
    return encoder


def _can_export() -> bool:
    return all(find_spec(name) for name in ('onnxruntime', 'onnxscript'))


def _operations(task: CrossModalTask, modality: str, size: int) -> int:
    """Count the floating-point operations that one patch takes."""
    pixels = torch.zeros(1, task.in_channels[modality], size, size)
    with evaluating(task, 'cpu'), FlopCounterMode(display=False) as counter:
        task.embed({task.keys[modality]: pixels}, modality)
    return counter.get_total_flops()


class OnnxEncoder:
    """An encoder that ONNX Runtime runs on the CPU, in place of the task it is made of.

    Its vectors of random pixels are compared with those of the task first.

    Args:
        task: A trained task.
        modality: Whose encoder.
        size: Patch width in pixels.

    Raises:
        CMRError: If the packages of the extra ``onnx`` are not installed, or a number of a
            vector differs by more than 1e-5 from the task's.
        QueryError: If the task has no such modality, or not on its own.
        RasterError: If the statistics are unknown.
    """

    def __init__(self, task: CrossModalTask, modality: str, size: int) -> None:
        """Export the task and open the result."""
        try:
            onnxruntime: Any = import_module('onnxruntime')
        except ImportError as error:
            raise CMRError(
                'onnxruntime is not installed: install torchgeo-cmr[onnx], or use the '
                "runtime 'torch'"
            ) from error
        self.name = type(task).__name__
        self.keys, self.in_channels = task.keys, task.in_channels
        self.specs, self.space = task.specs, task.space
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder:
            path = export_onnx(task, modality, Path(folder) / 'encoder.onnx', size=size)
            # Read whole, so the file may go.
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=['CPUExecutionProvider']
            )
        apart = self._apart(task, modality, size)
        if not apart <= _TOLERANCE:
            raise CMRError(
                f'ONNX Runtime gives vectors of {modality} that differ by {apart:.1g} from those '
                f"of torch, by more than {_TOLERANCE}: use the runtime 'torch'"
            )

    def _apart(self, task: CrossModalTask, modality: str, size: int) -> float:
        """Largest difference to the task over some random patches, a part of them missing."""
        spec, key = task.specs[modality], task.keys[modality]
        shape = _TRIED, task.in_channels[modality], size, size
        pixels = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        mean, std = (torch.tensor(spec[n]).view(1, -1, 1, 1) for n in ('mean', 'std'))
        pixels = pixels * std + mean
        pixels[0, :, : size // 2] = torch.nan
        with evaluating(task, 'cpu'):
            expected = task.embed({key: pixels}, modality)
        return float((self.embed({key: pixels}, modality) - expected).abs().max())

    def embed(self, batch: dict[str, Tensor], modality: str) -> Tensor:
        """Map raw pixels ``(batch, bands, size, size)`` to unit rows ``(batch, dim)``."""
        pixels = batch[self.keys[modality]].contiguous().numpy()
        (rows,) = self._session.run(['vectors'], {'pixels': pixels})
        return torch.from_numpy(rows)


class _Graph(nn.Module):
    """The part of a task that one modality needs, without branches."""

    mean: Tensor
    std: Tensor

    def __init__(self, task: CrossModalTask, modality: str) -> None:
        super().__init__()
        self.model = task.model
        self.modality = modality
        self.retrieved = task.retrieved
        for name in ('mean', 'std'):
            values = torch.tensor(task.specs[modality][name]).view(1, -1, 1, 1)
            self.register_buffer(name, values)

    def forward(self, pixels: Tensor) -> Tensor:
        """Do what the task's ``embed`` does with raw pixels."""
        x = (pixels - self.mean) / self.std
        x = torch.where(torch.isfinite(x), x, torch.zeros_like(x))
        h, z = self.model(x, self.modality)
        return nn.functional.normalize(self.retrieved({'h': h, 'z': z}), dim=1)


def _write(
    graph: nn.Module, pixels: Tensor, metadata: dict[str, str], path: Path
) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise CMRError(
            f'{error.name} is not installed, which writes ONNX: install torchgeo-cmr[onnx]'
        ) from error
    with warnings.catch_warnings():
        # The exporter warns of its own insides.
        warnings.simplefilter('ignore')
        program: Any = torch.onnx.export(
            graph,
            (pixels,),
            dynamo=True,
            input_names=['pixels'],
            output_names=['vectors'],
            dynamic_shapes=({0: torch.export.Dim('batch')},),
            verbose=False,
        )
        program.model.metadata_props.update(metadata)
        program.save(path)
