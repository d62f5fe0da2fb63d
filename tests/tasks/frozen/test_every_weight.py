"""Every weight of the installed TorchGeo: it embeds a picture of its bands, or is refused and says why.

Nothing is fetched: tensors of the published layout are made where they need no memory. What each weight
sees is a table in the guide.
"""

import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
import torchgeo.models
from torch import nn
from torchvision.models import SwinTransformer
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import OptionError
from torchgeo_cmr.models.foundation.adapters import ADAPTERS
from torchgeo_cmr.tasks.frozen import pretrained
from torchgeo_cmr.tasks.frozen.named_models import read_model

_TIMM = tuple(map(int, re.findall(r'\d+', version('timm'))[:3]))
GUIDE = Path(__file__).parents[3] / 'docs/user/pretrained.md'
REFUSED = 'aurora_swin_unet', 'satclip', 'tessera'
#: Their classes take seconds to make even without memory, and share their code with smaller ones.
LARGE = re.compile('unet|large|huge|152|swin_[bs]|swin_v2|deo|scalemae|vit_base|b[57]$')


def weights_of(model: str) -> list[WeightsEnum]:
    try:
        return list(torchgeo.models.get_model_weights(model))
    except KeyError:  # DOFA has sizes that nobody published
        return []


EVERY = [
    (model, w) for model in torchgeo.models.list_models() for w in weights_of(model)
]


def modality_of(weights: WeightsEnum) -> str:
    return 's1' if weights.name.startswith('SENTINEL1') else 's2'


def layout(model: str, weights: WeightsEnum) -> dict[str, Any]:
    """Tensors as the published file has them."""
    meta = weights.meta
    channels = meta['in_chans']
    if model == 'unet':
        names = {'encoder_name': meta['encoder'], 'classes': meta['num_classes']}
        network: Any = smp.create_model(
            'Unet', encoder_weights=None, in_channels=channels, **names
        )
    elif model == 'swin_b':
        network = SwinTransformer([4, 4], 128, [2, 2, 18, 2], [4, 8, 16, 32], [12, 12])
    else:
        for options in ({'in_chans': channels}, {'in_channels': channels}, {}):
            try:
                network = torchgeo.models.get_model(model, **options)
                break
            except TypeError:
                continue
    if model.startswith('swin'):
        first: Any = network.get_submodule('features.0')
        first[0] = nn.Conv2d(channels, first[0].out_channels, 4, 4)
    state = network.state_dict()
    return {'state_dict': state} if model in ('swin_t', 'swin_s', 'swin_b') else state


