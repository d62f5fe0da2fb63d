import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from torch import nn
from torch.optim import SGD, Adam, AdamW

from torchgeo_cmr.tasks import SSCMRSIR, CMIRNet
from torchgeo_cmr.tasks.optim import Optimisation

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
]


def rates(name: Any, optimizer: Any = 'adamw', **options: Any) -> list[float]:
    """Learning rate of each of twenty steps."""
    network = nn.Linear(2, 2)
    optimisation = Optimisation(0.5, 0.1, 1, optimizer, name)
    built = optimisation.build_optimizer(network.parameters())
    schedule = optimisation.build_schedule(
        built, **({'steps': 20, 'epochs': 10} | options)
    )
    seen = []
    for _ in range(20):
        seen.append(built.param_groups[0]['lr'])
        built.step()
        schedule.step()
    return seen


@pytest.mark.parametrize('name', ['lr', 'weight_decay', 'warmup_epochs'])
def test_negative_numbers_are_refused(name: str) -> None:
    options: dict[str, Any] = {'lr': 1.0, name: -1}
    with pytest.raises(ValueError, match=f'{name} must be finite and at least 0'):
        Optimisation(**options)
    with pytest.raises(ValueError, match='lr must be finite'):
        Optimisation(float('nan'))


@pytest.mark.parametrize(
    ('name', 'kind'), [('adamw', AdamW), ('adam', Adam), ('sgd', SGD)]
)
def test_optimizers(name: Any, kind: type) -> None:
    network = nn.Linear(2, 2)
    rest = nn.Parameter(torch.zeros(3, 3), requires_grad=False)
    optimisation = Optimisation(0.5, 0.1, optimizer=name)
    optimizer: Any = optimisation.build_optimizer([*network.parameters(), rest])
    assert type(optimizer) is kind
    weights, others = optimizer.param_groups
    assert [len(weights['params']), len(others['params'])] == [1, 1]
    assert (weights['weight_decay'], others['weight_decay']) == (0.1, 0.0)
    if name == 'adamw':
        assert weights['betas'] == (0.9, 0.95)
    if name == 'adam':
        assert weights['betas'] == (0.9, 0.999)
    if name == 'sgd':
        assert weights['momentum'] == 0


def test_constant() -> None:
    assert rates('constant') == [0.5] * 20


def test_cosine() -> None:
    seen = rates('cosine')
    warm = [0.5 * (i + 1) / 3 for i in range(2)]
    cold = [0.25 * (1 + math.cos(math.pi * i / 18)) for i in range(18)]
    assert seen == pytest.approx(warm + cold)
    assert rates('cosine', steps=math.inf) == [0.5] * 20


def test_onecycle() -> None:
    seen = rates('onecycle')
    top = seen.index(max(seen))
    assert max(seen) == pytest.approx(0.5, rel=0.05)
    assert 0 < top < 10
    assert seen[0] == pytest.approx(0.5 / 25)
    assert seen[:top] == sorted(seen[:top])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    with pytest.raises(ValueError, match=r'onecycle .* set max_epochs or max_steps'):
        rates('onecycle', steps=math.inf)


def test_onecycle_gives_sgd_no_momentum() -> None:
    network = nn.Linear(2, 2)
    optimisation = Optimisation(0.5, optimizer='sgd', schedule='onecycle')
    optimizer = optimisation.build_optimizer(network.parameters())
    optimisation.build_schedule(optimizer, steps=5, epochs=1)
    assert optimizer.param_groups[0]['momentum'] == 0


@pytest.mark.parametrize('optimizer', ['adamw', 'adam', 'sgd'])
@pytest.mark.parametrize('schedule', ['cosine', 'constant', 'onecycle'])
def test_a_task_trains_to_the_end_with_each(
    optimizer: str,
    schedule: str,
    make_task: Callable[..., SSCMRSIR],
    make_trainer: Callable[..., Trainer],
    make_loader: Callable,
) -> None:
    task = make_task(optimizer=optimizer, schedule=schedule, lr=1e-3)
    before = task.model.heads['s1'][0].weight.detach().clone()
    trainer = make_trainer(max_epochs=2)
    trainer.fit(task, make_loader(8, batch_size=4))
    assert not torch.equal(before, task.model.heads['s1'][0].weight)
    kinds = {'adamw': AdamW, 'adam': Adam, 'sgd': SGD}
    assert type(trainer.optimizers[0]) is kinds[optimizer]


@pytest.mark.parametrize(
    ('task', 'lr', 'optimizer', 'width', 'classes'),
    [
        (SSCMRSIR, 1e-4, 'adamw', 128, {}),
        (CMIRNet, 1e-3, 'adam', 64, {'num_classes': 4}),
    ],
)
def test_options_of_parents_are_flat(
    task: type, lr: float, optimizer: str, width: int, classes: dict[str, int]
) -> None:
    """YAML, `--help` and `--print_config` know the options that are passed on."""
    parser = ArgumentParser()
    parser.add_class_arguments(task, 'model')
    options = parser.get_defaults().model
    assert (options.lr, options.optimizer, options.output_dim) == (lr, optimizer, width)
    assert options.mean is None
    assert 'Mean of each channel of each modality' in parser.format_help()
    with pytest.raises(TypeError, match="unexpected keyword argument 'learning_rate'"):
        task({'s1': 2, 's2': 3}, **classes, learning_rate=1)
