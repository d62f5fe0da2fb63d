"""Encoders of CMIR-NET: from pictures, sound or vectors to the features Z."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from torchgeo_cmr.errors import RasterError

from .encoder import build_encoder
from .speech import SpeechEncoder
from .weights import EncoderWeights, NewBands

__all__ = (
    'CMIRConvNet',
    'FeatureEncoder',
    'build_feature_encoder',
    'is_speech',
    'takes_vectors',
)

#: Convolutional encoders of CMIR-NET by name, and the pooling of their blocks.
CONVNETS: Mapping[str, tuple[int, int, int]] = {
    'cmir_ms': (2, 2, 4),
    'cmir_pan': (4, 4, 4),
    'cmir_small': (1, 2, 2),
}

#: Width between the layers for vectors wider than this, as for the images of the paper.
_WIDE = 512


#: Channels of the blocks of a convolutional encoder, and the side to which a picture shrinks.
_BLOCK_WIDTHS = (32, 64, 128)
_SIDE = 4


class CMIRConvNet(nn.Module):
    """Three convolutions and a linear layer: 128 features of a patch.

    Each block is a 3x3 convolution, LeakyReLU 0.01, batch norm and max-pooling; then a linear
    layer, ReLU and dropout. With ``pool=(2, 2, 4)`` a multispectral patch of 64x64 pixels
    shrinks to 4x4, with ``pool=(4, 4, 4)`` a panchromatic one of 256x256. Patches of other
    sizes are averaged to 4x4 behind the last block.

    If you use this model in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    The layers are those of the authors' code, but for batch norm, which they called in
    inference mode, and initial weights, which are those of Kaiming et al.

    Examples:
        >>> import torch
        >>> CMIRConvNet(4, feature_dim=16)(torch.zeros(2, 4, 64, 64)).shape
        torch.Size([2, 16])
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
        if len(pool) != len(_BLOCK_WIDTHS) or min(pool) < 1:
            raise ValueError(
                f'pool has one size of at least 1 for each of three blocks, found {pool}'
            )
        self.num_features = feature_dim
        layers: list[nn.Module] = []
        before = in_chans
        for width, size in zip(_BLOCK_WIDTHS, pool, strict=True):
            layers += [
                nn.Conv2d(before, width, 3, padding=1),
                nn.LeakyReLU(0.01),
                nn.BatchNorm2d(width),
                # Rounded up, so that a small patch never vanishes.
                nn.MaxPool2d(size, ceil_mode=True),
            ]
            before = width
        self.blocks = nn.Sequential(*layers)
        self.features = nn.Sequential(
            nn.AdaptiveAvgPool2d(_SIDE),
            nn.Flatten(),
            nn.Linear(before * _SIDE**2, feature_dim),
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


class FeatureEncoder(nn.Module):
    """A backbone, one linear layer, ReLU and dropout: the features Z of any network.

    Examples:
        >>> import torch
        >>> encoder = FeatureEncoder(nn.Flatten(), width=12, feature_dim=8)
        >>> encoder(torch.zeros(2, 3, 2, 2)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        feature_dim: int = 128,
        dropout: float = 0.5,
    ) -> None:
        """Initialize a new FeatureEncoder instance.

        Args:
            backbone: Network from pictures to (batch, width).
            width: Width of what it gives.
            feature_dim: Number of features.
            dropout: Share of features that are dropped in training.
        """
        super().__init__()
        self.backbone = backbone
        self.features = nn.Sequential(
            nn.Linear(width, feature_dim), nn.ReLU(), nn.Dropout(dropout)
        )
        self.num_features = feature_dim

    def forward(self, x: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            x: Normalised pictures, shape (batch, channels, height, width).

        Returns:
            Shape (batch, feature_dim), at least 0.
        """
        return self.features(self.backbone(x))


def is_speech(model: str | nn.Module) -> bool:
    """Tell whether an encoder of this name takes raw sound."""
    if not isinstance(model, str):
        return False
    return model == 'speech' or model.startswith('speech:')


def takes_vectors(model: str | nn.Module) -> bool:
    """Tell whether an encoder of this name takes vectors made elsewhere."""
    return model in ('mlp', 'identity')


def build_feature_encoder(
    model: str | nn.Module,
    in_channels: int,
    weights: EncoderWeights = None,
    *,
    feature_dim: int = 128,
    dropout: float = 0.5,
    modality: str = '',
    bands: Sequence[str] | None = None,
    new_bands: NewBands = 'error',
    speech: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build an encoder that gives the features Z of one modality.

    Args:
        model: ``'cmir_ms'``, ``'cmir_pan'`` or ``'cmir_small'``: :class:`CMIRConvNet` with
            the pooling of the paper for either, or for patches of about 16 pixels; ``'speech'``
            or ``'speech:<timm model>'``: :class:`SpeechEncoder`;
            ``'mlp'``: the layers of CMIR-NET for vectors that another network made;
            ``'identity'``: such vectors are the features; any other name or network: as of
            :func:`build_encoder`.
        in_channels: Number of channels; 1 for speech; the width of vectors.
        weights: Initial weights of a timm model, as of :func:`build_encoder`.
        feature_dim: Number of features.
        dropout: Share of features that are dropped in training.
        modality: Name for messages.
        bands: Names of the channels.
        new_bands: What initial weights give a band they do not know.
        speech: Further options of :class:`SpeechEncoder`, such as ``frames``.

    Returns:
        The encoder, with attributes ``num_features`` and ``assumed_bands`` (as of
        :func:`build_encoder`).

    Raises:
        RasterError: If the number of channels is not one that the encoder takes.
        ValueError: If the model is unknown, or weights are given to one that has none.

    Examples:
        >>> import torch
        >>> encoder = build_feature_encoder('cmir_small', 3, feature_dim=16)
        >>> encoder(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 16])
    """
    name = model if isinstance(model, str) else ''
    is_ours = name in CONVNETS or is_speech(name) or takes_vectors(name)
    if is_ours and weights not in (None, False):
        raise ValueError(f'there are no initial weights for {model!r}: omit weights')
    assumed = None
    encoder: nn.Module
    if name in CONVNETS:
        encoder = CMIRConvNet(
            in_channels, pool=CONVNETS[name], feature_dim=feature_dim, dropout=dropout
        )
    elif is_speech(model):
        if in_channels != 1:
            raise RasterError(
                f'{modality or "speech"} is sound of 1 channel, found {in_channels} in '
                'in_channels'
            )
        encoder = SpeechEncoder(
            name.partition(':')[2] or None,
            feature_dim=feature_dim,
            dropout=dropout,
            **(speech or {}),
        )
    elif model == 'identity':
        if in_channels != feature_dim:
            raise RasterError(
                f'{modality or "the encoder"} has vectors of {in_channels}, found '
                f"feature_dim={feature_dim}: make them equal, or take the model 'mlp'"
            )
        encoder = nn.Identity()
    elif model == 'mlp':
        encoder = _perceptron(in_channels, feature_dim)
    else:
        backbone = build_encoder(
            model,
            in_channels,
            weights,
            modality=modality,
            bands=bands,
            new_bands=new_bands,
        )
        assumed = vars(backbone)['assumed_bands']
        width = int(backbone.num_features)  # ty: ignore[invalid-argument-type]
        encoder = FeatureEncoder(backbone, width, feature_dim, dropout)
    vars(encoder).update(num_features=feature_dim, assumed_bands=assumed)
    return encoder


def _perceptron(width: int, feature_dim: int) -> nn.Sequential:
    """Give the layers of CMIR-NET for vectors, each followed by ReLU."""
    widths = [width, *([_WIDE] if width > _WIDE else []), feature_dim]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)
