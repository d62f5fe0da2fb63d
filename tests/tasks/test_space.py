"""`space` names what decides where a picture lands, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchgeo_cmr.tasks import (
    SSCMRSIR,
    CMIRNet,
    CMIRPretrain,
    CrossModalTask,
    SupervisedCMR,
    load_task,
)

CHANNELS = {'a': 1, 'b': 2}
STATISTICS: dict[str, Any] = {
    'mean': {m: [0.0] * n for m, n in CHANNELS.items()},
    'std': {m: [1.0] * n for m, n in CHANNELS.items()},
}


def tiny(channels: int) -> nn.Module:
    """A small network with batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3)
    )


NETS: Any = {m: tiny(n) for m, n in CHANNELS.items()}
MAKE: dict[str, Callable[..., CrossModalTask]] = {
    'separate': lambda **more: SSCMRSIR(CHANNELS, NETS, output_dim=8, **more),
    'joint': lambda **more: SSCMRSIR(
        CHANNELS, tiny(32), variant='joint', output_dim=8, **more
    ),
    'supervised': lambda **more: SupervisedCMR(CHANNELS, 4, NETS, output_dim=8, **more),
    'pretrain': lambda **more: CMIRPretrain(CHANNELS, 4, NETS, feature_dim=8, **more),
    'unified': lambda **more: CMIRNet(
        CHANNELS, 4, NETS, feature_dim=8, output_dim=4, **more
    ),
}


def rows(task: CrossModalTask) -> dict[str, Tensor]:
    """What a task makes of fixed pictures."""
    random = torch.Generator().manual_seed(0)
    batch = {
        f'image_{m}': torch.randn(3, n, 12, 12, generator=random)
        for m, n in CHANNELS.items()
    }
    return {m: task.embed(batch, m) for m in CHANNELS}


@pytest.mark.parametrize('features', ['h', 'z'])
@pytest.mark.parametrize('name', MAKE)
def test_changes_with_every_weight_that_moves_an_embedding(
    name: str, features: Any
) -> None:
    torch.manual_seed(0)
    task = MAKE[name](retrieval_features=features, **STATISTICS).eval()
    # linear layers with ReLU can hide a change: leave no feature at 0
    for module in task.modules():
        if isinstance(module, nn.Linear):
            nn.init.constant_(module.bias, 1.0)
    whole, each, before = (
        task.space,
        {m: task.space_of(m) for m in CHANNELS},
        rows(task),
    )
    for key, tensor in task.state_dict().items():
        if not tensor.is_floating_point():
            continue
        kept = tensor.clone()
        tensor.mul_(1.5).add_(0.3)
        moved = rows(task)
        for m in CHANNELS:
            if not torch.equal(moved[m], before[m]):
                assert task.space_of(m) != each[m], key
                assert task.space != whole, key
        counted = [m for m in CHANNELS if task.space_of(m) != each[m]]
        assert (task.space != whole) == bool(counted), key
        tensor.copy_(kept)
    assert task.space == whole


@pytest.mark.parametrize(
    ('name', 'key'),
    [
        ('separate', 'model.backbones.a.network.1.num_batches_tracked'),
        ('joint', 'model.trunk.network.1.num_batches_tracked'),
        ('supervised', 'classifier.weight'),
        ('unified', 'model.unified.decoders.a.0.weight'),
        ('unified', 'model.unified.classifiers.a.weight'),
        ('unified', 'model.stage_a.classifiers.b.bias'),
    ],
)
def test_does_not_change_with_what_only_training_needs(name: str, key: str) -> None:
    task = MAKE[name](**STATISTICS)
    space = task.space
    task.state_dict()[key].add_(1)
    assert task.space == space


@pytest.mark.parametrize('half', [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_space_when_loaded(half: torch.dtype) -> None:
    task = MAKE['separate'](**STATISTICS)
    trained = task.to(half).space
    again = MAKE['separate'](**STATISTICS)
    again.load_state_dict(task.state_dict())
    assert again.space == trained


def test_of_one_modality_does_not_change_with_the_other() -> None:
    task = MAKE['separate'](**STATISTICS)
    whole, each = task.space, {m: task.space_of(m) for m in CHANNELS}
    task.set_specs({'b': {'mean': [5.0, 5.0]}})
    assert task.space_of('a') == each['a']
    assert task.space_of('b') != each['b']
    # vectors of both are compared, so the common space is another one
    assert task.space != whole
    with pytest.raises(ValueError, match="no modality 'c'"):
        task.space_of('c')


def test_scaled_features_are_another_space() -> None:
    state, spaces = MAKE['unified'](**STATISTICS).state_dict(), set()
    for unit in (True, False):
        task = MAKE['unified'](unit_features=unit, **STATISTICS)
        task.load_state_dict(state)
        spaces.add(task.space)
    assert len(spaces) == 2


def test_a_checkpoint_of_an_earlier_version_keeps_its_space(tmp_path: Path) -> None:
    """Its archives name a space that counted all weights."""
    task = MAKE['separate'](**STATISTICS)
    checkpoint: dict[str, Any] = {
        'state_dict': task.state_dict(),
        'hyper_parameters': dict(task.hparams),
    }
    task.on_save_checkpoint(checkpoint)
    section = checkpoint['torchgeo_cmr']
    del checkpoint['torchgeo_cmr_details']
    del checkpoint['state_dict']['_extra_state']
    section['space'] = 'f00dfeedf00dfeed'
    torch.save(checkpoint, tmp_path / 'old.ckpt')
    loaded = load_task(tmp_path / 'old.ckpt', model=NETS)
    assert loaded.space == 'f00dfeedf00dfeed'
    # saved again it is still the same space
    again: dict[str, Any] = {
        'state_dict': loaded.state_dict(),
        'hyper_parameters': dict(loaded.hparams),
    }
    loaded.on_save_checkpoint(again)
    torch.save(again, tmp_path / 'new.ckpt')
    newer = load_task(tmp_path / 'new.ckpt', model=NETS)
    assert newer.space == 'f00dfeedf00dfeed'
    with torch.no_grad():
        next(newer.model.parameters()).add_(1)
    assert newer.space != 'f00dfeedf00dfeed'
