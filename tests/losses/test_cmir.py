"""The terms of CMIR-NET against worked values and loops."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from torchgeo_cmr.losses import FrobeniusLoss, SoftOrthogonalityLoss, WeightNormLoss

A = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
B = torch.tensor([[1.0, 1.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ('reduction', 'value'), [('sum', 2.0), ('mean', 1.0), ('norm', 1.414214)]
)
def test_latent_of_the_worked_example(reduction: Any, value: float) -> None:
    assert FrobeniusLoss(reduction)(A, B).item() == pytest.approx(value, abs=1e-6)


def test_feature_norm_of_the_worked_example() -> None:
    loss = FrobeniusLoss('sum')
    assert (loss(A) + loss(B)).item() == 8.0


@pytest.mark.parametrize('reduction', ['sum', 'mean', 'norm'])
def test_frobenius_equals_loop(reduction: Any) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 5, 3)
    total = 0.0
    for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True):
        total += (x - y) ** 2
    expected = {'sum': total, 'mean': total / 5, 'norm': math.sqrt(total)}[reduction]
    assert FrobeniusLoss(reduction)(a, b).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('reduction', ['sum', 'mean', 'norm'])
def test_gradient_is_finite_where_nothing_is_apart(reduction: Any) -> None:
    a = A.clone().requires_grad_()
    FrobeniusLoss(reduction)(a, A).backward()
    assert a.grad is not None
    assert torch.equal(a.grad, torch.zeros(2, 2))
    assert FrobeniusLoss(reduction)(A[:0], A[:0]) == 0


def test_orthogonality_of_the_worked_example() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert SoftOrthogonalityLoss(normalize=False)(z).item() == 3.0


@pytest.mark.parametrize('normalize', [True, False])
def test_orthogonality_equals_loop(normalize: bool) -> None:
    torch.manual_seed(0)
    z = torch.randn(6, 4)
    total = 0.0
    for i in range(4):
        for j in range(4):
            u, v = z[:, i].tolist(), z[:, j].tolist()
            product = sum(x * y for x, y in zip(u, v, strict=True))
            if normalize:
                product /= math.dist(u, [0] * 6) * math.dist(v, [0] * 6)
            total += (product - (i == j)) ** 2
    found = SoftOrthogonalityLoss(normalize=normalize)(z).item()
    assert found == pytest.approx(total, rel=1e-5)


def test_orthogonality_reaches_zero_and_its_floor() -> None:
    loss = SoftOrthogonalityLoss()
    assert loss(7 * torch.eye(4)).item() == pytest.approx(0)
    # two rows of four features cannot be better than 4 (4 - 2) / 2
    tight = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert loss(tight).item() == pytest.approx(4)
    torch.manual_seed(0)
    assert min(loss(torch.randn(2, 4)).item() for _ in range(50)) >= 4 - 1e-4


def test_orthogonality_of_a_dead_feature_is_finite() -> None:
    z = torch.tensor([[1.0, 0.0], [2.0, 0.0]], requires_grad=True)
    loss = SoftOrthogonalityLoss()(z)
    loss.backward()
    assert loss.item() == pytest.approx(1)
    assert z.grad is not None
    assert z.grad.isfinite().all()


@pytest.mark.parametrize(('kind', 'value'), [('squared', 4.0), ('absolute', 2.0)])
def test_weight_norm(kind: Any, value: float) -> None:
    weight = torch.tensor([[3.0, 0.0]])
    assert WeightNormLoss(1.0, kind)(weight).item() == pytest.approx(value)
    assert WeightNormLoss(5.0, kind)(weight).item() == pytest.approx(value)
    zero = torch.zeros(2, 2, requires_grad=True)
    WeightNormLoss(0.0, kind)(zero).backward()
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize('loss', [FrobeniusLoss(), SoftOrthogonalityLoss()])
def test_half_precision_is_summed_in_full(loss: Any) -> None:
    big = torch.full((4, 300), 30.0, dtype=torch.float16)
    found: Tensor = loss(big)
    assert found.dtype == torch.float32
    assert found.isfinite()


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: FrobeniusLoss('max'), "'sum' or 'norm', found 'max'"),  # ty: ignore
        (lambda: FrobeniusLoss()(A, A[:1]), 'found 2 rows against 1'),
        (lambda: FrobeniusLoss()(A, torch.ones(2, 3)), 'found 2 against 3'),
        (lambda: SoftOrthogonalityLoss()(A[0]), r'found shape \(2,\)'),
        (lambda: WeightNormLoss(-1), 'at least 0, found -1'),
        (lambda: WeightNormLoss(1, 'cubed'), "'elementwise', found 'cubed'"),  # ty: ignore
    ],
)
def test_refuses(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_print_out_names_the_settings() -> None:
    shown = [FrobeniusLoss('norm'), SoftOrthogonalityLoss(), WeightNormLoss(2.0)]
    assert [repr(loss) for loss in shown] == [
        "FrobeniusLoss(reduction='norm')",
        'SoftOrthogonalityLoss(normalize=True)',
        "WeightNormLoss(alpha=2.0, kind='squared')",
    ]


def test_elementwise_weight_norm_is_the_formula_of_the_slides() -> None:
    weight = torch.tensor([[3.0, -1.0], [0.5, 2.0]])
    twin = sum((w - 2) ** 2 for row in weight.tolist() for w in row)
    assert WeightNormLoss(2.0, 'elementwise')(weight).item() == pytest.approx(twin)
    assert WeightNormLoss(2.0)(weight).item() != pytest.approx(twin)
