"""Products of bytes: with the kernels of :mod:`numkong`, or with NumPy, which gives the same.

Kernels are chosen when the program runs, for the processor it runs on; they let other threads
of Python run and start none. What rounding takes from a few queries, their remainders, may be
multiplied as well: scores are then off by half as much, and take up to 1.4 times as long.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .int8_codes import STEPS, Int8Codes

#: Queries up to which their remainders may be multiplied as well.
FEW = 16
#: What a remainder is finer by.
_FINER = 2 * STEPS
#: Numbers that a product in float32 adds without rounding, of whole numbers up to 127.
_EXACT = (1 << 24) // STEPS**2
#: Multiplications in a product of NumPy, see :mod:`~torchgeo_cmr.search.rank.scan`.
_SMALL = 1 << 18
#: Relative error of a score for each rounding to float32, several times over.
_ROUNDED = 2.0**-20
#: What unit rows may be longer by.
_LONGER = 1e-3
#: Different rows of a trial, how often each is there, their numbers, and how often it is timed.
_ROWS, _REPEATED, _DIM, _TIMES = 1_024, 32, 256, 5

_LOG = logging.getLogger(__name__)

#: Whether the kernels are there; NumPy multiplies without, and once they were found to be broken.
KERNELS = find_spec('numkong') is not None


def kernels() -> Any:
    """Give :mod:`numkong`; None if it is not there, or is broken, which is said once."""
    global KERNELS
    if not KERNELS:
        return None
    try:
        import numkong

        _ = numkong.dots_pack, numkong.dots_packed, numkong.zeros, numkong.cdist
    except (ImportError, AttributeError, OSError) as error:
        KERNELS = False
        _LOG.warning(
            'numkong is installed and broken (%s): searches multiply with NumPy, which takes longer; '
            'torchgeo-cmr doctor says more',
            error,
        )
        return None
    return numkong


@dataclass(frozen=True, eq=False)
class Int8Queries:
    """Queries as whole numbers; scores are in units of each query's step.

    Args:
        codes: Whole numbers (width, dim), of all queries, then of their remainders if those are kept.
        unit: What a score of codes is multiplied by (num_queries,).
        norm: Length of what the codes stand for, and more, in units (num_queries,).
        off: What rounding the queries may change a score by, in units (num_queries,).
    """

    codes: NDArray[np.int8]
    unit: NDArray[np.float32]
    norm: NDArray[np.float32]
    off: NDArray[np.float32]

    def __len__(self) -> int:
        """Give the number of queries."""
        return len(self.unit)


def round_queries(queries: NDArray[np.float32], *, fine: bool = True) -> Int8Queries:
    """Round queries.

    Args:
        queries: Unit rows (num_queries, dim).
        fine: Whether the remainders of a few are kept.
    """
    exact = queries.astype(np.float64)
    step = np.abs(exact).max(axis=1, keepdims=True) / STEPS
    coarse = np.rint(exact / step)
    kept, codes = coarse * step, [coarse]
    if fine and len(queries) <= FEW:
        remainders = np.rint((exact - kept) * (_FINER / step))
        kept += remainders * (step / _FINER)
        codes.append(remainders)
    unit = step[:, 0]
    gone = np.linalg.norm(exact - kept, axis=1)
    norm = np.linalg.norm(exact, axis=1) + gone
    off = gone * (1 + _LONGER) + _ROUNDED * (1 + _LONGER) * norm
    return Int8Queries(
        np.concatenate(codes).astype(np.int8),
        unit.astype(np.float32),
        (norm * (1 + _ROUNDED) / unit).astype(np.float32),
        (off * (1 + _ROUNDED) / unit).astype(np.float32),
    )


class Products:
    """Scores of codes for some queries, in memory that is used again; for one thread.

    Args:
        queries: The queries.
        size: Most rows of a block.
    """

    def __init__(self, queries: Int8Queries, size: int) -> None:
        """Prepare the queries and take the memory."""
        self._queries, self._kernels = queries, kernels()
        width, dim = queries.codes.shape
        self._by_pairs = False
        if self._kernels is None:
            kind = np.float32 if dim <= _EXACT else np.float64
            self._packed: Any = queries.codes.T.astype(kind)
        elif width == 1 and dim <= _EXACT and _pairs_are_quicker():
            self._by_pairs = True
        else:
            self._packed = self._kernels.dots_pack(queries.codes)
            self._memory = self._kernels.zeros((size, width), dtype='int32')

    def scores(
        self,
        codes: Int8Codes,
        rows: slice | NDArray[np.int64],
        out: NDArray[np.float32],
    ) -> None:
        """Write scores in units into ``out`` (b, num_queries)."""
        block, count = codes.codes[rows], len(self._queries)
        if self._by_pairs:
            _multiply_pairs(self._kernels, block, self._queries.codes, out)
            out *= codes.scale[rows, None]
            return
        if self._kernels is not None:
            memory = self._memory[: len(block)]
            self._kernels.dots_packed(block, self._packed, out=memory)
            sums = np.asarray(memory)
        else:
            sums = self._sums(block)
        np.copyto(out, sums[:, :count], casting='unsafe')
        if sums.shape[1] > count:
            fine = sums[:, count:].astype(np.float32)
            fine *= np.float32(1 / _FINER)
            out += fine
        out *= codes.scale[rows, None]

    def _sums(self, block: NDArray[np.int8]) -> NDArray[Any]:
        """Multiply with NumPy, a few rows at a time, so that the BLAS brings no threads."""
        dim, width = self._packed.shape
        sums = np.empty((len(block), width), dtype=self._packed.dtype)
        step = max(1, _SMALL // (dim * width))
        for start in range(0, len(block), step):
            part = slice(start, start + step)
            np.matmul(block[part].astype(sums.dtype), self._packed, out=sums[part])
        return sums


def _multiply_pairs(
    library: Any,
    codes: NDArray[np.int8],
    query: NDArray[np.int8],
    out: NDArray[np.float32],
) -> None:
    """Multiply rows with one query (1, dim), row by row, into ``out`` (b, 1)."""
    library.cdist(codes, query, metric='dot', out=out)


@cache
def _pairs_are_quicker() -> bool:
    """Say whether one query is multiplied quicker by the kernel for two vectors than by that for many.

    Which is quicker depends on the instructions a processor has for products of bytes, and on how it
    reads ahead. Both are timed once, on 8 MB of rows, more than the cache of a core holds, as in a
    scan; what they give is the same.
    """
    library = kernels()
    rows = np.random.default_rng(0).integers(-STEPS, STEPS + 1, (_ROWS, _DIM), np.int8)
    codes, query = np.tile(rows, (_REPEATED, 1)), rows[:1]
    packed = library.dots_pack(query)
    memory = library.zeros((len(codes), 1), dtype='int32')
    made = np.empty((len(codes), 1), np.float32)

    def timed(multiply: Callable[[], Any]) -> float:
        begin = time.perf_counter()
        multiply()
        return time.perf_counter() - begin

    pairs, many = (
        min(timed(multiply) for _ in range(_TIMES))
        for multiply in (
            lambda: _multiply_pairs(library, codes, query, made),
            lambda: library.dots_packed(codes, packed, out=memory),
        )
    )
    return pairs < many and np.array_equal(made, np.asarray(memory))
