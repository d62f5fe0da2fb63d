"""Hold the size of a weight matrix, so that embeddings cannot shrink to nothing."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

__all__ = ('WeightNormLoss',)

Kind = Literal['squared', 'absolute']


class WeightNormLoss(nn.Module):
    r"""Draw the Frobenius norm of a weight matrix towards a number.

    :math:`(\|W\|_F - \alpha)^2` (``kind='squared'``, the slides of CMIR-NET) or
    :math:`|\|W\|_F - \alpha|` (``'absolute'``, its code for speech). The slides report that
    retrieval collapses with alpha = 0.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Relations: one of the terms of :class:`~torchgeo_cmr.tasks.CMIRNet`.
    """

    def __init__(self, alpha: float = 1.0, kind: Kind = 'squared') -> None:
        """Initialize a new WeightNormLoss instance.

        Args:
            alpha: The norm that is wanted, at least 0.
            kind: ``'squared'`` or ``'absolute'``.

        Raises:
            ValueError: If *alpha* is negative or *kind* is unknown.
        """
        super().__init__()
        if not alpha >= 0:
            raise ValueError(f'alpha is a norm, at least 0, found {alpha}')
        if kind not in get_args(Kind):
            raise ValueError(f"kind must be 'squared' or 'absolute', found {kind!r}")
        self.alpha, self.kind = alpha, kind

    def extra_repr(self) -> str:
        """Show the settings in the model's print-out.

        Returns:
            The settings as ``name=value``.
        """
        return f'alpha={self.alpha}, kind={self.kind!r}'

    def forward(self, weight: Tensor) -> Tensor:
        """Compute the loss of one matrix.

        Args:
            weight: Weights of any shape.

        Returns:
            Scalar, float32, at least 0.
        """
        with torch.autocast(weight.device.type, enabled=False):
            gap = torch.linalg.vector_norm(weight.float()) - self.alpha
            return gap.square() if self.kind == 'squared' else gap.abs()
