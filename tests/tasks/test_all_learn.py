"""Every method beats its encoder before training on a synthetic world, and codes lose little.

One seed by default; ``TORCHGEO_CMR_SEEDS='0 1 2'`` takes more. ``tests/benchmarks/learning.py``
prints the scores themselves.
"""

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchgeo_cmr import tasks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings('ignore:.*does not have many workers'),
    pytest.mark.filterwarnings('ignore:.*have no `val_dataloader`'),
]

HERE = Path(__file__).parents[1]
LEARNING = runpy.run_path(str(HERE / 'benchmarks' / 'learning.py'))
METHODS = LEARNING['METHODS']
SEEDS = [int(word) for word in os.environ.get('TORCHGEO_CMR_SEEDS', '0').split()]

type Learned = Callable[[str], dict[str, Any]]


@pytest.fixture(scope='module', params=SEEDS)
def learned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Learned:
    """Train a method once on the world of a seed, whatever is tested of it."""
    world = LEARNING['write_world'](tmp_path_factory.mktemp('world'), request.param)
    done: dict[str, dict[str, Any]] = {}

    def train(name: str) -> dict[str, Any]:
        if name not in done:
            run = LEARNING['learned'](name, world, request.param)
            done[name] = run | {'world': world}
        return done[name]

    return train


def test_no_method_is_left_out() -> None:
    known = {method.kind for method in METHODS.values()}
    # weights of others are not trained
    assert known == {getattr(tasks, n) for n in tasks.__all__ if n[0].isupper()} - {
        tasks.CrossModalTask,
        tasks.Pretrained,
    }


@pytest.mark.parametrize('name', METHODS)
def test_beats_the_encoder_before_training(name: str, learned: Learned) -> None:
    method, run = METHODS[name], learned(name)
    for direction in method.directions:
        before, after = (
            run[when][method.measure][direction] for when in ('before', 'after')
        )
        assert after > before + method.margin, (direction, before, after)


# Of vectors that tell places apart well, 64 bits lose more: see the guide of methods.
@pytest.mark.parametrize(
    ('name', 'kind', 'by_place'), [('duch', 'sign', 0.05), ('infonce', 'itq', 0.12)]
)
def test_codes_of_64_bits_lose_little(
    name: str, kind: str, by_place: float, learned: Learned
) -> None:
    run = learned(name)
    whole, coded = (
        LEARNING['place_and_class'](rows, run['world'])
        for rows in (run['rows'], LEARNING['codes'](run['rows'], kind))
    )
    for measure, allowed in (('class', 0.05), ('place', by_place)):
        for direction, value in whole[measure].items():
            assert coded[measure][direction] >= value - allowed, (measure, direction)
