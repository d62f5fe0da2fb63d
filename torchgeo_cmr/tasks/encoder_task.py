"""What the tasks have in common whose encoders end in projection heads."""

from typing import Any, Literal

from torchgeo_cmr.errors import check_choice
from torchgeo_cmr.models.heads import Head
from torchgeo_cmr.models.weights import NewBands

from .base import CrossModalTask
from .networks import Models, Weights, build_networks, check_per_modality, each_model

__all__ = ('EncoderTask', 'Variant')

Variant = Literal['separate', 'joint', 'bands_12']


class EncoderTask(CrossModalTask):
    """Encoders that share nothing, all but their stems, or everything, with heads."""

    #: What a task accepts as *variant*.
    variants: Any = Variant

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models,
        weights: Weights,
        *,
        variant: Variant,
        head: Head = 'mlp',
        hidden_dim: int | None = None,
        output_dim: int = 128,
        new_bands: NewBands = 'error',
        **options: Any,
    ) -> None:
        """Initialize a new EncoderTask instance.

        Args:
            in_channels: Number of channels of each modality, by name.
            model: Encoders, one for all or one per modality.
            weights: Initial encoder weights, one for all or one per modality.
            variant: What the modalities share.
            head: Kind of :class:`~torchgeo_cmr.models.ProjectionHead`.
            hidden_dim: Width inside the head; that of the encoder by default.
            output_dim: Width of the projections *z*.
            new_bands: What initial weights give a band they do not know: an ``'error'``, or
                the ``'mean'`` over the bands they know. The trunk of ``'joint'`` sees no bands,
                so weights for it need ``'mean'``.
            **options: Those of :class:`CrossModalTask`.

        Raises:
            ValueError: If *variant* is unknown, or an option does not go with it.
        """
        check_choice('variant', variant, self.variants)
        check_per_modality(variant, in_channels, model=model, weights=weights)
        self.weights = weights
        self.models = each_model(model, in_channels)
        super().__init__(in_channels, **options)

    def configure_models(self) -> None:
        """Initialize encoders and heads."""
        #: Width of the encoder output *h* of each modality.
        self.widths: dict[str, int]
        self.model, self.assumed_bands, self.widths = build_networks(
            self.hparams['variant'],
            self.in_channels,
            self.models,
            self.weights,
            head=self.hparams['head'],
            hidden_dim=self.hparams['hidden_dim'],
            output_dim=self.hparams['output_dim'],
            bands=self.hparams['bands'],
            new_bands=self.hparams['new_bands'],
        )
