"""Exact ranking of selected rows: a quick scan proposes, exact scores decide.

A scan gives scores quickly, but the last bit of a score depends on where a row stands in its
block, so two equal vectors may come out unequal and their order would change with the order
of the archive; and codes of less than float32 are off by what rounding took away. Therefore
the scan only proposes: every row whose score lies within the possible error of the k-th best
is kept, the kept rows are scored again with their whole vectors in float64 in one fixed order
of addition, rounded to float32, and sorted by score and then by tie. The result depends on
vectors and ids alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError

from .candidates import LOWEST, Pool, gathered, kth, where
from .hidden_rows import HiddenRows
from .integer_products import round_queries
from .margin import Margin
from .pruning import has_use, prospect
from .scan import scan, scan_codes
from .vectors import Vectors, agreement, as_vectors, signs

#: Ranks of some rows among equal scores; lower wins.
type Ties = NDArray[np.int64] | Callable[[NDArray[np.int64]], NDArray[np.int64]]

type _Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

_QUERIES = 512
#: Multiplications in one product that takes less time than it takes a scan to begin, and for
#: which OpenBLAS brings no threads.
_AT_ONCE = 1 << 18
#: Most hidden rows of a query that are found and dropped again.
_MORE = 1_000
_PAIRS = 16_384
_DAMAGED = (
    'a vector of the archive is not of length 1, or not a number: its files were damaged; '
    'torchgeo-cmr check names them'
)
#: Score of unit rows, with what float32 adds to their length.
_LARGEST = 1 + 1e-3


@dataclass
class Looks:
    """What was done for an answer.

    Args:
        again: Pairs of query and row that were scored again with whole vectors.
        scanned: What was scanned for the last of them, if bounds were considered.
    """

    again: int = 0
    scanned: str = ''


def top_k(
    vectors: NDArray[Any] | Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    k: int,
    *,
    ties: Ties,
    spare: int | None = None,
    withheld: HiddenRows | None = None,
    looks: Looks | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k best of some rows for each query by inner product.

    Args:
        vectors: Archive (n, dim) of unit rows, or what an index keeps of it.
        rows: Numbers of the rows that may be found, (m,), sorted, each once.
        queries: Queries (num_queries, dim) of unit rows, or packed codes as the archive's.
        k: How many to find, at least 1.
        ties: Rank of each archive row (n,) among equal scores, lower wins; or a function
            that gives such ranks for some rows.
        spare: Look again only at the ``k * spare`` rows that the codes put first, which may
            miss some; without it, at every row that the codes cannot rule out.
        withheld: Rows hidden from some of the queries.
        looks: Counts what was done, if given.

    Returns:
        Row numbers and scores in -1..1, both (num_queries, min(k, m)), best first; where too
        few rows are left to a query, the last have a score of -inf and any number.
    """
    kept = vectors if isinstance(vectors, Vectors) else as_vectors(vectors)
    k = min(k, len(rows))
    found = np.empty((len(queries), k), dtype=np.int64)
    scores = np.empty((len(queries), k), dtype=np.float32)
    if k == 0:
        return found, scores
    if spare is None and not np.isfinite(kept.error):
        kept = as_vectors(kept.whole)
    looks = Looks() if looks is None else looks
    for start in range(0, len(queries), _QUERIES):
        chunk = slice(start, start + _QUERIES)
        batch = np.ascontiguousarray(queries[chunk], kept.whole.dtype)
        held = None if withheld is None else withheld.of(chunk)
        if spare is not None:
            pairs = _propose_few(kept, rows, batch, min(k * spare, len(rows)), held)
        elif not has_use(kept, len(rows)):
            pairs = _propose(kept, rows, batch, k, held)
        else:
            pairs = _propose_bounded(kept, rows, batch, k, held, looks)
        looks.again += len(pairs[0])
        found[chunk], scores[chunk] = decide(kept, batch, *pairs, k, ties=ties)
    # A row that no number compares with is never proposed.
    if withheld is None and spare is None and (scores == -np.inf).any():
        raise ArchiveError(_DAMAGED)
    return found, scores


