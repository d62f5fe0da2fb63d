"""By whose statistics a task that starts from weights of others normalises pixels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torchgeo.models import ResNet18_Weights, ResNet50_Weights

from torchgeo_cmr.errors import OptionError
from torchgeo_cmr.tasks import SSCMRSIR, InfoNCE, load_task

BANDS = {'s1': ['VH', 'VV'], 's2': ['B04', 'B03']}
CHANNELS = {'s1': 2, 's2': 2}
MODELS: Any = {'s1': 'resnet50', 's2': 'resnet18'}
WEIGHTS: Any = {
    's1': ResNet50_Weights.SENTINEL1_GRD_DECUR,
    's2': ResNet18_Weights.SENTINEL2_ALL_MOCO,
}


@pytest.fixture(scope='module', autouse=True)
def _random_weights() -> Iterator[None]:
    """Random weights in the place of downloads: the rest is real."""
    with pytest.MonkeyPatch.context() as patch:
        for enum, model, channels in (
            (ResNet50_Weights, 'resnet50', 2),
            (ResNet18_Weights, 'resnet18', 13),
        ):
            network = timm.create_model(model, in_chans=channels, num_classes=0)
            state = network.state_dict()
            patch.setattr(enum, 'get_state_dict', lambda *_, s=state, **__: dict(s))
        yield


@pytest.mark.slow
def test_statistics_of_the_weights_in_the_order_of_the_data(tmp_path: Path) -> None:
    task = InfoNCE(CHANNELS, MODELS, WEIGHTS, bands=BANDS, normalize='weights')
    assert task.specs['s1']['mean'] == pytest.approx([-20.26, -12.59])
    assert task.specs['s1']['std'] == pytest.approx([5.91, 5.26])
    assert task.specs['s2']['std'] == [10_000.0] * 2
    loaded = load_task(task.save(tmp_path / 'a.ckpt'))
    assert loaded.specs == task.specs
    assert loaded.space == task.space


@pytest.mark.slow
def test_by_default_and_where_given_numbers_stay(tmp_path: Path) -> None:
    assert InfoNCE(CHANNELS, MODELS, WEIGHTS, bands=BANDS).specs['s1']['mean'] == []
    mean = {'s1': [1.0, 2.0]}
    task = InfoNCE(
        CHANNELS, MODELS, WEIGHTS, bands=BANDS, mean=mean, normalize='weights'
    )
    assert task.specs['s1']['mean'] == [1.0, 2.0]
    assert task.specs['s1']['std'] == pytest.approx([5.91, 5.26])


@pytest.mark.parametrize('weights', [None, {'s1': WEIGHTS['s1'], 's2': None}])
def test_weights_of_unknown_normalisation(weights: Any) -> None:
    with pytest.raises(OptionError, match=r'found None for s[12]: take normalize='):
        InfoNCE(CHANNELS, MODELS, weights, bands=BANDS, normalize='weights')


@pytest.mark.parametrize('name', ['croma_base', 'panopticon_vitb14', 'presto'])
def test_a_foundation_model_leads_to_its_adapter(name: str) -> None:
    with pytest.raises(ValueError, match=f'embed --model {name}:WEIGHTS'):
        SSCMRSIR(CHANNELS, model=name)


def test_statistics_reach_the_encoder() -> None:
    task = InfoNCE(CHANNELS, MODELS, WEIGHTS, bands=BANDS, normalize='weights')
    pixels = torch.full((1, 2, 8, 8), -20.26)
    found = task.normalize({'image_s1': pixels}, 's1')
    assert found[0, 0].abs().max() < 1e-5
