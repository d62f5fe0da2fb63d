import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn

from torchgeo_cmr.losses import ramp_weight
from torchgeo_cmr.tasks import SSCMRSIR, CrossModalTask, load_task

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
]

Make = Callable[..., SSCMRSIR]
MakeTrainer = Callable[..., Trainer]


def outputs(num: int = 6) -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(1)
    return {
        m: {'h': torch.randn(num, 8), 'z': torch.randn(num, 4)} for m in ('s1', 's2')
    }


@pytest.mark.slow
@pytest.mark.parametrize('preset', ['paper', 'aligned'])
def test_beats_chance_on_planted_pairs(
    make_task: Make, make_trainer: MakeTrainer, make_loader: Callable, preset: str
) -> None:
    task = make_task(preset=preset, temperature=0.1, lr=3e-3)
    train, val = make_loader(256), make_loader(200, 2)
    trainer = make_trainer(max_epochs=8)
    before = trainer.validate(task, val, verbose=False)[0]
    trainer.fit(task, train)
    after = trainer.validate(task, val, verbose=False)[0]
    for direction in ('s1_to_s2', 's2_to_s1'):
        # chance is 10 of 200
        assert before[f'val_recall@10_{direction}'] < 0.12
        assert after[f'val_recall@10_{direction}'] > 0.4


