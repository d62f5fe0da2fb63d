"""SS-CM-RSIR: self-supervised cross-modal retrieval with three losses."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from torchgeo_cmr.errors import OptionError, check_choice
from torchgeo_cmr.losses import ISLoss, MDELoss, MIMLoss, SIGRegLoss, ramp_weight

from .arguments import plain
from .encoder_task import ContrastiveTask
from .networks import Models, Stem, Weights

__all__ = ('SSCMRSIR',)

Preset = Literal['paper', 'aligned', 'best']
MDEOn = Literal['h', 'z']
RetrievalHead = Literal['cross', 'unified']

#: What an option is that the user leaves open, by preset. To add a preset, name it here and in
#: ``Preset``; every option of the first one needs a value.
PRESETS: dict[str, dict[str, Any]] = {
    'paper': {
        'model': 'resnet50',
        'stage': None,
        'grid': 1,
        'hidden_dim': None,
        'variant': 'separate',
        'stem': 'conv1x1',
        'shared_head': False,
        'two_heads': False,
        'temperature': 0.5,
        'negatives': 'all',
        'mde': 'softplus',
        'mde_on': 'h',
        'mim_weight': 1.0,
        'mde_weight': 1.0,
        'is_weight': 1.0,
        'is_sign': -1,
        'sigreg_weight': 0.0,
        'weight_schedule': 'log_ramp',
    },
    'aligned': {
        'model': 'resnet50',
        'stage': None,
        'grid': 1,
        'hidden_dim': None,
        'variant': 'joint',
        'stem': 'own',
        'shared_head': True,
        'two_heads': False,
        'temperature': 0.07,
        'negatives': 'cross',
        'mde': 'cosine',
        'mde_on': 'z',
        'mim_weight': 1.0,
        'mde_weight': 1.0,
        'is_weight': 0.0,
        'is_sign': -1,
        'sigreg_weight': 0.0,
        'weight_schedule': 'constant',
    },
    'best': {
        'model': 'resnet10t',
        'stage': 2,
        'grid': 4,
        'hidden_dim': 512,
        'variant': 'separate',
        'stem': 'conv1x1',
        'shared_head': False,
        'two_heads': False,
        'temperature': 0.07,
        'negatives': 'cross',
        'mde': 'cosine',
        'mde_on': 'z',
        'mim_weight': 1.0,
        'mde_weight': 0.0,
        'is_weight': 0.0,
        'is_sign': -1,
        'sigreg_weight': 0.0,
        'weight_schedule': 'constant',
    },
}


#: Options of the presets that the networks are built from, in addition to the model.
_NETWORK = ('variant', 'stem', 'shared_head', 'stage', 'grid', 'hidden_dim')


class SSCMRSIR(ContrastiveTask):
    r"""Self-supervised cross-modal remote sensing image retrieval.

    Two encoders without labels: the own pair is distinguished from the rest of the batch (MIM,
    on projections *z*), the two pictures of a place are drawn together (MDE, on encoder
    outputs *h*), and so are similar pictures of one modality (IS, on *h*):

    .. math::

       L = L_{MIM} + w(e) L_{MDE} + w(e) L_{IS}

    with a weight *w* that climbs from 1e-4 to 1 over the epochs *e*.

    That is ``preset='paper'``. ``preset='aligned'`` is the form which the ablation of CR-JEPA
    favours: a first layer for each sensor, one shared trunk and one shared head; InfoNCE across
    modalities and the cosine of pairs, both on *z*, with constant weights. ``preset='best'`` is
    what retrieved the own place best in our experiments: an early stage of a small network, whose
    map is averaged over a grid and not over the whole patch, and InfoNCE. A preset sets what
    is left open; every option that is named wins.

    If you use this task in your research, please cite the following papers:

    * https://arxiv.org/abs/2202.11429
    * ``preset='aligned'``, two heads and SIGReg: https://arxiv.org/abs/2606.00706

    The paper's own code was not available to us. MDE, IS and the ramp follow the formulas of
    later code by the same group; the sign of IS, temperature and head are choices named in
    the user guide.

    Relations: the losses are :class:`~torchgeo_cmr.losses.MIMLoss`,
    :class:`~torchgeo_cmr.losses.MDELoss`, :class:`~torchgeo_cmr.losses.ISLoss` and
    :class:`~torchgeo_cmr.losses.SIGRegLoss`.

    Examples:
        >>> ones = {'s1': [1.0] * 2, 's2': [1.0] * 4}
        >>> task = SSCMRSIR(
        ...     {'s1': 2, 's2': 4}, 'resnet10t', mean=ones, std=ones, lr=1e-3
        ... ).eval()
        >>> task.embed({'image_s1': torch.rand(3, 2, 32, 32)}, 's1').shape
        torch.Size([3, 128])
    """

    def __init__(
        self,
        in_channels: dict[str, int],
        model: Models | None = None,
        weights: Weights = None,
        *,
        preset: Preset = 'paper',
        stage: int | None = None,
        grid: int | None = None,
        hidden_dim: int | None = None,
        variant: Literal['separate', 'joint'] | None = None,
        stem: Stem | None = None,
        shared_head: bool | None = None,
        two_heads: bool | None = None,
        retrieval_head: RetrievalHead = 'cross',
        temperature: float | None = None,
        negatives: Literal['all', 'cross'] | None = None,
        mde: Literal['softplus', 'angular', 'cosine'] | None = None,
        mde_on: MDEOn | None = None,
        mim_weight: float | None = None,
        mde_weight: float | None = None,
        is_weight: float | None = None,
        is_sign: Literal[-1, 1] | None = None,
        sigreg_weight: float | None = None,
        weight_schedule: Literal['log_ramp', 'constant'] | None = None,
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
                network, one for both or one per modality; ``'resnet50'`` (paper, aligned),
                ``'resnet10t'`` (best).
            weights: Initial encoder weights, one for both or one per modality: a TorchGeo
                weight enum or its name, the path of a state dict or checkpoint, True for
                timm's own, None for random ones. Their first convolution is cut by the names
                of the bands, as far as *bands* and the weights name them.
            preset: What the options are that are left open (None): ``'paper'``, ``'aligned'`` or
                ``'best'``.
            stage: Stage of the network whose feature map is *h*, as of
                :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`: the whole network, which -1
                names (paper, aligned), or 2 (best).
            grid: Cells per side over which that map is averaged: 1 (paper, aligned) or 4 (best).
            hidden_dim: Width inside the head: that of *h* (paper, aligned) or 512 (best).
            variant: ``'separate'`` (paper): nothing is shared between the encoders; ``'joint'``
                (aligned): a stem for each and one trunk.
            stem: Stem of each modality of ``'joint'``: ``'conv1x1'`` (paper), a 1x1 convolution
                to 32 channels, or ``'own'`` (aligned), the first layer of the network.
            shared_head: Whether both have one head; False (paper), True (aligned).
            two_heads: Whether there is a unified head, on which MIM and MDE act, and a cross
                head with an InfoNCE of its own, as in CR-JEPA; False in both presets.
            retrieval_head: Which of two heads :meth:`embed` uses: ``'cross'`` or ``'unified'``.
            temperature: Temperature of MIM, above 0; 0.5 (paper), 0.07 (aligned).
            negatives: Negatives of MIM: ``'all'`` rows (paper) or the ``'cross'`` modality alone
                (aligned).
            mde: Kind of MDE: ``'softplus'`` (paper), ``'angular'`` or ``'cosine'`` (aligned).
            mde_on: What MDE compares: encoder outputs ``'h'`` (paper) or projections ``'z'``
                (aligned).
            mim_weight: Factor of MIM, 1 by default; 0 removes the term.
            mde_weight: Factor of MDE on top of the ramp, 1 by default; 0 removes the term.
            is_weight: Factor of IS on top of the ramp, 1 (paper) or 0 (aligned), which removes
                the term.
            is_sign: -1 draws neighbours together, as the paper says; +1 drives them apart, as
                later code of the group does.
            sigreg_weight: Factor of SIGReg on projections, 0 by default, which removes the term.
            weight_schedule: ``'log_ramp'`` (paper), or ``'constant'`` (aligned) for full weights
                from the start.
            num_neighbors: Nearest neighbours that IS averages over.
            distance: How IS measures what is near.
            detach_neighbor: Whether the gradient of IS stops at the neighbour.
            mine_with: Whose distances choose the neighbours of a modality in IS: its ``'own'``,
                the ``'other'`` modality's, or ``'both'``.
            gather_distributed: Use the pairs of all ranks in MIM, IS and SIGReg.
            **options: Those of :class:`~torchgeo_cmr.tasks.encoder_task.ContrastiveTask`, such as
                *ignore_within*, of :class:`~torchgeo_cmr.tasks.encoder_task.EncoderTask`, such as
                *head*, *output_dim* and *new_bands*, and of :class:`CrossModalTask`, such as
                *lr*.

        Raises:
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        check_choice('preset', preset, Preset)
        check_choice('retrieval_head', retrieval_head, RetrievalHead)
        named = {
            name: value for name, value in locals().items() if name in PRESETS[preset]
        }
        chosen = _resolved(preset, named)
        _check(chosen)
        self.two_heads = chosen['two_heads']
        # The others are filled in where the arguments are kept, see _set_hparams.
        kept = {name: chosen[name] for name in _NETWORK}
        # The preset's name of one, or what was given, which may be a network.
        model = chosen['model'] if model is None else model
        super().__init__(in_channels, model, weights, **kept, **options)

    def _set_hparams(self, hp: Any) -> None:
        """Keep what the preset makes of the options that were left open."""
        given = dict(hp if isinstance(hp, Mapping) else vars(hp))
        preset = given.setdefault('preset', 'paper')
        super()._set_hparams(given | _resolved(preset, given))

    def configure_models(self) -> None:
        """Initialize the encoders and two heads.

        Raises:
            ValueError: If an output that is to be compared is not trained, or encoder outputs
                of different widths are.
        """
        retrieves_h = self.hparams['retrieval_features'] == 'h'
        mde = self.hparams['mde_on'] if self.hparams['mde_weight'] else ''
        trains_z = (
            self.hparams['mim_weight'] or self.hparams['sigreg_weight'] or mde == 'z'
        )
        if not trains_z and not retrieves_h:
            raise ValueError(
                "without MIM nothing trains the projections z: set retrieval_features='h'"
            )
        super().configure_models()
        compares_h = mde == 'h' or retrieves_h
        if len(set(self.widths.values())) > 1 and compares_h:
            raise ValueError(
                'MDE and retrieval by h compare encoder outputs, found widths '
                f'{self.widths}: take models of one width, or mde_weight=0 with '
                "retrieval_features='z'"
            )
        if not trains_z:
            self.model.heads.requires_grad_(False)

    def configure_losses(self) -> None:
        """Initialize the losses."""
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
            is_sign=self.hparams['is_sign'],
            gather_distributed=self.hparams['gather_distributed'],
        )
        self.sigreg = SIGRegLoss(gather_distributed=self.hparams['gather_distributed'])
        # An unknown schedule is refused now, not in the first epoch.
        ramp_weight(0, 1, self.hparams['weight_schedule'])

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]], exclude: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Weigh and add the losses.

        Args:
            outputs: Per modality ``h``, shape (batch, features), and ``z``, shape
                (batch, dim), of two heads (batch, 2 dim); rows are paired.
            exclude: Rows that are no negatives of each other, shape (batch, rows of all ranks).

        Returns:
            Scalars: ``loss``, the unweighted terms ``mim``, ``mde`` and ``is``, and ``mim_cross``
            and ``sigreg``, as far as they take part, and the current ``ramp``.
        """
        a, b = (outputs[m] for m in self.modalities)
        z = a['z'], b['z']
        heads = [z]
        if self.two_heads:
            heads = [*zip(*(rows.chunk(2, dim=1) for rows in z), strict=True)]
        ramp = self._ramp()
        losses: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        if self.hparams['mim_weight']:
            for name, pair in zip(('mim', 'mim_cross'), heads, strict=False):
                losses[name] = self.mim(*pair, exclude)
                weights[name] = self.hparams['mim_weight']
        if self.hparams['mde_weight']:
            on_h = self.hparams['mde_on'] == 'h'
            losses['mde'] = self.mde(*((a['h'], b['h']) if on_h else heads[0]))
            weights['mde'] = self.hparams['mde_weight'] * ramp
        if self.hparams['is_weight']:
            losses['is'] = self.intra(a['h'], b['h'])
            weights['is'] = self.hparams['is_weight'] * ramp
        if self.hparams['sigreg_weight']:
            terms = [self.sigreg(rows) for pair in heads for rows in pair]
            losses['sigreg'] = torch.stack(terms).mean()
            weights['sigreg'] = self.hparams['sigreg_weight']
        total = torch.stack(
            [weights[name] * loss for name, loss in losses.items()]
        ).sum()
        return {'loss': total, **losses, 'ramp': total.new_tensor(ramp)}

    def retrieved(self, output: Mapping[str, Tensor]) -> Tensor:
        """Take the features that retrieval compares: those of one head, where there are two.

        Args:
            output: ``h``, shape (batch, features), and ``z``, shape (batch, dim or 2 dim).

        Returns:
            Rows of any length, one for each sample.
        """
        rows = super().retrieved(output)
        if not self.two_heads or self.hparams['retrieval_features'] == 'h':
            return rows
        unified, cross = rows.chunk(2, dim=1)
        return cross if self.hparams['retrieval_head'] == 'cross' else unified

    def _choices(self, modality: str) -> tuple[str, ...]:
        """Projections of two heads are two spaces."""
        choices = super()._choices(modality)
        if not self.two_heads or self.hparams['retrieval_features'] == 'h':
            return choices
        return (*choices, f'retrieval_head={self.hparams["retrieval_head"]}')

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


def _resolved(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give each option of the presets its value: the one that was named, or the preset's."""
    chosen = {
        name: plain(value if given.get(name) is None else given[name])
        for name, value in PRESETS[preset].items()
    }
    # Where another variant was named, the preset's stem has no place.
    if chosen['variant'] != 'joint' and given.get('stem') is None:
        chosen['stem'] = 'conv1x1'
    return chosen


def _check(chosen: Mapping[str, Any]) -> None:
    """Refuse options that do not go with each other.

    Raises:
        ValueError: If a choice is unknown, or an option does not go with another.
    """
    terms = {n: chosen[f'{n}_weight'] for n in ('mim', 'mde', 'is', 'sigreg')}
    if min(terms.values()) < 0 or not any(terms.values()):
        raise ValueError(f'loss weights are 0 or more and not all 0, found {terms}')
    check_choice('mde_on', chosen['mde_on'], MDEOn)
    if chosen['two_heads'] and not chosen['mim_weight']:
        raise ValueError(
            'two_heads needs MIM, which alone trains the cross head: set mim_weight above 0'
        )
