"""Random areas of every type, in many CRS, against shapely in the plane they were drawn in.

The oracle knows nothing of the antimeridian or of poles: it brings footprints, with dense
edges, to the CRS of the area, where both are plain. Rows whose answer turns on less than the
tolerance of either are not judged. More areas, such as 850 in each CRS:
``TORCHGEO_CMR_CASES=850 python -m pytest tests/search/test_area_oracle.py``.
"""

import os
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer

from torchgeo_cmr.search import Where
from torchgeo_cmr.search.where.columns import TableColumns
from torchgeo_cmr.table import EmbeddingTable

#: CRS -> centre and reach, in its units, of rows and areas.
PLACES: dict[str, tuple[float, float, float]] = {
    'EPSG:3413': (0, 0, 4e5),
    'EPSG:3031': (0, 0, 4e5),
    'EPSG:3832': (3_339_584.7, 6e6, 4e5),
    'EPSG:32601': (170_000, 7.2e6, 2e5),
    'EPSG:3035': (4.3e6, 3e6, 4e5),
    'EPSG:4326': (180, -17, 4),
}
ROWS = 250
#: Areas in each CRS.
CASES = int(os.environ.get('TORCHGEO_CMR_CASES', '25'))


@dataclass
class World:
    """Footprints of a table, and the same in the plane of the areas, smaller and larger."""

    columns: TableColumns
    small: np.ndarray
    exact: np.ndarray
    large: np.ndarray


def world(crs: str, rng: np.random.Generator) -> World:
    x, y, reach = PLACES[crs]
    middle = np.array([x, y]) + rng.uniform(-reach, reach, (ROWS, 2))
    to, back = (
        Transformer.from_crs(*pair, always_xy=True)
        for pair in ((crs, 4326), (4326, crs))
    )
    lonlat = middle if crs == 'EPSG:4326' else np.column_stack(to.transform(*middle.T))
    high = 10 ** rng.uniform(-2, -0.5, ROWS)
    wide = np.minimum(high / np.cos(np.radians(lonlat[:, 1])), 50)
    lon, lat = lonlat.T
    south, north = (np.clip(lat + s * high / 2, -89.99, 89.99) for s in (-1, 1))
    flat = shapely.box(lon - wide / 2, south, lon + wide / 2, north)
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i:04d}' for i in range(ROWS)]}, geometry=flat, crs=4326
    )
    table = EmbeddingTable.from_frame(frame, np.ones((ROWS, 2)))
    fine = shapely.segmentize(flat, wide / 40)
    if crs != 'EPSG:4326':
        fine = shapely.transform(fine, lambda c: np.column_stack(back.transform(*c.T)))
    # The chords of dense edges leave the true ones by a thousandth of a footprint.
    off = 2e-3 * np.sqrt(shapely.area(fine))
    small, large = (shapely.buffer(fine, sign * off) for sign in (-1, 1))
    return World(TableColumns(table, curve=True), small, fine, large)


def star(rng: np.random.Generator, crs: str, size: float) -> shapely.Geometry:
    x, y, reach = PLACES[crs]
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 10))))
    way = np.column_stack([np.cos(angle), np.sin(angle)])
    out = size * rng.uniform(0.2, 1, (len(angle), 1)) * way
    return shapely.Polygon(
        out + [x, y] + rng.choice([0, 1]) * rng.uniform(-reach, reach, 2) / 2
    )


def features(rng: np.random.Generator, crs: str) -> list[shapely.Geometry]:
    """Draw an area: some features of one type or of several, valid or not."""
    x, y, reach = PLACES[crs]
    size = reach * 10 ** rng.uniform(-1.5, 0)
    points = rng.uniform(-size, size, (5, 2)) + np.array([x, y])
    line, cross = shapely.LineString(points), shapely.Polygon(points)
    corner = shapely.box(
        x, y, x + rng.choice([-1, 1]) * size, y + rng.choice([-1, 1]) * size
    )
    half = shapely.box(x - size, y, x + size, y + rng.choice([-1, 1]) * size)
    stars = [star(rng, crs, size) for _ in range(3)]
    return [
        [stars[0]],
        stars,
        [stars[0].buffer(0), line],
        [cross],
        [cross, stars[0], shapely.MultiPoint(points)],
        [line],
        [shapely.MultiPoint(points)],
        [corner],
        [half],
        [stars[1].buffer(0).difference(stars[2].buffer(0)), shapely.Point(x, y)],
    ][rng.integers(10)]


