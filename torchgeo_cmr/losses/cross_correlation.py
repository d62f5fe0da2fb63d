"""Barlow Twins: features of two views agree, and no two features say the same."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .pairs import Loss, check_pairs, gather_pairs

__all__ = ('BarlowTwinsLoss',)


class BarlowTwinsLoss(Loss):
    r"""Draw the cross-correlation of two batches of features to the identity.

    With the features of both batches standardised over the batch and
    :math:`C = Z_a^T Z_b / B`, shape (dim, dim),

    .. math::

       \sum_i (C_{ii} - t)^2 + \lambda \sum_{i \ne j} C_{ij}^2

    with :math:`t = 1`. With :math:`t = 0` the features of the two batches are decorrelated
    altogether, which DeCUR asks of those that each modality has for itself.

    If you use this loss in your research, please cite the following papers:

    * Barlow Twins: https://arxiv.org/abs/2103.03230
    * ``target=0``, DeCUR: https://arxiv.org/abs/2309.05300

    Relations: needs no negatives, unlike :class:`MIMLoss`; equals lightly's ``BarlowTwinsLoss``,
    which has no other target and needs batches of equal size on all ranks.

    Examples:
        >>> z = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        >>> round(BarlowTwinsLoss()(z, z).item(), 3)
        0.0
        >>> round(BarlowTwinsLoss(target=0)(z, z).item(), 3)
        2.0
    """

    settings = ('off_diagonal', 'target')

    def __init__(
        self,
        off_diagonal: float = 0.0051,
        *,
        target: float = 1.0,
        gather_distributed: bool = True,
    ) -> None:
        """Initialize a new BarlowTwinsLoss instance.

        Args:
            off_diagonal: Weight of correlations between different features, at least 0.
            target: Correlation of a feature with itself in the other batch, 0 to 1.
            gather_distributed: Correlate over the rows of all ranks while training, if a
                process group is initialised.

        Raises:
            ValueError: If a number is out of its range.
        """
        super().__init__()
        if not off_diagonal >= 0 or not 0 <= target <= 1:
            raise ValueError(
                'off_diagonal is at least 0 and target 0 to 1, found '
                f'{off_diagonal} and {target}'
            )
        self.off_diagonal, self.target = off_diagonal, target
        self.gather_distributed = gather_distributed

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """Compute the loss of a batch of pairs.

        Args:
            z_a: Projections of one modality, shape (batch, dim), any floating dtype.
            z_b: Projections of the other modality, same shape; row i belongs to row i.

        Returns:
            Scalar, float32, at least 0; 0 for fewer than two pairs, which have no correlation.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(z_a, z_b)
        with torch.autocast(z_a.device.type, enabled=False):
            gather = self.gather_distributed and self.training
            every, _, _ = gather_pairs(z_a.float(), z_b.float(), active=gather)
            if len(every[0]) < 2:
                return (every[0].sum() + every[1].sum()) * 0
            # Batch norm divides by the population's deviation and survives constant features.
            a, b = (F.batch_norm(z, None, None, training=True) for z in every)
            correlation = a.T @ b / len(a)
            diagonal = correlation.diagonal()
            others = correlation.square().sum() - diagonal.square().sum()
            return (diagonal - self.target).square().sum() + self.off_diagonal * others
