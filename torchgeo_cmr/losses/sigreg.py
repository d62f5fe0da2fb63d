"""SIGReg: keep projections spread like a normal distribution, without negatives."""

import torch
from torch import Tensor

from .pairs import Loss, gather_rows

__all__ = ('SIGRegLoss',)


class SIGRegLoss(Loss):
    r"""Sketched isotropic Gaussian regularisation of a batch of projections.

    Rows *r* are projected on *J* random directions *u*, :math:`s_{ij} = r_i \cdot u_j`, and the
    empirical characteristic function of each projection is compared with that of the standard
    normal distribution at *K* points *t* in [0, 3]:

    .. math::

       \frac{B}{J} \sum_j \sum_k w_k \left[ \left( \frac{1}{B} \sum_i \cos(t_k s_{ij})
       - e^{-t_k^2/2} \right)^2 + \left( \frac{1}{B} \sum_i \sin(t_k s_{ij}) \right)^2 \right]

    with :math:`w_k` the trapezoid weight times :math:`e^{-t_k^2/2}`. A collapsed or degenerate
    cloud of points is far from normal in most directions, so the loss is an alternative to
    negatives.

    If you use this loss in your research, please cite the following papers:

    * LeJEPA: https://arxiv.org/abs/2511.08544
    * in CR-JEPA, for retrieval: https://arxiv.org/abs/2606.00706

    Relations: an optional term of :class:`~torchgeo_cmr.tasks.SSCMRSIR`. It acts on projections as
    they are, of any length, where :class:`MIMLoss` sees their directions alone.

    Examples:
        >>> torch.manual_seed(0).initial_seed()
        0
        >>> spread, point = torch.randn(256, 8), torch.ones(256, 8)
        >>> loss = SIGRegLoss()
        >>> bool(loss(spread) < 1 < loss(point))
        True
    """

    settings = ('directions', 'points', 'end')

    def __init__(
        self,
        directions: int = 256,
        points: int = 17,
        *,
        end: float = 3.0,
        gather_distributed: bool = True,
    ) -> None:
        """Initialize a new SIGRegLoss instance.

        Args:
            directions: Random directions *J*, drawn anew for each batch.
            points: Points *K* of the grid from 0 to *end*, at least 2.
            end: Largest point.
            gather_distributed: Use the rows of all ranks while training, if a process group is
                initialised.

        Raises:
            ValueError: If a number is too small.
        """
        super().__init__()
        if directions < 1 or points < 2 or not end > 0:
            raise ValueError(
                'SIGReg needs at least 1 direction, 2 points and an end above 0, found '
                f'{directions}, {points} and {end}'
            )
        self.directions, self.points, self.end = directions, points, end
        self.gather_distributed = gather_distributed

    def forward(self, rows: Tensor, directions: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch.

        Args:
            rows: Projections, shape (batch, dim), any floating dtype.
            directions: Unit vectors, shape (J, dim), in place of random ones.

        Returns:
            Scalar, float32, at least 0.

        Raises:
            ValueError: If *rows* is not a matrix.
        """
        if rows.ndim != 2:
            raise ValueError(
                f'projections are a matrix (batch, dim), found shape {tuple(rows.shape)}'
            )
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.float()
            if directions is None:
                drawn = torch.randn(
                    (self.directions, rows.shape[1]), device=rows.device
                )
                directions = torch.nn.functional.normalize(drawn, dim=1)
                # All ranks look along the directions of the first.
                if self.gather_distributed and self.training:
                    every, _, _ = gather_rows(directions)
                    directions = every[: self.directions]
            gather = self.gather_distributed and self.training
            every, _, _ = gather_rows(rows, active=gather)
            t = torch.linspace(0, self.end, self.points, device=rows.device)
            normal = torch.exp(-t.square() / 2)
            step = self.end / (self.points - 1)
            trapezoid = torch.full_like(t, step)
            trapezoid[0] = trapezoid[-1] = step / 2
            angles = (every @ directions.T)[:, :, None] * t
            real = angles.cos().mean(dim=0) - normal
            imaginary = angles.sin().mean(dim=0)
            distance = (real.square() + imaginary.square()) * (trapezoid * normal)
            return len(every) * distance.sum(dim=1).mean()