def decide(
    vectors: Vectors,
    queries: NDArray[Any],
    owner: NDArray[np.int64],
    row: NDArray[np.int64],
    k: int,
    *,
    ties: Ties,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Score proposed pairs again and keep the k best of each query.

    Args:
        vectors: The archive.
        queries: Queries (num_queries, dim) of unit rows.
        owner: Query of each pair.
        row: Row of each pair; each query has each once.
        k: How many to keep.
        ties: As for :func:`top_k`.

    Returns:
        Row numbers and scores, both (num_queries, k), best first; as for :func:`top_k` where
        a query has fewer.
    """
    score = _scores(queries, owner, vectors, row)
    order = _order(owner, row, score, ties)
    first = np.searchsorted(owner[order], np.arange(len(queries) + 1))
    place = first[:-1, None] + np.arange(k)
    short = place >= first[1:, None]
    if not short.any():
        best = order[place]
        return row[best], score[best]
    found = np.zeros(place.shape, dtype=np.int64)
    scores = np.full(place.shape, -np.inf, dtype=np.float32)
    best = order[place[~short]]
    found[~short], scores[~short] = row[best], score[best]
    return found, scores


def above(
    vectors: NDArray[Any] | Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    min_score: float,
    *,
    ties: Ties,
    withheld: HiddenRows | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Find all of some rows that score at least so much.

    Args:
        vectors: As for :func:`top_k`.
        rows: As for :func:`top_k`.
        queries: As for :func:`top_k`.
        min_score: Least score, -1 to 1, compared as float32.
        ties: As for :func:`top_k`.
        withheld: As for :func:`top_k`.

    Returns:
        Query number, row number and score of each pair, sorted by query, then best first.
    """
    kept = vectors if isinstance(vectors, Vectors) else as_vectors(vectors)
    if not np.isfinite(kept.error):
        kept = as_vectors(kept.whole)
    owners, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(queries) if len(rows) else 0, _QUERIES):
        batch = np.ascontiguousarray(
            queries[start : start + _QUERIES], kept.whole.dtype
        )
        held = None if withheld is None else withheld.of(slice(start, start + _QUERIES))
        for sink in _reaching(kept, rows, batch, min_score, held):
            for owner, row in sink.pairs:
                owners.append(owner + start)
                numbers.append(row)
    owner, row = np.concatenate(owners), np.concatenate(numbers)
    score = _scores(np.asarray(queries, kept.whole.dtype), owner, kept, row)
    enough = score >= np.float32(min_score)
    owner, row, score = owner[enough], row[enough], score[enough]
    order = _order(owner, row, score, ties)
    return owner[order], row[order], score[order]


def _slack(vectors: Vectors) -> float:
    """Give how far below the k-th best a scanned score may be and yet belong above it.

    A product of unit rows is off by at most dim * 2**-24, on both sides of the comparison;
    rounding the exact score to float32 adds 2**-24 to each, queries in two numbers of float16
    four times as much, codes what they lost.
    """
    rounding = (1 + vectors.error) * (vectors.dim + 8) * 2.0**-24
    return 2 * (rounding + 1.001 * vectors.error)


def _propose(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    k: int,
    withheld: HiddenRows | None,
) -> _Pairs:
    """Give (query, row) pairs that hold the k best of every query, ties included."""
    count, slack = len(queries), _slack(vectors)
    few = count * len(rows) * vectors.dim < _AT_ONCE
    if few and withheld is None and vectors.kind == 'float32':
        with np.errstate(invalid='ignore', over='ignore'):
            scores = queries @ vectors.whole.take(rows, axis=0).T
            owner, column = where(scores >= kth(scores, k)[:, None] - slack)
        return owner, rows[column]
    margin = Margin.even(count, slack)
    make = partial(Pool, count, k, margin, withheld)
    return gathered(scan(vectors, rows, queries, make))


def _propose_few(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    k: int,
    withheld: HiddenRows | None,
) -> _Pairs:
    """Give the pairs that the codes put first."""
    most = 0 if withheld is None else withheld.most(rows, len(queries))
    if vectors.kind == 'binary' and most <= _MORE:
        return _nearest_signs(vectors, rows, queries, k, most, withheld)
    margin = Margin.even(len(queries), 0)
    make = partial(Pool, len(queries), k, margin, withheld)
    if vectors.coded is None:
        return gathered(scan(vectors, rows, queries, make))
    return gathered(scan_codes(vectors.coded, rows, round_queries(queries), make))


