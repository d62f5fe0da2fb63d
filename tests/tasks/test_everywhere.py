"""Every task under every way in which Lightning runs it: precisions, trials, interruptions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.tasks import (
    SSCMRSIR,
    CMIRNet,
    CMIRPretrain,
    CrossModalTask,
    SupervisedCMR,
    load_task,
)

MEAN = {'s1': [-12.0, -12.0], 's2': [2219.0, 2219.0, 2219.0]}
STD = {'s1': [5.0, 5.0], 's2': [30.0, 30.0, 30.0]}
CHANNELS = {'s1': 2, 's2': 3}

# untrained encoders of so few features look collapsed at times, which is not the point here
pytestmark = pytest.mark.filterwarnings(
    'ignore::torchgeo_cmr.metrics.health.CollapseWarning'
)


def tiny(channels: int) -> nn.Module:
    """A network of the test's own with batch norm, the smallest that can be trained."""
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3)
    )


NETS: Any = {m: tiny(n) for m, n in CHANNELS.items()}
NAMES: dict[str, Callable[..., CrossModalTask]] = {
    'separate': lambda **more: SSCMRSIR(CHANNELS, NETS, output_dim=8, **more),
    'joint': lambda **more: SSCMRSIR(
        CHANNELS, tiny(32), variant='joint', output_dim=8, **more
    ),
    'aligned': lambda **more: SSCMRSIR(
        CHANNELS, tiny(2), preset='aligned', two_heads=True, output_dim=8, **more
    ),
    'supervised': lambda **more: SupervisedCMR(CHANNELS, 4, NETS, output_dim=8, **more),
    'pretrain': lambda **more: CMIRPretrain(CHANNELS, 4, NETS, feature_dim=8, **more),
    'unified': lambda **more: CMIRNet(
        CHANNELS, 4, NETS, feature_dim=8, output_dim=4, **more
    ),
    'stages': lambda **more: CMIRNet(
        CHANNELS, 4, NETS, feature_dim=8, output_dim=4, pretrain_epochs=1, **more
    ),
}

MODELS: dict[str, Any] = dict.fromkeys(NAMES, NETS) | {
    'joint': tiny(32),
    'aligned': tiny(2),
}

#: Every task; the default suite takes the first and the one of two stages.
EACH = pytest.mark.parametrize(
    'name',
    [
        n if n in ('separate', 'stages') else pytest.param(n, marks=pytest.mark.slow)
        for n in NAMES
    ],
)

type MakeTrainer = Callable[..., Trainer]


def samples(num: int, *, empty: int = 0) -> list[dict[str, Tensor]]:
    """Pairs at the scale of real reflectance, the first of them without a pixel."""
    random = torch.Generator().manual_seed(0)
    made = []
    for i in range(num):
        sample = {'label': torch.tensor(i % 4)}
        for m, channels in CHANNELS.items():
            noise = torch.randn(channels, 16, 16, generator=random)
            image = noise * STD[m][0] + MEAN[m][0]
            sample[f'image_{m}'] = image * torch.nan if i < empty else image
        made.append(sample)
    return made


class Data(LightningDataModule):
    """Pairs with classes, for training and validation."""

    def __init__(self, num: int = 18, *, empty: int = 0, batch_size: int = 8) -> None:
        super().__init__()
        self.rows: Any = samples(num, empty=empty)
        self.batch_size = batch_size

    def describe(self) -> dict[str, dict[str, Any]]:
        return {
            m: {'bands': [*'abc'][:n], 'mean': MEAN[m], 'std': STD[m]}
            for m, n in CHANNELS.items()
        }

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.rows, self.batch_size)

    val_dataloader = train_dataloader


@pytest.mark.filterwarnings('ignore:You are using `torch.load`')
@pytest.mark.filterwarnings('ignore:.*AMP with fp16 is not supported on CPU')
@pytest.mark.filterwarnings('ignore:.*You requested to overfit')
@pytest.mark.parametrize(
    'options',
    [
        {'precision': 'bf16-true'},
        {'precision': 'bf16-mixed', 'limit_train_batches': 1, 'limit_val_batches': 1},
        {'precision': '16-mixed', 'overfit_batches': 1},
        {'precision': '64-true', 'limit_val_batches': 0},
        {'fast_dev_run': True},
        {'max_epochs': -1, 'max_steps': 4, 'accumulate_grad_batches': 2},
    ],
    ids=lambda options: '-'.join(map(str, options.values())),
)
@EACH
def test_trains(name: str, options: dict[str, Any], make_trainer: MakeTrainer) -> None:
    more = {'weight_schedule': 'constant'} if name in ('separate', 'joint') else {}
    task = NAMES[name](**more)
    before = {n: p.clone() for n, p in task.named_parameters()}
    trainer = make_trainer(**{'max_epochs': 2, **options})
    trainer.fit(task, Data(16))
    after = dict(task.named_parameters())
    assert all(p.isfinite().all() for p in after.values())
    assert any(not torch.equal(before[n], p.to(before[n])) for n, p in after.items())
    for m in CHANNELS:
        found = task.specs[m]
        assert (found['mean'], found['std']) == (MEAN[m], STD[m])


