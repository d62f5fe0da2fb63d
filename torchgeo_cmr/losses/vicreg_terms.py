"""VICReg: invariance, variance and covariance of features, each with a weight of its own."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .pairs import Loss, check_pairs, gather_pairs

__all__ = ('VICRegLoss',)


class VICRegLoss(Loss):
    r"""Pull pairs together while every feature keeps a spread and says something of its own.

    .. math::

       \lambda \, \mathrm{MSE}(Z_a, Z_b) + \mu \, [v(Z_a) + v(Z_b)] + \nu \, [c(Z_a) + c(Z_b)]

    with :math:`v(Z) = \frac{1}{d} \sum_j \max(0, 1 - \sqrt{\mathrm{var}_j + 10^{-4}})` and
    :math:`c(Z) = \frac{1}{d} \sum_{i \ne j} \mathrm{cov}_{ij}^2`, variances and covariances
    unbiased. This is the formula of the paper; its code and lightly's ``VICRegLoss`` take the mean
    of the two variance terms, that is half of :math:`\mu`.

    If you use this loss in your research, please cite the following paper:

    * https://arxiv.org/abs/2105.04906

    Relations: needs no negatives, unlike :class:`MIMLoss`, and no standardised features, unlike
    :class:`BarlowTwinsLoss`.

    Examples:
        >>> z = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
        >>> round(VICRegLoss()(z, z).item(), 3)
        0.0
        >>> round(VICRegLoss()(z, z * 0).item(), 3) > 25
        True
    """

    settings = ('invariance', 'variance', 'covariance')

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        *,
        gather_distributed: bool = True,
    ) -> None:
        """Initialize a new VICRegLoss instance.

        Args:
            invariance: Weight of the distance of pairs, at least 0.
            variance: Weight of the spread of each feature, of each modality.
            covariance: Weight of what two features have in common, of each modality.
            gather_distributed: Use the rows of all ranks while training, if a process group is
                initialised.

        Raises:
            ValueError: If a weight is negative.
        """
        super().__init__()
        if not min(invariance, variance, covariance) >= 0:
            raise ValueError(
                'weights of VICReg are at least 0, found '
                f'{invariance}, {variance} and {covariance}'
            )
        self.invariance, self.variance = invariance, variance
        self.covariance = covariance
        self.gather_distributed = gather_distributed

    def forward(self, z_a: Tensor, z_b: Tensor) -> Tensor:
        """Compute the loss of a batch of pairs.

        Args:
            z_a: Projections of one modality, shape (batch, dim), any floating dtype.
            z_b: Projections of the other modality, same shape; row i belongs to row i.

        Returns:
            Scalar, float32, at least 0; of a single pair the invariance alone.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(z_a, z_b)
        with torch.autocast(z_a.device.type, enabled=False):
            gather = self.gather_distributed and self.training
            (a, b), _, _ = gather_pairs(z_a.float(), z_b.float(), active=gather)
            loss = self.invariance * F.mse_loss(a, b)
            if len(a) < 2:
                return loss
            loss = loss + self.variance * (_variance(a) + _variance(b))
            return loss + self.covariance * (_covariance(a) + _covariance(b))


def _variance(z: Tensor) -> Tensor:
    """Mean over features of what their deviation lacks to 1."""
    return F.relu(1 - (z.var(dim=0) + 1e-4).sqrt()).mean()


def _covariance(z: Tensor) -> Tensor:
    """Sum of the squared covariances of different features, divided by their number."""
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)
    off = covariance.square().sum() - covariance.diagonal().square().sum()
    return off / z.shape[1]
