"""How much of a patch holds data, known without reading the patch again."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from torchgeo_cmr.reading.quality_reader import QualityReader
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.quality import judged
from torchgeo_cmr.scenes.scene import Scene

#: Pixels that are looked at together: a block of most large files.
_SIDE = 512

#: What is known of a page: nothing yet, all pixels valid, none, or some.
_UNKNOWN, _ALL, _NONE, _SOME = range(4)


class Validity:
    """Counts the valid pixels of any window of a scene.

    A pixel is valid if no band misses it and no quality mask calls it missing, as in
    embedding. The scene is looked at page by page, when a window first touches one. A byte
    is kept of each page, and of those that are partly valid one bit per pixel, in the
    reader's cache, which forgets what was used longest ago.

    Args:
        reader: Reader of the scene.
    """

    def __init__(self, reader: SceneReader) -> None:
        """Initialize a new Validity instance."""
        self.reader = reader
        scene = reader.scene
        self._bounds = scene.footprint.bounds
        self._quality = _quality(scene)
        as_stored = not scene.warped and scene.read_as is None
        self._unmarked = self._quality is None and as_stored and scene.unmarked
        self._complete = self._unmarked and scene.complete
        self._page = (0, 0) if self._complete else _page(scene)
        #: Names this scene in the cache, without keeping it alive.
        self._key = object()
        self._states = bytearray()
        if not self._complete:
            down, self._across = (
                -(-size // side)
                for size, side in zip(scene.shape, self._page, strict=True)
            )
            self._states = bytearray(down * self._across)

    def is_whole(
        self, bounds: tuple[float, float, float, float], *, nan: bool = True
    ) -> bool:
        """Whether it is sure without a look that every pixel inside some bounds is valid.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` in the CRS of the scene.
            nan: As in :meth:`share`.
        """
        west, south, east, north = self._bounds
        inside = west <= bounds[0] and south <= bounds[1]
        inside = inside and bounds[2] <= east and bounds[3] <= north
        return inside and (self._complete or (self._unmarked and not nan))

    def __reduce__(self) -> tuple[Any, ...]:
        """Look again in another process."""
        return type(self), (self.reader,)

    def share(self, window: tuple[int, int, int, int], *, nan: bool = True) -> float:
        """Return the share of valid pixels, 0 to 1.

        Args:
            window: ``(row, column, height, width)`` on the scene's grid; what lies outside
                is not valid.
            nan: Whether to look for NaN in files that mark no pixels as missing.

        Raises:
            RasterError: If a file cannot be read.
        """
        top, left, height, width = window
        rows, columns = self.reader.scene.shape
        first = max(top, 0), max(left, 0)
        last = min(top + height, rows), min(left + width, columns)
        if last[0] <= first[0] or last[1] <= first[1]:
            return 0.0
        covered = (last[0] - first[0]) * (last[1] - first[1])
        if self._complete or (self._unmarked and not nan):
            return covered / (height * width)
        high, wide = self._page
        pages = [
            (down, across)
            for down in range(first[0] // high, -(-last[0] // high))
            for across in range(first[1] // wide, -(-last[1] // wide))
        ]
        # What most windows of most scenes lie in.
        if all(self._states[d * self._across + a] == _ALL for d, a in pages):
            return covered / (height * width)
        count = sum(self._count(*page, first, last) for page in pages)
        return count / (height * width)

    def _count(
        self, down: int, across: int, first: tuple[int, int], last: tuple[int, int]
    ) -> int:
        """Valid pixels of a page in the rows and columns from *first* to before *last*."""
        number = down * self._across + across
        masks = self.reader.cache.masks
        bits = masks.get((self._key, number)) if self._states[number] == _SOME else None
        if self._states[number] == _UNKNOWN or (
            self._states[number] == _SOME and bits is None
        ):
            valid = self._look(down, across)
            whole, any_valid = bool(valid.all()), bool(valid.any())
            self._states[number] = _ALL if whole else _SOME if any_valid else _NONE
            if self._states[number] == _SOME:
                bits = np.packbits(valid, axis=1)
                masks.put((self._key, number), bits)
        if self._states[number] == _NONE:
            return 0
        rows, columns = (
            slice(max(low - n * side, 0), min(high - n * side, side))
            for low, high, n, side in zip(
                first, last, (down, across), self._page, strict=True
            )
        )
        if bits is None:
            return (rows.stop - rows.start) * (columns.stop - columns.start)
        return int(np.unpackbits(bits[rows], axis=1)[:, columns].sum())

    def _look(self, down: int, across: int) -> NDArray[np.bool_]:
        """Read a page."""
        (high, wide), (rows, columns) = self._page, self.reader.scene.shape
        top, left = down * high, across * wide
        area = top, left, min(high, rows - top), min(wide, columns - left)
        (pixels,) = self.reader.read_many(np.array([area]))
        valid = np.isfinite(pixels).all(axis=0)
        if self._quality is not None:
            window = Window(left, top, area[3], area[2])  # ty: ignore[too-many-positional-arguments]
            valid &= ~self._quality.read(window)[0]
        return valid


def _quality(scene: Scene) -> QualityReader | None:
    """Reader of the quality mask that embedding would find; None if there is none."""
    found = judged(scene)
    if found.quality is None:
        return None
    return QualityReader(replace(scene, quality=found.quality))


def _page(scene: Scene) -> tuple[int, int]:
    """Rows and columns of a page: whole blocks of the file, if it is read as it lies."""
    height, width = _SIDE, _SIDE
    if scene.layers is None and not scene.warped and not scene.resampled:
        rows, columns = read_header(scene.sources[0][0]).blocks[0]
        if columns >= scene.shape[1]:
            # Strips: as many as make a page of the usual size.
            width = scene.shape[1]
            height = max(rows, _SIDE * _SIDE // width)
        else:
            width = columns * -(-_SIDE // columns)
        height = rows * -(-height // rows)
    return height, width
