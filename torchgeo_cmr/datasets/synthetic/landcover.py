"""The hidden map of the synthetic world: relief, water, fields, woods, towns and roads.

Drawn in one pass from the ground up, each layer reading the ones below. Both sensors see the
finished :class:`Landscape` and nothing else in common.
"""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray

from . import network, settlement
from .grid import COARSE, CODE, Floats, Kind, coarsen, draw, mode, refine
from .noise import blur, double, fractal, standardise
from .parcels import crops, parcels


@dataclass(frozen=True)
class Landscape:
    """One scene of the hidden map.

    Attributes:
        size: rows and columns of the 10 m grid.
        dem: ``(size, size)`` float32, metres above the sea.
        unit: ``(2 size, 2 size)`` int32 on the 5 m grid: a row of the unit tables.
        kind: ``(units,)`` uint8, the :class:`Kind` of each unit.
        traits: ``(4, units)`` float32 standard normal: vigour, timing, soil brightness,
            roughness; a unit has the same traits for every sensor and date.
        angle: ``(units,)`` float32, direction of field rows or streets in radians from east.
        truth: ``(size, size)`` uint8 land-cover codes.
        wetness: ``(size, size)`` float32, topographic soil wetness, about standard normal.
        geology: ``(size, size)`` float32, soil brightness, about standard normal.
        vigour: ``(size, size)`` float32, growth within fields, about standard normal.
    """

    size: int
    dem: Floats
    unit: NDArray[np.int32]
    kind: NDArray[np.uint8]
    traits: Floats
    angle: Floats
    truth: NDArray[np.uint8]
    wetness: Floats
    geology: Floats
    vigour: Floats


def build_landscape(size: int, rng: Generator) -> Landscape:
    """Draw the map of one scene.

    Args:
        size: rows and columns of the 10 m grid.
        rng: source of all randomness.

    Returns:
        the finished map.
    """
    extent = size * 10.0
    shape = (size, size)
    relief = fractal(rng, shape, 2.1, 200, min(7000, extent))
    relief = (relief - relief.min()) / np.ptp(relief)
    dem = (30 + min(330, 0.03 * extent) * relief**1.6).astype(np.float32)
    hand, lines = _drain(rng, dem)
    slope = np.hypot(*np.gradient(blur(dem, 3), 10.0)).astype(np.float32)
    low = np.exp(-hand / 6)

    # Farmland.
    parcel, owner, estate_angle = parcels(rng, size)
    crop = crops(rng, parcel, owner, slope, hand)
    total = len(owner)
    slots = len(Kind)
    kind = np.repeat(np.arange(slots, dtype=np.uint8)[:, None], total, axis=1)
    kind[0] = crop
    angle = np.tile((estate_angle[owner] + rng.normal(0, 0.03, total)), slots)
    traits = rng.standard_normal((4, slots * total)).astype(np.float32)

    paint = np.zeros(parcel.shape, dtype=np.uint8)
    border = _borders(parcel)
    _plant_hedges(rng, paint, parcel, owner, border)
    _plant_woods(rng, paint, parcel, dem, slope, hand)
    _flood_hollows(rng, paint, low, slope)
    water = _lead_rivers(rng, paint, lines)
    _dig_quarries(rng, paint, slope)

    # Towns, farms, roads.
    wet = water | (paint == Kind.LAKE)
    sites = settlement.sites(rng, slope, hand, wet, extent)
    dense, sparse = settlement.towns(
        rng, sites, paint, wet, parcel, angle.reshape(slots, total)
    )
    settlement.farms(rng, paint, wet, border, parcel)
    paint[settlement.roads(rng, sites, slope, wet, parcel.shape)] = Kind.ASPHALT

    unit = paint.astype(np.int32) * total + parcel
    code = CODE[kind.ravel()[unit]]
    code[sparse & ~wet] = 10
    code[dense & ~wet] = 9
    return Landscape(
        size=size,
        dem=dem,
        unit=unit,
        kind=kind.ravel(),
        traits=traits,
        angle=angle.astype(np.float32),
        truth=mode(code),
        wetness=standardise(1.2 * low + 0.6 * fractal(rng, shape, 1.3, 40, 800)),
        geology=fractal(rng, shape, 1.5, 60, 3000),
        vigour=fractal(rng, shape, 1.1, 20, 250),
    )


def _drain(
    rng: Generator, dem: Floats
) -> tuple[Floats, list[tuple[network.Line, float]]]:
    """Let rain run off on the coarse grid.

    Returns:
        Metres above the nearest stream on the 10 m grid; each stream with the share of the
        scene that it drains.
    """
    ground = coarsen(dem)
    rim = np.ones(ground.shape, dtype=np.float32)
    rim[3:-3, 3:-3] = 0
    basin = ground + 1.5 * fractal(rng, ground.shape, 0.5, 120, 600, 60) + 25 * rim
    rough = 0.02 * np.exp(1.2 * fractal(rng, ground.shape, 0.8, 120, 900, 60))
    order, parent, count = network.drainage(basin, rough)
    least = min(450.0, ground.size / 60)
    height = network.above_stream(ground, order, parent, count > least)
    streams = network.streams(basin, parent, count, least)
    return refine(height, dem.shape), [(s, n / ground.size) for s, n in streams]


