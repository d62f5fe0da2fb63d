"""CSMAE: masked pictures of each sensor are completed from itself and from the other."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchgeo_cmr.errors import check_choice
from torchgeo_cmr.losses import MIMLoss
from torchgeo_cmr.models.csmae_decoder import CSMAEDecoder, patchify
from torchgeo_cmr.models.csmae_encoder import CSMAEEncoder, MaskedTokens, load_csmae
from torchgeo_cmr.models.weights import NewBands
from torchgeo_cmr.tasks.base import CrossModalTask, RetrievalFeatures

__all__ = ('CSMAE',)

Size = Literal['tiny', 'small', 'base', 'large']
Decoder = Literal['common', 'specific']

#: Width of a token and heads of attention.
SIZES = {'tiny': (192, 3), 'small': (384, 6), 'base': (768, 12), 'large': (1024, 16)}


class CSMAE(CrossModalTask):
    r"""Cross-sensor masked autoencoder.

    A share of the patches of each picture is hidden. From the tokens of the others, decoders predict
    the hidden pixels of the same sensor and of the other one. The loss is the mean squared error of
    these four predictions plus MIM (NT-Xent) between the mean tokens of the two sensors.
    :meth:`embed` gives the mean of the patch tokens of the whole picture.

    The published variants: SECD and SESD have ``specific_depth=10, common_depth=2``, CECD and CESD
    ``specific_depth=0, common_depth=12``; CD is ``decoder='common'``, SD ``'specific'``. In the
    configurations that were published, CE means ``specific_depth=12, common_depth=0``.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/2401.07782

    Masks of the two sensors are drawn independently, and what is predicted of the other sensor are
    the places that were hidden in the sensor predicted from. MDE, which the published
    configurations switch off, and the other masks of the code are left out.

    Relations: the network is :class:`~torchgeo_cmr.models.csmae_encoder.CSMAEEncoder`.

    Examples:
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 10}
        >>> task = CSMAE({'s1': 2, 's2': 10}, size='tiny', mean=ones, std=ones).eval()
        >>> task.embed({'image_s1': torch.rand(3, 2, 120, 120)}, 's1').shape
        torch.Size([3, 192])
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        weights: str | os.PathLike[str] | None = None,
        *,
        size: Size = 'base',
        image_size: int = 120,
        patch_size: int = 15,
        specific_depth: int = 10,
        common_depth: int = 2,
        decoder: Decoder = 'common',
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        mask_ratio: float = 0.5,
        temperature: float = 0.5,
        uni_modal_weight: float = 1.0,
        cross_modal_weight: float = 1.0,
        mim_weight: float = 1.0,
        retrieval_features: RetrievalFeatures = 'h',
        new_bands: NewBands = 'error',
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new CSMAE instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name; for published
                weights Sentinel-1 first.
            weights: Checkpoint of the published code, or a state dict with its names; read with
                ``weights_only=True``. Decoders start anew.
            size: Width of the tokens: ``'tiny'`` 192, ``'small'`` 384, ``'base'`` 768 (published)
                or ``'large'`` 1024.
            image_size: Height and width of patches in pixels.
            patch_size: Height and width of a token in pixels.
            specific_depth: Transformer blocks of each sensor.
            common_depth: Transformer blocks of both.
            decoder: One ``'common'`` decoder, or a ``'specific'`` one for each sensor.
            decoder_dim: Width of the decoders, a multiple of 64.
            decoder_depth: Transformer blocks of the decoders.
            mask_ratio: Share of the patches that is hidden, above 0 and below 1.
            temperature: Temperature of MIM, above 0.
            uni_modal_weight: Factor of predictions of the same sensor; 0 removes them.
            cross_modal_weight: Factor of predictions of the other sensor; 0 removes them.
            mim_weight: Factor of MIM; 0 removes it.
            retrieval_features: ``'h'``; there is no head, so ``'z'`` is the same.
            new_bands: What weights give a band they do not know.
            gather_distributed: Use the pairs of all ranks in MIM.
            **options: Those of :class:`~torchgeo_cmr.tasks.CrossModalTask`, such as *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        check_choice('size', size, Size)
        check_choice('decoder', decoder, Decoder)
        terms = (uni_modal_weight, cross_modal_weight, mim_weight)
        if not 0 < mask_ratio < 1 or min(terms) < 0 or not any(terms):
            raise ValueError(
                'mask_ratio is above 0 and below 1, and loss weights are 0 or more and not all 0, '
                f'found {mask_ratio} and {terms}'
            )
        if decoder_dim < 64 or decoder_dim % 64:
            raise ValueError(f'decoder_dim is a multiple of 64, found {decoder_dim}')
        self.weights = weights
        super().__init__(in_channels, retrieval_features=retrieval_features, **options)

    def configure_models(self) -> None:
        """Initialize encoder and decoders."""
        options = self.hparams
        dim, num_heads = SIZES[options['size']]
        self.model = CSMAEEncoder(
            self.in_channels,
            image_size=options['image_size'],
            patch_size=options['patch_size'],
            dim=dim,
            num_heads=num_heads,
            specific_depth=options['specific_depth'],
            common_depth=options['common_depth'],
        )
        if self.weights is not None:
            self.assumed_bands = load_csmae(
                self.model,
                os.fspath(self.weights),
                bands=options['bands'],
                new_bands=options['new_bands'],
            )
        targets = [self.in_channels]
        if options['decoder'] == 'specific':
            targets = [{m: n} for m, n in self.in_channels.items()]
        decoders = [
            CSMAEDecoder(
                target,
                grid=options['image_size'] // options['patch_size'],
                patch_size=options['patch_size'],
                in_dim=dim,
                dim=options['decoder_dim'],
                depth=options['decoder_depth'],
            )
            for target in targets
        ]
        self.decoders = nn.ModuleDict(
            {m: decoders[i % len(decoders)] for i, m in enumerate(self.modalities)}
        )
        if not (options['uni_modal_weight'] or options['cross_modal_weight']):
            self.decoders.requires_grad_(False)

    def configure_losses(self) -> None:
        """Initialize MIM."""
        self.mim = MIMLoss(
            self.hparams['temperature'],
            gather_distributed=self.hparams['gather_distributed'],
        )

    def forward(self, batch: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
        """Encode both modalities of a batch; while training, what is not hidden of them.

        Args:
            batch: Samples with both modalities, raw pixels, NaN where there is no data.

        Returns:
            Per modality ``h`` and ``z``, as of :class:`CrossModalTask`, and while training
            ``tokens``, ``hidden`` and ``order``, as of
            :class:`~torchgeo_cmr.models.csmae_encoder.MaskedTokens`.
        """
        if not self.training:
            return super().forward(batch)
        return self._masked({m: self.normalize(batch, m) for m in self.modalities})

    def _masked(self, images: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Encode what is not hidden."""
        outputs = {}
        for modality, x in images.items():
            shown = self.model.encode(x, modality, self.hparams['mask_ratio'])
            h = self.model.pool(shown.tokens)
            outputs[modality] = {'h': h, 'z': h, **shown._asdict()}
        return outputs

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            batch: Samples as a data loader stacks them.
            outputs: What :meth:`forward` made of them.

        Returns:
            Scalars: ``loss``, and the unweighted terms ``uni_modal`` and ``cross_modal`` (sums
            over sensors of mean squared errors of hidden pixels) and ``mim``, as far as they take
            part.
        """
        images = {m: self.normalize(batch, m) for m in self.modalities}
        if 'tokens' not in next(iter(outputs.values())):
            outputs = self._masked(images)
        goals = {
            m: patchify(x.float(), self.hparams['patch_size'])
            for m, x in images.items()
        }
        errors: dict[str, list[Tensor]] = {'uni_modal': [], 'cross_modal': []}
        for source, output in outputs.items():
            shown = MaskedTokens(*(output[name] for name in MaskedTokens._fields))
            for target, goal in goals.items():
                kind = 'uni_modal' if source == target else 'cross_modal'
                if not self.hparams[f'{kind}_weight']:
                    continue
                found = self.decoders[target](shown, target).float()
                error = (found - goal).square().mean(dim=2)
                errors[kind].append((error * shown.hidden).sum() / shown.hidden.sum())
        losses = {n: torch.stack(terms).sum() for n, terms in errors.items() if terms}
        if self.hparams['mim_weight']:
            losses |= self.compute_losses(outputs)
        total = torch.stack(
            [self.hparams[f'{n}_weight'] * v for n, v in losses.items()]
        )
        return {**losses, 'loss': total.sum()}

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Compute MIM, the term that needs no pixels.

        Args:
            outputs: What :meth:`forward` gave.

        Returns:
            Scalar ``mim``.
        """
        a, b = (outputs[m]['h'] for m in self.modalities)
        return {'mim': self.mim(a, b)}

    def deciding(self, modality: str) -> tuple[str, ...]:
        """Name the weights that decide where a picture lands: not those of decoders.

        Args:
            modality: Name of a modality.

        Returns:
            Prefixes of their names in the state dict.
        """
        named: Sequence[str] = super().deciding(modality)
        return tuple(name for name in named if name not in ('decoders', 'mim'))
