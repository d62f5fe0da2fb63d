"""Blocks of files, the pieces in which pixels are stored: each is decoded once while in use."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bytes of decoded blocks that are kept: two rows of blocks of a large pair, which the patches
#: between them need (2 x 512 rows of 10980 pixels are 257 MiB of 12 bands and 86 of radar).
LIMIT = 512 * 2**20

#: Blocks that had to make way and are remembered.
_REMEMBERED = 4096

#: Rows and columns that are decoded together at least: smaller blocks cost more to ask for
#: than to decode.
_LEAST = 64, 256


class Block:
    """One block, decoded by the first thread that asks."""

    def __init__(self, size: int) -> None:
        """Initialize a new Block instance."""
        self.size = size
        self._pixels: NDArray[Any] | None = None
        self._lock = Lock()

    def pixels(self, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the pixels; a failure is not kept, the next thread tries again."""
        with self._lock:
            if self._pixels is None:
                self._pixels = decode()
            return self._pixels


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
            # First those that are here, lest a new one takes the place of one of them.
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
