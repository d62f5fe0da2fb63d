"""The supervised reference: what labels can teach the same encoders."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.metrics.retrieval import CrossModalRetrieval
from torchgeo_cmr.models.fusion import Fusion, check_fusion, fuse
from torchgeo_cmr.models.heads import Head

from .encoder_task import EncoderTask, Variant
from .labels import LabelLosses, as_sets, class_loss, read_labels
from .networks import Models, Weights

__all__ = ('SupervisedCMR',)


class SupervisedCMR(LabelLosses, EncoderTask):
    r"""Multi-label classification of fused features, to compare with methods without labels.

    The projections *z* of all modalities are fused, one linear layer gives a logit for each
    class, and the loss is the mean binary cross-entropy. ``variant='bands_12'`` is early
    fusion: one encoder of the stacked bands (2 of Sentinel-1 and 10 of Sentinel-2 in the
    precursor), which cannot embed one sensor alone and so cannot retrieve across sensors.

    The reference that the precursor of https://arxiv.org/abs/2202.11429 trained, whose code
    compares fused features (chi-square distance,
    :func:`torchgeo_cmr.metrics.distances.chi_square`).

    Relations: :class:`SSCMRSIR` trains the same networks without labels.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = SupervisedCMR(
        ...     {'s1': 2, 's2': 4}, 19, 'resnet10t', mean=ones, std=ones
        ... ).eval()
        >>> outputs = task(
        ...     {f'image_{m}': torch.rand(3, len(n), 32, 32) for m, n in ones.items()}
        ... )
        >>> task.classify(outputs).shape
        torch.Size([3, 19])
    """

    monitor = 'val_loss'
    mode = 'min'
    exactly_two = False

    def __init__(
        self,
        in_channels: dict[str, int],
        num_classes: int = 19,
        model: Models = 'resnet50',
        weights: Weights = None,
        *,
        variant: Variant = 'separate',
        fusion: Fusion = 'concat',
        head: Head = 'linear_relu',
        label_key: str = 'label',
        **options: Any,
    ) -> None:
        """Initialize a new SupervisedCMR instance.

        Args:
            in_channels: Number of channels of each modality, by name.
            num_classes: Number of classes.
            model: Name of the timm or TorchGeo model, or a network, one for all or one per
                modality.
            weights: Initial encoder weights, as of :class:`SSCMRSIR`.
            variant: ``'separate'``, ``'joint'`` or ``'bands_12'``.
            fusion: How projections are fused before the classifier; no effect for
                ``'bands_12'``.
            head: Kind of :class:`~torchgeo_cmr.models.ProjectionHead`.
            label_key: Where a batch holds the labels: many-hot, shape (batch, classes), or
                class numbers, shape (batch,).
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *output_dim* and *new_bands*, and of :class:`CrossModalTask`, such as *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If an option is unknown or does not go with another.
        """
        self.check_classes(num_classes)
        check_fusion(fusion)
        super().__init__(
            in_channels, model, weights, variant=variant, head=head, **options
        )

    @property
    def _early(self) -> bool:
        """Whether the bands are stacked before the encoder."""
        return self.hparams['variant'] == 'bands_12'

    def configure_models(self) -> None:
        """Initialize encoders, heads and the classifier."""
        super().configure_models()
        width = self.hparams['output_dim']
        if self.hparams['fusion'] == 'concat' and not self._early:
            width *= len(self.in_channels)
        self.classifier = nn.Linear(width, self.hparams['num_classes'])

    def forward(self, batch: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
        """Encode a batch.

        Args:
            batch: Samples with all modalities, raw pixels, NaN where there is no data.

        Returns:
            Per modality ``h`` and ``z``, as of :class:`CrossModalTask`; for ``'bands_12'``
            one entry whose name joins all modalities with ``+``.
        """
        if not self._early:
            return super().forward(batch)
        h, z = self.model([self.normalize(batch, m) for m in self.modalities])
        return {'+'.join(self.modalities): {'h': h, 'z': z}}

    def classify(self, outputs: Mapping[str, Mapping[str, Tensor]]) -> Tensor:
        """Fuse projections and give a logit for each class.

        Args:
            outputs: What :meth:`forward` gave.

        Returns:
            Logits, shape (batch, classes).
        """
        rows = [output['z'] for output in outputs.values()]
        return self.classifier(
            rows[0] if self._early else fuse(rows, self.hparams['fusion'])
        )

    def deciding(self, modality: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture lands: all but those of the classifier.

        Args:
            modality: Name of a modality.

        Returns:
            Prefixes of their names in the state dict.
        """
        named = super().deciding(modality)
        return tuple(name for name in named if name != 'classifier')

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compare the logits of a batch with its labels.

        Args:
            batch: Samples with labels.
            outputs: What :meth:`forward` made of them.

        Returns:
            Scalar ``loss``: binary cross-entropy, mean over pairs and classes.

        Raises:
            ValueError: If the labels are missing or do not fit the classes.
        """
        logits, key = self.classify(outputs), self.hparams['label_key']
        label = as_sets(read_labels(batch, key, logits.shape[1]), logits.shape[1])
        return {'loss': class_loss(logits, label)}

    def _embed(
        self,
        batch: Mapping[str, Any],
        names: Sequence[str],
        fusion: Fusion,
        *,
        raw: bool,
    ) -> Tensor:
        """Fuse as in training: features as they are, whether *raw* or not."""
        kind = self.hparams['retrieval_features']
        if self._early:
            if sorted(names) != sorted(self.modalities):
                raise QueryError(
                    f"variant='bands_12' embeds {', '.join(self.modalities)} together, found "
                    f'{", ".join(names)}: name all of them'
                )
            (output,) = self(batch).values()
            return output[kind]
        rows = []
        for name in names:
            h, z = self.model(self.normalize(batch, name), name)
            rows.append({'h': h, 'z': z}[kind])
        return rows[0] if len(rows) == 1 else fuse(rows, fusion)

    def predict_step(
        self, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Embed every modality that the batch holds, or the stack of all.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            Unit rows per modality (or under their joined names), shape (batch, dim), float32.
        """
        if not self._early:
            return super().predict_step(batch, batch_idx, dataloader_idx)
        return {'+'.join(self.modalities): self.embed(batch, self.modalities)}

    def _evaluate_batch(
        self, batch: Any, prefix: str, metrics: CrossModalRetrieval, numbers: Tensor
    ) -> dict[str, Tensor]:
        """Log the loss, and collect and give embeddings where each modality has its own."""
        if not self._early:
            return super()._evaluate_batch(batch, prefix, metrics, numbers)
        self._log_losses(batch, self(batch), prefix)
        return {}

    def _report(self, prefix: str, metrics: CrossModalRetrieval) -> None:
        """Log retrieval, unless there is a single embedding of all modalities."""
        if not self._early:
            super()._report(prefix, metrics)
