import math
from typing import Any

import pytest
import torch

from torchgeo_cmr.losses import MDELoss

U = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
V = torch.tensor([[0.6, 0.8], [0.0, 1.0]])


def twin(a: torch.Tensor, b: torch.Tensor, kind: str) -> float:
    total = 0.0
    for x, y in zip(a.double().tolist(), b.double().tolist(), strict=True):
        dot = sum(p * q for p, q in zip(x, y, strict=True))
        cosine = dot / math.sqrt(sum(p * p for p in x) * sum(q * q for q in y))
        if kind == 'softplus':
            total -= math.log(1 + math.exp(cosine))
        elif kind == 'cosine':
            total += 1 - cosine
        else:
            total += math.acos(max(-1.0, min(1.0, cosine))) / math.pi
    return total / len(a)


@pytest.mark.parametrize(
    ('kind', 'value'), [('softplus', -1.175375), ('angular', 0.147584), ('cosine', 0.2)]
)
def test_worked_value(kind: Any, value: float) -> None:
    assert MDELoss(kind)(U, V).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize('kind', ['softplus', 'angular', 'cosine'])
def test_equals_loop_twin(kind: Any) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(9, 5), 4 * torch.randn(9, 5)
    assert MDELoss(kind)(a, b).item() == pytest.approx(twin(a, b, kind), abs=1e-6)


@pytest.mark.parametrize(
    ('kind', 'same', 'opposite'),
    [('softplus', -1.313262, -0.313262), ('angular', 0.0, 1.0), ('cosine', 0.0, 2.0)],
)
def test_range_and_finite_gradient_at_its_ends(
    kind: Any, same: float, opposite: float
) -> None:
    for sign, value in ((1, same), (-1, opposite)):
        a = torch.tensor([[0.3, -2.0, 1.0]], requires_grad=True)
        b = (sign * a.detach()).requires_grad_()
        loss = MDELoss(kind)(a, b)
        loss.backward()
        assert loss.item() == pytest.approx(value, abs=1e-6)
        assert a.grad is not None
        assert a.grad.isfinite().all()
        assert a.grad.norm() < 10


@pytest.mark.parametrize('kind', ['softplus', 'angular', 'cosine'])
def test_zero_rows_do_no_harm(kind: Any) -> None:
    a, b = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    loss = MDELoss(kind)(a, b)
    loss.backward()
    assert loss.isfinite()
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize('kind', ['softplus', 'angular', 'cosine'])
def test_closer_is_lower_and_it_pulls(kind: Any) -> None:
    loss = MDELoss(kind)
    anchor = torch.tensor([[1.0, 0.0]])
    values = [
        loss(anchor, torch.tensor([[math.cos(t), math.sin(t)]])).item()
        for t in (0.0, 0.5, 1.5, 3.0)
    ]
    assert values == sorted(values)
    b = torch.tensor([[0.6, 0.8]], requires_grad=True)
    before = loss(anchor, b)
    before.backward()
    assert b.grad is not None
    assert loss(anchor, b - 0.1 * b.grad) < before


@pytest.mark.parametrize('kind', ['softplus', 'angular', 'cosine'])
def test_runs_in_fp32_under_autocast(kind: Any) -> None:
    a, b = 300 * torch.ones(2, 64), 300 * torch.ones(2, 64)
    with torch.autocast('cpu', dtype=torch.float16):
        value = MDELoss(kind)(a.half(), b.half())
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(twin(a, b, kind), abs=1e-6)


def test_refuses_unknown_kind_and_shows_its_own() -> None:
    with pytest.raises(ValueError, match="'angular' or 'cosine', found 'euclid'"):
        MDELoss('euclid')  # ty: ignore[invalid-argument-type]
    with pytest.raises(ValueError, match='one width'):
        MDELoss()(torch.zeros(2, 3), torch.zeros(2, 4))
    assert repr(MDELoss()) == "MDELoss(kind='softplus')"
