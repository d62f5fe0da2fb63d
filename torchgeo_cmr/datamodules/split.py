"""Divide ground into training, validation and test places that never touch."""

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.scenes.outlines import project_near

#: In this order a later split is never cut to make room for an earlier one.
SPLITS = ('train', 'val', 'test')

#: Polygons of one split: disjoint, none larger than a cell.
type Tiles = NDArray[np.object_]

#: Corners above which a polygon is divided before it is compared with cells.
_CORNERS = 128


def check_shares(val_split: float, test_split: float) -> None:
    """Refuse shares of validation and test that leave nothing to train on."""
    if min(val_split, test_split) < 0 or not val_split + test_split < 1:
        raise PairingError(
            f'val_split {val_split} and test_split {test_split} leave nothing to train '
            'on: they must be at least 0 and add up to less than 1'
        )


def split_ground(
    grounds: Sequence[tuple[CRS, BaseGeometry]],
    cells: Sequence[tuple[float, float]],
    *,
    margins: Sequence[float],
    shares: dict[str, float],
    least: Sequence[float] | None = None,
    seed: int = 0,
) -> list[dict[str, Tiles]]:
    """Assign square cells of ground to splits at random, with a margin between splits.

    Test cells stay whole; validation loses what lies within the margin of a test cell and
    training what lies within the margin of either. Zones that overlap on the ground are
    divided one after the other, so a place belongs to the same split in all of them: by CRS and
    place, whatever order they are given in, so that files under other paths are split alike.

    Distances are planar in the CRS of each zone.

    Args:
        grounds: CRS and ground of each zone.
        cells: Cell width and height of each zone, in units of its CRS.
        margins: Smallest distance between two splits in each zone, in the same units.
        shares: Split -> share of the cells, adding up to 1.
        least: Smallest ground in a cell of each zone, in square units of its CRS; cells
            with less belong to no split (default: a twentieth of the cell).
        seed: Seed of the assignment.

    Returns:
        For each zone: split -> its ground cell by cell, so that no later step has to look
        at all of it; none where the split has none.
    """
    generator = np.random.default_rng(seed)
    zones: dict[int, dict[str, Tiles]] = {}
    for number in sorted(range(len(grounds)), key=lambda i: _rank(*grounds[i])):
        crs, ground = grounds[number]
        width, height = cells[number]
        smallest = 0.05 * width * height if least is None else least[number]
        tiles, owners, count = _cut(ground, width, height, smallest)
        counts = {s: round(shares[s] * count) for s in ('val', 'test')}
        counts = {s: max(n, 1) if shares[s] > 0 else 0 for s, n in counts.items()}
        order = generator.permutation(count)
        ends = np.cumsum([counts['test'], counts['val']])
        chosen = dict(zip(('test', 'val', 'train'), np.split(order, ends), strict=True))
        regions: dict[str, Tiles] = {}
        around = ground.envelope.buffer(margins[number])
        # Places of earlier zones belong to a split already.
        earlier = {
            split: [
                near_ground(zone[split], grounds[i][0], crs, around)
                for i, zone in zones.items()
            ]
            for split in SPLITS
        }
        for split in reversed(SPLITS):
            decided = [t for s in SPLITS if s != split for t in earlier[s]]
            own_tiles = tiles[np.isin(owners, chosen[split])]
            blocks = [*decided, *regions.values()]
            regions[split] = _without(own_tiles, blocks, margins[number])
        zones[number] = regions
    return [zones[number] for number in range(len(grounds))]


def _rank(crs: CRS, ground: BaseGeometry) -> tuple[str, tuple[float, ...]]:
    """Say what zones are ordered by."""
    return crs.to_string(), ground.bounds


