"""Scores of selected rows: memory read once, in blocks that stay in the cache.

Few queries are bound by reading memory: the rows are divided among threads, each works
through blocks of about a megabyte with products that use no thread pool of their own, and
all scores are kept, four bytes a row. Many queries are bound by arithmetic: blocks of rows
are gathered and multiplied with the BLAS of NumPy, which brings its own threads; the two
kinds are not mixed, because two pools on the same cores wait for one another.

Where selected rows lie close together, scanning all between them is cheaper than copying
the selected ones, so dense stretches are sliced and only scattered rows are gathered.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .vectors import Vectors, agreement, signs

#: Rows of a block for few queries, and most products of a block for many.
_ROWS = 1_024
_LONG = 16_384
_PRODUCTS = 1 << 21
_MOST_ROWS = 32_768
_FEW = 4
#: A copied row costs as much as this many that are read in passing.
_SPARSE = 3
_SHORT = 32
#: Scores below which threads cost more than they bring.
_ALONE = 16_384
_PIECES = 4


def scan(
    vectors: Vectors, rows: NDArray[np.int64], queries: NDArray[Any]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Score rows block by block.

    Args:
        vectors: The archive.
        rows: Numbers of the rows to score, (m,), sorted, each once, at least one.
        queries: Queries (num_queries, dim) of unit rows, or of packed codes if that is what
            the archive holds; at least one.

    Yields:
        Row numbers (b,) and scores (num_queries, b), approximate in the last bits and by
        what the codes lost.

    .. versionadded:: 0.1
    """
    if len(queries) <= _FEW or vectors.packed:
        most = max(_ROWS, 4 * _PRODUCTS * _FEW // len(queries))
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            yield some, _few(vectors, some, queries)
        return
    size = int(np.clip(_PRODUCTS // len(queries), 1, _MOST_ROWS))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        yield some, queries @ vectors.decode(_plain(some)).T


def _plain(rows: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Give neighbouring rows as a slice, which is not copied."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _few(
    vectors: Vectors, rows: NDArray[np.int64], queries: NDArray[Any]
) -> NDArray[np.float32]:
    """Score rows for few queries, in threads if there is enough to do."""
    scores = np.empty((len(queries), len(rows)), dtype=np.float32)
    asked = signs(queries) if vectors.kind == 'binary' else queries
    # Vectors that are read once and as they are need not fit the cache.
    once = len(queries) == 1 and vectors.kind == 'float32'
    size = _LONG if once else _ROWS

    def part(bounds: tuple[int, int]) -> None:
        for start, stop in _stretches(rows, *bounds, size):
            _block(vectors, rows[start:stop], asked, scores[:, start:stop])

    workers = min(_cores(), len(rows) * len(queries) // _ALONE)
    if workers < 2:
        part((0, len(rows)))
        return scores
    # More pieces than workers: who is held up by another process leaves the rest to others.
    cuts = np.linspace(0, len(rows), _PIECES * workers + 1).astype(int).tolist()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, pairwise(cuts)))
    return scores


def _stretches(
    rows: NDArray[np.int64], start: int, stop: int, size: int
) -> Iterator[tuple[int, int]]:
    """Cut positions start..stop where rows lie far apart, then into blocks."""
    gaps = np.empty(0, dtype=np.int64)
    if stop > start and int(rows[stop - 1] - rows[start]) != stop - 1 - start:
        gaps = np.flatnonzero(np.diff(rows[start:stop]) > _SPARSE * _SHORT) + start + 1
    # Stretches too short to be worth a block of their own are joined with the next.
    begin = start
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
    own = span if dense else rows
    inner = rows - first if dense and last - first + 1 > len(rows) else None
    codes: NDArray[Any] = vectors.codes[own] if vectors.packed else vectors.decode(own)
    for i, query in enumerate(queries):
        if vectors.packed:
            score = agreement(codes, query, vectors.dim)
        else:
            # Not BLAS, which would bring threads of its own.
            score = np.einsum('ij,j->i', codes, query)
        out[i] = score if inner is None else score[inner]


def _cores() -> int:
    """Give the cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1
