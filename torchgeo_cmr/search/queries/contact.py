"""Which rows touch which of many areas: all areas go down the tree of boxes together."""

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.search.where.clauses import InArea
from torchgeo_cmr.search.where.columns import Columns, check_placed
from torchgeo_cmr.search.where.nearby import unique_pairs

type _Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

#: Areas that are looked for together; so few that each is looked for alone, since a table in
#: memory would have to make its tree for them.
_TOGETHER, _FEW = 256, 16
#: Parts of an area that have a box each.
_PARTS = 16
#: Pairs of area and box that are listed, and footprints that are tested at a time.
_MOST, _BLOCK = 1 << 20, 65_536


def touching(
    columns: Columns, areas: NDArray[np.object_], living: NDArray[np.int64]
) -> _Pairs:
    """Say which rows share a point with which areas.

    Args:
        columns: Rows of an archive.
        areas: Areas (n,) in EPSG:4326, cut at the antimeridian; None where there is none.
        living: Sorted numbers of the rows that count.

    Returns:
        Area and row of each pair, sorted by area, then row.

    Raises:
        QueryError: If no row of the archive has a place.
    """
    drawn = np.flatnonzero(~shapely.is_missing(areas))
    if len(drawn) and len(columns):
        check_placed(columns)
    step = 1 if len(drawn) <= _FEW else _TOGETHER
    todo = [drawn[i : i + step] for i in range(0, len(drawn), step)]
    found: list[_Pairs] = [(drawn[:0], drawn[:0])]
    while todo:
        block = todo.pop()
        if len(block) == 1:
            row, _ = InArea(areas[block[0]]).keep(columns, None, None)
            found.append((np.repeat(block, len(row)), row))
        elif (met := _meeting(columns, areas[block])) is not None:
            found.append(_tested(columns, areas, block[met[0]], met[1]))
        else:
            half = len(block) // 2
            todo += [block[half:], block[:half]]
    area, row = (np.concatenate(numbers) for numbers in zip(*found, strict=True))
    if len(living) < len(columns):
        alive = np.zeros(len(columns), dtype=bool)
        alive[living] = True
        area, row = area[alive[row]], row[alive[row]]
    order = np.lexsort((row, area))
    return area[order], row[order]


def _meeting(columns: Columns, areas: NDArray[np.object_]) -> _Pairs | None:
    """Give area and row of pairs whose boxes meet, sorted by row; None if they are too many."""
    parts, owner = shapely.get_parts(areas, return_index=True)
    # Two parts either side of 180 must not become one box round the world.
    few = np.bincount(owner, minlength=len(areas)) <= _PARTS
    kept = few[owner]
    boxes = np.concatenate([shapely.bounds(parts[kept]), shapely.bounds(areas[~few])])
    owner = np.concatenate([owner[kept], np.flatnonzero(~few)])
    met = columns.meeting(boxes.reshape(-1, 4), _MOST)
    return None if met is None else unique_pairs((owner[met[0]], met[1]))


def _tested(
    columns: Columns,
    areas: NDArray[np.object_],
    area: NDArray[np.int64],
    row: NDArray[np.int64],
) -> _Pairs:
    """Give the pairs, of those sorted by row, whose footprint touches the area."""
    shapely.prepare(areas[np.unique(area)])
    hit = np.zeros(len(row), dtype=bool)
    for start in range(0, len(row), _BLOCK):
        block = slice(start, start + _BLOCK)
        rows, which = np.unique(row[block], return_inverse=True)
        shapes = columns.footprints(rows)[which]
        hit[block] = shapely.intersects(areas[area[block]], shapes)
    return area[hit], row[hit]
