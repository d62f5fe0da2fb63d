"""Names of bands, as files and cubes write them."""

import pytest

from torchgeo_cmr.datasets.names import find_bands, last_part, mask_name, nameless


@pytest.mark.parametrize(
    ('wanted', 'given', 'order'),
    [
        (['B02', 'B03'], ['B03', 'B02'], [1, 0]),
        (['B02'], ['x-B02', 'b02', 'B02'], [2]),
        (['B02'], ['x-B02', 'b02'], [1]),
        (['B02'], ['SB02', 'S2-L2A-B02'], [1]),
        (['VV'], ['S1-SIGMA0-VV', 'S1-GAMMA0-VV'], None),
        (['B02', 'B99'], ['B02'], None),
    ],
)
def test_a_band_is_found_if_it_is_one(
    wanted: list[str], given: list[str], order: list[int] | None
) -> None:
    assert find_bands(wanted, given) == order


def test_parts_of_names() -> None:
    assert last_part('S1-SIGMA0-vv') == 'VV'
    assert mask_name('S2-L2A-SCL') == 'SCL'
    assert mask_name('qa_pixel') == 'QA_PIXEL'
    assert mask_name('MUSCL') is None
    assert nameless(['band_1', '2'])
    assert not nameless(['band_1', 'B02'])
