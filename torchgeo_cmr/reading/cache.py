"""What readers that belong together share: decoded blocks and open files."""

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.reading.nodata import Marks, missing

#: Bytes of decoded blocks that are kept: two rows of blocks of a large pair, which the patches
#: between them need (2 x 512 rows of 10980 pixels are 257 MiB of 12 bands and 86 of radar).
LIMIT = 512 * 2**20

#: Blocks that had to make way and are remembered.
_REMEMBERED = 4096

#: Rows and columns that are decoded together at least: smaller blocks cost more to request
#: than to decode.
_LEAST = 64, 256


class Block:
    """One block, decoded by the first thread that needs it."""

    def __init__(self, size: int) -> None:
        """Initialize a new Block instance."""
        self.size = size
        self._pixels: NDArray[Any] | None = None
        self._whole: dict[Hashable, bool] = {}
        self._lock = Lock()

    @property
    def decoded(self) -> bool:
        """Whether the pixels are there."""
        return self._pixels is not None

    def pixels(self, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the pixels; a failure is not kept, the next thread tries again."""
        with self._lock:
            if self._pixels is None:
                self._pixels = decode()
            return self._pixels

    def is_whole(self, marks: Sequence[Marks]) -> bool:
        """Whether no pixel of a decoded block is missing, NaN aside; looked for once.

        Args:
            marks: Ranges of values that mean "missing", of each band.
        """
        key = tuple(marks)
        whole = self._whole.get(key)
        if whole is None:
            assert self._pixels is not None
            whole = not any(marks) or missing(self._pixels, marks) is None
            self._whole[key] = whole
        return whole


class Blocks:
    """Blocks that were used last, by file and place.

    GDAL keeps blocks too, but one thread copies them out of its cache for every window. Going
    once through a scene, no more is kept than what two requests touch; blocks that come back
    after they had to make way double the room.

    Args:
        limit: Bytes to keep at most.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        """Initialize a new Blocks instance."""
        self.limit = limit
        self._room = 0
        self._kept: OrderedDict[Hashable, Block] = OrderedDict()
        self._size = 0
        self._gone: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = Lock()

    def fit(self, size: int) -> bool:
        """Say whether blocks of some bytes are small enough to be kept."""
        return 4 * size <= self.limit

    def take(self, sizes: Mapping[Any, int]) -> list[Block]:
        """Give the blocks of one request, new ones where none are kept.

        Args:
            sizes: Bytes of each block.

        Returns:
            One block a key, in the same order. They last as long as somebody holds them.
        """
        with self._lock:
            back = any(key in self._gone and key not in self._kept for key in sizes)
            self._room = min(
                self.limit,
                max(2 * self._room if back else self._room, 2 * sum(sizes.values())),
            )
            # First those that are in the cache, so that a new one does not evict one of them.
            for key in sizes:
                if key in self._kept:
                    self._kept.move_to_end(key)
            return [self._take(key, size) for key, size in sizes.items()]

    def _take(self, key: Hashable, size: int) -> Block:
        if key not in self._kept:
            while self._kept and self._size + size > self._room:
                old, block = self._kept.popitem(last=False)
                self._size -= block.size
                self._gone[old] = None
            while len(self._gone) > _REMEMBERED:
                self._gone.popitem(last=False)
            self._kept[key] = Block(size)
            self._size += size
        return self._kept[key]


def unit(block: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of a block of a file, or of as many small ones as fit."""
    height, width = (
        size * -(-least // size) for size, least in zip(block, _LEAST, strict=True)
    )
    return height, width


def touched(
    windows: NDArray[np.int64], shape: tuple[int, int], unit: tuple[int, int]
) -> dict[tuple[int, int], list[int]]:
    """Find the blocks that windows touch, in the order of the file.

    Args:
        windows: ``(row, column, height, width)``, int64 of shape ``(n, 4)``; what lies
            outside the file touches nothing.
        shape: Rows and columns of the file.
        unit: Rows and columns of a block.

    Returns:
        Row and column of each block's first pixel -> positions of windows that touch it.
    """
    low = np.maximum(windows[:, :2], 0)
    high = np.minimum(windows[:, :2] + windows[:, 2:], shape)
    inside = np.flatnonzero((low < high).all(axis=1))
    corners = np.c_[low // unit, -(-high // unit)][inside]
    found: dict[tuple[int, int], list[int]] = {}
    for i, (top, left, bottom, right) in zip(
        inside.tolist(), corners.tolist(), strict=True
    ):
        for row, column in product(range(top, bottom), range(left, right)):
            found.setdefault((row * unit[0], column * unit[1]), []).append(i)
    return dict(sorted(found.items()))


#: Handles that wait open: scenes come in thousands, and a process may open about as many files.
_OPEN = 256


class Handles:
    """Keeps files open between reads; those used longest ago are closed.

    A handle is never with two threads at once, for they would move each other's place in the
    file. Of the handles of one file the one given back last is lent first: it has the blocks
    that were decoded last.

    Args:
        limit: Handles that wait open at most.
    """

    def __init__(self, limit: int = _OPEN) -> None:
        """Initialize a new Handles instance."""
        self.limit = limit
        self._waiting: OrderedDict[Hashable, list[Any]] = OrderedDict()
        self._lock = Lock()
        # A raster that is closed while Python ends calls what is gone already, and warns of it.
        weakref.finalize(self, _close, self._waiting)

    @contextmanager
    def borrow(self, key: Hashable, open_file: Callable[[], Any]) -> Generator[Any]:
        """Lend a handle for the time of a context.

        Args:
            key: What the handle is of.
            open_file: Opens another one if none is waiting.

        Yields:
            The handle.
        """
        with self._lock:
            waiting = self._waiting.get(key)
            handle = waiting.pop() if waiting else None
        handle = handle or open_file()
        try:
            yield handle
        finally:
            self._give_back(key, handle)

    def _give_back(self, key: Hashable, handle: Any) -> None:
        with self._lock:
            self._waiting.setdefault(key, []).append(handle)
            self._waiting.move_to_end(key)
            old = []
            while sum(map(len, self._waiting.values())) > self.limit:
                _, handles = self._waiting.popitem(last=False)
                old += handles
        for other in old:
            other.close()


#: Bytes of masks of valid pixels that are kept: those of the swath edges of a thousand scenes.
_MASKS = 64 * 2**20


class Masks:
    """Arrays that were used last; those used longest ago make way.

    Args:
        limit: Bytes to keep at most.
    """

    def __init__(self, limit: int = _MASKS) -> None:
        """Initialize a new Masks instance."""
        self.limit = limit
        self._kept: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """Return an array, if it is still kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, mask: NDArray[Any]) -> None:
        """Keep an array."""
        with self._lock:
            old = self._kept.pop(key, None)
            self._size += mask.nbytes - (0 if old is None else old.nbytes)
            self._kept[key] = mask
            while self._size > self.limit:
                _, gone = self._kept.popitem(last=False)
                self._size -= gone.nbytes


def _close(waiting: OrderedDict[Hashable, list[Any]]) -> None:
    """Close handles that no thread can use any more."""
    while waiting:
        _, handles = waiting.popitem()
        for handle in handles:
            handle.close()


class Cache:
    """Open files, decoded blocks and masks of valid pixels, shared by the readers of a dataset.

    Left behind when it is pickled or its process forks: two processes that read through one
    handle would move each other's place in the file.
    """

    def __init__(self) -> None:
        """Initialize a new Cache instance."""
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._handles, self._blocks, self._masks = Handles(), Blocks(), Masks()

    def __reduce__(self) -> tuple[Any, ...]:
        """Start empty in another process."""
        return type(self), ()

    @property
    def handles(self) -> Handles:
        """Open files of this process."""
        return self._here()._handles

    @property
    def blocks(self) -> Blocks:
        """Decoded blocks of this process."""
        return self._here()._blocks

    @property
    def masks(self) -> Masks:
        """Masks of valid pixels in this process."""
        return self._here()._masks

    def _here(self) -> 'Cache':
        if self._process != os.getpid():
            self._begin()
        return self
