"""Polygons of classes: what covers no ground."""

from typing import Any

import geopandas as gpd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.vectors.class_polygons import only_polygons

SQUARE = shapely.box(0, 0, 1, 1)
LINE = shapely.LineString([(0, 0), (1, 1)])


def test_only_polygons_stay() -> None:
    high = shapely.force_3d(SQUARE, 5.0)
    nested = shapely.GeometryCollection([shapely.GeometryCollection([LINE, high])])
    lines = shapely.GeometryCollection([LINE, shapely.Point(0, 0)])
    shapes = [LINE, high, None, shapely.Polygon(), nested, lines]
    frame = gpd.GeoDataFrame(
        {'kind': [*'abcdef']}, geometry=shapes, crs='EPSG:32632+5703', index=[0] * 6
    )
    found = only_polygons(frame, 'the layer', QueryError)
    assert found['kind'].tolist() == ['b', 'e']
    assert found.geometry.to_numpy()[0].equals_exact(SQUARE)
    assert found.geometry.to_numpy()[1].equals_exact(shapely.MultiPolygon([SQUARE]))
    assert not found.has_z.any()
    assert found.crs == 'EPSG:32632'
    assert frame.has_z.any()


@pytest.mark.parametrize(
    ('shapes', 'message'),
    [
        ([LINE, shapely.Point(0, 0)], 'it holds LineString and Point, which cover'),
        ([shapely.Polygon(), None], 'all its geometries are empty; give polygons'),
        ([None], 'its features have no geometry; give'),
        ([], 'it has no features; give'),
    ],
)
def test_nothing_is_ground(shapes: list[Any], message: str) -> None:
    frame = gpd.GeoDataFrame(geometry=shapes, crs=4326)
    with pytest.raises(QueryError, match=f'the layer has no polygon: {message}'):
        only_polygons(frame, 'the layer', QueryError)


def test_a_table_without_geometry() -> None:
    frame = gpd.GeoDataFrame({'kind': ['a']})
    with pytest.raises(QueryError, match='its features have no geometry'):
        only_polygons(frame, 'the layer', QueryError)


@pytest.mark.parametrize(
    ('box', 'crs', 'right'),
    [
        ((600_000, 5e6, 600_900, 5_001_000), 4326, False),
        ((600_000, 5e6, 600_900, 5_001_000), 4258, False),
        ((600_000, 5e6, 600_900, 5_001_000), 32632, True),
        ((9, 89, 10, 91), 4326, False),
        ((175, -1, 185, 90), 4326, True),
        ((0, 300, 10, 310), 'EPSG:4807', True),
    ],
)
def test_numbers_that_are_no_degrees(
    box: tuple[float, ...], crs: int | str, right: bool
) -> None:
    frame = gpd.GeoDataFrame(geometry=[shapely.box(*box)], crs=crs)
    if right:
        assert len(only_polygons(frame, 'the layer', QueryError)) == 1
        return
    with pytest.raises(
        QueryError, match=r'the layer reaches from .* declare the CRS these'
    ):
        only_polygons(frame, 'the layer', QueryError)
