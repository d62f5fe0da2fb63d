"""Windows of a scene: read on its own grid, or warped into a stated CRS."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from torchgeo_cmr.datasets.ahead import ahead
from torchgeo_cmr.datasets.cores import cores, environment
from torchgeo_cmr.datasets.kept import Kept
from torchgeo_cmr.datasets.scene import Scene, apply, open_raster
from torchgeo_cmr.datasets.strips import strips
from torchgeo_cmr.errors import RasterError

#: Values that mark missing pixels, besides NaN.
type Marks = list[float]

#: Channels of a result, the row and column on the scene's grid where their pixels begin, and
#: the pixels as the file has them.
type Part = tuple[list[int], int, int, NDArray[Any], Marks]


class SceneReader:
    """Reads windows of one scene, keeping one open handle a file.

    Handles are opened on first use. Not safe to share between threads, and neither are
    readers that share what they keep.

    Args:
        scene: What to read.
        kept: Open files and blocks of readers that take turns (default: its own).

    .. versionadded:: 0.1
    """

    def __init__(self, scene: Scene, kept: Kept | None = None) -> None:
        """Initialize a new SceneReader instance."""
        self.scene = scene
        self.kept = kept or Kept()

    def __reduce__(self) -> tuple[Any, ...]:
        """Open anew in another process."""
        return type(self), (self.scene, self.kept)

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
        for path, channels, indexes in self._files(bands):
            _fill(out, channels, *self._read_file(path, indexes, window, shape))
        return out

    def read_many(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Read windows of one size, each block of pixels once.

        Every value is the one that :meth:`read` gives. The files are gone through in the
        order in which they store their pixels, and blocks are decoded on all cores. Blocks
        that were used last are kept for the next call.

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
        out = self.kept.spare.empty((len(windows), count, height, width), np.float32)
        starts, ends = windows[:, :2], windows[:, :2] + windows[:, 2:]
        out[((starts < 0) | (ends > self.scene.shape)).any(axis=1)] = np.nan

        for channels, top, left, pixels, marks in self._parts(windows, bands):
            origin = np.array([top, left])
            low = np.maximum(starts, origin)
            high = np.minimum(ends, origin + pixels.shape[1:])
            for i in np.flatnonzero((low < high).all(axis=1)):
                here, there = (
                    tuple(slice(*s) for s in np.c_[low[i] - o, high[i] - o])
                    for o in (origin, starts[i])
                )
                _fill(out[i][:, *there], channels, pixels[:, *here], marks)
        return out

    def _parts(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None
    ) -> Iterator[Part]:
        """Read what some windows need, file by file: its blocks, or strips of it."""
        for path, channels, indexes in self._files(bands):
            source = self._handle(path)
            blocks = self.kept.blocks
            if self._plain(source) and blocks.fit(source, indexes):
                marks = self._marks(source)
                open_file = partial(self._handle, path)
                try:
                    for piece in blocks.pieces(path, open_file, indexes, windows):
                        yield channels, *piece, marks
                except RasterioIOError as error:
                    raise _damaged(path) from error
                continue
            yield from _ahead(self._strips_of(path, channels, indexes, windows))

    def _strips_of(
        self,
        path: str,
        channels: list[int],
        indexes: list[int],
        windows: NDArray[np.int64],
    ) -> Iterator[Part]:
        """Read strips of one file."""
        with environment(cores()):
            for (top, left, rows, columns), _ in strips(windows):
                area = Window(left, top, columns, rows)  # ty: ignore[too-many-positional-arguments]
                read = self._read_file(path, indexes, area, (rows, columns))
                yield channels, top, left, *read

    def _strips(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None
    ) -> Iterator[Part]:
        """Read strips of all bands in one go, as readers of other things than files do."""
        for (top, left, rows, columns), _ in strips(windows):
            area = Window(left, top, columns, rows)  # ty: ignore[too-many-positional-arguments]
            pixels = self.read(area, bands)
            yield [*range(len(pixels))], top, left, pixels, []

    def _files(
        self, bands: Sequence[int] | None
    ) -> Iterator[tuple[str, list[int], list[int]]]:
        """Give each file once: its path, channels of the result and bands in the file."""
        chosen = range(len(self.scene.bands)) if bands is None else bands
        files: dict[str, tuple[list[int], list[int]]] = {}
        for channel, position in enumerate(chosen):
            path, index = self.scene.sources[position]
            channels, indexes = files.setdefault(path, ([], []))
            channels.append(channel)
            indexes.append(index)
        for path, (channels, indexes) in files.items():
            yield path, channels, indexes

    def _plain(self, source: Any) -> bool:
        """Say whether pixels are taken as they are stored: not moved, no mask beside."""
        own_grid = source.shape == self.scene.shape and not self.scene.warped
        return own_grid and not _masked(source)

    def _marks(self, source: Any) -> Marks:
        """Values that mark missing pixels of a file, in its own type if they fit it."""
        given = {float(m) for m in (self.scene.nodata, source.nodata) if m is not None}
        marks = [mark for mark in given if not np.isnan(mark)]
        if np.issubdtype(np.dtype(source.dtypes[0]), np.integer):
            # Whole numbers are compared without a detour through float64.
            return [int(mark) if mark.is_integer() else mark for mark in marks]
        return marks

    def _handle(self, path: str, number: int = 0) -> Any:
        """Open a file, or give the handle that is open; threads have one each."""
        scene, handles = self.scene, self.kept.handles
        grid = (scene.transform, scene.shape) if scene.warped else None
        key = (path, number, grid)
        source = handles.get(key)
        if source is not None:
            return source
        source = open_raster(path)
        if scene.warped:
            rows, columns = scene.shape
            source = WarpedVRT(
                source,
                crs=scene.crs.to_wkt(),
                transform=scene.transform,
                height=rows,
                width=columns,
                resampling=Resampling.bilinear,
                src_nodata=scene.nodata,
                # What lies outside the source, or is masked in it, comes out as NaN.
                nodata=np.nan,
                dtype='float32',
            )
        return handles.put(key, source)

    def _read_file(
        self, path: str, indexes: list[int], window: Window, shape: tuple[int, int]
    ) -> tuple[NDArray[Any], Marks]:
        """Pixels as the file has them, and which values mark missing ones besides NaN."""
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
            return np.full(full, np.nan, np.float32), []
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
        try:
            # Only a plain nodata value can be told from the pixels; masks must be read.
            if _masked(source):
                data = source.read(indexes, masked=True, **options)
                pixels = np.ma.filled(data.astype(np.float32), np.nan)
            else:
                pixels = source.read(indexes, **options)
        except RasterioIOError as error:
            raise _damaged(path) from error
        marks = self._marks(source)
        if pixels.shape == full:
            return pixels, marks
        out = np.full(full, np.nan, np.float32)
        _fill(out[:, rows, columns], [*range(len(out))], pixels, marks)
        return out, []


def _ahead(parts: Iterator[Part]) -> Iterator[Part]:
    """While patches are cut out of one part, the next is decoded."""
    with ThreadPoolExecutor(1, thread_name_prefix='torchgeo_cmr-strips') as pool:
        yield from ahead(parts, pool)


def _masked(source: Any) -> bool:
    """Say whether a file has a mask beside its bands."""
    return MaskFlags.per_dataset in source.mask_flag_enums[0]


def _damaged(path: str) -> RasterError:
    return RasterError(f'{path} is damaged or truncated: fetch the file again')


def _fill(
    out: NDArray[np.float32], channels: list[int], pixels: NDArray[Any], marks: Marks
) -> None:
    """Copy pixels of any type into some channels, and NaN where they are missing."""
    chosen = slice(None) if len(channels) == len(out) else channels
    out[chosen] = pixels
    if marks:
        # Compared before the cast: float32 cannot hold every value.
        missing = np.any([pixels == mark for mark in marks], axis=0)
        if missing.any():
            out[chosen] = np.where(missing, np.nan, pixels)


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
