"""CRSs with heights, and those without places."""

import pytest
from pyproj import CRS

from torchgeo_cmr.errors import QueryError, RasterError
from torchgeo_cmr.vectors.place_crs import check_places, without_heights


@pytest.mark.parametrize(
    ('given', 'flat'), [(7415, 28992), ('EPSG:32632+5703', 32632), (4326, 4326)]
)
def test_heights_are_left_out(given: int | str, flat: int) -> None:
    crs = without_heights(CRS.from_user_input(given))
    assert crs == CRS.from_epsg(flat)
    check_places(crs, 'the area', QueryError)


@pytest.mark.parametrize(
    'crs',
    [4978, 5703, 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'],
)
def test_those_without_places(crs: int | str) -> None:
    with pytest.raises(
        RasterError, match=r'the map is in .*, which has no place on a map'
    ):
        check_places(CRS.from_user_input(crs), 'the map', RasterError)
