"""The ground that a batch uses."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from torchgeo_cmr.samplers.patch_area import Area, Bounds

#: Centres and half sides of boxes, float64 of shape ``(4, n)``.
type Boxes = NDArray[np.float64]


class Occupancy:
    """The ground that a batch uses so far, and the group that is being drawn."""

    def __init__(self, *, lonlat: bool) -> None:
        """Initialize a new Occupancy instance.

        Args:
            lonlat: Whether to compare in longitude and latitude: for several CRSs.
        """
        self.lonlat = lonlat
        #: By identity, for writing a CRS out to look it up takes longer than the corners do; each
        #: is kept, so that no other takes its number.
        self.transformers: dict[int, tuple[CRS, Transformer]] = {}
        self.clear()

    def clear(self) -> None:
        """Begin a batch: no ground is in use."""
        #: Area and neighbourhood of the group, and its number of patches.
        self.area: Area | None = None
        self.neighbourhood: Bounds | None = None
        self.group_size = 0
        self._boxes: Boxes = np.empty((4, 0))

    def place(
        self,
        bounds: Sequence[Bounds],
        areas: Sequence[Area],
        accepts: Callable[[int], bool] = lambda _: True,
    ) -> list[int]:
        """Use ground for patches, one after another, where no part of it is in use.

        All are compared in one go, which for a batch takes half the time.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` of each, in the CRS of its area.
            areas: Where each lies.
            accepts: Has the last word on a patch whose ground is free, by its number.

        Returns:
            Numbers of those that were placed, in order.
        """
        boxes = self._common(bounds, areas)
        in_use = self._overlap(self._boxes, boxes).any(axis=0)
        near = self._overlap(boxes, boxes)
        placed = []
        for i in range(len(bounds)):
            if not in_use[i] and accepts(i):
                in_use |= near[i]
                placed.append(i)
        self._boxes = np.hstack([self._boxes, boxes[:, placed]])
        return placed

    def _overlap(self, first: Boxes, second: Boxes) -> NDArray[np.bool_]:
        """Say which boxes overlap, of shape ``(n, m)``."""
        x, y, width, height = first[:, :, None]
        dx = np.abs(x - second[0])
        if self.lonlat:
            dx = np.minimum(dx, 360 - dx)
        # Touching edges do not overlap; the factor absorbs rounding.
        near = dx < (width + second[2]) * (1 - 1e-9)
        near &= np.abs(y - second[1]) < (height + second[3]) * (1 - 1e-9)
        return near

    def _common(self, bounds: Sequence[Bounds], areas: Sequence[Area]) -> Boxes:
        """Boxes where patches are compared."""
        sides = np.array(bounds, np.float64).reshape(-1, 4)
        if self.lonlat:
            corners = sides[:, [[2, 1], [2, 3], [0, 3], [0, 1]]]
            ids = np.array([id(area.crs) for area in areas])
            for each, crs in {id(area.crs): area.crs for area in areas}.items():
                of_crs = ids == each
                corners[of_crs] = self.common(corners[of_crs], crs)
            sides = np.hstack([corners.min(axis=1), corners.max(axis=1)])
        low, high = sides[:, :2].T, sides[:, 2:].T
        return np.vstack([(low + high) / 2, (high - low) / 2])

    def common(self, rings: NDArray[np.float64], crs: CRS) -> NDArray[np.float64]:
        """Move rings of corners to where patches are compared.

        Args:
            rings: Corners ``(x, y)``, of shape ``(n, corners, 2)``.
            crs: Their CRS.

        Returns:
            The same in longitude and latitude, each ring in one piece: one that crosses the
            antimeridian goes on beyond 180. Without several CRSs as they are.
        """
        if not self.lonlat:
            return rings
        if id(crs) not in self.transformers:
            found = Transformer.from_crs(crs, 'EPSG:4326', always_xy=True)
            self.transformers[id(crs)] = crs, found
        _, transformer = self.transformers[id(crs)]
        lon, lat = transformer.transform(rings[..., 0], rings[..., 1])
        first = lon[:, :1]
        return np.stack([first + (lon - first + 180) % 360 - 180, lat], axis=-1)
