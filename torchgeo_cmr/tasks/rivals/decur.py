"""DeCUR: features that modalities have in common, and features of each alone."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from torchgeo_cmr.losses import BarlowTwinsLoss
from torchgeo_cmr.tasks.encoder_task import EncoderTask
from torchgeo_cmr.tasks.networks import Models, Weights

from .views import Views

__all__ = ('DeCUR',)


class DeCUR(EncoderTask):
    r"""Decoupling of common and unique features of two modalities.

    The first *K* projections are common: Barlow Twins draws their cross-correlation between the
    modalities to the identity. The rest is unique: there it is drawn to 0. Within each modality,
    Barlow Twins acts on all projections of two views of a picture, so that the unique ones are not
    empty. Retrieval across modalities compares the common projections alone; so does
    :meth:`embed`.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/2309.05300

    Relations: four :class:`~torchgeo_cmr.losses.BarlowTwinsLoss` terms;
    :class:`~torchgeo_cmr.tasks.BarlowTwins` has the first of them alone, on all projections.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = DeCUR({'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones).eval()
        >>> task.embed({'image_s1': torch.rand(3, 2, 32, 32)}, 's1').shape
        torch.Size([3, 112])
    """

    variants = Literal['separate', 'joint']

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models = 'resnet50',
        weights: Weights = None,
        *,
        variant: Literal['separate', 'joint'] = 'separate',
        output_dim: int = 128,
        common: float = 0.875,
        off_diagonal: float = 0.0051,
        intra_weight: float = 1.0,
        view_gain: float = 0.1,
        view_noise: float = 0.1,
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new DeCUR instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            model: Name of the timm or TorchGeo model, or a network, one for both or one per
                modality.
            weights: Initial encoder weights, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            variant: ``'separate'`` or ``'joint'``, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            output_dim: Width of the projections, common and unique ones together.
            common: Share of the projections that is common, above 0 and below 1; about 0.875 for
                radar and optical images.
            off_diagonal: Weight of correlations between different features.
            intra_weight: Factor of the two terms within modalities, at least 0.
            view_gain: Spread of the gain of a band in the second view of a picture.
            view_noise: Noise in the second view, in standard deviations of a band.
            gather_distributed: Correlate over the pairs of all ranks.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *stem*, *shared_head* and *output_dim*, and of
                :class:`~torchgeo_cmr.tasks.CrossModalTask`, such as *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        self.num_common = round(common * output_dim)
        if not 0 < self.num_common < output_dim or not intra_weight >= 0:
            raise ValueError(
                f'common={common} of output_dim={output_dim} leaves {self.num_common} common '
                f'projections, and intra_weight={intra_weight}: leave at least 1 common and 1 '
                'unique one, and set intra_weight to 0 or more'
            )
        super().__init__(
            in_channels,
            model,
            weights,
            variant=variant,
            output_dim=output_dim,
            **options,
        )

    def configure_losses(self) -> None:
        """Initialize the losses and the second views."""
        options = {'gather_distributed': self.hparams['gather_distributed']}
        weight = self.hparams['off_diagonal']
        self.alike = BarlowTwinsLoss(weight, **options)
        self.apart = BarlowTwinsLoss(weight, target=0.0, **options)
        self.views = Views(
            gain=self.hparams['view_gain'], noise=self.hparams['view_noise']
        )

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute all terms, with a second view of each picture.

        Args:
            batch: Samples as a data loader stacks them.
            outputs: What :meth:`forward` made of them.

        Returns:
            Scalars: ``loss`` and the unweighted terms ``common``, ``unique`` and ``intra``.
        """
        losses = self.compute_losses(outputs)
        if not self.hparams['intra_weight']:
            return losses
        views = {m: self.views(self.normalize(batch, m)) for m in self.modalities}
        second = self.model.encode_together(views)
        intra = sum(
            (self.alike(outputs[m]['z'], z) for m, (_, z) in second.items()),
            start=losses['loss'].new_zeros(()),
        )
        total = losses['loss'] + self.hparams['intra_weight'] * intra
        return {**losses, 'intra': intra, 'loss': total}

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute the terms between modalities.

        Args:
            outputs: What :meth:`forward` gave.

        Returns:
            Scalars: ``loss``, and its terms ``common`` and ``unique``.
        """
        a, b = self.pair(outputs)
        k = self.num_common
        common, unique = self.alike(a[:, :k], b[:, :k]), self.apart(a[:, k:], b[:, k:])
        return {'loss': common + unique, 'common': common, 'unique': unique}

    def retrieved(self, output: Mapping[str, Tensor]) -> Tensor:
        """Take the features that retrieval compares: the common projections.

        Args:
            output: ``h``, shape (batch, features), and ``z``, shape (batch, dim).

        Returns:
            Rows of any length, one for each sample.
        """
        rows = super().retrieved(output)
        whole = self.hparams['retrieval_features'] == 'h'
        return rows if whole else rows[:, : self.num_common]

    def _choices(self, modality: str) -> tuple[str, ...]:
        """How many projections are compared leaves no trace in the weights."""
        return (*super()._choices(modality), f'common={self.num_common}')
