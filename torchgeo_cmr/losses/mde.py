"""MDE: remove what still separates the two pictures of one place."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from torchgeo_cmr.errors import check_choice

from .pairs import Loss, check_pairs, unit_rows

__all__ = ('MDELoss',)

Kind = Literal['softplus', 'angular', 'cosine']


class MDELoss(Loss):
    r"""Modality discrepancy elimination: pull the two encoder outputs of a pair together.

    ``kind='softplus'`` is :math:`-\frac{1}{B} \sum_i \log(1 + \exp(s(h_i^a, h_i^b)))` with
    *s* the cosine: between -1.313262 (same direction) and -0.313262 (opposite), and its pull
    never vanishes, not even at perfect alignment. ``kind='angular'`` is the mean angle as a
    share of a half turn, between 0 (same direction) and 1 (opposite); it is computed from the
    lengths of sum and difference, which is exact and has a bounded gradient where the
    arccosine of a rounded cosine has neither. ``kind='cosine'`` is
    :math:`\frac{1}{B} \sum_i (1 - s(h_i^a, h_i^b))`, the alignment term of CR-JEPA, between 0
    and 2.

    If you use this loss in your research, please cite the following papers:

    * https://arxiv.org/abs/2202.11429
    * ``'cosine'``: https://arxiv.org/abs/2606.00706

    Relations: in SS-CM-RSIR it acts on the encoder outputs *h* where :class:`MIMLoss` acts on the
    projections *z*; ``mde_on='z'`` of the task moves it to the projections. A constant encoder is a perfect solution of it: never train with this loss alone.

    Examples:
        >>> h = torch.eye(4)
        >>> [round(MDELoss()(h, sign * h).item(), 3) for sign in (1, -1)]
        [-1.313, -0.313]
        >>> [round(MDELoss('angular')(h, sign * h).item(), 3) for sign in (1, -1)]
        [0.0, 1.0]
    """

    settings = ('kind',)

    def __init__(self, kind: Kind = 'softplus') -> None:
        """Initialize a new MDELoss instance.

        Args:
            kind: ``'softplus'`` (published code), ``'angular'`` (the literal reading of
                "angular distance" in the paper's abstract) or ``'cosine'``.

        Raises:
            ValueError: If *kind* is unknown.
        """
        super().__init__()
        check_choice('kind', kind, Kind)
        self.kind = kind

    def forward(self, h_a: Tensor, h_b: Tensor) -> Tensor:
        """Compute the loss of a batch of pairs.

        Args:
            h_a: Encoder outputs of one modality, shape (batch, dim), any floating dtype.
            h_b: Encoder outputs of the other modality, same shape; row i belongs to row i.

        Returns:
            Scalar, float32; lower is closer.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(h_a, h_b)
        with torch.autocast(h_a.device.type, enabled=False):
            a, b = unit_rows(h_a), unit_rows(h_b)
            if self.kind == 'softplus':
                return -F.softplus((a * b).sum(dim=1)).mean()
            if self.kind == 'cosine':
                return 1 - (a * b).sum(dim=1).mean()
            apart = torch.linalg.vector_norm(a - b, dim=1)
            along = torch.linalg.vector_norm(a + b, dim=1)
            # Of two rows of zeros older versions of torch give no gradient.
            return (2 * torch.atan2(apart, along + 1e-12) / torch.pi).mean()
