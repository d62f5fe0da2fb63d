"""Groups of queries: by class, region, season, and distance to the relevant item."""

import warnings
from collections.abc import Iterator
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError
from shapely import Geometry

from torchgeo_cmr.class_names import class_names
from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import centres
from torchgeo_cmr.table.outline import outline
from torchgeo_cmr.vectors.class_polygons import only_polygons

from .blocks import cells
from .label_rule import LabelSets
from .measure import Floats

#: What a report can be broken down by.
GROUPINGS = ('class', 'region', 'season', 'distance', 'days')

_SEASONS = ('Dec-Feb', 'Mar-May', 'Jun-Aug', 'Sep-Nov')
_EDGES = (0.0, 1e3, 1e4, 1e5)
_DAYS = (0.0, 1.0, 5.0, 30.0, 365.0)
_LAPSES = (
    'at the same time',
    'up to 1 day',
    '1 to 5 days',
    '5 to 30 days',
    '30 to 365 days',
    'over 365 days',
)
#: Metres by which the edge of a region may leave its own line.
_STRAY = 1.0
_REACHES = ('touching', 'up to 1 km', '1 to 10 km', '10 to 100 km', 'over 100 km')

type Group = tuple[str, NDArray[np.bool_]]


def by_class(sets: LabelSets) -> Iterator[Group]:
    """Group queries by label; a query with several labels is in several groups.

    Args:
        sets: Memberships, those of the queries first.

    Yields:
        Class and mask (queries,), classes of the vocabulary in order, without empty ones.
    """
    held = sets.members[0] > 0
    for number, name in enumerate(sets.classes):
        if held[:, number].any():
            yield name, held[:, number]


def by_season(table: EmbeddingTable) -> Iterator[Group]:
    """Group queries by the months in which they were taken, named by months.

    Args:
        table: Queries; ``time_start`` counts, else ``time_end``.

    Yields:
        ``'Dec-Feb'`` and so on, then ``'undated'``, and mask (queries,).
    """
    times = table.frame['time_start'].fillna(table.frame['time_end'])
    season = (times.dt.month % 12 // 3).fillna(len(_SEASONS)).to_numpy().astype(int)
    for number, name in enumerate((*_SEASONS, 'undated')):
        if (season == number).any():
            yield name, season == number


def by_distance(nearest: Floats) -> Iterator[Group]:
    """Group queries by the metres to the nearest relevant item.

    Args:
        nearest: Metres (queries,), NaN without a relevant item.

    Yields:
        Reach in words and mask (queries,).
    """
    reach = np.searchsorted(_EDGES, nearest, side='left')
    for number, name in enumerate(_REACHES):
        mask = (reach == number) & ~np.isnan(nearest)
        if mask.any():
            yield name, mask


def by_days(soonest: Floats, counted: NDArray[np.bool_]) -> Iterator[Group]:
    """Group queries by the days to the relevant item taken nearest in time.

    Args:
        soonest: Days (queries,), NaN without a dated relevant item.
        counted: Whether a query has a relevant item (queries,).

    Yields:
        Lapse in words, then ``'undated'``, and mask (queries,).
    """
    lapse = np.searchsorted(_DAYS, soonest, side='left')
    for number, name in enumerate(_LAPSES):
        mask = (lapse == number) & ~np.isnan(soonest)
        if mask.any():
            yield name, mask
    if (undated := counted & np.isnan(soonest)).any():
        yield 'undated', undated


def by_region(
    table: EmbeddingTable, regions: gpd.GeoDataFrame | float
) -> Iterator[Group]:
    """Group queries by where their centre lies.

    Args:
        table: Queries.
        regions: Polygons, named by the column ``name`` if there is one, else by the first
            other column, else numbered; those of one name are one region, those whose name is
            null or blank are ``'unnamed'``. Lines and points are no region. Or the width in
            metres of square cells.

    Yields:
        Region and mask (queries,); what lies in no region last, as ``'elsewhere'``. Regions may
        overlap.

    Raises:
        QueryError: If the regions have no polygon, no CRS, or one without places.
    """
    if not isinstance(regions, gpd.GeoDataFrame):
        blocks = cells(table, regions).to_numpy()
        for name in sorted({*blocks}):
            yield str(name), blocks == name
        return
    what = 'the layer of regions'
    named = gpd.GeoDataFrame(regions.assign(region=_names(regions, what)))
    named = only_polygons(named, what, QueryError)
    outlines = _in_lonlat(named, what)
    points = centres(table.frame.geometry.to_numpy())
    points[:, 0] = (points[:, 0] + 180) % 360 - 180
    inside = shapely.points(points)
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, ground in zip(named['region'], outlines, strict=True):
        mask = shapely.intersects(ground, inside)
        masks[name] = masks[name] | mask if name in masks else mask
    yield from ((name, mask) for name, mask in masks.items() if mask.any())
    left = ~np.logical_or.reduce([*masks.values(), np.zeros(len(table), bool)])
    if len(table) and left.all():
        warnings.warn(
            f'no query lies in {what}, which reaches from {_reach(shapely.total_bounds(outlines))}: '
            f'the queries reach from {_reach(shapely.total_bounds(inside))}',
            stacklevel=2,
        )
    if left.any():
        yield 'elsewhere (no region)' if 'elsewhere' in masks else 'elsewhere', left


def _reach(bounds: NDArray[np.float64]) -> str:
    west, south, east, north = bounds
    return f'longitude {west:.4f} to {east:.4f}, latitude {south:.4f} to {north:.4f}'


def _in_lonlat(regions: gpd.GeoDataFrame, what: str) -> list[Geometry]:
    """Polygons in EPSG:4326, cut at the antimeridian as footprints are."""
    crs = CRS(regions.crs)
    error = None
    try:
        shapes = shapely.make_valid(regions.geometry.to_numpy())
        outlines = [outline(shape, crs, _STRAY) for shape in shapes]
        if np.isfinite(shapely.bounds(outlines)).all():
            return outlines
    except (ProjError, ValueError) as reason:  # of a CRS that lies nowhere on Earth
        error = reason
    raise QueryError(
        f'{what} is in {crs.name[:60]}, from which nothing leads to EPSG:4326; check its CRS'
    ) from error


def _names(regions: gpd.GeoDataFrame, what: str) -> list[str]:
    columns: list[Any] = [c for c in regions if c != regions.active_geometry_name]
    chosen = 'name' if 'name' in columns else next(iter(columns), None)
    if chosen is None:
        return [str(i) for i in range(len(regions))]
    return [name or 'unnamed' for name in class_names(regions[chosen], what)]
