"""Estates, parcels and crops of the hidden map."""

import math

import numpy as np
import shapely
from affine import Affine
from numpy.random import Generator
from numpy.typing import NDArray
from rasterio.features import rasterize

from .grid import FINE, Floats
from .noise import double, fractal


def parcels(
    rng: Generator, size: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    """Cut the land into estates and these into parcels.

    Returns:
        parcel number of each 5 m cell, estate number of each parcel, row angle of each estate.
    """
    extent, margin = size * 10.0, 250.0
    side = extent + 2 * margin
    number = max(6, round(side**2 / 1.0e6))
    points = shapely.MultiPoint(rng.uniform(-margin, extent + margin, (number, 2)))
    frame = shapely.box(-margin, -margin, extent + margin, extent + margin)
    cells = [
        shapely.intersection(cell, frame)
        for cell in shapely.voronoi_polygons(points, extend_to=frame).geoms
    ]
    swing = rng.uniform(0, math.pi)
    angles = swing + rng.normal(0, 0.6, len(cells))
    owner: list[int] = []
    pieces: list[NDArray[np.float64]] = []
    for estate, cell in enumerate(cells):
        target = 1e4 * float(np.clip(np.exp(rng.normal(1.5, 0.6)), 1, 20))
        stack = [np.array(cell.exterior.coords)[:-1]]
        while stack:
            piece = stack.pop()
            if _area(piece) < target * rng.uniform(0.8, 1.9):
                pieces.append(piece)
                owner.append(estate)
                continue
            tilt = angles[estate] + rng.normal(0, 0.025)
            along = np.array((math.cos(tilt), math.sin(tilt)))
            across = np.array((-along[1], along[0]))
            # Fields are about twice as long as they are wide.
            lengths = np.ptp(piece @ along), np.ptp(piece @ across) * 1.8
            normal = along if lengths[0] > lengths[1] else across
            reach = piece @ normal
            share = 0.5 + rng.normal(0, 0.07)
            offset = float(reach.min() + share * np.ptp(reach))
            halves = (_cut(piece, normal, offset), _cut(piece, -normal, -offset))
            stack.extend(half for half in halves if len(half) > 2)
    # Bend the drawing so that no border is quite straight.
    reach = round((side) / FINE)
    board = rasterize(
        ((shapely.Polygon(piece + margin), i + 1) for i, piece in enumerate(pieces)),
        out_shape=(reach, reach),
        transform=Affine.scale(FINE),
        dtype='int32',
    )
    place = np.arange(2 * size) + margin / FINE
    bend = [double(fractal(rng, (size, size), 2.2, 400, 2500)) * 9 for _ in range(2)]
    row = np.clip(np.rint(place[:, None] + bend[0]), 0, reach - 1).astype(np.int32)
    col = np.clip(np.rint(place[None, :] + bend[1]), 0, reach - 1).astype(np.int32)
    return np.maximum(board[row, col] - 1, 0), np.array(owner), angles


def crops(
    rng: Generator,
    parcel: NDArray[np.int32],
    owner: NDArray[np.int64],
    slope: Floats,
    hand: Floats,
) -> NDArray[np.uint8]:
    """Choose what grows on each parcel from its estate's habits and its ground."""
    total = len(owner)
    flat = parcel[::2, ::2].ravel()
    share = np.maximum(np.bincount(flat, minlength=total), 1)
    steep = np.bincount(flat, slope.ravel(), total) / share
    damp = np.exp(-np.bincount(flat, hand.ravel(), total) / share / 5)
    habit = rng.dirichlet((1.5, 1.3, 0.7, 0.5, 0.15, 0.08), owner.max() + 1)[owner]
    weight = habit * np.stack(
        (
            np.ones(total),
            np.ones(total),
            0.6 + 12 * steep + 1.0 * damp,
            0.4 + 12 * np.minimum(steep, 0.1),
            np.ones(total),
            0.5 + damp,
        ),
        axis=1,
    )
    weight /= weight.sum(1, keepdims=True)
    return (weight.cumsum(1) < rng.random((total, 1))).sum(1).astype(np.uint8)


def _cut(
    polygon: NDArray[np.float64], normal: NDArray[np.float64], offset: float
) -> NDArray[np.float64]:
    """Return the part of a convex polygon where ``normal . point <= offset``."""
    side = polygon @ normal - offset
    out = []
    for i, inside in enumerate(side):
        j = (i + 1) % len(side)
        if inside <= 0:
            out.append(polygon[i])
        if (inside < 0) != (side[j] < 0):
            out.append(
                polygon[i] + (polygon[j] - polygon[i]) * (inside / (inside - side[j]))
            )
    return np.array(out).reshape(-1, 2)


def _area(polygon: NDArray[np.float64]) -> float:
    """Return the area of a simple polygon."""
    x, y = polygon.T
    return 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))