@pytest.mark.parametrize('precision', ['32-true', 'bf16-true', 'bf16-mixed'])
def test_raw_pixels_are_normalised_in_full_precision(
    precision: str, make_trainer: MakeTrainer
) -> None:
    task = NAMES['separate']()
    seen: list[Tensor] = []
    task.model.backbones['s2'].register_forward_pre_hook(
        lambda _, args: seen.append(args[0].float())
    )
    trainer = make_trainer(precision=precision, limit_train_batches=1)
    trainer.fit(task, Data(16))
    assert abs(seen[-1].mean()) < 0.05
    assert abs(seen[-1].std() - 1) < 0.05
    # the trainer casts the batches of another model as before
    assert 'convert_input' not in vars(trainer.precision_plugin)


def test_statistics_are_never_cast() -> None:
    task = NAMES['separate'](mean=MEAN, std=STD)
    for cast in (task.to(torch.bfloat16), task.half(), task.double(), task.float()):
        assert cast.mean_s2.dtype == torch.float32
        assert cast.specs['s2']['mean'] == MEAN['s2']
    other = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert NAMES['separate'](mean=MEAN, std=STD).specs == task.specs
    finally:
        torch.set_default_dtype(other)


@EACH
def test_more_empty_chips_than_a_batch(name: str, make_trainer: MakeTrainer) -> None:
    task = NAMES[name]()
    make_trainer(max_epochs=2).fit(task, Data(24, empty=20))
    assert all(p.isfinite().all() for p in task.parameters())


class Stop(Callback):
    """Raises in the second epoch, which is stage B of a run of two stages."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def on_train_batch_start(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        if trainer.current_epoch == 1:
            raise self.error('stopped')


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
@EACH
def test_a_run_that_was_stopped_leaves_nothing_frozen(
    name: str, error: type[BaseException], make_trainer: MakeTrainer
) -> None:
    task, wants = NAMES[name](), {}
    for n, parameter in task.named_parameters():
        wants[n] = parameter.requires_grad
    with pytest.raises((SystemExit, RuntimeError)):
        make_trainer(max_epochs=3, callbacks=[Stop(error)]).fit(task, Data(16))
    assert {n: p.requires_grad for n, p in task.named_parameters()} == wants
    assert not task.fitting
    before = {n: p.clone() for n, p in task.named_parameters()}
    trainer = make_trainer(max_epochs=2)
    trainer.fit(task, Data(16))
    held = sum(
        p.numel() for g in trainer.optimizers[0].param_groups for p in g['params']
    )
    assert held == sum(p.numel() for n, p in task.named_parameters() if wants[n])
    encoder = task.model.encoder('s1')
    names = {id(p): n for n, p in task.named_parameters()}
    assert any(not torch.equal(before[names[id(p)]], p) for p in encoder.parameters())


def test_stage_b_leaves_the_encoders_to_stage_a(make_trainer: MakeTrainer) -> None:
    """Not even weight decay moves them, whatever the optimiser remembers."""
    task = NAMES['stages'](optimizer='adamw', weight_decay=0.5, lr=1e-2)
    kept: dict[str, Tensor] = {}

    class Look(Callback):
        def on_train_epoch_start(self, trainer: Trainer, *_: Any, **__: Any) -> None:
            if trainer.current_epoch == 1:
                state = task.model.stage_a.state_dict()
                kept.update({k: v.clone() for k, v in state.items()})

    make_trainer(max_epochs=3, callbacks=[Look()]).fit(task, Data(16))
    after = task.model.stage_a.state_dict()
    assert kept
    assert all(torch.equal(after[k], v) for k, v in kept.items())


@EACH
def test_frozen_backbones_stand_still(name: str, make_trainer: MakeTrainer) -> None:
    task = NAMES[name](freeze_backbone=True, mean=MEAN, std=STD)
    assert task.hparams['freeze_backbone']
    encoder = task.model.encoder('s1')
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    others = [p for p in task.parameters() if p.requires_grad]
    first = [p.clone() for p in others]
    make_trainer(max_epochs=2).fit(task, Data(16))
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert any(not torch.equal(a, b) for a, b in zip(first, others, strict=True))


def test_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match='leaves nothing to train'):
        SSCMRSIR(
            CHANNELS, NETS, mim_weight=0, retrieval_features='h', freeze_backbone=True
        )


@pytest.mark.slow
@EACH
def test_arguments_of_numpy_are_kept_as_plain_values(
    name: str, make_trainer: MakeTrainer, tmp_path: Any
) -> None:
    task = NAMES[name](
        lr=np.logspace(-4, -2, 3)[1],
        weight_decay=np.float32(0.5),
        warmup_epochs=np.int64(2),
        mean={m: np.array(v) for m, v in MEAN.items()},
        std={m: torch.tensor(v) for m, v in STD.items()},
        bands={m: tuple('abc'[:n]) for m, n in CHANNELS.items()},
    )
    trainer = make_trainer(max_epochs=2)
    trainer.fit(task, Data(16))
    trainer.save_checkpoint(tmp_path / 'x.ckpt')
    loaded = load_task(tmp_path / 'x.ckpt', model=MODELS[name])
    assert loaded.space == task.space
    assert loaded.specs == task.specs
    assert loaded.hparams['lr'] == 1e-3
    # Lightning can go on from it as well
    make_trainer(max_epochs=3).fit(
        loaded, Data(16), ckpt_path=tmp_path / 'x.ckpt', weights_only=True
    )


@EACH
def test_compiled_encoders_save_plain_names(
    name: str, make_trainer: MakeTrainer, tmp_path: Any
) -> None:
    task = NAMES[name](mean=MEAN, std=STD)
    space = task.space
    for part in task.model.modules():
        for child, net in list(part.named_children()):
            if any(net is task.model.encoder(m) for m in CHANNELS):
                setattr(part, child, torch.compile(net, backend='eager'))
    assert any('_orig_mod' in key for key in task.state_dict())
    assert task.space == space
    trainer = make_trainer(max_epochs=0)
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / 'x.ckpt')
    loaded = load_task(tmp_path / 'x.ckpt', model=MODELS[name])
    assert loaded.space == space
    # and into a task that is compiled itself
    task.on_load_checkpoint(saved := torch.load(tmp_path / 'x.ckpt', weights_only=True))
    task.load_state_dict(saved['state_dict'])
    path = task.save_encoder(tmp_path / 'encoder.pt', 's1')
    assert not any('_orig_mod' in key for key in torch.load(path, weights_only=True))


class Writer:
    """What TensorBoard offers."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def add_figure(self, tag: str, figure: Any, **_: Any) -> None:
        self.drawn.append(tag)


