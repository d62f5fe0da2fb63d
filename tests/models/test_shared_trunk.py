from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchgeo_cmr.models import SharedTrunkEncoder, TwoHeads, build_encoder
from torchgeo_cmr.models.heads import project_together
from torchgeo_cmr.models.shared_trunk import first_layer, with_channels

CHANNELS = {'s1': 2, 's2': 5}


def build(name: str) -> SharedTrunkEncoder:
    torch.manual_seed(0)
    nets = {m: build_encoder(name, n) for m, n in CHANNELS.items()}
    head = nn.Linear(nets['s1'].num_features, 4)  # ty: ignore[invalid-argument-type]
    return SharedTrunkEncoder(nets, dict.fromkeys(nets, head))


def images(size: int = 32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        m: torch.randn(3, n, size, size, generator=generator)
        for m, n in CHANNELS.items()
    }


def layers(encoder: SharedTrunkEncoder, modality: str) -> Any:
    """The first layers of a network: a convolution, batch norm and so on."""
    return encoder.encoder(modality).conv1


@pytest.mark.parametrize('size', [32, 40])
def test_together_is_each_alone_where_rows_do_not_depend_on_each_other(
    size: int,
) -> None:
    # 40 pixels are padded to whole patches before the first layer
    encoder, x = build('vit_tiny_patch16_224').train(), images(size)
    for m, (h, z) in encoder.encode_together(x).items():
        alone = encoder(x[m], m)
        torch.testing.assert_close(h, alone[0])
        torch.testing.assert_close(z, alone[1])


def test_batch_norm_sees_all_sensors_in_training_as_in_use() -> None:
    encoder, x = build('resnet10t').train(), images()
    norm = layers(encoder, 's1')[1]
    norm.momentum = 1.0
    rows: list[Tensor] = []
    norm.register_forward_pre_hook(lambda _, args: rows.append(args[0]))
    encoder.encode_together(x)
    stems = [layers(encoder, m)[0](x[m]) for m in CHANNELS]
    torch.testing.assert_close(rows[0], torch.cat(stems))
    torch.testing.assert_close(norm.running_mean, torch.cat(stems).mean(dim=(0, 2, 3)))
    assert not layers(encoder, 's1')[0]._forward_hooks


def test_patches_of_two_sizes_go_one_after_the_other() -> None:
    encoder = build('resnet10t').train()
    x = images() | {'s2': images(64)['s2']}
    assert {
        m: h.shape for m, (h, _) in encoder.encode_together(x).items()
    } == dict.fromkeys(CHANNELS, (3, 512))


def test_gradients_reach_both_stems_and_the_trunk_once() -> None:
    encoder = build('resnet10t').train()
    sum(z.sum() for _, z in encoder.encode_together(images()).values()).backward()  # ty: ignore
    assert all(p.grad is not None for p in encoder.parameters())
    one = sum(p.numel() for p in build_encoder('resnet10t', 2).parameters())
    stem = layers(encoder, 's2')[0].weight.numel()
    assert sum(p.numel() for p in encoder.backbones.parameters()) == one + stem


def test_a_network_without_convolution_is_refused() -> None:
    with pytest.raises(ValueError, match="set stem='conv1x1'"):
        first_layer(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


def test_a_network_for_another_number_of_channels() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), nn.ReLU())
    other = with_channels(net, 7)
    assert other(torch.zeros(1, 7, 8, 8)).shape == net(torch.zeros(1, 2, 8, 8)).shape
    assert torch.equal(with_channels(net, 2)[0].weight, net[0].weight)  # ty: ignore


def test_a_shared_head_sees_all_rows_at_once() -> None:
    torch.manual_seed(0)
    head = nn.BatchNorm1d(3)
    features = {m: torch.randn(4, 3) + i for i, m in enumerate(CHANNELS)}
    rows = project_together(dict.fromkeys(features, head), features)
    whole = nn.BatchNorm1d(3)(torch.cat([*features.values()]))
    torch.testing.assert_close(torch.cat([*rows.values()]), whole)
    apart = project_together({m: nn.BatchNorm1d(3) for m in features}, features)
    torch.testing.assert_close(apart['s2'].mean(dim=0), torch.zeros(3))


def test_two_heads_one_after_the_other() -> None:
    unified, cross = nn.Linear(3, 2), nn.Linear(3, 2)
    h = torch.randn(4, 3)
    expected = torch.cat([unified(h), cross(h)], dim=1)
    assert torch.equal(TwoHeads(unified, cross)(h), expected)
