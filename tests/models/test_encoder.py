import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor
from torchgeo.models import ResNet50_Weights
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models import build_encoder


def small(in_chans: int = 2) -> dict[str, Tensor]:
    torch.manual_seed(3)
    return timm.create_model('resnet10t', in_chans=in_chans, num_classes=5).state_dict()


def same(encoder: torch.nn.Module, state: dict[str, Tensor]) -> bool:
    mine = encoder.state_dict()
    return all(torch.equal(value, state[key]) for key, value in mine.items())


@pytest.mark.parametrize('options', [{}, {'stage': 1}], ids=['whole', 'of a stage'])
def test_a_network_of_one_size_says_so(options: dict[str, Any]) -> None:
    encoder = build_encoder(
        'swin_tiny_patch4_window7_224', 2, modality='s1', **options
    ).eval()
    for part in (encoder, pickle.loads(pickle.dumps(encoder))):
        with pytest.raises(
            RasterError,
            match='the network for s1 takes pictures of 224 x 224 pixels alone, found 32 x 32',
        ):
            part(torch.zeros(1, 2, 32, 32))
    with torch.inference_mode():
        assert encoder(torch.zeros(1, 2, 224, 224)).isfinite().all()


def test_what_is_meant_is_said_once() -> None:
    with pytest.raises(ValueError, match=r'resnet18x.*, perhaps') as caught:
        build_encoder('resnet18x', 2)
    near = str(caught.value).split('perhaps ')[1].split(',')[0].split(' or ')
    assert len(near) == len(set(near)) == 3


@pytest.mark.parametrize(
    ('model', 'channels', 'size'),
    [('resnet10t', 12, 32), ('vit_tiny_patch16_224', 2, 40), ('convnext_atto', 1, 32)],
)
def test_any_network_any_channels(model: str, channels: int, size: int) -> None:
    encoder = build_encoder(model, channels).eval()
    h = encoder(torch.rand(3, channels, size, size))
    assert h.shape == (3, encoder.num_features)
    assert not torch.allclose(h[0], h[1])


def test_relatives_that_know_one_size_only_are_built_too() -> None:
    assert build_encoder('vit_relpos_small_patch16_224', 2).num_features == 384


@pytest.mark.parametrize('prefix', ['', 'module.', 'backbone.', 'model.backbones.s1.'])
@pytest.mark.parametrize('shell', [None, 'state_dict', 'model'])
def test_files_with_and_without_prefix_and_classifier(
    tmp_path: Path, prefix: str, shell: str | None
) -> None:
    state = small()
    content: dict[str, Any] = {prefix + key: value for key, value in state.items()}
    if shell:
        content = {shell: content, 'epoch': 3}
    torch.save(content, tmp_path / 'w.pt')
    encoder = build_encoder('resnet10t', 2, str(tmp_path / 'w.pt'), modality='s1')
    assert same(encoder, state)


def test_own_modality_is_taken_from_a_checkpoint_of_two(tmp_path: Path) -> None:
    path = str(tmp_path / 'w.pt')
    s1, s2 = small(), {key: value + 1 for key, value in small().items()}
    content = {f'model.backbones.s1.{key}': value for key, value in s1.items()}
    content |= {f'model.backbones.s2.{key}': value for key, value in s2.items()}
    torch.save({'state_dict': content}, path)
    assert same(build_encoder('resnet10t', 2, path, modality='s2'), s2)
    assert same(build_encoder('resnet10t', 2, path, modality='s1'), s1)
    with pytest.raises(ValueError, match=r"several encoders, .*none of 'dem'"):
        build_encoder('resnet10t', 2, path, modality='dem')


def test_student_is_preferred_to_momentum_copy(tmp_path: Path) -> None:
    state = small()
    content = {f'backbone_momentum.{key}': value + 1 for key, value in state.items()}
    content |= {f'backbone.{key}': value for key, value in state.items()}
    torch.save({'state_dict': content}, tmp_path / 'w.pt')
    assert same(build_encoder('resnet10t', 2, str(tmp_path / 'w.pt')), state)


