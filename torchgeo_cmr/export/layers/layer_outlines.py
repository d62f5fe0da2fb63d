"""Geometry rules of every layer: densified, cut at 180, valid, never a band round the world.

Layers are in EPSG:4326. Footprints whose source is in a polar CRS may stay there where
degrees would tear them apart; see :func:`layer_crs`. Edges become straight lines of at
most an eighth of their length in the CRS that the pixels have, which is why native corners
are used where a result still has them.
"""

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import densify, to_wgs84
from torchgeo_cmr.table.footprints import WGS84, is_wgs84

from .corners import SEGMENTS, from_corners

#: CRSs that footprints may stay in, and the side of the Earth they show.
POLAR: dict[str, int] = {'EPSG:3413': 1, 'EPSG:3031': -1}
#: A set that lies wholly beyond this latitude is polar.
POLAR_LATITUDE = 80.0

#: Degrees between vertices of an outline whose native corners are not known.
_STEP = 1.0
_KINDS = {
    0: 'Point',
    4: 'Point',
    1: 'LineString',
    2: 'LineString',
    5: 'LineString',
    3: 'Polygon',
    6: 'Polygon',
}


def check_layer(frame: gpd.GeoDataFrame) -> None:
    """Refuse what is not a layer: not a GeoDataFrame, or without a geometry and its CRS.

    Args:
        frame: What was given to a writer.

    Raises:
        QueryError: If it cannot be written.
    """
    if not isinstance(frame, gpd.GeoDataFrame):
        raise QueryError(f'a layer is a GeoDataFrame, not a {type(frame).__name__}')
    if frame._geometry_column_name not in frame or frame.crs is None:
        raise QueryError(
            'the layer has no geometry with a CRS; declare it with set_crs(...)'
        )


def layer_crs(frame: gpd.GeoDataFrame) -> CRS:
    """Choose the CRS a layer is written in.

    Args:
        frame: Footprints with a CRS.

    Returns:
        EPSG:4326; or EPSG:3413 or EPSG:3031 if all sources (``src_crs``, or the frame's own
        CRS) are in it and a footprint holds the pole or all lie beyond 80 degrees of latitude.
    """
    code = _source_code(frame)
    if code not in POLAR or not len(frame):
        return WGS84
    shapes = frame.geometry.to_numpy()
    polar = CRS.from_user_input(code)
    if frame.crs.equals(polar):
        holds = shapely.intersects_xy(shapes, 0.0, 0.0).any()
        shapes = to_wgs84(densify(shapes), frame.crs, divided=True)
    else:
        holds = False
    south, north = shapely.bounds(shapes).reshape(-1, 4)[:, [1, 3]].T
    if POLAR[code] < 0:
        south, north = -north, -south
    if holds or (north >= 90 - 1e-9).any() or (south >= POLAR_LATITUDE).all():
        return polar
    return WGS84


def footprints(frame: gpd.GeoDataFrame, crs: CRS = WGS84) -> NDArray[np.object_]:
    """Give the outlines of a layer as they are written.

    Args:
        frame: Geometries with a CRS; ``native_corners`` (eight numbers) and ``src_crs`` are
            used where both are there and mean the same ground.
        crs: EPSG:4326, or a polar CRS that :func:`layer_crs` chose.

    Returns:
        Object array (n,) of two-dimensional, valid geometries, none empty; a missing one
        stays missing. In EPSG:4326 within -180..180 and -90..90, cut at 180.

    Raises:
        QueryError: If a geometry is empty, cannot be expressed in that CRS, or is wider than
            180 degrees without holding a pole.
    """
    shapes = np.array(frame.geometry.to_numpy(), dtype=object)
    present = ~shapely.is_missing(shapes)
    if shapely.is_empty(shapes[present]).any():
        raise QueryError('a geometry of the layer is empty; leave that row out')
    moved = shapes.copy()
    for rows, outlines in from_corners(frame, shapes, crs):
        moved[rows] = outlines
        present[rows] = False
    if not is_wgs84(crs):
        moved[present] = _projected(shapes[present], frame.crs, crs)
    elif present.any():
        source = shapes[present]
        if not is_wgs84(frame.crs):
            source = densify(source, segments=SEGMENTS)
        moved[present] = to_wgs84(source, frame.crs, divided=True)
    return _checked(moved, frame.crs, crs)


