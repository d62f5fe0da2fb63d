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
        Polygons in *target*; those that leave its domain have infinite coordinates, and one
        over the antimeridian has longitudes that run on beyond 180.
    """
    if same_crs(source, target) or not len(geometries):
        return geometries
    left, bottom, right, top = shapely.bounds(geometries).T
    longest = np.maximum(right - left, top - bottom)
    pieces = np.where(longest > 0, longest / _PIECES, 1.0)
    transform = _transformer(source, target).transform

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transform(points[:, 0], points[:, 1]), axis=1)

    moved = shapely.transform(shapely.segmentize(geometries, pieces), move)
    turn = full_turn(target)
    if turn is not None:
        left, _, right, _ = shapely.bounds(moved).T
        for i in np.flatnonzero(right - left > turn / 2).tolist():
            moved[i] = _run_on(moved[i], turn)
    return moved


@lru_cache(maxsize=256)
def full_turn(crs: CRS) -> float | None:
    """Return what leads once round the Earth to the east, in units of a CRS.

    Args:
        crs: The CRS.

    Returns:
        360 where the unit is the degree, 40,075,017 in Web Mercator; None where meridians are
        not straight lines with equal distances, as in a zone of UTM.
    """
    if crs.is_geographic:
        return 2 * np.pi / crs.axis_info[0].unit_conversion_factor
    if not crs.is_projected or crs.geodetic_crs is None:
        return None
    lon, lat = np.meshgrid(np.arange(-179.5, 180, 8), [-30, 0, 60])
    degrees = np.radians(1) / crs.geodetic_crs.axis_info[0].unit_conversion_factor
    move = _transformer(crs.geodetic_crs, crs).transform
    x, _ = move(lon * degrees, lat * degrees)
    if not np.isfinite(x).all():
        return None
    steps = np.diff(x)
    step = float(np.median(steps))
    # Between two of them lies the edge of the map.
    alike = np.isclose(steps, step, rtol=1e-6, atol=0).mean()
    return step * 360 / 8 if step > 0 and alike > 0.95 else None


def _run_on(geometry: BaseGeometry, turn: float) -> BaseGeometry:
    """Follow an outline across the antimeridian, each step the short way round.

    What winds round a pole cannot be followed so and stays as it is.
    """
    points = shapely.get_coordinates(geometry)
    lon = points[:, 0]
    # Whole turns, so that no other digit changes and a ring ends where it began.
    turns = np.round((np.unwrap(lon, period=turn) - lon) / turn)
    starts = np.cumsum([0, *shapely.get_num_coordinates(shapely.get_rings(geometry))])
    if (turns[starts[:-1]] != turns[starts[1:] - 1]).any():
        return geometry
    lon += turn * turns
    lon -= turn * np.round((lon.min() + lon.max()) / 2 / turn)
    return shapely.set_coordinates(shapely.from_wkb(geometry.wkb), points)


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
    if same_crs(source, target) or not len(geometries):
        return geometries
    if within is not None:
        (around,) = project(np.array([within.envelope], object), target, source)
        if np.isfinite(around.bounds).all():
            geometries = _clipped(geometries, around, source)
    moved = project(geometries, source, target)
    moved[~np.isfinite(shapely.bounds(moved)).all(axis=1)] = shapely.Polygon()
    turn = full_turn(target)
    if within is not None and turn is not None:
        _turn_to(moved, within, turn)
    return moved


def _clipped(
    geometries: NDArray[np.object_], around: BaseGeometry, crs: CRS
) -> NDArray[np.object_]:
    """The part of polygons inside some ground, by whatever longitudes they name it."""
    turn = full_turn(crs)
    west, _, east, _ = around.bounds
    left, _, right, _ = shapely.total_bounds(geometries)
    if turn is None or not np.isfinite([left, right]).all():
        return _meeting(geometries, around)
    turns = np.arange(
        np.ceil((left - east) / turn), np.floor((right - west) / turn) + 1
    )
    parts = [_meeting(geometries, _shifted(around, k * turn)) for k in turns]
    if len(parts) == 1:
        return parts[0]
    empty = np.full(len(geometries), shapely.Polygon(), object)
    return shapely.union_all(np.array([empty, *parts], object), axis=0)


def _meeting(
    geometries: NDArray[np.object_], around: BaseGeometry
) -> NDArray[np.object_]:
    """Intersect polygons with some ground that most of them do not meet."""
    left, bottom, right, top = shapely.bounds(geometries).T
    west, south, east, north = around.bounds
    far = (left > east) | (right < west) | (bottom > north) | (top < south)
    parts = np.full(len(geometries), shapely.Polygon(), object)
    parts[~far] = shapely.intersection(geometries[~far], around)
    return parts


def _turn_to(
    geometries: NDArray[np.object_], within: BaseGeometry, turn: float
) -> None:
    """Give polygons, in place, the longitudes that are nearest to those of some ground."""
    west, _, east, _ = within.bounds
    left, _, right, _ = shapely.bounds(geometries).T
    turns = np.round(((west + east) - (left + right)) / 2 / turn)
    for i in np.flatnonzero(np.nan_to_num(turns)).tolist():
        geometries[i] = _shifted(geometries[i], turns[i] * turn)


def _shifted(geometry: BaseGeometry, east: float) -> BaseGeometry:
    return shapely.transform(geometry, lambda p: p + np.array([east, 0]))


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
    unit, step, degrees = 1.0, 1e-4, degrees_of(crs)
    points = np.array([(x, y), (x + step, y), (x, y + step)])
    if not crs.is_geographic:
        unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        step = 100 / unit
        points = np.array([(x, y), (x + step, y), (x, y + step)])
        base = crs.geodetic_crs
        if base is None:
            return unit, unit
        points = np.stack(_transformer(crs, base).transform(*points.T), axis=1)
        degrees = degrees_of(base)
        if not _within_use(crs, points[0] * degrees):
            return unit, unit
    (lon, lat), *moved = (points * degrees).tolist()
    found = [geod.inv(lon, lat, origin[0], origin[1])[2] / step for origin in moved]
    if not crs.is_geographic:
        stretched = [np.isfinite(m) and abs(m / unit - 1) > _STRETCH for m in found]
        found = [m if s else unit for m, s in zip(found, stretched, strict=True)]
    return float(found[0]), float(found[1])


def degrees_of(crs: CRS) -> float:
    """Return how many degrees one unit of a geographic CRS is; 1 of other CRSs.

    Args:
        crs: The CRS.

    Returns:
        1 for nearly all; 0.9 where angles are counted in grads, as in the old CRSs of France.
    """
    if not crs.is_geographic or not crs.axis_info:
        return 1.0
    degrees = float(np.degrees(crs.axis_info[0].unit_conversion_factor))
    return 1.0 if np.isclose(degrees, 1, rtol=1e-12, atol=0) else degrees


def _within_use(crs: CRS, lonlat: NDArray[np.float64]) -> bool:
    """Whether a point, in degrees, lies where a projection is meant to be used."""
    area, meridian = crs.area_of_use, crs.prime_meridian
    if area is None or not np.isfinite(lonlat).all():
        return False
    lon, lat = lonlat.tolist()
    if meridian is not None:
        # Areas of use are counted from Greenwich.
        lon += float(
            np.degrees(meridian.longitude * float(meridian.unit_conversion_factor))
        )
    width = (area.east - area.west) % 360 or 360.0
    return (lon - area.west) % 360 <= width and area.south <= lat <= area.north
