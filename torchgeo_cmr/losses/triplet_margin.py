"""Triplets: the own pair closer than the hardest negative, by a margin."""

import torch
from torch import Tensor

from .pairs import Loss, check_pairs, gather_pairs, unit_rows

__all__ = ('TripletLoss',)


class TripletLoss(Loss):
    r"""Batch-hard cross-modal triplets on cosines.

    With :math:`S_{ij} = s(z_i^a, z_j^b)` and a margin *m*,

    .. math::

       \frac{1}{2B} \sum_i \left[ \max(0, m + \max_{j \in N_i} S_{ij} - S_{ii})
       + \max(0, m + \max_{j \in N_i} S_{ji} - S_{ii}) \right]

    where the negatives :math:`N_i` are the rows that do not share a class with *i*, or all other
    rows without labels. A row without a negative counts 0.

    If you use this loss in your research, please cite the following papers:

    * batch-hard mining: https://arxiv.org/abs/1703.07737
    * hardest negatives across modalities (VSE++): https://arxiv.org/abs/1707.05612

    Relations: looks at one negative per row, where :class:`MIMLoss` weighs all of them.

    Examples:
        >>> z = torch.eye(3)
        >>> TripletLoss(0.2)(z, z).item()
        0.0
    """

    settings = ('margin',)

    def __init__(self, margin: float = 0.2, *, gather_distributed: bool = True) -> None:
        """Initialize a new TripletLoss instance.

        Args:
            margin: By how much the own pair should be closer, above 0.
            gather_distributed: Look for negatives on all ranks while training, if a process
                group is initialised.

        Raises:
            ValueError: If *margin* is not above 0.
        """
        super().__init__()
        if not margin > 0:
            raise ValueError(f'margin must be above 0, found {margin}')
        self.margin = margin
        self.gather_distributed = gather_distributed

    def forward(
        self, z_a: Tensor, z_b: Tensor, exclude: Tensor | None = None
    ) -> Tensor:
        """Compute the loss of a batch of pairs.

        Args:
            z_a: Projections of one modality, shape (batch, dim), any floating dtype.
            z_b: Projections of the other modality, same shape; row i belongs to row i.
            exclude: Rows that are no negatives of each other, shape (batch, rows of all ranks),
                bool, as :func:`false_negatives` gives.

        Returns:
            Scalar, float32, at least 0.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(z_a, z_b)
        with torch.autocast(z_a.device.type, enabled=False):
            a, b = unit_rows(z_a), unit_rows(z_b)
            gather = self.gather_distributed and self.training
            (all_a, all_b), start, share = gather_pairs(a, b, active=gather)
            row = torch.arange(len(a), device=a.device)
            never = torch.zeros(len(a), len(all_a), dtype=torch.bool, device=a.device)
            if exclude is not None:
                never = never | exclude
            never = never.index_put((row, row + start), never.new_ones(()))
            pairs = (a * b).sum(dim=1)
            total = a.new_zeros(())
            for cosines in (a @ all_b.T, b @ all_a.T):
                hardest = cosines.masked_fill(never, -torch.inf).amax(dim=1)
                gap = (self.margin + hardest - pairs).clamp_min(0)
                total = total + gap.mean() / 2
            return total * share
