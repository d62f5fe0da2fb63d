"""The ground that a batch uses."""

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
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
        self.boxes: list[tuple[float, float, float, float]] = []
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
        if self.boxes:
            boxes = np.array(self.boxes)
            dx = np.abs(boxes[:, 0] - (xmin + xmax) / 2)
            if self.lonlat:
                dx = np.minimum(dx, 360 - dx)
            dy = np.abs(boxes[:, 1] - (ymin + ymax) / 2)
            # Touching edges do not overlap; the factor absorbs rounding.
            near_x = dx < (boxes[:, 2] + (xmax - xmin) / 2) * (1 - 1e-9)
            near_y = dy < (boxes[:, 3] + (ymax - ymin) / 2) * (1 - 1e-9)
            if (near_x & near_y).any():
                return False
        centre = (xmin + xmax) / 2, (ymin + ymax) / 2
        self.boxes.append((*centre, (xmax - xmin) / 2, (ymax - ymin) / 2))
        return True

    def _common(self, bounds: Bounds, area: Area) -> Bounds:
        if not self.lonlat:
            return bounds
        ring = self.common(shapely.get_coordinates(shapely.box(*bounds)), area.crs)
        (west, south), (east, north) = ring.min(axis=0), ring.max(axis=0)
        return float(west), float(south), float(east), float(north)

    def common(self, ring: ArrayLike, crs: CRS) -> NDArray[np.float64]:
        """Move corners ``(n, 2)`` to where patches are compared."""
        corners = np.asarray(ring, np.float64)
        if not self.lonlat:
            return corners
        if id(crs) not in self.transformers:
            found = Transformer.from_crs(crs, 'EPSG:4326', always_xy=True)
            self.transformers[id(crs)] = crs, found
        _, transformer = self.transformers[id(crs)]
        lon, lat = transformer.transform(corners[:, 0], corners[:, 1])
        # Keep a box that crosses the antimeridian in one piece.
        lon = lon[0] + (lon - lon[0] + 180) % 360 - 180
        return np.stack([lon, lat], axis=1)
