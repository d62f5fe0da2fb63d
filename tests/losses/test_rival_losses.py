"""Losses of other methods: printed values, loop twins, and the same loss of lightly."""

import math
from typing import Any

import pytest
import torch
from lightly.loss import BarlowTwinsLoss as LightlyBarlowTwins
from lightly.loss import VICRegLoss as LightlyVICReg
from torch import Tensor
from torch.nn.functional import normalize

from torchgeo_cmr.losses import (
    BarlowTwinsLoss,
    BitBalanceLoss,
    MIMLoss,
    ModalityAdversary,
    QuantisationLoss,
    SupConLoss,
    TripletLoss,
    VICRegLoss,
    common_code,
)

A = torch.tensor([[1.0, 2.0], [3.0, 0.0], [5.0, 4.0]])
B = torch.tensor([[2.0, 1.0], [2.0, 0.0], [5.0, 5.0]])
U = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
V = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
H = torch.tensor([[0.9, -0.5, 0.1, -0.9]])


def pair(rows: int = 9, dim: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, dim, generator=generator)


def columns(z: Tensor) -> list[list[float]]:
    return z.double().T.tolist()


class TestBarlowTwins:
    def test_worked_value(self) -> None:
        diagonal = BarlowTwinsLoss(0.0)(A, B).item()
        off = (BarlowTwinsLoss(1.0)(A, B) - diagonal).item()
        assert diagonal == pytest.approx(0.020984, abs=1e-5)
        assert off == pytest.approx(1.321429, abs=2e-5)  # eps of batch norm
        assert BarlowTwinsLoss()(A, B).item() == pytest.approx(0.027723, abs=1e-5)

    @pytest.mark.parametrize('target', [1.0, 0.0])
    def test_equals_loop_twin(self, target: float) -> None:
        a, b = pair()

        def standard(values: list[float]) -> list[float]:
            mean = sum(values) / len(values)
            spread = sum((v - mean) ** 2 for v in values) / len(values)
            return [(v - mean) / math.sqrt(spread) for v in values]

        first, second = ([standard(c) for c in columns(z)] for z in (a, b))
        total = 0.0
        for i, x in enumerate(first):
            for j, y in enumerate(second):
                c = sum(p * q for p, q in zip(x, y, strict=True)) / len(x)
                total += (c - target) ** 2 if i == j else 0.3 * c**2
        loss = BarlowTwinsLoss(0.3, target=target)(a, b)
        assert loss.item() == pytest.approx(total, rel=1e-4)

    def test_equals_that_of_lightly(self) -> None:
        a, b = pair()
        expected = LightlyBarlowTwins(0.02)(a, b)
        torch.testing.assert_close(BarlowTwinsLoss(0.02)(a, b), expected)


class TestVICReg:
    def test_worked_value(self) -> None:
        parts = [
            VICRegLoss(*weights)(A, B).item()
            for weights in ((1, 0, 0), (0, 1, 0), (0, 0, 1))
        ]
        assert parts == pytest.approx([0.666667, 0, 24.25], abs=1e-5)

    def test_equals_loop_twin(self) -> None:
        a, b = 0.5 * pair()
        total = 2.0 * sum(
            (p - q) ** 2
            for x, y in zip(a.tolist(), b.tolist(), strict=True)
            for p, q in zip(x, y, strict=True)
        )
        total /= a.numel()
        for z in (a, b):
            centred = [[v - sum(c) / len(c) for v in c] for c in columns(z)]
            for i, x in enumerate(centred):
                for j, y in enumerate(centred):
                    cov = sum(p * q for p, q in zip(x, y, strict=True)) / (len(x) - 1)
                    if i == j:
                        total += 3.0 * max(0, 1 - math.sqrt(cov + 1e-4)) / len(centred)
                    else:
                        total += 0.5 * cov**2 / len(centred)
        assert VICRegLoss(2.0, 3.0, 0.5)(a, b).item() == pytest.approx(total, rel=1e-5)

    def test_equals_that_of_lightly_at_half_its_variance(self) -> None:
        a, b = 0.5 * pair()
        expected = LightlyVICReg(25.0, 50.0, 1.0)(a, b)
        torch.testing.assert_close(VICRegLoss(25.0, 25.0, 1.0)(a, b), expected)


class TestTriplet:
    def test_worked_value(self) -> None:
        assert TripletLoss(0.3)(U, V).item() == pytest.approx(0.15, abs=1e-6)

    @pytest.mark.parametrize('with_mask', [False, True])
    def test_equals_loop_twin(self, with_mask: bool) -> None:
        a, b = pair(seed=1)
        generator = torch.Generator().manual_seed(2)
        exclude = torch.rand(9, 9, generator=generator) < 0.5 * with_mask
        exclude[4] = with_mask  # a row without a negative
        unit = [normalize(z.double(), dim=1) for z in (a, b)]
        total = 0.0
        for x, y in (unit, unit[::-1]):
            for i in range(9):
                others = [
                    float(x[i] @ y[j]) for j in range(9) if j != i and not exclude[i, j]
                ]
                if others:
                    total += max(0.0, 0.4 + max(others) - float(x[i] @ y[i]))
        loss = TripletLoss(0.4)(a, b, exclude if with_mask else None)
        assert loss.item() == pytest.approx(total / 18, abs=1e-6)


