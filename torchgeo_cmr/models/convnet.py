"""The two small networks with which CMIR-NET looks at PAN and MS patches."""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ('CMIRConvNet',)

#: Channels of the three blocks, and the side to which a picture shrinks.
WIDTHS = (32, 64, 128)
SIDE = 4


class CMIRConvNet(nn.Module):
    """Three convolutions and a linear layer: 128 features of a patch.

    Each block is a 3x3 convolution, LeakyReLU 0.01, batch norm and max-pooling; then a linear
    layer, ReLU and dropout. With ``pool=(2, 2, 4)`` a multispectral patch of 64x64 pixels
    shrinks to 4x4, with ``pool=(4, 4, 4)`` a panchromatic one of 256x256. Patches of other
    sizes are averaged to 4x4 behind the last block.

    If you use this model in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    The layers are those of the authors' code; batch norm works as usual here (there it was
    called in inference mode), and weights start as Kaiming et al. suggest.
    """

    def __init__(
        self,
        in_chans: int,
        num_classes: int = 0,
        *,
        pool: Sequence[int] = (2, 2, 4),
        feature_dim: int = 128,
        dropout: float = 0.5,
    ) -> None:
        """Initialize a new CMIRConvNet instance.

        Args:
            in_chans: Number of channels.
            num_classes: Number of classes; 0 gives features instead of logits.
            pool: Pooling of the three blocks.
            feature_dim: Number of features.
            dropout: Share of features that are dropped in training.

        Raises:
            ValueError: If *pool* does not name three sizes.
        """
        super().__init__()
        if len(pool) != len(WIDTHS) or min(pool) < 1:
            raise ValueError(
                f'pool has one size of at least 1 for each of three blocks, found {pool}'
            )
        self.num_features = feature_dim
        layers: list[nn.Module] = []
        before = in_chans
        for width, size in zip(WIDTHS, pool, strict=True):
            layers += [
                nn.Conv2d(before, width, 3, padding=1),
                nn.LeakyReLU(0.01),
                nn.BatchNorm2d(width),
                # rounded up, so that a small patch never vanishes
                nn.MaxPool2d(size, ceil_mode=True),
            ]
            before = width
        self.blocks = nn.Sequential(*layers)
        self.features = nn.Sequential(
            nn.AdaptiveAvgPool2d(SIDE),
            nn.Flatten(),
            nn.Linear(before * SIDE**2, feature_dim),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.classifier = (
            nn.Linear(feature_dim, num_classes) if num_classes else nn.Identity()
        )
        for module in self.modules():
            if (
                isinstance(module, nn.Conv2d | nn.Linear)
                and module is not self.classifier
            ):
                nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            x: Normalised patches, shape (batch, in_chans, height, width).

        Returns:
            Features, shape (batch, feature_dim), at least 0; or logits, shape
            (batch, num_classes).
        """
        return self.classifier(self.features(self.blocks(x)))
