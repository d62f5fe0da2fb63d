"""What pixel values mean, and backscatter from one unit into another."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.scenes.scene import scenes
from torchgeo_cmr.scenes.units import convert, stated_unit, unit_of


@pytest.mark.parametrize('given', ['db', 'power', 'amplitude'])
@pytest.mark.parametrize('wanted', ['db', 'power', 'amplitude'])
def test_one_backscatter_in_three_units(given: str, wanted: str) -> None:
    same = {
        'db': np.array([-20.0, 0.0, 3.0103], np.float32),
        'power': np.array([0.01, 1.0, 2.0], np.float32),
        'amplitude': np.array([0.1, 1.0, 2**0.5], np.float32),
    }
    found = convert(same[given].copy(), given, wanted)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, same[wanted], rtol=1e-5, atol=1e-5)


def test_what_has_no_counterpart_is_missing() -> None:
    pixels = np.array([0.0, -1.0, np.nan, 1.0], np.float32)
    missing = [True, True, True, False]
    assert np.isnan(convert(pixels.copy(), 'power', 'db')).tolist() == missing
    assert np.isnan(convert(pixels.copy(), 'amplitude', 'db')).tolist() == missing
    found = convert(pixels.copy(), 'power', 'amplitude')
    assert np.isnan(found).tolist() == [False, True, True, False]
    assert np.isnan(convert(pixels.copy(), 'db', 'power')).sum() == 1


def test_a_unit_is_stated_or_unknown() -> None:
    assert stated_unit(['dB', None, 'decibel']) == 'db'
    assert stated_unit(['dB', 'power']) is None
    assert stated_unit(['metre']) is None
    assert stated_unit(['dB', 'degree']) == 'db'
    assert stated_unit(['linear power']) is None


@pytest.mark.parametrize(
    ('bands', 'kind', 'unit'),
    [
        (['VV', 'VH'], 'float32', None),
        (['vv'], 'float32', None),
        (['VV'], 'uint16', None),
        (['Gamma0_VH'], 'float32', None),
        (['intensity_vv'], 'float32', None),
        (['S1-SIGMA0-VV', 'elevation'], 'int16', None),
        (['Sigma0_VV_db', 'Sigma0_VH_db'], 'float32', 'db'),
        (['VV_dB'], 'int16', 'db'),
        (['VVdB', 'angle'], 'float32', 'db'),
        (['S1_VV_linear'], 'float32', 'power'),
        (['Amplitude_VV'], 'float32', 'amplitude'),
        (['VV_db', 'VV_linear'], 'float32', None),
        (['VV_db', 'VH'], 'float32', None),
        (['B02', 'B8A'], 'float32', 'reflectance'),
        (['red', '842'], 'float64', 'reflectance'),
        (['B02'], 'uint16', 'dn'),
        (['elevation'], 'float32', 'dn'),
        (['height'], 'float64', 'dn'),
        (['landcover'], 'float32', 'dn'),
        (['band_1'], 'float32', 'dn'),
    ],
)
def test_units_are_what_names_say(
    bands: list[str], kind: str, unit: str | None
) -> None:
    assert unit_of(bands, np.dtype(kind)) == unit


@pytest.mark.parametrize('name', ['S1A_IW_GRDH_1SDV_20240601T051234_TC.tif', 'a.tif'])
def test_bands_without_names_are_radar_by_their_product(
    write_raster: Callable[..., Path], name: str
) -> None:
    path = write_raster(name, bands=('', ''))
    (scene,) = scenes(RasterDataset(path))
    assert scene.units == ('dn' if name == 'a.tif' else None)
