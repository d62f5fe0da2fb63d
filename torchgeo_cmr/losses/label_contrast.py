"""SupCon across modalities: pairs by class, and cosines that follow the overlap of labels."""

from typing import Literal

import torch
from torch import Tensor

from torchgeo_cmr.errors import check_choice

from .pairs import Loss, check_pairs, gather_pairs, gather_rows, unit_rows

__all__ = ('SupConLoss',)

Target = Literal['overlap', 'jaccard', 'jaccard_mse']


class SupConLoss(Loss):
    r"""Supervised contrastive loss between two modalities, for one or several labels per row.

    ``target='overlap'``: positives :math:`P_i` of a row are the own pair and all rows of the
    other modality that share a class,

    .. math::

       -\frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{\exp(s_{ip} / \tau)}{\sum_j \exp(s_{ij} / \tau)}

    averaged over rows and both directions. ``'jaccard'``: the positives are weighed by the Jaccard
    index of the two label sets; up to a constant this is the KL divergence of the softmax from
    those weights, scaled to add up to 1. ``'jaccard_mse'``: the mean squared difference of cosine
    and Jaccard index, without a temperature. The own pair has the index 1.

    If you use this loss in your research, please cite the following paper:

    * SupCon: https://arxiv.org/abs/2004.11362

    Relations: with labels that nothing shares it is ``MIMLoss(negatives='cross')``.

    Examples:
        >>> z, labels = torch.eye(2), torch.tensor([[1.0, 0], [0, 1.0]])
        >>> round(SupConLoss(0.5)(z, z, labels).item(), 3)
        0.127
    """

    settings = ('temperature', 'target')

    def __init__(
        self,
        temperature: float = 0.07,
        *,
        target: Target = 'overlap',
        gather_distributed: bool = True,
    ) -> None:
        """Initialize a new SupConLoss instance.

        Args:
            temperature: Divisor of the cosines, above 0.
            target: ``'overlap'``, ``'jaccard'`` or ``'jaccard_mse'``.
            gather_distributed: Use the rows of all ranks while training, if a process group is
                initialised.

        Raises:
            ValueError: If *temperature* is not above 0 or *target* is unknown.
        """
        super().__init__()
        if not temperature > 0:
            raise ValueError(f'temperature must be above 0, found {temperature}')
        check_choice('target', target, Target)
        self.temperature, self.target = temperature, target
        self.gather_distributed = gather_distributed

    def forward(self, z_a: Tensor, z_b: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of a batch of pairs.

        Args:
            z_a: Projections of one modality, shape (batch, dim), any floating dtype.
            z_b: Projections of the other modality, same shape; row i belongs to row i.
            labels: Classes of each pair, many-hot, shape (batch, classes).

        Returns:
            Scalar, float32, at least 0.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(z_a, z_b)
        if labels.ndim != 2 or len(labels) != len(z_a):
            raise ValueError(
                f'labels are many-hot, one row for each of {len(z_a)} pairs, found shape '
                f'{tuple(labels.shape)}'
            )
        with torch.autocast(z_a.device.type, enabled=False):
            sets = labels.float()
            a, b = unit_rows(z_a), unit_rows(z_b)
            gather = self.gather_distributed and self.training
            (all_a, all_b), start, share = gather_pairs(a, b, active=gather)
            every_set, _, _ = gather_rows(sets, active=gather)
            row = torch.arange(len(a), device=a.device)
            shared = sets @ every_set.T
            union = sets.sum(1, keepdim=True) + every_set.sum(1) - shared
            alike = shared / union.clamp_min(1)
            alike = alike.index_put((row, row + start), alike.new_ones(()))
            if self.target == 'overlap':
                alike = (alike > 0).float()
            total = a.new_zeros(())
            for cosines in (a @ all_b.T, b @ all_a.T):
                if self.target == 'jaccard_mse':
                    total = total + (cosines - alike).square().mean() / 2
                    continue
                logs = torch.log_softmax(cosines / self.temperature, dim=1)
                weights = alike / alike.sum(dim=1, keepdim=True)
                total = total - (weights * logs).sum(dim=1).mean() / 2
            return total * share
