"""Where an encoder runs, how rows come back, and that it is left as it was."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchgeo_cmr.embed.inference import layout
from torchgeo_cmr.errors import CMRError


@contextmanager
def evaluating(task: Any, device: torch.device | str | None) -> Generator[torch.device]:
    """Put a task on a device and into evaluation mode; undo both afterwards."""
    modes = [(part, part.training) for part in task.modules()]
    weights = next(iter([*task.parameters(), *task.buffers()]), None)
    home = torch.device('cpu') if weights is None else weights.device
    where = home if device is None else find_device(device)
    try:
        task.eval().to(where)
        yield where
    finally:
        task.to(home)
        for part, training in modes:
            part.training = training


def find_device(device: torch.device | str) -> torch.device:
    """Give the device of a name; ``'auto'`` is the fastest present."""
    if device == 'auto':
        if torch.cuda.is_available():
            return torch.device('cuda')
        return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')
    try:
        found = torch.empty(0, device=device).device
    except (AssertionError, RuntimeError) as error:
        raise CMRError(
            f"cannot run on {device} ({str(error).splitlines()[0]}): use 'cpu' or 'auto'"
        ) from error
    if found.type == 'meta':  # of torch, for shapes without numbers
        raise CMRError("cannot run on meta (it holds no numbers): use 'cpu' or 'auto'")
    return found


def fetched[T](
    batches: Iterable[tuple[T, Tensor]], *, late: bool | None = None
) -> Iterator[tuple[T, NDArray[np.float32]]]:
    """Bring rows back from a device; from a GPU one batch late, so that it need not wait.

    While a GPU computes a batch, the one before it is used and the one after it read.

    Args:
        batches: Whatever belongs to some rows, and the rows, of shape ``(batch, dim)``.
        late: Whether to stay one batch behind (default: if the rows are on a GPU).

    Yields:
        The same, in the same order, with the rows in memory.
    """
    waiting: list[tuple[T, Callable[[], Tensor]]] = []
    for thing, rows in batches:
        coming = thing, _copied(rows)
        for before, done in waiting:
            yield before, done().numpy()
        waiting = [coming]
        if not (rows.is_cuda if late is None else late):
            yield thing, coming[1]().numpy()
            waiting = []
    for before, done in waiting:
        yield before, done().numpy()


def _copied(rows: Tensor) -> Callable[[], Tensor]:
    """Begin to copy rows into memory; what is returned waits for them."""
    if not rows.is_cuda:
        found = rows.cpu()
        return lambda: found
    pinned = torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True)
    pinned.copy_(rows, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(rows.device))

    def wait() -> Tensor:
        copied.synchronize()
        # Pinned memory is scarce: it goes back to torch for the next batch.
        return pinned.clone()

    return wait


@contextmanager
def prepared(task: Any, device: torch.device, *, compiled: bool = False) -> Generator:
    """Lay weights out as the device likes them, and compile; undo both afterwards.

    Args:
        task: A task whose network is ``task.model``, if it is to be compiled.
        device: Where it is.
        compiled: Compile the network in place with ``torch.compile``.

    Yields:
        Nothing.

    Raises:
        CMRError: If there is no network to compile.
    """
    network = getattr(task, 'model', None)
    if compiled and not isinstance(network, nn.Module):
        raise CMRError(
            f'{type(task).__name__} has no network `model` to compile: drop compile'
        )
    kernels = [p for p in task.parameters() if p.ndim == 4]
    before = [kernel.data for kernel in kernels]
    for kernel in kernels:
        kernel.data = kernel.data.contiguous(memory_format=layout(device))
    try:
        if compiled and network is not None:
            network.compile()
        yield
    finally:
        if compiled and network is not None:
            network._compiled_call_impl = None
        for kernel, data in zip(kernels, before, strict=True):
            kernel.data = data
