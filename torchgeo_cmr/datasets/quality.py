"""Quality masks: which pixels are missing, and which show cloud.

=========  ==================================================  ===============================
Mask       Missing                                             Cloud
=========  ==================================================  ===============================
SCL        0 no data, 1 saturated or defective                 8, 9 cloud of medium and high
                                                               probability, 10 thin cirrus
QA_PIXEL   bit 0 fill                                          bits 1 dilated cloud, 2 cirrus,
                                                               3 cloud
Fmask      255 fill                                            bits 0 cirrus, 1 cloud
UDM2       band *unusable*: any bit except 1, which is cloud   band *cloud*
=========  ==================================================  ===============================

SCL is the scene classification of Sentinel-2 level 2A, QA_PIXEL of Landsat collection 2,
Fmask of HLS 2.0, UDM2 the mask of usable data of PlanetScope. Shadows and haze are not
cloud, as in ``eo:cloud_cover`` of STAC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.windows import Window

from torchgeo_cmr.datasets.header import read_header
from torchgeo_cmr.datasets.mask_files import mask_next_to
from torchgeo_cmr.datasets.names import is_udm2, mask_name
from torchgeo_cmr.datasets.opening import open_reader
from torchgeo_cmr.datasets.scene import Scene, apply, assemble
from torchgeo_cmr.errors import RasterError


@dataclass(frozen=True)
class Coding:
    """What the codes of one band of a mask mean."""

    #: Codes of pixels that are missing, and of those that show cloud.
    missing: tuple[int, ...] = ()
    cloud: tuple[int, ...] = ()
    #: Bits that are set in the codes of such pixels.
    missing_bits: int = 0
    cloud_bits: int = 0
    #: Whether a pixel that the file declares as nodata has code 0, and is not missing.
    zero_counts: bool = False


#: Band of a mask -> its codes.
CODINGS = {
    'SCL': Coding(missing=(0, 1), cloud=(8, 9, 10)),
    'QA_PIXEL': Coding(missing_bits=0b1, cloud_bits=0b1110),
    'FMASK': Coding(missing=(255,), cloud_bits=0b11),
    'UDM2_CLOUD': Coding(cloud=(1,), zero_counts=True),
    'UDM2_UNUSABLE': Coding(missing_bits=0b11111101, zero_counts=True),
}

#: Bands of UDM2 that are read: position and names, of which older masks have others.
_UDM2 = {
    'UDM2_CLOUD': (6, ('cloud',)),
    'UDM2_UNUSABLE': (8, ('unusable', 'udm1', 'unusable_data_mask', 'unusable_data')),
}


def judged(scene: Scene, next_to: bool = True) -> Scene:
    """Find the quality mask of a scene: one of its bands, or a file next to its files.

    Args:
        scene: Any scene.
        next_to: Whether to look for files; a STAC item says itself what it has.

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
    files = (
        []
        if scene.layers or not next_to
        else list(dict.fromkeys(f for f, _ in scene.sources))
    )
    while mask is None and files:
        found = mask_next_to(files.pop(0))
        mask = found and open_mask(*found)
    if mask is None:
        return scene
    # The codes say themselves what is missing, and mean no reflectance.
    return replace(
        scene, quality=replace(mask, nodata=None, units='dn', scales=None, quality=None)
    )


def open_mask(file: str, mask: str) -> Scene:
    """Open the file of a quality mask.

    Args:
        file: Path of the mask.
        mask: Which it is, a key of :data:`torchgeo_cmr.datasets.names.MASKS`.

    Returns:
        A scene of the bands that say what is missing and cloud.

    Raises:
        RasterError: If it cannot be read or lacks those bands.
    """
    if mask != 'UDM2':
        return assemble([(file, 1)], [mask])
    header = read_header(file)
    own = [
        (name or '').strip().lower().replace(' ', '_') for name in header.descriptions
    ]
    sources = {
        band: next((own.index(name) + 1 for name in names if name in own), position)
        for band, (position, names) in _UDM2.items()
    }
    if max(sources.values()) > header.count:
        raise RasterError(
            f'{file} has {header.count} bands, but a UDM2 mask has 8: replace or remove it'
        )
    return assemble([(file, i) for i in sources.values()], list(sources))


def is_mask(scene: Scene, wanted: Sequence[str] = ()) -> bool:
    """Say whether a scene is a quality mask, and no image that an encoder takes.

    Args:
        scene: Any scene.
        wanted: Bands of the encoder: one that names a mask takes it as an image.

    Returns:
        True if all its bands are masks, or those of UDM2.
    """
    masks = is_udm2(scene.bands) or all(map(mask_name, scene.bands))
    return masks and not any(map(mask_name, wanted))


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
