"""Subsamples of rows where all of them would cost too much."""

import torch
from torch import Tensor

__all__ = ('thin',)


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
