"""What the tasks with labels for each modality have in common."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from torchgeo_cmr.errors import RasterError, check_choice
from torchgeo_cmr.metrics.health import (
    CollapseWarning,
    embedding_health,
    modality_gap,
    verdict,
)
from torchgeo_cmr.metrics.label_retrieval import LabelRetrieval
from torchgeo_cmr.metrics.retrieval import CrossModalRetrieval
from torchgeo_cmr.models.cmir_network import ClassifiedEncoders
from torchgeo_cmr.models.features import build_feature_encoder, is_speech, takes_vectors
from torchgeo_cmr.models.weights import NewBands

from .base import CrossModalTask, unit_rows
from .labels import LabelLosses, as_sets, read_labels
from .networks import Models, Weights, check_per_modality, each_model
from .optim import OptimizerName, ScheduleName
from .storage.stored_task import SECTION

__all__ = ('LabelledTask', 'Similarity')

Similarity = Literal['cosine', 'euclidean']

#: What is logged after each validation, and after a test.
NAMES = ('map', 'map@k', 'map@k_hits', 'map@k_R', 'map_cmir', 'precision@k')
#: Rows of each modality that are scored by label in a validation at most: 3 seconds on one core,
#: where training on as many pairs takes a resnet18 at 32 pixels 20 seconds.
VAL_LABELLED_ROWS = 2048
VAL_KS = (10,)
TEST_KS = (1, 5, 10, 20, 50, 100)


class LabelledTask(LabelLosses, CrossModalTask):
    """Encoders of features Z, labels for each modality, and retrieval evaluated by class.

    Rows of two modalities with labels of their own (an image and a spoken word) are pairs if
    they share a class; rows with one label for both (two pictures of a place) are pairs as
    they are, and then the recall of the own pair is logged too.
    """

    monitor = 'val_map'
    mode = 'max'

    def __init__(
        self,
        in_channels: dict[str, int],
        num_classes: int,
        model: Models,
        weights: Weights,
        *,
        feature_dim: int = 128,
        dropout: float = 0.5,
        speech: dict[str, Any] | None = None,
        label_keys: dict[str, str] | None = None,
        similarity: Similarity = 'cosine',
        new_bands: NewBands = 'error',
        keys: dict[str, str] | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        optimizer: OptimizerName = 'adam',
        schedule: ScheduleName = 'constant',
        **options: Any,
    ) -> None:
        """Initialize a new LabelledTask instance.

        Args:
            in_channels: Number of channels of each of the two modalities, by name.
            num_classes: Number of classes.
            model: Encoders, one for both or one per modality.
            weights: Initial weights of timm models, as of :class:`SSCMRSIR`.
            feature_dim: Width of the features Z.
            dropout: Share of features that are dropped in training.
            speech: Options of :class:`~torchgeo_cmr.models.SpeechEncoder`, such as
                ``{'frames': 160}``.
            label_keys: Where a batch holds the labels of each modality: class numbers, shape
                (batch,), below 0 if unknown, or many-hot labels, shape (batch, num_classes).
                ``label`` by default, and ``audio_label`` for speech.
            similarity: What validation and test rank by: ``'cosine'``, as archives do, or
                ``'euclidean'`` distance of the features as they are, as the paper does.
            new_bands: What initial weights give a band they do not know.
            keys: Where a sample holds each modality; ``image_<modality>`` by default, and
                ``audio`` for speech.
            lr: Learning rate.
            weight_decay: Weight decay of matrices and kernels.
            optimizer: ``'adam'``, ``'adamw'`` or ``'sgd'`` (no momentum).
            schedule: ``'constant'``, ``'cosine'`` with warm-up, or ``'onecycle'``.
            **options: Those of :class:`CrossModalTask`.

        Raises:
            RasterError: If statistics do not fit the channels.
            ValueError: If an option is unknown or does not go with another.
        """
        check_per_modality('separate', in_channels, model=model, weights=weights)
        self.check_classes(num_classes)
        check_choice('similarity', similarity, Similarity)
        unknown = sorted(set(label_keys or {}) - set(in_channels))
        if unknown:
            raise ValueError(
                f'label_keys names {", ".join(unknown)}, but the modalities are '
                f'{", ".join(in_channels)}'
            )
        self.weights = weights
        #: Names of the classes, in order; empty until data with names was seen.
        self.classes: tuple[str, ...] = ()
        self._seen: dict[str, set[int]] = {m: set() for m in in_channels}
        self.models = each_model(model, in_channels)
        sounds = [m for m, name in self.models.items() if is_speech(name)]
        self.label_keys = {
            m: 'audio_label' if m in sounds else 'label' for m in in_channels
        } | dict(label_keys or {})
        super().__init__(
            in_channels,
            keys=dict.fromkeys(sounds, 'audio') | dict(keys or {}),
            lr=lr,
            weight_decay=weight_decay,
            optimizer=optimizer,
            schedule=schedule,
            **options,
        )
        # Sound and vectors come normalised: nothing is measured unless it was given.
        for modality, spec in self.specs.items():
            name, channels = self.models[modality], in_channels[modality]
            if is_speech(name) or takes_vectors(name):
                identity = {'mean': [0.0] * channels, 'std': [1.0] * channels}
                missing = {k: v for k, v in identity.items() if not spec[k]}
                self.set_specs({modality: missing})

    @property
    def paired(self) -> bool:
        """Whether the rows of a batch are pairs by instance, with one label for both."""
        return len(set(self.label_keys.values())) == 1

    def build_stage_a(self) -> ClassifiedEncoders:
        """Build the encoders and their classifiers."""
        encoders = {}
        for modality, channels in self.in_channels.items():
            weights = self.weights
            encoders[modality] = build_feature_encoder(
                self.models[modality],
                channels,
                weights[modality] if isinstance(weights, dict) else weights,
                feature_dim=self.hparams['feature_dim'],
                dropout=self.hparams['dropout'],
                modality=modality,
                bands=(self.hparams['bands'] or {}).get(modality),
                new_bands=self.hparams['new_bands'],
                speech=self.hparams['speech'],
            )
            assumed = vars(encoders[modality])['assumed_bands']
            if assumed:
                self.assumed_bands[modality] = assumed
        return ClassifiedEncoders(
            encoders, self.hparams['feature_dim'], self.hparams['num_classes']
        )

    def configure_metrics(self) -> None:
        """Initialize the performance metrics."""
        super().configure_metrics()

        def metric(
            ks: Sequence[int], *, chance: bool, max_rows: int | None = None
        ) -> LabelRetrieval:
            return LabelRetrieval(
                self.modalities,
                NAMES,
                ks,
                directions='all',
                chance=chance,
                max_rows=max_rows,
                similarity='dot'
                if self.hparams['similarity'] == 'cosine'
                else 'euclidean',
            )

        self.val_labels = metric(VAL_KS, chance=False, max_rows=VAL_LABELLED_ROWS)
        self.test_labels = metric(TEST_KS, chance=True)

    def set_specs(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        """Set statistics and names, as of :class:`CrossModalTask`.

        Args:
            specs: Per modality what is known of it; for speech also ``sample_rate``.

        Raises:
            RasterError: If statistics do not fit the channels, or speech has another sample rate
                than its encoder.
        """
        expected = (self.hparams.get('speech') or {}).get('sample_rate', 16_000)
        for modality, spec in specs.items():
            rate = spec.get('sample_rate')
            is_sound = is_speech(self.models.get(modality, ''))
            if is_sound and rate is not None and rate != expected:
                raise RasterError(
                    f'{modality} has {rate} samples per second, but its encoder expects '
                    f"{expected}: resample the sound, or set speech={{'sample_rate': {rate}}}"
                )
        super().set_specs(specs)

    def setup(self, stage: str) -> None:
        """Take statistics and the names of the classes from the training data.

        Args:
            stage: Stage of the trainer, as of :class:`CrossModalTask`.

        Raises:
            RasterError: If statistics are unknown or of other bands, or the data has another
                number of classes.
        """
        super().setup(stage)
        datamodule = getattr(self.trainer, 'datamodule', None)
        classes = tuple(getattr(datamodule, 'classes', None) or ())
        if not classes:
            return
        if len(classes) != self.hparams['num_classes']:
            raise RasterError(
                f'the data has {len(classes)} classes, found '
                f'num_classes={self.hparams["num_classes"]}: make them equal'
            )
        if stage == 'fit' or not self.classes:
            self.classes = tuple(map(str, classes))

    def _input_dtype(self, modality: str) -> torch.dtype:
        """Sound keeps its precision, because its encoder first computes a spectrogram."""
        if is_speech(self.models.get(modality, '')):
            return torch.float32
        return super()._input_dtype(modality)

    def _choices(self, modality: str) -> tuple[str, ...]:
        """Options of the spectrogram of sound."""
        if not is_speech(self.models.get(modality, '')):
            return ()
        return (json.dumps(self.hparams['speech'] or {}, sort_keys=True),)

    def _facts(self) -> dict[str, Any]:
        return {**super()._facts(), 'classes': list(self.classes)}

    def _take_facts(self, facts: Mapping[str, Any]) -> None:
        super()._take_facts(facts)
        self.classes = tuple(facts.get('classes') or ())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the section that describes this checkpoint, with the names of its classes.

        Args:
            checkpoint: The checkpoint dictionary before it is written.
        """
        super().on_save_checkpoint(checkpoint)
        checkpoint[SECTION]['classes'] = list(self.classes)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore names and units, and the names of the classes.

        Args:
            checkpoint: The checkpoint dictionary as read.

        Raises:
            ArchiveError: If the checkpoint is of other modalities.
        """
        super().on_load_checkpoint(checkpoint)
        self.classes = tuple((checkpoint.get(SECTION) or {}).get('classes') or ())

    def normalize(self, batch: Mapping[str, Any], modality: str) -> Tensor:
        """Take a modality out of a batch and normalise it, as of :class:`CrossModalTask`.

        Args:
            batch: Samples as a data loader stacks them.
            modality: Which modality to take.

        Returns:
            Shape (batch, channels, ...); vectors have the shape (batch, channels).
        """
        key = self.keys.get(modality, '')
        if takes_vectors(self.models.get(modality, '')) and key in batch:
            flat = {key: batch[key].flatten(1).unsqueeze(2)}
            return super().normalize(flat, modality).squeeze(2)
        return super().normalize(batch, modality)

    def labels(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Take the labels of each modality out of a batch.

        Args:
            batch: Samples with labels.

        Returns:
            Per modality class numbers, shape (batch,), int64, below 0 if unknown; or many-hot
            labels, shape (batch, num_classes), float32.

        Raises:
            ValueError: If labels are missing or do not fit the classes.
        """
        return {
            m: read_labels(
                batch,
                key,
                self.hparams['num_classes'],
                option='label_keys',
                unknown=True,
            )
            for m, key in self.label_keys.items()
        }

    def pairs(self, labels: Mapping[str, Tensor]) -> Tensor:
        """Mark the rows of a batch that are pairs: those that share a class, or all.

        Args:
            labels: What :meth:`labels` gave.

        Returns:
            Shape (batch,), bool.
        """
        a, b = (as_sets(y, self.hparams['num_classes']) for y in labels.values())
        if self.paired:
            return torch.ones(len(a), dtype=torch.bool, device=a.device)
        return (a * b).sum(dim=1) > 0

    def on_validation_epoch_start(self) -> None:
        """Discard what an interrupted pass collected."""
        super().on_validation_epoch_start()
        self.val_labels.reset()
        self._seen = {m: set() for m in self.modalities}

    def on_test_epoch_start(self) -> None:
        """Discard what an interrupted pass collected."""
        super().on_test_epoch_start()
        self.test_labels.reset()
        self._seen = {m: set() for m in self.modalities}

    def _evaluate_batch(
        self, batch: Any, prefix: str, metrics: CrossModalRetrieval, numbers: Tensor
    ) -> dict[str, Tensor]:
        """Log the losses of a batch, collect its embeddings and labels, and give the former."""
        outputs = self(batch)
        self._log_losses(batch, outputs, prefix)
        unit = {m: self._unit(output) for m, output in outputs.items()}
        labels, classes = self.labels(batch), self.hparams['num_classes']
        if len({y.ndim for y in labels.values()}) > 1:
            labels = {m: as_sets(y, classes) for m, y in labels.items()}
        kind = self.hparams['retrieval_features']
        exact = self.hparams['similarity'] == 'euclidean'
        rows = {m: o[kind] for m, o in outputs.items()} if exact else unit
        items = dict.fromkeys(rows, numbers)
        if self.paired:
            metrics.update(unit, numbers)
        else:
            items = {m: _digests(batch[self.keys[m]]) for m in rows}
            new = {m: self._first_seen(item, m) for m, item in items.items()}
            rows = {m: z[new[m]] for m, z in rows.items()}
            labels = {m: y[new[m]] for m, y in labels.items()}
            items = {m: item[new[m]] for m, item in items.items()}
        self._by_label(prefix).update(rows, labels, items)
        return unit

    def _first_seen(self, items: Tensor, modality: str) -> Tensor:
        """Mark items that are new in this pass and on this rank."""
        seen, new = self._seen[modality], []
        for item in items.tolist():
            new.append(item not in seen)
            seen.add(item)
        return torch.tensor(new, device=items.device)

    def _report(self, prefix: str, metrics: CrossModalRetrieval) -> None:
        """Log retrieval by class and the health of the space over a whole loader."""
        by_label = self._by_label(prefix)
        rows = {m: unit_rows(z) for m, z in by_label.embeddings().items()}
        # Without pairs, row i of one modality is unrelated to row i of the other.
        figures = metrics.compute() if self.paired else _health_of_each(rows)
        scores = by_label.compute()
        cross = [f'{a}_to_{b}' for a, b in permutations(self.modalities, 2)]
        for name in {key.removesuffix(f'_{d}') for key in scores for d in cross}:
            each = [scores[f'{name}_{d}'] for d in cross if f'{name}_{d}' in scores]
            if each:  # a run is chosen by retrieval across modalities
                scores[name] = torch.stack(each).mean()
        self.log_dict(
            {f'{prefix}_{k}': v for k, v in (figures | scores).items()}, sync_dist=True
        )
        if not self.trainer.sanity_checking:
            health = verdict(rows)
            if health.collapsed:
                rank_zero_warn(health.sentence, category=CollapseWarning)
        metrics.reset()
        by_label.reset()

    def _by_label(self, prefix: str) -> LabelRetrieval:
        return self.val_labels if prefix == 'val' else self.test_labels


def _digests(rows: Tensor) -> Tensor:
    """Name items by what they hold: one in several pairs counts once, on whatever ranks they are."""
    names = [
        int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:8]) >> 1
        for row in rows.cpu().numpy()
    ]
    return torch.tensor(names, device=rows.device)


def _health_of_each(rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Health figures that need no pairs: those of each modality, and the gap."""
    figures = {'modality_gap': modality_gap(*rows.values())}
    for modality, z in rows.items():
        scores = embedding_health({modality: z})
        figures |= {k: v for k, v in scores.items() if k.endswith(f'_{modality}')}
    return figures
