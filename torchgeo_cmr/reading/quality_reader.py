"""Quality masks on the grid of the bands they judge: which pixels are missing or cloud."""

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.reading.converting import open_reader
from torchgeo_cmr.scenes.quality import CODINGS
from torchgeo_cmr.scenes.scene import Scene, apply


class QualityReader:
    """Reads which pixels of a scene are missing or cloud, on the grid of its bands.

    The mask is never interpolated: each pixel has the class of the mask's pixel in which
    its centre lies, whatever the grid and CRS of the mask.

    Args:
        scene: A scene with a quality mask.

    Raises:
        RasterError: If the mask does not cover the scene.
    """

    def __init__(self, scene: Scene) -> None:
        """Initialize a new QualityReader instance."""
        assert scene.quality is not None
        self.scene, self.mask = scene, scene.quality
        # From pixels of the scene to pixels of the mask, unless a CRS lies between.
        to_mask, to_crs = (
            np.array(t).reshape(3, 3) for t in (~self.mask.transform, scene.transform)
        )
        self._grid = Affine(*(to_mask @ to_crs)[:2].ravel())
        self._change: Transformer | None = None
        if not self.mask.crs.equals(scene.crs, ignore_axis_order=True):
            self._change = Transformer.from_crs(
                scene.crs, self.mask.crs, always_xy=True
            )
        height, width = scene.shape
        columns, rows = self._places(
            np.array([0.0, width, width, 0.0]), np.array([0.0, 0.0, height, height])
        )
        # A hundredth of the scene's pixels.
        slack = 0.01 * max(scene.res) / min(self.mask.res) if not self._change else 1
        inside = [
            (axis > -slack) & (axis < count + slack)
            for axis, count in zip((rows, columns), self.mask.shape, strict=True)
        ]
        # A grid onto which pixels are warped reaches beyond the file and its mask.
        if not scene.warped and not np.all(inside):
            raise RasterError(
                f'{self.mask.path} does not cover the same ground as {scene.path}, whose '
                'quality mask it is: crop them to one extent, or take it away'
            )
        self._reader = open_reader(self.mask)

    def read(self, window: Window) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Read a window.

        Args:
            window: Columns and rows on the scene's grid.

        Returns:
            Which pixels are missing and which are cloud, both of shape ``(height, width)``.
            What lies outside the scene is missing.
        """
        columns = np.arange(int(window.width), dtype=np.float64)[None]
        rows = np.arange(int(window.height), dtype=np.float64)[:, None]
        found = self._places(
            columns + (int(window.col_off) + 0.5), rows + (int(window.row_off) + 0.5)
        )
        # A centre on an edge between two pixels lies in the second, despite rounding.
        column, row = (
            np.floor(np.nan_to_num(axis, nan=-1, posinf=-1, neginf=-1) + 1e-6).astype(
                np.int64
            )
            for axis in found
        )
        top, left = int(row.min()), int(column.min())
        height, width = int(row.max()) - top + 1, int(column.max()) - left + 1
        area = Window(left, top, width, height)  # ty: ignore[too-many-positional-arguments]
        pixels = self._reader.read(area)[:, row - top, column - left]
        missing = (row < 0) | (row >= self.mask.shape[0])
        missing = missing | (column < 0) | (column >= self.mask.shape[1])
        cloud = np.zeros_like(missing)
        for band, codes in zip(self.mask.bands, pixels, strict=True):
            coding = CODINGS[band]
            known = np.isfinite(codes)
            if not coding.zero_counts:
                missing |= ~known
            values = np.where(known, codes, 0).astype(np.int64)
            missing |= np.isin(values, coding.missing) & known
            missing |= (values & coding.missing_bits) != 0
            cloud |= np.isin(values, coding.cloud) & known
            cloud |= (values & coding.cloud_bits) != 0
        return missing, cloud & ~missing

    def _places(
        self, columns: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Columns and rows of points of the scene's grid on that of the mask."""
        t = self._grid
        if self._change is not None:
            x, y = apply(self.scene.transform, columns, rows)
            return apply(~self.mask.transform, *self._change.transform(x, y))
        if t.b == t.d == 0:
            # Nearly always: the one depends on columns alone, the other on rows.
            return t.a * columns + t.c, t.e * rows + t.f
        return apply(t, columns, rows)
