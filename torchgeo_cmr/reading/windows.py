"""Windows: joined to strips that one read serves, and cut out of the pieces that were read."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

#: Pixels that a strip may hold for each pixel requested: more would cost more than it saves.
_WASTE = 1.25

#: Pixels of a strip: enough blocks to decode side by side, few enough for a core's cache.
_LARGEST = 2**18


def strips(
    windows: NDArray[np.int64],
) -> Iterator[tuple[tuple[int, int, int, int], NDArray[np.int64]]]:
    """Join windows to strips, in the order in which files store them.

    A strip is never much larger than the windows it serves together, so memory stays in
    proportion to what was requested. Windows far from any other are strips of their own.

    Args:
        windows: ``(row, column, height, width)``, int64 of shape ``(n, 4)``, in any order.

    Yields:
        The strip as ``(row, column, height, width)``, and the positions in *windows* of
        those it holds.
    """
    if not len(windows):
        return
    order = np.lexsort((windows[:, 1], windows[:, 0]))
    edges = np.c_[windows[:, :2], windows[:, :2] + windows[:, 2:]]
    hull, requested, first = edges[order[0]], 0, 0
    for last, i in enumerate(order):
        grown = np.r_[
            np.minimum(hull[:2], edges[i, :2]), np.maximum(hull[2:], edges[i, 2:])
        ]
        area = int(np.prod(windows[i, 2:]))
        pixels = np.prod(grown[2:] - grown[:2])
        if requested and pixels > min(_WASTE * (requested + area), _LARGEST):
            yield _window(hull), order[first:last]
            grown, requested, first = edges[i], 0, last
        hull, requested = grown, requested + area
    yield _window(hull), order[first:]


def _window(hull: NDArray[np.int64]) -> tuple[int, int, int, int]:
    top, left, bottom, right = hull.tolist()
    return top, left, bottom - top, right - left


def sizes(windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the heights and widths that windows have, each once, of shape ``(n, 2)``."""
    found = windows[:, 2:]
    # Most have one size, and to sort them takes longer than to compare them.
    return found[:1] if (found == found[:1]).all() else np.unique(found, axis=0)


#: Position of a window, rows and columns of it, and the same rows and columns of the piece.
type Cut = tuple[int, tuple[slice, slice], tuple[slice, slice]]


def cuts(
    windows: NDArray[np.int64],
    pieces: Sequence[tuple[int, int, int, int]],
    inside: Sequence[Sequence[int]],
) -> Iterator[list[Cut]]:
    """Plan how windows are assembled from pieces.

    All at once, because the threads that decode wait while Python counts.

    Args:
        windows: ``(row, column, height, width)``, int64 of shape ``(n, 4)``.
        pieces: The same four numbers of each piece.
        inside: Positions of the windows that need each piece.

    Yields:
        The cuts of one piece after the other.
    """
    counts = np.array([len(needed) for needed in inside], np.int64)
    which = np.repeat(np.arange(len(pieces)), counts)
    requested = np.concatenate([*inside, []]).astype(np.int64)
    edges, frames = (
        np.c_[each[:, :2], each[:, :2] + each[:, 2:]]
        for each in (
            np.array(pieces, np.int64).reshape(-1, 4)[which],
            windows[requested],
        )
    )
    common = np.c_[
        np.maximum(edges[:, :2], frames[:, :2]), np.minimum(edges[:, 2:], frames[:, 2:])
    ]
    places = zip(
        requested.tolist(),
        (common - np.tile(frames[:, :2], 2)).tolist(),
        (common - np.tile(edges[:, :2], 2)).tolist(),
        strict=True,
    )
    for count in counts.tolist():
        yield [
            (i, (slice(a, c), slice(b, d)), (slice(e, g), slice(f, h)))
            for i, (a, b, c, d), (e, f, g, h) in islice(places, count)
        ]
