"""The area of a tool's argument: GeoJSON or a box, never the name of a file or of a CRS."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.search.where.near import turned

#: Positions that an area may have.
MAX_VERTICES = 10_000
_SIDES = 4


def check_area(area: Mapping[str, Any] | Sequence[float]) -> None:
    """Refuse what is too large, or could name something outside the message.

    Args:
        area: GeoJSON, or west, south, east, north.

    Raises:
        QueryError: If a box has not four numbers, GeoJSON names a CRS (PROJ opens files that a
            CRS names), or it has too many vertices.
    """
    if not isinstance(area, Mapping):
        if len(area) != _SIDES:
            raise QueryError(
                f'area has {len(area)} numbers; give a box [west, south, east, north] in degrees, or '
                'a GeoJSON geometry'
            )
        return
    if 'crs' in area:
        raise QueryError(
            'area names a crs; bring it to longitude and latitude (EPSG:4326) and drop crs'
        )
    count = len(_positions(area))
    if count > MAX_VERTICES:
        raise QueryError(
            f'area has {count:,} vertices and may have {MAX_VERTICES:,}; simplify it or give a box'
        )


def swapped(area: Mapping[str, Any] | Sequence[float], index: RetrievalIndex) -> str:
    """Say that longitude comes first, if the area lies where the archive does the other way round.

    Args:
        area: What :func:`check_area` let pass.
        index: The archive.

    Returns:
        The end of a sentence; empty if the order is not what is wrong.
    """
    points = _positions(area) if isinstance(area, Mapping) else [area[:2], area[2:]]
    corners = np.array([p[:2] for p in points], dtype=np.float64)
    boxes = index.columns.boxes[index.rows()]
    if not len(corners) or not np.isfinite(boxes).any():
        return ''
    found = turned(boxes, shapely.MultiPoint(corners))
    return '; longitude comes first, then latitude: swap them' * found


def _positions(area: Mapping[str, Any]) -> list[Any]:
    """Give all positions of GeoJSON, however deep they lie."""
    found: list[Any] = []
    left: list[Any] = [area]
    while left:
        item = left.pop()
        if isinstance(item, Mapping):
            left += [
                item[name]
                for name in ('coordinates', 'geometry', 'geometries', 'features')
                if name in item
            ]
        elif isinstance(item, list):
            numbers = [isinstance(part, int | float) for part in item]
            if len(item) > 1 and all(numbers):
                found.append(item)
            else:
                left += item
    return found
