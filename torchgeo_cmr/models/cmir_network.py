"""CMIR-NET: encoders with classifiers, one space for both modalities, and both as one."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from torchgeo_cmr.errors import check_choice

from .features import FeatureEncoder

__all__ = ('CMIRNetwork', 'ClassifiedEncoders', 'UnifiedEncoderDecoder')

Decode = Literal['cross', 'own']


class ClassifiedEncoders(nn.Module):
    """Stage A: an encoder of features Z and a classifier for each modality.

    Examples:
        >>> stage_a = ClassifiedEncoders(
        ...     {'pan': nn.Linear(5, 4), 'ms': nn.Linear(6, 4)}, 4, 3
        ... )
        >>> features, shares = stage_a(torch.zeros(2, 6), 'ms')
        >>> features.shape, shares.shape
        (torch.Size([2, 4]), torch.Size([2, 3]))
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], feature_dim: int, num_classes: int
    ) -> None:
        """Initialize a new ClassifiedEncoders instance.

        Args:
            encoders: Per modality a network to (batch, feature_dim).
            feature_dim: Width of the features Z.
            num_classes: Number of classes.
        """
        super().__init__()
        self.encoders = nn.ModuleDict(dict(encoders))
        self.classifiers = nn.ModuleDict(
            {m: nn.Linear(feature_dim, num_classes) for m in encoders}
        )

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """Encode a batch of one modality.

        Args:
            x: Normalised input.
            modality: Whose encoder to use.

        Returns:
            Features Z, shape (batch, feature_dim), and what the classifier makes of them as
            shares of the classes that add up to 1, shape (batch, num_classes).
        """
        features = self.encoders[modality](x)
        return features, torch.softmax(self.classify(features, modality), dim=1)

    def classify(self, features: Tensor, modality: str) -> Tensor:
        """Give a logit for each class, shape (batch, num_classes)."""
        return self.classifiers[modality](features)

    def deciding(self, modality: str, features: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture of a modality lands.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            Prefixes of their names in the state dict.
        """
        encoder, shares = f'encoders.{modality}.', f'classifiers.{modality}.'
        return (encoder, shares) if features == 'z' else (encoder,)

    def encoder(self, modality: str) -> nn.Module:
        """Give the encoder of a modality, without the layers behind a timm network."""
        encoder = self.encoders[modality]
        return encoder.backbone if isinstance(encoder, FeatureEncoder) else encoder


class UnifiedEncoderDecoder(nn.Module):
    """Embed the features of two modalities, decode them again, and classify them.

    A linear layer and ReLU per modality give the embedding V; another such pair decodes it to
    features, of the other modality (``decode='cross'``) or of its own; one linear layer for
    both modalities, or one for each, gives a logit for each class.

    If you use this model in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Examples:
        >>> unified = UnifiedEncoderDecoder(
        ...     ('pan', 'ms'), 3, feature_dim=4, output_dim=2
        ... )
        >>> embedding = unified(torch.zeros(5, 4), 'pan')
        >>> embedding.shape, unified.decode(embedding, 'pan').shape
        (torch.Size([5, 2]), torch.Size([5, 4]))
        >>> unified.target['pan']
        'ms'
    """

    def __init__(
        self,
        modalities: Sequence[str],
        num_classes: int,
        *,
        feature_dim: int = 128,
        output_dim: int = 64,
        decode: Decode = 'cross',
        share_classifier: bool = True,
        dropout: Mapping[str, float] | None = None,
    ) -> None:
        """Initialize a new UnifiedEncoderDecoder instance.

        Args:
            modalities: Names of two modalities.
            num_classes: Number of classes.
            feature_dim: Width of the features Z.
            output_dim: Width of the embedding V; 16, 32, 64 or 128 in the paper.
            decode: Whose features an embedding is decoded to.
            share_classifier: One class head for both modalities, or one for each.
            dropout: Per modality the share of its embedding that is dropped in training;
                none by default.

        Raises:
            ValueError: If there are not two modalities, or a number or *decode* is unknown.
        """
        super().__init__()
        if len(modalities) != 2:
            raise ValueError(
                f'CMIR-NET unifies exactly two modalities, found '
                f'{", ".join(modalities) or "none"}'
            )
        check_choice('decode', decode, Decode)
        if min(num_classes, feature_dim, output_dim) < 1:
            raise ValueError(
                'num_classes, feature_dim and output_dim are at least 1, found '
                f'{num_classes}, {feature_dim} and {output_dim}'
            )
        first, second = modalities
        self.target = {first: second, second: first}
        if decode == 'own':
            self.target = {m: m for m in modalities}
        self.encoders = nn.ModuleDict(
            {
                m: _layer(feature_dim, output_dim, (dropout or {}).get(m, 0.0))
                for m in modalities
            }
        )
        self.decoders = nn.ModuleDict(
            {m: _layer(output_dim, feature_dim) for m in modalities}
        )
        shared = nn.Linear(output_dim, num_classes)
        self.classifiers = nn.ModuleDict(
            {
                first: shared,
                second: shared
                if share_classifier
                else nn.Linear(output_dim, num_classes),
            }
        )

    def forward(self, features: Tensor, modality: str) -> Tensor:
        """Embed features.

        Args:
            features: Z, shape (batch, feature_dim).
            modality: Whose features.

        Returns:
            V, shape (batch, output_dim), at least 0.
        """
        return self.encoders[modality](features)

    def decode(self, embedding: Tensor, modality: str) -> Tensor:
        """Decode embeddings of a modality to the features of its target.

        Args:
            embedding: V, shape (batch, output_dim).
            modality: Whose embeddings; :attr:`target` has whose features come out.

        Returns:
            Shape (batch, feature_dim), at least 0.
        """
        return self.decoders[modality](embedding)

    def classify(self, embedding: Tensor, modality: str) -> Tensor:
        """Give a logit for each class.

        Args:
            embedding: V, shape (batch, output_dim).
            modality: Whose embeddings.

        Returns:
            Shape (batch, num_classes).
        """
        return self.classifiers[modality](embedding)

    def weight(self, modality: str) -> Tensor:
        """Give the matrix W of a modality, whose norm one of the losses controls.

        Args:
            modality: Name of a modality.

        Returns:
            Shape (output_dim, feature_dim).
        """
        return self.encoders[modality][0].weight  # ty: ignore[not-subscriptable]


def _layer(before: int, after: int, dropout: float = 0.0) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))


class CMIRNetwork(nn.Module):
    """Stage A and, behind it, the unified network of stage B.

    Examples:
        >>> stage_a = ClassifiedEncoders(
        ...     {'pan': nn.Linear(5, 4), 'ms': nn.Linear(6, 4)}, 4, 3
        ... )
        >>> unified = UnifiedEncoderDecoder(
        ...     ('pan', 'ms'), 3, feature_dim=4, output_dim=2
        ... )
        >>> features, embedding = CMIRNetwork(stage_a, unified)(torch.zeros(2, 6), 'ms')
        >>> features.shape, embedding.shape
        (torch.Size([2, 4]), torch.Size([2, 2]))
    """

    def __init__(
        self,
        stage_a: ClassifiedEncoders,
        unified: UnifiedEncoderDecoder,
        *,
        unit_features: bool = True,
    ) -> None:
        """Initialize a new CMIRNetwork instance.

        Args:
            stage_a: Encoders and their classifiers.
            unified: What embeds the features.
            unit_features: Whether the features of a row are scaled to length one before they
                are embedded, and so are those that decoders aim at. A network that has just
                learnt to classify gives features of any length, and squares of them would
                drown the class term.
        """
        super().__init__()
        self.stage_a = stage_a
        self.unified = unified
        self.unit_features = unit_features

    def scaled(self, features: Tensor) -> Tensor:
        """Scale features as the unified network takes them, shape (batch, feature_dim)."""
        return (
            nn.functional.normalize(features, dim=1) if self.unit_features else features
        )

    def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
        """Encode a batch of one modality.

        Args:
            x: Normalised input.
            modality: Whose encoder to use.

        Returns:
            Features Z, shape (batch, feature_dim), and embeddings V, shape
            (batch, output_dim).
        """
        features = self.stage_a.encoders[modality](x)
        return features, self.unified(self.scaled(features), modality)

    def deciding(self, modality: str, features: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture of a modality lands.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            Prefixes of their names in the state dict.
        """
        encoder = f'stage_a.encoders.{modality}.'
        embedding = f'unified.encoders.{modality}.'
        return (encoder, embedding) if features == 'z' else (encoder,)

    def encoder(self, modality: str) -> nn.Module:
        """Give the encoder of a modality, without the layers behind a timm network."""
        return self.stage_a.encoder(modality)
