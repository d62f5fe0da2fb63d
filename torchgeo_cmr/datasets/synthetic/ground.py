"""The state of the ground on a day: what both sensors see of the hidden map.

What grows where, how tall and how green it is that day. Everything else is drawn anew for each
acquisition, in ``optical`` and ``radar``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import signatures as sig
from .grid import Floats, Kind
from .landcover import Landscape


@dataclass(frozen=True)
class Ground:
    """The state of every map unit on one day, seen by both sensors.

    Attributes:
        green: ``(units,)`` share of the ground under green leaves, 0..1.
        dry: ``(units,)`` share under ripe or dead plants, 0..1.
        height: ``(units,)`` metres of plants or buildings above the soil.
    """

    green: NDArray[np.float64]
    dry: NDArray[np.float64]
    height: NDArray[np.float64]


def grow(land: Landscape, day: float) -> Ground:
    """Compute the state of the ground from the calendar of what grows there.

    Args:
        land: the hidden map.
        day: day of the year.

    Returns:
        the state of every unit.
    """
    vigour, timing, _, rough = land.traits.astype(np.float64)
    kind = land.kind
    vigour = np.clip(1 + 0.14 * vigour, 0.5, 1.3)
    green, dry, height = np.zeros((3, kind.size))

    def put(which: Kind, leaf: NDArray, straw: NDArray, tall: NDArray) -> None:
        at = kind == which
        green[at], dry[at], height[at] = leaf[at], straw[at], tall[at]

    rise, nil = sig.logistic, np.zeros(kind.size)
    ripe = rise(day, 151 + 6 * timing, 4)
    cut = rise(day, 181 + 7 * timing, 1.5)
    lush = 0.9 * vigour * rise(day, 72 + 9 * timing, 11)
    put(
        Kind.WINTER,
        lush * (1 - ripe),
        0.85 * ripe * (1 - 0.6 * cut),
        0.9 * lush * (1 - 0.8 * cut),
    )
    lush = 0.9 * vigour * rise(day, 158 + 13 * timing, 7)
    old = rise(day, 244 + 8 * timing, 6)
    cut = rise(day, 262 + 9 * timing, 1.5)
    put(
        Kind.SUMMER,
        lush * (1 - old),
        0.8 * lush * old * (1 - 0.6 * cut),
        2.3 * lush * (1 - cut),
    )
    season = 0.85 * rise(day, nil + 75, 14) - 0.35 * rise(day, nil + 178, 12)
    mown = 140 + 25 * timing
    short = rise(day, mown, 1) * (1 - rise(day, mown + 22, 6))
    leaf = vigour * season * (1 - 0.6 * short)
    put(Kind.PASTURE, leaf, 0.16 + 0.25 * short, 0.4 * leaf)
    put(
        Kind.ORCHARD,
        vigour * (0.22 + 0.3 * rise(day, nil + 112, 7)),
        nil + 0.12,
        3 + 0.6 * rough,
    )
    put(
        Kind.FALLOW,
        np.clip(0.06 + 0.06 * timing, 0, 1),
        np.clip(0.12 + 0.1 * rough, 0, 1),
        nil,
    )
    leaf = vigour * (0.12 + 0.74 * rise(day, 100 + 4 * timing, 5))
    put(Kind.BROADLEAF, leaf, 0.45 - 0.45 * leaf, 16 + 3.5 * rough)
    put(Kind.CONIFER, 0.84 * vigour, nil + 0.02, 19 + 4 * rough)
    leaf = vigour * (season - 0.12)
    put(Kind.GRASS, leaf, 0.3 + 0.1 * rough, 0.5 + 0.2 * rough)
    leaf = 0.12 + 0.68 * rise(day, nil + 128, 10)
    put(Kind.REED, leaf, 0.75 - 0.75 * leaf, 1.8 + 0.2 * rough)
    put(Kind.GARDEN, vigour * 0.55, nil + 0.14, 4 + 1.2 * rough)
    for which, tall in ((Kind.TILE, 8.0), (Kind.CONCRETE, 10.0), (Kind.BRIGHT, 9.0)):
        put(which, nil, nil, tall + 1.8 * rough)
    green = np.clip(green, 0, 0.96)
    return Ground(green, np.clip(dry, 0, 0.98 - green), np.maximum(height, 0))


def quarters(unit: NDArray[np.int32]) -> tuple[NDArray[np.int32], ...]:
    """Return the four 5 m cells of every 10 m pixel, flat."""
    return tuple(
        np.ascontiguousarray(unit[i::2, j::2]).ravel() for i in (0, 1) for j in (0, 1)
    )


def mix(table: Floats, quarters: tuple[NDArray[np.int32], ...]) -> Floats:
    """Average the rows of a unit table over the four cells of every pixel."""
    a, b, c, d = quarters
    out = table[a]
    mixed = np.flatnonzero((a != b) | (a != c) | (a != d))
    out[mixed] += table[b[mixed]]
    out[mixed] += table[c[mixed]]
    out[mixed] += table[d[mixed]]
    out[mixed] *= 0.25
    return out


def blocks(field: Floats) -> Floats:
    """Average a 5 m field over 2 x 2 cells."""
    return 0.25 * (
        field[::2, ::2] + field[1::2, ::2] + field[::2, 1::2] + field[1::2, 1::2]
    )


def cast(height: Floats, rows: int, cols: int, reach: int, drop: float) -> Floats:
    """Return how deep each 5 m cell lies in the shadow of its neighbours, 0..1.

    Args:
        height: metres above the soil.
        rows: row step towards the source of light.
        cols: column step towards the source of light.
        reach: how many steps to look.
        drop: metres that the ray falls in one step.
    """
    dark = np.zeros_like(height)
    for step in range(1, reach + 1):
        tall = np.roll(height, (-rows * step, -cols * step), (0, 1)) - step * drop
        np.maximum(dark, tall - height, out=dark)
    return np.clip(dark / np.float32(drop), 0, 1).astype(np.float32)
