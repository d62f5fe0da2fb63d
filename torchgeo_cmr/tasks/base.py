"""Base class of all cross-modal tasks: statistics of the data, steps, metrics, embed.

Longer than most modules: Lightning expects the hooks of training, validation and optimiser in one
class, and each of them is documented. What is written and read is in
:mod:`~torchgeo_cmr.tasks.storage.stored_task`.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from typing import Any, Literal

import lightning
import lightning.pytorch.utilities.types
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn

from torchgeo_cmr import freed_memory
from torchgeo_cmr.errors import QueryError, RasterError, check_choice
from torchgeo_cmr.metrics.health import CollapseWarning, verdict
from torchgeo_cmr.metrics.retrieval import CrossModalRetrieval
from torchgeo_cmr.models.fusion import Fusion, check_fusion, fuse
from torchgeo_cmr.transforms.precision import FixedPrecision

from .arguments import plain
from .figures import Figures
from .optim import Optimisation, OptimizerName, ScheduleName
from .ranks import norms_at_rest, sample_numbers, untouched
from .storage.stored_task import StoredTask, without_facts

__all__ = ('CrossModalTask', 'RetrievalFeatures', 'unit_rows')

RetrievalFeatures = Literal['h', 'z']

#: Pairs of a validation that are scored at most: a second on one core, whatever the size of the
#: loader, where training on as many pairs takes a resnet18 at 32 pixels 40 seconds.
VAL_ROWS = 4096


class CrossModalTask(FixedPrecision, StoredTask):
    """Train one encoder per modality so that pictures of one place meet in one space.

    A subclass builds ``self.model`` in :meth:`configure_models`, a network with
    ``forward(x, modality) -> (h, z)``, and turns the outputs of a batch into losses in
    :meth:`compute_losses`. This class does the rest: it normalises raw pixels with the
    statistics of the training data, logs retrieval and health over the whole validation
    loader, warns when an encoder collapses, and makes a checkpoint that is enough to embed.

    Relations: :class:`~torchgeo_cmr.tasks.SSCMRSIR` is the first published method on it.

    Examples:
        >>> from torchgeo_cmr.models import CrossModalEncoder
        >>> class Distance(CrossModalTask):
        ...     def configure_models(self) -> None:
        ...         self.model = CrossModalEncoder(
        ...             {m: nn.Flatten() for m in self.modalities},
        ...             {m: nn.Linear(n, 2) for m, n in self.in_channels.items()},
        ...         )
        ...
        ...     def configure_losses(self) -> None:
        ...         self.distance = nn.MSELoss()
        ...
        ...     def compute_losses(self, outputs):
        ...         a, b = (outputs[m]['z'] for m in self.modalities)
        ...         return {'loss': self.distance(a, b)}
        >>> task = Distance({'s1': 2, 's2': 4}, lr=1e-3)
        >>> task.set_specs({'s2': {'mean': [0.0] * 4, 'std': [1.0] * 4}})
        >>> task.embed({'image_s2': torch.ones(3, 4, 1, 1)}, 's2').norm(dim=1)
        tensor([1., 1., 1.])
    """

    ignore: Sequence[str] | str | None = ('weights',)
    monitor = 'val_recall@10'
    mode = 'max'
    #: Modalities that a task of this class has at least.
    least_modalities = 2

    def __init__(
        self,
        in_channels: dict[str, int],
        *,
        keys: dict[str, str] | None = None,
        bands: dict[str, list[str]] | None = None,
        mean: dict[str, list[float]] | None = None,
        std: dict[str, list[float]] | None = None,
        retrieval_features: RetrievalFeatures = 'z',
        freeze_backbone: bool = False,
        lr: float = 1e-4,
        weight_decay: float = 0.05,
        warmup_epochs: int = 10,
        optimizer: OptimizerName = 'adamw',
        schedule: ScheduleName = 'cosine',
    ) -> None:
        """Initialize a new CrossModalTask instance.

        Args:
            in_channels: Number of channels of each modality; the order of the names is the
                order of the modalities.
            keys: Where a sample holds each modality; ``image_<modality>`` by default.
            bands: Names of the channels of each modality, in order.
            mean: Mean of each channel of each modality, in the units of the raw pixels.
            std: Standard deviation of each channel of each modality. A channel with 0 is ignored.
            retrieval_features: Whether :meth:`embed` gives encoder outputs (``'h'``) or
                projections (``'z'``).
            freeze_backbone: Whether the encoders stay as they are, their batch norm too.
            lr: Learning rate after warm-up.
            weight_decay: Weight decay of matrices and kernels; biases and norms have none.
            warmup_epochs: Epochs of linear warm-up of the cosine schedule, at most a tenth
                of the run.
            optimizer: ``'adamw'`` with betas (0.9, 0.95), ``'adam'``, or ``'sgd'`` without
                momentum.
            schedule: ``'cosine'`` with warm-up, ``'constant'``, or ``'onecycle'`` with *lr* at
                its top; all per step.

        *bands*, *mean* and *std* that are not given come from the data module when fitting
        starts, see :meth:`setup`.

        Raises:
            RasterError: If a list is not as long as the modality has channels, or a number
                is not finite.
            ValueError: If a modality has no usable name, an option is unknown, or nothing is
                left to train.
        """
        statistics = {'bands': bands, 'mean': mean, 'std': std}
        _check_modalities(in_channels, self.least_modalities, keys=keys, **statistics)
        self.in_channels = dict(in_channels)
        self.modalities = tuple(in_channels)
        check_choice('retrieval_features', retrieval_features, RetrievalFeatures)
        Optimisation(lr, weight_decay, warmup_epochs, optimizer, schedule)
        self.keys = {m: f'image_{m}' for m in in_channels} | dict(keys or {})
        #: Encoder of each modality: its name, or while networks are built a network.
        self.models: dict[str, Any] = getattr(self, 'models', {})
        self.assumed_bands = {}
        self._earlier = None
        super().__init__()
        self.register_load_state_dict_pre_hook(without_facts)
        self.own_encoders = tuple(
            m for m, model in self.models.items() if isinstance(model, nn.Module)
        )
        self.models = plain(self.models)
        self.figures = Figures()
        if freeze_backbone:
            self._freeze()
        self._specs = {m: {} for m in self.modalities}
        self._ready = set()
        for modality, channels in in_channels.items():
            for name in ('mean', 'std'):
                unknown_yet = torch.full((channels,), torch.nan, dtype=torch.float32)
                self.register_buffer(f'{name}_{modality}', unknown_yet)
        self.set_specs(
            {
                m: {
                    name: given[m]
                    for name, given in statistics.items()
                    if given and m in given
                }
                for m in self.modalities
            }
        )
        self._given = all(
            given and set(given) == set(in_channels) for given in statistics.values()
        )

    # -- what a method defines -------------------------------------------------------------

    @abstractmethod
    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Turn the outputs of a batch of pairs into losses.

        Args:
            outputs: Per modality ``h``, shape (batch, features), and ``z``, shape
                (batch, dim); rows are paired.

        Returns:
            Scalars: ``loss``, which is minimised, and any others, which are logged.
        """

    def batch_losses(
        self, batch: Mapping[str, Any], outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Turn a batch and its outputs into losses; for methods that need labels.

        Args:
            batch: Samples as a data loader stacks them.
            outputs: What :meth:`forward` made of them.

        Returns:
            What :meth:`compute_losses` makes of the outputs, here without a look at *batch*.
        """
        return self.compute_losses(outputs)

    def _set_hparams(self, hp: Any) -> None:
        """Keep arguments as plain values: a checkpoint with others could not be read back."""
        super()._set_hparams(plain(hp if isinstance(hp, Mapping) else vars(hp)))

    def configure_metrics(self) -> None:
        """Initialize the performance metrics."""
        self.val_metrics = CrossModalRetrieval(
            self.modalities, health=True, max_rows=VAL_ROWS
        )
        self.test_metrics = CrossModalRetrieval(self.modalities, health=True)

    def setup(self, stage: str) -> None:
        """Take the statistics of the training data, unless they are known.

        Fitting also puts the whole task into training mode, for a loaded task is in evaluation
        mode and Lightning would leave it there. If the trainer's data module has a method
        ``describe()``, it is called and fills in what the constructor, or the checkpoint that
        this task came from, left open.

        Args:
            stage: Stage of the trainer; ``'fit'`` always calls ``describe()``, other stages only
                if statistics are missing.

        Raises:
            RasterError: If the data module's bands are not those of the task, or the statistics
                are unknown.
        """
        # Lightning would cast raw pixels to half precision before they are normalised, and lose
        # half of their digits.
        self.trainer.precision_plugin.convert_input = _unchanged
        freed_memory.keep()
        if stage == 'fit':
            self.train()
            if self._trains_on_cpu():
                self._arrange(torch.channels_last)
        describe = getattr(getattr(self.trainer, 'datamodule', None), 'describe', None)
        is_open = stage == 'fit' and not self._given
        if describe is not None and (is_open or self._unknown()):
            described = describe()
            known = self.specs
            for modality in self.modalities:
                spec = described.get(modality)
                if spec is None:
                    raise RasterError(
                        f'the data module describes {", ".join(described)}, but the task has '
                        f'a modality {modality!r}: name them alike'
                    )
                bands, expected = plain(spec.get('bands')), known[modality]['bands']
                if bands and expected and bands != expected:
                    raise RasterError(
                        f'the {modality} bands of the data, {", ".join(map(str, bands))}, are '
                        f'not those of the task, {", ".join(expected)}: select the same bands in '
                        'the same order'
                    )
                additions = {
                    name: value
                    for name, value in spec.items()
                    if known[modality].get(name) in (None, [])
                }
                self.set_specs({modality: additions})
        for modality in self._unknown():
            raise self._no_statistics(modality)

    def teardown(self, stage: str) -> None:
        """Let the trainer cast what it casts for other models.

        Args:
            stage: Stage of the trainer.
        """
        vars(self.trainer.precision_plugin).pop('convert_input', None)
        if stage == 'fit' and self._trains_on_cpu():
            self._arrange(torch.contiguous_format)

    def _trains_on_cpu(self) -> bool:
        """Whether one process trains networks of ours on the CPU.

        There channels last were measured to be quicker. Networks of others may read their
        feature maps in an order of their own, and several processes compare that of gradients.
        """
        cpu = self.trainer.strategy.root_device.type == 'cpu'
        return cpu and self.trainer.world_size == 1 and not self.own_encoders

    def _arrange(self, order: torch.memory_format) -> None:
        """Keep the kernels of convolutions in an order of memory, which features then take."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                part.to(memory_format=order)

    @property
    def fitting(self) -> bool:
        """Whether a trainer is fitting this task at this moment."""
        state = None if self._trainer is None else self._trainer.state
        return state is not None and state.fn == 'fit' and state.status == 'running'

    def on_train_epoch_start(self) -> None:
        """Keep frozen encoders in evaluation mode, for the sake of their batch norm."""
        if self.hparams.get('freeze_backbone'):
            for backbone in self._backbones():
                backbone.eval()

    def _freeze(self) -> None:
        """Exclude the encoders from training."""
        for backbone in self._backbones():
            backbone.requires_grad_(False)
        if not any(p.requires_grad for p in self.parameters()):
            raise ValueError(
                'freeze_backbone=True leaves nothing to train: set it to False, or give the '
                'encoders a head that is trained'
            )

    def _backbones(self) -> list[nn.Module]:
        """The encoders without what is trained on top of them."""
        return [self.model.encoder(modality) for modality in self.modalities]

    def _unknown(self) -> list[str]:
        """Modalities whose statistics are not set."""
        return [
            m
            for m in self.modalities
            if any(self._statistic(name, m).isnan().any() for name in ('mean', 'std'))
        ]

    def _no_statistics(self, modality: str) -> RasterError:
        return RasterError(
            f'the task does not know the mean and standard deviation of {modality}: pass '
            'mean= and std=, call set_specs(), or fit with a data module that has describe()'
        )

    # -- from pixels to features ----------------------------------------------------------

    def normalize(self, batch: Mapping[str, Any], modality: str) -> Tensor:
        """Take the raw pixels of a modality out of a batch and normalise them.

        Args:
            batch: Samples as a data loader stacks them.
            modality: Which modality to take.

        Returns:
            (x - mean) / std, shape (batch, channels, ...), with 0, the mean, wherever the
            input was NaN or infinite.

        Raises:
            QueryError: If the task has no such modality.
            RasterError: If the batch does not hold it, or with another number of channels, or
                the statistics are unknown.
        """
        if modality not in self.in_channels:
            raise self._no_modality(modality)
        key, channels = self.keys[modality], self.in_channels[modality]
        if key not in batch:
            raise RasterError(
                f'the batch has no {key!r} for {modality}, it holds '
                f'{", ".join(sorted(batch)) or "nothing"}: name the sample key with keys='
            )
        x = batch[key]
        if x.ndim < 3 or x.shape[1] != channels:
            bands = self._specs[modality].get('bands')
            expected = f'{channels} ({", ".join(bands)})' if bands else f'{channels}'
            found = f'{x.shape[1]}' if x.ndim >= 3 else f'shape {tuple(x.shape)}'
            raise RasterError(
                f'{modality} needs {expected} channels, found {found} in {key!r}: select the '
                'bands that the task was made for'
            )
        mean, std = self._statistic('mean', modality), self._statistic('std', modality)
        if modality not in self._ready:
            if mean.isnan().any() or std.isnan().any():
                raise self._no_statistics(modality)
            self._ready.add(modality)
        shape = (1, channels) + (1,) * (x.ndim - 2)
        x = x.float() - mean.float().view(shape)
        # In place: allocating another array of this size costs more than the arithmetic.
        x = x.div_(std.float().view(shape)).nan_to_num_(nan=0, posinf=0, neginf=0)
        return x.to(self._input_dtype(modality))

    def _input_dtype(self, modality: str) -> torch.dtype:
        """Type in which the encoder of a modality takes its input."""
        weight = next(self.model.parameters(), None)  # some networks have no weights
        return torch.float32 if weight is None else weight.dtype

    def forward(self, batch: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
        """Encode every modality of a batch.

        Args:
            batch: Samples with all modalities, raw pixels, NaN where there is no data.

        Returns:
            Per modality ``h``, shape (batch, features), and ``z``, shape (batch, dim).
        """
        images = {m: self.normalize(batch, m) for m in self.modalities}
        if hasattr(self.model, 'encode_together'):
            encoded = self.model.encode_together(images)
        else:
            encoded = {m: self.model(x, m) for m, x in images.items()}
        return {m: {'h': h, 'z': z} for m, (h, z) in encoded.items()}

    @torch.no_grad()
    def embed(
        self,
        batch: Mapping[str, Any],
        modality: str | Sequence[str],
        fusion: Fusion = 'concat',
        *,
        raw: bool = False,
    ) -> Tensor:
        """Embed each sample in the common space.

        Call ``task.eval()`` first; otherwise batch norm and dropout make a row depend on the others.

        Args:
            batch: Samples with at least this modality: raw pixels, shape
                (batch, channels, height, width), NaN where there is no data.
            modality: Which modality to embed; or several, for one row per place from all of
                them, in the order given.
            fusion: How several are fused: ``'concat'`` (dim is their sum), ``'mean'``,
                ``'sum'`` or ``'max'``. Each is scaled to unit rows first, so that none
                outweighs another, and so is the result; ``'mean'`` and ``'sum'`` then agree.
                Without effect for a single modality.
            raw: Give features as the network makes them, fused as they are, which published
                chi-square and Euclidean distances compare.

        Returns:
            Unit rows, shape (batch, dim), float32, without gradient. A row of zeros, which a
            ``'linear_relu'`` head or the mean of opposite rows can produce, stays zero. With
            *raw* rows of any length.

        Raises:
            QueryError: If the task has no such modality.
            RasterError: If the batch does not hold it, or with another number of channels, or
                the statistics are unknown.
            ValueError: If *fusion* is unknown.
        """
        check_fusion(fusion)
        names = [modality] if isinstance(modality, str) else list(modality)
        if not names or len(set(names)) < len(names):
            raise QueryError(
                f'a fused embedding needs different modalities, found {names}: name some of '
                f'{", ".join(self.modalities)}'
            )
        rows = self._embed(batch, names, fusion, raw=raw)
        return rows.detach().float() if raw else unit_rows(rows)

    def _embed(
        self,
        batch: Mapping[str, Any],
        names: Sequence[str],
        fusion: Fusion,
        *,
        raw: bool,
    ) -> Tensor:
        """Encode the named modalities and fuse what came out, of any length."""
        rows = []
        for name in names:
            h, z = self.model(self.normalize(batch, name), name)
            output = {'h': h, 'z': z}
            rows.append(self.retrieved(output) if raw else self._unit(output))
        return rows[0] if len(rows) == 1 else fuse(rows, fusion)

    def retrieved(self, output: Mapping[str, Tensor]) -> Tensor:
        """Take the features that retrieval compares; a method may use a part of them.

        Args:
            output: ``h``, shape (batch, features), and ``z``, shape (batch, dim).

        Returns:
            Rows of any length, one for each sample.
        """
        return output[self.hparams['retrieval_features']]

    def _unit(self, output: Mapping[str, Tensor]) -> Tensor:
        """Scale the features that retrieval uses to unit rows, float32."""
        return unit_rows(self.retrieved(output))

    # -- Lightning's steps ----------------------------------------------------------------

    def training_step(
        self, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> Tensor | None:
        """Compute the training loss.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            The loss tensor, or None for a single pair, which has nothing to contrast with. A
            process that has a single pair takes part with batch norm at rest.
        """
        size, alone = self._batch_size(batch), self.trainer.world_size == 1
        if size < 2 and alone:
            rank_zero_warn(
                'a training batch of one pair was skipped: set drop_last=True'
            )
            return None
        with nullcontext() if size > 1 else norms_at_rest(self):
            losses = self.batch_losses(batch, self(batch))
        self.log_dict({f'train_{k}': v for k, v in losses.items()}, batch_size=size)
        return (
            losses['loss'] if alone else losses['loss'] + untouched(self.parameters())
        )

    def validation_step(
        self, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Collect embeddings and log the validation loss.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.
        """
        numbers = self._numbers(batch, batch_idx, dataloader_idx)
        unit = self._evaluate_batch(batch, 'val', self.val_metrics, numbers)
        self.figures.log(self, batch, batch_idx, unit)

    def on_validation_epoch_start(self) -> None:
        """Discard embeddings of a validation that was interrupted."""
        self.val_metrics.reset()

    def on_validation_epoch_end(self) -> None:
        """Log retrieval and health over the whole loader, and one sentence that sums them up."""
        self._report('val', self.val_metrics)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collect embeddings and log the test loss.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.
        """
        numbers = self._numbers(batch, batch_idx, dataloader_idx)
        self._evaluate_batch(batch, 'test', self.test_metrics, numbers)

    def on_test_epoch_start(self) -> None:
        """Discard embeddings of a test that was interrupted."""
        self.test_metrics.reset()

    def on_test_epoch_end(self) -> None:
        """Log retrieval and health over the whole loader, and one sentence that sums them up."""
        self._report('test', self.test_metrics)

    def predict_step(
        self, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> dict[str, Tensor]:
        """Embed every modality that the batch holds.

        Args:
            batch: The output of your DataLoader.
            batch_idx: Integer displaying index of this batch.
            dataloader_idx: Index of the current dataloader.

        Returns:
            Unit rows per modality, each of shape (batch, dim), float32.

        Raises:
            RasterError: If the batch holds none of the task's modalities.
        """
        present = [m for m in self.modalities if self.keys[m] in batch]
        if not present:
            raise RasterError(
                f'the batch holds none of {", ".join(self.keys.values())}, found '
                f'{", ".join(sorted(batch)) or "nothing"}'
            )
        return {m: self.embed(batch, m) for m in present}

    def _batch_size(self, batch: Mapping[str, Any]) -> int:
        """Count the pairs of a batch; 0 if its first modality is missing."""
        first = batch.get(self.keys[self.modalities[0]])
        return 0 if first is None else len(first)

    def _numbers(self, batch: Any, batch_idx: int, dataloader_idx: int) -> Tensor:
        """Number the samples of a batch, so that each is scored once."""
        size = self._batch_size(batch)
        numbers = sample_numbers(self.trainer, batch_idx, dataloader_idx, size)
        return numbers.to(self.device)

    def _evaluate_batch(
        self, batch: Any, prefix: str, metrics: CrossModalRetrieval, numbers: Tensor
    ) -> dict[str, Tensor]:
        """Log the losses of a batch, collect its embeddings and give them by modality."""
        outputs = self(batch)
        self._log_losses(batch, outputs, prefix)
        unit = {m: self._unit(output) for m, output in outputs.items()}
        metrics.update(unit, numbers)
        return unit

    def _log_losses(self, batch: Any, outputs: Any, prefix: str) -> None:
        """Log the losses of a batch that is not trained on."""
        losses = self.batch_losses(batch, outputs)
        self.log_dict(
            {f'{prefix}_{name}': loss for name, loss in losses.items()},
            batch_size=self._batch_size(batch),
            sync_dist=True,
        )

    def _report(self, prefix: str, metrics: CrossModalRetrieval) -> None:
        """Log the metrics of a whole loader and discard its embeddings."""
        scores = metrics.compute()
        # They are equal on all ranks already; Lightning warns without sync_dist.
        self.log_dict({f'{prefix}_{k}': v for k, v in scores.items()}, sync_dist=True)
        if not self.trainer.sanity_checking:
            health = verdict(metrics.embeddings())
            if health.collapsed:
                rank_zero_warn(health.sentence, category=CollapseWarning)
            else:
                rank_zero_info(f'{prefix}: {health.sentence}')
        metrics.reset()

    def configure_optimizers(
        self,
    ) -> 'lightning.pytorch.utilities.types.OptimizerLRScheduler':
        """Initialize the optimiser and its schedule, which moves with every step.

        Returns:
            Optimizer and learning rate scheduler.
        """
        # From hparams, not from a field: a learning rate finder changes them.
        names = [field.name for field in fields(Optimisation)]
        optimisation = Optimisation(**{name: self.hparams[name] for name in names})
        optimizer = optimisation.build_optimizer(self.parameters())
        scheduler = optimisation.build_schedule(
            optimizer,
            steps=self.trainer.estimated_stepping_batches,
            epochs=self.trainer.max_epochs or 1,
            restart_epoch=self._restart_epoch(),
        )
        return {
            'optimizer': optimizer,
            'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'},
        }

    def _restart_epoch(self) -> int:
        """Epoch at which the schedule starts anew, for methods of two stages; 0 for none."""
        return 0


def _unchanged(data: Any) -> Any:
    """Return a batch as it is."""
    return data


def unit_rows(features: Tensor) -> Tensor:
    """Scale rows to length one, float32, without gradient; an all-zero row stays zero."""
    return nn.functional.normalize(features.detach().float(), dim=1)


def _check_modalities(
    in_channels: Mapping[str, int], least: int, **options: Mapping[str, Any] | None
) -> None:
    """Refuse names and channel counts that cannot become parts of a module.

    The options have an entry for some of the modalities, and for nothing else.
    """
    if len(in_channels) < least:
        number = 'two or more modalities' if least > 1 else 'a modality'
        raise ValueError(
            f'a cross-modal task needs {number} in in_channels, found '
            f'{", ".join(in_channels) or "none"}'
        )
    for modality, channels in in_channels.items():
        if not modality.isidentifier() or hasattr(nn.ModuleDict, modality):
            raise ValueError(
                f'{modality!r} cannot name a modality: use a short lower-case identifier '
                'such as s1'
            )
        if channels < 1:
            raise ValueError(f'{modality} needs at least 1 channel, found {channels}')
    for option, entries in options.items():
        unknown = sorted(set(entries or {}) - set(in_channels))
        if unknown:
            raise ValueError(
                f'{option} names {", ".join(unknown)}, but the modalities are '
                f'{", ".join(in_channels)}'
            )
