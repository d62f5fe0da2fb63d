"""Vectors as an index keeps them: whole, at half precision, as bytes, or as signs.

=========  ==================  ===========================================================
kind       bytes per number    what is kept
=========  ==================  ===========================================================
float32    4                   the vector itself
float16    2                   each number rounded to half precision
int8       1                   each number divided by the row's largest over 127, rounded;
                               one float32 scale per row
binary     1/8                 the sign of each number
=========  ==================  ===========================================================

Of all but float32 the whole vectors are kept as well, on disk: they are read only for the
rows that the small ones propose. A float16 or int8 score is off by no more than the length
of what rounding took away, whose largest value over all rows is known (``error``); so a
search that looks again at every row within that bound is exact. Signs have no useful bound.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError

from .int8_codes import LONGEST, SHORTEST, Int8Codes, encode_int8
from .principal_heads import Heads, heads_of

#: Ways to keep vectors.
KINDS = ('float32', 'float16', 'int8', 'binary')

#: Least share of all rows that is left for an approximate index to be used; it is tuned for that.
LEAST_SHARE = 0.25

_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of some rows, and their codes for a scan.

    Args:
        whole: Vectors (n, dim) of float32, unit rows; or packed codes (n, bytes) of uint8,
            which are compared by Hamming distance. Memory-mapped or not.
        kind: One of :data:`KINDS`, or ``'hamming'`` for packed codes.
        codes: What is scanned: ``whole`` itself, (n, dim) of float16 or int8, or packed signs
            (n, ceil(dim / 8)) of uint8.
        scale: One factor per row (n,) for int8.
        error: Largest distance between a row and what its codes say.
        lost: Distance of each row (n,) for int8, rounded up; None if only the largest is known.
        quick: Bytes of float32 vectors that are scanned first where they rule enough out; None for none.
        heads: Heads of float32 vectors, likewise.
    """

    whole: NDArray[Any]
    kind: str
    codes: NDArray[Any]
    scale: NDArray[np.float32] | None
    error: float
    lost: NDArray[np.float32] | None = None
    quick: Int8Codes | None = None
    heads: Heads | None = None

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.whole)

    @property
    def lengths(self) -> set[int]:
        """Rows of everything that is kept: one number, unless files of two indexes were mixed."""
        kept = [self.whole, self.codes, self.scale, self.lost]
        if self.quick is not None:
            kept += [self.quick.codes, self.quick.scale, self.quick.lost]
        if self.heads is not None:
            kept += [self.heads.coordinates, self.heads.tail]
        return {len(array) for array in kept if array is not None}

    @property
    def dim(self) -> int:
        """Give the numbers, or bits, in a vector."""
        return self.whole.shape[1] * (8 if self.kind == 'hamming' else 1)

    @property
    def packed(self) -> bool:
        """Whether a scan compares bits."""
        return self.codes.dtype == np.uint8

    @cached_property
    def coded(self) -> Int8Codes | None:
        """Codes of bytes with a bound for each row, if there are any."""
        if self.kind != 'int8' or self.scale is None or not np.isfinite(self.error):
            return self.quick
        lost = self.lost
        if lost is None:
            largest = np.float32(self.error * (1 + 2.0**-20))
            lost = np.broadcast_to(largest, len(self))
        return Int8Codes(self.codes, self.scale, lost)

    def decode(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the vectors that the codes of some rows stand for, (m, dim); not for binary."""
        codes = self.codes[rows]
        if codes.dtype == np.float32:
            return codes
        if codes.dtype == np.float16:
            return _widened(codes)
        assert self.scale is not None  # int8 has one
        return codes * self.scale[rows, None]


def as_vectors(vectors: NDArray[Any]) -> Vectors:
    """Take float32 rows, or packed codes, as they are."""
    kind = 'hamming' if vectors.dtype == np.uint8 else 'float32'
    return Vectors(vectors, kind, vectors, None, 0.0)


def with_codes(vectors: Vectors) -> Vectors:
    """Add bytes, and heads that rule out most, to float32 vectors of a length that gains by it."""
    if vectors.kind != 'float32' or vectors.dim > LONGEST:
        return vectors
    whole = vectors.whole
    quick = encode_int8(whole) if vectors.dim >= SHORTEST else None
    return replace(vectors, quick=quick, heads=heads_of(whole))


def encode(
    vectors: NDArray[Any], kind: str
) -> tuple[NDArray[Any], NDArray[np.float32] | None, float, NDArray[np.float32] | None]:
    """Give codes, scales and errors of vectors.

    Args:
        vectors: Unit rows (n, dim), or packed codes, all of them.
        kind: One of :data:`KINDS`; ``'hamming'`` or ``'float32'`` for packed codes.

    Returns:
        ``codes``, ``scale``, ``error`` and ``lost`` of :class:`Vectors`; the error of signs is
        infinite.

    Raises:
        QueryError: If the kind is not known.
    """
    if vectors.dtype == np.uint8 and kind in ('float32', 'hamming'):
        return vectors, None, 0.0, None
    if vectors.dtype == np.uint8 or kind not in KINDS:
        raise QueryError(
            f'vectors={kind!r} does not fit {vectors.dtype} vectors; keep float32 vectors as one of '
            f'{", ".join(KINDS)}, packed codes as they are'
        )
    if kind == 'float32':
        return vectors, None, 0.0, None
    n, dim = vectors.shape
    if kind == 'binary':
        return signs(vectors), None, float('inf'), None
    if kind == 'int8':
        made = encode_int8(vectors)
        return made.codes, made.scale, float(made.lost.max(initial=0)), made.lost
    codes: NDArray[Any] = np.empty((n, dim), dtype=kind)
    error = 0.0
    for start in range(0, n, _ROWS):
        part = slice(start, start + _ROWS)
        codes[part] = vectors[part]
        lost = np.linalg.norm(vectors[part] - codes[part].astype(np.float64), axis=1)
        error = max(error, float(lost.max(initial=0)))
    return codes, None, error, None


def signs(vectors: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Pack the signs of vectors (n, dim), positive as 1, into bytes (n, ceil(dim / 8))."""
    return np.packbits(vectors > 0, axis=1)


def agreement(
    codes: NDArray[np.uint8], query: NDArray[np.uint8], dim: int
) -> NDArray[np.float32]:
    """Give how well packed bits agree with those of a query: 1 all, -1 none.

    Args:
        codes: Packed bits (n, bytes).
        query: Packed bits (bytes,), or one row for each code (n, bytes).
        dim: Number of bits.

    Returns:
        ``1 - 2 * hamming / dim``, (n,).
    """
    # The widest words that fit: eight bytes are counted as fast as one.
    word = next(f'u{w}' for w in (8, 4, 2, 1) if codes.shape[1] % w == 0)
    differing = np.ascontiguousarray(codes).view(word) ^ np.ascontiguousarray(
        query
    ).view(word)
    hamming = np.bitwise_count(differing).sum(axis=1, dtype=np.int32)
    return (1 - hamming * np.float64(2 / dim)).astype(np.float32)


def _widened(half: NDArray[Any]) -> NDArray[np.float32]:
    """Turn float16 into float32 with integers: several times faster than a cast.

    Sign and the 15 other bits are moved to their places in a float32, whose exponent then
    lacks 112; the product restores it, for the smallest numbers too. No number is infinite.
    """
    bits = half.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-1879056384)  # sign, five bits of exponent, ten of mantissa
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    return wide