class Drawing(Logger):
    """A logger that takes figures."""

    name = version = 'drawing'

    def __init__(self) -> None:
        super().__init__()
        self.experiment = Writer()

    def log_metrics(self, *_: Any, **__: Any) -> None:
        pass

    log_hyperparams = log_metrics


class Plotting(Data):
    """Data that can be drawn, or not."""

    def plot(self, sample: dict[str, Tensor]) -> Any:
        from matplotlib import pyplot as plt

        assert sample['image_s2'].shape == (3, 16, 16)
        return plt.figure()


@pytest.mark.slow
@EACH
def test_first_validation_batches_are_drawn(
    name: str, make_trainer: MakeTrainer
) -> None:
    logger, task = Drawing(), NAMES[name](mean=MEAN, std=STD)
    make_trainer(logger=logger, max_epochs=2).fit(task, Plotting(24, batch_size=2))
    # ten batches at most, and none while Lightning checks its sanity
    samples = [tag for tag in logger.experiment.drawn if tag.startswith('image/')]
    assert samples == [f'image/{i}' for i in range(10)] * 2


def test_a_plot_that_fails_is_reported_once(make_trainer: MakeTrainer) -> None:
    data = Plotting(16)
    data.plot = lambda sample: 1 / 0
    with pytest.warns(UserWarning, match='samples are not drawn: division by zero'):
        make_trainer(logger=Drawing(), max_epochs=1).fit(NAMES['pretrain'](), data)


def test_names_and_units_come_back_with_the_weights() -> None:
    """Spawned processes hand back a state dict and nothing else."""
    task, other = NAMES['stages'](mean=MEAN, std=STD), NAMES['stages']()
    task.set_specs({'s1': {'bands': ['VV', 'VH'], 'units': 'db', 'gsd': 10.0}})
    other.load_state_dict(task.state_dict())
    assert other.specs == task.specs
    # earlier versions wrote none
    old = {k: v for k, v in task.state_dict().items() if k != '_extra_state'}
    NAMES['stages']().load_state_dict(old)


def test_a_device_that_is_not_here_is_named(tmp_path: Any) -> None:
    path = tmp_path / 'x.ckpt'
    path.write_bytes(b'')
    absent = 'cuda:63' if torch.cuda.is_available() else 'cuda'
    for device in (absent, 'nonsense'):
        with pytest.raises(
            CMRError, match=f'cannot load to {device}, which this machine does not have'
        ):
            load_task(path, map_location=device)


class _Stop(Callback):
    """An error in the second validation batch, which is seen."""

    def on_validation_batch_end(
        self,
        trainer: Any,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 1:
            raise RuntimeError('stop')


@pytest.mark.parametrize('name', ['separate', 'supervised'])
def test_a_validation_that_was_stopped_counts_for_nothing(
    name: str, make_trainer: MakeTrainer
) -> None:
    data, task = Data(), NAMES[name](mean=MEAN, std=STD)
    (expected,) = make_trainer().validate(task, data)
    with pytest.raises(RuntimeError, match='stop'):
        make_trainer(callbacks=[_Stop()]).validate(task, data)
    assert make_trainer().validate(task, data) == [expected]