@pytest.mark.slow
def test_torchgeo_weights_by_enum_and_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    state = timm.create_model('resnet50', in_chans=2).state_dict()
    monkeypatch.setattr(
        WeightsEnum, 'get_state_dict', lambda self, **options: dict(state)
    )
    weights = ResNet50_Weights.SENTINEL1_ALL_MOCO
    for given in (weights, str(weights)):
        assert same(build_encoder('resnet50', 2, given), state)


def test_true_asks_timm_and_false_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    create = timm.create_model

    def spy(name: str, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        asked.append(pretrained)
        return create(name, False, **options)

    monkeypatch.setattr('torchgeo_cmr.models.encoder.announce_weights', lambda *_: None)
    monkeypatch.setattr(timm, 'create_model', spy)
    for weights in (True, False, None):
        build_encoder('resnet10t', 3, weights)
    assert asked == [True, False, False]


class TestRefuses:
    def test_unknown_model(self) -> None:
        with pytest.raises(
            ValueError, match=r"no model 'resnet5o' for s1, perhaps .*resnet50"
        ):
            build_encoder('resnet5o', 2, modality='s1')

    def test_weights_that_are_nothing(self) -> None:
        with pytest.raises(
            ValueError, match='neither a file nor the name of TorchGeo weights'
        ):
            build_encoder('resnet10t', 2, 'nowhere.pt')

    def test_weights_of_another_model(self) -> None:
        with pytest.raises(
            ValueError, match="made for resnet50, found model='resnet10t'"
        ):
            build_encoder('resnet10t', 2, ResNet50_Weights.SENTINEL1_ALL_MOCO)

    def test_weights_for_other_channels_before_any_download(self) -> None:
        with pytest.raises(
            RasterError, match=r'for 2 channels \(VV, VH\), found 3 for s1'
        ):
            build_encoder(
                'resnet50', 3, ResNet50_Weights.SENTINEL1_ALL_MOCO, modality='s1'
            )

    def test_file_for_other_channels(self, tmp_path: Path) -> None:
        torch.save(small(in_chans=4), tmp_path / 'w.pt')
        with pytest.raises(RasterError, match='made for 4 channels, found 2'):
            build_encoder('resnet10t', 2, str(tmp_path / 'w.pt'))

    def test_file_of_another_network(self, tmp_path: Path) -> None:
        path = str(tmp_path / 'w.pt')
        torch.save({'other.weight': torch.zeros(1)}, path)
        with pytest.raises(
            ValueError, match=r'does not hold this network: .* it has 0'
        ):
            build_encoder('resnet10t', 2, path)
        state = small()
        state.popitem()
        del state['bn1.weight']
        torch.save(state, path)
        with pytest.raises(
            ValueError, match=r'does not hold this network: .*check model='
        ):
            build_encoder('resnet10t', 2, path)

    def test_file_of_another_width(self, tmp_path: Path) -> None:
        state = small()
        state['layer1.0.bn1.weight'] = torch.zeros(3)
        torch.save(state, tmp_path / 'w.pt')
        with pytest.raises(
            ValueError, match=r"'layer1.0.bn1.weight' has shape \(3,\), expected"
        ):
            build_encoder('resnet10t', 2, str(tmp_path / 'w.pt'))

    def test_file_without_weights(self, tmp_path: Path) -> None:
        torch.save([1, 2], tmp_path / 'w.pt')
        with pytest.raises(ValueError, match=r'holds no weights: .* found list'):
            build_encoder('resnet10t', 2, str(tmp_path / 'w.pt'))
        (tmp_path / 'w.txt').write_text('no weights')
        with pytest.raises(ValueError, match=r'read safely \(weights_only=True\)'):
            build_encoder('resnet10t', 2, str(tmp_path / 'w.txt'))
