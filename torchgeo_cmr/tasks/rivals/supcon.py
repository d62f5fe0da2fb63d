"""SupCon between two modalities: patches that share a class are pairs too."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from torchgeo_cmr.losses import SupConLoss
from torchgeo_cmr.tasks.encoder_task import EncoderTask
from torchgeo_cmr.tasks.labels import LabelLosses
from torchgeo_cmr.tasks.networks import Models, Weights

__all__ = ('SupCon',)


class SupCon(LabelLosses, EncoderTask):
    r"""Supervised contrastive learning across modalities, for one or several labels per patch.

    Positives of a row are its own pair and the rows of the other modality that share a class; or
    all rows, weighed by the Jaccard index of their labels, which suits patches of several classes.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/2004.11362

    Relations: the loss is :class:`~torchgeo_cmr.losses.SupConLoss`; what
    :class:`~torchgeo_cmr.tasks.InfoNCE` is without labels, this is with them.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = SupCon(
        ...     {'s1': 2, 's2': 4}, 19, 'resnet10t', mean=ones, std=ones
        ... ).eval()
        >>> task.embed({'image_s1': torch.rand(3, 2, 32, 32)}, 's1').shape
        torch.Size([3, 128])
    """

    variants = Literal['separate', 'joint']

    def __init__(
        self,
        in_channels: dict[str, int],
        num_classes: int,
        model: Models = 'resnet50',
        weights: Weights = None,
        *,
        variant: Literal['separate', 'joint'] = 'separate',
        temperature: float = 0.07,
        target: Literal['overlap', 'jaccard', 'jaccard_mse'] = 'overlap',
        label_key: str = 'label',
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new SupCon instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            num_classes: Number of classes.
            model: Name of the timm or TorchGeo model, or a network, one for both or one per
                modality.
            weights: Initial encoder weights, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            variant: ``'separate'`` or ``'joint'``, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            temperature: Temperature, above 0.
            target: ``'overlap'``: rows that share a class are positives; ``'jaccard'``: weighed
                by the Jaccard index of their labels; ``'jaccard_mse'``: cosines are drawn to that
                index.
            label_key: Where a batch holds the labels: class numbers, shape (batch,), below 0 if
                unknown, or many-hot, shape (batch, classes).
            gather_distributed: Use the pairs of all ranks.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *stem*, *shared_head* and *output_dim*, and of
                :class:`~torchgeo_cmr.tasks.CrossModalTask`, such as *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        self.check_classes(num_classes)
        super().__init__(in_channels, model, weights, variant=variant, **options)

    def configure_losses(self) -> None:
        """Initialize the loss."""
        self.contrast = SupConLoss(
            self.hparams['temperature'],
            target=self.hparams['target'],
            gather_distributed=self.hparams['gather_distributed'],
        )

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Args:
            batch: Samples with labels.
            outputs: What :meth:`forward` made of them.

        Returns:
            Scalar ``loss``.

        Raises:
            OptionError: If labels are missing or do not fit the classes.
        """
        return {'loss': self.contrast(*self.pair(outputs), self.label_sets(batch))}
