from typing import Any

import pytest
import torch
from torch import nn

from torchgeo_cmr.models import ProjectionHead


@pytest.mark.parametrize(
    ('kind', 'layers'),
    [
        ('mlp', [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]),
        ('linear_relu', [nn.Linear, nn.ReLU]),
        ('hash', [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.Tanh]),
    ],
)
def test_kinds(kind: str, layers: list[type]) -> None:
    torch.manual_seed(0)
    head = ProjectionHead(6, 3, hidden_dim=5, kind=kind)  # ty: ignore[invalid-argument-type]
    assert [type(layer) for layer in head] == layers
    z = head(10 * torch.randn(40, 6))
    assert z.shape == (40, 3)
    assert (z.min() >= 0) == (kind == 'linear_relu')
    if kind == 'hash':
        assert z.abs().max() <= 1


def test_hidden_dim_is_the_input_dim_unless_given() -> None:
    assert ProjectionHead(6, 3)[1].num_features == 6
    assert ProjectionHead(6, 3, hidden_dim=9)[1].num_features == 9


@pytest.mark.parametrize('widths', [{'output_dim': 0}, {'hidden_dim': -1}])
def test_refuses_widths_below_1(widths: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='_dim must be at least 1, found'):
        ProjectionHead(6, **widths)


def test_refuses_unknown_kind() -> None:
    with pytest.raises(
        ValueError, match="'mlp', 'linear_relu' or 'hash', found 'conv'"
    ):
        ProjectionHead(6, 3, kind='conv')  # ty: ignore[invalid-argument-type]
