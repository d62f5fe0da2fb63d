"""What every process of a distributed run must do, however small its share of a batch."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ('norms_at_rest', 'untouched')


def untouched(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Give a zero that depends on all trained parameters.

    DistributedDataParallel waits for a gradient of every parameter. Some have none: the second
    half of CMIR-NET in stage A, a classifier whose term has the weight 0, layers of an encoder
    that its pooling does not use.

    Args:
        parameters: Parameters of a task.

    Returns:
        Scalar 0, float32, whose gradient is 0.
    """
    parts = [
        p[(0,) * p.ndim].float() * 0
        for p in parameters
        if p.requires_grad and p.numel()
    ]
    return torch.stack(parts).sum() if parts else torch.zeros(())


@contextmanager
def norms_at_rest(module: nn.Module) -> Generator[None]:
    """Let batch norm use its running statistics, since a single row has no deviation.

    A process cannot skip the step, because the others wait for its rows and its gradients.

    Args:
        module: A task. Batch norm that is synchronised between processes is left alone.

    Yields:
        Nothing.
    """
    resting = [
        part
        for part in module.modules()
        if isinstance(part, _BatchNorm)
        and not isinstance(part, nn.SyncBatchNorm)
        and part.training
    ]
    for part in resting:
        part.training = False
    try:
        yield
    finally:
        for part in resting:
            part.training = True
