"""Where a map opens: away from the antimeridian, on the results."""

from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from pyproj import Transformer

from torchgeo_cmr.export.qgis.view import span, view


def inside(frame: gpd.GeoDataFrame) -> int | None:
    """Code of the view's CRS; the extent must hold every vertex and little more."""
    crs, (west, south, east, north) = view(frame)
    change = Transformer.from_crs(4326, crs, always_xy=True)
    points = shapely.get_coordinates(frame.geometry)
    x, y = change.transform(points[:, 0], points[:, 1])
    assert west < x.min() < x.max() < east
    assert south < y.min() < y.max() < north
    assert east - west < 1.3 * max(x.max() - x.min(), y.max() - y.min()) + 5000
    return crs.to_epsg()


def test_zone_of_the_query(result: Any) -> None:
    frame = result([(5e5, 5e6, 5.1e5, 5.01e6)])
    assert inside(frame) == 32632
    assert inside(result([(5e5, 5e6, 5.1e5, 5.01e6)], 32733)) == 32733
    # Hits over the border of a zone: that of the query.
    both = result([(7.3e5, 5e6, 7.4e5, 5.01e6), (7.9e5, 5e6, 8e5, 5.01e6)])
    asked = result([(2.9e5, 5e6, 3e5, 5.01e6)], 32633).rename(columns={'rank': 'r'})
    crs, _ = view(both, asked)
    assert crs.to_epsg() == 32633


def test_far_apart(result: Any) -> None:
    frame = gpd.GeoDataFrame(
        pd.concat([result([(5e5, 5e6, 6e5, 5.1e6)], z) for z in (32632, 32640)]),
        crs=4326,
    )
    assert inside(frame) == 4326


def test_date_line(result: Any) -> None:
    near = result([(790_000, 8e6, 880_000, 8.07e6)], 32760)
    assert inside(near) in (32760, 32701)
    wide = [result([(5e5, 8e6, 6e5, 8.1e6)], z) for z in (32755, 32706)]
    frame = gpd.GeoDataFrame(pd.concat([near, *wide]), crs=4326)
    assert inside(frame) == 3832


@pytest.mark.parametrize('crs', [3413, 3031])
def test_poles(result: Any, crs: int) -> None:
    assert view(result([(-2e5, -1e5, 3e5, 4e5)], crs))[0].to_epsg() == crs
    _, (west, south, east, north) = view(result([(-2e5, -1e5, 3e5, 4e5)], crs))
    assert west < -2e5
    assert east > 3e5
    assert south < -1e5
    assert north > 4e5


def test_beyond_84_from_another_source(result: Any) -> None:
    assert inside(result([(500_000, 9_500_000, 510_000, 9_510_000)])) == 3413


def test_nothing_found(hits: gpd.GeoDataFrame) -> None:
    none = hits.iloc[:0]
    crs, box = view(none)
    assert (crs.to_epsg(), box) == (4326, (-180, -90, 180, 90))
    crs, box = view(none, None, shapely.box(9, 45, 10, 46))
    assert crs.to_epsg() == 32632
    # With results, an area far away does not count.
    assert view(hits, None, shapely.box(100, 0, 101, 1)) == view(hits)


def test_a_point_has_ground_round_it() -> None:
    frame = gpd.GeoDataFrame(geometry=[shapely.Point(9, 45)], crs=4326)
    _, (west, south, east, north) = view(frame)
    assert east - west == pytest.approx(400)
    assert north - south == pytest.approx(400)


def test_span(hits: gpd.GeoDataFrame) -> None:
    hits.loc[0, 'time_start'] = pd.Timestamp('2020-01-01', tz='UTC')
    hits.loc[1, ['time_start', 'time_end']] = pd.NaT
    found = span(hits)
    assert found is not None
    assert found[0] == pd.Timestamp('2020-01-01', tz='UTC')
    assert found[1] == hits['time_end'].max()
    hits['time_start'] = hits['time_end'] = pd.NaT
    assert span(hits) is None
    assert span(hits[['rank', 'geometry']]) is None
