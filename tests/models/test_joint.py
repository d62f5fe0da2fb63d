from typing import Any

import pytest
import torch
from torch import nn

from torchgeo_cmr.models import JointEncoder


def make() -> JointEncoder:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(32, 6, 3), nn.BatchNorm2d(6), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    heads = {'a': nn.Linear(6, 4), 'b': nn.Linear(6, 4)}
    return JointEncoder({'a': 2, 'b': 5}, trunk, heads)


def test_the_stems_are_the_only_difference() -> None:
    model = make()
    stems: list[Any] = list(model.stems.values())
    assert [tuple(stem.weight.shape) for stem in stems] == [
        (32, 2, 1, 1),
        (32, 5, 1, 1),
    ]
    assert all(stem.bias is not None for stem in stems)
    assert model.encoder('a') is model.encoder('b') is model.trunk
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len({id(p) for p in model.parameters()})
    for modality, channels in (('a', 2), ('b', 5)):
        model.zero_grad()
        h, z = model(torch.rand(3, channels, 8, 8), modality)
        assert (h.shape, z.shape) == ((3, 6), (3, 4))
        z.square().sum().backward()
        moved = {
            n.split('.')[0] for n, p in model.named_parameters() if p.grad is not None
        }
        own = {n for n, p in model.named_parameters() if p.grad is not None}
        assert 'trunk' in moved
        other = 'b' if modality == 'a' else 'a'
        assert not any(f'.{other}.' in name for name in own)


def test_together_is_one_by_one_where_rows_stand_alone() -> None:
    model = make().eval()
    images = {'a': torch.rand(3, 2, 8, 8), 'b': torch.rand(4, 5, 8, 8)}
    for modality, (h, z) in model.encode_together(images).items():
        alone = model(images[modality], modality)
        torch.testing.assert_close(h, alone[0])
        torch.testing.assert_close(z, alone[1])


def test_batch_norm_sees_all_modalities_at_once() -> None:
    images = {'a': torch.rand(6, 2, 8, 8), 'b': 5 + torch.rand(6, 5, 8, 8)}
    model = make()
    together = torch.cat([h for h, _ in model.encode_together(images).values()])
    # of one batch over both, the mean is 0; of two batches, each would be
    torch.testing.assert_close(together.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    assert together[:6].mean(dim=0).abs().min() > 0.1


def test_patches_of_different_sizes() -> None:
    images = {'a': torch.rand(3, 2, 8, 8), 'b': torch.rand(3, 5, 12, 12)}
    rows = make().encode_together(images)
    assert rows['a'][1].shape == rows['b'][1].shape == (3, 4)


def test_refuses_heads_of_other_modalities() -> None:
    with pytest.raises(ValueError, match=r"stems for \['a'\] and heads for \['b'\]"):
        JointEncoder({'a': 1}, nn.Identity(), {'b': nn.Identity()})
