"""Places of somebody else's file as footprints, and which rows an area touches."""

import math
import re
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.footprints import WGS84, is_wgs84, to_wgs84
from torchgeo_cmr.vectors.arcs import CURE

from .column_roles import Roles, storage
from .squares import squares

#: What PostGIS writes before WKT.
_SRID = re.compile(r'\s*SRID\s*=\s*(\d+)\s*;', re.IGNORECASE)

#: West, south, east, north in degrees; west > east crosses the antimeridian.
type Area = tuple[float, float, float, float]

#: Metres of a degree of latitude, at the equator, where it is shortest.
_DEGREE = 110_574
#: Degrees of latitude, beyond which a square may reach round the pole.
_STEEP = 89.0


def read_area(area: Sequence[float] | None) -> Area | None:
    """Check a box of degrees.

    Args:
        area: West, south, east, north in EPSG:4326.

    Raises:
        ArchiveError: If it is not such a box.
    """
    if area is None:
        return None
    try:
        west, south, east, north = (float(side) for side in area)
    except (TypeError, ValueError) as error:
        raise ArchiveError(
            f'the area {area!r} is not a box: give west, south, east, north in degrees'
        ) from error
    if not -90 <= south <= north <= 90 or not all(
        -180 <= side <= 180 for side in (west, east)
    ):
        raise ArchiveError(
            f'the area {west:g},{south:g},{east:g},{north:g} is not a box of degrees: give west, '
            'south, east, north'
        )
    return west, south, east, north


def touches(boxes: NDArray[np.float64], area: Area) -> NDArray[np.bool_]:
    """Say which bounding boxes (n, 4) in degrees an area touches; NaN touches none."""
    west, south, east, north = area
    x0, y0, x1, y1 = boxes.T
    with np.errstate(invalid='ignore'):
        tall = (y0 <= north) & (y1 >= south)
        if west <= east:
            return tall & (x0 <= east) & (x1 >= west)
        return tall & ((x1 >= west) | (x0 <= east))


def touching(
    roles: Roles, area: Area, metres: float | None = None
) -> pc.Expression | None:
    """Give what is true of rows that an area may touch, for statistics of row groups.

    Args:
        roles: Columns of the file; those of a projected CRS rule nothing out.
        area: The area.
        metres: Width of the square round a point; None leaves points.
    """
    if not roles.cover or not is_wgs84(roles.crs):
        return None
    left, low, right, high = (pc.field(*path) for path in roles.cover)
    west, south, east, north = area if metres is None else _reach(area, metres)
    # A box over the antimeridian may have its west side in the east, or be wider than half a turn;
    # and longitudes may run on beyond 180.
    around = (left > 0) & (right < 0)
    around |= ((left < -90) & (right > 0)) | ((left < 0) & (right > 90))
    around |= (left < -180) | (right > 180)
    if west <= east:
        across = (left <= east) & (right >= west)
    else:
        across = (left <= east) | (right >= west)
    return (low <= north) & (high >= south) & (across | around)


def _reach(area: Area, metres: float) -> Area:
    """Give the box of the points whose squares may touch an area."""
    west, south, east, north = area
    # Half a diagonal of the square, and a twentieth for the scale of its zone.
    reach = metres * 0.75 / _DEGREE
    south, north = south - reach, north + reach
    highest = max(-south, north)
    if highest >= _STEEP:
        return -180.0, south, 180.0, north
    aside = reach / math.cos(math.radians(highest))
    width = (east - west) % 360 if west > east else east - west
    if width + 2 * aside >= 360:
        return -180.0, south, 180.0, north
    west, east = ((side + 180) % 360 - 180 for side in (west - aside, east + aside))
    return west, south, east, north


def read_places(
    columns: Sequence[pa.ChunkedArray], name: str, roles: Roles
) -> gpd.GeoSeries:
    """Read places in any of the ways in which they are stored.

    Args:
        columns: Geometry, or x and y.
        name: Names of the columns, for messages.
        roles: Columns of the file.

    Returns:
        Geometries in the file's CRS, None where there is none.

    Raises:
        ArchiveError: If the encoding is not known, a geometry is broken, or states another CRS.
    """
    if len(columns) == 2:
        x, y = (np.asarray(c.to_numpy(), np.float64) for c in columns)
        return gpd.GeoSeries(_points(x, y), crs=roles.crs)
    column = columns[0]
    kind = storage(column.type)
    if kind != column.type:
        column = pa.chunked_array([c.storage for c in column.chunks], type=kind)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_fixed_size_binary(kind):
        kind = pa.binary()
        column = column.cast(kind)
    try:
        shapes = _decoded(column, kind)
    except NotImplementedError as error:
        raise ArchiveError(
            f'the column {name} holds a geometry with arcs: {CURE}'
        ) from error
    except shapely.errors.ShapelyError as error:
        raise ArchiveError(
            f'the column {name} holds a geometry that is broken ({error}): write the file again'
        ) from error
    if shapes is None:
        raise ArchiveError(
            f'the column {name} stores places as {str(kind)[:80]}, which is not read: give WKB, '
            'WKT, a box of xmin, ymin, xmax, ymax, a point of x, y, or two columns such as lon,lat'
        )
    _check_srid(shapes, name, roles.crs)
    return gpd.GeoSeries(shapes, crs=roles.crs)


