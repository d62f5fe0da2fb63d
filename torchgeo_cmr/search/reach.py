"""Distance clauses: near a place, or beyond the query's own surroundings.

Metres are geodesic between nearest points. Most rows are judged by their box alone: the
distance of two centres on a sphere, give or take what the boxes reach and what a sphere is
wrong by. Only what is left in doubt is measured footprint by footprint.
"""

import numpy as np
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.table.distance import metres_between
from torchgeo_cmr.table.footprints import unwrap

_RADIUS = 6_371_008.8
#: A sphere is off by less than this share of a distance on the ellipsoid.
_SPHERE = 0.006
#: Metres of one degree of latitude, from below.
_DEGREE = 110_000
_BLOCK = 50_000


def likely(
    boxes: NDArray[np.float64], place: Geometry, metres: float
) -> NDArray[np.bool_]:
    """Say which boxes may hold something within some metres of a place: a cheap sieve.

    Args:
        boxes: Boxes (n, 4) in degrees.
        place: Geometry in EPSG:4326.
        metres: Distance.

    Returns:
        Mask (n,), True at least where the footprint is that near.

    .. versionadded:: 0.1
    """
    west, south, east, north = place.bounds
    up = metres / _DEGREE
    mask = (boxes[:, 1] <= north + up) & (boxes[:, 3] >= south - up)
    lat = max(abs(south), abs(north)) + up
    if lat >= 89.9 or east - west > 180:
        return mask
    # What is near on the ground is at most this far in longitude, on either side of 180.
    aside = np.degrees(
        np.arcsin(min(1.0, np.sin(np.radians(up)) / np.cos(np.radians(lat))))
    )
    if aside >= 89:
        return mask
    around = np.zeros(len(boxes), dtype=bool)
    for turn in (-360, 0, 360):
        around |= (boxes[:, 0] <= east + aside + turn) & (
            boxes[:, 2] >= west - aside + turn
        )
    return mask & around


def bounds(
    boxes: NDArray[np.float64], place: Geometry
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the least and the largest metres that footprints can be from a place.

    Args:
        boxes: Boxes (n, 4) of the footprints in degrees.
        place: Geometry in EPSG:4326.

    Returns:
        Two arrays (n,), metres.

    .. versionadded:: 0.1
    """
    own = np.array([unwrap(place).bounds])
    apart = _metres(_middle(boxes), _middle(own))
    reach = _reach(boxes) + _reach(own)
    # A metre for what arithmetic loses at small angles.
    least = apart * (1 - _SPHERE) - reach - 1
    return least, apart * (1 + _SPHERE) + reach + 1


def measured(shapes: NDArray[np.object_], place: Geometry) -> NDArray[np.float64]:
    """Measure metres between footprints and a place, block by block.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        place: Geometry in EPSG:4326.

    Returns:
        Metres (n,), 0 where they touch.

    .. versionadded:: 0.1
    """
    if not len(shapes):
        return np.zeros(0)
    return np.concatenate(
        [
            metres_between(
                shapes[i : i + _BLOCK], np.full(len(shapes[i : i + _BLOCK]), place)
            )
            for i in range(0, len(shapes), _BLOCK)
        ]
    )


def _middle(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    lon = np.radians((boxes[:, 0] + boxes[:, 2]) / 2)
    lat = np.radians((boxes[:, 1] + boxes[:, 3]) / 2)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _metres(
    one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    chord = np.sqrt(((one - other) ** 2).sum(axis=0))
    return 2 * _RADIUS * np.arcsin(np.minimum(chord / 2, 1))


def _reach(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give metres from the centre of a box that no point of it exceeds."""
    lat = np.where(
        boxes[:, 1] * boxes[:, 3] <= 0, 0, np.abs(boxes[:, [1, 3]]).min(axis=1)
    )
    wide = (boxes[:, 2] - boxes[:, 0]) / 2 * np.cos(np.radians(lat))
    high = (boxes[:, 3] - boxes[:, 1]) / 2
    return np.hypot(wide, high) * 111_700 * 1.01
