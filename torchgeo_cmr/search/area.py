"""An area of any kind, brought to one valid geometry in EPSG:4326.

Each kind of area has its own way to be wrong, and a sentence for it. The area is brought to
the archive's CRS, never the archive to the area's: edges are divided first, so that a line
that is straight in its own projection stays where it was, and what crosses the antimeridian
or winds round a pole is cut and closed.
"""

from collections.abc import Sequence
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import to_wgs84
from torchgeo_cmr.table.footprints import WGS84, is_wgs84, to_lonlat

#: What an area may be given as.
type AreaLike = (
    Geometry | gpd.GeoDataFrame | gpd.GeoSeries | str | PathLike[str] | Sequence[float]
)

#: Pieces at most along the longer side of an area.
_SEGMENTS = 512
#: Degrees by which an edge may stray from its own line: about a centimetre.
_STRAY = 1e-7


def read_frame(
    path: Path,
    what: str = 'area file',
    *,
    layer: str | None = None,
    placeless: bool = False,
) -> gpd.GeoDataFrame:
    """Read a vector file: GeoParquet, or anything GDAL reads.

    Args:
        path: The file.
        what: What it is called if something is wrong with it.
        layer: Layer to take of a file that has it.
        placeless: Whether all rows may be without a geometry, as hits among sound are.

    Returns:
        That layer or the first; at least one geometry in it unless *placeless*.

    Raises:
        QueryError: If it is not there, no vector file, or holds no geometry.

    .. versionadded:: 0.1
    """
    if not path.exists():
        raise QueryError(f'the {what} {path} is not there; check its name')
    try:
        parquet = path.suffix.lower() in ('.parquet', '.geoparquet')
        if parquet:
            frame = gpd.read_parquet(path)
        else:
            names = [str(name) for name, _ in pyogrio.list_layers(path)]
            chosen = layer if layer in names else names[0]
            frame = gpd.read_file(path, layer=chosen)
    except Exception as error:  # pyogrio, pyarrow and GDAL raise kinds of their own
        raise QueryError(
            f'the {what} {path} cannot be read as a vector file ({error})'
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame) or not (
        placeless or frame.geometry.notna().any()
    ):
        raise QueryError(
            f'the {what} {path} has no features with a geometry; draw an area first'
        )
    return frame


def read_area(given: AreaLike, crs: Any = None) -> Geometry:
    """Bring an area of any kind to one valid geometry in EPSG:4326.

    Args:
        given: A shapely geometry (``crs`` needed); a GeoDataFrame or GeoSeries (its features
            united); the path of a vector file; or a box (west, south, east, north), where
            west > east runs across the antimeridian.
        crs: CRS of the geometry or box, x before y; a box without one is in EPSG:4326.

    Returns:
        The area, two-dimensional and cut at the antimeridian.

    Raises:
        QueryError: If it is empty, has no CRS or two, or cannot be expressed in EPSG:4326.

    .. versionadded:: 0.1
    """
    shape, own, name = _read(given)
    stated = None if crs is None else _crs(crs)
    if (
        own is not None
        and stated is not None
        and not own.equals(stated, ignore_axis_order=True)
    ):
        raise QueryError(
            f'{name} is in {own.to_string()[:60]} but crs={stated.to_string()[:60]} was given; leave crs out'
        )
    known = own or stated
    if isinstance(shape, tuple):
        known = known or WGS84
        shape = _box(shape, known)
    if shape is None or shapely.is_missing(shape) or shape.is_empty:
        raise QueryError(f'{name} is empty; give an area that covers some ground')
    if known is None:
        raise QueryError(
            f"{name} has no CRS; say which one it is in, for example crs='EPSG:4326'"
        )
    shape = shapely.force_2d(shape)
    if not np.isfinite(shapely.get_coordinates(shape)).all():
        raise QueryError(f'{name} has coordinates that are not finite numbers; mend it')
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
    west, south, east, north = shape.bounds
    if is_wgs84(known):
        if south < -90 or north > 90 or west < -540 or east > 540:
            raise QueryError(
                f'{name} reaches from {west:.6g}, {south:.6g} to {east:.6g}, {north:.6g}, which are no '
                'longitudes and latitudes; give the CRS these coordinates are in'
            )
        if west >= -180 and east <= 180:
            return shape
    least = max(east - west, north - south) / _SEGMENTS
    if least > 0:
        shape = shapely.segmentize(shape, _piece(shape, known, least))
    moved = to_wgs84([shape], known)[0]
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise QueryError(
            f'{name} cannot be expressed in EPSG:4326 from {known.to_string()[:60]}; check its CRS'
        )
    return moved if moved.is_valid else shapely.make_valid(moved)


def _piece(shape: Geometry, crs: CRS, least: float) -> float:
    """Give how long a piece of an edge may be and yet stay on its line in degrees.

    A curve leaves its chord by the square of the length, and how far it does a third of the
    way along shows both arcs and waves.
    """
    points = shapely.get_coordinates(shape)
    way = np.diff(points, axis=0)
    length = np.hypot(*way.T)
    long = length > least
    if is_wgs84(crs) or not long.any():
        return least
    start, way, length = points[:-1][long], way[long], length[long]
    moved = to_lonlat(np.vstack([start, start + way / 3, start + way]), crs)
    begin, third, end = moved.reshape(3, -1, 2)
    with np.errstate(invalid='ignore'):  # what has no longitude is refused later
        stray = np.abs(third - (2 * begin + end) / 3).max(axis=1)
        pieces = length * np.sqrt(_STRAY / np.maximum(stray, _STRAY))
    return float(np.fmax(pieces.min(), least))


def _read(given: AreaLike) -> tuple[Any, CRS | None, str]:
    """Give a geometry or a box, the CRS it brings, and what to call it."""
    if isinstance(given, Geometry):
        return given, None, 'the area'
    if isinstance(given, str | PathLike):
        path = Path(fspath(given))
        frame = read_frame(path, layer='area_of_interest')
        return frame.geometry.union_all(), frame.crs, f'the area file {path}'
    if isinstance(given, gpd.GeoDataFrame | gpd.GeoSeries):
        frame = given.geometry
        return frame.union_all() if len(frame) else None, frame.crs, 'the area'
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise QueryError(
            f'{given!r:.80} is no area; give a shapely geometry with crs, a GeoDataFrame, the path '
            'of a vector file, or a box (west, south, east, north)'
        )
    return tuple(numbers.tolist()), None, 'the box'


def _crs(crs: Any) -> CRS:
    try:
        return _named(crs) if isinstance(crs, str) else CRS.from_user_input(crs)
    except CRSError as error:
        raise QueryError(f"{crs!r} is no CRS; write it like 'EPSG:32632'") from error


@lru_cache(maxsize=256)
def _named(crs: str) -> CRS:
    """Look a CRS up once."""
    return CRS.from_user_input(crs)


def _box(numbers: tuple[float, ...], crs: CRS) -> Geometry:
    west, south, east, north = numbers
    if south > north:
        raise QueryError(
            f'the box has south {south} above north {north}; give west, south, east, north'
        )
    if west <= east:
        return shapely.box(west, south, east, north)
    if not is_wgs84(crs):
        raise QueryError(
            f'the box has west {west} beyond east {east}; only boxes in EPSG:4326 may cross the antimeridian'
        )
    return shapely.union_all(
        [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    )
