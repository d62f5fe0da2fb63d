"""Which way a grid lies: rasters of any orientation, presented with north at the top.

The rows of a raster may run from south to north, its columns from east to west, and rows and
columns may change places: eight orientations of one picture. All are brought to the one
with north at the top by turning the array, so no pixel is resampled. A grid that is
rotated by another angle keeps what is left of it, at most 45 degrees, and is never a mirror
image.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

#: Part of a pixel, over the whole grid, by which the sides of an upright grid may slant:
#: what is left of a rotation that was written with too few digits.
_SLANT = 1e-4

#: Degrees by which an orientation must be nearer to north than the stored one.
_TIE = 1e-6

#: Rows and columns of a grid, or those of a window and where it starts.
type Shape = tuple[int, int]


class Turn(NamedTuple):
    """How a stored array becomes the presented one: transposed first, then turned over."""

    #: Whether rows and columns change places.
    transposed: bool = False
    #: Whether the order of the rows (after that) is reversed.
    down: bool = False
    #: Whether the order of the columns is reversed.
    across: bool = False

    def pixels(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn an array.

        Args:
            stored: Pixels as the file stores them, ``(..., height, width)``.

        Returns:
            A view of them with north at the top.
        """
        found = stored.swapaxes(-1, -2) if self.transposed else stored
        rows = slice(None, None, -1 if self.down else None)
        return found[..., rows, :: -1 if self.across else 1]

    def back(self, presented: NDArray[Any]) -> NDArray[Any]:
        """Undo :meth:`pixels`."""
        rows = slice(None, None, -1 if self.down else None)
        found = presented[..., rows, :: -1 if self.across else 1]
        return found.swapaxes(-1, -2) if self.transposed else found

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Rows and columns (the last two of *shape*) after the turn, or before it."""
        *first, height, width = shape
        return (*first, width, height) if self.transposed else (*first, height, width)

    def stored(
        self, area: Sequence[float], shape: Shape
    ) -> tuple[float, float, float, float]:
        """Find in the file a window of the presented grid.

        Args:
            area: ``(row, column, height, width)`` in presented pixels.
            shape: Rows and columns of the presented grid.

        Returns:
            The same four numbers in pixels as the file stores them.
        """
        row, column, height, width = area
        row = shape[0] - row - height if self.down else row
        column = shape[1] - column - width if self.across else column
        if self.transposed:
            return column, row, width, height
        return row, column, height, width

    def presented(
        self, area: Sequence[float], shape: Shape
    ) -> tuple[float, float, float, float]:
        """Undo :meth:`stored`: *shape* is that of the presented grid again."""
        row, column, height, width = area
        if self.transposed:
            row, column, height, width = column, row, width, height
        row = shape[0] - row - height if self.down else row
        column = shape[1] - column - width if self.across else column
        return row, column, height, width


#: All eight, the one that changes nothing first.
_TURNS = tuple(Turn(*flags) for flags in product((False, True), repeat=3))

#: The turn that changes nothing.
AS_STORED = _TURNS[0]


def north_up(transform: Affine, shape: Shape) -> tuple[Turn, Affine, Shape]:
    """Find the turn after which a grid has north at the top.

    Args:
        transform: Stored pixel ``(column, row)`` to coordinates.
        shape: Rows and columns as stored.

    Returns:
        The turn, and transform and shape of the grid after it. Of a grid without a place
        (the identity) nothing changes.
    """
    upright = transform.b == transform.d == 0 and transform.a > 0 > transform.e
    if upright or transform.is_identity:
        return AS_STORED, transform, shape
    angles = [_angle(_turned(transform, shape, turn)) for turn in _TURNS]
    best = min(range(len(_TURNS)), key=lambda i: (angles[i] > min(angles) + _TIE, i))
    turn = _TURNS[best]
    height, width = turn.shape(shape)
    found = _turned(transform, shape, turn)
    a, b, c, d, e, f = tuple(found)[:6]
    slant = max(abs(b) * height / abs(a or 1), abs(d) * width / abs(e or 1))
    if a and e and 0 < slant < _SLANT:
        found = Affine(a, 0, c, 0, e, f)
    return turn, found, (height, width)


def _turned(transform: Affine, shape: Shape, turn: Turn) -> Affine:
    """Transform of the presented pixels."""
    a, b, c, d, e, f = tuple(transform)[:6]
    if turn.transposed:
        a, b, d, e = b, a, e, d
    height, width = turn.shape(shape)
    if turn.down:
        b, c, e, f = -b, c + b * height, -e, f + e * height
    if turn.across:
        a, c, d, f = -a, c + a * width, -d, f + d * width
    return Affine(a, b, c, d, e, f)


def _angle(transform: Affine) -> float:
    """Degrees between a grid and one with north at the top; infinite for mirror images.

    Sheared grids have two angles, that of the rows and that of the columns: the mean counts.
    """
    if transform.determinant >= 0:
        return float('inf')
    across = np.arctan2(transform.d, transform.a)
    down = np.arctan2(transform.b, -transform.e)
    return float(np.degrees(abs(across) + abs(down)) / 2)


class NorthUp:
    """An open raster, presented with north at the top.

    It reads as a dataset of rasterio does; windows and shapes are those of the presented
    grid. Whatever does not depend on the grid is that of the raster.

    Args:
        source: A raster that rasterio has opened.
    """

    def __init__(self, source: Any) -> None:
        """Initialize a new NorthUp instance."""
        self._source = source
        self.turn, self.transform, self.shape = north_up(source.transform, source.shape)
        self.height, self.width = self.shape
        self.block_shapes = [self.turn.shape(s) for s in source.block_shapes]

    def __getattr__(self, name: str) -> Any:
        """Give what does not depend on the grid."""
        return getattr(self._source, name)

    def __enter__(self) -> Self:
        """Open it for a context, as rasterio does."""
        self._source.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self._source.__exit__(*error)

    def read(self, *args: Any, **options: Any) -> Any:
        """Read pixels, as rasterio does, or masked pixels."""
        return self._turned(self._source.read, args, options)

    def read_masks(self, *args: Any, **options: Any) -> Any:
        """Read the masks of bands, as rasterio does."""
        return self._turned(self._source.read_masks, args, options)

    def dataset_mask(self, *args: Any, **options: Any) -> Any:
        """Read the mask of all bands, as rasterio does."""
        return self._turned(self._source.dataset_mask, args, options)

    def _turned(self, read: Any, args: Sequence[Any], options: dict[str, Any]) -> Any:
        window = options.get('window')
        if window is not None:
            area = window.row_off, window.col_off, window.height, window.width
            row, column, height, width = self.turn.stored(area, self.shape)
            # ty does not know the fields of this class.
            options['window'] = Window(column, row, width, height)  # ty: ignore[too-many-positional-arguments]
        if options.get('out_shape') is not None:
            options['out_shape'] = self.turn.shape(options['out_shape'])
        # Copied once, so that windows cut from it have their rows in order.
        return self.turn.pixels(read(*args, **options)).copy()


def upright(source: Any) -> Any:
    """Present an open raster with north at the top.

    Args:
        source: A raster that rasterio has opened.

    Returns:
        The raster itself if it lies so, else a :class:`NorthUp`.
    """
    t = source.transform
    # Nearly every raster: checked once per opened file.
    if t.b == t.d == 0 and t.a > 0 > t.e:
        return source
    found = NorthUp(source)
    return found if any(found.turn) else source
