"""VICReg between two modalities: invariance, variance and covariance."""

from typing import Any, Literal

from torch import Tensor

from torchgeo_cmr.losses import VICRegLoss
from torchgeo_cmr.tasks.encoder_task import EncoderTask
from torchgeo_cmr.tasks.networks import Models, Weights

__all__ = ('VICReg',)


class VICReg(EncoderTask):
    r"""VICReg whose two views are the pictures of a place by two sensors.

    .. math::

       \lambda \, \mathrm{MSE}(Z_a, Z_b) + \mu \, [v(Z_a) + v(Z_b)] + \nu \, [c(Z_a) + c(Z_b)]

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/2105.04906

    Relations: the loss is :class:`~torchgeo_cmr.losses.VICRegLoss`.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = VICReg({'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones).eval()
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
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new VICReg instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            model: Name of the timm or TorchGeo model, or a network, one for both or one per
                modality.
            weights: Initial encoder weights, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            variant: ``'separate'`` or ``'joint'``, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            invariance_weight: Factor of the distance of pairs.
            variance_weight: Factor of the spread of features, of each modality.
            covariance_weight: Factor of what features have in common, of each modality.
            gather_distributed: Use the pairs of all ranks.
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
        self.terms = VICRegLoss(
            self.hparams['invariance_weight'],
            self.hparams['variance_weight'],
            self.hparams['covariance_weight'],
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
        return {'loss': self.terms(*self.pair(outputs))}
