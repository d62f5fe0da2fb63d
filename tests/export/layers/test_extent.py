"""The middle of footprints, where averages of degrees go wrong."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.extent import (
    check_drawable,
    metric_crs,
    middle,
    moved,
    placed,
)


def frame(*shapes: shapely.Geometry, crs: int | None = 4326) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=list(shapes), crs=crs)


def test_plain_middle() -> None:
    lon, lat = middle(frame(shapely.box(8, 0, 9, 1), shapely.box(10, 0, 11, 1)))
    assert (lon, lat) == pytest.approx((9.5, 0.5), abs=1e-3)


def test_across_the_antimeridian() -> None:
    lon, _ = middle(frame(shapely.box(178, 0, 179, 1), shapely.box(-178, 0, -177, 1)))
    assert abs(lon) == pytest.approx(179.5, abs=0.6)
    parts = [shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)]
    lon, _ = middle(frame(shapely.MultiPolygon(parts)))
    assert abs(lon) == pytest.approx(180)


def test_round_the_pole() -> None:
    boxes = [shapely.box(lon, 85, lon + 1, 86) for lon in (0, 90, 180 - 1, -90)]
    _, lat = middle(frame(*boxes))
    assert lat > 89
    assert middle(frame(shapely.box(-1e5, -1e5, 1e5, 1e5), crs=3031))[1] < -89


@pytest.mark.parametrize(
    ('lon', 'lat', 'code'),
    [
        (9, 45, 32632),
        (-98.5, 29.4, 32614),
        (180, -17, 32701),
        (-180, 17, 32601),
        (179.99, 17, 32660),
        (0, 85, 3413),
        (0, -81, 3031),
    ],
)
def test_metric_crs(lon: float, lat: float, code: int) -> None:
    assert metric_crs(lon, lat).to_epsg() == code


def test_moved_keeps_the_ground() -> None:
    utm = frame(shapely.box(5e5, 5e6, 6e5, 5.1e6), crs=32632)
    there = moved(utm, CRS.from_epsg(32633))
    back = moved(gpd.GeoDataFrame(geometry=there, crs=32633), CRS.from_epsg(32632))
    assert shapely.intersection(back[0], utm.geometry[0]).area / 1e10 > 0.99999
    assert moved(utm, CRS.from_epsg(32632))[0] is utm.geometry[0]


def test_parts_cut_at_180_meet_again() -> None:
    parts = [shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)]
    (shape,) = moved(frame(shapely.MultiPolygon(parts)), CRS.from_epsg(32701))
    assert shape.geom_type == 'Polygon'
    assert shape.area == pytest.approx(11_066 * 21_300, rel=0.01)


def test_refuses() -> None:
    with pytest.raises(QueryError, match='the layer has no CRS; declare it'):
        moved(frame(shapely.box(0, 0, 1, 1), crs=None), CRS.from_epsg(32632))
    south = frame(shapely.box(0, -60, 1, -59))
    with pytest.raises(QueryError, match=r'has no place in .*; give another CRS'):
        moved(south, CRS.from_user_input('+proj=gnom +lat_0=90'))
    assert np.isfinite(middle(south)).all()


def test_no_place(hits: gpd.GeoDataFrame) -> None:
    assert placed(hits).all()
    hits.loc[2:, 'geometry'] = None
    assert placed(hits).tolist() == [True, True, False, False, False, False]
    check_drawable(hits)
    with pytest.raises(
        QueryError, match='none of the 4 hits has a place on the ground'
    ):
        check_drawable(hits[2:])
    with pytest.raises(QueryError, match='there is no hit to draw'):
        check_drawable(hits[:0])
