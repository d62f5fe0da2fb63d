"""How much of a patch holds data, known without reading the patch."""

import numpy as np
from rasterio.windows import Window

from torchgeo_cmr.datasets.reader import SceneReader


class Validity:
    """Share of valid pixels in any window of a scene, from one coarse look at it.

    The first band is read once at a coarse step and summed up, so that a window costs four
    look-ups. The answer is exact for windows that end on coarse cells and off by at most
    one ring of cells otherwise.

    Args:
        reader: Reader of the scene.
        cell: Pixels a coarse cell is wide.

    .. versionadded:: 0.1
    """

    def __init__(self, reader: SceneReader, cell: int) -> None:
        """Initialize a new Validity instance."""
        self.reader = reader
        self.cell = max(1, cell)
        self._sums: np.ndarray | None = None

    def share(self, bounds: tuple[float, float, float, float]) -> float:
        """Return the share of valid pixels, 0 to 1.

        Args:
            bounds: ``(xmin, ymin, xmax, ymax)`` in the CRS of the scene.
        """
        if self._sums is None:
            self._sums = self._look()
        sums = self._sums
        window = self.reader.window(bounds)
        rows, columns = self.reader.scene.shape
        first = np.array([window.row_off / rows, window.col_off / columns])
        size = np.array([window.height / rows, window.width / columns])
        limits = np.array(sums.shape) - 1
        low = np.round(first * limits).astype(int)
        high = np.maximum(low + 1, np.round((first + size) * limits).astype(int))
        wanted = float(np.prod(high - low))
        low, high = np.clip(low, 0, limits), np.clip(high, 0, limits)
        found = (
            sums[high[0], high[1]]
            - sums[low[0], high[1]]
            - sums[high[0], low[1]]
            + sums[low[0], low[1]]
        )
        return float(found) / wanted

    def _look(self) -> np.ndarray:
        rows, columns = self.reader.scene.shape
        coarse = max(1, rows // self.cell), max(1, columns // self.cell)
        window = Window(0, 0, columns, rows)  # ty: ignore[too-many-positional-arguments]
        pixels = self.reader.read(window, bands=[0], out_shape=coarse)[0]
        sums = np.zeros((coarse[0] + 1, coarse[1] + 1), np.int64)
        sums[1:, 1:] = np.isfinite(pixels).cumsum(0).cumsum(1)
        return sums
