"""The ground that a batch uses."""

from collections.abc import Iterable

import numpy as np
from pyproj import CRS, Transformer

from torchgeo_cmr.samplers.patch_area import Area, Bounds


class Occupancy:
    """The ground that a batch uses so far, and the group that is being drawn."""

    def __init__(self, *, lonlat: bool) -> None:
        """Initialize a new Occupancy instance.

        Args:
            lonlat: Whether to compare in longitude and latitude: for several CRSs.
        """
        self.lonlat = lonlat
        #: Area and neighbourhood of the group, and its number of patches.
        self.area: Area | None = None
        self.neighbourhood: Bounds | None = None
        self.group_size = 0
        #: Number of patches, and centres and half sides of their boxes (4, n or more).
        self._count = 0
        self._boxes = np.empty((4, 128))
        #: By identity, for writing a CRS out to look it up takes longer than the corners do; each
        #: is kept, so that no other takes its number.
        self.transformers: dict[int, tuple[CRS, Transformer]] = {}

    def add(self, bounds: Bounds, area: Area) -> bool:
        """Use ground for a patch; False, and nothing changes, if part of it is in use.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` in the CRS of the area.
            area: Where they lie.
        """
        xmin, ymin, xmax, ymax = self._common(bounds, area)
        box = x, y, width, height = (
            (xmin + xmax) / 2,
            (ymin + ymax) / 2,
            (xmax - xmin) / 2,
            (ymax - ymin) / 2,
        )
        in_use = self._boxes[:, : self._count]
        dx = np.abs(in_use[0] - x)
        if self.lonlat:
            dx = np.minimum(dx, 360 - dx)
        # Touching edges do not overlap; the factor absorbs rounding.
        near = dx < (in_use[2] + width) * (1 - 1e-9)
        near &= np.abs(in_use[1] - y) < (in_use[3] + height) * (1 - 1e-9)
        if near.any():
            return False
        if self._count == self._boxes.shape[1]:
            self._boxes = np.tile(self._boxes, 2)
        self._boxes[:, self._count] = box
        self._count += 1
        return True

    def _common(self, bounds: Bounds, area: Area) -> Bounds:
        if not self.lonlat:
            return bounds
        xmin, ymin, xmax, ymax = bounds
        corners = [(xmax, ymin), (xmax, ymax), (xmin, ymax), (xmin, ymin)]
        lon, lat = zip(*self.common(corners, area.crs), strict=True)
        return min(lon), min(lat), max(lon), max(lat)

    def common(
        self, ring: Iterable[tuple[float, ...]], crs: CRS
    ) -> list[tuple[float, ...]]:
        """Move corners ``(x, y)`` to where patches are compared.

        Plain numbers: for the four of a patch, arrays take longer than the projection.
        """
        if not self.lonlat:
            return [*ring]
        if id(crs) not in self.transformers:
            found = Transformer.from_crs(crs, 'EPSG:4326', always_xy=True)
            self.transformers[id(crs)] = crs, found
        _, transformer = self.transformers[id(crs)]
        x, y = zip(*ring, strict=True)
        lon, lat = transformer.transform(x, y)
        # Keep a box that crosses the antimeridian in one piece.
        near = [lon[0] + (each - lon[0] + 180) % 360 - 180 for each in lon]
        return [*zip(near, lat, strict=True)]
