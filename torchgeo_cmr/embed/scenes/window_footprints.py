"""Where a window lies on the ground: from rows and columns to WGS 84 polygons.

Footprints are computed in float64 from a scene's affine transform and nothing else. They
are never rebuilt from a sample, whose bounds TorchGeo keeps in float32.
"""

from functools import lru_cache

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.table.antimeridian import fold
from torchgeo_cmr.table.footprints import is_wgs84, to_wgs84


def native_corners(
    transform: Affine, windows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the four corners of each window, in the CRS of the scene.

    Works for north-up, rotated and sheared grids alike.

    Args:
        transform: Pixel ``(column, row)`` to CRS ``(x, y)``.
        windows: Rows of ``(row, column, height, width)``, int64 of shape ``(n, 4)``.

    Returns:
        float64 array of shape ``(n, 8)``: x and y of the upper left, upper right, lower
        right and lower left corner as the image shows them, in CRS units.
    """
    row, column, height, width = np.asarray(windows, np.float64).reshape(-1, 4).T
    columns = np.stack([column, column + width, column + width, column], axis=1)
    rows = np.stack([row, row, row + height, row + height], axis=1)
    a, b, c, d, e, f = tuple(transform)[:6]
    corners = np.empty((len(row), 8))
    corners[:, 0::2] = columns * a + rows * b + c
    corners[:, 1::2] = columns * d + rows * e + f
    return corners


def footprints(corners: NDArray[np.float64], crs: str) -> NDArray[np.object_]:
    """Turn native corners into WGS 84 polygons.

    Most patches keep their four corners alone; the sides of large ones, and of those close
    to a pole, are divided, so that they follow the true outline. A patch that crosses the
    antimeridian becomes a MultiPolygon with a part on either side, and one that holds or
    touches a pole reaches it.

    Args:
        corners: float64 of shape ``(n, 8)``, as :func:`native_corners` returns them.
        crs: CRS of the corners, an authority code such as ``'EPSG:32632'`` or WKT.

    Returns:
        Array of ``n`` polygons in EPSG:4326, ``(longitude, latitude)`` in degrees.

    Raises:
        RasterError: If that CRS, or a corner in it, has no longitude and latitude.
    """
    outlines = shapely.polygons(corners.reshape(-1, 4, 2))
    try:
        native = _parsed(crs)
        # A raster's own longitudes run on without a jump, however wide its patches are.
        moved = (
            np.array([fold(shape) for shape in outlines], dtype=object)
            if is_wgs84(native)
            else to_wgs84(outlines, native)
        )
    except ProjError as error:
        raise RasterError(
            f'{crs[:60]} has no longitude and latitude: declare the CRS that the raster is in'
        ) from error
    lost = ~np.isfinite(shapely.bounds(moved).reshape(-1, 4)).all(axis=1)
    if lost.any():
        x, y = corners[lost][0, :2]
        raise RasterError(
            f'the patch at ({x}, {y}) has no place on Earth in {crs[:60]}: check the CRS '
            'and the geotransform of the raster'
        )
    return moved


def crs_code(crs: CRS) -> str:
    """Name a CRS so that it can be found again exactly.

    Args:
        crs: Any CRS.

    Returns:
        An authority code such as ``'EPSG:32632'`` if that is the same CRS (rasters always
        store x before y, so axis order does not count), else its WKT.
    """
    found = crs.to_authority()
    if found is not None:
        code = ':'.join(found)
        if CRS.from_user_input(code).equals(crs, ignore_axis_order=True):
            return code
    return crs.to_wkt()


@lru_cache(maxsize=128)
def _parsed(crs: str) -> CRS:
    return CRS.from_user_input(crs)
