"""What all losses share: paired rows, checked, in fp32, from all ranks.

Names in this package: ``batch`` pairs on this rank, ``total`` pairs on all
ranks together, ``dim`` features of a row; ``a`` and ``b`` are the two modalities.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = (
    'Loss',
    'check_pairs',
    'gather_pairs',
    'gather_rows',
    'rows_per_rank',
    'unit_rows',
)


class Loss(nn.Module):
    """A module that prints its settings, as layers of torch do."""

    settings: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        """Show the settings in the model's print-out.

        Returns:
            The settings as ``name=value``.
        """
        return ', '.join(f'{name}={getattr(self, name)!r}' for name in self.settings)


def check_pairs(a: Tensor, b: Tensor, *, same_dim: bool = True) -> None:
    """Refuse tensors that cannot be paired row by row.

    Args:
        a: Features of one modality, shape (batch, dim).
        b: Features of the other modality, shape (batch, dim).
        same_dim: Whether *dim* must agree as well.

    Raises:
        ValueError: If the tensors are not matrices, have different numbers of rows, or (with
            *same_dim*) different widths.
    """
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(
            f'paired features are matrices (batch, dim), found shapes {tuple(a.shape)} '
            f'and {tuple(b.shape)}'
        )
    if len(a) != len(b):
        raise ValueError(
            f'paired features need one row per pair, found {len(a)} rows against {len(b)}'
        )
    if same_dim and a.shape[1] != b.shape[1]:
        raise ValueError(
            f'these features are compared with each other and need one width, found '
            f'{a.shape[1]} against {b.shape[1]}'
        )


def unit_rows(x: Tensor) -> Tensor:
    """Scale each row to length one, in fp32; an all-zero row stays zero.

    Args:
        x: Features, shape (batch, dim), any floating dtype.

    Returns:
        Shape (batch, dim), float32.
    """
    return F.normalize(x.float(), dim=1, eps=1e-8)


class _GatherRows(torch.autograd.Function):
    """Concatenate the rows of all ranks; the gradient is summed over ranks on the way back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int]) -> Tensor:
        """Pad to the largest rank, gather, remove the padding.

        Args:
            ctx: Context of autograd.
            rows: Rows of this rank, shape (batch, dim).
            sizes: Number of rows of every rank.

        Returns:
            Rows of all ranks in rank order, shape (total, dim).
        """
        rank = dist.get_rank()
        ctx.start, ctx.size = sum(sizes[:rank]), sizes[rank]
        padded = rows.new_zeros((max(sizes), rows.shape[1]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """Sum the gradients of all ranks and return the part of this rank's rows.

        Args:
            ctx: Context of autograd.
            grads: One gradient, shape (total, dim).

        Returns:
            The gradient of this rank's rows, and None for the sizes.
        """
        grad = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[ctx.start : ctx.start + ctx.size], None


def gather_rows(rows: Tensor, *, active: bool = True) -> tuple[Tensor, int, int]:
    """Collect the rows of all ranks, with gradient; ranks may hold different numbers.

    A loss that averages over the rows of this rank against all rows must be scaled by
    ``batch * ranks / total`` (1 for equal batches), so that the mean over ranks, which is
    what DDP takes of the gradients, equals the loss of one process on the whole batch.

    Args:
        rows: Rows of this rank, shape (batch, dim).
        active: Whether to collect at all.

    Returns:
        The rows of all ranks in rank order, shape (total, dim), the position of this rank's
        first row among them, and the number of ranks. If not *active*, or without an
        initialised process group, these are *rows* itself, 0 and 1.
    """
    distributed = active and dist.is_available() and dist.is_initialized()
    ranks = dist.get_world_size() if distributed else 1
    if ranks == 1:
        return rows, 0, 1
    size = torch.tensor([len(rows)], device=rows.device)
    each = [torch.zeros_like(size) for _ in range(ranks)]
    dist.all_gather(each, size)
    sizes = [int(count) for count in each]
    every: Tensor = _GatherRows.apply(rows, sizes)
    return every, sum(sizes[: dist.get_rank()]), ranks


def rows_per_rank(count: Tensor) -> Tensor:
    """Average a number of rows over ranks, while gradients are recorded.

    A sum over the rows of this rank, divided by this, has as mean over ranks (which is what DDP
    takes of the gradients) the mean over all rows, also if ranks have different numbers of them.

    Args:
        count: Rows of this rank, a scalar.

    Returns:
        A scalar, float32, above 0 also if there are no rows.
    """
    total, ranks = count.float(), 1
    if torch.is_grad_enabled() and dist.is_available() and dist.is_initialized():
        ranks = dist.get_world_size()
        total = total.clone()
        dist.all_reduce(total)
    return total.clamp_min(1) / ranks


def gather_pairs(
    a: Tensor, b: Tensor, *, active: bool = True
) -> tuple[tuple[Tensor, Tensor], int, float]:
    """Collect the rows of both modalities from all ranks in one message, see :func:`gather_rows`.

    Args:
        a: Rows of one modality, shape (batch, dim).
        b: Rows of the other, same number of rows.
        active: Whether to collect at all.

    Returns:
        Rows of both modalities of all ranks, shape (total, dim) each; the position of this rank's
        first row among them; and by what a mean over the rows of this rank is scaled.
    """
    every, start, ranks = gather_rows(torch.cat([a, b], dim=1), active=active)
    all_a, all_b = every.split([a.shape[1], b.shape[1]], dim=1)
    return (all_a, all_b), start, len(a) * ranks / max(len(every), 1)