def in_crs(shape: Geometry, crs: CRS) -> Geometry:
    """Bring one geometry from EPSG:4326 to the CRS of a layer.

    Args:
        shape: Geometry in EPSG:4326, straight lines in longitude and latitude.
        crs: EPSG:4326 or a polar CRS.

    Returns:
        The geometry; vertices every degree where the CRS is another one.
    """
    return shape if is_wgs84(crs) else _projected(np.array([shape]), WGS84, crs)[0]


def kind_of(shapes: NDArray[np.object_], name: str) -> str:
    """Give the one kind of geometry in a layer.

    Args:
        shapes: Object array of geometries; missing ones do not count.
        name: Name of the layer, for the message.

    Returns:
        ``'Polygon'``, ``'LineString'`` or ``'Point'``; ``'Polygon'`` if there is none.

    Raises:
        QueryError: If kinds are mixed, or one is a collection.
    """
    numbers = np.unique(shapely.get_type_id(shapes))
    kinds = sorted(
        {_KINDS.get(int(n), 'GeometryCollection') for n in numbers if n >= 0}
    )
    if len(kinds) > 1 or 'GeometryCollection' in kinds:
        raise QueryError(
            f'the layer {name} mixes {", ".join(kinds)}, and a layer has one kind of '
            'geometry; write them apart'
        )
    return kinds[0] if kinds else 'Polygon'


def _source_code(frame: gpd.GeoDataFrame) -> str:
    """Give the CRS that all rows come from; empty if there is more than one."""
    if not is_wgs84(frame.crs):
        return ':'.join(frame.crs.to_authority() or ())
    codes = frame['src_crs'].unique() if 'src_crs' in frame else []
    return str(codes[0]) if len(codes) == 1 and isinstance(codes[0], str) else ''


def _projected(
    shapes: NDArray[np.object_], source: CRS, crs: CRS
) -> NDArray[np.object_]:
    """Bring outlines to a polar CRS, closing the seam at 180 and the hole at the pole."""
    if source.equals(crs):
        return shapely.force_2d(shapes)
    if is_wgs84(source):
        fine = shapely.segmentize(shapely.force_2d(shapes), _STEP)
    else:
        fine = densify(shapely.force_2d(shapes), segments=SEGMENTS)
    change = Transformer.from_crs(source, crs, always_xy=True)

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(change.transform(points[:, 0], points[:, 1]))

    moved = shapely.transform(fine, move)
    for i in np.flatnonzero(shapely.get_dimensions(moved) == 2):
        # On a grid of a millimetre, edges that ran along 180 or the pole fall together.
        parts = shapely.get_parts(shapely.make_valid(shapely.get_parts(moved[i])))
        solid = parts[shapely.get_dimensions(parts) == 2]
        snapped = shapely.set_precision(solid, 1e-3)
        moved[i] = shapely.union_all(snapped)
    return moved


def _checked(shapes: NDArray[np.object_], source: CRS, crs: CRS) -> NDArray[np.object_]:
    """Repair what is invalid and refuse what no map can show."""
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    broken = np.flatnonzero(~shapely.is_missing(shapes) & ~shapely.is_valid(shapes))
    # A geometry with a coordinate that is not a number is never valid.
    lost = not np.isfinite(shapely.get_coordinates(shapes[broken])).all()
    if is_wgs84(crs):
        lost |= bool((np.abs(bounds) > [180 + 1e-9, 90 + 1e-9] * 2).any())
    if lost:
        raise QueryError(
            f'a geometry cannot be expressed in {crs.to_string()[:60]} from '
            f'{source.to_string()[:60]}; check its CRS'
        )
    for i in broken:
        parts = shapely.get_parts(shapely.make_valid(shapes[i]))
        kept = parts[shapely.get_dimensions(parts) == shapely.get_dimensions(shapes[i])]
        shapes[i] = shapely.union_all(kept)
    if is_wgs84(crs):
        for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
            if (wide := widths(shapes[i]).max()) > 180:
                raise QueryError(
                    f'a geometry is {wide:.0f} degrees wide and holds no pole; it was '
                    'probably drawn across the antimeridian: cut it at 180'
                )
    return shapes


def widths(shape: Geometry) -> NDArray[np.float64]:
    """Measure the parts of a geometry in EPSG:4326.

    Args:
        shape: The geometry.

    Returns:
        Array of widths in degrees, one per part; 0 for a part that holds a pole.
    """
    bounds = shapely.bounds(shapely.get_parts(shape)).reshape(-1, 4)
    caps = (np.abs(bounds[:, [1, 3]]) >= 90 - 1e-9).any(axis=1)
    caps &= bounds[:, 2] - bounds[:, 0] >= 360 - 1e-9
    return np.where(caps, 0.0, bounds[:, 2] - bounds[:, 0])
