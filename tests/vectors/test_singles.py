"""Simple geometries of any geometry."""

import shapely

from torchgeo_cmr.vectors.singles import singles

SQUARE = shapely.box(0, 0, 1, 1)
LINE = shapely.LineString([(0, 0), (1, 1)])


def test_what_lies_deep_is_found() -> None:
    pair = shapely.MultiPoint([(0, 0), (1, 1)])
    inner = shapely.GeometryCollection([LINE, shapely.GeometryCollection([pair])])
    whole = shapely.GeometryCollection([inner, SQUARE, shapely.Polygon()])
    found = [each.wkt for each in singles(whole)]
    assert sorted(found) == sorted(each.wkt for each in (LINE, *pair.geoms, SQUARE))


def test_what_is_simple_or_empty() -> None:
    assert singles(SQUARE) == [SQUARE]
    assert singles(shapely.Polygon()) == []
    assert singles(shapely.GeometryCollection()) == []
