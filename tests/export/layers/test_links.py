"""Lines from queries to hits: the short way round, cut at 180."""

from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import CRS

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.export.layers.links import connect, link_stream
from torchgeo_cmr.export.vector.geopackage import query_layer


def at(lon: float, lat: float) -> shapely.Geometry:
    return shapely.box(lon - 0.1, lat - 0.1, lon + 0.1, lat + 0.1)


@pytest.mark.parametrize(
    ('start', 'end', 'length', 'parts'),
    [
        ((9, 45), (10, 45), 1, 1),
        ((179, 0), (-178, 0), 3, 2),
        ((-179, 0), (178, 0), 3, 2),
        ((-100, 0), (100, 0), 160, 2),
        ((-90, 10), (80, 10), 170, 1),
    ],
)
def test_short_way(
    start: tuple[float, float], end: tuple[float, float], length: float, parts: int
) -> None:
    line = connect(at(*start), at(*end))
    assert line is not None
    assert line.geom_type == 'MultiLineString'
    assert line.is_valid
    assert line.length == pytest.approx(length)
    assert len(line.geoms) == parts
    assert abs(shapely.get_coordinates(line)[:, 0]).max() <= 180
    ends = shapely.get_coordinates(line)[[0, -1]]
    assert np.allclose(ends, [start, end])


def test_cut_footprints_and_the_same_place() -> None:
    halves = shapely.MultiPolygon(
        [shapely.box(179.8, 0, 180, 1), shapely.box(-180, 0, -179.8, 1)]
    )
    line = connect(halves, at(178, 0.5))
    assert line is not None
    assert line.length == pytest.approx(2)
    assert connect(halves, halves) is None
    assert connect(at(1, 1), at(1, 1), CRS.from_epsg(3413)) is None
    flat = connect(at(-500, 0), at(500, 0), CRS.from_epsg(3413))
    assert flat is not None
    assert flat.length == pytest.approx(1000)


def test_stream(make: Any, hits: gpd.GeoDataFrame) -> None:
    queries = query_layer(make('s1', 1))
    table = link_stream(hits, queries).read_all()
    mine = hits[hits['query_id'] == queries['query_id'].iloc[0]]
    assert table.column_names == ['rank', 'score', 'query_id', 'patch_id', 'geom']
    lines = shapely.from_wkb(table['geom'].to_numpy())
    # A hit on the query's own ground has no line.
    own = queries.geometry.iloc[0].centroid
    apart = np.array([s.centroid.distance(own) > 1e-9 for s in mine.geometry])
    assert table['patch_id'].to_pylist() == mine['patch_id'][apart].tolist()
    for line, shape in zip(lines, mine.geometry[apart], strict=True):
        end = shapely.get_coordinates(line)[-1]
        assert np.allclose(end, shape.centroid.coords[0], atol=1e-6)


def test_queries_of_another_search(make: Any, hits: gpd.GeoDataFrame) -> None:
    with pytest.raises(QueryError, match='no query of the result is among'):
        link_stream(hits, query_layer(make('s2')))


def test_no_line_to_what_has_no_place(make: Any, hits: gpd.GeoDataFrame) -> None:
    queries = query_layer(make('s1', 2))
    whole = link_stream(hits, queries).read_all()
    hits.loc[hits['rank'] == 3, 'geometry'] = None
    lines = link_stream(hits, queries).read_all()
    assert 0 < len(lines) < len(whole)
    assert 3 not in lines['rank'].to_pylist()
