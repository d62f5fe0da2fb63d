"""The Frobenius norm of a batch, in the forms in which CMIR-NET uses it."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from .pairs import check_pairs

__all__ = ('FrobeniusLoss',)

Reduction = Literal['mean', 'sum', 'norm']


class FrobeniusLoss(nn.Module):
    r"""Distance of two batches of features, or of one batch from the origin.

    With *D* the difference of the two (or the one batch itself):

    * ``reduction='mean'``: :math:`\|D\|_F^2 / B`, independent of the number *B* of rows;
    * ``reduction='sum'``: :math:`\|D\|_F^2`, as on the authors' slides;
    * ``reduction='norm'``: :math:`\|D\|_F`, not squared, as in their code.

    Three terms of CMIR-NET are this loss: the latent term of two embeddings, the decoder term
    of a reconstruction and its target, and the feature norm of an embedding alone.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Relations: :class:`~torchgeo_cmr.tasks.CMIRNet` weighs and adds the terms. Nothing but the
    class term of that task keeps a constant encoder from being a perfect solution of it.
    """

    def __init__(self, reduction: Reduction = 'mean') -> None:
        """Initialize a new FrobeniusLoss instance.

        Args:
            reduction: ``'mean'``, ``'sum'`` or ``'norm'``.

        Raises:
            ValueError: If *reduction* is unknown.
        """
        super().__init__()
        if reduction not in get_args(Reduction):
            raise ValueError(
                f"reduction must be 'mean', 'sum' or 'norm', found {reduction!r}"
            )
        self.reduction = reduction

    def extra_repr(self) -> str:
        """Show the settings in the model's print-out.

        Returns:
            The settings as ``name=value``.
        """
        return f'reduction={self.reduction!r}'

    def forward(self, a: Tensor, b: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch.

        Args:
            a: Features, shape (batch, dim), any floating dtype.
            b: Features of the same shape, row i for row i; the origin if left out.

        Returns:
            Scalar, float32, at least 0; 0 for a batch without rows.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(a, a if b is None else b)
        with torch.autocast(a.device.type, enabled=False):
            difference = a.float() if b is None else a.float() - b.float()
            if self.reduction == 'norm':
                # torch gives this norm a gradient of 0 at 0, where the root alone has none
                return torch.linalg.vector_norm(difference)
            total = difference.square().sum()
            return total if self.reduction == 'sum' else total / max(len(a), 1)
