"""Labels of patches from a map of classes: the majority class of a footprint."""

from collections.abc import Iterable
from dataclasses import replace
from glob import glob
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioIOError
from rasterio.features import geometry_mask
from rasterio.windows import Window
from shapely import Polygon

from torchgeo_cmr.errors import QueryError, RasterError
from torchgeo_cmr.rasters.class_maps import read_classes
from torchgeo_cmr.rasters.orientation import NorthUp
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.table import EmbeddingTable

#: Pixels of a map under one patch.
_LARGEST = 1 << 28


def labels_from_raster(
    table: EmbeddingTable | gpd.GeoDataFrame,
    paths: Iterable[str | PathLike[str]],
    *,
    share: float = 0.5,
    ignore: int | None = 0,
) -> pd.Series:
    """Give each patch the class that fills more than a share of its ground.

    Pixels count whose centre lies in the footprint, taken in the raster's CRS: from the
    native corners where the patch is in that CRS, else from the footprint. Patches that are
    not wholly on a raster get no label from it; of several rasters, one in the patch's own
    CRS is read before others, and the last with a label wins.

    Args:
        table: Patches, a table or a frame of its columns.
        paths: Single-band rasters of whole-numbered classes, with a CRS.
        share: Share of the pixels that a class must exceed, 0 up to (not including) 1.
        ignore: Class that is not a label, such as the fill of the raster; nodata and what a mask
            hides are not either. Their pixels still count as ground.

    Returns:
        Classes, ``Int64``, index of the frame; null where no class exceeds the share.

    Raises:
        RasterError: If a raster cannot be read, has no CRS, or holds no whole numbers.
        QueryError: If the share is out of range.
    """
    if not 0 <= share < 1:
        raise QueryError(f'a share lies between 0 and 1, found {share}')
    frame = table if isinstance(table, gpd.GeoDataFrame) else table.frame
    labels = np.full(len(frame), pd.NA, dtype=object)
    settled = np.zeros(len(frame), bool)
    for path in paths:
        try:
            file = NorthUp(open_pixels(path))
        except RasterioIOError as error:
            raise RasterError(f'{fspath(path)} cannot be read: {error}') from error
        with file:
            if file.crs is None:
                raise RasterError(
                    f'{fspath(path)} has no CRS; declare the one its classes are in'
                )
            if np.dtype(file.dtypes[0]).kind not in 'iu':
                raise RasterError(
                    f'{fspath(path)} holds {file.dtypes[0]}: a map of classes holds whole '
                    'numbers'
                )
            if sum(colour != ColorInterp.alpha for colour in file.colorinterp) != 1:
                raise RasterError(
                    f'{fspath(path)} has {file.count} bands: a map of classes has one'
                )
            # What is no whole number, NaN for example, is the value of no class.
            missing = [n for n in (file.nodata,) if n is not None and n == n // 1]
            left = {ignore, *map(int, missing)}
            outlines, owners = _outlines(frame, file.crs, fspath(path))
            for row in np.flatnonzero(owners | ~settled):
                found = _majority(file, outlines[row], share, left)
                if found is not None:
                    labels[row], settled[row] = found, owners[row]
    return pd.Series(labels, index=frame.index, dtype='Int64')


def add_classes(table: EmbeddingTable, pattern: str, column: str) -> EmbeddingTable:
    """Give a table with a column of the class that fills more than half of each patch.

    Args:
        table: Patches.
        pattern: A raster, or a pattern such as ``'truth/*.tif'`` for several.
        column: Name of the column.

    Returns:
        The table with the column.

    Raises:
        RasterError: If no raster is found or one cannot be used.
    """
    paths = [pattern] if Path(pattern).exists() else sorted(glob(pattern))
    if not paths:
        raise RasterError(f'{pattern} names no raster: give a file or a quoted pattern')
    frame = table.frame.copy()
    frame.insert(len(frame.columns) - 1, column, labels_from_raster(table, paths))
    return replace(table, frame=frame)


def _majority(
    file: NorthUp, outline: Polygon, share: float, left: set[int | None]
) -> int | None:
    """Class of more than a share of the pixels in an outline; None off the raster."""
    pixels = _in_pixels(file, outline)
    # Half a pixel of grace: corners that went through degrees lose their last bits.
    if not (np.isfinite(pixels) & (pixels >= -0.5)).all():
        return None
    if (pixels > np.array([file.width, file.height]) + 0.5).any():
        return None
    inside = _pixels(file, outline)
    values, counts = np.unique(inside.compressed(), return_counts=True)
    known = ~np.isin(values, [item for item in left if item is not None])
    if not known.any():
        return None
    best = int(np.argmax(np.where(known, counts, 0)))
    return int(values[best]) if counts[best] > share * inside.size else None


def _pixels(file: NorthUp, outline: Polygon) -> np.ma.MaskedArray[Any, Any]:
    """Pixels whose centre lies in an outline; those that a mask of the raster hides are masked."""
    t = file.transform
    corners = _in_pixels(file, outline)
    low, high = corners.min(axis=0), corners.max(axis=0)
    # The usual patch, a box along the grid of the map, needs no mask.
    boxed = np.isclose(outline.area, np.prod(high - low) * -t.determinant, rtol=1e-9)
    if boxed:
        first, last = np.round(low), np.round(high)
    else:
        first, last = np.floor(low), np.ceil(high)
    limits = file.width, file.height
    left, top = np.clip(first, 0, limits).astype(int).tolist()
    right, bottom = np.clip(last, 0, limits).astype(int).tolist()
    if right <= left or bottom <= top:
        return np.ma.zeros(0, np.uint8)
    if (height := bottom - top) * (width := right - left) > _LARGEST:
        raise RasterError(
            f'one patch covers {height} x {width} pixels of {file.name}, too many to be read for one '
            'label: give a coarser map of classes'
        )
    window = Window.from_slices((top, bottom), (left, right))
    classes = read_classes(file, window)
    if boxed:
        return classes
    window_transform = Affine(
        *(t.a, t.b, t.c + left * t.a + top * t.b),
        *(t.d, t.e, t.f + left * t.d + top * t.e),
    )
    return classes[
        geometry_mask([outline], classes.shape, window_transform, invert=True)
    ]


def _in_pixels(file: NorthUp, outline: Polygon) -> NDArray[np.float64]:
    """Columns and rows (n, 2) of the points of an outline."""
    a, b, c, d, e, f = tuple(~file.transform)[:6]
    x, y = shapely.get_coordinates(outline).T
    return np.column_stack([a * x + b * y + c, d * x + e * y + f])


def _outlines(
    frame: gpd.GeoDataFrame, crs: rasterio.CRS, name: str
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    """Footprints in the raster's CRS, and which of them were made in it."""
    try:
        outlines = frame.geometry.to_crs(crs).to_numpy().copy()
    except ProjError as error:  # of a CRS that lies nowhere on Earth
        raise RasterError(
            f'no patch can be placed on {name}: nothing leads from degrees to its CRS ({error}); '
            'declare the CRS its classes are in'
        ) from error
    owners = np.zeros(len(frame), bool)
    if {'src_crs', 'native_corners'} <= {*frame.columns}:
        codes = frame['src_crs'].to_numpy()
        same = {
            code: rasterio.CRS.from_wkt(CRS.from_user_input(code).to_wkt()) == crs
            for code in {*codes}
            if isinstance(code, str)
        }
        for row, corners in enumerate(frame['native_corners']):
            if same.get(codes[row]) and isinstance(corners, np.ndarray):
                outlines[row] = shapely.Polygon(corners.reshape(4, 2))
                owners[row] = True
    return outlines, owners
