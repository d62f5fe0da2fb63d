"""Two sensors, one network: a thin stem for each, and everything after it shared."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .heads import project_together

__all__ = ('JointEncoder',)


class JointEncoder(nn.Module):
    """Encode all modalities with one trunk behind a 1x1 convolution for each.

    The stem of a modality mixes its bands into a fixed number of channels, with bias; the
    trunk sees nothing else, so it has to work for every sensor. A head may be one for all, or one
    for each.

    Batch norm in the trunk: :meth:`forward` alone would normalise each modality on its own
    while training and by a mixture afterwards. :meth:`encode_together` lets the trunk see all
    modalities in one batch, so that both agree; the tasks train with it.

    Relations: :class:`~torchgeo_cmr.models.CrossModalEncoder` shares no encoder,
    :class:`~torchgeo_cmr.models.SharedTrunkEncoder` all layers but the first.

    Examples:
        >>> trunk = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> heads = {'s1': nn.Linear(8, 3), 's2': nn.Linear(8, 3)}
        >>> encoder = JointEncoder({'s1': 2, 's2': 12}, trunk, heads, stem_channels=8)
        >>> h, z = encoder(torch.zeros(5, 12, 4, 4), 's2')
        >>> h.shape, z.shape
        (torch.Size([5, 8]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        in_channels: Mapping[str, int],
        trunk: nn.Module,
        heads: Mapping[str, nn.Module],
        *,
        stem_channels: int = 32,
    ) -> None:
        """Initialize a new JointEncoder instance.

        Args:
            in_channels: Number of channels of each modality.
            trunk: Network from (batch, *stem_channels*, height, width) to (batch, features).
            heads: Per modality a network from (batch, features) to (batch, dim).
            stem_channels: Channels between stems and trunk.

        Raises:
            ValueError: If the two do not name the same modalities.
        """
        super().__init__()
        if set(in_channels) != set(heads):
            raise ValueError(
                'every modality needs a stem and a head, found stems for '
                f'{sorted(in_channels)} and heads for {sorted(heads)}'
            )
        stems = {m: nn.Conv2d(n, stem_channels, 1) for m, n in in_channels.items()}
        for stem in stems.values():
            nn.init.kaiming_normal_(stem.weight)
            nn.init.constant_(stem.bias, 0.0)  # ty: ignore[invalid-argument-type]
        self.stems = nn.ModuleDict(dict(stems))
        self.trunk = trunk
        self.heads = nn.ModuleDict(dict(heads))

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """Encode a batch of one modality.

        Args:
            x: Normalised images, shape (batch, channels, height, width).
            modality: Whose stem and head to use.

        Returns:
            Encoder outputs *h*, shape (batch, features), and projections *z*, shape
            (batch, dim).
        """
        h = self.trunk(self.stems[modality](x))
        return h, self.heads[modality](h)

    def encode_together(
        self, images: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Encode all modalities of a batch, the trunk in one call.

        Patches of different sizes cannot share a batch; then the trunk sees each modality on
        its own.

        Args:
            images: Per modality normalised images, shape (batch, channels, height, width).

        Returns:
            Per modality *h*, shape (batch, features), and *z*, shape (batch, dim).
        """
        stems = {m: self.stems[m](x) for m, x in images.items()}
        if len({x.shape[2:] for x in stems.values()}) > 1:
            features = [self.trunk(x) for x in stems.values()]
        else:
            sizes = [len(x) for x in stems.values()]
            features = self.trunk(torch.cat(list(stems.values()))).split(sizes)
        encoded = dict(zip(stems, features, strict=True))
        heads = {m: self.heads[m] for m in encoded}
        projections = project_together(heads, encoded)
        return {m: (h, projections[m]) for m, h in encoded.items()}

    def deciding(self, modality: str, features: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture of a modality lands.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            Prefixes of their names in the state dict.
        """
        encoder = f'stems.{modality}.', 'trunk.'
        return (*encoder, f'heads.{modality}.') if features == 'z' else encoder

    def encoder(self, modality: str) -> nn.Module:
        """Return the timm network of a modality: the shared trunk, without the stem.

        Args:
            modality: Name of a modality.

        Returns:
            The trunk, for *stem_channels* channels.
        """
        return self.trunk
