"""Projection heads: from what an encoder sees to the space in which pairs are compared."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from torchgeo_cmr.errors import check_choice

__all__ = ('Head', 'ProjectionHead', 'TwoHeads', 'project_together')

Head = Literal['mlp', 'linear_relu', 'hash']


class ProjectionHead(nn.Sequential):
    """Map encoder outputs *h* to projections *z*.

    Kinds:

    * ``'mlp'``: Linear, batch norm, ReLU, Linear (default);
    * ``'linear_relu'``: Linear and ReLU, as in the precursor of SS-CM-RSIR; its outputs are
      not negative, and an all-zero row is possible;
    * ``'hash'``: like ``'mlp'``, ending in tanh, so that signs make a binary code.

    Batch norm sees the rows it is called with: a head of one modality is called with the rows of
    that modality, a head that several share with the rows of all (:func:`project_together`).

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


class TwoHeads(nn.Module):
    """Two projections of one encoder output, one after the other in a row.

    In CR-JEPA (https://arxiv.org/abs/2606.00706) the *unified* head serves retrieval within a
    sensor and the *cross* head retrieval across sensors.

    Examples:
        >>> TwoHeads(nn.Linear(8, 3), nn.Linear(8, 3))(torch.zeros(2, 8)).shape
        torch.Size([2, 6])
    """

    def __init__(self, unified: nn.Module, cross: nn.Module) -> None:
        """Initialize a new TwoHeads instance.

        Args:
            unified: First head, from (batch, features) to (batch, dim).
            cross: Second head, of the same width.
        """
        super().__init__()
        self.unified, self.cross = unified, cross

    def forward(self, h: Tensor) -> Tensor:
        """Project a batch.

        Args:
            h: Encoder outputs, shape (batch, features).

        Returns:
            Both projections, shape (batch, 2 dim), the unified one first.
        """
        return torch.cat([self.unified(h), self.cross(h)], dim=1)


def project_together(
    heads: Mapping[str, nn.Module], features: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Project all modalities; a head that they share sees them in one batch.

    Batch norm in a shared head would otherwise normalise each modality on its own while training
    and by a mixture afterwards.

    Args:
        heads: Head of each modality.
        features: Encoder outputs of each modality, shape (batch, features).

    Returns:
        Projections of each modality, shape (batch, dim).
    """
    shared = {id(heads[m]) for m in features}
    if len(shared) > 1 or len(features) < 2:
        return {m: heads[m](h) for m, h in features.items()}
    head = heads[next(iter(features))]
    rows = head(torch.cat(list(features.values())))
    parts = rows.split([len(h) for h in features.values()])
    return dict(zip(features, parts, strict=True))
