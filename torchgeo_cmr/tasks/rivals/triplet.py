"""Batch-hard triplets between two modalities."""

from typing import Any, Literal

from torch import Tensor

from torchgeo_cmr.losses import TripletLoss
from torchgeo_cmr.tasks.encoder_task import ContrastiveTask
from torchgeo_cmr.tasks.networks import Models, Weights

__all__ = ('CrossModalTriplet',)


class CrossModalTriplet(ContrastiveTask):
    r"""Own pairs closer than the hardest negative of the batch, by a margin *m*.

    .. math::

       \frac{1}{2B} \sum_i \left[ \max(0, m + \max_j S_{ij} - S_{ii})
       + \max(0, m + \max_j S_{ji} - S_{ii}) \right]

    Negatives are all other rows; with ``ignore_same_label=True`` those that share no class, which
    is the supervised form.

    If you use this task in your research, please cite the following papers:

    * batch-hard mining: https://arxiv.org/abs/1703.07737
    * hardest negatives across modalities (VSE++): https://arxiv.org/abs/1707.05612

    Relations: the loss is :class:`~torchgeo_cmr.losses.TripletLoss`.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = CrossModalTriplet(
        ...     {'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones
        ... ).eval()
        >>> task.embed({'image_s1': torch.rand(3, 2, 32, 32)}, 's1').shape
        torch.Size([3, 128])
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models = 'resnet50',
        weights: Weights = None,
        *,
        variant: Literal['separate', 'joint'] = 'separate',
        margin: float = 0.2,
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new CrossModalTriplet instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            model: Name of the timm or TorchGeo model, or a network, one for both or one per
                modality.
            weights: Initial encoder weights, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            variant: ``'separate'`` or ``'joint'``, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            margin: By how much the own pair should be closer, above 0.
            gather_distributed: Look for negatives among the pairs of all ranks.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.ContrastiveTask`, such as
                *ignore_within*, of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
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
        self.triplet = TripletLoss(
            self.hparams['margin'],
            gather_distributed=self.hparams['gather_distributed'],
        )

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]], exclude: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Compute the loss.

        Args:
            outputs: What :meth:`forward` gave.
            exclude: Rows that are no negatives of each other, shape (batch, rows of all ranks).

        Returns:
            Scalar ``loss``.
        """
        return {'loss': self.triplet(*self.pair(outputs), exclude)}
