"""Products of float16 with few queries, by the kernels of :mod:`numkong`, without widening rows first.

The kernels take queries of float16 too. What rounding took away from them is multiplied in passing, so
that scores are off by no more than products of float32.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .integer_products import kernels

#: Queries up to which they are quicker: of more, rows are read once and used often as float32.
FEW = 8
#: What remainders are multiplied by, so that they are not too small for float16.
_FINER = 2.0**11
#: Rows and numbers of a trial.
_ROWS, _DIM = 64, 512


@cache
def is_precise() -> bool:
    """Say whether there are kernels, and whether those of this processor add in float32 or better."""
    if kernels() is None:
        return False
    rows = np.random.default_rng(0).standard_normal((_ROWS, _DIM), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[::2, ::3] *= np.float32(2.0**-16)  # below what float16 has all digits for
    half, queries = rows.astype(np.float16), rows[:FEW]
    made = np.empty((_ROWS, FEW), np.float32)
    HalfProducts(queries, _ROWS).scores(half, slice(0, _ROWS), made)
    truth = half.astype(np.float64) @ queries.astype(np.float64).T
    return bool(np.abs(made - truth).max() <= _DIM * 2.0**-24)


class HalfProducts:
    """Scores of float16 rows for some queries, in memory that is used again; for one thread.

    Args:
        queries: Queries (num_queries, dim) of unit rows.
        size: Most rows of a block.
    """

    def __init__(self, queries: NDArray[np.float32], size: int) -> None:
        """Divide the queries into two numbers of float16 each, and take the memory."""
        self._kernels = kernels()
        coarse = queries.astype(np.float16)
        fine = ((queries - coarse) * np.float32(_FINER)).astype(np.float16)
        self._packed = self._kernels.dots_pack(np.concatenate([coarse, fine]))
        self._memory = self._kernels.zeros((size, 2 * len(queries)), dtype='float32')

    def scores(
        self,
        codes: NDArray[np.float16],
        rows: slice | NDArray[np.int64],
        out: NDArray[np.float32],
    ) -> None:
        """Write scores of some rows into ``out`` (b, num_queries)."""
        block, count = codes[rows], out.shape[1]
        memory = self._memory[: len(block)]
        self._kernels.dots_packed(block, self._packed, out=memory)
        sums: NDArray[Any] = np.asarray(memory)
        np.multiply(sums[:, count:], np.float32(1 / _FINER), out=out)
        out += sums[:, :count]
