"""Vectors as bytes: one scale per row, and the length of what rounding took away.

A row x is kept as whole numbers c of -127..127 and a scale s, so that x' = s c, and with the
length of x - x'. For a query q that is kept in the same way, Cauchy and Schwarz bound what a
score of the codes is off by::

    |q.x - q'.x'| <= |x - x'| |q| + |q - q'| |x'|

Products of whole numbers are exact, and :mod:`numkong`, if it is there, multiplies them several
times faster than memory gives the vectors themselves.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.processors import cores
from torchgeo_cmr.progress.bars import steps

#: Steps on either side of zero.
STEPS = 127
#: Numbers in a vector up to which sums of products fit into 32 bits.
LONGEST = 1 << 17
#: Numbers below which weighing a score of codes takes as long as reading whole ones.
SHORTEST = 96
#: Rows that are rounded together: they stay in the cache.
_ROWS = 256
_ROWS_OF_THREAD = 16_384


@dataclass(frozen=True, eq=False)
class Int8Codes:
    """The codes of some rows.

    Args:
        codes: Whole numbers (n, dim) of int8.
        scale: What they are multiplied by (n,).
        lost: Length of the difference to the rows (n,), rounded up.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    lost: NDArray[np.float32]

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.codes)


def encode_int8(vectors: NDArray[np.float32]) -> Int8Codes:
    """Round rows to bytes.

    Args:
        vectors: Rows (n, dim) of finite numbers.
    """
    n, dim = vectors.shape
    made = Int8Codes(
        np.empty((n, dim), np.int8), np.empty(n, np.float32), np.empty(n, np.float32)
    )

    def work(start: int) -> None:
        memory = np.empty((_ROWS, dim), dtype=np.float32)
        stop = min(start + _ROWS_OF_THREAD, n)
        for begin in range(start, stop, _ROWS):
            part = slice(begin, min(begin + _ROWS, stop))
            _round(vectors[part], memory, made, part)

    starts = range(0, n, _ROWS_OF_THREAD)
    if len(starts) < 2:
        for start in starts:
            work(start)
        return made
    with ThreadPoolExecutor(min(cores(), len(starts))) as pool:
        for _ in steps(pool.map(work, starts), 'block', 'round', len(starts)):
            pass
    return made


def _round(
    rows: NDArray[np.float32], memory: NDArray[Any], made: Int8Codes, part: slice
) -> None:
    """Round a few rows into their place."""
    rounded = memory[: len(rows)]
    scale = np.maximum(rows.max(axis=1), -rows.min(axis=1)) / np.float32(STEPS)
    scale[~(scale >= np.finfo(np.float32).tiny)] = 1
    made.scale[part] = scale
    np.divide(rows, scale[:, None], out=rounded)
    np.rint(rounded, out=rounded)
    np.copyto(made.codes[part], rounded, casting='unsafe')
    length = np.sqrt(np.vecdot(rounded, rounded)) * scale
    rounded *= scale[:, None]
    rounded -= rows
    # Each number is off by half a bit of what the codes stand for, then by one of itself; so is
    # its square, and the sum by one for each addition.
    bit = np.float32(2.0**-23)
    off = np.sqrt(np.vecdot(rounded, rounded))
    made.lost[part] = off * (1 + (rows.shape[1] + 8) * bit) + length * bit
