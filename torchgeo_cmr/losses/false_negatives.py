"""False negatives: rows of a batch that show the same kind of ground, or nearly the same place."""

import torch
from torch import Tensor

from .pairs import gather_rows

__all__ = ('false_negatives',)


def false_negatives(
    places: Tensor | None = None,
    labels: Tensor | None = None,
    *,
    within: float = 0.0,
    gather: bool = False,
) -> Tensor:
    """Mark rows that a contrastive loss must not push apart.

    In remote sensing neighbouring patches and patches of one class look alike; a loss that treats
    all other rows of a batch as negatives separates them nevertheless (the *false negatives* of
    https://arxiv.org/abs/2011.11765).

    Args:
        places: Centres of patches, shape (batch, 2), in one unit of length. Rows nearer than
            *within* are marked.
        labels: Classes of each row, many-hot, shape (batch, classes). Rows that share one are
            marked.
        within: Distance in the unit of *places*.
        gather: Whether rows of all ranks are compared, in rank order.

    Returns:
        Shape (batch, rows of all ranks), bool; the own row is never marked.

    Raises:
        ValueError: If there are neither places nor labels.

    Examples:
        >>> false_negatives(torch.tensor([[0.0, 0], [0, 50], [0, 500]]), within=100)
        tensor([[False,  True, False],
                [ True, False, False],
                [False, False, False]])
    """
    alike: list[Tensor] = []
    start = 0
    if places is not None:
        places = places.double()
        every, start, _ = gather_rows(places, active=gather)
        mode = 'donot_use_mm_for_euclid_dist'
        alike.append(torch.cdist(places, every, compute_mode=mode) < within)
    if labels is not None:
        sets = labels.float()
        if gather:
            sets = _same_width(sets)
        every, start, _ = gather_rows(sets, active=gather)
        alike.append(sets @ every.T > 0)
    if not alike:
        raise ValueError(
            'false negatives are found by places, labels or both: give one'
        )
    marked = torch.stack(alike).any(dim=0)
    row = torch.arange(len(marked), device=marked.device)
    return marked.index_put((row, row + start), marked.new_zeros(()))


def _same_width(sets: Tensor) -> Tensor:
    """Pad labels to the classes of the rank that has most: class numbers give no width."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return sets
    most = torch.tensor(sets.shape[1], device=sets.device)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return torch.nn.functional.pad(sets, (0, int(most) - sets.shape[1]))
