"""An area of any kind, brought to one valid geometry in EPSG:4326.

Each kind of area has its own way to be wrong, and a sentence for it. The area is brought to
the archive's CRS, never the archive to the area's: edges are divided first, so that a line
that is straight in its own projection stays where it was, and what crosses the antimeridian
or touches a pole is cut and closed (:mod:`~torchgeo_cmr.table.outline`). Every feature is
repaired before features are united.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError, ProjError
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table.antimeridian import at_pole, fold, pole_line
from torchgeo_cmr.table.footprints import is_wgs84
from torchgeo_cmr.table.outline import WGS84, outline
from torchgeo_cmr.vectors.place_crs import (
    check_degrees,
    check_places,
    may_be_degrees,
    without_heights,
)
from torchgeo_cmr.vectors.singles import singles

from .drawing import AreaLike, Box, read_features

#: Metres by which an edge may leave its own line; of a large area, times its extent squared.
_STRAY, _LARGE = 0.008, 5.5e-14
_CURE = (
    "give the CRS these coordinates are in, such as crs='EPSG:32632' (on the command line "
    '--crs EPSG:32632)'
)
#: Degrees beyond 180 or 90 that are rounding: a centimetre.
_ROUNDING = 1e-7
_RADIUS = 6_371_008.8


@dataclass(frozen=True)
class Drawn:
    """An area as it was drawn: its polygons in their own CRS."""

    shape: Geometry
    crs: str


def read_area(given: AreaLike, crs: Any = None, layer: str | None = None) -> Geometry:
    """Bring an area of any kind to one valid geometry in EPSG:4326.

    Args:
        given: A shapely geometry or several, or WKT (``crs`` needed); a GeoDataFrame or
            GeoSeries (its features united); GeoJSON as a mapping or text, or anything with
            ``__geo_interface__`` (in EPSG:4326 unless it names another CRS); the path of a vector
            file; or a box (west, south, east, north), where west > east runs across the
            antimeridian.
        crs: CRS of the geometry or box, x before y; a box without one is in EPSG:4326.
        layer: Layer of a file that has several.

    Returns:
        The area, two-dimensional and cut at the antimeridian.

    Raises:
        QueryError: If it is empty, has no CRS or two, or cannot be expressed in EPSG:4326.
    """
    return read_drawn(given, crs, layer)[0]


def read_drawn(
    given: AreaLike, crs: Any = None, layer: str | None = None
) -> tuple[Geometry, Drawn]:
    """Give an area in EPSG:4326, as :func:`read_area` does, and as it was drawn."""
    features, system, name = read_features(given, layer)
    stated = None if crs is None else without_heights(_crs(crs))
    system = None if system is None else without_heights(system)
    if isinstance(features, Box):
        known = system or stated or WGS84
        shape = _box(features, known)
    else:
        shape = _united(features, name)
        known = _decided(system, stated, shape, name)
    if known is None:
        raise QueryError(
            f"{name} has no CRS; say which one it is in, for example crs='EPSG:4326' (on the "
            'command line --crs EPSG:4326)'
        )
    check_places(known, name, QueryError)
    if known.is_geographic:
        shape = _rounded(shape)
        check_degrees(shape.bounds, known, name, _CURE, QueryError)
        if not isinstance(features, Box):
            _warn_of_long_edges(shape, name)
    if is_wgs84(known):
        area = _degrees(shape)
    else:
        try:
            area = outline(shape, known, _tolerance(shape, known))
        except (ProjError, ValueError) as error:
            raise QueryError(
                f'{name} is in {known.name[:60]}, from which nothing leads to EPSG:4326 '
                f'({error}); check its CRS'
            ) from error
        points = shapely.get_coordinates(area)
        if not (np.isfinite(points).all() and (np.abs(points[:, 1]) < 90 + 1e-6).all()):
            raise QueryError(
                f'{name} cannot be expressed in EPSG:4326 from {known.to_string()[:60]}; check its CRS'
            )
        area = area if area.is_valid else shapely.make_valid(area)
        if area.is_empty:  # less than degrees can tell
            raise QueryError(f'{name} is empty; give an area that covers some ground')
    return area, Drawn(polygons(area if is_wgs84(known) else shape), known.srs)


def polygons(area: Geometry) -> Geometry:
    """Give the polygons of an area alone; the area itself if it has none or nothing else."""
    if area.geom_type != 'GeometryCollection':
        return area
    parts = [part for part in singles(area) if part.geom_type == 'Polygon']
    return shapely.union_all(parts) if parts else area


def _united(features: NDArray[np.object_], name: str) -> Geometry:
    """Repair every feature, then unite them."""
    shapes = features[~shapely.is_missing(features)]
    parts = np.array(
        [single for shape in shapes for single in singles(shape)], dtype=object
    )
    if not len(parts):
        raise QueryError(f'{name} is empty; give an area that covers some ground')
    parts = shapely.force_2d(parts)
    if not np.isfinite(shapely.get_coordinates(parts)).all():
        raise QueryError(
            f'{name} has coordinates that are not finite numbers; repair it'
        )
    broken = ~shapely.is_valid(parts)
    if broken.any():
        parts[broken] = shapely.make_valid(parts[broken])
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def _rounded(shape: Geometry) -> Geometry:
    """Take latitudes that rounding put beyond a pole back to it, and longitudes to 180."""

    def snap(points: NDArray[np.float64]) -> NDArray[np.float64]:
        limit = np.array([180.0, 90.0])
        over = np.abs(points) - limit
        return np.where(
            (over > 0) & (over < _ROUNDING), np.copysign(limit, points), points
        )

    west, south, east, north = shape.bounds
    if west >= -180 and south >= -90 and east <= 180 and north <= 90:
        return shape
    return shapely.transform(shape, snap)


def _decided(
    system: CRS | None, stated: CRS | None, shape: Geometry, name: str
) -> CRS | None:
    """Decide between the CRS of an area and that which the user states.

    GeoJSON that names no CRS is in degrees by its standard, and much of it is not: where the
    numbers cannot be degrees, what the user states is the only CRS that there is.
    """
    if system is None or stated is None:
        return system or stated
    if system.equals(stated, ignore_axis_order=True):
        return system
    if not may_be_degrees(shape.bounds, system):
        return stated
    raise QueryError(
        f'{name} is in {system.to_string()[:60]} but crs={stated.to_string()[:60]} was given; leave crs out'
    )


def _degrees(shape: Geometry) -> Geometry:
    """Fold longitudes beyond 180; they are taken literally, however long an edge is."""
    west, south, east, _ = shape.bounds
    if shape.geom_type == 'Point' and at_pole(shapely.get_coordinates(shape))[0]:
        return pole_line(south)
    if west >= -180 and east <= 180:
        return shape
    shape = fold(shape)
    return shape if shape.is_valid else shapely.make_valid(shape)


def _warn_of_long_edges(shape: Geometry, name: str) -> None:
    """Say how an edge of more than half the way round was read."""
    points, owner = shapely.get_coordinates(
        np.array(singles(shape), dtype=object), return_index=True
    )
    jump = np.abs(np.diff(points[:, 0]))
    long = (jump > 180) & (np.abs(jump - 360) > 1e-6) & (owner[1:] == owner[:-1])
    if not long.any():
        return
    i = int(np.argmax(long))
    warnings.warn(
        f'{name} has an edge from longitude {points[i, 0]:.6g} to {points[i + 1, 0]:.6g}: it is '
        'read as GeoJSON writes it, the long way, through longitude 0 and not over the antimeridian. '
        'To cross the antimeridian, split the area there (one part up to 180, one from -180) or '
        'let longitudes run on (175 to 185); to go the long way without this warning, put a '
        'point in the middle of the edge',
        stacklevel=5,
    )


def _tolerance(shape: Geometry, crs: CRS) -> float:
    """Give metres by which an edge may leave its own line."""
    west, south, east, north = shape.bounds
    unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    metres = max(east - west, north - south) * unit
    metres *= _RADIUS if crs.is_geographic else 1.0
    return max(_STRAY, _LARGE * metres * metres)  # of too many metres, ** is an error


def _crs(crs: Any) -> CRS:
    try:
        return _named(crs) if isinstance(crs, str) else CRS.from_user_input(crs)
    except CRSError as error:
        raise QueryError(f"{crs!r} is not a CRS; write it like 'EPSG:32632'") from error


@lru_cache(maxsize=256)
def _named(crs: str) -> CRS:
    """Look a CRS up once."""
    return CRS.from_user_input(crs)


def _box(box: Box, crs: CRS) -> Geometry:
    west, south, east, north = box
    if south > north:
        raise QueryError(
            f'the box has south {south} above north {north}; give west, south, east, north'
        )
    if west <= east:
        shape = shapely.box(west, south, east, north)
        # Without width or height it is a line or a point, as a feature of that shape is.
        return shape if shape.is_valid else shapely.make_valid(shape)
    if not is_wgs84(crs):
        raise QueryError(
            f'the box has west {west} beyond east {east}; only boxes in EPSG:4326 may cross the antimeridian'
        )
    halves = shapely.box([west, -180], south, [180, east], north)
    wide = halves[shapely.is_valid(halves)]
    return shapely.union_all(wide if len(wide) else shapely.make_valid(halves))
