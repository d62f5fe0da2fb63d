"""Names of bands, as files, products, catalogues and cubes write them."""

import pytest

from torchgeo_cmr.scenes.bands import (
    candidates,
    explain,
    find_bands,
    is_optical,
    is_radar,
    is_udm2,
    mask_name,
    mask_stem,
    nameless,
    polarisation,
)


@pytest.mark.parametrize(
    ('wanted', 'given', 'order'),
    [
        # Letter by letter, then without case, then after the name of a product.
        (['B02', 'B03'], ['B03', 'B02'], [1, 0]),
        (['B02'], ['x-B02', 'b02', 'B02'], [2]),
        (['B02'], ['x-B02', 'b02'], [1]),
        (['B02'], ['SB02', 'S2-L2A-B02'], [1]),
        (['S2-L2A-B02'], ['B03', 'B02'], [1]),
        (['B02'], ['S2-B2'], [0]),
        # Leading zeros, resolutions, levels.
        (['B02', 'B8A'], ['B8a_20m', 'B2'], [1, 0]),
        (['SR_B4', 'SR_B5', 'SR_B6'], ['OLI_B6', 'B5', 'B4'], [2, 1, 0]),
        (['B4'], ['B4, central wavelength 665 nm'], [0]),
        # Numbers are names if both sides have names.
        (['490', '665'], ['665', '490'], [1, 0]),
        (['2020'], ['2019', '2020', '2021'], [1]),
        (['band_3', 'band_1'], ['band_1', 'band_2', 'band_3'], [2, 0]),
        # What the sensor calls its bands.
        (['B02', 'B04', 'B08', 'B11'], ['swir16', 'nir', 'red', 'blue'], [3, 2, 1, 0]),
        (['B02', 'B04'], ['665', '490nm'], [1, 0]),
        (['red', 'nir08'], ['B8A', 'B08', 'B04'], [2, 0]),
        (['red', 'nir08'], ['SR_B4', 'SR_B5', 'SR_B6'], [0, 1]),
        (['SWIR1'], ['B12', 'B11'], [1]),
        (['R', 'G', 'B', 'NIR'], ['nir', 'red', 'green', 'blue'], [1, 2, 3, 0]),
        # Radar.
        (['VV', 'VH'], ['Sigma0_VH_db', 'Sigma0_VV_db'], [1, 0]),
        (['Gamma0_VV'], ['vh', 'vv'], [1]),
        (['VV'], ['S1_VV_linear', 'angle'], [0]),
        (['Sigma0_VV'], ['Gamma0_VV'], None),
        (['VV'], ['VV_std'], None),
        # Two bands, or none.
        (['VV'], ['S1-SIGMA0-VV', 'S1-GAMMA0-VV'], None),
        (['rededge'], ['B05', 'B06', 'B07'], None),
        (['B02'], ['B02', 'B02'], None),
        (['B8', 'B08'], ['B08'], None),
        (['B02', 'B99'], ['B02'], None),
        # Another sensor has other bands of these numbers.
        (['B05', 'B8A'], ['SR_B5', 'SR_B6'], None),
        (['SR_B5', 'SR_B6'], ['B05', 'B06'], None),
        (['B04'], ['band_4'], None),
    ],
)
def test_a_band_is_found_if_it_is_one(
    wanted: list[str], given: list[str], order: list[int] | None
) -> None:
    assert find_bands(wanted, given) == order


def test_the_sensor_says_what_a_number_is() -> None:
    assert find_bands(['red'], ['B3', 'B4'], 'landsat-8') == [1]
    assert find_bands(['red'], ['B3', 'B4'], 'landsat-5') == [0]
    assert find_bands(['red'], ['B3', 'B4'], 'sentinel-2a') == [1]
    # Padded numbers are those of Sentinel-2, whose red edge Landsat does not have.
    assert find_bands(['B05', 'B06'], ['B5', 'B6'], 'landsat-8') is None
    assert find_bands(['SR_B5'], ['B05'], 'landsat-9') == [0]


def test_aliases_are_ranked() -> None:
    given = [('first', 'B03'), ('B03', 'second'), ('b03',)]
    assert candidates(['B03', 'B3', 'none'], given) == [[1], [1, 2], []]


def test_what_is_missing_or_doubtful_is_named() -> None:
    told = explain(['B02', 'B08', 'VV'], ['B02', 'S1-VV', 'S2-VV'])
    assert told == 'there is no band B08; VV could be S1-VV or S2-VV'
    assert explain(['B8', 'B08'], ['B08']) == 'B8 and B08 would both be B08'


def test_names_that_only_count_name_nothing() -> None:
    assert nameless(['band_1', '2'])
    assert nameless(['Band 1'])
    assert nameless([])
    assert not nameless(['band_1', 'B02'])
    assert not nameless(['band_3'])
    assert not nameless(['490', '665'])
    assert not nameless(['2020'])


@pytest.mark.parametrize(
    'name',
    [
        *('VV', 'vv', 'Sigma0_VV_db', 'Gamma0_VH', 'VV_dB', 'S1_VV_linear', 'hv'),
        *('intensity_vv', 'S1-SIGMA0-VV', 'sigma0vv', 'VVdB', 'sigma_nought', 'S1VH'),
    ],
)
def test_radar_is_known_by_any_spelling(name: str) -> None:
    assert is_radar(name)


@pytest.mark.parametrize('name', ['B02', 'elevation', 'vhr', 'curvve', 'gamma', 'dem'])
def test_what_is_not_radar(name: str) -> None:
    assert not is_radar(name)
    assert polarisation(name) is None


def test_light_is_known_by_its_names() -> None:
    for name in ('B02', 'SR_B4', 'red', 'nir08', '665', 'R', 'S2-L2A-B02'):
        assert is_optical(name), name
    for name in ('elevation', 'landcover', '2020', 'band_1', 'VV', 'NDVI'):
        assert not is_optical(name), name
    assert polarisation('S1-SIGMA0-vv') == 'VV'
    assert polarisation('VV_VH') is None


@pytest.mark.parametrize(
    ('text', 'mask', 'stem'),
    [
        ('S2-L2A-SCL', 'SCL', 'S2-L2A'),
        ('scl', 'SCL', ''),
        ('SCL_20m', 'SCL', ''),
        ('scl-jp2', 'SCL', ''),
        ('T32TQM_20240611T101031_SCL_60m', 'SCL', 'T32TQM_20240611T101031'),
        ('qa_pixel', 'QA_PIXEL', ''),
        ('pixel_qa', 'QA_PIXEL', ''),
        ('HLS.S30.T32TQM.2024001T101010.v2.0.Fmask', 'FMASK', None),
        ('ortho_udm2', 'UDM2', ''),
        ('20240611_101530_12_2479_3B_udm2_clip', 'UDM2', '20240611_101530_12_2479_3B'),
        ('MUSCL', None, None),
        ('SCL_B02', None, None),
    ],
)
def test_masks_are_known_by_their_names(
    text: str, mask: str | None, stem: str | None
) -> None:
    assert mask_name(text) == mask
    if mask is None or stem is not None:
        assert mask_stem(text) == stem


def test_usable_data_is_known_by_its_bands() -> None:
    bands = [
        'clear',
        'snow',
        'shadow',
        'light_haze',
        'heavy_haze',
        'cloud',
        'confidence',
    ]
    assert is_udm2(bands)
    assert not is_udm2(['clear', 'cloud'])
