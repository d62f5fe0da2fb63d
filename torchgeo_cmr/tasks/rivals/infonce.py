"""InfoNCE: the own pair among all others, in both directions, as CLIP does."""

from typing import Any, Literal

from torch import Tensor

from torchgeo_cmr.losses import MDELoss, MIMLoss
from torchgeo_cmr.tasks.encoder_task import ContrastiveTask
from torchgeo_cmr.tasks.networks import Models, Weights

__all__ = ('InfoNCE',)


class InfoNCE(ContrastiveTask):
    r"""Symmetric InfoNCE between two modalities, the plainest contrastive method.

    .. math::

       -\frac{1}{2B} \sum_i \left[ \log \mathrm{softmax}_j(s(z_i^a, z_j^b) / \tau)_i
       + \log \mathrm{softmax}_j(s(z_j^a, z_i^b) / \tau)_i \right]

    with a fixed or a learned temperature, and optionally the mean of :math:`1 - s(z_i^a, z_i^b)`,
    the alignment term of CR-JEPA.

    If you use this task in your research, please cite the following papers:

    * InfoNCE: https://arxiv.org/abs/1807.03748
    * CLIP: https://arxiv.org/abs/2103.00020
    * the cosine term: https://arxiv.org/abs/2606.00706

    Relations: :class:`~torchgeo_cmr.tasks.SSCMRSIR` with ``mde_weight=0, is_weight=0,
    negatives='cross'`` is the same with a fixed temperature.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = InfoNCE({'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones).eval()
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
        temperature: float = 0.07,
        learned_temperature: bool = False,
        negatives: Literal['all', 'cross'] = 'cross',
        cosine_weight: float = 0.0,
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new InfoNCE instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            model: Name of the timm or TorchGeo model, or a network, one for both or one per
                modality.
            weights: Initial encoder weights, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            variant: ``'separate'`` or ``'joint'``, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            temperature: Temperature, above 0.
            learned_temperature: Whether the temperature is trained, from *temperature* on; its
                inverse stays at or below 100, as in CLIP.
            negatives: Rows of the ``'cross'`` modality alone, or ``'all'`` rows (NT-Xent).
            cosine_weight: Factor of the cosine term, at least 0; 0 removes it.
            gather_distributed: Use the pairs of all ranks.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.ContrastiveTask`, such as
                *ignore_within*, of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *stem*, *shared_head* and *output_dim*, and of
                :class:`~torchgeo_cmr.tasks.CrossModalTask`, such as *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        if not cosine_weight >= 0:
            raise ValueError(f'cosine_weight must be at least 0, found {cosine_weight}')
        super().__init__(in_channels, model, weights, variant=variant, **options)

    def configure_losses(self) -> None:
        """Initialize the losses."""
        self.contrast = MIMLoss(
            self.hparams['temperature'],
            negatives=self.hparams['negatives'],
            learned=self.hparams['learned_temperature'],
            gather_distributed=self.hparams['gather_distributed'],
        )
        self.cosine = MDELoss('cosine')

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]], exclude: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Weigh and add the losses.

        Args:
            outputs: What :meth:`forward` gave.
            exclude: Rows that are no negatives of each other, shape (batch, rows of all ranks).

        Returns:
            Scalars: ``loss``, and the unweighted terms ``infonce`` and ``cosine`` and the
            ``temperature``, as far as they take part.
        """
        pair = self.pair(outputs)
        contrast = self.contrast(*pair, exclude)
        losses = {'loss': contrast, 'infonce': contrast}
        if self.hparams['cosine_weight']:
            losses['cosine'] = self.cosine(*pair)
            losses['loss'] = contrast + self.hparams['cosine_weight'] * losses['cosine']
        if self.hparams['learned_temperature']:
            scale = self.contrast.log_scale.detach().float()
            losses['temperature'] = (-scale).exp()
        return losses
