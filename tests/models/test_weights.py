import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torchgeo.models import ResNet50_Weights
from torchvision.models._api import Weights, WeightsEnum

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models import build_encoder
from torchgeo_cmr.models.weights import (
    band_key,
    find_weights,
    match_bands,
    select_bands,
)
from torchgeo_cmr.tasks import SSCMRSIR

S2 = ['B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8a', 'B9', 'B10', 'B11', 'B12']


@pytest.fixture
def donor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WeightsEnum]:
    """Published-like weights: a timm state dict behind a URL, band names in its meta."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    torch.manual_seed(3)
    state = timm.create_model('resnet10t', in_chans=13, num_classes=0).state_dict()
    # channel i holds the number i, so that nobody has to believe a random match
    number = torch.arange(13.0).view(1, 13, 1, 1)
    state['conv1.0.weight'] = number.expand_as(state['conv1.0.weight']).clone()
    torch.save(state, tmp_path / 'fake-donor.pth')

    class Fake_Weights(WeightsEnum):
        ALL = Weights(
            url=(tmp_path / 'fake-donor.pth').as_uri(),
            transforms=torch.nn.Identity,
            meta={'model': 'resnet10t', 'in_chans': 13, 'bands': S2},
        )

    yield Fake_Weights.ALL
    shutil.rmtree(tmp_path / 'hub', ignore_errors=True)


def channels(encoder: Any) -> list[float]:
    """What each channel of the first convolution holds, which must be one number."""
    kernel = encoder.conv1[0].weight
    assert (kernel == kernel[:1, :, :1, :1]).all()
    return kernel[0, :, 0, 0].tolist()


class TestTorchGeoWeights:
    def test_first_convolution_is_cut_by_name(self, donor: WeightsEnum) -> None:
        # another order than in the weights, and three spellings
        bands = ['B08', 'B02', 'B8A', 'B11', 'b3']
        encoder: Any = build_encoder('resnet10t', 5, donor, bands=bands)
        assert channels(encoder) == [7, 1, 8, 11, 2]
        assert encoder.assumed_bands is None
        state = donor.get_state_dict()
        for key, value in encoder.state_dict().items():
            if key != 'conv1.0.weight':
                assert torch.equal(value, state[key])

    def test_all_bands_in_another_order(self, donor: WeightsEnum) -> None:
        encoder = build_encoder('resnet10t', 13, donor, bands=S2[::-1])
        assert channels(encoder) == list(range(12, -1, -1))

    def test_a_band_without_a_weight_is_an_error(self, donor: WeightsEnum) -> None:
        with pytest.raises(
            RasterError, match=r"bands VV, B8B for s1, .*or say new_bands='mean'"
        ):
            build_encoder(
                'resnet10t', 3, donor, modality='s1', bands=['VV', 'B2', 'B8B']
            )

    def test_or_the_mean_of_those_that_have_one(self, donor: WeightsEnum) -> None:
        encoder = build_encoder(
            'resnet10t', 3, donor, bands=['B3', 'VV', 'B12'], new_bands='mean'
        )
        assert channels(encoder) == pytest.approx([2, 6, 12])

    def test_unnamed_channels(self, donor: WeightsEnum) -> None:
        encoder: Any = build_encoder('resnet10t', 13, donor)
        assert channels(encoder) == list(range(13))
        assert encoder.assumed_bands == S2
        with pytest.raises(
            RasterError, match=r'for 13 channels \(B1.*name your bands with bands='
        ):
            build_encoder('resnet10t', 4, donor)
        encoder = build_encoder('resnet10t', 4, donor, new_bands='mean')
        assert channels(encoder) == pytest.approx([6] * 4)

    def test_said_before_the_download(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def download(*_: Any, **__: Any) -> None:
            raise AssertionError('downloaded')

        monkeypatch.setattr(WeightsEnum, 'get_state_dict', download)
        with pytest.raises(RasterError, match='no weights for the bands HH'):
            build_encoder(
                'resnet50', 1, ResNet50_Weights.SENTINEL1_ALL_MOCO, bands=['HH']
            )

    def test_a_transformer_too(self, tmp_path: Path) -> None:
        donor = timm.create_model('vit_tiny_patch16_224', in_chans=3, num_classes=0)
        content = {'torchgeo_cmr': {'specs': {'s2': {'bands': ['R', 'G', 'B']}}}}
        torch.save(content | {'state_dict': donor.state_dict()}, tmp_path / 'w.pt')
        encoder: Any = build_encoder(
            'vit_tiny_patch16_224',
            2,
            str(tmp_path / 'w.pt'),
            modality='s2',
            bands=['B', 'G'],
        )
        kernel: Any = donor.patch_embed
        torch.testing.assert_close(
            encoder.patch_embed.proj.weight, kernel.proj.weight[:, [2, 1]]
        )

    def test_a_downloaded_file_is_known_by_its_name(self, tmp_path: Path) -> None:
        weights = ResNet50_Weights.SENTINEL1_ALL_MOCO
        path = tmp_path / weights.url.rsplit('/', 1)[-1]
        path.touch()
        found = find_weights(str(path))
        assert (found.model, found.bands) == ('resnet50', ['VV', 'VH'])
        path = tmp_path / 'mine.pth'
        path.touch()
        assert find_weights(str(path)).bands is None

    def test_a_path_is_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / 'mine.pth'
        path.touch()
        monkeypatch.setenv('HOME', str(tmp_path))
        for given in (path, str(path), Path('~/mine.pth'), '~/mine.pth'):
            assert find_weights(given).origin == str(path)


class TestInATask:
    def test_each_modality_by_its_names(self, donor: WeightsEnum) -> None:
        task = SSCMRSIR(
            {'s1': 2, 's2': 3},
            'resnet10t',
            {'s1': None, 's2': donor},
            bands={'s1': ['VV', 'VH'], 's2': ['B04', 'B03', 'B02']},
        )
        assert channels(task.model.backbones['s2']) == [3, 2, 1]

    def test_names_that_come_later_must_be_those_assumed(
        self, donor: WeightsEnum
    ) -> None:
        task = SSCMRSIR({'s1': 2, 's2': 13}, 'resnet10t', {'s1': None, 's2': donor})
        task.set_specs({'s2': {'bands': [f'B0{b[1:]}' for b in S2]}})
        with pytest.raises(RasterError, match='pass bands= to the task'):
            task.set_specs({'s2': {'bands': S2[::-1]}})

    def test_the_joint_trunk_knows_no_bands(self, donor: WeightsEnum) -> None:
        options: dict[str, Any] = {'weights': donor, 'variant': 'joint'}
        with pytest.raises(RasterError, match=r'for 13 channels .* found 32'):
            SSCMRSIR({'s1': 2, 's2': 3}, 'resnet10t', **options)
        task = SSCMRSIR({'s1': 2, 's2': 3}, 'resnet10t', new_bands='mean', **options)
        assert channels(task.model.trunk) == pytest.approx([6] * 32)


@pytest.mark.parametrize(
    ('one', 'other', 'same'),
    [
        ('B2', 'B02', True),
        ('B8a', 'B8A', True),
        ('B8', 'B8A', False),
        ('B1', 'B10', False),
        ('B1', 'SR_B1', False),
        ('vv', 'VV', True),
    ],
)
def test_spelling(one: str, other: str, same: bool) -> None:
    assert (band_key(one) == band_key(other)) is same


def test_match_and_select() -> None:
    order = match_bands(['A', 'B'], 2, ['B', 'C'], 2, new_bands='mean')
    assert order == [1, None]
    kernel = torch.arange(4.0).view(2, 2, 1, 1)
    assert select_bands(kernel, order).flatten().tolist() == [1, 0.5, 3, 2.5]
    # names that do not fit the kernel are no names
    assert match_bands(['A', 'B'], 3, ['B', 'C', 'D'], 3) == [0, 1, 2]
    with pytest.raises(ValueError, match="'error' or 'mean', found 'zero'"):
        match_bands(None, 2, None, 2, new_bands='zero')  # ty: ignore[invalid-argument-type]
