"""Networks of others as encoders."""

from typing import Any

import pytest
import timm
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
    for shape in ((2, 5), (2, 7, 5)):
        with pytest.raises(TypeError, match='grid=2 needs a feature map, found shape'):
            pool(torch.ones(shape), 2)


def test_a_grid_holds_the_mean_of_each_cell() -> None:
    maps = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    cells = pool(maps, 2).view(2, 3, 2, 2)
    assert torch.equal(cells[..., 0, 1], maps[..., :2, 3:].mean(dim=(2, 3)))
    assert torch.equal(pool(maps, 1), maps.mean(dim=(2, 3)))


class TestStages:
    @pytest.mark.parametrize(
        ('model', 'stage', 'reduction'),
        [('resnet18', 2, 8), ('convnext_atto', 0, 4), ('resnet10t', -1, 32)],
    )
    def test_the_map_is_that_of_timm(
        self, model: str, stage: int, reduction: int
    ) -> None:
        torch.manual_seed(0)
        whole = timm.create_model(model, in_chans=2, num_classes=0).eval()
        x = torch.randn(2, 2, 64, 64)
        maps: Any = whole.forward_intermediates
        expected = maps(x, intermediates_only=True)[stage]
        assert expected.shape[2] == 64 // reduction
        torch.manual_seed(0)
        encoder = build_encoder(model, 2, stage=stage, grid=2).eval()
        assert torch.allclose(encoder(x), pool(expected, 2), atol=1e-6)
        assert encoder.num_features == 4 * expected.shape[1]

    def test_layers_behind_it_are_left_out(self) -> None:
        early, late = (build_encoder('resnet18', 3, stage=k) for k in (1, 3))
        assert not any('layer2' in name for name, _ in early.named_parameters())
        assert any('layer3' in name for name, _ in late.named_parameters())

    def test_initial_weights_are_those_of_the_whole_network(
        self, tmp_path: Any
    ) -> None:
        whole = timm.create_model('resnet10t', in_chans=2, num_classes=0)
        torch.save(whole.state_dict(), tmp_path / 'whole.pt')
        options: dict[str, Any] = {'stage': 2, 'grid': 4}
        encoder = build_encoder('resnet10t', 2, str(tmp_path / 'whole.pt'), **options)
        known = whole.state_dict()
        for name, value in encoder.state_dict().items():
            assert torch.equal(value, known[name.removeprefix('network.')])
        # And the weights of a network that was cut are those of one that is cut alike.
        torch.save(encoder.state_dict(), tmp_path / 'cut.pt')
        again = build_encoder('resnet10t', 2, str(tmp_path / 'cut.pt'), **options)
        x = torch.randn(1, 2, 32, 32)
        assert torch.equal(again.eval()(x), encoder.eval()(x))

    def test_a_grid_tells_where_something_is(self) -> None:
        torch.manual_seed(0)
        left = torch.zeros(1, 1, 64, 64)
        left[..., 24:40, 0:16] = 1
        right = left.flip(3)
        apart = []
        for grid in (1, 4):
            encoder = build_encoder('resnet18', 1, stage=2, grid=grid).eval()
            with torch.no_grad():
                a, b = (nn.functional.normalize(encoder(x)) for x in (left, right))
            apart.append((a - b).norm().item())
        assert apart[1] > 3 * apart[0]

    @pytest.mark.parametrize(
        ('model', 'options', 'message'),
        [
            ('resnet10t', {'stage': 9}, 'ResNet for s1 has no stage 9'),
            ('swin_t', {'stage': 1}, 'stage=1 is one of a timm model, found swin_t'),
            (nn.Conv2d(3, 8, 3), {'stage': 1}, 'found Conv2d for s1'),
            (Tokens(), {'grid': 2}, 'grid=2 needs a feature map'),
            ('resnet10t', {'grid': 0}, 'grid must be at least 1, found 0'),
        ],
    )
    def test_refused(self, model: Any, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            build_encoder(model, 3, modality='s1', **options)


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
