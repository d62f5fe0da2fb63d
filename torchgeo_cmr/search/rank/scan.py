"""Scores of selected rows: memory read once, in blocks that stay in the cache.

One thread per core works through blocks of about a megabyte and hands each block's scores to a
sink of its own, so threads meet only when all is done. No product is large enough for the
BLAS to divide it among threads of its own: those would wait for one another on cores that are
busy, for seconds where the product takes milliseconds, and their number can only be set for
the whole process. Few queries are bound by reading memory, many by multiplying.

Where selected rows lie close together, scanning all between them is cheaper for few queries
than copying the selected ones, so dense stretches are sliced and only scattered rows gathered.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil, isqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.processors import cores

from .half_products import FEW, HalfProducts, is_precise
from .int8_codes import Int8Codes
from .integer_products import Int8Queries, Products
from .principal_heads import Heads
from .vectors import Vectors, agreement, as_vectors, signs

#: Rows of a block, and of one that is read once and as it is, so need not fit the cache.
_ROWS = 1_024
_LONG = 16_384
_FEW = 4
#: Multiplications in a product; from 2**19 on OpenBLAS brings threads, older ones from 2**18.
_SMALL = 1 << 18
#: A copied row costs as much as this many that are read in passing.
_SPARSE = 3
_SHORT = 32
#: Scores of a thread below which it costs more than it brings, of few queries and of many.
_ALONE = 16_384
_ALONE_OF_MANY = 131_072
#: Pieces for each thread: who is held up by another process leaves the rest to others.
_PIECES = 4
#: Codes are copied if more than so many are passed for each that is read.
_PASSED = 2
#: Products of bytes in a block of codes, its rows, and scores of a thread below which it costs more than it
#: brings.
_SUMS = 1 << 18
_LONG_OF_CODES = 131_072
_ALONE_OF_CODES = 65_536


#: Rows of a block (b,) and memory to use -> their scores (num_queries, b).
type _Scored = Callable[[NDArray[np.int64], NDArray[np.float32]], NDArray[Any]]


class Sink(Protocol):
    """What takes the scores of a scan."""

    def add(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Take a block; its memory is used again for the next.

        Args:
            rows: Row numbers (b,).
            scores: Their scores (num_queries, b).
        """


