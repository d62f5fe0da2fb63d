"""What a C-band radar sees of the hidden map: backscatter, edges, speckle.

Nuisance drawn anew for each acquisition: orbit, rain, wind, row direction, speckle and a shift
of up to half a pixel.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from . import signatures as sig
from .grid import Floats, Kind
from .ground import Ground, blocks, cast, grow, mix, quarters
from .landcover import Landscape
from .noise import blur, fractal, weave

#: Side taps of the two passes that spread speckle: intensity correlates by about 0.6 between
#: neighbours, as measured on terrain-corrected Sentinel-1 patches. The first alone spreads the
#: signal, to about 20 m at half power.
_TAPS = (0.25, 0.2)

#: Signature of the plants of each kind; winter crops change theirs as they ripen.
_COVERS = {
    Kind.PASTURE: 'grass',
    Kind.GRASS: 'grass',
    Kind.ORCHARD: 'orchard',
    Kind.SUMMER: 'summer_green',
    Kind.FALLOW: 'grass',
    Kind.BROADLEAF: 'broadleaf',
    Kind.CONIFER: 'conifer',
    Kind.REED: 'reed',
    Kind.GARDEN: 'garden',
    Kind.ROCK: 'rock',
    Kind.ASPHALT: 'asphalt',
    Kind.TRACK: 'grass',
    Kind.TILE: 'roof',
    Kind.CONCRETE: 'roof',
    Kind.BRIGHT: 'roof',
    Kind.LAKE: 'water',
    Kind.RIVER: 'water',
}


def _radar_tables(
    land: Landscape, ground: Ground, rng: Generator, east: bool
) -> Floats:
    """Return backscatter of plants and soil, VV then VH, and the bare share of every unit.

    Returns:
        ``(units, 5)`` linear gamma nought: plant VV, soil VV, plant VH, soil VH, bare share.
    """
    kind, traits = land.kind, land.traits
    back = {name: np.array(pair)[:, None] for name, pair in sig.BACKSCATTER.items()}
    plant = np.full((2, kind.size), -30.0)
    soil = back['soil'] + np.array(((1.8,), (1.9,))) * traits[3]
    bare = np.exp(-2.2 * np.clip(ground.green + 0.55 * ground.dry, 0, 1))
    ripe = ground.dry / np.maximum(ground.green + ground.dry, 1e-6)
    for cover, name in _COVERS.items():
        plant[:, kind == cover] = back[name]
    at = kind == Kind.WINTER
    green, straw = back['winter_green'], back['winter_dry']
    plant[:, at] = green + (straw - green) * ripe[at]
    solid = (kind >= Kind.BROADLEAF) & (kind != Kind.GRASS)
    bare = np.where(solid, 0.0, bare)
    at = (kind == Kind.BROADLEAF) | (kind == Kind.CONIFER)
    # Leafless crowns scatter a little less in VH; stands differ.
    plant[1, at] += 1.2 * (ground.green[at] - 0.8)
    plant[:, at] += 0.45 * traits[0, at] + 0.25 * traits[3, at]
    at = kind <= Kind.ORCHARD
    plant[:, at] += 0.7 * traits[0, at]
    # Rows facing the radar scatter more; nothing of this is seen from above.
    facing = np.cos(land.angle - rng.normal(0.2 if east else -0.2, 0.03)) ** 8
    plant[0, at] += 1.6 * facing[at]
    soil[0] += 2.2 * facing
    # Roofs: most are dull, some are mirrors; blocks across the line of sight shine.
    at = (kind >= Kind.TILE) & (kind <= Kind.BRIGHT)
    shine = rng.normal(0, 0.8, kind.size) + 1.6 * traits[1]
    plant[:, at] += (
        shine[at]
        + 3.0 * (kind[at] == Kind.BRIGHT)
        + np.array(((2.5,), (0.8,))) * facing[at]
    )
    water = (kind == Kind.LAKE) | (kind == Kind.RIVER)
    plant[:, water] += np.array(((1.0,), (0.3,))) * rng.normal(0, 2.2)
    plant[:, kind == Kind.RIVER] += 1.0
    power = np.stack((plant[0], soil[0], plant[1], soil[1]), axis=1)
    power = sig.decibel_to_power(power)
    power[:, ::2] *= (np.float32(1) - bare.astype(np.float32))[:, None]
    power[:, 1::2] *= bare[:, None]
    return np.column_stack((power, bare)).astype(np.float32)


def sentinel1(land: Landscape, day: float, rng: Generator, ascending: bool) -> Floats:
    """Render one Sentinel-1 acquisition, terrain corrected.

    Args:
        land: the hidden map.
        day: day of the year.
        rng: rain, wind, row direction, speckle and geolocation of this acquisition.
        ascending: the orbit; the radar looks east when ascending, west when descending.

    Returns:
        ``(2, size, size)`` float32 gamma nought in dB, VV then VH.
    """
    n = land.size
    ground = grow(land, day)
    cells = quarters(land.unit)
    parts = mix(_radar_tables(land, ground, rng, ascending), cells)
    height = ground.height.astype(np.float32)[land.unit]
    # Edges of tall things: bright where they face the radar, dark behind them.
    step = -1 if ascending else 1
    front = np.clip(np.roll(height, step, 1) - height, 0, 25) / 10
    behind = blocks(cast(height, 0, step, 3, 5.5))
    built = land.kind[land.unit]
    built = (built >= Kind.TILE) & (built <= Kind.BRIGHT)
    corner = np.roll(built, step, 1) & ~built
    lottery = sig.decibel_to_power(land.traits[1] * 3.2 + land.traits[0] * 2.2)[
        np.roll(land.unit, step, 1)
    ]
    double_bounce = blocks(np.where(corner, front * lottery, 0).astype(np.float32))
    front = blocks(np.where(corner, 0, front).astype(np.float32))
    # Rain and soil moisture: about a quarter of a decibel for each per cent of volume.
    moist = (
        0.8 * land.wetness
        + 0.45 * fractal(rng, (n, n), 1.3, 80, 2500)
        + rng.normal(0, 1.0)
    )
    wet = sig.decibel_to_power(1.1 * moist)
    grown = sig.decibel_to_power(0.75 * land.vigour)
    clumps = sig.decibel_to_power(0.5 * fractal(rng, (n, n), 0.6, 30, 120))
    # Slopes towards the radar stay a little brighter than terrain flattening assumes.
    rise = np.gradient(blur(land.dem, 2.0), 10.0, axis=1)
    rise = rise if ascending else -rise
    residual = sig.decibel_to_power(np.clip(7.0 * rise, -3, 3).astype(np.float32))
    waves = sig.decibel_to_power(1.2 * fractal(rng, (n, n), 1.2, 60, 1200))
    water = mix(
        ((land.kind == Kind.LAKE) | (land.kind == Kind.RIVER)).astype(np.float32)[
            :, None
        ],
        cells,
    ).reshape(n, n)
    shift = rng.uniform(-0.5, 0.5, 2)
    weights = _look_weights()
    out = np.empty((2, n, n), dtype=np.float32)
    for i, (bounce, edge) in enumerate(((1.1, 0.30), (0.15, 0.25))):
        plant, soil = parts[:, 2 * i].reshape(n, n), parts[:, 2 * i + 1].reshape(n, n)
        power = plant * grown * clumps + soil * wet
        power *= np.where(water > 0.5, waves, residual)
        power *= (1 + edge * front) * (1 - 0.6 * behind)
        power += bounce * double_bounce
        power = weave(_shift(power, shift), _TAPS[0])
        power += sig.decibel_to_power(sig.NOISE_FLOOR_DB)
        out[i] = 10 * np.log10(np.maximum(power * _speckle((n, n), weights, rng), 1e-5))
    return out


def _shift(field: Floats, shift: NDArray[np.float64]) -> Floats:
    """Move a field by a part of a pixel, linearly interpolated, edges repeated."""
    for axis, part in enumerate(shift.tolist()):
        step = 1 if part > 0 else -1
        other = np.roll(field, step, axis)
        edge = [slice(None), slice(None)]
        edge[axis] = slice(0, 1) if step > 0 else slice(-1, None)
        other[tuple(edge)] = field[tuple(edge)]
        field = np.float32(1 - abs(part)) * field + np.float32(abs(part)) * other
    return field


def _look_weights() -> NDArray[np.float64]:
    """Return weights of the looks whose average has the stated equivalent number of looks."""
    rise = np.linspace(-1, 1, sig.LOOKS)
    # Sum of squares of (1 + a rise) / LOOKS must be 1 / ENL.
    a = np.sqrt((sig.LOOKS / sig.ENL - 1) / np.mean(rise**2))
    return (1 + a * rise) / sig.LOOKS


def _speckle(
    shape: tuple[int, int], weights: NDArray[np.float64], rng: Generator
) -> Floats:
    """Draw multiplicative speckle with mean 1, correlated as by a 20 m impulse response.

    Each look is the squared modulus of a circular Gaussian field (Goodman 1976, "Some
    fundamental properties of speckle", JOSA 66(11), 1145-1150).
    """
    taps = np.ones(1)
    for side in _TAPS:
        taps = np.convolve(taps, (side, 1 - 2 * side, side))
    gain = float((taps**2).sum()) ** 2
    out = np.zeros(shape, dtype=np.float32)
    # The margin keeps the edges from being brighter than the middle.
    margin = len(_TAPS)
    wide = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    for weight in weights:
        for _ in range(2):
            part = rng.standard_normal(wide, dtype=np.float32)
            for side in _TAPS:
                part = weave(part, side)
            part = part[margin:-margin, margin:-margin]
            out += np.float32(weight / (2 * gain)) * part * part
    return out
