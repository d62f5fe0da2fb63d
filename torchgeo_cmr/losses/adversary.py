"""An adversary that tells modalities apart, and what an encoder loses to it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .pairs import Loss, check_pairs

__all__ = ('ModalityAdversary',)


class ModalityAdversary(Loss):
    r"""Train a small network to tell the modality of a row, and encoders to mislead it.

    The network (Linear to twice the width, batch norm, ReLU, Linear) is trained with cross-entropy
    on detached rows and a gradient penalty, :math:`(\|\nabla D(x)\|_2 - 1)^2` on points between the
    rows of a pair. The encoders' term is the cross-entropy with the labels exchanged (the
    non-saturating form), in which the network stands still. Both can therefore be minimised in
    one step, by one optimiser.

    If you use this loss in your research, please cite the following papers:

    * in DUCH: https://arxiv.org/abs/2201.08125
    * gradient penalty: https://arxiv.org/abs/1704.00028

    Examples:
        >>> adversary = ModalityAdversary(4)
        >>> mislead, tell = adversary(torch.randn(8, 4), torch.randn(8, 4))
        >>> mislead.shape == tell.shape == ()
        True
    """

    settings = ('penalty',)

    def __init__(self, dim: int, *, penalty: float = 10.0) -> None:
        """Initialize a new ModalityAdversary instance.

        Args:
            dim: Width of the rows.
            penalty: Weight of the gradient penalty, at least 0; 0 removes it.

        Raises:
            ValueError: If *penalty* is negative.
        """
        super().__init__()
        if not penalty >= 0:
            raise ValueError(f'penalty must be at least 0, found {penalty}')
        self.penalty = penalty
        self.network = nn.Sequential(
            nn.Linear(dim, 2 * dim),
            nn.BatchNorm1d(2 * dim),
            nn.ReLU(),
            nn.Linear(2 * dim, 1),
        )

    def forward(self, h_a: Tensor, h_b: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both terms of a batch of pairs.

        Args:
            h_a: Rows of one modality, shape (batch, dim), any floating dtype.
            h_b: Rows of the other modality, same shape.

        Returns:
            The term of the encoders and that of the network, scalars, float32.

        Raises:
            ValueError: If the shapes do not pair.
        """
        check_pairs(h_a, h_b)
        weights = dict(self.network.named_parameters())
        dtype = next(iter(weights.values())).dtype
        with torch.autocast(h_a.device.type, enabled=False):
            rows = torch.cat([h_a, h_b]).to(dtype)
            side = torch.cat([torch.ones(len(h_a)), torch.zeros(len(h_b))])
            side = side.to(rows)[:, None]
            still = {name: weight.detach() for name, weight in weights.items()}
            misled = functional_call(self.network, still, (rows,))
            mislead = F.binary_cross_entropy_with_logits(misled, 1 - side)
            tell = F.binary_cross_entropy_with_logits(self.network(rows.detach()), side)
            if self.penalty and torch.is_grad_enabled():
                tell = tell + self.penalty * self._steepness(
                    h_a.to(dtype), h_b.to(dtype)
                )
        return mislead.float(), tell.float()

    def _steepness(self, h_a: Tensor, h_b: Tensor) -> Tensor:
        """Mean squared distance of the network's slope from 1, between the rows of pairs."""
        share = torch.rand(len(h_a), 1, dtype=h_a.dtype, device=h_a.device)
        between = share * h_a.detach() + (1 - share) * h_b.detach()
        between.requires_grad_()
        total = self.network(between).sum()
        (slope,) = torch.autograd.grad(total, between, create_graph=True)
        return (slope.norm(dim=1) - 1).square().mean()
