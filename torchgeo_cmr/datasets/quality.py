"""Quality masks: which pixels are missing, and which show cloud.

Two masks are known. The *scene classification* (SCL) of Sentinel-2 level 2A: classes 0 (no
data) and 1 (saturated or defective) are missing, 8, 9 (cloud of medium and high
probability) and 10 (thin cirrus) are cloud. *QA_PIXEL* of Landsat collection 2: bit 0
(fill) is missing, bits 1 (dilated cloud), 2 (cirrus) and 3 (cloud) are cloud. Shadows are
not cloud, as in ``eo:cloud_cover`` of STAC.
"""

import glob
import os
import re
from dataclasses import replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from torchgeo_cmr.datasets.names import MASKS, mask_name
from torchgeo_cmr.datasets.opening import open_reader
from torchgeo_cmr.datasets.scene import Scene, apply, assemble
from torchgeo_cmr.errors import RasterError

_SCL_MISSING = (0, 1)
_SCL_CLOUD = (8, 9, 10)
_QA_MISSING = 1 << 0
_QA_CLOUD = (1 << 1) | (1 << 2) | (1 << 3)

#: A file of one band: what stands before the band, and its resolution behind it.
_BAND_FILE = re.compile(
    r'(?P<stem>.+?)_(?:(?:SR|ST)_)?B(?:\d{1,2}|8A)(?:_\d+m)?(?P<suffix>\.\w+)',
    re.IGNORECASE,
)


def judged(scene: Scene) -> Scene:
    """Find the quality mask of a scene: one of its bands, or a file beside its files.

    Args:
        scene: Any scene.

    Returns:
        The scene with its mask, and without it among the bands; the same scene if no mask
        is found or it has one already.
    """
    rest = [i for i, band in enumerate(scene.bands) if mask_name(band) is None]
    mask = scene.quality
    if rest and len(rest) < len(scene.bands):
        i = next(i for i in range(len(scene.bands)) if i not in rest)
        mask = mask or scene.pick([i], [mask_name(scene.bands[i]) or ''])
        scene = scene.pick(rest)
    files = [] if scene.layers else list(dict.fromkeys(f for f, _ in scene.sources))
    while mask is None and files:
        found = _file_beside(files.pop(0))
        mask = found and assemble([(found[0], 1)], [found[1]])
    if mask is None:
        return scene
    # The codes say themselves what is missing, and mean no reflectance.
    return replace(scene, quality=replace(mask, nodata=None, units='dn', quality=None))


def _file_beside(file: str) -> tuple[str, str] | None:
    folder, name = os.path.split(file)
    match = _BAND_FILE.fullmatch(name)
    if match is None:
        return None
    # In a Sentinel-2 product the mask has coarser pixels, and lies in their folder.
    folders = [folder]
    if re.fullmatch(r'R\d+m', os.path.basename(folder)):
        folders += [os.path.join(os.path.dirname(folder), r) for r in ('R20m', 'R60m')]
    for mask in MASKS:
        for place in folders:
            start = glob.escape(os.path.join(place, f'{match["stem"]}_{mask}'))
            end = glob.escape(match['suffix'])
            found = sorted([*glob.glob(start + end), *glob.glob(f'{start}_*m{end}')])
            if found:
                return found[0], mask
    return None


class QualityReader:
    """Reads which pixels of a scene are missing or cloud, on the grid of its bands.

    The mask is never interpolated: each pixel has the class of the mask's pixel in which
    its centre lies, whatever the grid and CRS of the mask.

    Args:
        scene: A scene with a quality mask.

    Raises:
        RasterError: If the mask does not cover the scene.

    .. versionadded:: 0.1
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
        if not np.all(inside):
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
        codes = self._reader.read(area)[0][row - top, column - left]
        missing = ~np.isfinite(codes)
        values = np.where(missing, 0, codes).astype(np.int64)
        if self.mask.bands[0] == 'SCL':
            missing |= np.isin(values, _SCL_MISSING)
            return missing, np.isin(values, _SCL_CLOUD) & ~missing
        missing |= (values & _QA_MISSING) != 0
        return missing, ((values & _QA_CLOUD) != 0) & ~missing

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
