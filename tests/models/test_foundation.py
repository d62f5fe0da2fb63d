"""Foundation models of TorchGeo: channels, widths, normalisation, and files of their layout."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torchgeo.models
from torch import Tensor
from torchgeo.models import (
    OlmoEarthV1_Weights,
    ResNet50_Weights,
    Tessera_Weights,
    ViTSmall16_Weights,
)
from torchgeo.models.croma import CROMA
from torchgeo.models.dofa import DOFA
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import OptionError, RasterError
from torchgeo_cmr.models.foundation.adapters import ADAPTERS, adapter_of
from torchgeo_cmr.models.foundation.band_statistics import (
    image_size,
    of_sensor,
    of_weights,
)
from torchgeo_cmr.models.foundation.croma import CROMAAdapter
from torchgeo_cmr.models.foundation.dofa import DOFAAdapter
from torchgeo_cmr.models.foundation.olmoearth import OlmoEarthAdapter
from torchgeo_cmr.models.foundation.presto import PrestoAdapter
from torchgeo_cmr.models.foundation.spectrum import (
    SENTINEL2,
    bandwidths,
    is_radar,
    wavelengths,
)

S2 = [band for band in SENTINEL2 if band != 'B10']
PRESTO = [band for band in S2 if band not in ('B1', 'B9')]
WEIGHTS = Path(__file__).parents[3] / 'shared/data/weights/presto_default_model.pt'


class TestStatistics:
    """What TorchGeo's transforms do to pixels, as two numbers per band."""

    @pytest.mark.parametrize(
        ('weights', 'mean', 'std', 'size'),
        [
            (ResNet50_Weights.SENTINEL1_GRD_DECUR, -12.59, 5.26, 224),
            (ResNet50_Weights.SENTINEL2_ALL_MOCO, 0.0, 1e4, 224),
            (ResNet50_Weights.SENTINEL2_ALL_SOFTCON, 1612.9, 791.0, 224),
            (ViTSmall16_Weights.LANDSAT_TM_TOA_MOCO, 0.0, 255.0, 224),
        ],
    )
    def test_known_ones(
        self, weights: WeightsEnum, mean: float, std: float, size: int
    ) -> None:
        found = of_weights(weights)
        assert found is not None
        assert (found[0][0], found[1][0]) == pytest.approx((mean, std))
        assert image_size(weights) == size

    def test_they_do_what_the_transforms_do(self) -> None:
        weights = ResNet50_Weights.SENTINEL2_ALL_SOFTCON
        found = of_weights(weights)
        assert found is not None
        mean, std = (torch.tensor(x).view(1, -1, 1, 1) for x in found)
        levels = torch.rand(1, 13, 1, 1) * 5000
        image = levels.expand(-1, -1, 300, 300)
        torch.testing.assert_close(
            weights.transforms(image.clone())[:, :, :1, :1], (levels - mean) / std
        )

    def test_transforms_that_leave_pixels_as_they_are(self) -> None:
        assert of_weights(ResNet50_Weights.SENTINEL1_GRD_CLOSP) is None
        assert image_size(ResNet50_Weights.SENTINEL1_GRD_CLOSP) is None

    @pytest.mark.parametrize('weights', Tessera_Weights)
    def test_transforms_of_other_inputs_than_pictures(
        self, weights: WeightsEnum
    ) -> None:
        assert of_weights(weights) is None
        assert image_size(weights) is None

    def test_of_a_sensor_by_name(self) -> None:
        mean, std = of_sensor(['B8a', 'B02'], 'x')
        assert mean == pytest.approx([2581.0, 1397.6])
        assert std == pytest.approx([1345.9, 854.3])
        assert of_sensor(['VH'], 'x') == ([-20.26], [5.91])
        with pytest.raises(RasterError, match='x has no statistics for red'):
            of_sensor(['red'], 'x')


class TestSpectrum:
    def test_bands_of_sentinel2_and_bare_wavelengths(self) -> None:
        assert wavelengths(['B02', 'b8a', '1375'], 'x') == [490, 860, 1375]
        assert bandwidths(['B8', '665'], 'x') == [115, 30]
        assert is_radar(['vv', 'VH'])
        assert not is_radar(['VV', 'B02'])

    @pytest.mark.parametrize('band', ['red', '42', '99999', 'VV', ''])
    def test_others(self, band: str) -> None:
        with pytest.raises(RasterError, match='x needs the wavelength'):
            wavelengths([band], 'x')