@pytest.fixture
def without_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Build the encoder of weights, whose tensors have shapes and no numbers."""

    def make(model: str, weights: WeightsEnum) -> Any:
        # The package of U-Nets makes first layers of other than three channels on its own, and
        # older ones of timm ask for numbers while they make a transformer.
        own_layer = model == 'unet' and weights.meta['in_chans'] != 3
        where = 'cpu' if own_layer or _TIMM < (1, 0, 22) else 'meta'
        with torch.device(where):
            state = layout(model, weights)
        monkeypatch.setattr(WeightsEnum, 'get_state_dict', lambda *_, **__: dict(state))
        build = pretrained.build_encoder

        def placed(*args: Any, **options: Any) -> Any:
            with torch.device(where):
                return build(*args, **options)

        monkeypatch.setattr(pretrained, 'build_encoder', placed)
        task = read_model(f'{model}:{weights}', modality_of(weights), None)
        encoder = task.model.encoder(modality_of(weights))
        bands = task.in_channels[modality_of(weights)]
        picture = torch.zeros(2, bands, 40, 40, device=where)
        with torch.no_grad():
            return task, encoder.eval()(picture)

    return make


def cases() -> Iterator[Any]:
    """One weight of each model and number of channels; the rest have the same layout."""
    seen = set()
    for model, weights in EVERY:
        key = model, weights.meta.get('in_chans'), weights.meta.get('encoder')
        if model in ADAPTERS or model in REFUSED or key in seen:
            continue
        seen.add(key)
        words = f'{model} {weights.meta.get("encoder")}'
        marks = pytest.mark.slow if LARGE.search(words) else ()
        yield pytest.param(model, weights, id=str(weights), marks=marks)


@pytest.mark.parametrize(('model', 'weights'), [*cases()])
def test_a_picture_of_its_bands_becomes_one_vector(
    without_memory: Callable[..., Any], model: str, weights: WeightsEnum
) -> None:
    task, vectors = without_memory(model, weights)
    (modality,) = task.modalities
    known = weights.meta.get('bands')
    assert task.specs[modality]['bands'] == [
        *(dict.fromkeys(known) if known else ['B04', 'B03', 'B02'])
    ]
    assert vectors.shape == (2, task.model.encoder(modality).network.num_features)
    written = [row for row in table() if str(weights) in row.names]
    assert [row.vector for row in written] == [str(vectors.shape[1])]


def test_every_weight_is_embedded_or_refused() -> None:
    classes = {
        thing
        for thing in vars(torchgeo.models).values()
        if isinstance(thing, type) and issubclass(thing, WeightsEnum) and list(thing)
    }
    assert {type(weights) for _, weights in EVERY} == classes
    for model, weights in EVERY:
        if model in REFUSED:
            with pytest.raises(OptionError, match=f"'{model}' .*: take "):
                read_model(f'{model}:{weights}', 's2', None)


@pytest.mark.slow
def test_the_guide_says_what_each_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, 'build_encoder', lambda *_, **__: nn.Flatten())
    rows = {name: row for row in table() for name in row.names}
    expected = {str(w): stated(m, w) for m, w in EVERY if m not in REFUSED}
    assert {name: row.stated for name, row in rows.items()} == expected


def stated(model: str, weights: WeightsEnum) -> tuple[str, ...]:
    """What the columns say: model, bands, pixels, width of pictures."""
    if model in ADAPTERS:
        size = weights.meta.get('model_size', 'nano')  # of OlmoEarth
        model = model if size == 'nano' else f'{model}_{size}'
        return (
            f'`{model}`',
            'see above',
            'see above',
            str(ADAPTERS[model].size or 'any'),
        )
    modality = modality_of(weights)
    task = read_model(f'{model}:{weights}', modality, None)
    spec = task.specs[modality]
    known = weights.meta.get('bands')
    bands = ', '.join(spec['bands'] if known else 'RGB')
    if bands.endswith('B9, B10, B11, B12') and len(spec['bands']) == 13:
        bands = 'all of Sentinel-2'
    width = task.model.encoder(modality).size
    return f'`{model}`', bands, pixels(spec), str(width or 'any')


def pixels(spec: dict[str, Any]) -> str:
    if not spec['mean']:
        return '`--normalize data`'
    if spec['units'] is not None:
        return {'db': 'decibels', 'dn': 'stored / 255'}[spec['units']]
    words = {1.0: '0 to 1', 1e-4: 'reflectance x 10,000', None: 'as delivered'}
    steps = [words.get(step, '8 bits') for step in spec['scale']]
    return ', then '.join(dict.fromkeys(steps))


class Row:
    """A line of the table of the guide: one kind of weights, one or several of its members."""

    def __init__(self, line: str) -> None:
        cells = [cell.strip() for cell in line.strip('| \n').split('|')]
        names, *stated, self.vector = cells
        kind, *members = re.findall(r'`([^`]+)`', names)
        self.names = {f'{kind}.{member}' for member in members}
        self.stated = tuple(stated)


def table() -> list[Row]:
    text = GUIDE.read_text(encoding='utf-8')
    part = text.partition('## Every weight of TorchGeo')[2].partition('\n## ')[0]
    return [Row(line) for line in part.splitlines() if line.startswith('| `')]
