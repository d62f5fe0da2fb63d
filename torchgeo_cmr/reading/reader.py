"""Windows of a scene: read on its own grid, or warped into a stated CRS."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from itertools import batched
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.errors import RasterioIOError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from torchgeo_cmr.errors import CMRError, RasterError
from torchgeo_cmr.rasters.orientation import upright
from torchgeo_cmr.reading.cache import Block, Cache, touched
from torchgeo_cmr.reading.file_groups import FileGroup, Source, grouped
from torchgeo_cmr.reading.longitudes import readable
from torchgeo_cmr.reading.nodata import Marks, masked_copy, missing
from torchgeo_cmr.reading.resampling import (
    MARGIN,
    below,
    interpolate,
    nearest,
    resampled,
)
from torchgeo_cmr.reading.storage import Storage, alpha_taken
from torchgeo_cmr.reading.threads import decoders, threads
from torchgeo_cmr.reading.windows import Cut, cuts, sizes, strips
from torchgeo_cmr.scenes.header import Header, file_settings, read_header, reopen
from torchgeo_cmr.scenes.remote_files import RemoteFile, fetched, fetchers
from torchgeo_cmr.scenes.scales import changes
from torchgeo_cmr.scenes.scene import Scene, apply

#: Pixels as the file has them, and which values of each band mean missing besides NaN.
type Piece = tuple[NDArray[Any], Sequence[Marks]]


#: Part of a pixel by which GDAL may miss the place of a pixel while warping.
_TOLERANCE = 0.01


class Task(NamedTuple):
    """A piece of the scene that some windows need."""

    #: ``(row, column, height, width)`` on the scene's grid.
    area: tuple[int, int, int, int]
    #: Positions of the windows; files that are stored alike share the list of one area.
    inside: list[int]
    #: Channels of the result.
    channels: list[int]
    #: Gives the pixels.
    read: Callable[[], Piece]
    #: Factor and shift of each of the channels; None if numbers stay as they are read.
    changes: list[tuple[float, float]] | None = None
    #: Whether the pixels are decoded already, so that only copying is left.
    decoded: bool = False


class SceneReader:
    """Reads windows of one scene; threads may share it.

    Files are opened on first use.

    Args:
        scene: What to read.
        cache: Open files and blocks of readers that belong together (default: its own).
    """

    def __init__(self, scene: Scene, cache: Cache | None = None) -> None:
        """Initialize a new SceneReader instance."""
        self.scene = scene
        self.cache = cache or Cache()
        self._storages: dict[str, Storage] = {}
        self._changes = changes(scene.scales, scene.steps)
        self._remote = scene.remote
        #: Bands -> what :meth:`_groups` gives for them.
        self._grouped: dict[Any, list[FileGroup]] = {}
        #: Files that were opened for reading.
        self._begun: set[str] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        """Open anew in another process."""
        return type(self), (self.scene, self.cache)

    def window(self, bounds: tuple[float, float, float, float]) -> Window:
        """Return the whole-pixel window nearest to some bounds.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` in the CRS of the scene.

        Returns:
            Window whose size depends only on the size of the bounds, not on their place.
        """
        return _window(self.place(bounds))

    def place(
        self, bounds: tuple[float, float, float, float]
    ) -> tuple[int, int, int, int]:
        """Return the window of one pair of bounds as plain numbers.

        What :meth:`windows` gives for many takes thirty times as long for one.

        Args:
            bounds: As for :meth:`window`.

        Returns:
            ``(row, column, height, width)``.
        """
        xmin, ymin, xmax, ymax = bounds
        inverse, (xres, yres) = self._grid
        column, row = apply(inverse, xmin, ymax)
        height, width = round((ymax - ymin) / yres), round((xmax - xmin) / xres)
        return round(row), round(column), max(1, height), max(1, width)

    @cached_property
    def _grid(self) -> tuple[Affine, tuple[float, float]]:
        """From coordinates to pixels, and the size of a pixel."""
        return ~self.scene.transform, self.scene.res

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
        inverse, (xres, yres) = self._grid
        column, row = apply(inverse, xmin, ymax)
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
        if self._remote:
            return fetched(partial(self._read, window, bands, out_shape))
        return self._read(window, bands, out_shape)

    def _read(
        self,
        window: Window,
        bands: Sequence[int] | None,
        out_shape: tuple[int, int] | None,
    ) -> NDArray[np.float32]:
        shape = out_shape or (int(window.height), int(window.width))
        count = len(self.scene.bands if bands is None else bands)
        out = np.empty((count, *shape), np.float32)
        for path, channels, indexes in self._files(bands):
            _fill(out, channels, *self._read_file(path, indexes, window, shape))
        return self._scaled(out, bands)

    def _scaled(
        self, pixels: NDArray[np.float32], bands: Sequence[int] | None
    ) -> NDArray[np.float32]:
        """Change stored numbers of some bands into those that are read, in place."""
        if self._changes is not None:
            chosen = range(len(pixels)) if bands is None else bands
            _change(pixels, [*range(len(pixels))], [self._changes[i] for i in chosen])
        return pixels

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
        found = sizes(windows)
        if len(found) > 1:
            raise ValueError(f'windows of {len(found)} sizes: read one size at a time')
        height, width = found[0] if len(found) else (0, 0)
        count = len(self.scene.bands if bands is None else bands)
        out = np.empty((len(windows), count, height, width), np.float32)
        starts, ends = windows[:, :2], windows[:, :2] + windows[:, 2:]
        out[((starts < 0) | (ends > self.scene.shape)).any(axis=1)] = np.nan

        if self._remote:
            self._open_first(bands)
        tasks = [*self._tasks(windows, bands)]
        areas = {id(task.inside): task for task in tasks}
        pieces, inside = (
            [t.area for t in areas.values()],
            [*map(_inside, areas.values())],
        )
        places = dict(zip(areas, cuts(windows, pieces, inside), strict=True))

        def fill(job: Sequence[Task]) -> None:
            for task in job:
                _assemble(out, task, places[id(task.inside)])

        pool = fetchers() if self._remote else threads()
        coming = [pool.submit(fill, job) for job in _jobs(tasks)]

        def finish() -> NDArray[np.float32]:
            wait(coming)
            for done in coming:
                done.result()
            return out

        return finish

    def _open_first(self, bands: Sequence[int] | None) -> None:
        """Open each file once: many threads that open it at once would all fetch its header."""

        def opened(path: str) -> None:
            with suppress(CMRError), self._borrow(path):
                pass  # what cannot be opened is refused when it is read

        paths = {path for path, *_ in self._files(bands)} - self._begun
        self._begun |= paths
        wait([fetchers().submit(opened, path) for path in paths])

    def _tasks(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None
    ) -> Iterator[Task]:
        """Read what some windows need: blocks of files that are stored alike, or strips of one."""
        places: dict[tuple[Any, ...], dict[tuple[int, int], list[int]]] = {}
        for files in self._groups(bands):
            how = None
            if self._changes is not None:
                chosen = range(len(self.scene.bands)) if bands is None else bands
                how = [self._changes[chosen[i]] for i in files.channels]
            if files.size is None:
                ((path, channels, indexes),) = files.sources
                for strip, inside in strips(windows):
                    read = partial(self._strip, path, indexes, strip)
                    yield Task(strip, inside.tolist(), channels, read, how)
                continue
            shape, unit = files.stored
            if files.stored not in places:
                places[files.stored] = touched(windows, shape, unit)
            needed = places[files.stored]
            keys = {(files.key, *place): files.size for place in needed}
            blocks = self.cache.blocks.take(keys)
            for ((top, left), inside), block in zip(
                needed.items(), blocks, strict=True
            ):
                height = min(unit[0], shape[0] - top)
                area = top, left, height, min(unit[1], shape[1] - left)
                read = partial(self._block, block, files, area)
                yield Task(area, inside, files.channels, read, how, block.decoded)

    def _strips(
        self, windows: NDArray[np.int64], bands: Sequence[int] | None
    ) -> Iterator[Task]:
        """Read strips of all bands in one go, as readers of other things than files do."""
        count = len(self.scene.bands if bands is None else bands)

        def read(strip: tuple[int, int, int, int]) -> Piece:
            return self.read(_window(strip), bands), [()] * count

        for strip, inside in strips(windows):
            yield Task(strip, inside.tolist(), [*range(count)], partial(read, strip))

    def _block(
        self, block: Block, files: FileGroup, area: tuple[int, int, int, int]
    ) -> Piece:
        """Pixels of a block, decoded unless they are kept."""

        def decode(path: str, indexes: list[int]) -> NDArray[Any]:
            return _complete(path, partial(self._decode, path, indexes, area))

        pixels = block.pixels(partial(files.read, decode, threads()))
        # Looked at once per block, not for every window that is cut out of it.
        return pixels, () if block.is_whole(files.marks) else files.marks

    def _decode(
        self, path: str, indexes: list[int], area: tuple[int, int, int, int]
    ) -> NDArray[Any]:
        with self._borrow(path) as source:
            return source.read(indexes, window=_window(area))

    def _strip(
        self, path: str, indexes: list[int], strip: tuple[int, int, int, int]
    ) -> Piece:
        """Pixels of a strip, moved or masked as the file wants it."""
        return self._read_file(path, indexes, _window(strip), strip[2:])

    def _files(self, bands: Sequence[int] | None) -> Iterator[Source]:
        """Give each file: its path, channels of the result and bands of one type in it."""
        return (source for group in self._groups(bands) for source in group.sources)

    def _groups(self, bands: Sequence[int] | None) -> list[FileGroup]:
        """Give the files in groups of those that are stored alike."""
        key = None if bands is None else tuple(bands)
        if key not in self._grouped:
            self._grouped[key] = grouped(
                [*self._list_files(bands)],
                self._storage,
                self.cache.blocks.fit,
                apart=self._remote,
            )
        return self._grouped[key]

    def _list_files(self, bands: Sequence[int] | None) -> Iterator[Source]:
        chosen = range(len(self.scene.bands)) if bands is None else bands
        files: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
        for channel, position in enumerate(chosen):
            path, index = self.scene.sources[position]
            kind = self._storage(path).types[index - 1]
            channels, indexes = files.setdefault((path, kind), ([], []))
            channels.append(channel)
            indexes.append(index)
        for (path, _), (channels, indexes) in files.items():
            yield path, channels, indexes

    def _storage(self, path: str) -> Storage:
        """How a file stores its pixels; looked up once."""
        if path not in self._storages:
            self._storages[path] = Storage.of(read_header(path), self.scene)
        return self._storages[path]

    @contextmanager
    def _borrow(
        self, path: str, resampling: Resampling | None = None
    ) -> Generator[Any]:
        """Lend a handle of a file, warped if the scene is."""
        scene = self.scene
        how = Resampling[scene.resampling] if resampling is None else resampling
        grid = (scene.transform, scene.shape, how) if scene.warped else None

        def open_file() -> Any:
            if not scene.warped:
                return upright(reopen(path))
            rows, columns = scene.shape
            header = read_header(path)
            return WarpedVRT(
                reopen(self._complete(header)),
                crs=scene.crs.to_wkt(),
                transform=scene.transform,
                height=rows,
                width=columns,
                resampling=how,
                src_nodata=np.nan,
                tolerance=_TOLERANCE,
                # What lies outside the source, or is missing in it, comes out as NaN.
                nodata=np.nan,
                dtype='float32',
                # Each band on its own: otherwise one that is missing spoils its neighbours.
                UNIFIED_SRC_NODATA='NO',
                **readable(header.crs, header.transform, header.shape),
            )

        # While pixels are read as well: virtual rasters open what they consist of then.
        with (
            file_settings(path),
            self.cache.handles.borrow((path, grid), open_file) as handle,
        ):
            yield handle

    def _complete(self, header: Header) -> str:
        """Name a file for the warper, in a form from which it knows what is missing."""
        storage, value = self._storage(header.path), self.scene.nodata
        # The warper takes an alpha band for a mask, whoever wants it as a band.
        if not (any(storage.masks) or any(storage.marks) or 'alpha' in header.colours):
            return header.path
        return masked_copy(header, not alpha_taken(header, self.scene), value)

    def _read_file(
        self, path: str, indexes: list[int], window: Window, shape: tuple[int, int]
    ) -> Piece:
        """Pixels of a window, at another number of rows and columns if the grid differs."""
        scene, storage = self.scene, self._storage(path)
        grid = scene.shape if scene.warped else storage.shape
        overview = shape != (int(window.height), int(window.width))
        if grid != scene.shape:
            rows, columns = (a / b for a, b in zip(grid, scene.shape, strict=True))
            window = Window(
                window.col_off * columns,  # ty: ignore[too-many-positional-arguments]
                window.row_off * rows,
                window.width * columns,
                window.height * rows,
            )
        part, place = _clip(window, grid, shape)
        full = (len(indexes), *shape)
        if part is None:
            return np.full(full, np.nan, np.float32), [()] * len(indexes)
        size = place[0].stop - place[0].start, place[1].stop - place[1].start
        if scene.warped:
            read = self._warped
        elif grid != scene.shape and not overview:
            read = self._resampled
        else:
            read = self._unmoved
        pixels, marks = _complete(path, partial(read, path, indexes, part, size))
        if pixels.shape == full:
            return pixels, marks
        out = np.full(full, np.nan, np.float32)
        _fill(out[:, *place], [*range(len(out))], pixels, marks)
        return out, [()] * len(indexes)

    def _unmoved(
        self, path: str, indexes: list[int], part: Window, size: tuple[int, int]
    ) -> Piece:
        """Pixels on the file's own grid; the nearest ones if *size* is not that of *part*."""
        storage = self._storage(path)
        options = {'window': part, 'out_shape': (len(indexes), *size)}
        marks = [storage.marks[i - 1] for i in indexes]
        with self._borrow(path) as source:
            pixels = source.read(indexes, **options)
            if not any(storage.masks[i - 1] for i in indexes):
                return pixels, marks
            valid = source.read_masks(indexes, **options) > 0
        valid[[not storage.masks[i - 1] for i in indexes]] = True
        out = np.empty(pixels.shape, np.float32)
        _fill(out, [*range(len(out))], pixels, marks)
        out[~valid] = np.nan
        return out, [()] * len(indexes)

    def _warped(
        self, path: str, indexes: list[int], part: Window, size: tuple[int, int]
    ) -> Piece:
        """Pixels on a grid in another CRS."""
        storage = self._storage(path)
        options = {'window': part, 'out_shape': (len(indexes), *size)}
        with self._borrow(path) as source:
            pixels = source.read(indexes, **options)
            whole = not any(storage.may_miss(i) for i in indexes) or (
                size == (part.height, part.width)
                and self._is_whole(path, indexes, part, source.src_dataset)
            )
        if not whole:
            # A pixel is missing if the one is in which its centre lies.
            with self._borrow(path, Resampling.nearest) as source:
                pixels[np.isnan(source.read(indexes, **options))] = np.nan
        return pixels, [()] * len(indexes)

    def _is_whole(
        self, path: str, indexes: list[int], part: Window, source: Any
    ) -> bool:
        """Say whether no pixel of a file is missing below a window in another CRS.

        The blocks were decoded a moment ago, so that looking is cheap. Outside the file the
        warper gives NaN, however it resamples.
        """
        window = part.row_off, part.col_off, part.height, part.width
        area = below(window, self.scene.transform, self.scene.crs, read_header(path))
        if area is None or 0 in area[2:]:
            return False
        return not np.isnan(source.read(indexes, window=_window(area))).any()

    def _resampled(
        self, path: str, indexes: list[int], part: Window, size: tuple[int, int]
    ) -> Piece:
        """Pixels on a grid with other pixels than the file has."""
        how = Resampling[self.scene.resampling]
        if how is Resampling.nearest:
            return self._nearest(path, indexes, part, size)
        storage = self._storage(path)
        known, corner = np.zeros(0, np.float32), (0, 0)
        may_miss = any(storage.may_miss(i) for i in indexes)
        from_reduced = self._has_reduced(path, indexes, part, size)
        if may_miss or from_reduced:
            known, corner = self._around(path, indexes, part, size)
        lost = np.isnan(known)
        if may_miss:
            floats = any(storage.types[i - 1].startswith('float') for i in indexes)
            mixed = lost.any() and (floats or not storage.alike)
            if mixed and how is Resampling.bilinear:
                window = part.row_off, part.col_off, part.height, part.width
                return interpolate(known, corner, window, size), [()] * len(indexes)
        wide = lost.any() and how is not Resampling.bilinear
        if wide or from_reduced:
            kinds = [storage.types[i - 1] for i in indexes]
            pixels = resampled(known, corner, part, size, how, kinds)
        else:
            with self._borrow(path) as source:
                pixels = source.read(
                    indexes,
                    window=part,
                    out_shape=(len(indexes), *size),
                    resampling=how,
                )
        if lost.any():
            pixels = pixels.astype(np.float32)
            pixels[_under_centres(lost, corner, part, size)] = np.nan
        return pixels, [()] * len(indexes)

    def _nearest(
        self, path: str, indexes: list[int], part: Window, size: tuple[int, int]
    ) -> Piece:
        """Pixels of the file in which those of a window have their centres."""
        if not self._has_reduced(path, indexes, part, size):
            return self._unmoved(path, indexes, part, size)
        known, corner = self._around(path, indexes, part, size)
        return _under_centres(known, corner, part, size), [()] * len(indexes)

    def _has_reduced(
        self, path: str, indexes: list[int], part: Window, size: tuple[int, int]
    ) -> bool:
        """Say whether GDAL would take pixels of an overview for a window.

        How those were made is not known: of every second pixel, or of classes that no pixel has.
        """
        if size[0] >= part.height and size[1] >= part.width:
            return False
        with self._borrow(path) as source:
            return any(source.overviews(i) for i in indexes)

    def _around(
        self, path: str, indexes: list[int], part: Window, size: tuple[int, int]
    ) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """Stored pixels on which those of a window depend, and where the first one is."""
        spans = []
        for start, length, count, limit in zip(
            (part.row_off, part.col_off),
            (part.height, part.width),
            size,
            self._storage(path).shape,
            strict=True,
        ):
            margin = MARGIN * max(1, int(np.ceil(length / count)))
            low = max(0, int(np.floor(start)) - margin)
            high = min(limit, int(np.ceil(start + length)) + margin)
            spans.append((low, high - low))
        (top, height), (left, width) = spans
        area = _window((top, left, height, width))
        pixels = np.empty((len(indexes), height, width), np.float32)
        _fill(
            pixels,
            [*range(len(indexes))],
            *self._unmoved(path, indexes, area, (height, width)),
        )
        return pixels, (top, left)


def _under_centres[T: np.generic](
    stored: NDArray[T], corner: tuple[int, int], part: Window, size: tuple[int, int]
) -> NDArray[T]:
    """Give the stored pixels, from a corner on, in which pixels of a window have their centres."""
    rows = nearest(part.row_off, part.height, size[0]) - corner[0]
    columns = nearest(part.col_off, part.width, size[1]) - corner[1]
    return stored[:, rows[:, None], columns[None]]


def _inside(task: Task) -> list[int]:
    return task.inside


def _jobs(tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
    """Divide tasks among threads: each that decodes alone, copies many at once.

    A copy takes less time than handing it to a thread.
    """
    yield from ([task] for task in tasks if not task.decoded)
    copies = [task for task in tasks if task.decoded]
    yield from batched(copies, max(1, -(-len(copies) // decoders())))


# Beyond what float32 holds, a number is infinite and so missing.
@np.errstate(over='ignore')
def _assemble(out: NDArray[np.float32], task: Task, places: list[Cut]) -> None:
    """Copy what a task reads into the windows that need it."""
    pixels, marks = task.read()
    first, last = task.channels[0], task.channels[-1]
    if last - first < len(task.channels) and not any(marks) and task.changes is None:
        # Neighbouring channels are written at once.
        windows = out[:, first : last + 1]
        for i, target, source in places:
            windows[i, :, *target] = pixels[:, *source]
        return
    for i, target, source in places:
        _fill(out[i, :, *target], task.channels, pixels[:, *source], marks)
        if task.changes is not None:
            _change(out[i, :, *target], task.channels, task.changes)


def _window(area: tuple[int, int, int, int]) -> Window:
    row, column, height, width = area
    return Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]


def _complete[T](path: str, read: Callable[[], T]) -> T:
    """Read, or say in one sentence which file cannot be read."""
    if isinstance(path, RemoteFile):
        return path.attempt(read)
    try:
        return read()
    except RasterioIOError as error:
        raise RasterError(
            f'{path} is damaged or truncated: fetch the file again'
        ) from error


@np.errstate(over='ignore')
def _fill(
    out: NDArray[np.float32],
    channels: list[int],
    pixels: NDArray[Any],
    marks: Sequence[Marks],
) -> None:
    """Copy pixels of any type into some channels, and NaN where they are missing."""
    chosen = slice(None) if len(channels) == len(out) else channels
    out[chosen] = pixels
    # Compared before the cast: float32 cannot hold every value.
    lost = missing(pixels, marks) if any(marks) else None
    if lost is not None:
        out[chosen] = np.where(lost, np.nan, pixels)


def _change(
    out: NDArray[np.float32], channels: list[int], how: list[tuple[float, float]]
) -> None:
    """Change numbers of some channels, in place."""
    for channel, (factor, shift) in zip(channels, how, strict=True):
        if shift:
            out[channel] += np.float32(shift)
        if factor != 1:
            out[channel] *= np.float32(factor)


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
