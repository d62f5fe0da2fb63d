"""Towns, farms and roads of the hidden map.

Every function takes the map as it is and adds to it: ``paint`` (the :class:`Kind` of each 5 m
cell), ``parcel`` (the parcel of each cell) and ``angle`` (kinds by parcels) change in place.
"""

import math

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray

from . import network
from .grid import COARSE, FINE, Floats, Kind, coarsen, draw, even
from .noise import blur, double, fractal


def sites(
    rng: Generator, slope: Floats, hand: Floats, wet: NDArray[np.bool_], extent: float
) -> list[tuple[float, float, float, float]]:
    """Choose where towns stand.

    Returns:
        (x, y, radius, street angle) of a city, some towns and many villages.
    """
    flooded = blur(even(wet).astype(np.float32), 8)
    merit = -14 * slope - 6 * flooded - 0.6 * np.exp(-hand / 2)
    merit = coarsen(merit + 0.5 * fractal(rng, slope.shape, 1.2, 300, 3000))
    step = COARSE * 10.0
    rows, cols = np.indices(merit.shape) * step + step / 2
    away = np.minimum(np.minimum(rows, cols), extent - np.maximum(rows, cols))
    sites: list[tuple[float, float, float, float]] = []
    area = (extent / 1000) ** 2
    sizes = [min(1150.0, 0.11 * extent)]
    sizes += [
        min(r, 0.08 * extent) for r in rng.uniform(380, 620, round(area / 50)).tolist()
    ]
    sizes += [
        min(r, 0.05 * extent)
        for r in rng.uniform(110, 260, 2 + round(area / 11)).tolist()
    ]
    for radius in sizes:
        score = np.where(away > 0.9 * radius, merit, -np.inf)
        for x, y, other, _ in sites:
            gap = np.hypot(cols - x, rows - y)
            score = np.where(
                gap < 1.3 * (radius + other) + 0.02 * extent, -np.inf, score
            )
        if np.isfinite(score.max()):
            row, col = np.unravel_index(int(np.argmax(score)), score.shape)
            x, y = float(cols[row, col]), float(rows[row, col])
            sites.append((x, y, radius, rng.uniform(0, math.pi / 2)))
    return sites


