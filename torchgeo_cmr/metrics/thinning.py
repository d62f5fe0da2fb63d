"""Which of the rows that were seen are scored: each once, and not too many."""

import torch
from torch import Tensor

__all__ = ('thin', 'unrepeated')


def thin(rows: Tensor, most: int | None) -> Tensor:
    """Take evenly spaced rows, so that every part of a loader is among them.

    Args:
        rows: Shape (rows, ...).
        most: Rows to keep at most; None keeps all.

    Returns:
        Shape (at most *most*, ...), in order; the same positions for the same number of rows.
    """
    if most is None or len(rows) <= most:
        return rows
    places = torch.arange(most, device=rows.device) * len(rows) // most
    return rows[places]


def unrepeated(numbers: Tensor) -> Tensor:
    """Take every sample once, in the order of their numbers.

    Distributed samplers repeat samples so that all ranks have equally many.

    Args:
        numbers: Number of the sample of each row, int64 of shape (rows,); -1 if unknown.

    Returns:
        Positions of the rows to keep; all of them, in order, if a number is unknown.

    Examples:
        >>> unrepeated(torch.tensor([0, 2, 1, 0])).tolist()
        [0, 2, 1]
    """
    if not len(numbers) or numbers.min() < 0:
        return torch.arange(len(numbers), device=numbers.device)
    order = numbers.argsort(stable=True)
    ordered = numbers[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return order[first]
