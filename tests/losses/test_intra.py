import math
from typing import Any

import pytest
import torch
from torch import Tensor

from torchgeo_cmr.losses import ISLoss

A = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
B = torch.tensor([[0.0, 1.0], [0.6, 0.8], [1.0, 0.0]])


def cosine(x: list[float], y: list[float]) -> float:
    dot = sum(p * q for p, q in zip(x, y, strict=True))
    return dot / math.sqrt(sum(p * p for p in x) * sum(q * q for q in y))


def neighbors(rows: list[list[float]], i: int, k: int, distance: str) -> list[int]:
    def far(j: int) -> float:
        return (
            math.dist(rows[i], rows[j])
            if distance == 'euclidean'
            else -cosine(rows[i], rows[j])
        )

    return sorted((j for j in range(len(rows)) if j != i), key=far)[:k]


def twin(a: Tensor, b: Tensor, k: int, distance: str, mine_with: str) -> float:
    both = [a.double().tolist(), b.double().tolist()]
    total = 0.0
    for m in range(2):
        miners = {'own': [m], 'other': [1 - m], 'both': [0, 1]}[mine_with]
        for i in range(len(a)):
            found = [j for w in miners for j in neighbors(both[w], i, k, distance)]
            mean = sum(cosine(both[m][i], both[m][j]) for j in found) / len(found)
            total += mean / len(a) / 2
    return -total


def test_worked_value() -> None:
    loss = ISLoss()
    assert loss._neighbors(A, A, 0).flatten().tolist() == [1, 0, 1]
    assert loss._neighbors(B, B, 0).flatten().tolist() == [1, 0, 1]
    assert loss(A, B).item() == pytest.approx(-0.733333, abs=1e-6)
    assert ISLoss(is_sign=1)(A, B).item() == pytest.approx(0.733333, abs=1e-6)


@pytest.mark.parametrize('k', [1, 3, 50])
@pytest.mark.parametrize('distance', ['euclidean', 'cosine'])
@pytest.mark.parametrize('mine_with', ['own', 'other', 'both'])
def test_equals_loop_twin(k: int, distance: str, mine_with: str) -> None:
    torch.manual_seed(1)
    a, b = torch.randn(8, 5) * torch.rand(8, 1) * 4, torch.randn(8, 3)
    loss = ISLoss(num_neighbors=k, distance=distance, mine_with=mine_with)(a, b)  # ty: ignore
    assert loss.item() == pytest.approx(twin(a, b, k, distance, mine_with), abs=1e-6)


def test_near_duplicates_far_from_the_origin_are_told_apart() -> None:
    # the product form of the distance loses these differences to rounding
    a = 1000 + torch.tensor([[0.0], [0.3], [0.4], [9.0]]).repeat(1, 40)
    assert ISLoss()._neighbors(a, a, 0).flatten().tolist() == [1, 2, 1, 2]


def test_brings_neighbors_together() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    before = ISLoss()(a, b)
    before.backward()
    assert a.grad is not None
    assert b.grad is not None
    assert ISLoss()(a - 0.1 * a.grad, b - 0.1 * b.grad) < before


def test_gradient_flows_through_both_unless_the_neighbor_is_detached() -> None:
    # row 2 is the neighbour of nobody, row 1 of both others
    b = torch.tensor([[1.0, 0.0], [0.9, 0.2], [0.0, 1.0]])
    moved = {}
    for detach in (False, True):
        a = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-0.2, 1.0]], requires_grad=True)
        ISLoss(detach_neighbor=detach)(a, b).backward()
        moved[detach] = a.grad
    assert moved[False] is not None
    assert moved[True] is not None
    torch.testing.assert_close(moved[False][2], moved[True][2])
    assert not torch.allclose(moved[False][1], moved[True][1])


@pytest.mark.parametrize('size', [0, 1])
def test_fewer_than_two_pairs_cost_nothing_and_keep_the_graph(size: int) -> None:
    a, b = (
        torch.randn(size, 4, requires_grad=True),
        torch.randn(size, 4, requires_grad=True),
    )
    loss = ISLoss()(a, b)
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None
    assert not a.grad.any()


@pytest.mark.parametrize('sign', [1.0, -1.0])
def test_gradient_is_finite_at_equal_and_opposite_vectors(sign: float) -> None:
    a = torch.tensor([[1.0, 2.0], [sign, 2 * sign]], requires_grad=True)
    b = a.detach().clone().requires_grad_()
    loss = ISLoss()(a, b)
    loss.backward()
    assert loss.item() == pytest.approx(-sign)
    for x in (a, b):
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_runs_in_fp32_under_autocast() -> None:
    torch.manual_seed(0)
    a, b = 1000 * torch.randn(6, 8), torch.randn(6, 8)
    with torch.autocast('cpu', dtype=torch.float16):
        value = ISLoss(distance='cosine')(a.half(), b.half())
    assert value.dtype == torch.float32
    expected = twin(a.half(), b.half(), 1, 'cosine', 'own')
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_neighbors': 0}, 'num_neighbors must be at least 1, found 0'),
        ({'distance': 'l1'}, "'euclidean' or 'cosine', found 'l1'"),
        ({'mine_with': 'all'}, "'own', 'other' or 'both', found 'all'"),
        ({'is_sign': 2}, 'is_sign must be -1 or'),
    ],
)
def test_refuses_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ISLoss(**options)


def test_shows_its_settings() -> None:
    assert 'num_neighbors=1' in repr(ISLoss())
