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
