"""The second half of CMIR-NET: from features of two modalities to one space and back."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from torch import Tensor, nn

__all__ = ('UnifiedEncoderDecoder',)

Decode = Literal['cross', 'own']


class UnifiedEncoderDecoder(nn.Module):
    """Embed the features of two modalities, decode them again, and classify them.

    A linear layer and ReLU per modality give the embedding V; another such pair decodes it to
    features, of the other modality (``decode='cross'``) or of its own; one linear layer for
    both modalities, or one for each, gives a logit for each class.

    If you use this model in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794
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
        if decode not in get_args(Decode):
            raise ValueError(f"decode must be 'cross' or 'own', found {decode!r}")
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
            modality: Whose embeddings; :attr:`target` says whose features come out.

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
        """Give the matrix W of a modality, whose size one of the losses holds.

        Args:
            modality: Name of a modality.

        Returns:
            Shape (output_dim, feature_dim).
        """
        return self.encoders[modality][0].weight  # ty: ignore[not-subscriptable]


def _layer(before: int, after: int, dropout: float = 0.0) -> nn.Sequential:
    """One linear layer, ReLU and dropout."""
    return nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
