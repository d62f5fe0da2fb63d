"""Diversity of ranked rows: apart on the ground, unlike each other, or both.

A ranking is walked from the top; a row that is close to a better one is skipped. Close may
mean near on the ground, sharing ground, or looking alike, and several at once. What is
chosen from the first thousand rows begins what would be chosen from all, so a ranking may
be continued until enough are chosen.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.table.distance import metres_between, span, whole

type _Positions = NDArray[np.int64]
#: A position, others -> which of the others are close to it.
type Close = Callable[[int, _Positions], NDArray[np.bool_]]


def near(shapes: NDArray[np.object_], metres: float) -> Close:
    """Call rows close that are less than some metres apart.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        metres: Geodesic distance between nearest points.
    """
    boxes = shapely.bounds(shapes).reshape(-1, 4)

    def close(row: int, others: _Positions) -> NDArray[np.bool_]:
        least, most = span(boxes[others], shapes[row])
        hit = most < metres
        doubt = np.flatnonzero((least < metres) & ~hit)
        repeated = np.full(len(doubt), shapes[row], dtype=object)
        hit[doubt] = metres_between(shapes[others[doubt]], repeated, metres) < metres
        return hit

    return close


def overlapping(shapes: NDArray[np.object_], share: float) -> Close:
    """Call rows close that share more than some of the smaller footprint.

    Args:
        shapes: Footprints (n,) in EPSG:4326.
        share: Largest share allowed, 0 to 1; 0 lets edges touch.
    """
    joined = whole(shapes)
    size = shapely.area(joined)

    def close(row: int, others: _Positions) -> NDArray[np.bool_]:
        both = shapely.area(shapely.intersection(joined[others], joined[row]))
        # A rounding error does not count as overlap.
        return both > (share + 1e-9) * np.minimum(size[others], size[row])

    return close


def alike(vectors: NDArray[np.float32], score: float) -> Close:
    """Call rows close whose cosine is at least a score.

    Args:
        vectors: Unit rows (n, dim).
        score: Cosine from which two rows are near-duplicates.
    """
    # Equal vectors of float32 may come out a rounding error below 1.
    least = score - (vectors.shape[1] + 2) * 2.0**-24

    def close(row: int, others: _Positions) -> NDArray[np.bool_]:
        return vectors[others] @ vectors[row] >= least

    return close


def same(values: NDArray[np.object_]) -> Close:
    """Call rows close that have one value in common.

    Args:
        values: Value of each row (n,); a list has several; a row without one is
            close to none.
    """
    known = [
        frozenset(map(str, value))
        if isinstance(value, list | tuple | np.ndarray)
        else frozenset(() if pd.isna(value) else (str(value),))
        for value in values
    ]

    def close(row: int, others: _Positions) -> NDArray[np.bool_]:
        return np.array([bool(known[row] & known[i]) for i in others], dtype=bool)

    return close


def choose(n: int, k: int, *close: Close) -> _Positions:
    """Choose rows that are close to no better one.

    Args:
        n: Rows, best first.
        k: How many to choose at most.
        close: What close means; one is enough to leave a row out.

    Returns:
        Positions, best first.
    """
    left = np.arange(n)
    chosen: list[int] = []
    while len(left) and len(chosen) < k:
        row, left = int(left[0]), left[1:]
        chosen.append(row)
        for test in close:
            left = left[~test(row, left)]
    return np.array(chosen, dtype=np.int64)


def diverse(
    vectors: NDArray[np.float32], scores: NDArray[np.floating], diversity: float, k: int
) -> _Positions:
    r"""Choose rows that are close to the query and unlike those chosen before.

    Maximal marginal relevance: the next row has the largest
    :math:`(1 - d)\,score - d \max cosine` to what is chosen. J. Carbonell and J. Goldstein,
    "The use of MMR, diversity-based reranking", SIGIR 1998.

    Args:
        vectors: Unit rows (n, dim).
        scores: Score of each (n,), higher is closer.
        diversity: ``d``, 0 (the ranking as it is) to 1.
        k: How many to choose at most.

    Returns:
        Positions in the order chosen; equal ones in the order given.
    """
    chosen: list[int] = []
    free = np.ones(len(vectors), dtype=bool)
    closest = np.full(len(vectors), -np.inf)
    value = (1 - diversity) * scores.astype(np.float64)
    for _ in range(min(k, len(vectors))):
        worth = value - diversity * closest if chosen else value
        best = int(np.argmax(np.where(free, worth, -np.inf)))
        chosen.append(best)
        free[best] = False
        closest = np.maximum(closest, vectors @ vectors[best])
    return np.array(chosen, dtype=np.int64)
