"""Divide ground into training, validation and test places that never touch."""

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

#: From the one that gives way to the one that is never cut.
SPLITS = ('train', 'val', 'test')


def split_ground(
    grounds: Sequence[tuple[CRS, BaseGeometry]],
    cells: Sequence[tuple[float, float]],
    *,
    margins: Sequence[float],
    shares: dict[str, float],
    seed: int = 0,
) -> list[dict[str, BaseGeometry]]:
    """Assign square cells of ground to splits at random, with a margin between splits.

    Test cells stay whole; validation loses what lies within the margin of a test cell and
    training what lies within the margin of either. Zones that overlap on the ground are
    divided one after the other, so a place belongs to the same split in all of them.

    Distances are planar in the CRS of each zone.

    Args:
        grounds: CRS and ground of each zone.
        cells: Cell width and height of each zone, in units of its CRS.
        margins: Smallest distance between two splits in each zone, in the same units.
        shares: Split -> share of the cells, adding up to 1.
        seed: Seed of the assignment.

    Returns:
        For each zone: split -> ground, empty where the split has none.
    """
    generator = np.random.default_rng(seed)
    zones: list[dict[str, BaseGeometry]] = []
    for (crs, ground), cell, margin in zip(grounds, cells, margins, strict=True):
        squares = _cells(ground, *cell)
        counts = {s: round(shares[s] * len(squares)) for s in ('val', 'test')}
        counts = {s: max(n, 1) if shares[s] > 0 else 0 for s, n in counts.items()}
        order = generator.permutation(len(squares))
        ends = np.cumsum([counts['test'], counts['val']])
        chosen = dict(zip(('test', 'val', 'train'), np.split(order, ends), strict=True))
        regions: dict[str, BaseGeometry] = {}
        kept: BaseGeometry = shapely.GeometryCollection()
        for split in reversed(SPLITS):
            region = shapely.union_all([squares[i] for i in chosen[split]]) & ground
            # Earlier zones have decided already, for every split but this one.
            for (other_crs, _), decided in zip(grounds, zones, strict=False):
                taken = [decided[s] for s in SPLITS if s != split]
                region = region - _grown(_moved(taken, other_crs, crs), margin)
            regions[split] = region - _grown(kept, margin)
            kept = kept | regions[split]
        zones.append(regions)
    return zones


def _cells(ground: BaseGeometry, width: float, height: float) -> list[BaseGeometry]:
    """Cells of a square grid, from the upper left, that hold some of the ground."""
    xmin, ymin, xmax, ymax = ground.bounds
    columns = np.arange(max(1, np.ceil((xmax - xmin) / width - 0.01)))
    rows = np.arange(max(1, np.ceil((ymax - ymin) / height - 0.01)))
    x, y = np.meshgrid(xmin + columns * width, ymax - rows * height)
    squares = shapely.box(x, y - height, x + width, y).ravel()
    shapely.prepare(ground)
    held = shapely.area(shapely.intersection(squares, ground))
    return list(squares[held > 0.05 * width * height])


def _grown(geometry: BaseGeometry, distance: float) -> BaseGeometry:
    return (
        geometry.buffer(distance, join_style='mitre')
        if not geometry.is_empty
        else geometry
    )


def _moved(parts: Sequence[BaseGeometry], source: CRS, target: CRS) -> BaseGeometry:
    parts = [part for part in parts if not part.is_empty]
    if not parts:
        return shapely.GeometryCollection()
    return gpd.GeoSeries(parts, crs=source).to_crs(target).union_all()
