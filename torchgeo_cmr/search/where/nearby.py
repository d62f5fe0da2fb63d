"""The rows near the places of many queries: all queries at once, by the tree of boxes.

Boxes round the places, as wide as the distance, go down the tree together. What is left is
judged by boxes and then on a flat map round each place, with bounds for what the map is off;
only what both leave in doubt is measured.
"""

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.table.distance import metres_between
from torchgeo_cmr.table.nearest import GEOD

from .columns import Columns
from .near import TOUCHING, around

type _Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

_BLOCK = 65_536
#: Degrees of latitude from which nothing is judged on a flat map.
_POLAR = 85.0
#: Metres that products in double precision may be off.
_ROUNDING = 1e-6


class Places:
    """Places of queries, to say which rows are near them.

    Args:
        shapes: Places (n,) in EPSG:4326, cut at the antimeridian.
        metres: Distance.
    """

    def __init__(self, shapes: NDArray[np.object_], metres: float) -> None:
        """Find boxes round the places, and where a flat map will do."""
        self.shapes, self.metres = shapes, metres + TOUCHING
        parts, owner = shapely.get_parts(shapes, return_index=True)
        made = [
            around(box, self.metres) for box in shapely.bounds(parts).reshape(-1, 4)
        ]
        self.boxes = np.concatenate([np.empty((0, 4)), *made])
        self.owner = np.repeat(
            owner, [len(shapes_of_query) for shapes_of_query in made]
        )
        self._own = shapely.bounds(shapes).reshape(-1, 4)
        # Around a place that is far from poles and the antimeridian, metres of a degree lie
        # between bounds, and so does any distance.
        band = np.full((len(shapes), 4), np.inf)
        np.minimum.at(band[:, :2], self.owner, self.boxes[:, :2])
        band[:, 2:] = -np.inf
        np.maximum.at(band[:, 2:], self.owner, self.boxes[:, 2:])
        self._flat = (np.abs(band) < [179.9, _POLAR, 179.9, _POLAR]).all(axis=1)
        lat = np.clip(band[:, [1, 3]], -_POLAR, _POLAR)
        self._degree = _metres_of_a_degree(lat)

    def near(self, columns: Columns, candidates: _Pairs) -> _Pairs:
        """Say which candidates are within the distance of their place.

        Args:
            columns: Rows of an archive.
            candidates: Place and row of each pair, sorted by row.

        Returns:
            Place and row of the pairs that are, sorted by row.
        """
        place, row = candidates
        near = np.zeros(len(place), dtype=bool)
        for start in range(0, len(place), _BLOCK):
            part = slice(start, start + _BLOCK)
            near[part] = self._near(columns, place[part], row[part])
        return place[near], row[near]

    def _near(
        self, columns: Columns, place: NDArray[np.int64], row: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        query_box, boxes = self._own[place], columns.boxes[row]
        flat = self._flat[place] & (boxes[:, 2] - boxes[:, 0] <= 180)
        low, high = self._degree[place, 0], self._degree[place, 1]
        gap = np.maximum(
            boxes[:, :2] - query_box[:, 2:], query_box[:, :2] - boxes[:, 2:]
        )
        reach = np.maximum(
            boxes[:, 2:] - query_box[:, :2], query_box[:, 2:] - boxes[:, :2]
        )
        least = np.hypot(*(np.maximum(gap, 0) * low).T) - _ROUNDING
        most = np.hypot(*(reach * high).T) + _ROUNDING
        near = flat & (most <= self.metres)
        doubt = np.flatnonzero(~near & ~(flat & (least > self.metres)))
        if not len(doubt):
            return near
        place, row, flat = place[doubt], row[doubt], flat[doubt]
        once, which = np.unique(row, return_inverse=True)
        shapes = columns.footprints(once)[which]
        sure = np.zeros(len(doubt), dtype=bool)
        left = ~flat
        left[flat], sure[flat] = self._on_a_map(place[flat], shapes[flat])
        left = np.flatnonzero(left)
        measured = metres_between(shapes[left], self.shapes[place[left]], self.metres)
        sure[left] = measured <= self.metres
        near[doubt] = sure
        return near

    def _on_a_map(
        self, place: NDArray[np.int64], shapes: NDArray[np.object_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say which pairs a flat map leaves in doubt, and which are near for sure."""
        low, high = self._degree[:, 0], self._degree[:, 1]
        scale = (low + high) / 2
        scaled = _scaled(self.shapes, scale)
        apart = shapely.distance(scaled[place], _scaled(shapes, scale[place]))
        shorter = apart * (low / scale).min(axis=1)[place] - _ROUNDING
        longer = apart * (high / scale).max(axis=1)[place] + _ROUNDING
        sure = longer <= self.metres
        return ~sure & (shorter <= self.metres), sure


def _scaled(
    shapes: NDArray[np.object_], scale: NDArray[np.float64]
) -> NDArray[np.object_]:
    """Multiply longitudes and latitudes of geometries (n,) by their factors (n, 2)."""
    factors = np.repeat(scale, shapely.get_num_coordinates(shapes), axis=0)
    return shapely.transform(shapes, lambda points: points * factors)


def _metres_of_a_degree(band: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the least and the most metres of a degree east and north, between latitudes.

    Args:
        band: Southernmost and northernmost latitude (n, 2).

    Returns:
        Metres (n, 2, 2): least and most; of longitude and of latitude.
    """
    # Both change one way from the equator to a pole.
    ends = np.abs(band)
    nearest = np.where(band[:, 0] * band[:, 1] <= 0, 0, ends.min(axis=1))
    lat = np.radians(np.column_stack([ends.max(axis=1), nearest]))
    flat = 1 - GEOD.es * np.sin(lat) ** 2
    east = GEOD.a * np.cos(lat) / np.sqrt(flat)
    north = (GEOD.a * (1 - GEOD.es) / flat**1.5)[:, ::-1]
    return np.radians(np.stack([east, north], axis=2))


def unique_pairs(pairs: Sequence[NDArray[np.int64]]) -> _Pairs:
    """Sort pairs of owner and row by row, each once."""
    owner, row = pairs
    order = np.lexsort((owner, row))
    owner, row = owner[order], row[order]
    new = np.ones(len(row), dtype=bool)
    new[1:] = (np.diff(row) != 0) | (np.diff(owner) != 0)
    return owner[new], row[new]
