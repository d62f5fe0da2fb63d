import pytest
import torch
from torch import nn

from torchgeo_cmr.models import CrossModalEncoder


def test_each_modality_uses_its_own_parts() -> None:
    torch.manual_seed(0)
    model = CrossModalEncoder(
        {'a': nn.Linear(4, 5), 'b': nn.Linear(2, 6)},
        {'a': nn.Linear(5, 3), 'b': nn.Linear(6, 3)},
    )
    x = torch.rand(7, 4)
    h, z = model(x, 'a')
    torch.testing.assert_close(h, model.backbones['a'](x))
    torch.testing.assert_close(z, model.heads['a'](h))
    h, z = model(torch.rand(7, 2), 'b')
    assert h.shape == (7, 6)
    assert z.shape == (7, 3)
    z.sum().backward()
    moved = {
        name.split('.')[1] for name, p in model.named_parameters() if p.grad is not None
    }
    assert moved == {'b'}


def test_refuses_heads_of_other_modalities() -> None:
    with pytest.raises(
        ValueError, match=r"backbones for \['a'\] and heads for \['b'\]"
    ):
        CrossModalEncoder({'a': nn.Identity()}, {'b': nn.Identity()})