def _cut(
    ground: BaseGeometry, width: float, height: float, least: float
) -> tuple[Tiles, NDArray[np.int64], int]:
    """Cut ground along a square grid from its upper left.

    Returns:
        Pieces of ground, the number of the cell of each, and how many cells there are.
    """
    parts = np.array([*_small(ground)], object)
    xmin, _, _, ymax = shapely.total_bounds(parts)
    first, last = np.split(_steps(parts, xmin, ymax, width, height), 2, axis=1)
    # A hundredth of a cell is not another column or row.
    ends = np.maximum(1, np.ceil(last.max(axis=0) - 0.01))
    first = np.clip(np.floor(first + 1e-6), 0, ends - 1).astype(int)
    last = np.clip(np.ceil(last - 1e-6), first + 1, ends).astype(int)
    cells = [
        np.stack(np.meshgrid(range(y, bottom), range(x, right), indexing='ij'), -1)
        for (x, y), (right, bottom) in zip(first.tolist(), last.tolist(), strict=True)
    ]
    row, column = np.unique(np.concatenate([c.reshape(-1, 2) for c in cells]), axis=0).T
    squares = shapely.box(
        xmin + column * width,
        ymax - (row + 1) * height,
        xmin + (column + 1) * width,
        ymax - row * height,
    )
    cell, part = STRtree(parts).query(squares, predicate='intersects')
    tiles, source = _polygons(shapely.intersection(squares[cell], parts[part]))
    owners = cell[source]
    is_cell = np.bincount(owners, shapely.area(tiles), len(squares)) > least
    numbers = np.cumsum(is_cell) - 1
    inside = is_cell[owners]
    return tiles[inside], numbers[owners[inside]], int(is_cell.sum())


def _polygons(shapes: Tiles) -> tuple[Tiles, NDArray[np.int64]]:
    """Polygons of shapes, without lines where they touch, and the shape of each."""
    parts, source = shapely.get_parts(shapes, return_index=True)
    has_area = shapely.area(parts) > 0
    return parts[has_area], source[has_area]


def _steps(
    parts: Tiles, xmin: float, ymax: float, width: float, height: float
) -> NDArray[np.float64]:
    """First and last column and row of the grid that parts reach, not rounded."""
    west, south, east, north = shapely.bounds(parts).T
    return np.stack(
        [
            (west - xmin) / width,
            (ymax - north) / height,
            (east - xmin) / width,
            (ymax - south) / height,
        ],
        axis=1,
    )


def _small(ground: BaseGeometry) -> Iterator[BaseGeometry]:
    """Divide ground into polygons with few corners.

    Cells are compared with each; one polygon with a corner for every file would be compared
    as a whole with every cell.
    """
    waiting = list(shapely.get_parts(ground))
    while waiting:
        part = waiting.pop()
        if shapely.get_num_coordinates(part) <= _CORNERS:
            yield part
            continue
        xmin, ymin, xmax, ymax = part.bounds
        x, y = (xmin + xmax) / 2, (ymin + ymax) / 2
        halves = (
            [(xmin, ymin, x, ymax), (x, ymin, xmax, ymax)]
            if xmax - xmin > ymax - ymin
            else [(xmin, ymin, xmax, y), (xmin, y, xmax, ymax)]
        )
        for half in halves:
            waiting += _polygons(np.array([part & shapely.box(*half)]))[0].tolist()


def _without(tiles: Tiles, blocks: Sequence[Tiles], margin: float) -> Tiles:
    """Subtract what lies within a margin of blocks."""
    others = np.concatenate([np.empty(0, object), *blocks])
    if len(tiles) and len(others):
        grown = shapely.buffer(others, margin, join_style='mitre')
        tiles = tiles.copy()
        touched, near = STRtree(grown).query(tiles, predicate='intersects')
        numbers, starts = np.unique(touched, return_index=True)
        for i, nearest in zip(numbers, np.split(near, starts)[1:], strict=True):
            tiles[i] = tiles[i] - shapely.union_all(grown[nearest])
    return _polygons(tiles)[0]


def near_ground(
    polygons: Tiles, source: CRS, target: CRS, around: BaseGeometry
) -> Tiles:
    """Move polygons of another zone to where some ground is, those that lie there.

    Args:
        polygons: Polygons in *source*.
        source: CRS of the polygons.
        target: CRS wanted.
        around: Ground in *target*, outside of which nothing counts.

    Returns:
        Polygons in *target*.
    """
    moved = project_near(polygons, source, target, around)
    return _polygons(moved[shapely.intersects(moved, around)])[0]
