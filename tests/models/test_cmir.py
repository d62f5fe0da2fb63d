from typing import Any

import pytest
import torch
from torch import nn

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models import (
    CMIRConvNet,
    FeatureEncoder,
    SpeechEncoder,
    UnifiedEncoderDecoder,
    build_feature_encoder,
)
from torchgeo_cmr.models.speech import mask_stripes


@pytest.mark.parametrize(
    ('pool', 'shape'), [((2, 2, 4), (4, 64, 64)), ((4, 4, 4), (1, 256, 256))]
)
def test_convnet_is_that_of_the_table(
    pool: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    net = CMIRConvNet(shape[0], pool=pool).eval()
    x = torch.randn(2, *shape)
    assert net.blocks(x).shape == (2, 128, 4, 4)
    linear = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(2048, 128)]
    z = net(x)
    assert z.shape == (2, 128)
    assert (z >= 0).all()
    assert CMIRConvNet(shape[0], 8, pool=pool)(x).shape == (2, 8)


@pytest.mark.parametrize('side', [1, 7, 16, 100])
def test_convnet_takes_any_size(side: int) -> None:
    net = CMIRConvNet(2, pool=(4, 4, 4)).eval()
    assert net(torch.randn(2, 2, side, side)).isfinite().all()


def test_convnet_refuses_pools() -> None:
    with pytest.raises(ValueError, match=r'three blocks, found \(2, 2\)'):
        CMIRConvNet(1, pool=(2, 2))


@pytest.mark.parametrize('model', [None, 'test_resnet'])
def test_speech_encoder_hears(model: str | None) -> None:
    torch.manual_seed(0)
    encoder = SpeechEncoder(model, frames=50).eval()
    sound = torch.randn(2, 1, 9000, requires_grad=True)
    z = encoder(sound)
    assert z.shape == (2, 128)
    z.sum().backward()
    assert sound.grad is not None
    assert sound.grad.isfinite().all()


def test_speech_encoder_of_other_widths_looks_at_as_many_bands() -> None:
    encoder = SpeechEncoder(frames=50, num_mels=40, widths=(4, 6)).eval()
    assert encoder.front(torch.zeros(1, 1, 9000)).shape == (1, 1, 50, 40)
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [4, 6]
    assert encoder(torch.randn(2, 1, 9000)).shape == (2, 128)


@pytest.mark.parametrize('widths', [(), (4, 0)])
def test_speech_encoder_needs_a_convolution(widths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match='one convolution or more'):
        SpeechEncoder(widths=widths)


def test_speech_encoder_does_not_care_how_loud_it_is() -> None:
    encoder = SpeechEncoder().eval()
    sound = torch.randn(2, 1, 16_000)
    torch.testing.assert_close(
        encoder(sound), encoder(0.1 * sound), atol=1e-2, rtol=1e-2
    )


def test_masks_are_stripes_of_at_most_the_width() -> None:
    torch.manual_seed(0)
    whole = torch.ones(50, 1, 30, 20)
    for dim, other in ((2, 3), (3, 2)):
        masked = mask_stripes(whole, dim, 5)
        lines = (masked == 0).all(dim=other)[:, 0]
        assert ((masked == 0).any(dim=other)[:, 0] == lines).all()
        assert lines.sum(1).max() == 5
        # one stripe: at most one beginning
        begins = lines[:, 1:] & ~lines[:, :-1]
        assert (begins.sum(1) + lines[:, 0] <= 1).all()
    assert mask_stripes(whole, 2, 0) is whole
    assert (whole == 1).all()


@pytest.mark.parametrize(
    ('model', 'channels', 'shape'),
    [
        ('cmir_pan', 1, (1, 64, 64)),
        ('cmir_ms', 4, (4, 16, 16)),
        ('cmir_small', 4, (4, 8, 8)),
        ('test_resnet', 3, (3, 32, 32)),
        ('speech', 1, (1, 16_000)),
        ('speech:test_resnet', 1, (1, 16_000)),
        ('mlp', 4096, (4096,)),
        ('mlp', 64, (64,)),
        ('identity', 128, (128,)),
    ],
)
def test_every_encoder_gives_features(
    model: str, channels: int, shape: tuple[int, ...]
) -> None:
    encoder = build_feature_encoder(model, channels).eval()
    assert encoder(torch.randn(2, *shape)).shape == (2, 128)
    assert vars(encoder)['num_features'] == 128
    assert vars(encoder)['assumed_bands'] is None
    if model == 'mlp':
        widths = [m.out_features for m in encoder.modules() if isinstance(m, nn.Linear)]
        assert widths == ([512, 128] if channels == 4096 else [128])
    assert isinstance(encoder, FeatureEncoder) == (model == 'test_resnet')


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (('speech', 2), RasterError, 'a is sound of 1 channel, found 2'),
        (('identity', 64), RasterError, 'vectors of 64, found feature_dim=128'),
        (('cmir_pan', 1, True), ValueError, "no initial weights for 'cmir_pan'"),
        (('resnet18x', 1), ValueError, "no model 'resnet18x' for a"),
    ],
)
def test_refuses_encoders(
    options: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_feature_encoder(*options, modality='a')


@pytest.mark.parametrize('decode', ['cross', 'own'])
def test_unified_network(decode: Any) -> None:
    torch.manual_seed(0)
    net = UnifiedEncoderDecoder(
        ('a', 'b'), 3, feature_dim=6, output_dim=4, decode=decode, dropout={'b': 0.5}
    )
    z = torch.rand(50, 6)
    assert net.target == (
        {'a': 'b', 'b': 'a'} if decode == 'cross' else {'a': 'a', 'b': 'b'}
    )
    weight, bias = net.weight('a'), net.encoders['a'][0].bias  # ty: ignore
    torch.testing.assert_close(net(z, 'a'), (z @ weight.T + bias).relu())
    assert net.decode(net(z, 'a'), 'a').shape == (50, 6)
    assert net.classify(net(z, 'b'), 'b').shape == (50, 3)
    # dropout on one side only
    assert torch.equal(net(z, 'a'), net(z, 'a'))
    assert not torch.equal(net(z, 'b'), net(z, 'b'))


@pytest.mark.parametrize('share', [True, False])
def test_the_class_head_is_shared_or_not(share: bool) -> None:
    net = UnifiedEncoderDecoder(('a', 'b'), 3, share_classifier=share)
    assert (net.classifiers['a'] is net.classifiers['b']) == share


@pytest.mark.parametrize(
    ('names', 'options', 'message'),
    [
        (('a',), {}, 'exactly two modalities, found a'),
        (('a', 'b'), {'decode': 'all'}, "'own', found 'all'"),
        (('a', 'b'), {'output_dim': 0}, '3, 128 and 0'),
    ],
)
def test_refuses_unified(names: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnifiedEncoderDecoder(names, 3, **options)
