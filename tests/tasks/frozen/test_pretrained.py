"""Encoders that nobody trains here: bands, normalisation, space, files."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torchgeo.models import ResNet18_Weights, ResNet50_Weights
from torchgeo.models.dofa import DOFA

from torchgeo_cmr.errors import OptionError, OutputExistsError, QueryError, RasterError
from torchgeo_cmr.models.foundation.dofa import DOFAAdapter
from torchgeo_cmr.tasks import Pretrained, load_task
from torchgeo_cmr.tasks.frozen.named_models import read_model

RADAR, OPTICAL = ['VV', 'VH'], ['B02', 'B03', 'B04', 'B08']
BOTH = {'s1': RADAR, 's2': OPTICAL}


@pytest.fixture(scope='module')
def presto() -> Pretrained:
    torch.manual_seed(0)
    return Pretrained({'s1': 2, 's2': 4}, 'presto', bands=BOTH)


def test_modalities_of_one_model_share_it(presto: Pretrained) -> None:
    radar, optical = (presto.model.encoder(m).network for m in BOTH)
    assert radar is optical
    for bands in ({'s1': RADAR}, {'s2': OPTICAL}, {'s2': OPTICAL[3:]}):
        single = Pretrained(
            {m: len(b) for m, b in bands.items()}, 'presto', bands=bands
        )
        assert single.space != presto.space
        single.load_encoders(presto)
        assert single.space == presto.space == presto.space_of('s1')


def test_pixels_are_normalised_as_the_model_expects(presto: Pretrained) -> None:
    specs = presto.specs
    assert (specs['s1']['mean'], specs['s1']['std']) == ([-25.0] * 2, [25.0] * 2)
    assert specs['s2']['std'] == [10_000.0] * 4
    assert (specs['s1']['units'], specs['s1']['gsd']) == ('db', 10.0)
    assert specs['s2']['scale'] == [1e-4] * 4
    given = Pretrained(
        {'s1': 2},
        'presto',
        bands={'s1': RADAR},
        mean={'s1': [1, 2]},
        std={'s1': [3, 4]},
    )
    assert given.specs['s1']['mean'] == [1, 2]
    given.load_encoders(presto)
    assert given.space != presto.space


@pytest.mark.slow
def test_weights_of_timm_models_bring_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random weights in the place of a download: the rest is real."""
    weights = ResNet50_Weights.SENTINEL1_GRD_DECUR

    def state(*_: object, **__: object) -> dict[str, torch.Tensor]:
        import timm

        torch.manual_seed(3)
        return timm.create_model('resnet50', in_chans=2, num_classes=0).state_dict()

    monkeypatch.setattr(ResNet50_Weights, 'get_state_dict', state)
    task = Pretrained({'s1': 1}, 'resnet50', weights, bands={'s1': ['VH']})
    spec = task.specs['s1']
    assert [*spec['mean'], *spec['std']] == pytest.approx([-20.26, 5.91])
    assert spec['patch_size'] == 224
    kernel = task.model.encoder('s1').network.conv1.weight
    assert torch.equal(kernel[:, 0], state()['conv1.weight'][:, 1])
    # The encoder sees what its transforms would have made of the pixels.
    pixels = torch.full((1, 1, 40, 40), -9.0)
    expected = task.model.encoder('s1')((pixels + 20.26) / 5.91)
    found = task.embed({'image_s1': pixels}, 's1')
    torch.testing.assert_close(found, nn.functional.normalize(expected, dim=1))


def test_a_network_of_ones_own() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    task = Pretrained(
        {'s1': 2}, network, mean={'s1': [0.0, 0.0]}, std={'s1': [1.0, 1.0]}
    )
    vectors = task.embed({'image_s1': torch.ones(2, 2, 8, 8)}, 's1')
    torch.testing.assert_close(vectors, torch.full((2, 2), 0.5**0.5))
    unknown = Pretrained({'s1': 2}, network)
    with pytest.raises(RasterError, match='s1'):
        unknown.embed({'image_s1': torch.ones(2, 2, 8, 8)}, 's1')


def test_saved_and_loaded(presto: Pretrained, tmp_path: Path) -> None:
    path = presto.save(tmp_path / 'presto.ckpt')
    loaded = load_task(path)
    assert type(loaded) is Pretrained
    assert (loaded.space, loaded.specs) == (presto.space, presto.specs)
    batch = {'image_s2': torch.rand(2, 4, 30, 30) * 3000}
    assert torch.equal(loaded.embed(batch, 's2'), presto.embed(batch, 's2'))
    with pytest.raises(OutputExistsError):
        presto.save(path)


