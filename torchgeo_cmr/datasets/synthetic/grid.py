"""The grids of the hidden map, the kinds of cover on it, and moves between them.

Lengths are metres, the origin is the upper left corner, x runs east, y runs south. The map is
drawn on cells of 5 m, smooth fields live on the sensors' 10 m grid, water and roads are routed
on cells of 60 m.
"""

from enum import IntEnum

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from .noise import blur

#: Side of a map cell in metres: twice as fine as the sensors' common grid.
FINE = 5.0


#: Cells of the 10 m grid along a cell of the coarse grid for water and roads.
COARSE = 6


Floats = NDArray[np.float32]


class Kind(IntEnum):
    """What covers a map cell; the first five are what a farmed parcel can be."""

    WINTER = 0
    SUMMER = 1
    PASTURE = 2
    ORCHARD = 3
    FALLOW = 4
    BROADLEAF = 5
    CONIFER = 6
    GRASS = 7
    LAKE = 8
    RIVER = 9
    REED = 10
    ROCK = 11
    ASPHALT = 12
    TILE = 13
    CONCRETE = 14
    BRIGHT = 15
    GARDEN = 16
    TRACK = 17


#: Land-cover code of each kind outside towns (`signatures.CLASSES`).
CODE = np.array(
    [5, 6, 4, 7, 8, 2, 3, 4, 1, 1, 11, 8, 10, 10, 10, 10, 10, 10], dtype=np.uint8
)


def coarsen(field: Floats) -> Floats:
    """Average a 10 m field over the cells of the coarse grid."""
    pad = -field.shape[0] % COARSE
    field = np.pad(field, ((0, pad), (0, pad)), mode='edge')
    n = field.shape[0] // COARSE
    return field.reshape(n, COARSE, n, COARSE).mean((1, 3), dtype=np.float32)


def refine(field: Floats, shape: tuple[int, int]) -> Floats:
    """Spread a coarse field over the 10 m grid, without steps."""
    big = np.repeat(np.repeat(field, COARSE, 0), COARSE, 1)
    return blur(big[: shape[0], : shape[1]], COARSE / 2)


def even(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return every second cell: the 10 m view of a 5 m mask."""
    return mask[::2, ::2]


def mode(code: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the most frequent code of each 2 x 2 block."""
    a, b, c, d = code[::2, ::2], code[::2, 1::2], code[1::2, ::2], code[1::2, 1::2]
    alone = (a != b) & (a != c) & (a != d)
    out = np.where(alone & ((b == c) | (b == d)), b, a)
    return np.where(alone & (c == d), c, out)


def draw(
    shapes: list[tuple[shapely.Geometry, int]], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Burn geometries in metres onto the 5 m grid, 0 elsewhere."""
    if not shapes:
        return np.zeros(shape, dtype=np.int32)
    return rasterize(
        shapes, out_shape=shape, transform=Affine.scale(FINE), dtype='int32'
    )
