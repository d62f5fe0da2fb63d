"""What every process of a distributed run must do, however small its share of a batch."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DistributedSampler, SequentialSampler

__all__ = ('norms_at_rest', 'sample_numbers', 'untouched')

#: More samples than a loader has.
_MOST = 1 << 40


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


def sample_numbers(
    trainer: Any, batch_idx: int, dataloader_idx: int, size: int
) -> Tensor:
    """Number the samples of a batch that is evaluated, alike on all ranks.

    A distributed sampler repeats samples from the beginning so that every rank has as many; and a
    loader that nobody shares out gives all samples to every rank.

    Args:
        trainer: The trainer.
        batch_idx: Index of the batch.
        dataloader_idx: Index of its loader.
        size: Samples in the batch.

    Returns:
        Position of each sample in the loader, as if one process went through it, int64 of shape
        (size,); -1 if it is not known how ranks share the loader.
    """
    combined = getattr(trainer._evaluation_loop, '_combined_loader', None)
    loader = None if combined is None else combined.flattened[dataloader_idx]
    sampler = getattr(loader, 'sampler', None)
    full = getattr(loader, 'batch_size', None)
    if full is None or not isinstance(sampler, DistributedSampler | SequentialSampler):
        return torch.full((size,), -1)
    numbers = batch_idx * full + torch.arange(size)
    if isinstance(sampler, DistributedSampler):
        dataset: Any = sampler.dataset
        numbers = (numbers * sampler.num_replicas + sampler.rank) % len(dataset)
    return numbers + dataloader_idx * _MOST
