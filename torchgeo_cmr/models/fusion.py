"""Fusion: one vector per place out of one vector per sensor."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from torchgeo_cmr.errors import check_choice

__all__ = ('EarlyFusionEncoder', 'Fusion', 'check_fusion', 'fuse')

Fusion = Literal['concat', 'mean', 'sum', 'max']


def fuse(features: Sequence[Tensor], fusion: Fusion = 'concat') -> Tensor:
    """Fuse the features of several sensors.

    Args:
        features: One tensor (batch, dim) per sensor; rows belong together.
        fusion: ``'concat'``, or ``'mean'``, ``'sum'`` or ``'max'`` of each feature, which
            need one *dim*.

    Returns:
        Shape (batch, sum of dims) for ``'concat'``, else (batch, dim).

    Raises:
        ValueError: If *fusion* is unknown, there is nothing to fuse, or shapes do not go
            together.

    Examples:
        >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 4.0]])
        >>> [fuse([a, b], how).tolist() for how in ('concat', 'mean', 'sum', 'max')]
        [[[1.0, 0.0, 0.0, 4.0]], [[0.5, 2.0]], [[1.0, 4.0]], [[1.0, 4.0]]]
    """
    check_fusion(fusion)
    shapes = [tuple(x.shape) for x in features]
    if not shapes or any(len(s) != 2 or s[0] != shapes[0][0] for s in shapes):
        raise ValueError(
            f'fusion needs matrices of as many rows, found shapes {shapes}'
        )
    if fusion == 'concat':
        return torch.cat(list(features), dim=1)
    if len(set(shapes)) > 1:
        raise ValueError(
            f"{fusion!r} needs features of one width, found shapes {shapes}: fuse by 'concat'"
        )
    stack = torch.stack(list(features))
    if fusion == 'max':
        return stack.amax(dim=0)
    return stack.mean(dim=0) if fusion == 'mean' else stack.sum(dim=0)


def check_fusion(fusion: str) -> None:
    """Refuse a fusion with an unknown name."""
    check_choice('fusion', fusion, Fusion)


class EarlyFusionEncoder(nn.Module):
    """Encode the stack of all sensors' bands with one network.

    No sensor can be encoded alone, so it serves comparison, not retrieval across sensors.

    Examples:
        >>> encoder = EarlyFusionEncoder(nn.Flatten(), nn.Linear(14, 3))
        >>> h, z = encoder([torch.zeros(5, 2, 1, 1), torch.zeros(5, 12, 1, 1)])
        >>> h.shape, z.shape
        (torch.Size([5, 14]), torch.Size([5, 3]))
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        """Initialize a new EarlyFusionEncoder instance.

        Args:
            backbone: Network from (batch, all channels, height, width) to (batch, features).
            head: Network from (batch, features) to (batch, dim).
        """
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Encode the stack.

        Args:
            images: Normalised images of each sensor, shape (batch, channels, height, width),
                of one height and width.

        Returns:
            Encoder outputs *h*, shape (batch, features), and projections *z*, shape
            (batch, dim).
        """
        h = self.backbone(torch.cat(list(images), dim=1))
        return h, self.head(h)

    def deciding(self, modality: str, features: str) -> tuple[str, ...]:
        """Name the weights that decide where a place lands, the same for all modalities.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            Prefixes of their names in the state dict.
        """
        return ('backbone.', 'head.') if features == 'z' else ('backbone.',)

    def encoder(self, modality: str) -> nn.Module:
        """Give the timm network; it is the same for every modality.

        Args:
            modality: Name of a modality.

        Returns:
            The network on all bands.
        """
        return self.backbone
