"""Windows of a scene: read on its own grid, or warped into a stated CRS."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from torchgeo_cmr.datasets.blocks import Block, touched
from torchgeo_cmr.datasets.kept import Kept
from torchgeo_cmr.datasets.layout import Layout, Marks
from torchgeo_cmr.datasets.scene import Scene, apply, reopen
from torchgeo_cmr.datasets.strips import strips
from torchgeo_cmr.errors import RasterError

#: Row and column on the scene's grid where some pixels begin, and the pixels as the file has
#: them.
type Piece = tuple[int, int, NDArray[Any], Marks]

#: Windows that need a piece, channels of the result that it fills, and what reads it.
type Task = tuple[Sequence[int], list[int], Callable[[], Piece]]


class SceneReader:
    """Reads windows of one scene; threads may share it.

    Files are opened on first use.

    Args:
        scene: What to read.
        kept: Open files, blocks and threads of readers that belong together (default: its
            own).

    .. versionadded:: 0.1
    """

    def __init__(self, scene: Scene, kept: Kept | None = None) -> None:
        """Initialize a new SceneReader instance."""
        self.scene = scene
        self.kept = kept or Kept()
        self._layouts: dict[str, Layout] = {}

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
        (window,) = self.windows([bounds])
        row, column, height, width = window.tolist()
        return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]

    def windows(
        self, bounds: Sequence[tuple[float, float, float, float]]
    ) -> NDArray[np.int64]:
        """Return the windows of many bounds.

        Args:
            bounds: As for one.

        Returns:
            ``(row, column, height, width)``, int64 of shape ``(n, 4)``.
        """
        xmin, ymin, xmax, ymax = np.array(bounds, np.float64).reshape(-1, 4).T
        xres, yres = self.scene.res
        column, row = apply(~self.scene.transform, xmin, ymax)
        height = np.maximum(1, np.round((ymax - ymin) / yres))
        width = np.maximum(1, np.round((xmax - xmin) / xres))
        places = np.stack([np.round(row), np.round(column), height, width], axis=1)
        return places.astype(np.int64)

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

        Every value is the one that :meth:`read` gives. Blocks are decoded on all cores, and
        those that were used last are kept for the next call.

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
        return self.start(windows, bands)()

    def start(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None = None
    ) -> Callable[[], NDArray[np.float32]]:
        """Begin what :meth:`read_many` does, and go on with something else.

        Args:
            windows: As there.
            bands: As there.

        Returns:
            What waits for the pixels and gives them.

        Raises:
            RasterError: If a file cannot be opened.
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

        def cut(
            inside: Sequence[int], channels: list[int], read: Callable[[], Piece]
        ) -> None:
            top, left, pixels, marks = read()
            origin = np.array([top, left])
            low = np.maximum(starts[inside], origin)
            high = np.minimum(ends[inside], origin + pixels.shape[1:])
            here = np.hstack([low, high]) - np.tile(origin, 2)
            there = np.hstack([low, high]) - np.tile(starts[inside], 2)
            for i, (y, x, y_end, x_end), (row, column, bottom, right) in zip(
                inside, here.tolist(), there.tolist(), strict=True
            ):
                part = pixels[:, y:y_end, x:x_end]
                _fill(out[i, :, row:bottom, column:right], channels, part, marks)

        threads = self.kept.threads
        tasks = [threads.submit(cut, *task) for task in self._tasks(windows, bands)]

        def finish() -> NDArray[np.float32]:
            wait(tasks)
            for task in tasks:
                task.result()
            return out

        return finish

    def _tasks(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None
    ) -> Iterator[Task]:
        """Read what some windows need, file by file: its blocks, or strips of it."""
        for path, channels, indexes in self._files(bands):
            layout = self._layout(path)
            size = layout.size(indexes)
            if size is None or not self.kept.blocks.fit(size):
                for (top, left, rows, columns), inside in strips(windows):
                    area = Window(left, top, columns, rows)  # ty: ignore[too-many-positional-arguments]
                    read = partial(self._strip, path, indexes, area)
                    yield inside.tolist(), channels, read
                continue
            needed = touched(windows, layout.shape, layout.unit)
            keys = {(path, *indexes, *place): size for place in needed}
            blocks = self.kept.blocks.take(keys)
            for (place, inside), block in zip(needed.items(), blocks, strict=True):
                read = partial(self._block, block, path, indexes, place)
                yield inside, channels, read

    def _strips(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None
    ) -> Iterator[Task]:
        """Read strips of all bands in one go, as readers of other things than files do."""
        count = len(self.scene.bands if bands is None else bands)

        def read(area: Window) -> Piece:
            return area.row_off, area.col_off, self.read(area, bands), []

        for (top, left, rows, columns), inside in strips(windows):
            area = Window(left, top, columns, rows)  # ty: ignore[too-many-positional-arguments]
            yield inside.tolist(), [*range(count)], partial(read, area)

    def _block(
        self, block: Block, path: str, indexes: list[int], place: tuple[int, int]
    ) -> Piece:
        """Pixels of a block, decoded unless they are kept."""
        layout, (top, left) = self._layout(path), place
        height, width = np.minimum(layout.unit, np.subtract(layout.shape, place))
        area = Window(left, top, int(width), int(height))  # ty: ignore[too-many-positional-arguments]

        def decode() -> NDArray[Any]:
            try:
                with self._borrow(path) as source:
                    return source.read(indexes, window=area)
            except RasterioIOError as error:
                raise _damaged(path) from error

        return top, left, block.pixels(decode), layout.marks

    def _strip(self, path: str, indexes: list[int], area: Window) -> Piece:
        """Pixels of a strip, moved or masked as the file wants it."""
        shape = int(area.height), int(area.width)
        read = self._read_file(path, indexes, area, shape)
        return int(area.row_off), int(area.col_off), *read

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

    def _layout(self, path: str) -> Layout:
        """How a file stores its pixels; looked up once."""
        if path not in self._layouts:
            with self._borrow(path) as source:
                self._layouts[path] = Layout.of(source, self.scene)
        return self._layouts[path]

    def _borrow(self, path: str) -> AbstractContextManager[Any]:
        """Lend a handle of a file, warped if the scene is."""
        scene = self.scene
        grid = (scene.transform, scene.shape) if scene.warped else None

        def open_file() -> Any:
            source = reopen(path)
            if not scene.warped:
                return source
            rows, columns = scene.shape
            return WarpedVRT(
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

        return self.kept.handles.borrow((path, grid), open_file)

    def _read_file(
        self, path: str, indexes: list[int], window: Window, shape: tuple[int, int]
    ) -> tuple[NDArray[Any], Marks]:
        """Pixels as the file has them, and which values mark missing ones besides NaN."""
        layout = self._layout(path)
        own_grid = layout.shape == self.scene.shape
        resampling = Resampling.nearest
        if not own_grid:
            rows = layout.shape[0] / self.scene.shape[0]
            columns = layout.shape[1] / self.scene.shape[1]
            window = Window(
                window.col_off * columns,  # ty: ignore[too-many-positional-arguments]
                window.row_off * rows,
                window.width * columns,
                window.height * rows,
            )
            resampling = Resampling.bilinear
        part, place = _clip(window, layout.shape, shape)
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
            with self._borrow(path) as source:
                # Only a plain nodata value can be told from the pixels; masks must be read.
                if layout.masked:
                    data = source.read(indexes, masked=True, **options)
                    pixels = np.ma.filled(data.astype(np.float32), np.nan)
                else:
                    pixels = source.read(indexes, **options)
        except RasterioIOError as error:
            raise _damaged(path) from error
        if pixels.shape == full:
            return pixels, layout.marks
        out = np.full(full, np.nan, np.float32)
        _fill(out[:, rows, columns], [*range(len(out))], pixels, layout.marks)
        return out, []


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