def scan[S: Sink](
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    make: Callable[[], S],
) -> list[S]:
    """Score rows block by block, in no particular order.

    Args:
        vectors: The archive.
        rows: Numbers of the rows to score, (m,), sorted, each once, at least one.
        queries: Queries (num_queries, dim) of unit rows, or of packed codes if that is what
            the archive holds; at least one.
        make: Gives a new sink. Scores it gets are approximate in the last bits and by what
            the codes lost.

    Returns:
        The sinks, one for each thread; together they got every row once.
    """
    count = len(queries)
    if vectors.kind == 'float16' and count <= FEW and is_precise():
        longest = int(np.clip(_SUMS // (2 * count), _ROWS, _LONG))
        products = partial(HalfProducts, queries)
        start = partial(_multiplied, vectors.codes, products, count, longest)
        return _spread(rows, count, start, make, _ALONE_OF_CODES, longest)
    few = vectors.packed or len(queries) <= _FEW
    start = partial(_few if few else _many, vectors, queries)
    alone, longest = (_ALONE, _LONG) if few else (_ALONE_OF_MANY, _ROWS)
    return _spread(rows, len(queries), start, make, alone, longest)


def scan_codes[S: Sink](
    codes: Int8Codes,
    rows: NDArray[np.int64],
    queries: Int8Queries,
    make: Callable[[], S],
) -> list[S]:
    """Score the byte codes of rows as :func:`scan` scores vectors.

    Args:
        codes: The codes of the archive.
        rows: As for :func:`scan`.
        queries: Rounded queries, at least one; scores are in units of theirs.
        make: As for :func:`scan`.
    """
    longest = int(np.clip(_SUMS // len(queries.codes), _ROWS, _LONG_OF_CODES))
    start = partial(
        _multiplied, codes, partial(Products, queries), len(queries), longest
    )
    return _spread(rows, len(queries), start, make, _ALONE_OF_CODES, longest)


def scan_heads[S: Sink](
    heads: Heads,
    rows: NDArray[np.int64],
    queries: NDArray[np.float32],
    make: Callable[[], S],
) -> list[S]:
    """Score the heads of rows as :func:`scan` scores vectors.

    Args:
        heads: The heads of the archive.
        rows: As for :func:`scan`.
        queries: Heads of queries (num_queries, length), at least one.
        make: As for :func:`scan`.
    """
    longest = int(np.clip(_SUMS // len(queries), _ROWS, _LONG))
    start = partial(_many, as_vectors(heads.coordinates), queries)
    return _spread(rows, len(queries), start, make, _ALONE_OF_CODES, longest)


def _spread[S: Sink](
    rows: NDArray[np.int64],
    num_queries: int,
    start: Callable[[], _Scored],
    make: Callable[[], S],
    alone: int,
    longest: int,
) -> list[S]:
    """Divide rows among threads, each of which scores blocks in its way and has a sink.

    Args:
        rows: Rows to score.
        num_queries: Queries to score them for.
        start: Gives a thread its way to score a block.
        make: Gives a sink.
        alone: Scores of a thread below which it costs more than it brings.
        longest: Rows of a block, at most.
    """
    workers = len(rows) * num_queries // alone
    # Counting cores takes longer than a scan of few rows.
    workers = min(cores(), workers) if workers > 1 else 1
    pieces = min(_PIECES * workers, len(rows) // (longest // _PIECES))
    if workers == 1:
        pieces = 1  # no other thread would take them
    # Of one length, so that the last is not a short one.
    size = ceil(len(rows) / max(1, pieces, ceil(len(rows) / longest)))
    todo = deque(range(0, len(rows), size))

    def work() -> S:
        sink, scored = make(), start()
        out = np.empty(num_queries * size, dtype=np.float32)
        while True:
            try:
                begin = todo.popleft()
            except IndexError:  # the other threads have taken the rest
                return sink
            block = rows[begin : begin + size]
            # NaN is refused when scores are decided.
            with np.errstate(invalid='ignore', over='ignore'):
                sink.add(block, scored(block, out))

    if workers == 1:
        return [work()]
    with ThreadPoolExecutor(workers - 1) as pool:
        others = [pool.submit(work) for _ in range(workers - 1)]
        return [work(), *(task.result() for task in others)]


def _multiplied(
    codes: Any, prepare: Callable[[int], Any], count: int, size: int
) -> _Scored:
    """Score the codes of rows for so many queries, reading stretches of memory."""
    products = prepare(_PASSED * size)
    memory = np.empty((_PASSED * size, count), dtype=np.float32)

    def scored(rows: NDArray[np.int64], out: NDArray[np.float32]) -> NDArray[Any]:
        made = out[: len(rows) * count].reshape(-1, count)
        for start, stop in _stretches(rows, size):
            part, place = rows[start:stop], made[start:stop]
            first, span = int(part[0]), int(part[-1] - part[0]) + 1
            if span == len(part):
                products.scores(codes, slice(first, first + span), place)
            elif span <= _PASSED * len(part):
                passed = memory[:span]
                products.scores(codes, slice(first, first + span), passed)
                np.take(passed, part - first, axis=0, out=place, mode='clip')
            else:
                products.scores(codes, part, place)
        return made.T

    return scored


def _many(vectors: Vectors, queries: NDArray[np.float32]) -> _Scored:
    """Score a block for many queries with matrix products."""
    count = len(queries)
    side = max(1, isqrt(_SMALL // vectors.dim))
    # Transposed, so that scores lie row by row and a product's are written in one go.
    batches = [
        (slice(start, start + side), queries[start : start + side].T.copy())
        for start in range(0, count, side)
    ]

    def scored(rows: NDArray[np.int64], out: NDArray[np.float32]) -> NDArray[Any]:
        plain = _plain(rows)
        block = vectors.decode(plain)
        if isinstance(plain, slice):
            # Read in passing, a number of each line of the cache, vectors are at hand when a
            # product reads them here and there, which memory is slow at.
            block[:, ::16].max()
        scores = out[: len(rows) * count].reshape(-1, count)
        for columns, part in batches:
            _products(block, part, scores[:, columns])
        return scores.T

    return scored


def _products(
    block: NDArray[np.float32], part: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Multiply rows (b, dim) with queries (dim, q) into ``out`` (b, q), a few rows at a time."""
    dim, width = part.shape
    step = min(max(1, _SMALL // (dim * width)), len(block))
    whole = len(block) // step * step
    # One call: NumPy goes through the stack without the interpreter.
    np.matmul(
        block[:whole].reshape(-1, step, dim),
        part,
        out=out[:whole].reshape(-1, step, width),
    )
    if whole < len(block):
        np.matmul(block[whole:], part, out=out[whole:])


def _plain(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Give neighbouring rows as a slice, which is not copied."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _few(vectors: Vectors, queries: NDArray[Any]) -> _Scored:
    """Score rows for few queries, reading stretches of memory."""
    batch = signs(queries) if vectors.kind == 'binary' else queries
    once = len(queries) == 1 and vectors.kind == 'float32'

    def scored(rows: NDArray[np.int64], out: NDArray[np.float32]) -> NDArray[Any]:
        scores = out[: len(rows) * len(queries)].reshape(len(queries), -1)
        for start, stop in _stretches(rows, _LONG if once else _ROWS):
            _block(vectors, rows[start:stop], batch, scores[:, start:stop])
        return scores

    return scored


def _stretches(rows: NDArray[np.int64], size: int) -> Iterator[tuple[int, int]]:
    """Cut positions of rows where rows lie far apart, then into blocks."""
    stop = len(rows)
    gaps = np.empty(0, dtype=np.int64)
    if int(rows[-1] - rows[0]) != stop - 1:
        gaps = np.flatnonzero(np.diff(rows) > _SPARSE * _SHORT) + 1
    # Stretches too short to be worth a block of their own are joined with the next.
    begin = 0
    for end in [*gaps.tolist(), stop]:
        if end - begin >= _SHORT or end == stop:
            for first in range(begin, end, size):
                yield first, min(first + size, end)
            begin = end


def _block(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    out: NDArray[np.float32],
) -> None:
    """Score one block into ``out`` (num_queries, b)."""
    first, last = int(rows[0]), int(rows[-1])
    dense = last - first < _SPARSE * len(rows)
    if not dense and len(rows) > _ROWS:
        # A copy should still be in the cache when it is read.
        for start in range(0, len(rows), _ROWS):
            part = slice(start, start + _ROWS)
            _block(vectors, rows[part], queries, out[:, part])
        return
    span = slice(first, last + 1)
    block = span if dense else rows
    inner = rows - first if dense and last - first + 1 > len(rows) else None
    codes: NDArray[Any] = (
        vectors.codes[block] if vectors.packed else vectors.decode(block)
    )
    for i, query in enumerate(queries):
        if vectors.packed:
            score = agreement(codes, query, vectors.dim)
        else:
            # A product of one row at a time never brings threads.
            score = np.vecdot(codes, query)
        out[i] = score if inner is None else score[inner]
