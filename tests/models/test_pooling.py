"""Networks of others as encoders."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchgeo_cmr.models import build_encoder
from torchgeo_cmr.models.pooling import pool
from torchgeo_cmr.tasks import SSCMRSIR, load_task


class Tokens(nn.Module):
    """Gives (batch, tokens, features)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x).flatten(2).transpose(1, 2)


@pytest.mark.parametrize('shape', [(2, 5), (2, 7, 5), (2, 5, 3, 4)])
def test_vectors_tokens_and_maps_become_vectors(shape: tuple[int, ...]) -> None:
    output = torch.ones(shape)
    assert pool(output).shape == (2, 5)
    assert pool([torch.zeros(9), output]).shape == (2, 5)
    assert torch.equal(pool(output), torch.ones(2, 5))


def test_other_outputs_are_refused() -> None:
    with pytest.raises(TypeError, match='tokens or a feature map, found dict'):
        pool({'x': torch.ones(2, 5)})  # ty: ignore[invalid-argument-type]


@pytest.mark.parametrize(
    ('network', 'width'),
    [(nn.Conv2d(3, 8, 3), 8), (Tokens(), 6), (nn.Sequential(nn.LazyConv2d(4, 3)), 4)],
)
def test_a_copy_of_a_network(network: nn.Module, width: int) -> None:
    encoder = build_encoder(network, 3)
    assert encoder.num_features == width
    assert encoder(torch.randn(2, 3, 64, 64)).shape == (2, width)
    ours = {id(p) for p in encoder.parameters()}
    assert not ours & {id(p) for p in network.parameters()}


@pytest.mark.parametrize(('name', 'width'), [('swin_t', 768), ('tilenet', 512)])
def test_models_of_torchgeo(name: str, width: int) -> None:
    encoder = build_encoder(name, 4).eval()
    assert encoder.num_features == width
    assert encoder(torch.randn(1, 4, 64, 64)).shape == (1, width)


@pytest.mark.parametrize(
    ('network', 'channels', 'message'),
    [
        (
            nn.Conv2d(3, 8, 3),
            4,
            r'Conv2d for s1 does not take pictures of shape \(batch, 4',
        ),
        (nn.Bilinear(2, 2, 2), 2, 'alone'),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(8)), 3, 'for s1 has lazy layers'),
        ('swin_x', 4, 'neither has TorchGeo'),
    ],
)
def test_refused(network: Any, channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_encoder(network, channels, modality='s1')
    with pytest.raises(ValueError, match='weights=True'):
        build_encoder(nn.Conv2d(3, 8, 3), 3, weights=True)


def test_a_checkpoint_wants_the_network_again(tmp_path: Any) -> None:
    networks: dict[str, Any] = {'a': nn.Conv2d(1, 8, 3), 'b': 'test_resnet'}
    task = SSCMRSIR({'a': 1, 'b': 2}, networks, mde_weight=0, output_dim=4)
    checkpoint: dict[str, Any] = {
        'state_dict': task.state_dict(),
        'hyper_parameters': dict(task.hparams),
    }
    task.on_save_checkpoint(checkpoint)
    path = tmp_path / 'x.ckpt'
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match='an encoder of your own for a: pass'):
        load_task(path)
    loaded = load_task(path, model={**networks, 'a': nn.Conv2d(1, 8, 3)})
    assert loaded.space == task.space
    assert loaded.hparams['model'] == {
        'a': 'torch.nn.modules.conv.Conv2d',
        'b': 'test_resnet',
    }
