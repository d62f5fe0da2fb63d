import logging
import math
from collections.abc import Callable
from logging.handlers import MemoryHandler
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchgeo.tasks import BaseTask

from torchgeo_cmr.errors import ArchiveError, QueryError, RasterError
from torchgeo_cmr.metrics import CollapseWarning
from torchgeo_cmr.tasks import SSCMRSIR, CrossModalTask

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
]

Make = Callable[..., SSCMRSIR]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def batch(make_loader: Callable) -> dict[str, Tensor]:
    return next(iter(make_loader(6)))


class TestEmbed:
    def test_unit_rows_without_gradient(
        self, make_task: Make, batch: dict[str, Tensor]
    ) -> None:
        task = make_task().eval()
        for modality in task.modalities:
            z = task.embed(batch, modality)
            assert z.shape == (6, 32)
            assert z.dtype == torch.float32
            assert not z.requires_grad
            torch.testing.assert_close(z.norm(dim=1), torch.ones(6))
        assert not torch.allclose(task.embed(batch, 's1'), task.embed(batch, 's2'))

    def test_one_modality_is_enough_and_rows_stand_alone(
        self, make_task: Make, batch: dict[str, Tensor]
    ) -> None:
        task = make_task().eval()
        whole = task.embed(batch, 's1')
        alone = task.embed({'image_s1': batch['image_s1'][2:3].double()}, 's1')
        torch.testing.assert_close(alone, whole[2:3], atol=1e-5, rtol=0)

    def test_encoder_outputs_on_request(
        self, make_task: Make, batch: dict[str, Tensor]
    ) -> None:
        task = make_task(retrieval_features='h').eval()
        h = task(batch)['s2']['h'].detach()
        torch.testing.assert_close(
            task.embed(batch, 's2'), torch.nn.functional.normalize(h, dim=1)
        )

    def test_normalises_raw_pixels_and_reads_nodata_as_the_mean(
        self, make_task: Make, batch: dict[str, Tensor]
    ) -> None:
        task = make_task().eval()
        x = batch['image_s1'].clone()
        x[0, 0, :4] = torch.nan
        x[1, 1, 0, 0] = -torch.inf
        before = x.clone()
        found = task.normalize({'image_s1': x}, 's1')
        expected = (x + 12) / 5
        expected[0, 0, :4] = 0
        expected[1, 1, 0, 0] = 0
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(x, before, equal_nan=True)
        filled = x.clone()
        filled[0, 0, :4] = -12
        filled[1, 1, 0, 0] = -12
        torch.testing.assert_close(
            task.embed({'image_s1': x}, 's1'), task.embed({'image_s1': filled}, 's1')
        )

    def test_a_constant_band_is_ignored(
        self, make_task: Make, batch: dict[str, Tensor]
    ) -> None:
        task = make_task(std={'s1': [5.0, 0.0], 's2': [1.0, 1.0, 1.0]})
        assert not task.normalize(batch, 's1')[:, 1].any()

    def test_says_what_is_wrong(
        self, make_task: Make, batch: dict[str, Tensor]
    ) -> None:
        task = make_task()
        with pytest.raises(QueryError, match="no modality 'pan': it knows s1, s2"):
            task.embed(batch, 'pan')
        with pytest.raises(
            RasterError, match="no 'image_s1' for s1, it holds image_s2"
        ):
            task.embed({'image_s2': batch['image_s2']}, 's1')
        with pytest.raises(
            RasterError, match=r's1 needs 2 \(VV, VH\) channels, found 3'
        ):
            task.embed({'image_s1': batch['image_s2']}, 's1')
        with pytest.raises(RasterError, match=r'found shape \(6,\)'):
            task.embed({'image_s1': torch.zeros(6)}, 's1')
        unknown = make_task(mean=None)
        with pytest.raises(RasterError, match=r'does not know the mean .* of s1: pass'):
            unknown.embed(batch, 's1')

    def test_custom_key(self, make_task: Make, batch: dict[str, Tensor]) -> None:
        task = make_task(keys={'s1': 'radar'}).eval()
        assert task.keys == {'s1': 'radar', 's2': 'image_s2'}
        assert len(task.embed({'radar': batch['image_s1']}, 's1')) == 6


