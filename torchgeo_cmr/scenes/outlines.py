"""Outlines of scenes: moved between CRSs, and cut to the ground that an index lists."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from shapely.geometry.base import BaseGeometry

#: Pieces into which the longest side is cut before it is moved: sides that are straight in
#: one CRS are curved in another, by less than 5 cm for the sides of a Sentinel-2 tile.
_PIECES = 64

#: Part of a pixel by which a geometry may miss the grid of its file and still hold all of it.
_MISSED = 0.01

#: Share by which a projection may stretch lengths before that counts as another pixel size.
_STRETCH = 0.01


def same_crs(left: CRS, right: CRS) -> bool:
    """Say whether coordinates ``(x, y)`` mean the same ground in two CRSs."""
    return left is right or _same_crs(left, right)


@lru_cache(maxsize=256)
def _same_crs(left: CRS, right: CRS) -> bool:
    return left == right or left.equals(right, ignore_axis_order=True)


def project(
    geometries: NDArray[np.object_], source: CRS, target: CRS
) -> NDArray[np.object_]:
    """Move polygons to another CRS, with their curved sides.

    Args:
        geometries: Polygons in *source*, of shape ``(n,)``.
        source: CRS of the polygons.
        target: CRS wanted.

    Returns:
        Polygons in *target*; those that leave its domain have infinite coordinates.
    """
    if same_crs(source, target) or not len(geometries):
        return geometries
    left, bottom, right, top = shapely.bounds(geometries).T
    longest = np.maximum(right - left, top - bottom)
    pieces = np.where(longest > 0, longest / _PIECES, 1.0)
    transform = _transformer(source, target).transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transform(points[:, 0], points[:, 1]), axis=1)

    return shapely.transform(shapely.segmentize(geometries, pieces), move)


def project_near(
    geometries: NDArray[np.object_],
    source: CRS,
    target: CRS,
    within: BaseGeometry | None,
) -> NDArray[np.object_]:
    """Move the part of polygons that lies near some ground to its CRS.

    A raster of the whole Earth has no outline in a zone, but the part near it does.

    Args:
        geometries: Polygons in *source*, of shape ``(n,)``.
        source: CRS of the polygons.
        target: CRS wanted.
        within: Ground in *target*; None for everything.

    Returns:
        Polygons in *target*, empty where nothing is near.
    """
    if same_crs(source, target):
        return geometries
    if within is not None:
        (around,) = project(np.array([within.envelope], object), target, source)
        if np.isfinite(around.bounds).all():
            geometries = shapely.intersection(geometries, around)
    moved = project(geometries, source, target)
    moved[~np.isfinite(shapely.bounds(moved)).all(axis=1)] = shapely.Polygon()
    return moved


@lru_cache(maxsize=256)
def _transformer(source: CRS, target: CRS) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def clips(
    footprints: NDArray[np.object_],
    systems: Sequence[CRS],
    geometries: NDArray[np.object_],
    crs: CRS,
    pixel: float,
) -> list[BaseGeometry | None]:
    """Find the scenes of which an index lists a part only.

    Args:
        footprints: Outline of each scene, each in its own CRS, of shape ``(n,)``.
        systems: CRS of each.
        geometries: What the index lists of each, in *crs*, of shape ``(n,)``.
        crs: CRS of the index.
        pixel: Smallest side of a pixel in units of *crs*.

    Returns:
        For each scene the part that is listed, in the CRS of the scene; None for all of it.
    """
    found: list[BaseGeometry | None] = [None] * len(footprints)
    groups: dict[int, list[int]] = {}
    for i, system in enumerate(systems):
        groups.setdefault(id(system), []).append(i)
    for rows in groups.values():
        system, shapes, given = systems[rows[0]], footprints[rows], geometries[rows]
        same = same_crs(system, crs)
        # The grid into which TorchGeo warps a file ends within a pixel of its outline.
        room = pixel * (_MISSED if same else 1)
        seen = shapes if same else project(shapes, system, crs)
        cut = ~shapely.covers(shapely.buffer(given, room, join_style='mitre'), seen)
        parts = shapely.intersection(project(given[cut], crs, system), shapes[cut])
        for i, part in zip(np.flatnonzero(cut).tolist(), parts, strict=True):
            found[rows[i]] = part
    return found


def pixel_in(
    res: tuple[float, float], source: CRS, target: CRS, point: tuple[float, float]
) -> tuple[float, float]:
    """Return the pixel size in another CRS that shows the same ground.

    Between projected CRSs, pixels keep their width and height in metres. To and from
    degrees they become square in the units of *target*, with the same area at the point.

    Args:
        res: Width and height of a pixel in units of *source*.
        source: CRS of the pixels.
        target: CRS wanted.
        point: Where the pixels are, in *source*.

    Returns:
        Width and height in units of *target*.
    """
    if same_crs(source, target):
        return res
    across, down = (
        size * metres
        for size, metres in zip(res, metres_of(source, point), strict=True)
    )
    moved = _transformer(source, target).transform(*point)
    units = metres_of(target, moved)
    if source.is_geographic or target.is_geographic:
        side = float(np.sqrt(across * down / np.prod(units)))
        return side, side
    return across / units[0], down / units[1]


def metres_of(crs: CRS, point: tuple[float, float]) -> tuple[float, float]:
    """Return how many metres one unit of a CRS is at a point, eastwards and northwards.

    A projection that stretches lengths by less than a hundredth counts as true, and so does
    one outside the area it is meant for.
    """
    x, y = point
    geod = crs.get_geod() or Geod(ellps='WGS84')
    unit, step = 1.0, 1e-4
    points = np.array([(x, y), (x + step, y), (x, y + step)])
    if not crs.is_geographic:
        unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        step = 100 / unit
        points = np.array([(x, y), (x + step, y), (x, y + step)])
        base = crs.geodetic_crs
        if base is None:
            return unit, unit
        points = np.stack(_transformer(crs, base).transform(*points.T), axis=1)
        if not _within_use(crs, points[0]):
            return unit, unit
    (lon, lat), *moved = points.tolist()
    found = [geod.inv(lon, lat, origin[0], origin[1])[2] / step for origin in moved]
    if not crs.is_geographic:
        stretched = [np.isfinite(m) and abs(m / unit - 1) > _STRETCH for m in found]
        found = [m if s else unit for m, s in zip(found, stretched, strict=True)]
    return float(found[0]), float(found[1])


def _within_use(crs: CRS, lonlat: NDArray[np.float64]) -> bool:
    """Whether a point lies where a projection is meant to be used."""
    area = crs.area_of_use
    if area is None or not np.isfinite(lonlat).all():
        return False
    lon, lat = lonlat.tolist()
    width = (area.east - area.west) % 360 or 360.0
    return (lon - area.west) % 360 <= width and area.south <= lat <= area.north