@pytest.fixture(scope='module')
def croma() -> CROMA:
    torch.manual_seed(0)
    return CROMA(encoder_dim=32, encoder_depth=2, num_heads=16).eval()


class TestCroma:
    @pytest.mark.parametrize(
        ('bands', 'name', 'argument'),
        [(['VV', 'VH'], 'sar_GAP', 'x_sar'), (S2, 'optical_GAP', 'x_optical')],
    )
    def test_the_half_of_a_sensor_gives_what_the_model_gives(
        self, croma: CROMA, bands: list[str], name: str, argument: str
    ) -> None:
        adapter = CROMAAdapter(croma, bands)
        x = torch.rand(2, len(bands), 120, 120)
        others = {
            'x_sar': torch.rand(2, 2, 120, 120),
            'x_optical': torch.rand(2, 12, 120, 120),
        }
        expected = croma(**{**others, argument: x})[name]
        torch.testing.assert_close(adapter(x), expected)
        assert adapter(x[..., :64, :64]).shape == (2, adapter.num_features)

    def test_two_deviations_about_the_mean_become_0_to_1(self, croma: CROMA) -> None:
        adapter = CROMAAdapter(croma, ['VV', 'VH'])
        mean, std = (torch.tensor(x) for x in adapter.statistics())
        values = torch.tensor([-12.59 - 2 * 5.26, -12.59, -12.59 + 2 * 5.26])
        torch.testing.assert_close(
            (values - mean[0]) / std[0], torch.tensor([0, 0.5, 1])
        )

    @pytest.mark.parametrize('bands', [['VH', 'VV'], S2[::-1], ['B2', 'B3'], ['VV']])
    def test_other_bands(self, croma: CROMA, bands: list[str]) -> None:
        with pytest.raises(RasterError, match='CROMA takes VV, VH or B1'):
            CROMAAdapter(croma, bands)


def test_dofa_takes_bands_by_their_wavelengths() -> None:
    torch.manual_seed(0)
    network = DOFA(
        img_size=32, patch_size=16, embed_dim=32, depth=1, num_heads=4
    ).eval()
    adapter = DOFAAdapter(network, ['B02', '665'])
    adapter.size = 32
    x = torch.rand(3, 2, 32, 32)
    torch.testing.assert_close(adapter(x), network.forward_features(x, [0.49, 0.665]))
    assert DOFAAdapter(network, ['VV']).wavelengths == [3.75]


class TestPresto:
    @pytest.fixture
    def network(self) -> Any:
        torch.manual_seed(0)
        return PrestoAdapter.build('presto', None).eval()

    def test_bands_are_taken_by_name(self, network: Any) -> None:
        x = torch.rand(2, 10, 16, 16)
        order = [3, 9, 0, 1, 2, 8, 4, 5, 7, 6]
        forward = PrestoAdapter(network, PRESTO)(x)
        shuffled = PrestoAdapter(network, [PRESTO[i] for i in order])(x[:, order])
        torch.testing.assert_close(forward, shuffled)

    def test_what_is_missing_is_masked(self, network: Any) -> None:
        """Of a model that sees one group, the values of the others do not matter."""
        radar = PrestoAdapter(network, ['VV', 'VH'])
        assert radar.masked.tolist() == [0.0] * 2 + [1.0] * 15
        optical = PrestoAdapter(network, PRESTO)
        assert optical.masked.tolist() == [1.0] * 2 + [0.0] * 10 + [1.0] * 4 + [0.0]
        assert PrestoAdapter(network, ['B4', 'B3', 'B2']).red_and_nir is None

    def test_ndvi(self, network: Any) -> None:
        adapter = PrestoAdapter(network, PRESTO)
        seen: list[Tensor] = []
        network.encoder.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs['x']), with_kwargs=True
        )
        x = torch.zeros(1, 10, 8, 8)
        x[:, PRESTO.index('B4')], x[:, PRESTO.index('B8')] = 0.1, 0.3
        adapter(x)
        assert seen[0][0, 0, -1].item() == pytest.approx(0.5)
        assert seen[0][0, 0, 8].item() == pytest.approx(0.3)

    def test_unknown_bands(self, network: Any) -> None:
        with pytest.raises(RasterError, match='Presto does not know B9, HH'):
            PrestoAdapter(network, ['B2', 'B9', 'HH'])
        with pytest.raises(RasterError, match='sees VV, VH together and VV is not'):
            PrestoAdapter(network, ['VH'])

    @pytest.mark.skipif(not WEIGHTS.exists(), reason='the shared samples are not here')
    def test_published_weights(self) -> None:
        network = PrestoAdapter.build('presto', WEIGHTS)
        state = torch.load(WEIGHTS, 'cpu', weights_only=True)
        assert all(torch.equal(network.state_dict()[n], w) for n, w in state.items())