class TestSupCon:
    @pytest.mark.parametrize('target', ['overlap', 'jaccard', 'jaccard_mse'])
    def test_equals_loop_twin(self, target: Any) -> None:
        a, b = pair(seed=3)
        generator = torch.Generator().manual_seed(4)
        labels = (torch.rand(9, 3, generator=generator) < 0.4).float()
        labels[0] = 0  # a row without a class has its own pair alone
        sets = [{k for k in range(3) if row[k]} for row in labels]
        unit, total = [normalize(z.double(), dim=1) for z in (a, b)], 0.0
        for x, y in (unit, unit[::-1]):
            for i in range(9):
                cosines = [float(x[i] @ row) for row in y]
                index = [
                    1.0 if i == j else len(sets[i] & s) / max(1, len(sets[i] | s))
                    for j, s in enumerate(sets)
                ]
                if target == 'jaccard_mse':
                    pairs = zip(cosines, index, strict=True)
                    total += sum((c - t) ** 2 for c, t in pairs) / 9
                    continue
                if target == 'overlap':
                    index = [float(t > 0) for t in index]
                below = math.log(sum(math.exp(c / 0.3) for c in cosines))
                logs = [c / 0.3 - below for c in cosines]
                total -= sum(t * p for t, p in zip(index, logs, strict=True)) / sum(
                    index
                )
        loss = SupConLoss(0.3, target=target)(a, b, labels)
        assert loss.item() == pytest.approx(total / 18, abs=1e-5)

    def test_without_shared_labels_it_is_infonce(self) -> None:
        a, b = pair()
        expected = MIMLoss(0.2, negatives='cross')(a, b)
        torch.testing.assert_close(SupConLoss(0.2)(a, b, torch.eye(9)), expected)


class TestHashing:
    def test_worked_values(self) -> None:
        assert common_code([H]).tolist() == [[1, -1, 1, -1]]
        assert QuantisationLoss()(H, common_code([H])).item() == pytest.approx(1.08)
        assert BitBalanceLoss('bits')(H).item() == pytest.approx(0.16)

    def test_code_is_that_of_the_mean_and_has_no_zero(self) -> None:
        views = [torch.tensor([[0.9, -0.9, 0.5]]), torch.tensor([[-0.2, 0.3, -0.5]])]
        assert common_code(views).tolist() == [[1, -1, 1]]

    def test_balance_equals_loop_twins(self) -> None:
        h = pair()[0].tanh()
        rows = h.double().tolist()
        bits = [sum(row[k] for row in rows) / len(rows) for k in range(4)]
        assert BitBalanceLoss()(h).item() == pytest.approx(sum(b * b for b in bits))
        samples = sum(sum(row) ** 2 for row in rows) / len(rows)
        assert BitBalanceLoss('bits')(h).item() == pytest.approx(samples, rel=1e-5)


class TestAdversary:
    def test_each_side_learns_from_its_term_alone(self) -> None:
        torch.manual_seed(0)
        a, b = pair().requires_grad_()
        adversary = ModalityAdversary(4)
        mislead, tell = adversary(a, b)
        weights = list(adversary.parameters())
        assert torch.autograd.grad(
            mislead, weights, allow_unused=True, retain_graph=True
        ) == (None,) * len(weights)
        assert torch.autograd.grad(tell, [a], allow_unused=True, retain_graph=True) == (
            None,
        )
        (mislead + tell).backward()
        assert all(w.grad is not None for w in weights)

    def test_it_tells_modalities_apart_and_encoders_can_mislead_it(self) -> None:
        torch.manual_seed(0)
        a, b = pair(64) + torch.tensor([[[2.0]], [[-2.0]]])
        adversary = ModalityAdversary(4, penalty=0.0)
        optimizer = torch.optim.Adam(adversary.parameters(), 0.05)
        told: list[float] = []
        for _ in range(30):
            optimizer.zero_grad()
            _, tell = adversary(a, b)
            tell.backward()
            optimizer.step()
            told.append(tell.item())
        assert told[-1] < 0.1 < told[0]
        apart, _ = adversary(a, b)
        mixed, _ = adversary(b, a)
        assert mixed < 0.2 < apart

    def test_no_gradient_no_penalty(self) -> None:
        adversary = ModalityAdversary(4)
        with torch.inference_mode():
            terms = adversary(*pair())
        assert all(term.isfinite() for term in terms)


LOSSES = {
    'barlow': BarlowTwinsLoss(),
    'vicreg': VICRegLoss(),
    'triplet': TripletLoss(),
    'supcon': SupConLoss(),
}


@pytest.mark.parametrize('name', LOSSES)
def test_gradients_are_finite_where_vectors_are_equal_or_zero(name: str) -> None:
    loss = LOSSES[name]
    for rows in (torch.ones(3, 4), torch.zeros(3, 4), torch.randn(1, 4)):
        a, b = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        labels = [torch.ones(len(rows), 2)] if name == 'supcon' else []
        with torch.autocast('cpu', dtype=torch.bfloat16):
            value = loss(a, b, *labels)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert a.grad is not None
        assert a.grad.isfinite().all()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: BarlowTwinsLoss(-1), 'off_diagonal is at least 0'),
        (lambda: BarlowTwinsLoss(target=2), 'target 0 to 1'),
        (lambda: VICRegLoss(-1), 'weights of VICReg are at least 0'),
        (lambda: TripletLoss(0), 'margin must be above 0'),
        (lambda: SupConLoss(0), 'temperature must be above 0'),
        (lambda: SupConLoss(target='same'), "target must be 'overlap'"),  # ty: ignore
        (lambda: SupConLoss()(U, V, torch.zeros(3, 2)), 'one row for each of 2 pairs'),
        (lambda: BitBalanceLoss('rows'), "over must be 'samples' or 'bits'"),  # ty: ignore
        (lambda: ModalityAdversary(4, penalty=-1), 'penalty must be at least 0'),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
