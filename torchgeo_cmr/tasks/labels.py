"""Labels of a batch, checked and in one form."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchgeo_cmr.errors import OptionError
from torchgeo_cmr.losses.pairs import rows_per_rank

__all__ = ('LabelLosses', 'as_sets', 'class_loss', 'read_labels')


class LabelLosses:
    """For tasks whose loss needs labels: what they refuse."""

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Refuse: this method needs labels, see :meth:`batch_losses`.

        Args:
            outputs: What :meth:`forward` gave.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError('a supervised loss needs labels: use batch_losses()')

    @staticmethod
    def check_classes(num_classes: int) -> None:
        """Refuse a number of classes below 1."""
        if num_classes < 1:
            raise ValueError(f'num_classes must be at least 1, found {num_classes}')


def read_labels(
    batch: Mapping[str, Any],
    key: str,
    num_classes: int,
    *,
    option: str = 'label_key',
    unknown: bool = False,
) -> Tensor:
    """Take labels out of a batch and check them.

    Args:
        batch: Samples as a data loader stacks them.
        key: Where the labels are.
        num_classes: Number of classes.
        option: How the user names the key, for messages.
        unknown: Whether a class number below 0 means an unknown class, not a mistake.

    Returns:
        Class numbers, shape (batch,), int64; or many-hot labels, shape
        (batch, num_classes), float32.

    Raises:
        OptionError: If the labels are missing or do not fit the classes.
    """
    if key not in batch:
        raise OptionError(
            f'the batch has no labels {key!r}, it holds {", ".join(sorted(batch))}: '
            f'name them with {option}='
        )
    label = batch[key]
    if label.ndim == 1 and not label.is_floating_point():
        wrong = (label >= num_classes) | ((label < 0) & (not unknown))
        if wrong.any():
            raise OptionError(
                f'class numbers are 0 to {num_classes - 1}, found '
                f'{int(label.min())} to {int(label.max())}: set num_classes'
            )
        return label.long()
    if label.ndim != 2 or label.shape[1] != num_classes:
        rows = len(label) if label.ndim else 0
        raise OptionError(
            f'labels have shape {tuple(label.shape)}, expected {(rows, num_classes)} '
            'or class numbers: set num_classes'
        )
    return label.float()


def as_sets(label: Tensor, num_classes: int) -> Tensor:
    """Convert labels to many-hot form.

    Args:
        label: What :func:`read_labels` gave.
        num_classes: Number of classes.

    Returns:
        Shape (batch, num_classes), float32, 0 or 1; no class where it is unknown.
    """
    if label.ndim == 2:
        return label
    classes = torch.arange(num_classes, device=label.device)
    return (label[:, None] == classes).float()


def class_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Compare logits with labels: cross-entropy of one class, binary of many.

    Args:
        logits: Shape (batch, num_classes).
        label: What :func:`read_labels` gave.

    Returns:
        Scalar, float32, mean over rows of known class (and over classes, where there are
        many); 0 without such a row. In a process group, its mean over ranks is the mean over
        the rows of all.
    """
    with torch.autocast(logits.device.type, enabled=False):
        if label.ndim == 1:
            known = label >= 0
            total = F.cross_entropy(
                logits[known].float(), label[known], reduction='sum'
            )
            return total / rows_per_rank(known.sum())
        total = F.binary_cross_entropy_with_logits(
            logits.float(), label, reduction='none'
        )
        rows = torch.tensor(len(total), device=total.device)
        return total.mean(dim=1).sum() / rows_per_rank(rows)
