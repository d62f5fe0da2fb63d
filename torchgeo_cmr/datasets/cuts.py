"""Cuts: which pixels of a piece of a scene are which pixels of a window."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

#: Position of a window, rows and columns of it, and the same rows and columns of the piece.
type Cut = tuple[int, tuple[slice, slice], tuple[slice, slice]]


def cuts(
    windows: NDArray[np.int64],
    pieces: Sequence[tuple[int, int, int, int]],
    inside: Sequence[Sequence[int]],
) -> Iterator[list[Cut]]:
    """Say how windows are put together from pieces.

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
    asked = np.concatenate([*inside, []]).astype(np.int64)
    edges, frames = (
        np.c_[each[:, :2], each[:, :2] + each[:, 2:]]
        for each in (np.array(pieces, np.int64).reshape(-1, 4)[which], windows[asked])
    )
    common = np.c_[
        np.maximum(edges[:, :2], frames[:, :2]), np.minimum(edges[:, 2:], frames[:, 2:])
    ]
    places = zip(
        asked.tolist(),
        (common - np.tile(frames[:, :2], 2)).tolist(),
        (common - np.tile(edges[:, :2], 2)).tolist(),
        strict=True,
    )
    for count in counts.tolist():
        yield [
            (i, (slice(a, c), slice(b, d)), (slice(e, g), slice(f, h)))
            for i, (a, b, c, d), (e, f, g, h) in islice(places, count)
        ]
