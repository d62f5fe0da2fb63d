"""DUCH: contrastive learning of binary codes for both modalities."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from torchgeo_cmr.losses import (
    BitBalanceLoss,
    MIMLoss,
    ModalityAdversary,
    QuantisationLoss,
    common_code,
)
from torchgeo_cmr.tasks.encoder_task import ContrastiveTask
from torchgeo_cmr.tasks.networks import Models, Weights

from .views import Views

__all__ = ('DUCH',)


class DUCH(ContrastiveTask):
    r"""Deep unsupervised cross-modal contrastive hashing.

    Heads end in tanh, so that the signs of the projections are a code of 16 to 128 bits. The loss
    adds to NT-Xent between the modalities:

    * NT-Xent within each modality, between a picture and a second view of it;
    * quantisation, :math:`\|B - H\|^2` with *B* the sign of the mean over modalities and views;
    * balance: each bit is set for half of the samples, or half of the bits for each sample;
    * an adversary that tells the modality of a projection, if *adversary_weight* is not 0.

    :meth:`embed` gives the projections as unit rows; their signs are the codes, which
    :meth:`torchgeo_cmr.search.hashing.Hash.sign` packs into an archive of metric ``'hamming'``.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/2201.08125

    The paper is about images and text. Its method is known to us from code of another project; the
    default weights are those of that code, in which quantisation and adversary are switched off.
    Codes *B* are those of the batch, which the paper refreshes once per epoch.

    Relations: the terms are :class:`~torchgeo_cmr.losses.MIMLoss`,
    :class:`~torchgeo_cmr.losses.QuantisationLoss`, :class:`~torchgeo_cmr.losses.BitBalanceLoss`
    and :class:`~torchgeo_cmr.losses.ModalityAdversary`.

    Examples:
        >>> import torch
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = DUCH({'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones).eval()
        >>> task.embed({'image_s1': torch.rand(3, 2, 32, 32)}, 's1').shape
        torch.Size([3, 64])
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models = 'resnet50',
        weights: Weights = None,
        *,
        variant: Literal['separate', 'joint'] = 'separate',
        head: Literal['hash'] = 'hash',
        output_dim: int = 64,
        temperature: float = 1.0,
        intra_weight: float = 1.0,
        quantisation_weight: float = 0.0,
        balance_weight: float = 0.001,
        balance: Literal['samples', 'bits'] = 'samples',
        adversary_weight: float = 0.0,
        gradient_penalty: float = 10.0,
        view_gain: float = 0.1,
        view_noise: float = 0.1,
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new DUCH instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            model: Name of the timm or TorchGeo model, or a network, one for both or one per
                modality.
            weights: Initial encoder weights, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            variant: ``'separate'`` or ``'joint'``, as of :class:`~torchgeo_cmr.tasks.SSCMRSIR`.
            head: Kind of head, which ends in tanh.
            output_dim: Bits of a code, a multiple of 8; 16, 32, 64 or 128 are usual.
            temperature: Temperature of the contrastive terms, above 0.
            intra_weight: Factor of the two contrastive terms within modalities.
            quantisation_weight: Factor of the distance from codes; 0 removes it.
            balance_weight: Factor of the balance of bits.
            balance: Over ``'samples'`` (each bit) or ``'bits'`` (each sample).
            adversary_weight: Factor of the term that misleads the adversary; 0 removes it.
            gradient_penalty: Weight of the gradient penalty of the adversary.
            view_gain: Spread of the gain of a band in the second view of a picture.
            view_noise: Noise in the second view, in standard deviations of a band.
            gather_distributed: Use the pairs of all ranks in the contrastive terms.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.ContrastiveTask`, such as
                *ignore_within*, of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *stem*, *shared_head* and *output_dim*, and of
                :class:`~torchgeo_cmr.tasks.CrossModalTask`, such as *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        if output_dim < 8 or output_dim % 8:
            raise ValueError(
                f'codes of {output_dim} bits do not fill bytes: set output_dim to a multiple of 8'
            )
        weights_of_terms = {
            'intra_weight': intra_weight,
            'quantisation_weight': quantisation_weight,
            'balance_weight': balance_weight,
            'adversary_weight': adversary_weight,
        }
        if min(weights_of_terms.values()) < 0:
            raise ValueError(f'loss weights are 0 or more, found {weights_of_terms}')
        super().__init__(
            in_channels,
            model,
            weights,
            variant=variant,
            head=head,
            output_dim=output_dim,
            **options,
        )

    def configure_losses(self) -> None:
        """Initialize the terms and the second views."""
        self.contrast = MIMLoss(
            self.hparams['temperature'],
            gather_distributed=self.hparams['gather_distributed'],
        )
        self.quantisation = QuantisationLoss()
        self.balance = BitBalanceLoss(self.hparams['balance'])
        self.adversary = None
        if self.hparams['adversary_weight']:
            self.adversary = ModalityAdversary(
                self.hparams['output_dim'], penalty=self.hparams['gradient_penalty']
            )
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
            What :meth:`compute_losses` gives.

        Raises:
            OptionError: If the batch lacks what tells false negatives.
        """
        second = None
        if self.hparams['intra_weight']:
            views = {m: self.views(self.normalize(batch, m)) for m in self.modalities}
            encoded = self.model.encode_together(views)
            second = {m: z for m, (_, z) in encoded.items()}
        return self.compute_losses(outputs, self.false_negatives(batch), second)

    def compute_losses(
        self,
        outputs: dict[str, dict[str, Tensor]],
        exclude: Tensor | None = None,
        second: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Weigh and add the terms.

        Args:
            outputs: What :meth:`forward` gave.
            exclude: Rows that are no negatives of each other, shape (batch, rows of all ranks).
            second: Per modality projections of a second view, shape (batch, bits).

        Returns:
            Scalars: ``loss``, and the unweighted terms ``inter``, ``intra``, ``quantisation``,
            ``balance``, ``adversary`` and ``discriminator``, as far as they take part.
        """
        first = {m: outputs[m]['z'] for m in self.modalities}
        views = [*first.values(), *(second or {}).values()]
        code = common_code(views)
        losses = {'inter': self.contrast(*self.pair(outputs), exclude)}
        if second is not None:
            pairs = [(z, second[m]) for m, z in first.items()]
            a, b = (self.contrast(z, view, exclude) for z, view in pairs)
            losses['intra'] = a + b
        # A mean over views, so that weights mean the same with and without second views.
        share = 1 / len(views)
        if self.hparams['quantisation_weight']:
            terms = [self.quantisation(z, code) for z in views]
            losses['quantisation'] = share * sum(terms[1:], terms[0])
        if self.hparams['balance_weight']:
            terms = [self.balance(z) for z in views]
            losses['balance'] = share * sum(terms[1:], terms[0])
        total = losses['inter']
        for name in ('intra', 'quantisation', 'balance'):
            if name in losses:
                total = total + self.hparams[f'{name}_weight'] * losses[name]
        if self.adversary is not None:
            mislead, tell = self.adversary(*first.values())
            losses |= {'adversary': mislead, 'discriminator': tell}
            total = total + self.hparams['adversary_weight'] * mislead + tell
        return {'loss': total, **losses}