def _borders(areas: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the cells that differ from the one above or to the left."""
    border = np.zeros(areas.shape, dtype=bool)
    border[1:] |= areas[1:] != areas[:-1]
    border[:, 1:] |= areas[:, 1:] != areas[:, :-1]
    return border


def _plant_hedges(
    rng: Generator,
    paint: NDArray[np.uint8],
    parcel: NDArray[np.int32],
    owner: NDArray[np.int64],
    border: NDArray[np.bool_],
) -> None:
    """Line parcels with hedges, as densely as their estate likes, and estates with tracks."""
    gaps = double(fractal(rng, paint[::2, ::2].shape, 0.7, 60, 400)) > -0.4
    hedged = (
        rng.random(len(owner))
        < ((0.05 + 0.5 * rng.random(owner.max() + 1) ** 2)[owner])
    )
    paint[border & hedged[parcel] & gaps] = Kind.BROADLEAF
    paint[_borders(owner[parcel])] = Kind.TRACK


def _plant_woods(
    rng: Generator,
    paint: NDArray[np.uint8],
    parcel: NDArray[np.int32],
    dem: Floats,
    slope: Floats,
    hand: Floats,
) -> None:
    """Grow woods and rough grass where it is steep and high, half along parcel borders."""
    wild = (
        standardise(slope) * 0.9
        + 0.4 * standardise(hand)
        + fractal(rng, dem.shape, 1.7, 80, 2500)
    )
    cells, total = parcel[::2, ::2].ravel(), parcel.max() + 1
    mean = np.bincount(cells, wild.ravel(), total)
    mean /= np.maximum(np.bincount(cells, minlength=total), 1)
    edge = double(wild) * 0.45 + 0.55 * mean.astype(np.float32)[parcel]
    grass, trees = np.quantile(edge[::4, ::4], (0.68, 0.74))
    paint[edge > grass] = Kind.GRASS
    wood = edge > trees
    paint[wood] = Kind.BROADLEAF
    dark = double(0.8 * standardise(dem) + fractal(rng, dem.shape, 1.5, 80, 2000))
    paint[wood & (dark > np.quantile(dark[wood], 0.62))] = Kind.CONIFER


def _flood_hollows(
    rng: Generator, paint: NDArray[np.uint8], low: Floats, slope: Floats
) -> None:
    """Put reeds and lakes into low and level ground."""
    marsh = double(2 * low - 8 * slope + 0.7 * fractal(rng, low.shape, 1.8, 80, 1200))
    paint[marsh > np.quantile(marsh[::4, ::4], 0.972)] = Kind.REED
    widest = min(2500, low.shape[0] * 10.0 / 2)
    pool = double(1.6 * low - 10 * slope + fractal(rng, low.shape, 2.2, 150, widest))
    shore, lake = np.quantile(pool[::4, ::4], (0.978, 0.982))
    paint[pool > shore] = Kind.REED
    paint[pool > lake] = Kind.LAKE


def _dig_quarries(rng: Generator, paint: NDArray[np.uint8], slope: Floats) -> None:
    """Break rock on slopes outside lakes."""
    pit = double(fractal(rng, slope.shape, 2.0, 100, 700) + 0.5 * standardise(slope))
    pit[paint == Kind.LAKE] = pit.min()
    paint[pit > np.quantile(pit[::4, ::4], 0.994)] = Kind.ROCK


def _lead_rivers(
    rng: Generator, paint: NDArray[np.uint8], lines: list[tuple[network.Line, float]]
) -> NDArray[np.bool_]:
    """Draw the streams and the trees along them; return the water."""
    water, bank = [], []
    scale = COARSE * 10.0
    for i, (line, share) in enumerate(lines):
        if len(line) < 4:
            continue
        # Widths grow with the root of the discharge (hydraulic geometry).
        width = 55.0 if i == 0 else min(22.0, 3 + 20 * math.sqrt(share))
        track = shapely.LineString(line[:, ::-1] * scale)
        water.append((track.buffer(width / 2), 1))
        bank.append((track.buffer(width / 2 + rng.uniform(8, 22)), 1))
    river, trees = draw(water, paint.shape) > 0, draw(bank, paint.shape) > 0
    ragged = double(fractal(rng, paint[::2, ::2].shape, 0.9, 40, 500)) > -0.5
    paint[trees & ragged & (paint != Kind.LAKE)] = Kind.BROADLEAF
    paint[river] = Kind.RIVER
    return river
