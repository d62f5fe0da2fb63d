"""Projection heads: from what an encoder sees to the space in which pairs are compared."""

from typing import Literal

from torch import Tensor, nn

from torchgeo_cmr.errors import check_choice

__all__ = ('Head', 'ProjectionHead')

Head = Literal['mlp', 'linear_relu', 'hash']


class ProjectionHead(nn.Sequential):
    """Map encoder outputs *h* to projections *z*.

    Kinds:

    * ``'mlp'``: Linear, batch norm, ReLU, Linear (default);
    * ``'linear_relu'``: Linear and ReLU, as in the precursor of SS-CM-RSIR; its outputs are
      not negative, and an all-zero row is possible;
    * ``'hash'``: like ``'mlp'``, ending in tanh, so that signs make a binary code.

    Batch norm sees the rows it is called with: call the head once per modality (as
    :class:`~torchgeo_cmr.models.CrossModalEncoder` does) or the modalities mix.

    Examples:
        >>> import torch
        >>> ProjectionHead(8, output_dim=4, kind='hash')(torch.zeros(2, 8)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 128,
        *,
        hidden_dim: int | None = None,
        kind: Head = 'mlp',
    ) -> None:
        """Initialize a new ProjectionHead instance.

        Args:
            input_dim: Width of *h*.
            output_dim: Width of *z*.
            hidden_dim: Width between the two linear layers, *input_dim* by default; without
                effect for ``'linear_relu'``.
            kind: ``'mlp'``, ``'linear_relu'`` or ``'hash'``.

        Raises:
            ValueError: If *kind* is unknown or a width is below 1.
        """
        for name, value in (('output_dim', output_dim), ('hidden_dim', hidden_dim)):
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, found {value}')
        check_choice('head', kind, Head)
        layers: list[nn.Module]
        if kind == 'linear_relu':
            layers = [nn.Linear(input_dim, output_dim), nn.ReLU()]
        else:
            hidden_dim = hidden_dim or input_dim
            layers = [
                nn.Linear(input_dim, hidden_dim),
                nn.BatchNorm1d(hidden_dim),
                nn.ReLU(),
                nn.Linear(hidden_dim, output_dim),
            ]
        if kind == 'hash':
            layers.append(nn.Tanh())
        super().__init__(*layers)
        self.output_dim = output_dim

    def forward(self, input: Tensor) -> Tensor:
        """Project a batch.

        Args:
            input: Encoder outputs *h*, shape (batch, input_dim).

        Returns:
            Projections *z*, shape (batch, output_dim).
        """
        return super().forward(input)
