from typing import Any

import pytest
import torch
from torch import nn

from torchgeo_cmr.models import EarlyFusionEncoder, fuse

A = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
B = torch.tensor([[5.0, 0.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    ('how', 'expected'),
    [
        ('concat', [[1, 2, 5, 0], [3, -4, 1, 2]]),
        ('mean', [[3, 1], [2, -1]]),
        ('sum', [[6, 2], [4, -2]]),
        ('max', [[5, 2], [3, 2]]),
    ],
)
def test_by_hand(how: Any, expected: list[list[int]]) -> None:
    assert fuse([A, B], how).tolist() == expected


@pytest.mark.parametrize('how', ['mean', 'sum', 'max'])
def test_one_by_one_kinds_do_not_care_for_order_and_need_one_width(how: Any) -> None:
    assert torch.equal(fuse([A, B], how), fuse([B, A], how))
    with pytest.raises(ValueError, match=r"one width, .*: fuse by 'concat'"):
        fuse([A, B[:, :1]], how)
    assert fuse([A, B[:, :1]], 'concat').shape == (2, 3)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="'sum' or 'max', found 'min'"):
        fuse([A, B], 'min')  # ty: ignore[invalid-argument-type]
    for features in ([], [A, B[:1]], [A[0]]):
        with pytest.raises(ValueError, match='matrices of as many rows, found shapes'):
            fuse(features)


def test_early_fusion_stacks_the_bands() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4, 5))
    model = EarlyFusionEncoder(body, nn.Linear(5, 2))
    a, b = torch.rand(6, 1, 2, 2), torch.rand(6, 2, 2, 2)
    h, z = model([a, b])
    torch.testing.assert_close(h, body(torch.cat([a, b], dim=1)))
    assert z.shape == (6, 2)
    assert model.encoder('a') is body