def test_a_classifier_of_an_earlier_version_is_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DOFA kept a random classifier, which counted in the space, until it was noticed."""

    def small(weights: object = None) -> nn.Module:
        torch.manual_seed(0)
        return DOFA(img_size=32, patch_size=16, embed_dim=32, depth=1, num_heads=4)

    monkeypatch.setitem(DOFAAdapter.builders, 'dofa_base_patch16_224', small)
    task = Pretrained(
        {'s1': 2, 's2': 4},
        'dofa_base_patch16_224',
        bands=BOTH,
        input_size={'s1': 32, 's2': 32},
    )
    path = task.save(tmp_path / 'new.ckpt')
    checkpoint = torch.load(path, weights_only=True)
    for modality in BOTH:
        prefix = f'model.backbones.{modality}.network.head.'
        checkpoint['state_dict'][f'{prefix}weight'] = torch.rand(45, 32)
        checkpoint['state_dict'][f'{prefix}bias'] = torch.rand(45)
    checkpoint['torchgeo_cmr']['space'] = 'counts-the-head'
    checkpoint['torchgeo_cmr_details']['fingerprint'] = 'counts-the-head'
    torch.save(checkpoint, tmp_path / 'old.ckpt')
    old = load_task(tmp_path / 'old.ckpt')
    assert old.space == load_task(path).space == task.space
    batch = {'image_s1': torch.full((2, 2, 32, 32), -9.0)}
    assert torch.equal(old.embed(batch, 's1'), task.embed(batch, 's1'))


@pytest.mark.slow
def test_sizes_survive_where_the_weights_do_not_come_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import timm

    monkeypatch.setattr(
        ResNet18_Weights,
        'get_state_dict',
        lambda *_, **__: timm.create_model(
            'resnet18', in_chans=13, num_classes=0
        ).state_dict(),
    )
    bands = list(ResNet18_Weights.SENTINEL2_ALL_MOCO.meta['bands'])
    task = Pretrained(
        {'s2': 13}, 'resnet18', ResNet18_Weights.SENTINEL2_ALL_MOCO, bands={'s2': bands}
    )
    loaded = load_task(task.save(tmp_path / 'a.ckpt'))
    assert isinstance(loaded, Pretrained)
    assert loaded.model.encoder('s2').size == 224
    assert loaded.space == task.space
    assert loaded.specs == task.specs


def test_nothing_to_train(presto: Pretrained) -> None:
    assert not any(p.requires_grad for p in presto.parameters())
    with pytest.raises(OptionError, match='nothing to train'):
        presto.compute_losses({})


@pytest.mark.parametrize(
    ('model', 'weights', 'bands', 'message'),
    [
        ('presto', None, None, 'presto for s1 needs to know which bands'),
        ('presto', None, ['VV', 'HH'], 'Presto does not know HH'),
        ('presto', 'Presto_Weights.NOPE', RADAR, 'neither a file nor the name'),
        ('presto', 'ResNet18_Weights.SENTINEL2_ALL_MOCO', RADAR, 'made for resnet18, '),
        ('presto', 'CROMABase_Weights.CROMA_VIT', RADAR, "set model='croma_base'"),
        ('rezznet', None, RADAR, "no model 'rezznet'"),
    ],
)
def test_mistakes(
    model: str, weights: str | None, bands: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Pretrained(
            {'s1': 2}, model, weights, bands=None if bands is None else {'s1': bands}
        )


def test_models_in_words() -> None:
    task = read_model('presto', 's2', None)
    assert task.specs['s2']['bands'][:4] == ['B02', 'B03', 'B04', 'B05']
    assert len(task.specs['s2']['bands']) == 10
    assert read_model('presto', 's2', ['B08']).in_channels == {'s2': 1}
    with pytest.raises(RasterError, match='which bands does naip have'):
        read_model('presto', 'naip', None)
    with pytest.raises(QueryError, match="model rezznet: timm has no model 'rezznet'"):
        read_model('rezznet', 's1', None)
    with pytest.raises(QueryError, match='as presto:Presto_Weights'):
        read_model('Presto_Weights.PRESTO', 's1', None)
    with pytest.raises(QueryError, match=r'model presto:no.pt: weights .* neither'):
        read_model('presto:no.pt', 's1', None)


def test_random_weights_are_the_same_in_every_run() -> None:
    state = torch.random.get_rng_state()
    task, again = (read_model('presto', 's1', None) for _ in range(2))
    assert task.space == again.space
    assert torch.equal(torch.random.get_rng_state(), state)
