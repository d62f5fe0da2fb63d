"""Strips: windows that lie side by side, so that one read serves them all."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Pixels that a strip may hold for each pixel asked for: more would cost more than it saves.
_WASTE = 1.25

#: Pixels of a strip: enough blocks to decode side by side, few enough for a core's cache.
_LARGEST = 2**18


def strips(
    windows: NDArray[np.int64],
) -> Iterator[tuple[tuple[int, int, int, int], NDArray[np.int64]]]:
    """Join windows to strips, in the order in which files store them.

    A strip is never much larger than the windows it serves together, so memory stays in
    proportion to what was asked for. Windows far from any other are strips of their own.

    Args:
        windows: ``(row, column, height, width)``, int64 of shape ``(n, 4)``, in any order.

    Yields:
        The strip as ``(row, column, height, width)``, and the positions in *windows* of
        those it holds.

    .. versionadded:: 0.1
    """
    if not len(windows):
        return
    order = np.lexsort((windows[:, 1], windows[:, 0]))
    edges = np.c_[windows[:, :2], windows[:, :2] + windows[:, 2:]]
    hull, asked, first = edges[order[0]], 0, 0
    for last, i in enumerate(order):
        grown = np.r_[
            np.minimum(hull[:2], edges[i, :2]), np.maximum(hull[2:], edges[i, 2:])
        ]
        area = int(np.prod(windows[i, 2:]))
        pixels = np.prod(grown[2:] - grown[:2])
        if asked and pixels > min(_WASTE * (asked + area), _LARGEST):
            yield _window(hull), order[first:last]
            grown, asked, first = edges[i], 0, last
        hull, asked = grown, asked + area
    yield _window(hull), order[first:]


def _window(hull: NDArray[np.int64]) -> tuple[int, int, int, int]:
    top, left, bottom, right = hull.tolist()
    return top, left, bottom - top, right - left
