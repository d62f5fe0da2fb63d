"""What the tasks have in common whose encoders end in projection heads."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from torchgeo_cmr.errors import OptionError, check_choice
from torchgeo_cmr.losses.false_negatives import false_negatives
from torchgeo_cmr.losses.pairs import Loss
from torchgeo_cmr.models.foundation.band_statistics import for_bands
from torchgeo_cmr.models.heads import Head
from torchgeo_cmr.models.weights import NewBands, find_weights

from .base import CrossModalTask
from .labels import as_sets, read_labels
from .networks import (
    Models,
    Normalize,
    Stem,
    Weights,
    build_networks,
    check_per_modality,
    each_model,
)

__all__ = ('ContrastiveTask', 'EncoderTask', 'Variant')

Variant = Literal['separate', 'joint', 'bands_12']


class EncoderTask(CrossModalTask):
    """Encoders that share nothing, all but their stems, or everything, with heads."""

    #: What a task accepts as *variant*.
    variants: Any = Variant

    #: Whether the loss is one of pairs, so that there must be two modalities.
    exactly_two = True

    #: Whether a unified and a cross head take the place of one.
    two_heads = False

    #: Statistics that came with weights are in the checkpoint, and weights are not.
    ignore: Sequence[str] | str | None = ('weights', 'normalize')

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models,
        weights: Weights,
        *,
        variant: Variant,
        stem: Stem = 'conv1x1',
        head: Head = 'mlp',
        shared_head: bool = False,
        hidden_dim: int | None = None,
        output_dim: int = 128,
        new_bands: NewBands = 'error',
        stage: int | None = None,
        grid: int = 1,
        normalize: Normalize = 'data',
        **options: Any,
    ) -> None:
        """Initialize a new EncoderTask instance.

        Args:
            in_channels: Number of channels of each modality, by name.
            model: Encoders, one for all or one per modality.
            weights: Initial encoder weights, one for all or one per modality.
            variant: What the modalities share.
            stem: What each modality has of its own in front of a ``'joint'`` network: a 1x1
                convolution to 32 channels (``'conv1x1'``), or the first layer of the network, its
                convolution or patch embedding (``'own'``). Of ``'own'``, *weights* may be one per
                modality; the shared layers are those of the first.
            head: Kind of :class:`~torchgeo_cmr.models.ProjectionHead`.
            shared_head: Whether the modalities have one head in common.
            hidden_dim: Width inside the head; that of the encoder by default.
            output_dim: Width of the projections *z*.
            new_bands: What initial weights give a band they do not know: an ``'error'``, or
                the ``'mean'`` over the bands they know. The trunk behind 1x1 convolutions sees no
                bands, so weights for it need ``'mean'``.
            stage: Which of timm's intermediate feature maps is the output of the encoder, from
                0; what comes after it is left out. -1 for the last one, None for the network as
                it is.
            grid: Cells per side of the grid over which the feature map is averaged: 1 tells what
                is in a patch, more also where. A grid of 4 makes *h* 16 times as wide.
            normalize: By what pixels are normalised: the mean and deviation of the training
                ``'data'``, whatever their units, or those of the ``'weights'``, for pixels in the
                units that TorchGeo's weights were trained on (decibels, reflectance times
                10,000). *mean* and *std* of a modality go before both.
            **options: Those of :class:`CrossModalTask`.

        Raises:
            ValueError: If *variant* or *normalize* is unknown, or an option does not go with it.
            OptionError: If the normalisation of the weights is not known.
        """
        check_choice('normalize', normalize, Normalize)
        if self.exactly_two and len(in_channels) != 2:
            raise ValueError(
                f'{type(self).__name__} pairs exactly two modalities, found '
                f'{", ".join(in_channels) or "none"} in in_channels'
            )
        check_choice('variant', variant, self.variants)
        check_choice('stem', stem, Stem)
        if stem == 'own' and variant != 'joint':
            raise ValueError(
                f"stem='own' is a stem of variant='joint', found variant={variant!r}"
            )
        check_per_modality(variant, in_channels, model=model)
        apart = 'separate' if stem == 'own' else variant
        check_per_modality(apart, in_channels, weights=weights)
        self.weights = weights
        self.models = each_model(model, in_channels)
        # Not from hparams: a command line keeps only what the class itself takes.
        self._networks: dict[str, Any] = {
            'stem': stem,
            'head': head,
            'shared_head': shared_head,
            'hidden_dim': hidden_dim,
            'output_dim': output_dim,
            'new_bands': new_bands,
            'stage': stage,
            'grid': grid,
        }
        self.variant = variant
        super().__init__(in_channels, **options)
        if normalize == 'weights':
            for modality in self.modalities:
                self._normalize_as_weights(modality)

    def _normalize_as_weights(self, modality: str) -> None:
        """Take the statistics of a modality from its weights, as far as they were not given."""
        given: Any = self.weights
        given = given[modality] if isinstance(given, Mapping) else given
        found = None if given in (None, True, False) else find_weights(given)
        bands = (self.hparams.get('bands') or {}).get(modality)
        statistics = for_bands(found, bands, self.in_channels[modality])
        if statistics is None:
            raise OptionError(
                f"normalize='weights' needs weights whose normalisation TorchGeo knows, found "
                f"{given} for {modality}: take normalize='data', or give mean= and std="
            )
        names = [
            n for n in ('mean', 'std') if modality not in (self.hparams.get(n) or ())
        ]
        known = dict(zip(('mean', 'std'), statistics, strict=True))
        self.set_specs({modality: {n: known[n] for n in names}})

    def configure_models(self) -> None:
        """Initialize encoders and heads."""
        #: Width of the encoder output *h* of each modality.
        self.widths: dict[str, int]
        self.model, self.assumed_bands, self.widths = build_networks(
            self.variant,
            self.in_channels,
            self.models,
            self.weights,
            two_heads=self.two_heads,
            bands=self.hparams['bands'],
            **self._networks,
        )

    def pair(
        self, outputs: Mapping[str, Mapping[str, Tensor]], kind: str = 'z'
    ) -> tuple[Tensor, Tensor]:
        """Take the outputs of both modalities of a batch.

        Args:
            outputs: What :meth:`forward` gave.
            kind: ``'h'`` or ``'z'``.

        Returns:
            Two tensors of shape (batch, dim); rows are paired.
        """
        a, b = (outputs[m][kind] for m in self.modalities)
        return a, b

    def label_sets(self, batch: Mapping[str, Any]) -> Tensor:
        """Take labels out of a batch, in many-hot form.

        Args:
            batch: Samples as a data loader stacks them.

        Returns:
            Shape (batch, classes), float32; no class where it is unknown.

        Raises:
            OptionError: If labels are missing or of another shape.
        """
        key = self.hparams['label_key']
        label = batch.get(key)
        classes = self.hparams.get('num_classes') or 0
        if not classes and label is not None and label.ndim:
            classes = label.shape[1] if label.ndim > 1 else int(label.max()) + 1
        classes = max(1, classes)
        return as_sets(read_labels(batch, key, classes, unknown=True), classes)

    def deciding(self, modality: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture lands: not those of losses.

        Args:
            modality: Name of a modality.

        Returns:
            Prefixes of their names in the state dict.
        """
        losses = {n for n, part in self.named_children() if isinstance(part, Loss)}
        return tuple(n for n in super().deciding(modality) if n not in losses)


