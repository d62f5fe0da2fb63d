"""SS-CM-RSIR: self-supervised cross-modal retrieval with three losses."""

from typing import Any, Literal

import torch
from torch import Tensor

from torchgeo_cmr.errors import OptionError
from torchgeo_cmr.losses import ISLoss, MDELoss, MIMLoss, ramp_weight

from .encoder_task import EncoderTask
from .networks import Models, Weights

__all__ = ('SSCMRSIR',)


class SSCMRSIR(EncoderTask):
    r"""Self-supervised cross-modal remote sensing image retrieval.

    Two encoders without labels: the own pair is distinguished from the rest of the batch (MIM,
    on projections *z*), the two pictures of a place are drawn together (MDE, on encoder
    outputs *h*), and so are similar pictures of one modality (IS, on *h*):

    .. math::

       L = L_{MIM} + w(e) L_{MDE} + w(e) L_{IS}

    with a weight *w* that climbs from 1e-4 to 1 over the epochs *e*.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/2202.11429

    The paper's own code was not available to us. MDE, IS and the ramp follow the formulas of
    later code by the same group; the sign of IS, temperature and head are choices named in
    the user guide.

    Relations: the losses are :class:`~torchgeo_cmr.losses.MIMLoss`,
    :class:`~torchgeo_cmr.losses.MDELoss` and :class:`~torchgeo_cmr.losses.ISLoss`.

    Examples:
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = SSCMRSIR(
        ...     {'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones, lr=1e-3
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
        temperature: float = 0.5,
        negatives: Literal['all', 'cross'] = 'all',
        mde: Literal['softplus', 'angular'] = 'softplus',
        mim_weight: float = 1.0,
        mde_weight: float = 1.0,
        is_weight: float = 1.0,
        weight_schedule: Literal['log_ramp', 'constant'] = 'log_ramp',
        num_neighbors: int = 1,
        distance: Literal['euclidean', 'cosine'] = 'euclidean',
        detach_neighbor: bool = False,
        mine_with: Literal['own', 'other', 'both'] = 'own',
        gather_distributed: bool = True,
        **options: Any,
    ) -> None:
        """Initialize a new SSCMRSIR instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            model: Name of the `timm
                <https://huggingface.co/docs/timm/reference/models>`__ or TorchGeo model, or a
                network, one for both or one per modality.
            weights: Initial encoder weights, one for both or one per modality: a TorchGeo
                weight enum or its name, the path of a state dict or checkpoint, True for
                timm's own, None for random ones. Their first convolution is cut by the names
                of the bands, as far as *bands* and the weights name them.
            variant: ``'separate'``: nothing is shared between the modalities; ``'joint'``: a
                1x1 convolution to 32 channels for each, one trunk, and a head for each.
            temperature: Temperature of MIM, above 0.
            negatives: Negatives of MIM: ``'all'`` rows or the ``'cross'`` modality alone.
            mde: Kind of MDE.
            mim_weight: Factor of MIM; 0 removes the term.
            mde_weight: Factor of MDE on top of the ramp; 0 removes the term.
            is_weight: Factor of IS on top of the ramp; 0 removes the term.
            weight_schedule: ``'log_ramp'``, or ``'constant'`` for full weights from the start.
            num_neighbors: Nearest neighbours that IS averages over.
            distance: How IS measures what is near.
            detach_neighbor: Whether the gradient of IS stops at the neighbour.
            mine_with: Whose distances choose the neighbours of a modality in IS: its ``'own'``,
                the ``'other'`` modality's, or ``'both'``.
            gather_distributed: Use the pairs of all ranks in MIM and IS.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *head*, *output_dim* and *new_bands*, and of :class:`CrossModalTask`, such as
                *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        if len(in_channels) != 2:
            raise ValueError(
                'SSCMRSIR pairs exactly two modalities, found '
                f'{", ".join(in_channels) or "none"} in in_channels'
            )
        terms = {'mim': mim_weight, 'mde': mde_weight, 'is': is_weight}
        if min(terms.values()) < 0 or not any(terms.values()):
            raise ValueError(f'loss weights are 0 or more and not all 0, found {terms}')
        super().__init__(in_channels, model, weights, variant=variant, **options)

    def configure_models(self) -> None:
        """Initialize the encoders and two heads.

        Raises:
            ValueError: If an output that is to be compared is not trained, or encoder outputs
                of different widths are.
        """
        retrieves_h = self.hparams['retrieval_features'] == 'h'
        if not self.hparams['mim_weight'] and not retrieves_h:
            raise ValueError(
                "without MIM nothing trains the projections z: set retrieval_features='h'"
            )
        super().configure_models()
        compares_h = self.hparams['mde_weight'] or retrieves_h
        if len(set(self.widths.values())) > 1 and compares_h:
            raise ValueError(
                'MDE and retrieval by h compare encoder outputs, found widths '
                f'{self.widths}: take models of one width, or mde_weight=0 with '
                "retrieval_features='z'"
            )
        if not self.hparams['mim_weight']:
            self.model.heads.requires_grad_(False)

    def configure_losses(self) -> None:
        """Initialize the three losses."""
        self.mim = MIMLoss(
            self.hparams['temperature'],
            negatives=self.hparams['negatives'],
            gather_distributed=self.hparams['gather_distributed'],
        )
        self.mde = MDELoss(self.hparams['mde'])
        self.intra = ISLoss(
            num_neighbors=self.hparams['num_neighbors'],
            distance=self.hparams['distance'],
            detach_neighbor=self.hparams['detach_neighbor'],
            mine_with=self.hparams['mine_with'],
            gather_distributed=self.hparams['gather_distributed'],
        )
        # An unknown schedule is refused now, not in the first epoch.
        ramp_weight(0, 1, self.hparams['weight_schedule'])

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Weigh and add the three losses.

        Args:
            outputs: Per modality ``h``, shape (batch, features), and ``z``, shape
                (batch, dim); rows are paired.

        Returns:
            Scalars: ``loss``, the unweighted terms ``mim``, ``mde`` and ``is`` as far as they
            take part, and the current ``ramp``.
        """
        a, b = (outputs[m] for m in self.modalities)
        ramp = self._ramp()
        losses: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        if self.hparams['mim_weight']:
            losses['mim'] = self.mim(a['z'], b['z'])
            weights['mim'] = self.hparams['mim_weight']
        if self.hparams['mde_weight']:
            losses['mde'] = self.mde(a['h'], b['h'])
            weights['mde'] = self.hparams['mde_weight'] * ramp
        if self.hparams['is_weight']:
            losses['is'] = self.intra(a['h'], b['h'])
            weights['is'] = self.hparams['is_weight'] * ramp
        total = torch.stack(
            [weights[name] * loss for name, loss in losses.items()]
        ).sum()
        return {'loss': total, **losses, 'ramp': total.new_tensor(ramp)}

    def _ramp(self) -> float:
        """Weight of MDE and IS now; 1 outside of fitting.

        Returns:
            A weight in (0, 1].

        Raises:
            OptionError: If there is a ramp and the run has no planned end.
        """
        if not self.fitting:
            return 1.0
        trainer, schedule = self.trainer, self.hparams['weight_schedule']
        if trainer.max_epochs is not None and trainer.max_epochs > 0:
            return ramp_weight(trainer.current_epoch, trainer.max_epochs, schedule)
        if trainer.max_steps > 0:
            return ramp_weight(trainer.global_step, trainer.max_steps, schedule)
        if schedule != 'constant':
            raise OptionError(
                "a log_ramp needs to know its end: set max_epochs, or weight_schedule='constant'"
            )
        return 1.0
