"""Where a set of footprints lies: its middle on the globe, and a CRS in which to draw it."""

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import densify, to_wgs84
from torchgeo_cmr.table.footprints import WGS84, is_wgs84, unwrap

#: Metres of a printed or shown map that a label takes.
_LABEL = 0.008


def check_drawable(results: gpd.GeoDataFrame) -> None:
    """Refuse to draw hits of which none has a place.

    Args:
        results: What a search gave.

    Raises:
        QueryError: If there is no hit, or all are sound or images that nobody georeferenced.
    """
    if not len(results):
        raise QueryError('there is no hit to draw; widen the search')
    if placed(results).sum() == 0:
        raise QueryError(
            f'none of the {len(results)} hits has a place on the ground, so no raster can be '
            'drawn and no pixels cut; write .gpkg, .parquet or .html'
        )


def with_geometry(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Call the geometry of a frame ``geometry``, whatever the user calls it.

    Args:
        frame: The layer; it is not changed.
    """
    if frame._geometry_column_name == 'geometry':
        return frame
    made = frame.rename_geometry('geometry')
    assert made is not None  # only inplace gives none
    return made


def placed(frame: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Say which rows have a place.

    Args:
        frame: Any frame with a geometry.

    Returns:
        Boolean (n,); False for sound, words, bare vectors and images without georeferencing.
    """
    shapes = frame.geometry.to_numpy()
    return ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))


def middle(frame: gpd.GeoDataFrame) -> tuple[float, float]:
    """Give the middle of footprints on the globe, across antimeridian and poles alike.

    Args:
        frame: Footprints in any CRS; at least one.

    Returns:
        Longitude and latitude in degrees of the mean direction from the Earth's centre.
    """
    shapes = moved(frame, WGS84).copy()
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        shapes[i] = unwrap(shapes[i])
    centres = shapely.get_coordinates(shapely.centroid(shapes))
    lon, lat = np.radians(centres).T
    x, y, z = (
        v.mean()
        for v in (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))
    )
    return (
        float(np.degrees(np.arctan2(y, x))),
        float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
    )


def metric_crs(lon: float, lat: float) -> CRS:
    """Give a CRS in metres for the surroundings of a place.

    Args:
        lon: Longitude in degrees.
        lat: Latitude in degrees.

    Returns:
        The UTM zone; EPSG:3413 beyond 84 degrees north, EPSG:3031 beyond 80 south.
    """
    if lat > 84 or lat < -80:
        return CRS.from_epsg(3413 if lat > 0 else 3031)
    zone = int((lon + 180) % 360 // 6) + 1
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def moved(frame: gpd.GeoDataFrame, crs: CRS) -> NDArray[np.object_]:
    """Give footprints in another CRS, edges densified before they bend.

    Footprints that were cut at the antimeridian are joined again, except in EPSG:4326.
    Edges shorter than a tenth of a degree, or 10 km, stay as they are: they bend by less
    than a thousandth of their length.

    Args:
        frame: Footprints with a CRS.
        crs: CRS to bring them to.

    Returns:
        Object array (n,) of shapely geometries.

    Raises:
        QueryError: If the frame has no CRS, or a footprint has no place in the other.
    """
    if frame.crs is None:
        raise QueryError('the layer has no CRS; declare it with set_crs(...)')
    frame_crs, shapes = CRS.from_user_input(frame.crs), frame.geometry.to_numpy()
    if frame_crs.equals(crs, ignore_axis_order=True):
        return shapes
    shapes = shapes.copy()
    sides = shapely.bounds(shapes).reshape(-1, 4)
    sides = (sides[:, 2:] - sides[:, :2]).max(axis=1)
    if is_wgs84(frame_crs):
        for i in np.flatnonzero(sides > 180):
            shapes[i] = unwrap(shapes[i])
    long = sides > (
        0.1
        if frame_crs.is_geographic
        else 10_000 / frame_crs.axis_info[0].unit_conversion_factor
    )
    shapes[long] = densify(shapes[long])
    if is_wgs84(crs):
        return to_wgs84(shapes, frame_crs)
    change = Transformer.from_crs(frame_crs, crs, always_xy=True)
    projected = shapely.transform(
        shapes, lambda xy: np.column_stack(change.transform(xy[:, 0], xy[:, 1]))
    )
    if not np.isfinite(shapely.get_coordinates(projected)).all():
        raise QueryError(
            f'a footprint has no place in {crs.to_string()[:60]}; give another CRS'
        )
    return projected


def label_scale(results: gpd.GeoDataFrame) -> float | None:
    """Say from which scale on the labels of results can be read.

    A label takes some 8 mm. Where there is less of the map for each result, in its own
    footprint or between it and its neighbours, labels cover one another, and QGIS takes minutes
    to place a hundred thousand of them.

    Args:
        results: What a search gave, with a CRS.

    Returns:
        Denominator of the scale, in two digits; None if no result has a place.
    """
    shapes = results.geometry.to_crs(WGS84)
    bounds = shapely.bounds(shapes[placed(results)].to_numpy()).reshape(-1, 4)
    if not len(bounds):
        return None
    west, south, east, north = bounds.T
    degree = 111_320 * np.cos(np.radians((south + north) / 2)).clip(0.01)
    size = np.median(np.maximum((east - west) * degree, (north - south) * 111_320))
    wide = (east.max() - west.min()) * np.median(degree)
    room = np.sqrt(wide * (north.max() - south.min()) * 111_320 / len(bounds))
    metres = max(float(size), float(room), 1.0)
    return float(f'{metres / _LABEL:.1e}')
