"""One scene of a plan: its windows, its patch ids, and what identifies it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.embed.scenes.patch_layout import windows_of
from torchgeo_cmr.embed.scenes.window_footprints import (
    crs_code,
    footprints,
    native_corners,
)
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.remote_files import RemoteFile
from torchgeo_cmr.scenes.scene import Scene

#: Part of a pixel by which a patch may leave the ground that is listed.
_MISSED = 0.01


@dataclass(frozen=True)
class WorkItem:
    """All windows of one scene: the unit that is embedded and committed once."""

    #: What is read: one file, or one file per band, on the finest native grid among them.
    scene: Scene
    #: Modality name, such as ``'s2'``.
    modality: str
    #: Patch height and width in pixels of the scene's grid.
    size: int
    #: Step between patches in pixels of the scene's grid.
    stride: int
    #: Absolute folder, POSIX, to which paths are relative.
    root: str
    #: ``'drop'`` or ``'pad'`` what is left at the right and lower edge.
    edges: str = 'drop'
    #: Patch height and width in metres, if given in metres.
    metres: float | None = None

    @property
    def id(self) -> str:
        """Scene id: path of the scene relative to the root, POSIX; in a cube with date."""
        part = f'#{self.scene.part}' if self.scene.part else ''
        return relative(self.scene.path, self.root) + part

    @property
    def key(self) -> str:
        """Part key: the same in every run, and in the order of the plan."""
        return f'{self.modality}:{self.id}'

    @property
    def bytes(self) -> int:
        """Bytes of the pixels of one patch, as the encoder gets them."""
        return 4 * len(self.scene.bands) * self.size**2

    @property
    def windows(self) -> NDArray[np.int64]:
        """Windows ``(row, column, height, width)`` in pixels, int64 of shape ``(n, 4)``.

        Row by row from the upper left corner, which is the order in which files store
        their blocks. What is left at the lower and right edge is dropped, or padded; what
        leaves the ground that a dataset lists of the scene is dropped.
        """
        windows = windows_of(self.scene.shape, self.size, self.stride, self.edges)
        return windows if self.scene.clip is None else _listed(windows, self.scene)

    @property
    def sources(self) -> list[list[Any]]:
        """``[relative path, 1-based band index, band name, gsd in metres]`` per band.

        In a cube the index is the time step, and the name that of the variable.
        """
        bands = zip(self.scene.sources, self.scene.bands, self.scene.gsd, strict=True)
        return [[relative(path, self.root), i, name, g] for (path, i), name, g in bands]


def facts_of(item: WorkItem) -> list[Any]:
    """Say what a scene is: grid, CRS, dates, bands, units and mask, JSON-able."""
    scene = item.scene
    return [
        list(scene.shape),
        list(tuple(scene.transform)[:6]),
        crs_code(scene.crs),
        [str(scene.time_start), str(scene.time_end)],
        str(scene.nodata),
        item.sources,
        [scene.units, scene.read_as],
        mask_of(item),
        *([] if scene.clip is None else [scene.clip.normalize().wkt]),
        *([] if scene.scales is None else [scale_of(scene)]),
    ]


def scale_of(scene: Scene) -> list[list[float | None]]:
    """Say how stored numbers were read: value of one step as read, and what was added."""
    assert scene.scales is not None
    unknown: list[float | None] = [None] * len(scene.bands)
    return [scene.scale or unknown, [scale.shift for scale in scene.scales]]


def mask_of(item: WorkItem) -> list[Any] | None:
    """``[relative path, 1-based band index, mask]`` of the quality mask; None if none.

    Of a mask with several bands it is the first.
    """
    mask = item.scene.quality
    if mask is None:
        return None
    path, index = mask.sources[0]
    return [relative(path, item.root), index, mask.bands[0]]


def patch_ids(item: WorkItem, windows: NDArray[np.int64]) -> list[str]:
    """Name windows: ``<modality>:<scene id>:<row>_<column>_<height>x<width>``.

    Rows and columns count as the file stores them, whatever its orientation.
    """
    start = f'{item.modality}:{item.id}'
    stored = (item.scene.turn.stored(w, item.scene.shape) for w in windows.tolist())
    return [f'{start}:{r}_{c}_{h}x{w}' for r, c, h, w in stored]


def places(
    item: WorkItem, windows: NDArray[np.int64]
) -> tuple[str, NDArray[np.float64], NDArray[np.object_]]:
    """Return CRS code, native corners ``(n, 8)`` and EPSG:4326 polygons of windows."""
    code = crs_code(item.scene.crs)
    corners = native_corners(item.scene.transform, windows)
    try:
        return code, corners, footprints(corners, code)
    except RasterError as error:
        raise RasterError(f'{item.id}: {error}') from error


def _listed(windows: NDArray[np.int64], scene: Scene) -> NDArray[np.int64]:
    """Keep the windows that show listed ground only; what is padded shows none."""
    assert scene.clip is not None
    edges = np.c_[windows[:, :2], windows[:, :2] + windows[:, 2:]]
    edges = np.minimum(edges, np.tile(scene.shape, 2))
    inside = np.c_[edges[:, :2], edges[:, 2:] - edges[:, :2]]
    corners = native_corners(scene.transform, inside).reshape(-1, 4, 2)
    ground = shapely.buffer(scene.clip, _MISSED * min(scene.res), join_style='mitre')
    shapely.prepare(ground)
    return windows[shapely.covers(ground, shapely.polygons(corners))]


def relative(path: str, root: str) -> str:
    """Give a path relative to a root, POSIX; the address of a file on a server."""
    if isinstance(path, RemoteFile):
        return str(path)
    return Path(os.path.relpath(os.path.abspath(path), root)).as_posix()