def _check_srid(shapes: NDArray[np.object_], name: str, crs: CRS) -> None:
    """Refuse geometries that state another CRS than that in which they are read."""
    for srid in np.unique(shapely.get_srid(shapes[~shapely.is_missing(shapes)])):
        if srid == 0:
            continue
        try:
            same = CRS.from_epsg(srid).equals(crs, ignore_axis_order=True)
        except CRSError:
            same = False
        if not same:
            raise ArchiveError(
                f'the column {name} holds geometries with SRID {srid}, which are not in '
                f"{crs.to_string()[:80]}: give crs='EPSG:{srid}', or bring all to one CRS"
            )


def footprints(
    places: gpd.GeoSeries, metres: float | None, area: Area | None
) -> tuple[gpd.GeoSeries, NDArray[np.bool_]]:
    """Give what rows cover, and which of them an area touches.

    Args:
        places: Geometries in any CRS.
        metres: Width of the square round a point; None leaves points.
        area: The area; None keeps all.

    Returns:
        Geometries in EPSG:4326 where points became squares or an area was given, else as they
        are; and which rows to keep (n,).
    """
    missing = shapely.is_missing(places.to_numpy())
    flat = np.array(places.geom_type == 'Point')
    if metres is not None and flat.any():
        # Points that cannot be placed are left for whoever refuses them.
        flat &= np.isfinite(shapely.bounds(places.to_numpy())).all(axis=1)
        made = np.empty(len(places), object)
        made[~flat] = to_wgs84(places[~flat], places.crs) if (~flat).any() else []
        made[missing] = None
        made[flat] = squares(places[flat], metres).to_numpy()
        places = gpd.GeoSeries(made, crs=WGS84)
    if area is None:
        return places, np.ones(len(places), bool)
    moved = np.full(len(places), None, object)
    moved[~missing] = to_wgs84(places[~missing], places.crs)
    keep = np.zeros(len(places), bool)
    # Each part on its own: the box of both sides of the antimeridian is the globe.
    parts, rows = shapely.get_parts(moved, return_index=True)
    keep[rows[touches(shapely.bounds(parts).reshape(-1, 4), area)]] = True
    return gpd.GeoSeries(moved, crs=WGS84), keep


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.object_]:
    shapes = np.full(len(x), None, object)
    known = ~(np.isnan(x) | np.isnan(y))
    shapes[known] = shapely.points(x[known], y[known])
    return shapes


def _decoded(column: pa.ChunkedArray, kind: pa.DataType) -> NDArray[np.object_] | None:
    """Read geometries by how they are stored; None if that is not known."""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return shapely.from_wkb(column.to_numpy())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        words = column.to_numpy()
        first = next((word for word in words if word), '')
        # Hexadecimal WKB begins with its byte order.
        if first[:2] in ('00', '01'):
            return shapely.from_wkb(words)
        found = [_SRID.match(word) if word else None for word in words]
        if not any(found):
            return shapely.from_wkt(words)
        pairs = zip(words, found, strict=True)
        plain = [
            word if match is None else word[match.end() :] for word, match in pairs
        ]
        srids = [0 if match is None else int(match[1]) for match in found]
        return shapely.set_srid(shapely.from_wkt(plain), srids)
    if pa.types.is_struct(kind):
        fields = [field.name for field in kind]
        for sides in (('xmin', 'ymin', 'xmax', 'ymax'), ('x', 'y')):
            if {*sides} <= {*fields}:
                flat = column.combine_chunks()
                numbers = [_floats(flat.field(side)) for side in sides]
                numbers[0][flat.is_null().to_numpy(zero_copy_only=False)] = np.nan
                return _points(*numbers) if len(sides) == 2 else _boxes(*numbers)
        return None
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if any(test(kind) for test in lists) and (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        rows: list[Any] = column.to_pylist()
        for length in (4, 2):
            if all(row is None or len(row) == length for row in rows):
                blank = [np.nan] * length
                table = np.array(
                    [blank if row is None else row for row in rows], np.float64
                )
                sides = table.reshape(-1, length).T
                return _boxes(*sides) if length == 4 else _points(*sides)
    return None


def _floats(array: pa.Array) -> NDArray[np.float64]:
    return np.array(array.to_numpy(zero_copy_only=False), np.float64)


def _boxes(*sides: NDArray[np.float64]) -> NDArray[np.object_]:
    shapes = np.full(len(sides[0]), None, object)
    known = ~np.isnan(np.array(sides)).any(axis=0)
    west, south, east, north = (side[known] for side in sides)
    # An edge longer than half a turn is read as the short way round.
    shapes[known] = shapely.box(west, south, east, north)
    return shapes
