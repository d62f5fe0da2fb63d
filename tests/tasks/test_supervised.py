import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.metrics.distances import chi_square
from torchgeo_cmr.tasks import SupervisedCMR

MakeTrainer = Callable[..., Trainer]
VARIANTS = ('separate', 'joint', 'bands_12')


def make(**options: Any) -> SupervisedCMR:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        'num_classes': 3,
        'model': 'test_resnet',
        'output_dim': 8,
        'mean': {'s1': [0.0] * 2, 's2': [0.0] * 3},
        'std': {'s1': [1.0] * 2, 's2': [1.0] * 3},
        'lr': 3e-3,
    }
    return SupervisedCMR({'s1': 2, 's2': 3}, **(settings | options))


def loader(num: int, seed: int, size: int = 32) -> DataLoader:
    """Classes 0 and 1 show in one sensor each, class 2 in both."""
    torch.manual_seed(seed)
    labels = torch.randint(2, (num, 3))
    s1, s2 = torch.randn(num, 2, 16, 16), torch.randn(num, 3, 16, 16)
    s1[:, 0] += 2 * labels[:, 0].view(-1, 1, 1)
    s2[:, 0] += 2 * labels[:, 1].view(-1, 1, 1)
    s1[:, 1] += labels[:, 2].view(-1, 1, 1)
    s2[:, 1] -= labels[:, 2].view(-1, 1, 1)
    rows: Any = [
        {'image_s1': a, 'image_s2': b, 'label': y}
        for a, b, y in zip(s1, s2, labels, strict=True)
    ]
    return DataLoader(rows, size)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return next(iter(loader(6, 4)))


def test_loss_equals_loop_twin(batch: dict[str, Tensor]) -> None:
    task = make()
    outputs = task(batch)
    logits = task.classify(outputs)
    z = torch.cat([outputs['s1']['z'], outputs['s2']['z']], dim=1)
    torch.testing.assert_close(logits, task.classifier(z))
    total = 0.0
    for row, truth in zip(logits.tolist(), batch['label'].tolist(), strict=True):
        for logit, y in zip(row, truth, strict=True):
            p = 1 / (1 + math.exp(-logit))
            total -= math.log(p if y else 1 - p)
    loss = task.batch_losses(batch, outputs)['loss']
    assert loss.item() == pytest.approx(total / 18, rel=1e-5)


def test_class_numbers_are_one_hot(batch: dict[str, Tensor]) -> None:
    task = make()
    outputs = task(batch)
    numbers = torch.tensor([0, 1, 2, 2, 1, 0])
    hot = torch.nn.functional.one_hot(numbers, 3)
    losses = [
        task.batch_losses(batch | {'label': y}, outputs)['loss'] for y in (numbers, hot)
    ]
    assert torch.equal(*losses)


@pytest.mark.slow
@pytest.mark.parametrize('variant', VARIANTS)
def test_learns_what_labels_tell(variant: Any, make_trainer: MakeTrainer) -> None:
    task, trainer = make(variant=variant), make_trainer(max_epochs=4)
    trainer.fit(task, loader(256, 1), loader(64, 2))
    # always one half would give 0.693
    assert trainer.callback_metrics['val_loss'] < 0.45
    assert ('val_recall@10' in trainer.callback_metrics) == (variant != 'bands_12')
    trainer.test(task, loader(16, 3), verbose=False)


@pytest.mark.parametrize('fusion', ['concat', 'mean', 'sum', 'max'])
def test_fusion(fusion: Any, batch: dict[str, Tensor]) -> None:
    task = make(fusion=fusion)
    assert task.classifier.in_features == (16 if fusion == 'concat' else 8)
    assert task.batch_losses(batch, task(batch))['loss'].isfinite()


def test_embeds_what_was_classified(batch: dict[str, Tensor]) -> None:
    task = make().eval()
    outputs = task(batch)
    z = torch.cat([outputs[m]['z'] for m in ('s1', 's2')], dim=1).detach()
    # features as they are, and not each sensor's at unit length
    expected = torch.nn.functional.normalize(z, dim=1)
    torch.testing.assert_close(task.embed(batch, ('s1', 's2')), expected)
    # the precursor's ranking needs what this head gives
    assert (chi_square(z, z).diagonal() == 0).all()


def test_early_fusion_embeds_all_or_nothing(
    batch: dict[str, Tensor], make_trainer: MakeTrainer
) -> None:
    task = make(variant='bands_12').eval()
    assert task.model.backbone.conv1[0].weight.shape[1] == 5
    rows = task.embed(batch, ('s1', 's2'))
    assert rows.shape == (6, 8)
    with pytest.raises(QueryError, match='s1, s2 together, found s1: name all'):
        task.embed(batch, 's1')
    (found,) = make_trainer().predict(task, loader(6, 4)) or [None]
    assert isinstance(found, dict)
    torch.testing.assert_close(found['s1+s2'], rows)


@pytest.mark.parametrize(
    ('label', 'message'),
    [
        (None, "no labels 'label', it holds image_s1, image_s2: .* label_key="),
        (torch.zeros(6, 4), r'shape \(6, 4\), expected \(6, 3\)'),
        (torch.tensor([0, 1, 2, 3, 0, 0]), 'numbers are 0 to 2, found 0 to 3'),
        (torch.zeros(6), r'shape \(6,\), expected'),
    ],
)
def test_refuses_labels(label: Any, message: str, batch: dict[str, Tensor]) -> None:
    task = make()
    outputs = task(batch)
    given = {k: v for k, v in (batch | {'label': label}).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        task.batch_losses(given, outputs)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'variant': 'late'}, "'joint' or 'bands_12', found 'late'"),
        ({'num_classes': 0}, 'num_classes must be at least 1'),
        ({'fusion': 'min'}, "'sum' or 'max', found 'min'"),
        (
            {'variant': 'bands_12', 'weights': {'s1': 'a', 's2': None}},
            'one network and takes one weights',
        ),
    ],
)
def test_refuses_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_there_is_no_loss_without_labels(batch: dict[str, Tensor]) -> None:
    task = make()
    with pytest.raises(NotImplementedError, match=r'use batch_losses\(\)'):
        task.compute_losses(task(batch))
