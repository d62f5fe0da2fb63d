"""What pixel values mean, and backscatter from one unit into another."""

import numpy as np
import pytest

from torchgeo_cmr.datasets.units import convert, stated_unit, unit_of


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
    assert unit_of(['VV'], np.dtype('float32')) is None
    assert unit_of(['VV'], np.dtype('uint16')) == 'dn'
    assert unit_of(['B02'], np.dtype('float32')) == 'reflectance'
