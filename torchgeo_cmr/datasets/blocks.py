"""Blocks of files, the pieces in which pixels are stored: each is decoded once while in use."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, product
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from torchgeo_cmr.datasets.cores import cores, environment
from torchgeo_cmr.datasets.recent import Recent

#: Bytes of decoded blocks that are kept: two rows of blocks of a large scene, which the patches
#: between them need (12 bands of 2 x 512 rows of 10980 pixels are 258 MiB).
LIMIT = 320 * 2**20

#: Rows that are decoded together at least, for files that are not tiled store one or a few.
_ROWS = 64

#: Blocks that had to make way and are remembered.
_REMEMBERED = 4096

#: Row and column of the upper left pixel, and pixels as the file has them, of shape
#: ``(bands, height, width)``.
type Piece = tuple[int, int, NDArray[Any]]


class Blocks:
    """Decoded blocks that were used last, in the type of their file.

    GDAL keeps blocks too, but one thread copies them out of its cache for every window. Here
    each block is decoded by one of several threads to where it stays, and patches are cut out
    of it.

    Args:
        limit: Bytes to keep of blocks of one shape and type; two such kinds are kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        """Initialize a new Blocks instance."""
        self.limit = limit
        self._rooms: Recent[Any, _Room] = Recent(2)

    def fit(self, source: Any, indexes: Sequence[int]) -> bool:
        """Say whether the blocks of some bands are alike and small enough to be kept."""
        alike = {(source.block_shapes[i - 1], source.dtypes[i - 1]) for i in indexes}
        height, width = _unit(source)
        pixel = np.dtype(source.dtypes[0]).itemsize
        size = height * width * len(indexes) * pixel
        return len(alike) == 1 and 4 * size <= self.limit

    def pieces(
        self,
        path: str,
        open_file: Callable[[int], Any],
        indexes: Sequence[int],
        windows: NDArray[np.int64],
    ) -> Iterator[Piece]:
        """Give the blocks that some windows touch, from the top down.

        Blocks that are not kept are decoded by several threads, a few ahead of whoever asks.

        Args:
            path: Name of the file.
            open_file: Opens it; each number gives a handle of its own.
            indexes: Bands, counted from 1.
            windows: ``(row, column, height, width)``, int64 of shape ``(n, 4)``; what lies
                outside the file is not given.

        Yields:
            Each block once. It is valid until the next is asked for.
        """
        source = open_file(0)
        height, width = _unit(source)
        room = self._room((len(indexes), height, width), source.dtypes[indexes[0] - 1])
        needed = _touched(windows, source.shape, height, width)
        new = [place for place in needed if not room.has((path, *indexes, *place))]
        count = min(cores(), len(new))
        early = min(2 * count, len(room.slots) // 2)
        room.allow(len(needed) + early)
        handles: SimpleQueue[Any] = SimpleQueue()
        for number in range(count):
            handles.put(open_file(number))

        def block(place: tuple[int, int], slot: int) -> tuple[Window, NDArray[Any]]:
            top, left = place[0] * height, place[1] * width
            rows = min(height, source.height - top)
            columns = min(width, source.width - left)
            area = Window(left, top, columns, rows)  # ty: ignore[too-many-positional-arguments]
            return area, room.slots[slot, :, :rows, :columns]

        def decode(place: tuple[int, int], slot: int) -> None:
            handle = handles.get()
            try:
                area, out = block(place, slot)
                with environment():
                    handle.read(indexes, window=area, out=out)
            finally:
                handles.put(handle)

        waiting = iter(new)
        coming: dict[tuple[int, int], tuple[int, Future[None]]] = {}
        with ThreadPoolExecutor(
            max(1, count), thread_name_prefix='torchgeo_cmr-blocks'
        ) as threads:

            def start(places: Iterable[tuple[int, int]]) -> None:
                for place in places:
                    slot = room.reserve((path, *indexes, *place))
                    coming[place] = slot, threads.submit(decode, place, slot)

            try:
                start(islice(waiting, early))
                for place in needed:
                    key = (path, *indexes, *place)
                    slot = room.find(key)
                    if slot is None:
                        if place not in coming:
                            start([place])
                        slot, decoded = coming[place]
                        decoded.result()
                        del coming[place]
                        room.keep(key, slot)
                        start(islice(waiting, 1))
                    yield place[0] * height, place[1] * width, block(place, slot)[1]
            finally:
                for slot, _ in coming.values():
                    room.release(slot)

    def _room(self, shape: tuple[int, ...], dtype: str) -> '_Room':
        """Give the room for blocks of one kind."""
        key = (*shape, dtype)
        return self._rooms.get(key) or self._rooms.put(
            key, _Room(shape, dtype, self.limit)
        )


class _Room:
    """Slots for blocks of one kind; the block used longest ago makes way.

    One large array, of which the system gives only what is used: many small ones would cost
    nearly as much to hand out as the decoding does. It fills up only if blocks come back:
    going once through a scene, no more is used than the patches of a batch touch.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, limit: int) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.slots = np.empty((limit // size, *shape), dtype)
        self._free = list(range(len(self.slots)))[::-1]
        self._used: OrderedDict[Hashable, int] = OrderedDict()
        self._share = 0
        self._gone: Recent[Hashable, bool] = Recent(_REMEMBERED)

    def has(self, key: Hashable) -> bool:
        """Say whether a block is here, without using it."""
        return key in self._used

    def find(self, key: Hashable) -> int | None:
        """Give the slot of a block and count it as used; None if it is not here."""
        if key in self._used:
            self._used.move_to_end(key)
        return self._used.get(key)

    def allow(self, slots: int) -> None:
        """Let so many slots be used at least."""
        self._share = min(len(self.slots), max(self._share, slots))

    def reserve(self, key: Hashable) -> int:
        """Give a slot for a block, which nobody else has until it is kept or freed."""
        if self._gone.get(key):
            # It was here and had to make way, so the room is too small.
            self.allow(2 * self._share)
        taken = len(self.slots) - len(self._free)
        if self._used and (taken >= self._share or not self._free):
            old, slot = self._used.popitem(last=False)
            self._gone.put(old, True)
            return slot
        return self._free.pop()

    def keep(self, key: Hashable, slot: int) -> None:
        """Say what a reserved slot holds now."""
        self._used[key] = slot

    def release(self, slot: int) -> None:
        """Give back a reserved slot."""
        self._free.append(slot)


def _unit(source: Any) -> tuple[int, int]:
    """Rows and columns of a block, or of as many thin ones as are decoded together."""
    height, width = source.block_shapes[0]
    return height * max(1, _ROWS // height), width


def _touched(
    windows: NDArray[np.int64], shape: tuple[int, int], height: int, width: int
) -> list[tuple[int, int]]:
    """Rows and columns of the blocks that windows touch, in the order of the file."""
    low = np.maximum(windows[:, :2], 0)
    high = np.minimum(windows[:, :2] + windows[:, 2:], shape)
    inside = (low < high).all(axis=1)
    unit = (height, width)
    corners = np.c_[low[inside] // unit, -(-high[inside] // unit)].tolist()
    return sorted(
        {p for t, x, b, r in corners for p in product(range(t, b), range(x, r))}
    )
