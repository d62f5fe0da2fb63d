"""Areas: the ground of one pair of scenes from which patches may be cut."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely import Polygon
from shapely.geometry.base import BaseGeometry
from torchgeo.datasets import GeoDataset
from torchgeo.samplers import Units

from torchgeo_cmr.datasets.paired import PairedDataset, PairSlice

#: ``(xmin, ymin, xmax, ymax)`` in the CRS of an area.
type Bounds = tuple[float, float, float, float]

#: First and last column, and first and last row, of the pixel lattice.
type Spans = tuple[tuple[int, int], tuple[int, int]]

#: What a loader passes to the dataset: which zone, and the slice of it. Where the ground is
#: that of pairs, the slice is a :class:`~torchgeo_cmr.datasets.paired.PairSlice`.
type PatchKey = tuple[int, tuple[slice, slice, slice]]


@dataclass(frozen=True)
class Area:
    """A polygon on one pixel lattice, at one date, for patches of one size.

    Examples:
        >>> area = Area(
        ...     zone=0,
        ...     polygon=shapely.box(0, 0, 640, 320),
        ...     crs=CRS(32632),
        ...     time=pd.Interval(pd.Timestamp(2024, 6, 1), pd.Timestamp(2024, 6, 2)),
        ...     origin=(0.0, 320.0),
        ...     res=(10.0, 10.0),
        ...     size=32,
        ... )
        >>> area.extent, area.grid()
        ((320.0, 320.0), [(0.0, 0.0, 320.0, 320.0), (320.0, 0.0, 640.0, 320.0)])
    """

    #: Number of the zone (dataset) that the keys name.
    zone: int
    #: Ground that may be used, in ``crs``.
    polygon: Polygon
    crs: CRS
    #: Time of the pair of scenes.
    time: pd.Interval
    #: A corner of the pixel lattice to which patches are snapped.
    origin: tuple[float, float]
    #: Pixel size ``(x, y)`` in units of the CRS.
    res: tuple[float, float]
    #: Patch size in pixels: the side of a square, or height and width.
    size: int | tuple[int, int]
    #: Share of valid pixels inside some bounds, 0 to 1; None if every pixel is valid.
    valid: Callable[[Bounds], float] | None = None
    #: Patches with a smaller share are never cut, and those without a valid pixel neither.
    min_valid: float = 0.0
    #: Number of the pair of scenes, which the keys name too; None if there are no pairs.
    row: int | None = None
    #: Whether the polygon is what others have left of its ground: then it is no chip, however
    #: near its size is to that of one.
    rest: bool = False

    @cached_property
    def pixels(self) -> tuple[int, int]:
        """Width and height of a patch in pixels."""
        height, width = sides(self.size)
        return width, height

    @cached_property
    def _edges(self) -> Bounds:
        # Once, for shapely takes longer to say them than a draw takes without.
        return self.polygon.bounds

    @cached_property
    def extent(self) -> tuple[float, float]:
        """Width and height of a patch on the ground, in units of the CRS."""
        return self.pixels[0] * self.res[0], self.pixels[1] * self.res[1]

    @property
    def is_chip(self) -> bool:
        """Whether exactly one patch fits: the whole of a pre-cut file."""
        if self.rest:
            return False
        xmin, ymin, xmax, ymax = self._edges
        width, height = self.extent
        return (
            abs(xmax - xmin - width) < 0.5 * self.res[0]
            and abs(ymax - ymin - height) < 0.5 * self.res[1]
            and self.polygon.area > 0.99 * (xmax - xmin) * (ymax - ymin)
        )

    @property
    def has_room(self) -> bool:
        """Whether the box around the polygon holds a patch."""
        return all(first <= last for first, last in self._lattice())

    def key(self, bounds: Bounds) -> PatchKey:
        """Return what the loader passes to the dataset for some bounds."""
        xmin, ymin, xmax, ymax = bounds
        x = slice(xmin, xmax, self.res[0])
        y = slice(ymin, ymax, self.res[1])
        t = slice(self.time.left, self.time.right, 1)
        return self.zone, (x, y, t) if self.row is None else PairSlice(
            self.row, x, y, t
        )

    def chip(self) -> Bounds | None:
        """Return the bounds of a pre-cut patch, or None if too little of it is valid."""
        return self._chip

    @cached_property
    def _chip(self) -> Bounds | None:
        # Once, however many epochs there are: it reads the file.
        xmin, _, _, ymax = self._edges
        # Another sensor may have cut up to half a pixel off: it is whole pixels all the same.
        column = round((xmin - self.origin[0]) / self.res[0] - 1e-6)
        top = round((ymax - self.origin[1]) / self.res[1] + 1e-6)
        bounds = self._bounds(column, top - self.pixels[1])
        return bounds if self.is_valid(bounds) else None

    def draw(
        self, generator: np.random.Generator, within: Bounds | None = None
    ) -> Bounds | None:
        """Draw one patch, uniformly over the lattice; None if the draw fell outside.

        Args:
            generator: Source of randomness.
            within: Bounds that the patch must not leave (default: those of the area).

        Returns:
            Bounds of the patch.
        """
        bounds = self.spot(generator, within)
        if bounds is None or not inside([self], [bounds])[0]:
            return None
        return bounds if self.is_valid(bounds) else None

    def spot(
        self, generator: np.random.Generator, within: Bounds | None = None
    ) -> Bounds | None:
        """Draw a spot of the lattice in the box around the area, which it may leave.

        Args:
            generator: Source of randomness.
            within: Bounds that the patch must not leave (default: those of the area).

        Returns:
            Bounds of the patch; None if there is no room for one.
        """
        columns, rows = self._lattice(within)
        if columns[1] < columns[0] or rows[1] < rows[0]:
            return None
        column = generator.integers(columns[0], columns[1] + 1)
        row = generator.integers(rows[0], rows[1] + 1)
        return self._bounds(int(column), int(row))

    def is_valid(self, bounds: Bounds) -> bool:
        """Say whether enough of some bounds holds data."""
        if self.valid is None:
            return True
        share = self.valid(bounds)
        return share > 0 and share >= self.min_valid

    def grid(self) -> list[Bounds]:
        """Lay patches side by side over the area, row by row from the lower left."""
        if self.is_chip:
            chip = self.chip()
            return [] if chip is None else [chip]
        columns, rows = self._lattice()
        places = [
            self._bounds(column, row)
            for row in range(rows[0], rows[1] + 1, self.pixels[1])
            for column in range(columns[0], columns[1] + 1, self.pixels[0])
        ]
        if not places:
            return []
        fits = inside([self], places)
        return [
            b for b, ok in zip(places, fits, strict=True) if ok and self.is_valid(b)
        ]

    def _lattice(self, within: Bounds | None = None) -> Spans:
        """First and last column and row of patches in some bounds of the area."""
        if within is None:
            return self._spans
        xmin, ymin, xmax, ymax = self._edges
        return (
            self._steps(max(xmin, within[0]), min(xmax, within[2]), 0),
            self._steps(max(ymin, within[1]), min(ymax, within[3]), 1),
        )

    @cached_property
    def _spans(self) -> Spans:
        return self._lattice(self._edges)

    def _steps(self, low: float, high: float, axis: int) -> tuple[int, int]:
        """First and last lattice step at which a patch lies between two coordinates."""
        res, origin = self.res[axis], self.origin[axis]
        first = math.ceil((low - origin) / res - 0.01)
        last = math.floor((high - origin) / res + 0.01) - self.pixels[axis]
        return first, last

    def _bounds(self, column: int, row: int) -> Bounds:
        xmin = self.origin[0] + column * self.res[0]
        ymin = self.origin[1] + row * self.res[1]
        return xmin, ymin, xmin + self.extent[0], ymin + self.extent[1]

    @cached_property
    def _tolerant(self) -> Polygon:
        # A hundredth of a pixel: coordinates of one lattice differ in their last bits.
        grown = self.polygon.buffer(0.02 * max(self.res), join_style='mitre')
        shapely.prepare(grown)
        return grown


def inside(areas: Sequence[Area], bounds: Sequence[Bounds]) -> NDArray[np.bool_]:
    """Say which patches their areas cover, all in one call.

    Args:
        areas: That of each patch, or one for all.
        bounds: Bounds of the patches.

    Returns:
        Boolean of shape ``(n,)``.
    """
    ground = np.array([area._tolerant for area in areas], object)
    sides = np.array(bounds, np.float64).reshape(-1, 4)
    return shapely.covers(ground, shapely.box(*sides.T))


def sides(size: Any, name: str = 'size') -> tuple[Any, Any]:
    """Return height and width of a size as TorchGeo writes it: one number, or both.

    Args:
        size: A number, or two in a sequence, array or tensor.
        name: Name of the option, for the message.

    Returns:
        Height and width as Python's numbers.

    Raises:
        ValueError: If it is something else.
    """
    try:
        values = np.atleast_1d(np.asarray(size))
        known = values.dtype.kind in 'iuf' and np.isfinite(values).all()
    except (TypeError, ValueError):
        known, values = False, np.empty(0)
    if not known or values.shape not in {(1,), (2,)}:
        raise ValueError(f'{name} is {size!r}: give one number, or height and width')
    height, width = values.tolist() * (3 - len(values))
    return height, width


def areas_of(
    dataset: GeoDataset,
    size: float | tuple[float, float],
    *,
    roi: BaseGeometry | None = None,
    toi: pd.Interval | None = None,
    units: Units = Units.PIXELS,
) -> list[Area]:
    """Give the ground of each row of a dataset's index.

    Args:
        dataset: Any dataset with an index in space and time.
        size: Patch size, or height and width.
        roi: Region that patches must not leave, in the CRS of the dataset.
        toi: Time to which rows are cut; those outside are dropped.
        units: Whether *size* counts pixels or units of the CRS, which are rounded to whole
            pixels.

    Returns:
        One area for each polygon of each row.

    Raises:
        TypeError: If *units* is not a ``Units``.
        ValueError: If a patch is smaller than a pixel.
    """
    if not isinstance(units, Units):
        raise TypeError(f'units is {units!r}: give Units.PIXELS or Units.CRS')
    # XarrayDataset keeps the sign of the row spacing.
    res = abs(dataset.res[0]), abs(dataset.res[1])
    height, width = sides(size)
    if toi is not None and toi.left.tzinfo is not None:
        toi = pd.Interval(
            *(_in_utc(t) for t in (toi.left, toi.right)), closed=toi.closed
        )
    if units is Units.CRS:
        height, width = height / res[1], width / res[0]
    pixels = round(height), round(width)
    if min(pixels) < 1:
        raise ValueError(f'size is {size} {units.name}: a patch needs a pixel at least')
    pairs = dataset if isinstance(dataset, PairedDataset) else None
    outlines, areas = dataset.index.geometry.to_numpy(), []
    for row, (outline, time) in enumerate(
        zip(outlines, dataset.index.index, strict=True)
    ):
        span = _within(time, toi, instants=pairs is not None)
        if span is None:
            continue
        xmin, _, _, ymax = outline.bounds
        areas += [
            Area(
                zone=0,
                polygon=part,
                crs=dataset.crs,
                time=span,
                origin=(xmin, ymax) if pairs is None else pairs.origin(row),
                res=res,
                size=pixels,
                row=None if pairs is None else row,
            )
            for part in polygons(outline if roi is None else outline & roi)
        ]
    return areas


def polygons(geometry: BaseGeometry) -> list[Any]:
    """Return the polygons of a geometry, without the lines and points where some touch."""
    parts = shapely.get_parts(geometry)
    return [p for p in parts if p.geom_type == 'Polygon' and p.area > 0]


def _in_utc(time: pd.Timestamp) -> pd.Timestamp:
    """Convert a time with a zone to that of an index: in UTC, without one."""
    return time.tz_convert('UTC').tz_localize(None)


def _within(
    time: pd.Interval, toi: pd.Interval | None, *, instants: bool
) -> pd.Interval | None:
    """Cut a time to another; None if nothing is left."""
    left, right = time.left, time.right
    if toi is not None:
        if not time.overlaps(toi):
            return None
        left, right = max(left, toi.left), min(right, toi.right)
    if left == right and not instants and left > pd.Timestamp.min:
        # TorchGeo compares with half-open intervals: one moment alone would be empty.
        left -= pd.Timedelta(microseconds=1)
    return pd.Interval(left, right, closed='both')
