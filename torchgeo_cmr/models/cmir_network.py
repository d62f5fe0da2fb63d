"""Both stages of CMIR-NET as one network."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .features import FeatureEncoder
from .unified import UnifiedEncoderDecoder

__all__ = ('CMIRNetwork', 'ClassifiedEncoders')


class ClassifiedEncoders(nn.Module):
    """Stage A: an encoder of features Z and a classifier for each modality."""

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
        """Say which weights decide where a picture of a modality lands.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            How their names begin in the state dict.
        """
        encoder, shares = f'encoders.{modality}.', f'classifiers.{modality}.'
        return (encoder, shares) if features == 'z' else (encoder,)

    def encoder(self, modality: str) -> nn.Module:
        """Give the encoder of a modality, without the layers behind a timm network."""
        encoder = self.encoders[modality]
        return encoder.backbone if isinstance(encoder, FeatureEncoder) else encoder


class CMIRNetwork(nn.Module):
    """Stage A and, behind it, the unified network of stage B."""

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
        """Say which weights decide where a picture of a modality lands.

        Args:
            modality: Name of a modality.
            features: ``'h'`` or ``'z'``.

        Returns:
            How their names begin in the state dict.
        """
        encoder = f'stage_a.encoders.{modality}.'
        embedding = f'unified.encoders.{modality}.'
        return (encoder, embedding) if features == 'z' else (encoder,)

    def encoder(self, modality: str) -> nn.Module:
        """Give the encoder of a modality, without the layers behind a timm network."""
        return self.stage_a.encoder(modality)
