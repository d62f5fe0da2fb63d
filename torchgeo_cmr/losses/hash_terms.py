"""Terms that turn projections into binary codes: close to their signs, bits in balance."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from torchgeo_cmr.errors import check_choice

from .pairs import Loss, check_pairs

__all__ = ('BitBalanceLoss', 'QuantisationLoss', 'common_code')

Over = Literal['samples', 'bits']


def common_code(views: Sequence[Tensor]) -> Tensor:
    """Give the code that several views of one place have in common.

    Args:
        views: Outputs of hash heads, each of shape (batch, bits), -1 to 1.

    Returns:
        The sign of their mean, 1 where it is 0, shape (batch, bits), float32, no gradient.
    """
    mean = torch.stack([h.detach().float() for h in views]).mean(dim=0)
    return torch.where(mean >= 0, 1.0, -1.0)


class QuantisationLoss(Loss):
    r"""Distance of outputs from a binary code, :math:`\|B - H\|_F^2` per row.

    If you use this loss in your research, please cite the following paper:

    * DUCH: https://arxiv.org/abs/2201.08125

    Examples:
        >>> h = torch.tensor([[0.9, -0.5, 0.1, -0.9]])
        >>> round(QuantisationLoss()(h, common_code([h])).item(), 2)
        1.08
    """

    def forward(self, h: Tensor, code: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            h: Outputs of a hash head, shape (batch, bits), -1 to 1.
            code: Their code, same shape, -1 or 1, as :func:`common_code` gives.

        Returns:
            Scalar, float32, at least 0: a sum over bits, a mean over rows.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(h, code)
        return (code.float() - h.float()).square().sum() / max(len(h), 1)


class BitBalanceLoss(Loss):
    r"""Keep half of the bits set.

    ``over='samples'``: each bit is set for half of the samples,
    :math:`\sum_k (\frac{1}{B} \sum_i h_{ik})^2`, the usual definition. ``over='bits'``: half of
    the bits of each sample are set, :math:`\frac{1}{B} \sum_i (\sum_k h_{ik})^2`, as a code of
    the group behind DUCH has it.

    If you use this loss in your research, please cite the following paper:

    * DUCH: https://arxiv.org/abs/2201.08125

    Examples:
        >>> h = torch.tensor([[0.9, -0.5, 0.1, -0.9]])
        >>> round(BitBalanceLoss('bits')(h).item(), 2)
        0.16
    """

    settings = ('over',)

    def __init__(self, over: Over = 'samples') -> None:
        """Initialize a new BitBalanceLoss instance.

        Args:
            over: ``'samples'`` or ``'bits'``.

        Raises:
            ValueError: If *over* is unknown.
        """
        super().__init__()
        check_choice('over', over, Over)
        self.over = over

    def forward(self, h: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            h: Outputs of a hash head, shape (batch, bits), -1 to 1.

        Returns:
            Scalar, float32, at least 0.
        """
        h = h.float()
        if self.over == 'samples':
            return (h.sum(dim=0) / max(len(h), 1)).square().sum()
        return h.sum(dim=1).square().sum() / max(len(h), 1)
