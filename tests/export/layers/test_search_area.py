"""The area as a layer: of any kind, cut where it is wider than half the world."""

from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from pyproj import CRS

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.search_area import area_layer, area_of_interest
from torchgeo_cmr.search import Where

BOX = shapely.box(9, 45, 10, 46)


def test_kinds_of_area(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(geometry=[BOX], crs=4326)
    frame.to_file(tmp_path / 'area.geojson')
    given = (
        BOX,
        Where(BOX, crs=4326),
        frame,
        frame.geometry,
        tmp_path / 'area.geojson',
    )
    for area in (*given, (9, 45, 10, 46)):
        shape = area_of_interest(area)
        assert shape is not None
        assert shape.equals(BOX)
    assert area_of_interest(None) is None
    assert area_of_interest(Where()) is None


def test_across_the_antimeridian() -> None:
    shape = area_of_interest((170, -20, -170, -10))
    assert shape is not None
    assert shape.bounds == (-180, -20, 180, -10)
    assert shape.area == pytest.approx(200)


@pytest.mark.parametrize('box', [(-180, -60, 180, 60), (-120, 0, 100, 10)])
def test_wider_than_half_the_world(box: tuple[float, float, float, float]) -> None:
    area = shapely.box(*box)
    layer = area_layer(area, CRS.from_epsg(4326))
    assert len(layer) == 2
    assert layer.geometry.is_valid.all()
    assert layer.geometry.union_all().equals(area)
    assert all(s.bounds[2] - s.bounds[0] <= 180 for s in layer.geometry)


def test_cap_stays_whole() -> None:
    cap = shapely.box(-180, 60, 180, 90)
    (shape,) = area_layer(cap, CRS.from_epsg(4326)).geometry
    assert shape.equals(cap)


def test_layer() -> None:
    layer = area_layer(shapely.box(0, 80, 90, 85), CRS.from_epsg(3413))
    assert layer.crs.to_epsg() == 3413
    assert layer['name'].tolist() == ['area of interest']
    back = layer.to_crs(4326).geometry.iloc[0]
    assert back.symmetric_difference(shapely.box(0, 80, 90, 85)).area < 0.1


def test_no_area() -> None:
    with pytest.raises(QueryError, match='is not an area'):
        area_of_interest(5)