@pytest.mark.parametrize('name', sorted(ADAPTERS))
def test_every_model_is_one_of_torchgeo(name: str) -> None:
    known = torchgeo.models.list_models()
    assert name in known or name.rpartition('_')[0] in known  # sizes of OlmoEarth
    with pytest.raises(RasterError, match=f'{name} for s1 needs to know which bands'):
        adapter_of(name, None, ' for s1')


@pytest.mark.slow
@pytest.mark.parametrize(
    'name',
    ['copernicusfm_base', 'croma_base', 'dofa_base_patch16_224', 'panopticon_vitb14'],
)
def test_files_of_the_published_layout(name: str, tmp_path: Path) -> None:
    """Written as their authors wrote them, loaded by TorchGeo's own code."""
    adapter = ADAPTERS[name]
    torch.manual_seed(1)
    network = adapter.build(name, None)
    if name == 'croma_base':
        parts = ('s1_encoder', 's1_GAP_FFN', 's2_encoder', 's2_GAP_FFN')
        state = {part: getattr(network, part).state_dict() for part in parts}
        state['joint_encoder'] = torchgeo.models.croma_base().joint_encoder.state_dict()
    elif name == 'panopticon_vitb14':
        state = dict(network.model.state_dict())
        state['mask_token'] = torch.zeros(1, 768)
        state['pos_embed'] = torch.randn(1, 1 + 37**2, 768)
    else:
        state = {
            key: value
            for key, value in network.state_dict().items()
            if not key.startswith(('head.', 'fc_norm.'))
        }
    torch.save(state, tmp_path / 'weights.pt')
    loaded = adapter.build(name, tmp_path / 'weights.pt').eval()
    skipped = ('head.', 'fc_norm.', 'model.pos_embed')
    for key, value in network.state_dict().items():
        if not key.startswith(skipped):
            assert torch.equal(loaded.state_dict()[key], value), key
    for bands in (['VV', 'VH'], S2):
        vectors = adapter(loaded, bands).eval()(torch.rand(1, len(bands), 64, 64))
        assert vectors.shape == (1, 768)
        assert vectors.isfinite().all()
    torch.save({'other.weight': torch.zeros(3)}, tmp_path / 'other.pt')
    with pytest.raises(
        ValueError, match=f'other.pt does not hold the weights of {name}'
    ):
        adapter.build(name, tmp_path / 'other.pt')


class TestOlmoEarth:
    def test_weights_of_another_size(self) -> None:
        with pytest.raises(RasterError, match='take the model olmoearth_v1_tiny'):
            OlmoEarthAdapter.build('olmoearth_v1', OlmoEarthV1_Weights.TINY)

    def test_without_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, 'olmoearth_pretrain_minimal', None)
        with pytest.raises(OptionError, match='pip install olmoearth-pretrain-minimal'):
            OlmoEarthAdapter.build('olmoearth_v1', None)

    def test_a_file_of_the_published_layout(self, tmp_path: Path) -> None:
        package = pytest.importorskip('olmoearth_pretrain_minimal')
        torch.manual_seed(0)
        whole = package.OlmoEarthPretrain_v1(model_size='nano', model_version='v1')
        torch.save(whole.model.state_dict(), tmp_path / 'nano.pt')
        network = OlmoEarthAdapter.build('olmoearth_v1', tmp_path / 'nano.pt').eval()
        for bands in (['VH', 'VV'], S2):
            adapter = OlmoEarthAdapter(network, bands)
            x = torch.rand(2, len(bands), 64, 64)
            vectors = adapter(x)
            assert vectors.shape == (2, 128)
            assert vectors.isfinite().all()
            turned = OlmoEarthAdapter(network, bands[::-1])(x.flip(1))
            torch.testing.assert_close(vectors, turned)
            assert not torch.allclose(vectors, adapter(x.flip(1)))
        with pytest.raises(RasterError, match='OlmoEarth takes VV, VH or B2'):
            OlmoEarthAdapter(network, ['VV'])
