"""An encoder for every modality; heads for each, or one for all."""

from collections.abc import Mapping

from torch import Tensor, nn

from .heads import project_together

__all__ = ('CrossModalEncoder',)


class CrossModalEncoder(nn.Module):
    """Encode each modality with its own backbone and project it with its head.

    Examples:
        >>> import torch
        >>> backbones = {'s1': nn.Linear(2, 4), 's2': nn.Linear(12, 4)}
        >>> encoder = CrossModalEncoder(
        ...     backbones, {m: nn.Linear(4, 3) for m in backbones}
        ... )
        >>> h, z = encoder(torch.zeros(5, 12), 's2')
        >>> h.shape, z.shape
        (torch.Size([5, 4]), torch.Size([5, 3]))
    """

    def __init__(
        self, backbones: Mapping[str, nn.Module], heads: Mapping[str, nn.Module]
    ) -> None:
        """Initialize a new CrossModalEncoder instance.

        Args:
            backbones: Per modality a network from (batch, channels, height, width) to
                (batch, features).
            heads: Per modality a network from (batch, features) to (batch, dim); the same
                network for all to share it.

        Raises:
            ValueError: If the two do not name the same modalities.
        """
        super().__init__()
        if set(backbones) != set(heads):
            raise ValueError(
                'every modality needs a backbone and a head, found backbones for '
                f'{sorted(backbones)} and heads for {sorted(heads)}'
            )
        self.backbones = nn.ModuleDict(dict(backbones))
        self.heads = nn.ModuleDict(dict(heads))

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """Encode a batch of one modality.

        Args:
            x: Normalised images, shape (batch, channels, height, width).
            modality: Whose backbone and head to use.

        Returns:
            Encoder outputs *h*, shape (batch, features), and projections *z*, shape
            (batch, dim).
        """
        h = self.backbones[modality](x)
        return h, self.heads[modality](h)

    def encode_together(
        self, images: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Encode all modalities of a batch; a shared head sees them in one call.

        Args:
            images: Per modality normalised images, shape (batch, channels, height, width).

        Returns:
            Per modality *h*, shape (batch, features), and *z*, shape (batch, dim).
        """
        return self.project({m: self.backbones[m](x) for m, x in images.items()})

    def project(
        self, features: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Project the encoder outputs of several modalities.

        Args:
            features: Per modality *h*, shape (batch, features).

        Returns:
            Per modality *h* and *z*, shape (batch, dim).
        """
        projections = project_together({m: self.heads[m] for m in features}, features)
        return {m: (h, projections[m]) for m, h in features.items()}

    def deciding(self, modality: str, features: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture of a modality lands.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            Prefixes of their names in the state dict.
        """
        encoder, head = f'backbones.{modality}.', f'heads.{modality}.'
        return (encoder, head) if features == 'z' else (encoder,)

    def encoder(self, modality: str) -> nn.Module:
        """Give the timm network of a modality.

        Args:
            modality: Name of a modality.

        Returns:
            Its backbone.
        """
        return self.backbones[modality]