class ContrastiveTask(EncoderTask):
    """Encoders whose loss pushes the rest of a batch away, except what is known to be alike."""

    variants = Literal['separate', 'joint']

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models,
        weights: Weights,
        *,
        ignore_within: float | None = None,
        ignore_same_label: bool = False,
        label_key: str = 'label',
        **options: Any,
    ) -> None:
        """Initialize a new ContrastiveTask instance.

        Args:
            in_channels: Number of channels of each modality, by name.
            model: Encoders, one for all or one per modality.
            weights: Initial encoder weights, one for all or one per modality.
            ignore_within: Patches whose centres are nearer than this are not negatives of each
                other, in units of the CRS (metres in UTM). Batches need ``bounds``, as those of
                :class:`~torchgeo_cmr.datamodules.PairedDataModule` have. Patches of two UTM zones
                are compared as if they were in one.
            ignore_same_label: Whether patches that share a class are not negatives of each other.
            label_key: Where a batch holds the labels: class numbers, shape (batch,), or many-hot
                labels, shape (batch, classes).
            **options: Those of :class:`EncoderTask`.

        Raises:
            ValueError: If *ignore_within* is not above 0, or an option does not go with another.
        """
        if ignore_within is not None and not ignore_within > 0:
            raise ValueError(
                f'ignore_within must be a distance above 0, found {ignore_within}'
            )
        super().__init__(in_channels, model, weights, **options)

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch, without the negatives that are to be ignored.

        Args:
            batch: Samples as a data loader stacks them.
            outputs: What :meth:`forward` made of them.

        Returns:
            What :meth:`compute_losses` gives.

        Raises:
            OptionError: If the batch lacks what tells false negatives.
        """
        return self.compute_losses(outputs, self.false_negatives(batch))

    @abstractmethod
    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]], exclude: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Turn the outputs of a batch into losses.

        Args:
            outputs: What :meth:`forward` gave.
            exclude: Rows that are no negatives of each other, shape (batch, rows of all ranks).

        Returns:
            Scalars: ``loss``, which is minimised, and any others, which are logged.
        """

    def false_negatives(self, batch: Mapping[str, Any]) -> Tensor | None:
        """Mark pairs of a batch that must not push each other away.

        Args:
            batch: Samples as a data loader stacks them.

        Returns:
            Shape (batch, rows of all ranks), bool; None if none are to be ignored.

        Raises:
            OptionError: If the batch lacks bounds or labels.
        """
        within, label = self.hparams['ignore_within'], None
        if within is None and not self.hparams['ignore_same_label']:
            return None
        places = batch.get('bounds')
        if within is not None and (places is None or places.shape[-1] < 6):
            raise OptionError(
                f'ignore_within={within} needs the bounds of each patch in the batch, found '
                f'{", ".join(sorted(batch))}: take a PairedDataModule, or set it to null'
            )
        if self.hparams['ignore_same_label']:
            label = self.label_sets(batch)
        centres = None
        if within is not None and places is not None:
            # x and y of TorchGeo's bounds: start, stop and step of each axis.
            corners = places.reshape(len(places), -1).double()
            centres = torch.stack(
                [corners[:, [0, 1]].mean(dim=1), corners[:, [3, 4]].mean(dim=1)], dim=1
            )
        gather = self.training and self.hparams.get('gather_distributed', True)
        return false_negatives(centres, label, within=within or 0.0, gather=gather)
