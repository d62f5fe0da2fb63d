"""Files of a scene whose blocks lie alike, read as if they were one file with all their bands.

Scenes often come as a file for each band. A window is then cut out of all of them at once, which
for the small windows of training takes a fraction of the time.
"""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.reading.nodata import Marks
from torchgeo_cmr.reading.storage import Storage

#: Path of a file, channels of the result, and which bands of the file (from 1) these are.
type Source = tuple[str, list[int], list[int]]


class FileGroup(NamedTuple):
    """Files whose blocks lie alike, or one file.

    Attributes:
        sources: The files.
        channels: Channels of the result, ascending.
        key: File and band of each channel, which tells blocks of this group from those of others.
        stored: Rows and columns of a file, and of what is decoded together.
        size: Bytes of a block of all files; None if they are read in strips.
        marks: Of each channel, values of missing pixels.
    """

    sources: Sequence[Source]
    channels: list[int]
    key: Hashable
    stored: tuple[tuple[int, int], tuple[int, int]]
    size: int | None
    marks: tuple[Marks, ...]

    def read(
        self, decode: Callable[[str, list[int]], NDArray[Any]], pool: Executor
    ) -> NDArray[Any]:
        """Read a block of every file.

        Args:
            decode: Reads bands of a file.
            pool: Threads that help if they have nothing else to do. One of them may call this.

        Returns:
            Pixels of shape (channels, height, width).
        """
        first, *others = self.sources
        coming = [pool.submit(decode, path, indexes) for path, _, indexes in others]
        pieces = [decode(first[0], first[2])]
        for (path, _, indexes), piece in zip(others, coming, strict=True):
            # Nobody waits for what has not begun, so threads cannot wait for one another.
            pieces.append(decode(path, indexes) if piece.cancel() else piece.result())
        if not others:
            return pieces[0]
        pixels = np.empty((len(self.channels), *pieces[0].shape[1:]), pieces[0].dtype)
        for (_, channels, _), piece in zip(self.sources, pieces, strict=True):
            pixels[np.searchsorted(self.channels, channels)] = piece
        return pixels


def grouped(
    sources: Sequence[Source],
    storage: Callable[[str], Storage],
    fits: Callable[[int], bool],
    *,
    apart: bool,
) -> list[FileGroup]:
    """Put files together whose blocks lie alike.

    Args:
        sources: Files; the bands of one are of one type.
        storage: Says how a file stores its pixels.
        fits: Whether blocks of so many bytes can be kept.
        apart: Whether every file stays alone, as those do that are fetched side by side.
    """
    #: Files of a group, and bytes of a block of all of them.
    groups: dict[Hashable, tuple[list[Source], int | None]] = {}
    for source in sources:
        path, _, indexes = source
        stored = storage(path)
        size = stored.size(indexes)
        alone = apart or size is None or not fits(size * len(sources))
        kind = stored.types[indexes[0] - 1]
        key = (path, *indexes) if alone else (stored.shape, stored.unit, kind)
        members, others = groups.get(key, ([], 0))
        total = None if size is None else size + (others or 0)
        groups[key] = [*members, source], total
    return [
        _group(members, storage, size if size is not None and fits(size) else None)
        for members, size in groups.values()
    ]


def _group(
    sources: list[Source], storage: Callable[[str], Storage], size: int | None
) -> FileGroup:
    """Describe files whose blocks lie alike; *size* is None if they are read in strips."""
    places = {
        channel: (path, index)
        for path, channels, indexes in sources
        for channel, index in zip(channels, indexes, strict=True)
    }
    channels = sorted(places)
    stored = storage(sources[0][0])
    return FileGroup(
        sources,
        channels,
        tuple(places[channel] for channel in channels),
        (stored.shape, stored.unit),
        size,
        tuple(
            storage(path).marks[index - 1]
            for path, index in (places[channel] for channel in channels)
        ),
    )