def towns(
    rng: Generator,
    sites: list[tuple[float, float, float, float]],
    paint: NDArray[np.uint8],
    wet: NDArray[np.bool_],
    parcel: NDArray[np.int32],
    angle: NDArray[np.float64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Build streets, houses, halls and gardens; return the dense and the sparse ground."""
    dense, sparse = np.zeros(paint.shape, bool), np.zeros(paint.shape, bool)
    total = angle.shape[1]
    size = paint.shape[0] // 2
    ragged = double(fractal(rng, (size, size), 1.6, 90, 900))
    curl = double(fractal(rng, (size, size), 2.0, 200, 900))
    for x, y, radius, theta in sites:
        rows, cols, dx, dy = _window(x, y, radius, paint.shape)
        near = np.hypot(dx, dy) / radius + 0.38 * ragged[rows, cols]
        inside = (near < 1) & ~wet[rows, cols]
        core = near < (0.58 if radius > 300 else 0.25)
        # Districts differ in their street grid.
        turn = theta + 0.5 * (curl[rows, cols] > 0.6) - 0.4 * (curl[rows, cols] < -0.8)
        bow = 14 * curl[rows, cols]
        u = dx * np.cos(turn) + dy * np.sin(turn) + bow + 1e5
        v = dy * np.cos(turn) - dx * np.sin(turn) + bow + 1e5
        block_u, block_v = rng.uniform(85, 150), rng.uniform(55, 90)
        street = (np.mod(u, block_u) < 9) | (np.mod(v, block_v) < 8)
        # Scattered numbers, so that a table of parcels serves as a table of lots and blocks.
        lot = np.floor(u / 19) * 7919 + np.floor(v / 16) * 104729
        lot = lot.astype(np.int64) % total
        chance, roof = rng.random(total)[lot], rng.random(total)[lot]
        # Halls fill whole blocks at the edge of larger towns; parks are left green.
        block = np.floor(u / block_u) * 31 + np.floor(v / block_v) * 17
        block = block.astype(np.int64) % total
        use = rng.random(total)[block]
        hall = (radius > 300) & (near > 0.7) & (use < 0.14)
        yard = (np.mod(u, block_u) < 0.35 * block_u) | (np.mod(v, block_v) < 22)
        cover = np.select(
            [street, hall & yard, hall, use > 0.93],
            [
                Kind.ASPHALT,
                Kind.ASPHALT,
                np.where(roof < 0.5, Kind.BRIGHT, Kind.CONCRETE),
                Kind.GARDEN,
            ],
            _houses(u, v, core, chance, roof),
        )
        paint[rows, cols][inside] = cover[inside]
        parcel[rows, cols][inside] = np.where(hall, block, lot)[inside]
        dense[rows, cols] |= inside & (core | hall)
        sparse[rows, cols] |= inside & ~core & ~hall
        angle[13:16, np.unique(lot[inside])] = theta
    return dense, sparse


def _window(
    x: float, y: float, radius: float, shape: tuple[int, ...]
) -> tuple[slice, slice, NDArray[np.floating], NDArray[np.floating]]:
    """Give the cells around a town, and their metres east and south of its middle."""
    reach = int(1.9 * radius / FINE)
    row, col = int(y / FINE), int(x / FINE)
    rows = slice(max(row - reach, 0), min(row + reach, shape[0]))
    cols = slice(max(col - reach, 0), min(col + reach, shape[1]))
    dy = (np.arange(rows.start, rows.stop)[:, None] + 0.5) * FINE - y
    dx = (np.arange(cols.start, cols.stop)[None, :] + 0.5) * FINE - x
    return rows, cols, dx, dy


def _houses(
    u: NDArray[np.floating],
    v: NDArray[np.floating],
    core: NDArray[np.bool_],
    chance: NDArray[np.float64],
    roof: NDArray[np.float64],
) -> NDArray[np.integer]:
    """Cover lots with a house, a paved yard or a garden; the core is built more densely."""
    house = np.select(
        [roof < 0.68, roof < 0.95], [Kind.TILE, Kind.CONCRETE], Kind.BRIGHT
    )
    inner = (np.mod(u, 19) < 14.5) & (np.mod(v, 16) < 12.5)
    built = chance < np.where(core, 0.82, 0.42)
    built &= inner | (core & (chance < 0.3))
    paved = core & (chance > 0.35)
    return np.select([built, paved], [house, Kind.ASPHALT], Kind.GARDEN)


def farms(
    rng: Generator,
    paint: NDArray[np.uint8],
    wet: NDArray[np.bool_],
    border: NDArray[np.bool_],
    parcel: NDArray[np.int32],
) -> None:
    """Scatter farmsteads along parcel borders: a few roofs around a yard."""
    spots = np.flatnonzero((border & ~wet & (paint < Kind.BROADLEAF)).ravel())
    number = max(4, round(paint.size * FINE**2 / 1e6 * 1.1))
    if not len(spots):
        return
    for spot in rng.choice(spots, number).tolist():
        row, col = divmod(spot, paint.shape[1])
        for _ in range(int(rng.integers(2, 5))):
            r, c = row + int(rng.integers(-6, 6)), col + int(rng.integers(-6, 6))
            h, w = int(rng.integers(2, 5)), int(rng.integers(2, 8))
            r, c = max(r, 0), max(c, 0)
            paint[r : r + h + 2, c : c + w + 2] = Kind.GARDEN
            paint[r : r + h, c : c + w] = (
                Kind.TILE if rng.random() < 0.6 else Kind.CONCRETE
            )
            parcel[r : r + h, c : c + w] = rng.integers(parcel.max())


def roads(
    rng: Generator,
    sites: list[tuple[float, float, float, float]],
    slope: Floats,
    wet: NDArray[np.bool_],
    shape: tuple[int, int],
) -> NDArray[np.bool_]:
    """Link the towns and the scene's borders with the cheapest roads."""
    rough = 1 + 60 * slope**1.2 + 25 * blur(even(wet).astype(np.float32), 2)
    rough *= np.exp(0.35 * fractal(rng, slope.shape, 1.0, 200, 1500))
    cost = coarsen(rough.astype(np.float32))
    step = COARSE * 10.0
    n = cost.shape[0]
    roads = np.zeros(cost.shape, dtype=bool)
    x, y, _, _ = sites[0]
    roads[int(y / step), int(x / step)] = True
    ends = [(int(y / step), int(x / step), r) for x, y, r, _ in sites[1:]]
    exits = [(0, 1), (n - 1, 1), (1, 0), (1, n - 1)]
    spans = [
        (int(rng.integers(n // 4, n - n // 4)) if a == 1 else a, b)
        for a, b in exits[2:]
    ]
    spans += [(a, int(rng.integers(n // 4, n - n // 4))) for a, b in exits[:2]]
    lines = []
    for row, col, width in [(r, c, 18.0) for r, c in spans] + [
        (r, c, 12.0 if radius > 300 else 9.0) for r, c, radius in ends
    ]:
        if roads[row, col]:
            continue
        path = network.cheapest(cost, (row, col), roads)
        for cell in path:
            roads[cell] = True
            cost[cell] = 0.35
        if len(path) > 2:
            line = network.smooth(np.array(path, dtype=np.float64) + 0.5, 3)
            lines.append(
                (shapely.LineString(line[:, ::-1] * step).buffer(width / 2), 1)
            )
    return draw(lines, shape) > 0