def expected(
    made: World, shapes: list[shapely.Geometry], predicate: str
) -> tuple[np.ndarray, np.ndarray]:
    """Give the answer of the plane, and of which rows it is certain."""
    valid = shapely.make_valid(np.array(shapes, dtype=object))
    parts = shapely.get_parts(shapely.get_parts(valid))
    area = parts[shapely.get_dimensions(parts) == 2]
    ground = shapely.union_all(area if len(area) else parts)
    answers = []
    for footprints in (made.small, made.exact, made.large):
        if predicate == 'within':
            answers.append(shapely.within(footprints, ground))
        elif predicate == 'contains':
            answers.append(shapely.contains(footprints, ground))
        else:
            hit = [shapely.intersects(part, footprints) for part in parts]
            answers.append(np.any(hit, axis=0))
    small, exact, large = answers
    return exact, (small == exact) & (exact == large)


def check(crs: str, seed: int, areas: int) -> None:
    rng = np.random.default_rng(seed)
    made, judged = world(crs, rng), 0
    for _ in range(areas):
        shapes = features(rng, crs)
        if rng.random() < 0.3:
            shapes = [shapely.reverse(shape) for shape in shapes]
        for predicate in ('intersects', 'within', 'contains'):
            given: Any = gpd.GeoSeries(shapes, crs=crs)
            rows = Where(given, predicate=predicate).rows(made.columns)
            found = np.zeros(ROWS, dtype=bool)
            found[rows] = True
            right, certain = expected(made, shapes, predicate)
            odd = np.flatnonzero((found != right) & certain)
            assert not len(odd), (crs, predicate, shapes, made.exact[odd[0]].wkt)
            judged += int((certain & right).sum())
    assert judged > 5 * areas


@pytest.mark.slow
@pytest.mark.parametrize('crs', PLACES)
def test_areas_against_the_plane(crs: str) -> None:
    for seed, first in enumerate(range(0, CASES, 170)):
        check(crs, seed, min(170, CASES - first))


def test_wide_areas() -> None:
    rng = np.random.default_rng(3)
    lon, lat = (
        a.ravel()
        for a in np.meshgrid(np.arange(-180, 180, 4.0), np.arange(-88, 88, 4.0))
    )
    boxes = shapely.box(lon + 1, lat + 1, lon + 3, lat + 3)
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i}' for i in range(len(lon))]}, geometry=boxes, crs=4326
    )
    columns = TableColumns(
        EmbeddingTable.from_frame(frame, np.ones((len(lon), 1))), curve=True
    )
    for _ in range(60):
        west, east = rng.uniform(-180, 180, 2)
        south, north = np.sort(rng.uniform(-90, 90, 2))
        parts = [shapely.box(west, south, east, north)]
        if west > east:
            parts = [
                shapely.box(west, south, 180, north),
                shapely.box(-180, south, east, north),
            ]
        hit = np.any([shapely.intersects(part, boxes) for part in parts], axis=0)
        rows = Where((west, south, east, north)).rows(columns)
        assert rows.tolist() == np.flatnonzero(hit).tolist()
        sites = shapely.box(
            *(c := rng.uniform((-180, -80), (0, 70), (3, 2))).T, *(c + 8).T
        )
        several = shapely.union_all(sites)
        hit = shapely.intersects(several, boxes)
        rows = Where(several, 4326).rows(columns)
        assert rows.tolist() == np.flatnonzero(hit).tolist()