def _nearest_signs(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    k: int,
    most: int,
    withheld: HiddenRows | None,
) -> _Pairs:
    """Give the pairs whose signs agree best; faiss counts them where they are mapped."""
    from faiss import knn_hamming  # exact searches need none

    first, last = int(rows[0]), int(rows[-1]) + 1
    together = last - first == len(rows)
    codes = vectors.codes[first:last] if together else vectors.codes[rows]
    wide = min(k + most, len(rows))
    place = knn_hamming(signs(queries), np.ascontiguousarray(codes), wide)[1]
    found = rows[place]
    if withheld is None:
        return np.repeat(np.arange(len(queries)), wide), found.reshape(-1)
    free = ~withheld.holds(found)
    owner, column = np.nonzero(free & (free.cumsum(axis=1) <= k))
    return owner, found[owner, column]


def _propose_bounded(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    k: int,
    withheld: HiddenRows | None,
    looks: Looks,
) -> _Pairs:
    """Give what :func:`_propose` gives, and what the bounds of codes do not rule out."""
    seen = prospect(vectors, rows, queries, withheld, k=k)
    if seen is None:
        looks.scanned = 'whole vectors'
        return _propose(as_vectors(vectors.whole), rows, queries, k, withheld)
    looks.scanned = seen.bounds.name
    make = partial(Pool, len(queries), k, seen.bounds.margin, withheld, seen.least)
    return gathered(seen.bounds.scan(rows, make))


def _reaching(
    vectors: Vectors,
    rows: NDArray[np.int64],
    queries: NDArray[Any],
    min_score: float,
    withheld: HiddenRows | None,
) -> 'list[_Above]':
    """Scan for what may reach a score."""
    if has_use(vectors, len(rows)):
        seen = prospect(vectors, rows, queries, withheld, min_score=min_score)
        if seen is not None:
            make = partial(_Above, seen.least, seen.bounds.margin, withheld)
            return seen.bounds.scan(rows, make)
        vectors = as_vectors(vectors.whole)
    margin = Margin.even(len(queries), 2 * _slack(vectors))
    least = np.full(len(queries), max(min_score, float(LOWEST)), np.float32)
    return scan(vectors, rows, queries, partial(_Above, least, margin, withheld))


class _Above:
    """Pairs that reach a score; a sink of a scan."""

    def __init__(
        self, least: NDArray[np.float32], margin: Margin, withheld: HiddenRows | None
    ) -> None:
        self.least, self.margin, self.withheld = least, margin, withheld
        self.pairs: list[_Pairs] = []

    def add(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Take scores (num_queries, b) of rows (b,)."""
        if self.withheld is not None:
            self.withheld.hide(rows, scores)
        least = np.maximum(self.least - self.margin.most(rows), LOWEST)
        owner, column = where(scores >= least[:, None])
        held = self.withheld
        keep = None if held is None else held.in_time(owner, rows[column])
        if keep is not None:
            owner, column = owner[keep], column[keep]
        self.pairs.append((owner, rows[column]))


def equal_neighbours(owner: NDArray[np.int64], score: NDArray[np.floating]) -> bool:
    """Say whether two neighbours of a sorted list belong to one query and score alike."""
    return bool(((score[1:] == score[:-1]) & (owner[1:] == owner[:-1])).any())


def _order(
    owner: NDArray[np.int64],
    row: NDArray[np.int64],
    score: NDArray[np.float32],
    ties: Ties,
) -> NDArray[np.int64]:
    """Sort pairs by query, then score, then tie; ties are computed only where they matter."""
    order = np.lexsort((-score, owner))
    if not equal_neighbours(owner[order], score[order]):
        return order
    rank = ties[row] if isinstance(ties, np.ndarray) else ties(row)
    return np.lexsort((rank, -score, owner))


def _scores(
    queries: NDArray[Any],
    owner: NDArray[np.int64],
    vectors: Vectors,
    row: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Score pairs in float64, where products of float32 are exact and order is fixed."""
    scores = np.empty(len(row), dtype=np.float32)
    packed = vectors.kind == 'hamming'
    exact_queries: NDArray[Any] = queries if packed else queries.astype(np.float64)
    pairs = max(1, _PAIRS // vectors.dim)
    for start in range(0, len(row), pairs):
        part = slice(start, start + pairs)
        left, right = exact_queries[owner[part]], vectors.whole[row[part]]
        if packed:
            scores[part] = agreement(right, left, vectors.dim)
        else:
            left *= right
            scores[part] = left.sum(axis=1)
    if not (np.abs(scores) <= _LARGEST).all():
        raise ArchiveError(_DAMAGED)
    return np.minimum(np.maximum(scores, -1, out=scores), 1, out=scores)
