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
from numpy.typing import NDArray
from rasterio.windows import Window

from torchgeo_cmr.datasets.names import MASKS, mask_name
from torchgeo_cmr.datasets.opening import open_reader
from torchgeo_cmr.datasets.scene import Scene, assemble
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
    its centre lies.

    Args:
        scene: A scene with a quality mask.

    Raises:
        RasterError: If the mask does not lie on the ground of the scene.

    .. versionadded:: 0.1
    """

    def __init__(self, scene: Scene) -> None:
        """Initialize a new QualityReader instance."""
        assert scene.quality is not None
        self.scene, self.mask = scene, scene.quality
        apart = np.abs(
            np.subtract(scene.footprint.bounds, self.mask.footprint.bounds)
        ).max()
        same = self.mask.crs.equals(scene.crs, ignore_axis_order=True)
        if not same or apart > 0.01 * max(scene.res):
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
        rows = self._positions(window.row_off, window.height, axis=0)
        columns = self._positions(window.col_off, window.width, axis=1)
        top, left = int(rows[0]), int(columns[0])
        area = Window(left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)  # ty: ignore[too-many-positional-arguments]
        codes = self._reader.read(area)[0][np.ix_(rows - top, columns - left)]
        missing = ~np.isfinite(codes)
        values = np.where(missing, 0, codes).astype(np.int64)
        if self.mask.bands[0] == 'SCL':
            missing |= np.isin(values, _SCL_MISSING)
            return missing, np.isin(values, _SCL_CLOUD) & ~missing
        missing |= (values & _QA_MISSING) != 0
        return missing, ((values & _QA_CLOUD) != 0) & ~missing

    def _positions(self, start: float, count: float, axis: int) -> NDArray[np.int64]:
        ratio = self.mask.shape[axis] / self.scene.shape[axis]
        centres = int(start) + np.arange(int(count)) + 0.5
        return np.floor(centres * ratio).astype(np.int64)