@pytest.mark.slow
def test_finds_nothing_where_nothing_is_to_be_found(
    make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
) -> None:
    task = make_task(temperature=0.1, lr=3e-3)
    trainer = make_trainer(max_epochs=2)
    trainer.fit(task, make_loader(256))
    pairs = make_loader(200, 2).dataset
    decoys = [
        {'image_s1': a['image_s1'], 'image_s2': b['image_s2']}
        for a, b in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    val: Any = torch.utils.data.DataLoader(decoys, 100)  # ty: ignore[invalid-argument-type]
    assert trainer.validate(task, val, verbose=False)[0]['val_recall@10'] < 0.12


class TestLosses:
    def test_sum_of_the_terms(self, make_task: Make) -> None:
        task = make_task(mim_weight=2.0, mde_weight=3.0, is_weight=0.5)
        losses = task.compute_losses(outputs())
        expected = 2 * losses['mim'] + 3 * losses['mde'] + 0.5 * losses['is']
        torch.testing.assert_close(losses['loss'], expected)
        assert losses['ramp'] == 1  # nothing is being fitted

    def test_terms_see_the_features_they_are_defined_on(self, make_task: Make) -> None:
        task, out = (
            make_task(temperature=0.2, negatives='cross', mde='angular'),
            outputs(),
        )
        losses = task.compute_losses(out)
        for name, loss, feature in (
            ('mim', task.mim, 'z'),
            ('mde', task.mde, 'h'),
            ('is', task.intra, 'h'),
        ):
            expected = loss(out['s1'][feature], out['s2'][feature])
            torch.testing.assert_close(losses[name], expected)
        assert (task.mim.temperature, task.mim.negatives) == (0.2, 'cross')
        assert task.mde.kind == 'angular'

    def test_options_of_the_neighbours_reach_the_loss(self, make_task: Make) -> None:
        options = {
            'num_neighbors': 2,
            'distance': 'cosine',
            'detach_neighbor': True,
            'mine_with': 'other',
        }
        task, out = make_task(**options), outputs()
        assert {name: getattr(task.intra, name) for name in options} == options
        h = [out[m]['h'].requires_grad_() for m in ('s1', 's2')]
        twin = 0.0
        for mine, other in (h, h[::-1]):
            unit = torch.nn.functional.normalize(mine, dim=1)
            near = torch.nn.functional.normalize(other, dim=1)
            for i, row in enumerate(near @ near.T):
                ranked = [j for j in row.argsort(descending=True).tolist() if j != i]
                twin -= sum((unit[i] @ unit[j]).item() for j in ranked[:2]) / 2
        assert task.compute_losses(out)['is'].item() == pytest.approx(twin / 12)

    @pytest.mark.parametrize(
        ('off', 'left'),
        [
            ({'mim_weight': 0.0, 'retrieval_features': 'h'}, {'mde', 'is'}),
            ({'mde_weight': 0.0}, {'mim', 'is'}),
            ({'is_weight': 0.0, 'mde_weight': 0.0}, {'mim'}),
        ],
    )
    def test_ablation(
        self, make_task: Make, off: dict[str, Any], left: set[str]
    ) -> None:
        losses = make_task(**off).compute_losses(outputs())
        assert set(losses) == left | {'loss', 'ramp'}
        torch.testing.assert_close(losses['loss'], sum(losses[n] for n in left))

    def test_heads_rest_without_mim(self, make_task: Make) -> None:
        task = make_task(mim_weight=0.0, retrieval_features='h')
        assert not any(p.requires_grad for p in task.model.heads.parameters())
        assert all(p.requires_grad for p in task.model.backbones.parameters())

    @pytest.mark.parametrize('schedule', ['log_ramp', 'constant'])
    def test_ramp_follows_the_epochs(
        self,
        make_task: Make,
        make_trainer: MakeTrainer,
        make_loader: Callable,
        schedule: Any,
    ) -> None:
        task, seen = make_task(weight_schedule=schedule), []
        trainer = make_trainer(max_epochs=3)
        task.on_train_epoch_end = lambda: seen.append(
            trainer.callback_metrics['train_ramp'].item()
        )
        trainer.fit(task, make_loader(8))
        expected = [ramp_weight(e, 3, schedule) for e in range(3)]
        assert seen == pytest.approx(expected)

    def test_ramp_follows_the_steps_of_a_run_without_epochs(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task = make_task()
        trainer = make_trainer(max_epochs=-1, max_steps=3)
        trainer.fit(task, make_loader(8, batch_size=4))
        assert trainer.callback_metrics['train_ramp'].item() == pytest.approx(1)

    def test_ramp_without_end_is_refused(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        with pytest.raises(
            ValueError, match="set max_epochs, or weight_schedule='constant'"
        ):
            make_trainer(max_epochs=-1).fit(make_task(), make_loader(8))

    @pytest.mark.slow
    def test_mixed_precision_at_a_small_temperature(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        trainer = make_trainer(precision='bf16-mixed')
        task = make_task(model='resnet10t', temperature=0.05)
        # With 16 pixels the last convolutions would see a single one, and those are not
        # finite in bfloat16 on processors with tiles.
        pairs = [make_loader(n, batch_size=8, pixels=64) for n in (8, 12, 4)]
        trainer.fit(task, *pairs[:2])
        assert trainer.callback_metrics['train_loss'].isfinite()
        assert task.embed(next(iter(pairs[2])), 's1').dtype == torch.float32


ALIGNED = {
    'variant': 'joint',
    'stem': 'own',
    'shared_head': True,
    'negatives': 'cross',
    'mde': 'cosine',
    'mde_on': 'z',
    'is_weight': 0.0,
    'weight_schedule': 'constant',
    'temperature': 0.07,
}


class TestPresets:
    def test_paper_is_the_default(self, make_task: Make) -> None:
        task = make_task()
        assert task.hparams['preset'] == 'paper'
        named = make_task(
            variant='separate',
            temperature=0.5,
            negatives='all',
            mde='softplus',
            mde_on='h',
            is_weight=1.0,
            is_sign=-1,
            weight_schedule='log_ramp',
        )
        assert named.space == task.space
        assert dict(named.hparams) == dict(task.hparams)

    def test_aligned_is_its_options(self, make_task: Make) -> None:
        task, spelt = make_task(preset='aligned'), make_task(**ALIGNED)
        assert {n: task.hparams[n] for n in ALIGNED} == ALIGNED
        assert task.hparams_initial['mde_on'] == 'z'
        assert task.space == spelt.space
        assert set(task.compute_losses(outputs())) == {'loss', 'mim', 'mde', 'ramp'}

    def test_best_keeps_where_things_are(self, tmp_path: Path) -> None:
        channels = {'s1': 2, 's2': 3}
        ones = {m: [1.0] * n for m, n in channels.items()}
        task = SSCMRSIR(channels, preset='best', mean=ones, std=ones).eval()
        assert task.hparams['model'] == 'resnet10t'
        # 128 channels at an eighth of the resolution, in 4 x 4 cells.
        assert task.widths == {'s1': 2048, 's2': 2048}
        assert set(task.compute_losses(outputs())) == {'loss', 'mim', 'ramp'}
        loaded = load_task(task.save(tmp_path / 'best.ckpt'))
        assert loaded.space == task.space
        batch = {'image_s2': torch.rand(2, 3, 64, 64)}
        assert torch.equal(loaded.embed(batch, 's2'), task.embed(batch, 's2'))

    @pytest.mark.parametrize(
        ('model', 'options', 'width'),
        [
            ('resnet10t', {'stage': -1, 'grid': 1}, 512),
            ('resnet10t', {'grid': 2}, 512),
            (nn.Conv2d(2, 8, 3), {'stage': -1, 'grid': 2}, 32),
        ],
    )
    def test_parts_of_best_can_be_exchanged(
        self, model: Any, options: dict[str, Any], width: int
    ) -> None:
        task = SSCMRSIR({'s1': 2, 's2': 2}, model, preset='best', **options)
        assert task.widths == {'s1': width, 's2': width}

    @pytest.mark.parametrize(
        ('option', 'value'),
        [
            ('temperature', 0.3),
            ('is_weight', 0.5),
            ('shared_head', False),
            ('variant', 'separate'),
            ('stem', 'conv1x1'),
            ('mde_on', 'h'),
            ('weight_schedule', 'log_ramp'),
            ('sigreg_weight', 0.1),
        ],
    )
    def test_what_is_named_wins(
        self, make_task: Make, option: str, value: object
    ) -> None:
        task = make_task(preset='aligned', **{option: value})
        assert task.hparams[option] == value
        rest = {n: v for n, v in ALIGNED.items() if n not in (option, 'stem')}
        assert {n: task.hparams[n] for n in rest} == rest

    @pytest.mark.parametrize('two_heads', [False, True])
    def test_terms_of_the_heads(self, make_task: Make, two_heads: bool) -> None:
        task, out = (
            make_task(
                preset='aligned', two_heads=two_heads, sigreg_weight=0.5, mde_weight=2.0
            ),
            outputs(),
        )
        losses = task.compute_losses(out)
        a, b = out['s1']['z'], out['s2']['z']
        first = (a[:, :2], b[:, :2]) if two_heads else (a, b)
        torch.testing.assert_close(losses['mim'], task.mim(*first))
        cosine = torch.nn.functional.cosine_similarity(*first)
        torch.testing.assert_close(losses['mde'], (1 - cosine).mean())
        expected = losses['mim'] + 2 * losses['mde'] + 0.5 * losses['sigreg']
        if two_heads:
            torch.testing.assert_close(
                losses['mim_cross'], task.mim(a[:, 2:], b[:, 2:])
            )
            expected = expected + losses['mim_cross']
        torch.testing.assert_close(losses['loss'], expected)

    def test_each_of_two_heads_is_a_space(
        self, make_task: Make, make_loader: Callable
    ) -> None:
        batch = next(iter(make_loader(4)))
        cross = make_task(preset='aligned', two_heads=True).eval()
        unified = make_task(
            preset='aligned', two_heads=True, retrieval_head='unified'
        ).eval()
        z = cross(batch)['s1']['z']
        assert z.shape == (4, 64)
        for task, rows in ((unified, z[:, :32]), (cross, z[:, 32:])):
            unit = torch.nn.functional.normalize(rows.detach(), dim=1)
            torch.testing.assert_close(task.embed(batch, 's1'), unit)
            assert task.embed(batch, 's1', raw=True).shape == (4, 32)
        assert cross.space != unified.space

    def test_sign_of_is(self, make_task: Make) -> None:
        out = outputs()
        with_, against = (
            make_task(is_sign=sign).compute_losses(out)['is'] for sign in (-1, 1)
        )
        torch.testing.assert_close(with_, -against)

    def test_false_negatives_are_ignored(self, make_task: Make) -> None:
        out = outputs(4)
        batch = {
            'bounds': torch.tensor(
                [[x, x + 320, 10, 0, 320, 10, 0, 0, 1] for x in (0, 100, 900, 2000)]
            ),
            'label': torch.tensor([0, 1, 2, 0]),
        }
        plain = make_task().batch_losses(batch, out)['mim']
        near = make_task(ignore_within=150.0).batch_losses(batch, out)['mim']
        same = make_task(ignore_same_label=True).batch_losses(batch, out)['mim']
        assert near < plain > same
        both = make_task(ignore_within=150.0, ignore_same_label=True)
        expected = torch.zeros(4, 4, dtype=torch.bool)
        for i, j in ((0, 1), (0, 3)):
            expected[i, j] = expected[j, i] = True
        marked = both.false_negatives(batch)
        assert marked is not None
        assert torch.equal(marked, expected)
        with pytest.raises(ValueError, match='needs the bounds of each patch'):
            both.batch_losses({'label': batch['label']}, out)
        with pytest.raises(ValueError, match="has no labels 'label'"):
            both.batch_losses({'bounds': batch['bounds']}, out)


class TestNetworks:
    def test_one_model_and_weights_per_modality(self, tmp_path: Path) -> None:
        from torchgeo_cmr.models import build_encoder

        torch.manual_seed(5)
        donor: Any = build_encoder('resnet10t', 2)
        torch.save(donor.state_dict(), tmp_path / 's1.pt')
        task = SSCMRSIR(
            {'s1': 2, 's2': 3},
            {'s1': 'resnet10t', 's2': 'resnet18'},
            {'s1': str(tmp_path / 's1.pt'), 's2': None},
            hidden_dim=20,
        )
        assert task.model.backbones['s1'].num_features == 512
        assert torch.equal(
            task.model.backbones['s1'].conv1[0].weight, donor.conv1[0].weight
        )
        assert task.model.heads['s2'][1].num_features == 20

    def test_widths_may_differ_only_if_nobody_compares_them(self) -> None:
        models = {'s1': 'resnet10t', 's2': 'convnext_atto'}
        with pytest.raises(ValueError, match=r"found widths \{'s1': 512, 's2': 320\}"):
            SSCMRSIR({'s1': 2, 's2': 3}, models)
        stats: dict[str, Any] = {
            'mean': {'s1': [0.0] * 2, 's2': [0.0] * 3},
            'std': {'s1': [1.0] * 2, 's2': [1.0] * 3},
        }
        task = SSCMRSIR({'s1': 2, 's2': 3}, models, mde_weight=0.0, **stats)
        batch = {
            'image_s1': torch.rand(4, 2, 32, 32),
            'image_s2': torch.rand(4, 3, 32, 32),
        }
        assert task.compute_losses(task(batch))['loss'].isfinite()

    def test_a_checkpoint_initialises_a_new_task(
        self, make_task: Make, make_trainer: MakeTrainer, tmp_path: Path
    ) -> None:
        donor, trainer = make_task(), make_trainer()
        trainer.strategy.connect(donor)
        trainer.save_checkpoint(tmp_path / 'donor.ckpt')
        torch.manual_seed(9)
        task = SSCMRSIR({'s1': 2, 's2': 3}, 'test_resnet', str(tmp_path / 'donor.ckpt'))
        for m in ('s1', 's2'):
            mine, theirs = task.model.backbones[m], donor.model.backbones[m]
            assert torch.equal(mine.conv1[0].weight, theirs.conv1[0].weight)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'in_channels': {'s1': 2}}, 'exactly two modalities, found s1'),
        (
            {'in_channels': {'a': 1, 'b': 1, 'c': 1}},
            'exactly two modalities, found a, b, c',
        ),
        (
            {'variant': 'shared'},
            "variant must be 'separate' or 'joint', found 'shared'",
        ),
        (
            {'variant': 'joint', 'model': {'s1': 'resnet10t', 's2': 'resnet18'}},
            "variant='joint' has one network and takes one model",
        ),
        ({'optimizer': 'lion'}, "'adamw', 'adam' or 'sgd', found 'lion'"),
        ({'schedule': 'linear'}, "'cosine', 'constant' or 'onecycle', found 'linear'"),
        ({'num_neighbors': 0}, 'num_neighbors must be at least 1'),
        ({'mine_with': 'none'}, "mine_with must be 'own', 'other' or 'both'"),
        ({'distance': 'dot'}, "distance must be 'euclidean' or 'cosine'"),
        (
            {'model': {'s1': 'resnet10t'}},
            'model needs one entry for each of s1, s2, found s1',
        ),
        (
            {'weights': {'pan': None}},
            'weights needs one entry for each of s1, s2, found pan',
        ),
        ({'mim_weight': 0.0}, "without MIM .* set retrieval_features='h'"),
        ({'is_weight': -1.0}, 'loss weights are 0 or more'),
        ({'mim_weight': 0.0, 'mde_weight': 0.0, 'is_weight': 0.0}, 'not all 0'),
        ({'weight_schedule': 'linear'}, "'log_ramp' or 'constant', found 'linear'"),
        ({'temperature': 0.0}, 'temperature must be above 0'),
        (
            {'preset': 'best?'},
            "preset must be 'paper', 'aligned' or 'best', found 'best\\?'",
        ),
        ({'stem': 'own'}, "stem='own' is a stem of variant='joint'"),
        ({'variant': 'joint', 'stem': 'none'}, "stem must be 'conv1x1' or 'own'"),
        ({'is_sign': 2}, 'is_sign must be -1 or'),
        ({'mde_on': 'x'}, "mde_on must be 'h' or 'z'"),
        ({'retrieval_head': 'both'}, "retrieval_head must be 'cross' or 'unified'"),
        ({'two_heads': True, 'mim_weight': 0.0, 'mde_on': 'z'}, 'two_heads needs MIM'),
        (
            {
                'shared_head': True,
                'mde_weight': 0.0,
                'model': {'s1': 'resnet10t', 's2': 'convnext_atto'},
            },
            r"shared_head needs encoder outputs of one width, found \{'s1': 512",
        ),
        ({'ignore_within': 0.0}, 'ignore_within must be a distance above 0'),
    ],
)
def test_refuses_bad_settings(options: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {'in_channels': {'s1': 2, 's2': 3}, 'model': 'resnet10t'}
    with pytest.raises(ValueError, match=message):
        SSCMRSIR(**(settings | options))


CONFIG = """
model:
  class_path: torchgeo_cmr.tasks.SSCMRSIR
  init_args:
    in_channels: {s1: 2, s2: 3}
    model: {s1: resnet10t, s2: resnet10t}
    weights: null
    output_dim: 16
    temperature: 0.1
    mean: {s1: [-12, -12], s2: [1000, 1000, 1000]}
    std: {s1: [5, 5], s2: [500, 500, 500]}
trainer:
  accelerator: cpu
  max_epochs: 1
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
"""


# Lightning's command line calls jsonargparse by a name that is going away
@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_yaml_by_class_path(
    tmp_path: Path, make_loader: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchgeo.tasks import BaseTask

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['fit'])
    (tmp_path / 'config.yaml').write_text(CONFIG)
    for base in (BaseTask, CrossModalTask):
        cli = LightningCLI(
            base,
            subclass_mode_model=True,
            seed_everything_default=0,
            run=False,
            save_config_callback=None,
            args=['--config', str(tmp_path / 'config.yaml')],
        )
        assert type(cli.model) is SSCMRSIR
        assert cli.model.in_channels == {'s1': 2, 's2': 3}
    cli.trainer.fit(cli.model, make_loader(8, batch_size=4))
    cli.trainer.save_checkpoint('cli.ckpt')
    loaded = load_task('cli.ckpt')
    assert loaded.space == cli.model.space
    assert loaded.hparams['temperature'] == 0.1
    assert math.isclose(loaded.specs['s1']['mean'][0], -12)
    assert loaded.hparams['mde_on'] == 'h'


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_preset_in_yaml(
    tmp_path: Path, make_loader: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options that the file names win, the rest is the preset's, also after loading."""
    from torchgeo.tasks import BaseTask

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['fit'])
    text = CONFIG.replace('{s1: resnet10t, s2: resnet10t}', 'resnet10t')
    text = text.replace('output_dim', 'preset: aligned\n    output_dim')
    (tmp_path / 'config.yaml').write_text(text)
    options: dict[str, Any] = {
        'subclass_mode_model': True,
        'run': False,
        'save_config_callback': None,
        'seed_everything_default': 0,
    }
    cli = LightningCLI(BaseTask, args=['--config', 'config.yaml'], **options)
    expected = ALIGNED | {'preset': 'aligned', 'temperature': 0.1}
    assert {n: cli.model.hparams[n] for n in expected} == expected
    # what is printed can be read back
    printed = cli.parser.dump(cli.config)
    assert 'preset: aligned' in printed
    (tmp_path / 'printed.yaml').write_text(printed)
    again = LightningCLI(BaseTask, args=['--config', 'printed.yaml'], **options)
    assert dict(again.model.hparams) == dict(cli.model.hparams)
    cli.trainer.fit(cli.model, make_loader(8, batch_size=4))
    cli.trainer.save_checkpoint('cli.ckpt')
    loaded = load_task('cli.ckpt')
    assert loaded.space == cli.model.space
    assert {n: loaded.hparams[n] for n in expected} == expected
