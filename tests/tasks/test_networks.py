"""Which parts a variant has, shares, uses, exports and brings back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from lightning.pytorch import Trainer
from torchgeo.tasks.utils import extract_backbone

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.tasks import (
    SSCMRSIR,
    CrossModalTask,
    SupervisedCMR,
    describe_checkpoint,
    load_task,
)

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
]

Make = Callable[..., SSCMRSIR]
MakeTrainer = Callable[..., Trainer]

VARIANTS: list[tuple[type[CrossModalTask], dict[str, Any]]] = [
    (SSCMRSIR, {'variant': 'separate'}),
    (SSCMRSIR, {'variant': 'joint'}),
    (SSCMRSIR, {'mim_weight': 0.0, 'retrieval_features': 'h'}),
    (SSCMRSIR, {'variant': 'joint', 'mim_weight': 0.0, 'retrieval_features': 'h'}),
    (SSCMRSIR, {'head': 'linear_relu', 'is_weight': 0.0, 'mde_weight': 0.0}),
    (SSCMRSIR, {'head': 'hash', 'num_neighbors': 2, 'mine_with': 'both'}),
    (SSCMRSIR, {'preset': 'aligned'}),
    (SSCMRSIR, {'preset': 'aligned', 'two_heads': True, 'sigreg_weight': 0.1}),
    (SSCMRSIR, {'shared_head': True, 'mde_on': 'z', 'mim_weight': 0.0}),
    (SSCMRSIR, {'variant': 'joint', 'shared_head': True, 'is_sign': 1}),
    (SSCMRSIR, {'stage': 2, 'grid': 2}),
    (SSCMRSIR, {'preset': 'aligned', 'stage': 1, 'grid': 2}),
    (SupervisedCMR, {'variant': 'joint', 'num_classes': 3, 'grid': 2}),
    (SupervisedCMR, {'variant': 'joint', 'stem': 'own', 'num_classes': 3}),
    (SupervisedCMR, {'variant': 'separate', 'num_classes': 3}),
    (SupervisedCMR, {'variant': 'joint', 'num_classes': 3, 'fusion': 'max'}),
    (SupervisedCMR, {'variant': 'bands_12', 'num_classes': 3}),
]


def make(kind: type[CrossModalTask], options: dict[str, Any]) -> CrossModalTask:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        'model': 'test_resnet',
        'output_dim': 8,
        'mean': {'s1': [0.0] * 2, 's2': [0.0] * 3},
        'std': {'s1': [1.0] * 2, 's2': [1.0] * 3},
    }
    return kind({'s1': 2, 's2': 3}, **(settings | options))


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        'image_s1': torch.randn(6, 2, 32, 32),
        'image_s2': torch.randn(6, 3, 32, 32),
        'label': torch.randint(2, (6, 3)),
    }


@pytest.mark.parametrize(('kind', 'options'), VARIANTS)
def test_every_trained_parameter_gets_a_gradient(
    kind: type[CrossModalTask], options: dict[str, Any], batch: dict[str, torch.Tensor]
) -> None:
    # what DDP asks for: a parameter that rests would make it wait for ever
    task = make(kind, options)
    task.batch_losses(batch, task(batch))['loss'].backward()
    idle = [n for n, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert not idle
    for name, p in task.named_parameters():
        assert p.grad is None or p.grad.isfinite().all(), name


@pytest.mark.parametrize(('kind', 'options'), VARIANTS)
def test_a_checkpoint_is_enough(
    kind: type[CrossModalTask],
    options: dict[str, Any],
    batch: dict[str, torch.Tensor],
    make_trainer: MakeTrainer,
    tmp_path: Path,
) -> None:
    task, trainer = make(kind, options).eval(), make_trainer()
    trainer.strategy.connect(task)
    trainer.save_checkpoint(tmp_path / 'task.ckpt')
    torch.load(tmp_path / 'task.ckpt', weights_only=True)
    loaded = load_task(tmp_path / 'task.ckpt')
    assert type(loaded) is kind
    assert loaded.space == task.space
    for fusion in ('concat', 'max'):
        assert torch.equal(
            loaded.embed(batch, ('s1', 's2'), fusion),
            task.embed(batch, ('s1', 's2'), fusion),
        )


class TestOwnStem:
    def test_only_the_first_layer_is_its_own(self) -> None:
        task = make(SSCMRSIR, {'preset': 'aligned'})
        a, b = (dict(task.model.encoder(m).named_parameters()) for m in ('s1', 's2'))
        assert {n for n in a if a[n] is not b[n]} == {'conv1.0.weight'}
        assert [net['conv1.0.weight'].shape[1] for net in (a, b)] == [2, 3]
        heads = task.model.heads
        assert heads['s1'] is heads['s2']
        names = [n for n, _ in task.named_parameters() if 'conv1.0' in n]
        assert len(names) == 2

    def test_space_of_a_sensor_leaves_the_other_stem_out(self) -> None:
        task = make(SSCMRSIR, {'preset': 'aligned'})
        before = task.space_of('s1'), task.space_of('s2')
        with torch.no_grad():
            task.model.encoder('s2').conv1[0].weight += 1
        assert task.space_of('s1') == before[0]
        assert task.space_of('s2') != before[1]

    def test_encoder_of_a_sensor_is_one_of_timm(self, tmp_path: Path) -> None:
        task = make(SSCMRSIR, {'preset': 'aligned'})
        path = task.save_encoder(tmp_path / 's2.pt', 's2')
        encoder = timm.create_model('test_resnet', in_chans=3, num_classes=0)
        encoder.load_state_dict(torch.load(path, weights_only=True))

    def test_shared_layers_are_stored_and_counted_once(
        self, make_trainer: MakeTrainer, tmp_path: Path
    ) -> None:
        task, trainer = make(SSCMRSIR, {'preset': 'aligned'}), make_trainer()
        trainer.strategy.connect(task)
        trainer.save_checkpoint(tmp_path / 'task.ckpt')
        found = describe_checkpoint(tmp_path / 'task.ckpt')
        buffers = [b for b in task.buffers() if b.is_floating_point()]
        assert found['parameters'] == sum(
            x.numel() for x in (*task.parameters(), *buffers)
        )
        assert found['bytes'] < 6 * found['parameters']

    def test_each_stem_may_have_weights_of_its_own(self, tmp_path: Path) -> None:
        weights = {}
        for modality, channels in (('s1', 2), ('s2', 3)):
            donor = timm.create_model('test_resnet', in_chans=channels, num_classes=0)
            torch.save(donor.state_dict(), tmp_path / f'{modality}.pt')
            weights[modality] = str(tmp_path / f'{modality}.pt')
        task = make(SSCMRSIR, {'preset': 'aligned', 'weights': weights})
        for modality, path in weights.items():
            state = torch.load(path, weights_only=True)
            mine = task.model.encoder(modality).state_dict()
            assert torch.equal(mine['conv1.0.weight'], state['conv1.0.weight'])
            assert torch.equal(
                mine['layer1.0.conv1.weight'], state['layer1.0.conv1.weight']
            ) == (modality == 's1')


class TestJoint:
    def test_sensors_share_all_but_stems_and_heads(self) -> None:
        joint = make(SSCMRSIR, {'variant': 'joint'})
        parts = {n.split('.')[1] for n, _ in joint.named_parameters()}
        assert parts == {'stems', 'trunk', 'heads'}
        assert joint.model.encoder('s1') is joint.model.encoder('s2')
        assert joint.model.trunk.conv1[0].weight.shape[1] == 32
        apart = make(SSCMRSIR, {'variant': 'separate'})
        ours = {id(p) for p in apart.model.encoder('s1').parameters()}
        assert not ours & {id(p) for p in apart.model.encoder('s2').parameters()}

    def test_one_sensor_moves_the_other(self, batch: dict[str, torch.Tensor]) -> None:
        for variant, moves in (('joint', True), ('separate', False)):
            task = make(SSCMRSIR, {'variant': variant}).eval()
            before = task.embed(batch, 's2')
            optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
            h, _ = task.model(batch['image_s1'], 's1')
            h.square().sum().backward()
            optimizer.step()
            assert torch.equal(before, task.embed(batch, 's2')) is not moves

    @pytest.mark.slow
    def test_beats_chance_on_planted_pairs(
        self, make_task: Make, make_trainer: MakeTrainer, make_loader: Callable
    ) -> None:
        task = make_task(variant='joint', temperature=0.1, lr=3e-3)
        trainer = make_trainer(max_epochs=8)
        trainer.fit(task, make_loader(256))
        after = trainer.validate(task, make_loader(200, 2), verbose=False)[0]
        for direction in ('s1_to_s2', 's2_to_s1'):
            # chance is 10 of 200
            assert after[f'val_recall@10_{direction}'] > 0.3


class TestFusedEmbedding:
    def test_is_the_fusion_of_unit_rows(self, batch: dict[str, torch.Tensor]) -> None:
        task = make(SSCMRSIR, {}).eval()
        a, b = task.embed(batch, 's1'), task.embed(batch, 's2')
        both = task.embed(batch, ('s1', 's2'))
        torch.testing.assert_close(both, torch.cat([a, b], dim=1) / 2**0.5)
        mean = torch.nn.functional.normalize(a + b, dim=1)
        torch.testing.assert_close(task.embed(batch, ['s1', 's2'], 'mean'), mean)
        torch.testing.assert_close(task.embed(batch, ['s1', 's2'], 'sum'), mean)
        largest = torch.nn.functional.normalize(torch.maximum(a, b), dim=1)
        torch.testing.assert_close(task.embed(batch, ['s1', 's2'], 'max'), largest)
        for rows in (both, mean, largest):
            torch.testing.assert_close(rows.norm(dim=1), torch.ones(6))
        assert torch.equal(task.embed(batch, ('s1',)), a)
        assert torch.equal(
            task.embed(batch, ('s2', 's1')), torch.cat([both[:, 8:], both[:, :8]], 1)
        )

    def test_refuses(self, batch: dict[str, torch.Tensor]) -> None:
        task = make(SSCMRSIR, {})
        with pytest.raises(ValueError, match="'sum' or 'max', found 'min'"):
            task.embed(batch, ('s1', 's2'), 'min')  # ty: ignore[invalid-argument-type]
        for names in ((), ('s1', 's1')):
            with pytest.raises(QueryError, match='needs different modalities'):
                task.embed(batch, names)
        with pytest.raises(QueryError, match="no modality 'pan'"):
            task.embed(batch, ('s1', 'pan'))


class TestSaveEncoder:
    @pytest.mark.parametrize('model', ['test_resnet', 'vit_tiny_patch16_224'])
    def test_timm_loads_it_as_it_is(self, model: str, tmp_path: Path) -> None:
        task = make(SSCMRSIR, {'model': model}).eval()
        for modality, channels, size in (('s1', 2, 224), ('s2', 3, 224)):
            path = task.save_encoder(tmp_path / f'{modality}.pt', modality)
            state = torch.load(path, weights_only=True)
            plain = timm.create_model(model, in_chans=channels, num_classes=0).eval()
            plain.load_state_dict(state)
            x = torch.randn(2, channels, size, size)
            h, _ = task.model(x, modality)
            torch.testing.assert_close(plain(x), h)

    def test_a_new_task_starts_from_it(self, tmp_path: Path) -> None:
        task = make(SSCMRSIR, {})
        path = task.save_encoder(tmp_path / 'new' / 's2.pt', 's2')
        torch.manual_seed(7)
        other = SSCMRSIR(
            {'s1': 2, 's2': 3}, 'test_resnet', {'s1': None, 's2': str(path)}
        )
        theirs = task.model.backbones['s2'].state_dict()
        for key, value in other.model.backbones['s2'].state_dict().items():
            assert torch.equal(value, theirs[key])

    def test_of_a_joint_model_it_is_the_trunk(self, tmp_path: Path) -> None:
        task = make(SSCMRSIR, {'variant': 'joint'})
        state = torch.load(task.save_encoder(tmp_path / 'j.pt', 's1'))
        timm.create_model('test_resnet', in_chans=32, num_classes=0).load_state_dict(
            state
        )

    def test_refuses(self, tmp_path: Path) -> None:
        task = make(SSCMRSIR, {})
        path = task.save_encoder(tmp_path / 's1.pt', 's1')
        before = path.read_bytes()
        with pytest.raises(OutputExistsError, match='is there already'):
            task.save_encoder(path, 's2')
        assert path.read_bytes() == before
        task.save_encoder(path, 's2', overwrite=True)
        assert path.read_bytes() != before
        with pytest.raises(QueryError, match="no modality 'pan'"):
            task.save_encoder(tmp_path / 'pan.pt', 'pan')
        assert [p.name for p in tmp_path.iterdir()] == ['s1.pt']

    def test_what_torchgeo_extracts_does_not_load(
        self, make_trainer: MakeTrainer, tmp_path: Path
    ) -> None:
        # the reason for save_encoder: names keep the modality, both encoders are in one
        task, trainer = make(SSCMRSIR, {}), make_trainer()
        trainer.strategy.connect(task)
        trainer.save_checkpoint(tmp_path / 'task.ckpt')
        name, state = extract_backbone(str(tmp_path / 'task.ckpt'))
        plain = timm.create_model(name, in_chans=2, num_classes=0)
        with pytest.raises(RuntimeError, match='Missing key'):
            plain.load_state_dict(state)
