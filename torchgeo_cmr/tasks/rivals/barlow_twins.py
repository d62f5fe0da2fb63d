"""Barlow Twins between two modalities: no negatives, no two features alike."""

from typing import Any, Literal

from torch import Tensor

from torchgeo_cmr.losses import BarlowTwinsLoss
from torchgeo_cmr.tasks.encoder_task import EncoderTask
from torchgeo_cmr.tasks.networks import Models, Weights

__all__ = ('BarlowTwins',)


class BarlowTwins(EncoderTask):
    r"""Barlow Twins whose two views are the pictures of a place by two sensors.

    The cross-correlation *C* of the projections over a batch is drawn to the identity:

    .. math::

       \sum_i (1 - C_{ii})^2 + \lambda \sum_{i \ne j} C_{ij}^2

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/2103.03230

    Relations: the loss is :class:`~torchgeo_cmr.losses.BarlowTwinsLoss`;
    :class:`~torchgeo_cmr.tasks.DeCUR` adds features that each modality has for itself.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = BarlowTwins(
        ...     {'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones
        ... ).eval()
        >>> task.embed({'image_s1': torch.rand(3, 2, 32, 32)}, 's1').shape
        torch.Size([3, 128])
    """

    variants = Literal['separate', 'joint']

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models = 'resnet50',
        weights: Weights = None,
        *,
        variant: Literal['separate', 'joint'] = 'separate',
        off_diagonal: float = 0.0051,
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new BarlowTwins instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            model: Name of the timm or TorchGeo model, or a network, one for both or one per
                modality.
            weights: Initial encoder weights, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            variant: ``'separate'`` or ``'joint'``, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            off_diagonal: Weight of correlations between different features.
            gather_distributed: Correlate over the pairs of all ranks.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *stem*, *shared_head* and *output_dim*, and of
                :class:`~torchgeo_cmr.tasks.CrossModalTask`, such as *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        super().__init__(in_channels, model, weights, variant=variant, **options)

    def configure_losses(self) -> None:
        """Initialize the loss."""
        self.correlation = BarlowTwinsLoss(
            self.hparams['off_diagonal'],
            gather_distributed=self.hparams['gather_distributed'],
        )

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            outputs: What :meth:`forward` gave.

        Returns:
            Scalar ``loss``.
        """
        return {'loss': self.correlation(*self.pair(outputs))}