class TestStatistics:
    def test_come_from_the_data_module(
        self, make_task: Make, make_trainer: MakeTrainer, data: Any
    ) -> None:
        task = make_task(mean=None, std=None, bands=None)
        assert task.specs['s1'] == {
            'bands': [], 'mean': [], 'std': [], 'gsd': None, 'patch_size': None,
            'units': None, 'nodata': None,
        }  # fmt: skip
        make_trainer().fit(task, data)
        assert data.asked == 1
        assert task.specs == {
            's1': {
                'bands': ['VV', 'VH'], 'mean': [-12.0, -12.0], 'std': [5.0, 5.0],
                'gsd': 10.0, 'patch_size': 16, 'units': 'db', 'nodata': None,
            },
            's2': {
                'bands': ['B02', 'B03', 'B04'], 'mean': [1000.0] * 3, 'std': [500.0] * 3,
                'gsd': 10.0, 'patch_size': 16, 'units': 'reflectance', 'nodata': 0,
            },
        }  # fmt: skip

    @pytest.mark.slow
    def test_given_ones_win(
        self, make_task: Make, make_trainer: MakeTrainer, data: Any
    ) -> None:
        task = make_task()
        make_trainer().fit(task, data)
        assert data.asked == 0
        task = make_task(mean={'s1': [-10.0, -20.0]}, std=None, bands=None)
        make_trainer().fit(task, data)
        assert data.asked == 1
        assert task.specs['s1']['mean'] == [-10.0, -20.0]
        assert task.specs['s1']['std'] == [5.0, 5.0]
        assert task.specs['s2']['mean'] == [1000.0] * 3

    def test_an_untrained_task_can_be_validated(
        self, make_task: Make, make_trainer: MakeTrainer, data: Any
    ) -> None:
        task = make_task(mean=None, std=None, bands=None)
        make_trainer().validate(task, data, verbose=False)
        assert task.specs['s1']['units'] == 'db'

    def test_nobody_knows_them(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        with pytest.raises(RasterError, match=r'does not know the mean .* of s2'):
            make_trainer().fit(make_task(std={'s1': [1.0, 1.0]}), make_loader(8))

    def test_other_bands_are_refused(
        self, make_task: Make, make_trainer: MakeTrainer, make_data: Callable
    ) -> None:
        data = make_data({'s1': ['VH', 'VV'], 's2': ['B02', 'B03', 'B04']})
        with pytest.raises(
            RasterError, match='VH, VV, are not those of the task, VV, VH'
        ):
            make_trainer().fit(make_task(mean=None), data)
        data = make_data({'s1': ['VV'], 's2': ['B02', 'B03', 'B04']})
        with pytest.raises(
            RasterError, match='s1 has 2 channels and needs as many bands'
        ):
            make_trainer().fit(make_task(mean=None, bands=None), data)

    def test_other_modalities_are_refused(
        self, make_trainer: MakeTrainer, data: LightningDataModule
    ) -> None:
        task = SSCMRSIR({'s1': 2, 'ms': 3}, model='test_resnet')
        with pytest.raises(
            RasterError, match=r"describes s1, s2, but .* modality 'ms'"
        ):
            make_trainer().fit(task, data)

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (
                {'mean': {'s1': [1.0]}},
                's1 has 2 channels and needs as many mean, found 1',
            ),
            ({'bands': {'s2': ['B02']}}, 's2 has 3 channels and needs as many bands'),
            ({'mean': {'s1': [1.0, math.nan]}}, 'mean of s1 must be finite, found'),
            ({'std': {'s1': [1.0, -1.0]}}, 'std of s1 must be finite and at least 0'),
            ({'std': {'s3': [1.0]}}, 'std names s3, but the modalities are s1, s2'),
            ({'keys': {'pan': 'x'}}, 'keys names pan'),
            ({'retrieval_features': 'y'}, "'h' or 'z', found 'y'"),
        ],
    )
    def test_bad_ones_are_refused(
        self, make_task: Make, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            make_task(**options)


@pytest.mark.parametrize(
    ('in_channels', 'message'),
    [
        ({'s1': 2, 'sentinel 2': 3}, "'sentinel 2' cannot name a modality"),
        ({'s1': 2, 'keys': 3}, "'keys' cannot name a modality"),
        ({'s1': 2, 's2': 0}, 's2 needs at least 1 channel, found 0'),
    ],
)
def test_bad_modalities_are_refused(in_channels: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SSCMRSIR(in_channels, model='test_resnet')


def test_is_a_task_of_torchgeo(make_task: Make) -> None:
    task = make_task()
    assert isinstance(task, BaseTask)
    assert (task.monitor, task.mode) == ('val_recall@10', 'max')
    assert 'weights' not in task.hparams
    assert task.hparams['in_channels'] == {'s1': 2, 's2': 3}
    # Lightning would drop the user's own checkpoint callback
    assert 'configure_callbacks' not in vars(CrossModalTask) | vars(SSCMRSIR)


class Constant(CrossModalTask):
    """A method of somebody else, whose second encoder says the same of everything."""

    def __init__(
        self, in_channels: dict[str, int], alive: bool = False, **others: Any
    ) -> None:
        self.alive = alive
        super().__init__(in_channels, **others)

    def configure_models(self) -> None:
        alive = self.alive

        class Model(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(1))

            def forward(self, x: Tensor, modality: str) -> tuple[Tensor, Tensor]:
                rows = x.flatten(1)[:, :40] * self.weight
                if modality == 's2' and not alive:
                    rows = torch.ones_like(rows) + 1e-4 * rows
                return rows, rows

        self.model = Model()

    def compute_losses(
        self, outputs: dict[str, dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        return {'loss': (outputs['s1']['z'] - outputs['s2']['z']).square().mean()}


MEANS = {'s1': [-12.0] * 2, 's2': [1000.0] * 3}
STDS = {'s1': [5.0] * 2, 's2': [500.0] * 3}


class TestSteps:
    def test_logs_what_it_promises(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        trainer, task = make_trainer(), make_task()
        trainer.fit(task, make_loader(16, batch_size=8), make_loader(40))
        names = set(trainer.callback_metrics)
        terms = ('loss', 'mim', 'mde', 'is', 'ramp')
        assert {f'{p}_{t}' for p in ('train', 'val') for t in terms} <= names
        directions = ('', '_s1_to_s2', '_s2_to_s1')
        assert {f'val_recall@{k}{d}' for k in (1, 5, 10) for d in directions} <= names
        health = ('uniformity', 'embedding_std', 'effective_rank', 'spread')
        assert {f'val_{h}{m}' for h in health for m in ('', '_s1', '_s2')} <= names
        assert {'val_modality_gap', 'val_alignment'} <= names
        assert not any(set('/>') & set(name) for name in names)
        trainer.test(task, make_loader(40), verbose=False)
        tested = set(trainer.callback_metrics)
        assert tested == {
            n.replace('val', 'test', 1) for n in names if n.startswith('val')
        }

    def test_retrieval_is_over_the_whole_loader(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task, trainer = make_task().eval(), make_trainer()
        whole = trainer.validate(task, make_loader(50), verbose=False)[0]
        parts = trainer.validate(task, make_loader(50, batch_size=7), verbose=False)[0]
        # ten of seven would always be found
        assert parts['val_recall@10'] == whole['val_recall@10'] < 0.6
        assert parts['val_modality_gap'] == pytest.approx(
            whole['val_modality_gap'], 1e-4
        )

    def test_predicts_the_modalities_that_are_there(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task, trainer = make_task().eval(), make_trainer()
        loader = make_loader(8, batch_size=4)
        found: Any = trainer.predict(task, loader)
        assert [set(part) for part in found] == [{'s1', 's2'}] * 2
        only: Any = [{'image_s2': sample['image_s2']} for sample in loader.dataset]
        last: Any = (trainer.predict(task, DataLoader(only, 4)) or [])[1]
        expected = task.embed(list(loader)[1], 's2')
        torch.testing.assert_close(last['s2'], expected)
        assert set(last) == {'s2'}
        with pytest.raises(
            RasterError, match='none of image_s1, image_s2, found label'
        ):
            task.predict_step({'label': torch.zeros(2)}, 0)

    @pytest.mark.filterwarnings('ignore:.*training_step` returned `None`')
    def test_a_single_pair_is_skipped_with_a_warning(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        with pytest.warns(
            UserWarning, match='batch of one pair was skipped: set drop_last'
        ):
            make_trainer().fit(make_task(), make_loader(9, batch_size=8))

    @pytest.mark.slow
    def test_csv_logger_and_checkpoint_choose_by_recall(
        self,
        make_task: Make,
        make_trainer: MakeTrainer,
        make_loader: Callable,
        tmp_path: Any,
    ) -> None:
        from lightning.pytorch.callbacks import ModelCheckpoint

        best = ModelCheckpoint(
            tmp_path / 'best',
            '{epoch}-{val_recall@10:.3f}',
            monitor='val_recall@10',
            mode='max',
        )
        trainer = make_trainer(
            logger=CSVLogger(tmp_path), enable_checkpointing=True, callbacks=[best]
        )
        trainer.fit(make_task(), make_loader(16, batch_size=8), make_loader(20))
        assert best.best_model_score == trainer.callback_metrics['val_recall@10']
        assert 'val_recall@10=0.' in best.best_model_path
        header = next(tmp_path.rglob('metrics.csv')).read_text().splitlines()[0]
        assert 'val_recall@10_s1_to_s2' in header.split(',')


def test_kernels_are_channels_last_while_one_process_trains_on_a_cpu(
    make_task: Make, make_trainer: MakeTrainer, data: Any
) -> None:
    orders: list[bool] = []

    class Watch(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
            orders.append(_is_last(pl_module))

    def fit(task: Any) -> bool:
        make_trainer(callbacks=[Watch()], limit_val_batches=0).fit(task, data)
        return _is_last(task)

    assert not fit(make_task())
    # Others may read their feature maps in an order of their own.
    networks = {
        m: nn.Sequential(nn.Conv2d(n, 8, 3), nn.ReLU())
        for m, n in (('s1', 2), ('s2', 3))
    }
    assert not fit(make_task(model=networks))
    assert orders == [True, False]


def _is_last(task: nn.Module) -> bool:
    """Whether the kernels of a task are laid out channels last, and only so."""
    kernels = [
        part.weight
        for part in task.modules()
        if isinstance(part, nn.Conv2d) and part.kernel_size > (1, 1)
    ]
    assert kernels
    return all(
        kernel.is_contiguous(memory_format=torch.channels_last)
        and not kernel.is_contiguous()
        for kernel in kernels
    )


class TestCollapse:
    def test_constant_encoder_is_called_collapsed(
        self, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task = Constant({'s1': 2, 's2': 3}, mean=MEANS, std=STDS)
        with pytest.warns(
            CollapseWarning, match='the s2 encoder has collapsed'
        ) as caught:
            make_trainer().validate(task, make_loader(40), verbose=False)
        assert len([w for w in caught if w.category is CollapseWarning]) == 1
        with pytest.warns(CollapseWarning):
            make_trainer().fit(task, make_loader(16), make_loader(40))

    def test_healthy_encoder_is_not(
        self,
        make_trainer: MakeTrainer,
        make_loader: Callable,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Lightning keeps to itself what it logs, which older ones of pytest do not see.
        heard = MemoryHandler(100)
        monkeypatch.setattr(logging.getLogger('lightning.pytorch'), 'handlers', [heard])
        # warnings are errors in this suite
        task = Constant({'s1': 2, 's2': 3}, alive=True, mean=MEANS, std=STDS)
        with caplog.at_level('INFO', 'lightning.pytorch'):
            make_trainer().validate(task, make_loader(40), verbose=False)
        messages = [record.getMessage() for record in heard.buffer]
        said = [m for m in messages if 'the embeddings are spread out' in m]
        assert len(said) == 1
        assert said[0].startswith('val: the embeddings are spread out: s1 uses ')

    def test_diverged_encoder_is_named_and_earns_nothing(
        self, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task = Constant({'s1': 2, 's2': 3}, alive=True, mean=MEANS, std=STDS)
        task.model.weight.data.fill_(math.nan)
        trainer = make_trainer()
        with pytest.warns(CollapseWarning, match='are not finite'):
            trainer.validate(task, make_loader(40), verbose=False)
        assert trainer.callback_metrics['val_recall@10'] <= 10 / 40


class TestOptimizer:
    @pytest.mark.slow
    def test_warm_up_and_cosine_per_step(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task, rates = make_task(lr=1e-3), []
        trainer = make_trainer(max_epochs=15, limit_train_batches=2)
        task.on_train_batch_start = lambda *_: rates.append(  # ty: ignore[invalid-assignment]
            trainer.optimizers[0].param_groups[0]['lr']
        )
        trainer.fit(task, make_loader(16, batch_size=8))
        # a tenth of 30 steps climbs, the rest falls to almost nothing
        assert rates[:3] == pytest.approx([0.25e-3, 0.5e-3, 0.75e-3])
        assert max(rates) == pytest.approx(1e-3) == rates[3]
        assert rates[3:] == sorted(rates[3:], reverse=True)
        assert rates[-1] < 1e-5

    def test_norms_and_biases_do_not_decay(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task, trainer = make_task(weight_decay=0.3), make_trainer()
        trainer.fit(task, make_loader(8))
        optimizer = trainer.optimizers[0]
        assert isinstance(optimizer, torch.optim.AdamW)
        decayed, others = optimizer.param_groups
        assert decayed['betas'] == (0.9, 0.95)
        assert (decayed['weight_decay'], others['weight_decay']) == (0.3, 0)
        assert all(p.ndim > 1 for p in decayed['params'])
        assert all(p.ndim == 1 for p in others['params'])
        count = len(decayed['params']) + len(others['params'])
        assert count == len(list(task.parameters()))

    def test_runs_without_planned_end(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task, trainer = (
            make_task(weight_schedule='constant', lr=1e-3),
            make_trainer(max_epochs=-1),
        )
        task.on_train_epoch_end = lambda: setattr(
            trainer, 'should_stop', trainer.current_epoch >= 1
        )
        trainer.fit(task, make_loader(8, batch_size=4))
        assert trainer.optimizers[0].param_groups[0]['lr'] == 1e-3


class TestSpace:
    def test_names_the_weights_and_the_statistics(self, make_task: Make) -> None:
        task, twin = make_task(), make_task()
        assert task.space == twin.space
        assert len(task.space) == 16
        int(task.space, 16)
        with torch.no_grad():
            twin.model.heads['s1'][0].bias[0] += 1e-3
        assert twin.space != task.space
        assert make_task(mean={'s1': [-12.0, -12.1]}).space != task.space
        assert make_task(retrieval_features='h').space != task.space

    def test_does_not_change_by_looking(
        self, make_task: Make, batch: dict[str, Tensor]
    ) -> None:
        task = make_task().eval()
        before = task.space
        task.embed(batch, 's1')
        assert task.space == before


def test_checkpoint_of_other_modalities_is_refused(make_task: Make) -> None:
    checkpoint: dict[str, Any] = {}
    make_task().on_save_checkpoint(checkpoint)
    other = SSCMRSIR({'s2': 3, 's1': 2}, model='test_resnet')
    with pytest.raises(ArchiveError, match='of the modalities s1, s2, found s2, s1'):
        other.on_load_checkpoint(checkpoint)
    other.on_load_checkpoint({})
