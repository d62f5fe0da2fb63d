"""Models that TorchGeo has and timm has not: loaded by its code, cut to bands, one vector each."""

from collections.abc import Callable
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torchgeo.models
from shallow import make_shallow
from torch import Tensor, nn
from torchgeo.models import (
    Aurora_Weights,
    DEO_Weights,
    EarthLoc_Weights,
    SatCLIP_Weights,
    ScaleMAELarge16_Weights,
    Swin_B_Weights,
    Swin_T_Weights,
    Tessera_Weights,
    Unet_Weights,
)
from torchgeo.models.deo import DEO
from torchvision.models import SwinTransformer
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import OptionError
from torchgeo_cmr.models import build_encoder

type Publish = Callable[[type[WeightsEnum], dict[str, Any]], None]


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Have an enum give these tensors in place of a download."""

    def put(weights: type[WeightsEnum], state: dict[str, Any]) -> None:
        monkeypatch.setattr(weights, 'get_state_dict', lambda *_, **__: dict(state))

    return put


def unet(weights: Unet_Weights, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    meta = weights.meta
    return smp.create_model(
        'Unet',
        encoder_name=meta['encoder'],
        encoder_weights=None,
        in_channels=meta['in_chans'],
        classes=meta['num_classes'],
    ).eval()


def encode(encoder: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder.eval()(x)


def last_stage(network: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network.encoder(x)[-1].mean(dim=(2, 3))


class TestUnet:
    @pytest.mark.slow
    def test_vectors_are_those_of_the_encoder(self, publish: Publish) -> None:
        weights = Unet_Weights.NAIP_RGBN_RESNET18_CHESAPEAKERSC
        truth = unet(weights)
        publish(Unet_Weights, truth.state_dict())
        encoder = build_encoder('unet', 4, weights, bands=['N', 'R', 'G', 'B'])
        x = torch.rand(2, 4, 64, 64)
        expected = last_stage(truth, x[:, [1, 2, 3, 0]])
        torch.testing.assert_close(encode(encoder, x), expected)

    @pytest.mark.slow
    def test_pictures_of_two_dates_are_made_of_one(self, publish: Publish) -> None:
        """Fields of the world see each band twice; a patch is given for both dates."""
        weights = Unet_Weights.SENTINEL2_2CLASS_FTW
        truth = unet(weights)
        publish(Unet_Weights, truth.state_dict())
        encoder = build_encoder('unet', 4, weights, bands=['B04', 'B03', 'B02', 'B08'])
        x = torch.rand(2, 4, 64, 64)
        expected = last_stage(truth, torch.cat([x, x], dim=1))
        torch.testing.assert_close(encode(encoder, x), expected, rtol=1e-4, atol=1e-5)
        both = build_encoder('unet', 8, weights, bands=weights.meta['bands'])
        other = torch.rand(2, 4, 64, 64)
        dates = torch.cat([x, other], dim=1)
        expected = last_stage(truth, dates)
        torch.testing.assert_close(encode(both, dates), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('bands', 'stem'),
    [(['B02', 'B03', 'B04'], 'conv_rgb'), (['B12', 'B04', 'B03', 'B02'], 'conv_ms')],
)
def test_deo_has_a_first_layer_for_colours_and_one_for_ten_bands(
    publish: Publish, bands: list[str], stem: str
) -> None:
    torch.manual_seed(0)
    truth = DEO().eval()
    publish(DEO_Weights, truth.state_dict())
    weights = DEO_Weights.DEO_SWIN
    encoder = build_encoder('deo_base', len(bands), weights, bands=bands)
    x = torch.rand(1, len(bands), 96, 96)
    names = weights.meta['bands'][: 3 if stem == 'conv_rgb' else 10]
    whole = torch.zeros(1, len(names), 96, 96)
    for i, band in enumerate(bands):
        whole[:, names.index(band.replace('B0', 'B'))] = x[:, i]
    with torch.no_grad():
        expected = truth(whole).mean(dim=(1, 2))  # channels come last
    assert expected.shape == (1, 1024)
    torch.testing.assert_close(encode(encoder, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('model', 'weights', 'make', 'size'),
    [
        ('swin_t', Swin_T_Weights.CITYSCAPES_SEMSEG, {}, 64),
        (
            'swin_b',
            Swin_B_Weights.CITYSCAPES_SEMSEG,
            lambda: SwinTransformer(
                [4, 4], 128, [2, 2, 18, 2], [4, 8, 16, 32], [12, 12]
            ),
            64,
        ),
        ('earthloc', EarthLoc_Weights.SENTINEL2_RESNET50, {}, 320),
        ('scalemae_large_patch16', ScaleMAELarge16_Weights.FMOW_RGB, {}, 224),
    ],
)
def test_published_tensors_are_those_that_encode(
    publish: Publish,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    weights: WeightsEnum,
    make: Any,
    size: int,
) -> None:
    make_shallow(monkeypatch)
    torch.manual_seed(0)
    truth: Any = make() if callable(make) else torchgeo.models.get_model(model)
    # Files of Swin lack the last norm, which starts as the identity, and the classifier.
    left_out = ('norm.', 'head.') if 'swin' in model else ('head.',)
    state = {k: v for k, v in truth.state_dict().items() if not k.startswith(left_out)}
    publish(type(weights), state)
    torch.manual_seed(1)
    encoder = build_encoder(model, 3, weights)
    if hasattr(truth, 'head'):
        truth.head = nn.Identity()
    x = torch.rand(1, 3, size, size)
    torch.testing.assert_close(encode(encoder, x), encode(truth, x))


@pytest.mark.parametrize(
    ('model', 'weights', 'message'),
    [
        (
            'aurora_swin_unet',
            Aurora_Weights.HRES_T0_AURORA,
            'forecasts weather .* take a model of pictures',
        ),
        (
            'satclip',
            SatCLIP_Weights.SATCLIP_VIT16_L40,
            'encodes longitude and latitude',
        ),
        (
            'tessera',
            Tessera_Weights.TESSERA,
            'encodes single pixels .* take presto, .*embed.from_dataset',
        ),
    ],
)
def test_models_of_other_inputs(model: str, weights: WeightsEnum, message: str) -> None:
    for given in (weights, None):
        with pytest.raises(OptionError, match=f"'{model}' for s2 {message}"):
            build_encoder(model, 4, given, modality='s2')


def test_tensors_of_another_network(publish: Publish) -> None:
    weights = Unet_Weights.NAIP_RGBN_RESNET18_CHESAPEAKERSC
    publish(Unet_Weights, {'encoder.conv1.weight': torch.zeros(3)})
    with pytest.raises(ValueError, match='does not hold the weights of unet for s2'):
        build_encoder('unet', 4, weights, modality='s2')
    with pytest.raises(ValueError, match=r"were made for unet, .* set model='unet'"):
        build_encoder('resnet18', 4, weights)
    publish(ScaleMAELarge16_Weights, {'cls_token': torch.zeros(1, 1, 1024)})
    weights = ScaleMAELarge16_Weights.FMOW_RGB
    with pytest.raises(ValueError, match='stage=1 is one of a timm model'):
        build_encoder('scalemae_large_patch16', 3, weights, stage=1)


@pytest.mark.slow
def test_a_file_of_which_nothing_fits_is_noticed(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchGeo takes any tensors for those of Scale-MAE and leaves the rest at random."""
    make_shallow(monkeypatch)
    publish(ScaleMAELarge16_Weights, {'cls_token': torch.zeros(1, 1, 1024)})
    with pytest.raises(ValueError, match='does not hold the weights of scalemae'):
        build_encoder('scalemae_large_patch16', 3, ScaleMAELarge16_Weights.FMOW_RGB)
