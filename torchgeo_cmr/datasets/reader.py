"""Windows of a scene: read on its own grid, or warped into a stated CRS."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from torchgeo_cmr.datasets.ahead import ahead
from torchgeo_cmr.datasets.scene import Scene, apply, open_raster
from torchgeo_cmr.datasets.strips import strips
from torchgeo_cmr.errors import RasterError

#: Bytes of decoded blocks that GDAL may keep: 12 bands of 512 rows of 10980 are 129 MiB.
#: Bytes, because rasterio hands a small number on as bytes, not as the MiB of GDAL's own setting.
_CACHE = 512 * 2**20

#: Channels of a result, their pixels as the file has them, and which of them are missing.
type Part = tuple[list[int], NDArray[Any], NDArray[np.bool_] | None]


class SceneReader:
    """Reads windows of one scene, keeping one open handle a file.

    Handles are opened on first use and left behind when the reader is pickled or its
    process forks: two processes that read through one would move each other's place in the
    file. Not safe to share between threads.

    Args:
        scene: What to read.

    .. versionadded:: 0.1
    """

    def __init__(self, scene: Scene) -> None:
        """Initialize a new SceneReader instance."""
        self.scene = scene
        self._handles: dict[str, Any] = {}
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind."""
        return {'scene': self.scene, '_handles': {}, '_process': 0}

    def window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the whole-pixel window nearest to some bounds.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` in the CRS of the scene.

        Returns:
            Window whose size depends only on the size of the bounds, not on their place.
        """
        xmin, ymin, xmax, ymax = bounds
        xres, yres = self.scene.res
        column, row = apply(~self.scene.transform, xmin, ymax)
        width = max(1, round((xmax - xmin) / xres))
        height = max(1, round((ymax - ymin) / yres))
        return Window(round(column), round(row), width, height)  # ty: ignore[too-many-positional-arguments]

    def read(
        self,
        window: Window,
        bands: Sequence[int] | None = None,
        out_shape: tuple[int, int] | None = None,
    ) -> NDArray[np.float32]:
        """Read pixels.

        Bands whose file has a coarser or finer grid are resampled bilinearly to the
        scene's grid. A window may hang over the edge; what lies outside is missing.

        Args:
            window: Columns and rows on the scene's grid.
            bands: Positions in ``scene.bands`` to read (default: all).
            out_shape: Rows and columns to return (default: those of the window), taking
                the nearest pixel: for overviews, not for training.

        Returns:
            Pixels of shape ``(bands, height, width)``, NaN where missing.

        Raises:
            RasterError: If a file cannot be read to its end.
        """
        shape = out_shape or (int(window.height), int(window.width))
        count = len(self.scene.bands if bands is None else bands)
        out = np.empty((count, *shape), np.float32)
        for part in self._parts(window, bands, shape):
            _fill(out, *part)
        return out

    def read_many(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Read windows of one size, those side by side in one go.

        Every value is the one that :meth:`read` gives. The files are gone through in the
        order in which they store their pixels, and the blocks of a strip are decoded on
        all cores.

        Args:
            windows: ``(row, column, height, width)`` on the scene's grid, int64 of shape
                ``(n, 4)``, in any order; they may overlap.
            bands: Positions in ``scene.bands`` to read (default: all).

        Returns:
            Pixels of shape ``(n, bands, height, width)``, NaN where missing, in the order
            of *windows*.

        Raises:
            RasterError: If a file cannot be read to its end.
            ValueError: If the windows differ in size.
        """
        sizes = np.unique(windows[:, 2:], axis=0)
        if len(sizes) > 1:
            raise ValueError(f'windows of {len(sizes)} sizes: read one size at a time')
        height, width = sizes[0] if len(sizes) else (0, 0)
        count = len(self.scene.bands if bands is None else bands)
        out = np.empty((len(windows), count, height, width), np.float32)

        def steps() -> Iterator[tuple[Any, ...]]:
            with threads():
                for (top, left, rows, columns), inside in strips(windows):
                    area = Window(left, top, columns, rows)  # ty: ignore[too-many-positional-arguments]
                    places = [
                        *zip(inside, windows[inside, :2] - (top, left), strict=True)
                    ]
                    for part in self._parts(area, bands, (rows, columns)):
                        yield places, *part

        # While one strip is cut into patches, the next is decoded.
        with ThreadPoolExecutor(1, thread_name_prefix='torchgeo_cmr-strips') as pool:
            for places, channels, pixels, missing in ahead(steps(), pool):
                for i, (row, column) in places:
                    cut = slice(row, row + height), slice(column, column + width)
                    gone = None if missing is None else missing[:, *cut]
                    _fill(out[i], channels, pixels[:, *cut], gone)
        return out

    def _parts(
        self, window: Window, bands: Sequence[int] | None, shape: tuple[int, int]
    ) -> Iterator[Part]:
        """Read a window file by file, each once."""
        chosen = range(len(self.scene.bands)) if bands is None else bands
        files: dict[str, tuple[list[int], list[int]]] = {}
        for channel, position in enumerate(chosen):
            path, index = self.scene.sources[position]
            channels, indexes = files.setdefault(path, ([], []))
            channels.append(channel)
            indexes.append(index)
        for path, (channels, indexes) in files.items():
            yield channels, *self._read_file(path, indexes, window, shape)

    def _handle(self, path: str) -> Any:
        if self._process != os.getpid():
            self._handles, self._process = {}, os.getpid()
        if path not in self._handles:
            source = open_raster(path)
            if self.scene.warped:
                rows, columns = self.scene.shape
                source = WarpedVRT(
                    source,
                    crs=self.scene.crs.to_wkt(),
                    transform=self.scene.transform,
                    height=rows,
                    width=columns,
                    resampling=Resampling.bilinear,
                    src_nodata=self.scene.nodata,
                    # What lies outside the source, or is masked in it, comes out as NaN.
                    nodata=np.nan,
                    dtype='float32',
                )
            self._handles[path] = source
        return self._handles[path]

    def _read_file(
        self, path: str, indexes: list[int], window: Window, shape: tuple[int, int]
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Pixels as the file has them, and which are missing besides NaN."""
        source = self._handle(path)
        own_grid = source.shape == self.scene.shape
        resampling = Resampling.nearest
        if not own_grid:
            rows = source.height / self.scene.shape[0]
            columns = source.width / self.scene.shape[1]
            window = Window(
                window.col_off * columns,  # ty: ignore[too-many-positional-arguments]
                window.row_off * rows,
                window.width * columns,
                window.height * rows,
            )
            resampling = Resampling.bilinear
        part, place = _clip(window, source.shape, shape)
        full = (len(indexes), *shape)
        if part is None:
            return np.full(full, np.nan, np.float32), None
        rows, columns = place
        options: dict[str, Any] = {
            'window': part,
            'out_shape': (
                len(indexes),
                rows.stop - rows.start,
                columns.stop - columns.start,
            ),
            'resampling': resampling,
        }
        # Only a plain nodata value can be told from the pixels; masks must be read.
        marks = {self.scene.nodata, source.nodata} - {None}
        masked = MaskFlags.per_dataset in source.mask_flag_enums[0]
        try:
            if masked:
                data = source.read(indexes, masked=True, **options)
                pixels = np.ma.filled(data.astype(np.float32), np.nan)
            else:
                pixels = source.read(indexes, **options)
        except RasterioIOError as error:
            raise RasterError(
                f'{path} is damaged or truncated at {window}: fetch the file again'
            ) from error
        # The value is compared before the cast: float32 cannot hold every nodata value.
        missing = np.any([pixels == mark for mark in marks], axis=0) if marks else None
        if pixels.shape == full:
            return pixels, missing
        out = np.full(full, np.nan, np.float32)
        inside = out[:, rows, columns]
        _fill(inside, slice(None), pixels, missing)
        return out, None


def _fill(
    out: NDArray[np.float32],
    channels: list[int] | slice,
    pixels: NDArray[Any],
    missing: NDArray[np.bool_] | None,
) -> None:
    """Copy pixels of any type into some channels, and NaN where they are missing."""
    if channels == list(range(len(out))):
        channels = slice(None)
    out[channels] = pixels
    if missing is not None and missing.any():
        out[channels] = np.where(missing, np.nan, pixels)


def threads() -> rasterio.Env:
    """Let GDAL decode the blocks of each read on all cores, while the context lasts.

    A loader's worker keeps to its own core: GDAL's threads do not survive a fork, and the
    first read would wait for them for ever. GDAL would keep decoded blocks in a twentieth
    of all memory; unless the environment says otherwise, it gets what a row of blocks of a
    large scene needs (GDAL asks once, at the first read of a process).
    """
    child = multiprocessing.parent_process() is not None
    cache = {} if 'GDAL_CACHEMAX' in os.environ else {'GDAL_CACHEMAX': _CACHE}
    return rasterio.Env(GDAL_NUM_THREADS='1' if child else 'ALL_CPUS', **cache)


def _clip(
    window: Window, grid: tuple[int, int], shape: tuple[int, int]
) -> tuple[Window | None, tuple[slice, slice]]:
    """Cut a window to the grid; say where its pixels go in the array of ``shape``."""
    spans, places = [], []
    for start, size, limit, pixels in (
        (window.row_off, window.height, grid[0], shape[0]),
        (window.col_off, window.width, grid[1], shape[1]),
    ):
        low, high = max(start, 0), min(start + size, limit)
        if high <= low:
            return None, (slice(0), slice(0))
        first = round((low - start) / size * pixels)
        last = max(first + 1, round((high - start) / size * pixels))
        spans.append((low, high - low))
        places.append(slice(first, last))
    (top, height), (left, width) = spans
    cut = Window(left, top, width, height)  # ty: ignore[too-many-positional-arguments]
    return cut, (places[0], places[1])
