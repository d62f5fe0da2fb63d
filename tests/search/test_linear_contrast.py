"""Symmetric InfoNCE in NumPy: gradients against differences, and what it finds."""

import numpy as np
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import linear_contrast


def loss(
    a: np.ndarray, b: np.ndarray, maps: list[np.ndarray], temperature: float
) -> float:
    u, v = (x @ w for x, w in zip((a, b), maps, strict=True))
    total = 0.0
    for z, other in ((u, v), (v, u)):
        for i, row in enumerate(z):
            cosines = [
                row @ o / np.linalg.norm(row) / np.linalg.norm(o) / temperature
                for o in other
            ]
            total += np.log(np.sum(np.exp(cosines))) - cosines[i]
    return total / (2 * len(a))


def test_gradients_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
    maps = [rng.normal(size=(4, 2)), rng.normal(size=(3, 2))]
    slopes = linear_contrast._slopes(a, b, maps, 0.3)
    for number, weight in enumerate(maps):
        for place in np.ndindex(weight.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = [w.copy() for w in maps]
                moved[number][place] += step
                values.append(loss(a, b, moved, 0.3))
            expected = (values[0] - values[1]) / 2e-6
            assert slopes[number][place] == pytest.approx(expected, abs=1e-7)


def test_the_loss_falls() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 8))
    b = a @ rng.normal(size=(8, 8)) + rng.normal(size=(60, 8))
    losses = [
        loss(a, b, [*linear_contrast.contrast(a, b, 0.1, steps, rng)], 0.1)
        for steps in (1, 200)
    ]
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize(('temperature', 'steps'), [(0, 1), (np.nan, 1), (0.1, 0)])
def test_numbers_out_of_range(temperature: float, steps: int) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(QueryError, match='temperature must be above 0'):
        linear_contrast.contrast(np.eye(2), np.eye(2), temperature, steps, rng)
