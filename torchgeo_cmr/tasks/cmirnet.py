"""CMIR-NET: classes first, then one space for both modalities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from torchgeo_cmr.errors import ArchiveError, OptionError, check_choice
from torchgeo_cmr.losses import FrobeniusLoss, SoftOrthogonalityLoss, WeightNormLoss
from torchgeo_cmr.models.cmir_network import CMIRNetwork, UnifiedEncoderDecoder

from .cmirpretrain import CMIRPretrain, stage_a_losses
from .label_task import LabelledTask
from .labels import class_loss
from .networks import Models, Weights
from .storage.checkpoint import load_task

__all__ = ('CMIRNet',)


PresetName = Literal['paper', 'dsrsid_code', 'speech_code']


@dataclass(frozen=True)
class _Preset:
    """One of the forms in which the loss was published."""

    reduction: Literal['mean', 'norm']
    decode: Literal['cross', 'own']
    weight_norm: Literal['squared', 'absolute', 'elementwise']
    share_classifier: bool
    unit_features: bool
    #: Weights of the terms that are not 0; the decoder has one for each modality.
    weights: dict[str, tuple[float, ...]]
    #: Dropout of the embeddings of the second modality.
    dropout: float = 0.0

    def term_weights(
        self, given: Mapping[str, float | None]
    ) -> dict[str, tuple[float, ...]]:
        """Replace the weights of terms by those that are given."""
        weights = {}
        for name, weight in given.items():
            preset = self.weights.get(name, (0.0,))
            weights[name] = preset if weight is None else (weight,) * len(preset)
        if min(map(min, weights.values())) < 0 or not any(
            any(numbers) for name, numbers in weights.items() if name != 'orth'
        ):
            raise ValueError(
                f'loss weights are 0 or more and not all 0, found {weights}'
            )
        return weights


PRESETS: dict[str, _Preset] = {
    'paper': _Preset(
        reduction='mean',
        decode='cross',
        weight_norm='squared',
        share_classifier=True,
        unit_features=True,
        weights={
            'latent': (1.0,),
            'class': (1.0,),
            'feature_norm': (1e-3,),
            'decoder': (1.0, 1.0),
            'weight_norm': (1e-2,),
            'orth': (1e-3,),
        },
    ),
    'dsrsid_code': _Preset(
        reduction='norm',
        decode='cross',
        weight_norm='squared',
        share_classifier=False,
        unit_features=False,
        weights={'latent': (1.0,), 'decoder': (1.0, 1.0)},
        dropout=0.5,
    ),
    'speech_code': _Preset(
        reduction='norm',
        decode='own',
        weight_norm='absolute',
        share_classifier=False,
        unit_features=False,
        weights={
            'latent': (1e-3,),
            'class': (1.0,),
            'decoder': (1e-3, 1e-2),
            'weight_norm': (1.0,),
        },
    ),
}


class CMIRNet(LabelledTask):
    r"""Supervised cross-modal retrieval with a unified encoder and decoders.

    Stage A trains an encoder of features Z for each modality, see :class:`CMIRPretrain`. Stage
    B maps the features of both to embeddings V of one space:

    .. math::

       L = \lambda_1 \|V_a - V_b\|^2 + \lambda_2 CE(c(V_a), c(V_b); y)
           + \lambda_3 (\|V_a\|^2 + \|V_b\|^2)
           + \lambda_4 (\|D(V_a) - Z_b\|^2 + \|D(V_b) - Z_a\|^2)
           + \lambda_5 \sum_m (\|W_m\| - \alpha)^2

    One run trains both: ``pretrain_epochs`` of stage A, and stage B for the rest, on frozen
    encoders, as the paper works on stored features (``freeze_encoders=False`` trains them
    further). Without stage A everything is trained together.

    If you use this task in your research, please cite the following paper:

    * https://arxiv.org/abs/1904.04794

    Its slides, abstract and code were available to us, and none of them has the weights of
    the loss: those of ``preset='paper'`` are ours. Two other presets are the loss as the
    published code computes it, which differs from the slides and between its scripts.

    Relations: the terms are :class:`~torchgeo_cmr.losses.FrobeniusLoss` and
    :class:`~torchgeo_cmr.losses.WeightNormLoss`; :class:`SSCMRSIR` needs no labels.

    Examples:
        >>> task = CMIRNet(
        ...     {'pan': 1, 'ms': 4}, 8, {'pan': 'cmir_pan', 'ms': 'cmir_ms'}
        ... ).eval()
        >>> task.set_specs({'pan': {'mean': [0.0], 'std': [1.0]}})
        >>> task.embed({'image_pan': torch.rand(3, 1, 256, 256)}, 'pan').shape
        torch.Size([3, 64])
    """

    ignore: Sequence[str] | str | None = ('weights', 'pretrained')

    def __init__(
        self,
        in_channels: dict[str, int],
        num_classes: int,
        model: Models = 'resnet18',
        weights: Weights = None,
        *,
        preset: PresetName = 'paper',
        pretrain_epochs: int = 0,
        pretrained: str | None = None,
        freeze_encoders: bool | None = None,
        output_dim: int = 64,
        share_classifier: bool | None = None,
        latent_weight: float | None = None,
        class_weight: float | None = None,
        feature_norm_weight: float | None = None,
        decoder_weight: float | None = None,
        weight_norm_weight: float | None = None,
        orth_weight: float | None = None,
        alpha: float = 1.0,
        weight_norm: Literal['squared', 'absolute', 'elementwise'] | None = None,
        detach_targets: bool = True,
        unit_features: bool | None = None,
        **options: Any,
    ) -> None:
        """Initialize a new CMIRNet instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name; 1 for
                speech, and the width of vectors that another network made.
            num_classes: Number of classes.
            model: Name of the encoder, or a network, one for both or one per modality, as of
                :class:`CMIRPretrain`.
            weights: Initial weights of timm models, as of :class:`SSCMRSIR`.
            preset: How the loss is written: ``'paper'`` (squared norms, a mean over the
                batch), ``'dsrsid_code'`` (norms that are not squared, no class term) or
                ``'speech_code'`` (the first modality is the image).
            pretrain_epochs: Epochs of stage A at the beginning of the run.
            pretrained: Path of a checkpoint of :class:`CMIRPretrain`, in place of stage A.
            freeze_encoders: Whether stage B keeps the encoders as they are; True by default if
                there is a stage A, else False.
            output_dim: Width of the embeddings V; 16, 32, 64 or 128 in the paper.
            share_classifier: One class head for both modalities; as the preset has it by
                default.
            latent_weight: Weight of the distance of a pair's embeddings (this and the
                following: that of the preset by default; 0 removes the term).
            class_weight: Weight of the class term, a sum over both modalities.
            feature_norm_weight: Weight of the length of the embeddings.
            decoder_weight: Weight of the decoders' error, for both alike.
            weight_norm_weight: Weight of the size of the matrices W.
            orth_weight: Weight of the orthogonality term of stage A.
            alpha: Target of the norm of the matrices W.
            weight_norm: How the size of W is measured, a kind of
                :class:`~torchgeo_cmr.losses.WeightNormLoss`: ``'squared'`` for ``'paper'`` and
                ``'absolute'`` for ``'speech_code'`` by default; ``'elementwise'`` is the formula
                that the slides print.
            detach_targets: Whether the features at which decoders aim get no gradient from
                them. The published code lets it pass (``False``), which matters where encoders
                are trained in stage B; a target that is trained can meet its decoder at zero.
            unit_features: Whether stage B scales features Z to length one; by default True for
                ``'paper'``, False for the presets of the code.
            **options: Those of :class:`~torchgeo_cmr.tasks.label_task.LabelledTask`, such as
                *feature_dim*, *label_keys* and *lr*, and of :class:`CrossModalTask`. A
                schedule starts anew with stage B.

        Raises:
            ArchiveError: If *pretrained* is not a checkpoint of :class:`CMIRPretrain`, or one
                of other encoders.
            RasterError: If statistics or weights do not fit the channels.
            ValueError: If there are not exactly two modalities, or an option is unknown or
                does not go with another.
        """
        check_choice('preset', preset, PresetName)
        if pretrain_epochs < 0 or (pretrain_epochs and pretrained):
            raise ValueError(
                f'pretrain_epochs={pretrain_epochs} with pretrained={pretrained!r}: give a '
                'number of epochs of at least 0, or a checkpoint, not both'
            )
        self.preset = PRESETS[preset]
        self.term_weights = self.preset.term_weights(
            {
                'latent': latent_weight,
                'class': class_weight,
                'feature_norm': feature_norm_weight,
                'decoder': decoder_weight,
                'weight_norm': weight_norm_weight,
                'orth': orth_weight,
            }
        )
        self.pretrained = pretrained
        super().__init__(in_channels, num_classes, model, weights, **options)
        if freeze_encoders is None:
            freeze_encoders = bool(pretrain_epochs or pretrained)
            self.hparams['freeze_encoders'] = freeze_encoders
        if pretrained:
            self._take_over(pretrained)

    def configure_models(self) -> None:
        """Initialize the networks of both stages."""
        share = self.hparams['share_classifier']
        unified = UnifiedEncoderDecoder(
            self.modalities,
            self.hparams['num_classes'],
            feature_dim=self.hparams['feature_dim'],
            output_dim=self.hparams['output_dim'],
            decode=self.preset.decode,
            share_classifier=self.preset.share_classifier if share is None else share,
            dropout={self.modalities[-1]: self.preset.dropout},
        )
        unit = self.hparams['unit_features']
        self.model = CMIRNetwork(
            self.build_stage_a(),
            unified,
            unit_features=self.preset.unit_features if unit is None else unit,
        )

    def configure_losses(self) -> None:
        """Initialize the terms."""
        self.orthogonality = SoftOrthogonalityLoss()
        self.distance = FrobeniusLoss(self.preset.reduction)
        self.size = WeightNormLoss(
            self.hparams['alpha'],
            self.hparams['weight_norm'] or self.preset.weight_norm,
        )

    def _take_over(self, path: str) -> None:
        """Load encoders, classifiers and statistics from a checkpoint of stage A."""
        source = load_task(path)
        if not isinstance(source, CMIRPretrain):
            raise ArchiveError(
                f'{path} is a checkpoint of {type(source).__name__}: name one of '
                'CMIRPretrain, or set pretrain_epochs'
            )
        try:
            self.model.stage_a.load_state_dict(source.model.state_dict())
        except RuntimeError as error:
            raise ArchiveError(
                f'{path} has other encoders than this task: set in_channels, num_classes, '
                'model and feature_dim as they were'
            ) from error
        specs = source.specs
        for spec in specs.values():  # what is unknown stays open
            for name in [n for n, value in spec.items() if value in (None, [])]:
                del spec[name]
        self.set_specs(specs)

    # -- two stages -----------------------------------------------------------------------

    @property
    def stage(self) -> Literal['A', 'B']:
        """The stage of training: A in the first epochs of a fit, B otherwise."""
        epochs = self.hparams['pretrain_epochs']
        return 'A' if self.fitting and self.trainer.current_epoch < epochs else 'B'

    def setup(self, stage: str) -> None:
        """Take statistics and classes from the data, as of :class:`CMIRPretrain`.

        Args:
            stage: Stage of the trainer.

        Raises:
            RasterError: If the data does not fit the task.
            OptionError: If no epoch is left for stage B.
        """
        super().setup(stage)
        epochs, most = self.hparams['pretrain_epochs'], self.trainer.max_epochs
        trial = getattr(
            self.trainer, 'fast_dev_run', False
        )  # one epoch, whatever the plan is
        short = most is not None and 0 <= most <= epochs
        if stage == 'fit' and epochs and short and not trial:
            raise OptionError(
                f'pretrain_epochs={epochs} leaves no epoch of max_epochs={most} for stage B: '
                'train longer, or use CMIRPretrain for stage A alone'
            )

    @property
    def _encoders_rest(self) -> bool:
        """Whether this is stage B of a run whose encoders are frozen after stage A."""
        return self.fitting and self.stage == 'B' and self.hparams['freeze_encoders']

    def on_train_epoch_start(self) -> None:
        """Keep the encoders in evaluation mode from stage B on, for the sake of their batch norm."""
        self.model.stage_a.train(not self._encoders_rest)
        super().on_train_epoch_start()

    def forward(self, batch: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
        """Encode both modalities of a batch.

        Args:
            batch: Samples with both modalities, raw pixels, NaN where there is no data.

        Returns:
            Per modality ``h`` and ``z``, as of :class:`CrossModalTask`.
        """
        if not self._encoders_rest:
            return super().forward(batch)
        with torch.no_grad():
            encoders = self.model.stage_a.encoders
            features = {
                m: encoders[m](self.normalize(batch, m)) for m in self.modalities
            }
        return {
            m: {'h': h, 'z': self.model.unified(self.model.scaled(h), m)}
            for m, h in features.items()
        }

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Drop the gradients of the stage that rests, so that nothing moves its weights.

        With zeros instead, weight decay and momentum would. Nothing is frozen by
        ``requires_grad``: distributed processes expect a gradient of every parameter that had
        one, and a run that is interrupted would leave the task frozen.

        Args:
            optimizer: The optimizer.
        """
        resting = self.model.unified if self.stage == 'A' else None
        if self._encoders_rest:
            resting = self.model.stage_a
        for parameter in resting.parameters() if resting is not None else ():
            parameter.grad = None

    def _choices(self, modality: str) -> tuple[str, ...]:
        """Scaled features are embedded elsewhere than features of any length."""
        return (
            *super()._choices(modality),
            f'unit_features={self.model.unit_features}',
        )

    def _restart_epoch(self) -> int:
        """Epoch of the first stage B."""
        return self.hparams['pretrain_epochs']

    # -- losses ---------------------------------------------------------------------------

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Weigh and add the terms of the stage.

        Args:
            batch: Samples with labels. Rows whose modalities have labels of their own are
                compared only where they share a class.
            outputs: Per modality features Z as ``h`` and embeddings V as ``z``.

        Returns:
            Scalars: ``loss``, and the unweighted terms as far as they take part: ``class`` and
            ``orth`` in stage A; ``latent``, ``class``, ``feature_norm``, ``decoder``
            and ``weight_norm`` in stage B, sums over the modalities.

        Raises:
            ValueError: If labels are missing or do not fit the classes.
        """
        labels = self.labels(batch)
        features = {m: output['h'] for m, output in outputs.items()}
        if self.stage == 'A':
            (orth,) = self.term_weights['orth']
            return stage_a_losses(
                self.model.stage_a, features, labels, self.orthogonality, orth
            )
        embeddings = {m: output['z'] for m, output in outputs.items()}
        pairs, unified = self.pairs(labels), self.model.unified

        def latent() -> Tensor:
            a, b = embeddings.values()
            return self.distance(a[pairs], b[pairs])

        def decoder() -> list[Tensor]:
            errors = []
            for modality, v in embeddings.items():
                target = unified.target[modality]
                rows = pairs if target != modality else slice(None)
                goal = self.model.scaled(features[target])
                if self.hparams['detach_targets']:
                    goal = goal.detach()
                errors.append(
                    self.distance(unified.decode(v, modality)[rows], goal[rows])
                )
            return errors

        terms = {
            'latent': lambda: [latent()],
            'class': lambda: [
                class_loss(unified.classify(v, m), labels[m])
                for m, v in embeddings.items()
            ],
            'feature_norm': lambda: [self.distance(v) for v in embeddings.values()],
            'decoder': decoder,
            'weight_norm': lambda: [
                self.size(unified.weight(m)) for m in self.modalities
            ],
        }
        losses: dict[str, Tensor] = {}
        total = torch.zeros((), dtype=torch.float32, device=pairs.device)
        for name, term in terms.items():
            weights = self.term_weights[name]
            if not any(weights):
                continue
            each = torch.stack(term())
            losses[name] = each.sum()
            total = total + (each * each.new_tensor(weights)).sum()
        return {'loss': total, **losses}
