"""An encoder as a file for other engines: raw pixels in, unit vectors out."""

import json
import os
import tempfile
import warnings
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import torchgeo_cmr
from torchgeo_cmr.embed.device import evaluating
from torchgeo_cmr.embed.inference import Encoding
from torchgeo_cmr.errors import CMRError, QueryError, RasterError
from torchgeo_cmr.export.new_file import new_file
from torchgeo_cmr.tasks import CrossModalTask


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
        raise RasterError(f'there is no runtime {runtime!r}: choose one of torch, onnx')
    if device.type != 'cpu' or encoding.precision != '32' or len(sizes) > 1:
        raise RasterError(
            'ONNX Runtime is for the CPU, precision 32 and patches of one size, found '
            f'{device.type}, precision {encoding.precision} and {len(sizes)} sizes: do not '
            'set runtime'
        )
    return OnnxEncoder(task, modality, *sizes)


class OnnxEncoder:
    """An encoder that ONNX Runtime runs on the CPU, in place of the task it is made of.

    Args:
        task: A trained task.
        modality: Whose encoder.
        size: Patch width in pixels.

    Raises:
        CMRError: If the packages of the extra ``onnx`` are not installed.
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
