"""Pixels on another grid over the same plane: missing is decided first, then interpolated.

Written out because GDAL's mask of a bilinear read calls a pixel valid if any of its
neighbours is, so that whole coarse pixels without data would be filled in; and because
``rasterio.warp.reproject`` changes the filters of warnings, which threads share.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window
from shapely.affinity import affine_transform

from torchgeo_cmr.reading.longitudes import as_named
from torchgeo_cmr.scenes.header import Header
from torchgeo_cmr.scenes.outlines import full_turn, project

#: Pixels beyond a window on which its values depend, in pixels of the coarser grid: as many as
#: the widest kernel, that of Lanczos, reaches.
MARGIN = 3

#: Stands for missing pixels in memory.
_MISSING = float(np.finfo(np.float32).min)


def below(
    window: Sequence[float], transform: Affine, crs: CRS, header: Header
) -> tuple[int, int, int, int] | None:
    """Find the pixels of a file on which a window of a grid in another CRS depends.

    Args:
        window: ``(row, column, height, width)`` in pixels of the grid.
        transform: Affine of the grid.
        crs: CRS of the grid.
        header: The file.

    Returns:
        ``(row, column, height, width)`` in pixels of the file, cut to it; None if that is
        not known, where a projection ends.
    """
    row, column, height, width = window
    box = shapely.box(column, row, column + width, row + height)
    square = affine_transform(box, transform.to_shapely())
    (projected,) = project(np.array([square]), crs, header.crs)
    if not np.isfinite(projected.bounds).all():
        return None
    if full_turn(header.crs) and not (header.transform.b or header.transform.d):
        west, south, east, north = projected.bounds
        first = header.transform.c
        ends = first, first + header.transform.a * header.shape[1]
        west, east = as_named((west, east), ends, header.crs)
        projected = shapely.box(west, south, east, north)
    back = (~header.transform).to_shapely()
    points = shapely.get_coordinates(affine_transform(projected, back))
    # GDAL's kernels grow where pixels of the grid are coarser than those of the file.
    sides = np.ptp(points, axis=0) / (width, height)
    margin = MARGIN * np.maximum(1, np.ceil(sides))
    left, top = np.floor(points.min(axis=0) - margin).astype(int)
    right, bottom = np.ceil(points.max(axis=0) + margin).astype(int)
    rows, columns = header.shape
    top, bottom = np.clip([top, bottom], 0, rows).tolist()
    left, right = np.clip([left, right], 0, columns).tolist()
    return top, left, bottom - top, right - left


def nearest(start: float, size: float, count: int) -> NDArray[np.int64]:
    """Give the pixels in which evenly spaced centres lie.

    Args:
        start: Where the span begins, in pixels.
        size: Length of the span in pixels.
        count: Into how many it is divided.

    Returns:
        Position of each centre, int64 of shape ``(count,)``.
    """
    centres = start + (np.arange(count) + 0.5) * size / count
    return np.floor(centres).astype(np.int64)


def interpolate(
    stored: NDArray[np.float32],
    corner: tuple[int, int],
    window: Sequence[float],
    shape: tuple[int, int],
) -> NDArray[np.float32]:
    """Interpolate pixels bilinearly from those that are not missing.

    A pixel is missing if the stored pixel in which its centre lies is: values do not reach
    into what is missing, and nothing is lost next to it. Where pixels become coarser, the
    kernel becomes as wide as they are.

    Args:
        stored: Pixels of shape ``(bands, height, width)``, NaN where missing.
        corner: Row and column of the first of them.
        window: ``(row, column, height, width)`` to give, in stored pixels.
        shape: Rows and columns to give it.

    Returns:
        Pixels of shape ``(bands, *shape)``, NaN where missing and outside *stored*.
    """
    out = np.full((len(stored), *shape), np.nan, np.float32)
    valid = np.isfinite(stored)
    weights, inside, places = [], [], []
    for start, size, count, first, limit in zip(
        window[:2], window[2:], shape, corner, stored.shape[1:], strict=True
    ):
        centres = start - first + (np.arange(count) + 0.5) * size / count
        apart = np.abs(centres[:, None] - (np.arange(limit) + 0.5))
        weights.append(np.maximum(0, 1 - apart / max(1.0, size / count)))
        place = np.floor(centres).astype(np.int64)
        inside.append(np.flatnonzero((place >= 0) & (place < limit)))
        places.append(place[inside[-1]])
    down, across = weights
    sums = down @ np.where(valid, stored, 0).astype(np.float64) @ across.T
    shares = down @ valid.astype(np.float64) @ across.T
    kept = np.zeros(out.shape, np.bool_)
    kept[:, inside[0][:, None], inside[1]] = valid[:, places[0][:, None], places[1]]
    return np.divide(sums, shares, out=out, where=kept, casting='same_kind')


@contextmanager
def in_memory(
    pixels: NDArray[np.float32],
    transform: Affine,
    nodata: float,
    crs: CRS | None = None,
) -> Generator[DatasetReader]:
    """Have pixels as a file, whose pixels GDAL can resample.

    Args:
        pixels: Pixels of shape ``(bands, height, width)``.
        transform: Their grid.
        nodata: Value of missing ones.
        crs: CRS of the grid.
    """
    bands, height, width = pixels.shape
    with MemoryFile() as memory:
        with memory.open(
            driver='GTiff',
            count=bands,
            height=height,
            width=width,
            dtype='float32',
            crs=None if crs is None else crs.to_wkt(),
            transform=transform,
            nodata=nodata,
        ) as file:
            file.write(pixels)
        with memory.open() as file:
            yield file


def resampled(
    stored: NDArray[np.float32],
    corner: tuple[int, int],
    window: Window,
    shape: tuple[int, int],
    how: Resampling,
    types: Sequence[str],
) -> NDArray[np.float32]:
    """Resample pixels in memory as GDAL does those of a file, and never from its overviews.

    Args:
        stored: Pixels of shape ``(bands, height, width)``, NaN where missing.
        corner: Row and column of the first of them.
        window: Columns and rows to give, in stored pixels.
        shape: Rows and columns to give them.
        how: The kernel.
        types: NumPy type of each band in its file; whole numbers stay whole.

    Returns:
        Pixels of shape ``(bands, *shape)``, made of those that are not missing; of any value
        where the stored pixel is missing in which their centre lies.
    """
    bands = len(stored)
    top, left = window.row_off - corner[0], window.col_off - corner[1]
    area = Window(left, top, window.width, window.height)  # ty: ignore[too-many-positional-arguments]
    # A value, because NaN next to a pixel spoils it under wide kernels.
    filled = np.where(np.isfinite(stored), stored, _MISSING)
    # A file without any grid is warned of.
    with in_memory(filled, Affine.scale(2, -2), _MISSING) as file:
        options = {'window': area, 'out_shape': (bands, *shape)}
        out = file.read(resampling=how, **options)
        # Kernels with negative weights may add up to nothing.
        lost = out == _MISSING
        if lost.any():
            out[lost] = file.read(resampling=Resampling.nearest, **options)[lost]
    whole = [np.issubdtype(np.dtype(kind), np.integer) for kind in types]
    out[whole] = np.floor(out[whole] + np.float32(0.5))
    return out
