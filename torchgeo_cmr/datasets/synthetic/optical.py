"""What optical sensors see of the hidden map: reflectance, clouds, sensor grids.

Nuisance drawn anew for each acquisition: haze, clouds and their shadows, calibration, noise,
silt in the water. The sun is in the south-east, at 60 degrees.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from . import signatures as sig
from .grid import Floats, Kind
from .ground import Ground, blocks, cast, grow, mix, quarters
from .landcover import Landscape
from .noise import blur, coarse_and_back, fractal, weave

_COLUMN = {name: i for i, name in enumerate(sig.MATERIALS)}

#: Noise of the Landsat-like pair, in reflectance times 10,000. On dark ground, where OLI is
#: quietest, it is a few tenths of a per cent: a lake is smooth, the crowns of a wood are not.
OLI_NOISE = 3.0


def _abundance(land: Landscape, ground: Ground) -> Floats:
    """Return the share of each material in each unit, ``(units, materials)``."""
    table = np.zeros((land.kind.size, len(sig.MATERIALS)), dtype=np.float32)
    leaf = {
        Kind.WINTER: 'crop',
        Kind.SUMMER: 'crop',
        Kind.PASTURE: 'grass',
        Kind.ORCHARD: 'broadleaf',
        Kind.FALLOW: 'grass',
        Kind.BROADLEAF: 'broadleaf',
        Kind.CONIFER: 'conifer',
        Kind.GRASS: 'grass',
        Kind.REED: 'reed',
        Kind.GARDEN: 'broadleaf',
    }
    for kind, name in leaf.items():
        at = land.kind == kind
        table[at, _COLUMN[name]] = ground.green[at]
        table[at, _COLUMN['dry']] = ground.dry[at]
        rest = 1 - ground.green[at] - ground.dry[at]
        under = {Kind.REED: 'clear_water', Kind.CONIFER: 'shade'}.get(kind, 'soil')
        table[at, _COLUMN[under]] += rest
    pure = {
        Kind.LAKE: {'clear_water': 0.8, 'turbid_water': 0.2},
        Kind.RIVER: {'clear_water': 0.45, 'turbid_water': 0.55},
        Kind.ROCK: {'rock': 0.8, 'soil': 0.2},
        Kind.ASPHALT: {'asphalt': 0.9, 'grass': 0.1},
        Kind.TILE: {'tile': 0.9, 'shade': 0.1},
        Kind.CONCRETE: {'concrete': 0.9, 'shade': 0.1},
        Kind.BRIGHT: {'bright_roof': 0.9, 'shade': 0.1},
        Kind.TRACK: {'soil': 0.5, 'asphalt': 0.2, 'grass': 0.3},
    }
    for kind, parts in pure.items():
        for name, share in parts.items():
            table[land.kind == kind, _COLUMN[name]] = share
    # Canopies shade themselves; stands differ in how closed they are.
    for kind, share in (
        (Kind.BROADLEAF, 0.16),
        (Kind.CONIFER, 0.2),
        (Kind.ORCHARD, 0.08),
    ):
        at = land.kind == kind
        dark = np.clip(share + 0.04 * land.traits[3, at], 0, 0.6)[:, None]
        table[at] *= 1 - dark
        table[at, _COLUMN['shade']] += dark[:, 0]
    return table


def optical(land: Landscape, day: float, rng: Generator) -> Floats:
    """Render the clear-sky surface reflectance of one acquisition.

    Args:
        land: the hidden map.
        day: day of the year.
        rng: nuisance of this acquisition.

    Returns:
        ``(12, size, size)`` float32 reflectance, 0..1, bands as `signatures.S2_BANDS`.
    """
    n = land.size
    ground = grow(land, day)
    table = _abundance(land, ground)
    cells = quarters(land.unit)
    share = mix(table, cells)
    flat_texture = land.vigour.ravel()
    # Growth within a field moves ground from soil to leaf and back.
    soil, dry = share[:, _COLUMN['soil']], share[:, _COLUMN['dry']]
    for name, swing in (('crop', 0.10), ('grass', 0.09), ('broadleaf', 0.05)):
        leaf = share[:, _COLUMN[name]]
        move = swing * flat_texture * np.minimum(leaf, 0.3) / 0.3
        move = np.clip(move, -leaf, soil + 0.7 * dry)
        leaf += move
        from_soil = np.clip(move, None, soil)
        soil -= from_soil
        dry -= move - from_soil
    # Crowns, and the shadows that tall things cast to the north-west in the morning.
    crowns = (
        fractal(rng, (n, n), 0.6, 22, 80).ravel() * 0.05 + land.vigour.ravel() * 0.02
    )
    wood = share[:, _COLUMN['broadleaf']] + share[:, _COLUMN['conifer']]
    height = ground.height.astype(np.float32)[land.unit]
    shade = blocks(cast(height, 1, 1, 3, 8.0)).ravel()
    dark = np.clip(crowns * wood + 0.55 * shade, -0.1, 0.8)
    # Soil: bright or dark by parcel, geology and moisture.
    parcel = mix((land.traits[2] * 0.16)[:, None].astype(np.float32), cells)[:, 0]
    moist = land.wetness.ravel() * 0.10 + rng.normal(0, 0.08)
    bright = np.exp(0.12 * land.geology.ravel() + parcel - moist)
    share[:, _COLUMN['soil']] *= bright
    share[:, _COLUMN['rock']] *= np.sqrt(bright)
    for name in ('tile', 'concrete', 'bright_roof', 'asphalt', 'dry'):
        share[:, _COLUMN[name]] *= np.exp(0.8 * parcel)
    silt = fractal(rng, (n, n), 1.5, 60, 1500).ravel() * 0.25
    moved = np.clip(share[:, _COLUMN['clear_water']] * silt, 0, None)
    share[:, _COLUMN['turbid_water']] += moved
    share[:, _COLUMN['clear_water']] -= moved
    matrix = sig.spectra()
    cube = (share @ matrix).T
    cube *= 1 - dark
    cube += np.maximum(dark, 0) * matrix[_COLUMN['shade']][:, None]
    # Sun on slopes (Minnaert-like, exponent 0.6), sun in the south-east at 60 degrees.
    dy, dx = np.gradient(blur(land.dem, 1.0), 10.0)
    lit = np.sin(1.05) + np.cos(1.05) * 0.7071 * (-dx - dy)
    cube *= np.clip(
        (lit / np.hypot(1, np.hypot(dx, dy)) / np.sin(1.05)) ** 0.6, 0.5, 1.4
    ).ravel()
    cube = cube.reshape(12, n, n)
    # Haze, calibration, band-to-band registration.
    haze = np.clip(0.004 + 0.003 * fractal(rng, (n, n), 2.0, 1500, 9000), 0, None)
    for i, strength in enumerate(
        (1.6, 1.2, 0.8, 0.55, 0.5, 0.4, 0.35, 0.3, 0.28, 0.25, 0.1, 0.05)
    ):
        cube[i] *= 1 + rng.normal(0, 0.015)
        cube[i] += strength * haze
    return cube.astype(np.float32)


def clouds(
    shape: tuple[int, int], share: float, rng: Generator
) -> tuple[Floats, Floats]:
    """Draw clouds and their shadows.

    Args:
        shape: ``(rows, cols)`` of the 10 m grid.
        share: part of the scene that clouds cover, 0..1.
        rng: source of randomness.

    Returns:
        opacity of the clouds and depth of their shadows, both 0..1; a pixel is cloudy where
        the opacity exceeds 0.2.
    """
    if share <= 0:
        return np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    opacity = np.zeros(shape, np.float32)
    # Heaped clouds and thin veils: opacity 0.2 at the contour that encloses each one's share.
    for part, slope, soft, most in ((0.75, 1.7, 0.55, 1.0), (0.25, 2.1, 1.2, 0.5)):
        field = fractal(rng, shape, slope, 60, 2200)
        base = np.quantile(field, 1 - part * share)
        np.maximum(opacity, np.clip(0.2 + (field - base) / soft, 0, most), out=opacity)
    drift = int(rng.integers(25, 60))
    drift = min(drift, shape[0] // 4)
    shadow = np.zeros(shape, np.float32)
    shadow[:-drift, :-drift] = opacity[drift:, drift:]
    return opacity, np.clip(blur(shadow, 1.5), 0, 1) * (1 - opacity)


_CLOUD = np.array(
    (0.70, 0.70, 0.69, 0.70, 0.71, 0.72, 0.73, 0.73, 0.73, 0.60, 0.48, 0.36),
    dtype=np.float32,
)


def sentinel2(
    cube: Floats, opacity: Floats, shadow: Floats, rng: Generator
) -> NDArray[np.uint16]:
    """Turn reflectance into Sentinel-2 L2A numbers on the 10 m grid.

    Bands of 20 m and 60 m are averaged to their own grid and interpolated back.

    Args:
        cube: ``(12, rows, cols)`` clear-sky reflectance, 0..1.
        opacity: ``(rows, cols)`` cloud opacity, 0..1.
        shadow: ``(rows, cols)`` depth of cloud shadow, 0..1.
        rng: sensor noise and cloud brightness.

    Returns:
        ``(12, rows, cols)`` uint16 reflectance times 10,000, at least 1 (0 is nodata).
    """
    out = np.empty(cube.shape, dtype=np.uint16)
    glow = np.clip(
        0.8 + 0.25 * opacity + 0.08 * fractal(rng, opacity.shape, 1.5, 60, 900),
        0.4,
        1.3,
    )
    for i, band in enumerate(cube):
        seen = band * (1 - (0.62 - 0.012 * i) * shadow)
        seen = seen * (1 - opacity) + opacity * _CLOUD[i] * glow
        seen = weave(seen.astype(np.float32), 0.07)
        # Noise belongs to the grid of the measurement: a block of it averages to what is meant.
        factor = sig.S2_GSD[i] // 10
        noise = factor * rng.standard_normal(seen.shape, dtype=np.float32)
        seen = seen * 10000 + noise * (4 + 0.004 * 10000 * seen)
        if factor > 1:
            seen = coarse_and_back(seen, factor)
        out[i] = np.clip(np.rint(seen), 1, 20000)
    return out


def landsat(
    cube: Floats, rng: Generator
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Turn reflectance into a Landsat-like pair of 15 m PAN and 30 m MS numbers.

    Args:
        cube: ``(12, rows, cols)`` clear-sky reflectance on the 10 m grid, 0..1.
        rng: path radiance and noise.

    Returns:
        PAN ``(1, 2 n, 2 n)`` and MS ``(4, n, n)`` (blue, green, red, near infrared), uint16
        reflectance times 10,000, where n is the number of whole 30 m pixels.
    """
    n = cube.shape[1] // 3
    blue, green, red, near = (cube[i, : 3 * n, : 3 * n] for i in (1, 2, 3, 8))
    path = np.array((0.045, 0.025, 0.015, 0.006)) * rng.uniform(0.7, 1.3)
    multi = np.stack(
        [
            weave(band.reshape(n, 3, n, 3).mean((1, 3), dtype=np.float32), 0.05) + add
            for band, add in zip((blue, green, red, near), path, strict=True)
        ]
    )
    # OLI's panchromatic band spans green and red with the edge of the blue.
    wide = 0.15 * (blue + path[0]) + 0.45 * (green + path[1]) + 0.40 * (red + path[2])
    fine = np.repeat(np.repeat(wide, 2, 0), 2, 1).astype(np.float32)
    pan = fine.reshape(2 * n, 3, 2 * n, 3).mean((1, 3), dtype=np.float32)[None]
    result = []
    for image in (weave(pan[0], 0.05)[None], multi):
        image = image * 10000 + OLI_NOISE * rng.standard_normal(image.shape)
        result.append(np.clip(np.rint(image), 1, 20000).astype(np.uint16))
    return result[0], result[1]
