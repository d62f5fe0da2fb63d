"""Areas: the ground of one pair of scenes from which patches may be cut."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS
from shapely import Polygon

#: ``(xmin, ymin, xmax, ymax)`` in the CRS of an area.
type Bounds = tuple[float, float, float, float]

#: What a loader passes to the dataset: which zone, and the slice of it.
type PatchKey = tuple[int, tuple[slice, slice, slice]]


@dataclass(frozen=True)
class Area:
    """A polygon on one pixel lattice, at one date, for patches of one size.

    .. versionadded:: 0.1
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
    #: Patch width and height in pixels.
    size: int
    #: Share of valid pixels inside some bounds, 0 to 1; None if every pixel is valid.
    valid: Callable[[Bounds], float] | None = None
    #: Patches with a smaller share are never cut.
    min_valid: float = 0.0

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of a patch on the ground, in units of the CRS."""
        return self.size * self.res[0], self.size * self.res[1]

    @property
    def is_chip(self) -> bool:
        """Whether exactly one patch fits: the whole of a pre-cut file."""
        xmin, ymin, xmax, ymax = self.polygon.bounds
        width, height = self.extent
        return (
            abs(xmax - xmin - width) < 0.5 * self.res[0]
            and abs(ymax - ymin - height) < 0.5 * self.res[1]
            and self.polygon.area > 0.99 * (xmax - xmin) * (ymax - ymin)
        )

    def key(self, bounds: Bounds) -> PatchKey:
        """Return what the loader passes to the dataset for some bounds."""
        xmin, ymin, xmax, ymax = bounds
        x = slice(xmin, xmax, self.res[0])
        y = slice(ymin, ymax, self.res[1])
        return self.zone, (x, y, slice(self.time.left, self.time.right, 1))

    def chip(self) -> Bounds | None:
        """Return the bounds of a pre-cut patch, or None if too little of it is valid."""
        xmin, _, _, ymax = self.polygon.bounds
        width, height = self.extent
        bounds = (xmin, ymax - height, xmin + width, ymax)
        return bounds if self._is_valid(bounds) else None

    def draw(
        self, generator: np.random.Generator, within: Bounds | None = None
    ) -> Bounds | None:
        """Draw one patch, uniformly over the lattice; None if the draw fell outside.

        Args:
            generator: Where the randomness comes from.
            within: Bounds that the patch must not leave (default: those of the area).

        Returns:
            Bounds of the patch.
        """
        xmin, ymin, xmax, ymax = self.polygon.bounds
        if within is not None:
            xmin, ymin = max(xmin, within[0]), max(ymin, within[1])
            xmax, ymax = min(xmax, within[2]), min(ymax, within[3])
        columns = self._steps(xmin, xmax, 0)
        rows = self._steps(ymin, ymax, 1)
        if columns[1] < columns[0] or rows[1] < rows[0]:
            return None
        column = generator.integers(columns[0], columns[1] + 1)
        row = generator.integers(rows[0], rows[1] + 1)
        bounds = self._bounds(int(column), int(row))
        inside = shapely.covers(self._tolerant, shapely.box(*bounds))
        return bounds if inside and self._is_valid(bounds) else None

    def grid(self) -> list[Bounds]:
        """Lay patches side by side over the area, row by row from the lower left."""
        if self.is_chip:
            chip = self.chip()
            return [] if chip is None else [chip]
        xmin, ymin, xmax, ymax = self.polygon.bounds
        columns = self._steps(xmin, xmax, 0)
        rows = self._steps(ymin, ymax, 1)
        places = [
            self._bounds(column, row)
            for row in range(rows[0], rows[1] + 1, self.size)
            for column in range(columns[0], columns[1] + 1, self.size)
        ]
        if not places:
            return []
        inside = shapely.covers(self._tolerant, shapely.box(*np.array(places).T))
        return [
            b for b, ok in zip(places, inside, strict=True) if ok and self._is_valid(b)
        ]

    def _steps(self, low: float, high: float, axis: int) -> tuple[int, int]:
        """First and last lattice step at which a patch lies between two coordinates."""
        res, origin = self.res[axis], self.origin[axis]
        first = math.ceil((low - origin) / res - 0.01)
        last = math.floor((high - origin) / res + 0.01) - self.size
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

    def _is_valid(self, bounds: Bounds) -> bool:
        # Nothing is looked up where nothing could fail: the look decodes whole files.
        known = self.valid is None or self.min_valid <= 0
        return known or self.valid(bounds) >= self.min_valid
