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

    # Water on the coarse grid.
    ground = coarsen(dem)
    rim = np.ones(ground.shape, dtype=np.float32)
    rim[3:-3, 3:-3] = 0
    basin = ground + 1.5 * fractal(rng, ground.shape, 0.5, 120, 600, 60) + 25 * rim
    rough = 0.02 * np.exp(1.2 * fractal(rng, ground.shape, 0.8, 120, 900, 60))
    order, parent, count = network.drainage(basin, rough)
    least = min(450.0, ground.size / 60)
    stream = count > least
    lines = network.streams(basin, parent, count, least)
    hand = refine(network.above_stream(ground, order, parent, stream), shape)
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

    # Hedges and tracks along parcel borders.
    border = np.zeros(parcel.shape, dtype=bool)
    border[1:] |= parcel[1:] != parcel[:-1]
    border[:, 1:] |= parcel[:, 1:] != parcel[:, :-1]
    gaps = double(fractal(rng, shape, 0.7, 60, 400)) > -0.4
    hedged = rng.random(total) < (0.05 + 0.5 * rng.random(owner.max() + 1) ** 2)[owner]
    paint[border & hedged[parcel] & gaps] = Kind.BROADLEAF
    estate = owner[parcel]
    lane = np.zeros(parcel.shape, dtype=bool)
    lane[1:] |= estate[1:] != estate[:-1]
    lane[:, 1:] |= estate[:, 1:] != estate[:, :-1]
    paint[lane] = Kind.TRACK

    # Woods and rough grass: where it is steep and high, half along parcel borders.
    wild = (
        standardise(slope) * 0.9
        + 0.4 * standardise(hand)
        + fractal(rng, shape, 1.7, 80, 2500)
    )
    mean = np.bincount(parcel[::2, ::2].ravel(), wild.ravel(), total)
    mean /= np.maximum(np.bincount(parcel[::2, ::2].ravel(), minlength=total), 1)
    edge = double(wild) * 0.45 + 0.55 * mean.astype(np.float32)[parcel]
    steps = np.quantile(edge[::4, ::4], (0.68, 0.74))
    paint[edge > steps[0]] = Kind.GRASS
    wood = edge > steps[1]
    paint[wood] = Kind.BROADLEAF
    dark = double(0.8 * standardise(dem) + fractal(rng, shape, 1.5, 80, 2000))
    paint[wood & (dark > np.quantile(dark[wood], 0.62))] = Kind.CONIFER

    # Wetlands and lakes in low ground, the river with its trees.
    marsh = double(2 * low - 8 * slope + 0.7 * fractal(rng, shape, 1.8, 80, 1200))
    paint[marsh > np.quantile(marsh[::4, ::4], 0.972)] = Kind.REED
    pool = double(
        1.6 * low - 10 * slope + fractal(rng, shape, 2.2, 150, min(2500, extent / 2))
    )
    shore, lake = np.quantile(pool[::4, ::4], (0.978, 0.982))
    paint[pool > shore] = Kind.REED
    paint[pool > lake] = Kind.LAKE
    water, bank = _rivers(rng, lines, ground.size, parcel.shape)
    ragged = double(fractal(rng, shape, 0.9, 40, 500)) > -0.5
    paint[bank & ragged & (paint != Kind.LAKE)] = Kind.BROADLEAF
    paint[water] = Kind.RIVER

    # Quarries, towns, farms, roads.
    pit = fractal(rng, shape, 2.0, 100, 700) + 0.5 * standardise(slope)
    pit = double(pit)
    pit[paint == Kind.LAKE] = pit.min()
    paint[pit > np.quantile(pit[::4, ::4], 0.994)] = Kind.ROCK
    wet = water | (paint == Kind.LAKE)
    sites = settlement.sites(rng, slope, hand, wet, extent)
    dense, sparse = settlement.towns(
        rng, sites, paint, wet, parcel, angle.reshape(slots, total)
    )
    settlement.farms(rng, paint, wet, border, parcel)
    roads = settlement.roads(rng, sites, slope, wet, parcel.shape)
    paint[roads] = Kind.ASPHALT

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


def _rivers(
    rng: Generator,
    lines: list[tuple[network.Line, float]],
    cells: int,
    shape: tuple[int, int],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Draw the streams as water and the trees along them."""
    water, bank = [], []
    scale = COARSE * 10.0
    for i, (line, flow) in enumerate(lines):
        if len(line) < 4:
            continue
        # Widths grow with the root of the discharge (hydraulic geometry).
        width = 55.0 if i == 0 else min(22.0, 3 + 20 * math.sqrt(flow / cells))
        track = shapely.LineString(line[:, ::-1] * scale)
        water.append((track.buffer(width / 2), 1))
        bank.append((track.buffer(width / 2 + rng.uniform(8, 22)), 1))
    return draw(water, shape) > 0, draw(bank, shape) > 0
