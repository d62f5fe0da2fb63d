import math

import pytest
import torch

from torchgeo_cmr.losses import SIGRegLoss


def twin(
    rows: torch.Tensor, directions: torch.Tensor, points: int, end: float
) -> float:
    """The formula, one number at a time."""
    step, total = end / (points - 1), 0.0
    for u in directions.double():
        along = [float(r @ u) for r in rows.double()]
        for k in range(points):
            t = k * step
            weight = step * (0.5 if k in (0, points - 1) else 1) * math.exp(-t * t / 2)
            real = sum(math.cos(t * s) for s in along) / len(along)
            imaginary = sum(math.sin(t * s) for s in along) / len(along)
            total += weight * ((real - math.exp(-t * t / 2)) ** 2 + imaginary**2)
    return len(rows) * total / len(directions)


def test_worked_value() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = SIGRegLoss(points=3)(rows, torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx(0.007407, abs=1e-6)


def test_equals_loop_twin() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = 2 * torch.randn(7, 4, generator=generator) + 0.3
    directions = torch.nn.functional.normalize(
        torch.randn(5, 4, generator=generator), dim=1
    )
    for points, end in ((5, 3.0), (17, 2.0)):
        loss = SIGRegLoss(points=points, end=end)(rows, directions)
        assert loss.item() == pytest.approx(
            twin(rows, directions, points, end), rel=1e-5
        )


def test_a_normal_cloud_costs_less_than_a_line_or_a_point() -> None:
    torch.manual_seed(0)
    normal, loss = torch.randn(500, 6), SIGRegLoss()
    line = normal[:, :1] * torch.ones(6)
    values = [loss(rows).item() for rows in (normal, line, torch.zeros(500, 6))]
    assert values == sorted(values)
    assert values[1] > 5 * values[0]


def test_pulls_a_collapsed_cloud_apart_and_runs_in_fp32() -> None:
    torch.manual_seed(0)
    rows = (0.01 * torch.randn(64, 4)).requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = SIGRegLoss()(rows)
    loss.backward()
    assert loss.dtype == torch.float32
    assert rows.grad is not None
    moved = rows - rows.grad
    assert moved.std() > rows.std()


@pytest.mark.parametrize('options', [{'directions': 0}, {'points': 1}, {'end': 0.0}])
def test_refuses_impossible_numbers(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match='at least 1 direction, 2 points'):
        SIGRegLoss(**options)  # ty: ignore[invalid-argument-type]
