"""The plan of an archive: which windows of which scene are embedded, in which order.

A plan depends only on the files and the settings, never on the machine, the hour or what
was done before. Every engine (the local runner today) works through the same items, and a
second run can tell what is missing.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.embed.scenes.encoder_scene import (
    KINDS,
    RESAMPLING,
    is_of_other_kind,
    match_bands,
    match_scales,
    match_units,
)
from torchgeo_cmr.embed.scenes.patch_layout import (
    Edges,
    Gsd,
    Layout,
    check_count,
    windows_of,
)
from torchgeo_cmr.embed.scenes.window_footprints import (
    crs_code,
    footprints,
    native_corners,
)
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.scene import Scene, in_steps

_LOG = logging.getLogger(__name__)

#: Part of a pixel by which a patch may leave the ground that is listed.
_MISSED = 0.01


@dataclass(frozen=True)
class WorkItem:
    """All windows of one scene: the unit that is embedded and committed once."""

    #: What is read: one file, or one file a band, on the finest native grid among them.
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
    #: Patch height and width in metres, if they were asked for so.
    metres: float | None = None

    @property
    def id(self) -> str:
        """Scene id: path of the scene relative to the root, POSIX; in a cube with date."""
        part = f'#{self.scene.part}' if self.scene.part else ''
        return _relative(self.scene.path, self.root) + part

    @property
    def key(self) -> str:
        """Part key: the same in every run, and in the order of the plan."""
        return f'{self.modality}:{self.id}'

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
        return [
            [_relative(path, self.root), i, name, g] for (path, i), name, g in bands
        ]


@dataclass(frozen=True)
class Plan:
    """Work items in the order in which they are done."""

    #: One item a scene, sorted by scene id.
    items: tuple[WorkItem, ...]
    #: Ids of scenes smaller than one patch, left out.
    too_small: tuple[str, ...]
    #: Absolute folder, POSIX, to which scene ids are relative.
    root: str
    #: Size and step of patches.
    layout: Layout

    @property
    def scenes(self) -> str:
        """Fingerprint of the scenes: their paths, grids, dates and bands, not the root."""
        told = [[item.id, *facts_of(item)] for item in self.items]
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return f'{len(told)} scenes, {digest[:16]}'


def plan_scenes(
    catalogue: Sequence[Scene],
    modality: str,
    size: int | None = None,
    stride: int | None = None,
    *,
    size_metres: float | None = None,
    overlap: float = 0,
    edges: Edges = 'drop',
    gsd: Gsd = 'warn',
    units: str | None = None,
    scale: float | None = None,
    root: str | os.PathLike[str] | None = None,
    in_channels: int | None = None,
    spec: Mapping[str, Any] | None = None,
    transformed: bool = False,
    trying: Callable[[str], AbstractContextManager[Any]] = nullcontext,
    others: Sequence[str] = (),
) -> Plan:
    """Lay patches over every scene, each on its own grid and in its own CRS.

    Bands that lie on different grids (10 m and 20 m, say) are planned on the finest; they
    must cover the same ground. Windows are planned on whole scenes: pixels without data
    are only known when they are read.

    Args:
        catalogue: Scenes, in any order.
        modality: Modality name.
        size: Patch height and width in pixels of the scene's grid, unless *size_metres*
            is given.
        stride: Step between patches in pixels (default: side by side).
        size_metres: Patch height and width in metres; each scene has the nearest whole
            number of its pixels.
        overlap: Share of a patch that the next one shows again, in place of *stride*.
        edges: ``'drop'`` what is left at the right and lower edge, and scenes smaller than
            a patch, or ``'pad'`` both with missing pixels.
        gsd: What happens if pixels are more than a tenth wider or narrower than those of
            the training: ``'warn'``, ``'resample'`` to it, ``'error'`` or ``'ignore'``.
        units: Unit of the pixels where files do not state it, such as ``'power'``.
        scale: Physical value of one step of the pixels where nothing states it.
        root: Folder to which scene ids are relative (default: the deepest folder that
            holds every file).
        in_channels: Bands the encoder expects; None to accept any.
        spec: What the encoder was trained on: ``bands`` (names, in channel order),
            ``units``, ``scale`` (value of one step per band) and ``gsd`` (metres), all
            optional.
        transformed: True if pixels pass a transform before the encoder.
        trying: Context in which each scene is judged, given its name: what it swallows
            leaves out that scene alone.
        others: Files that could not be opened. They count for the folder that ids are
            relative to, so that it stays when they are mended.

    Returns:
        The plan; without items if *trying* swallowed every scene.

    Raises:
        RasterError: If bands or units are not the encoder's, two scenes begin with one band
            of one file, a file lies outside *root*, no scene holds a patch, pixel sizes
            differ and *gsd* says so, or a setting is out of range.

    Warns:
        UserWarning: If scenes smaller than a patch are left out, or pixel sizes differ.
    """
    layout = Layout(size, stride, size_metres, overlap, edges, gsd)
    trained = spec or {}
    if not catalogue:
        raise RasterError(f'there is no scene of {modality} to embed: check the paths')
    # The file of the first band names a band set, whichever file the catalogue lists.
    named = [replace(scene, path=scene.sources[0][0]) for scene in catalogue]
    wanted = None if transformed else trained.get('units')
    steps = None if transformed else trained.get('scale')
    chosen = []
    for scene in named:
        with trying(_told(scene)):
            scene = match_bands(scene, modality, in_channels, trained, transformed)
            scene = match_units(
                scene, modality, wanted, units, trained.get('bands') or ()
            )
            chosen.append(match_scales(scene, modality, steps, scale))
    # Where nothing is known of the training, the scenes agree among themselves.
    chosen = in_steps(chosen)
    if not transformed:
        chosen = _of_one_kind(chosen, modality, trained, trying)
    chosen = layout.fit(
        chosen, modality, trained.get('gsd'), lambda scene: trying(_told(scene))
    )
    # A band set may be listed once a file: it is still one scene.
    unique: dict[tuple[str, str], Scene] = {}
    for scene in chosen:
        first = unique.setdefault((scene.path, scene.part), scene)
        with trying(_told(scene)):
            if first.sources != scene.sources:
                raise RasterError(
                    f'two scenes begin with {scene.path}, the other bands of one are in '
                    f'{scene.sources[-1][0]}: one file cannot name two scenes, leave one out'
                )
            if first is not scene:
                unique[scene.path, scene.part] = _joined(first, scene)
    files = [path for scene in named for path in _files(scene)]
    home = _root(files if root is not None else [*others, *files], root)
    every = [
        WorkItem(scene, modality, *layout.pixels(scene), home, edges, size_metres)
        for scene in unique.values()
    ]
    every.sort(key=lambda item: item.id)
    every = [item for item in every if _is_possible(item, trying)]
    items = [item for item in every if len(item.windows)]
    too_small = [item for item in every if not len(item.windows)]
    if too_small:
        first = too_small[0]
        height, width = first.scene.shape
        part = '' if first.scene.clip is None else ', of which a part is listed'
        told = (
            f'{len(too_small)} of {len(unique)} scenes are smaller than a patch of '
            f'{first.size} x {first.size} pixels, for example {first.id} ({height} x {width}{part})'
        )
        if not items:
            raise RasterError(f"{told}: choose a smaller size, or edges='pad'")
        warnings.warn(f'{told}: left out', UserWarning, stacklevel=2)
    return Plan(tuple(items), tuple(item.id for item in too_small), home, layout)


def header_of(
    plan: Plan, space: str, dim: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Say what must be equal for a run to be the continuation of another.

    Args:
        plan: The plan.
        space: Fingerprint of the weights.
        dim: Length of a vector.
        options: ``batch_size``, ``min_valid``, ``max_cloud`` and ``transforms``.

    Returns:
        JSON-able settings.
    """
    first = plan.items[0]
    transforms = options['transforms']
    return {
        'modality': first.modality,
        'space': space,
        'metric': 'cosine',
        'dim': dim,
        'bands': list(first.scene.bands),
        **plan.layout.settings,
        'min_valid': options['min_valid'],
        'max_cloud': options['max_cloud'],
        'batch_size': options['batch_size'],
        'resampling': RESAMPLING,
        'transforms': None if transforms is None else _name(transforms),
        'scenes': plan.scenes,
        'root': plan.root,
    }


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
    return [_relative(path, item.root), index, mask.bands[0]]


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


def _of_one_kind(
    chosen: Sequence[Scene],
    modality: str,
    trained: Mapping[str, Any],
    trying: Callable[[str], AbstractContextManager[Any]],
) -> list[Scene]:
    """Leave out decimals of reflectance among whole numbers of light, and the reverse."""
    odd = [is_of_other_kind(scene, trained) for scene in chosen]
    known = any(trained.get('scale') or ())
    if all(odd) and not known:
        if odd:
            _LOG.warning(
                '%s is of another kind of numbers than the training, %s: unless they are of '
                'one scale, results mean nothing',
                chosen[0].path,
                trained['units'],
            )
        return [*chosen]
    found = []
    for scene, other in zip(chosen, odd, strict=True):
        with trying(_told(scene)):
            if other:
                raise RasterError(
                    f'{modality} was trained on {KINDS[trained["units"]]}, and {scene.path} '
                    f'holds {KINDS[scene.units or ""]}, which nothing connects with them: '
                    + (
                        'state their `scale`, or '
                        if known
                        else 'give files of one kind, or '
                    )
                    + 'say with `units` that they are alike'
                )
            found.append(scene)
    return found


def _is_possible(
    item: WorkItem, trying: Callable[[str], AbstractContextManager[Any]]
) -> bool:
    with trying(item.id):
        check_count(item.scene.path, item.scene.shape, item.stride)
        return True
    return False


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


def _joined(one: Scene, other: Scene) -> Scene:
    """One scene of two rows of an index that list parts of it."""
    if one.clip is None or other.clip is None:
        return replace(one, clip=None)
    return replace(one, clip=one.clip | other.clip)


def _told(scene: Scene) -> str:
    """Name a scene that has no id yet."""
    return f'{scene.path}#{scene.part}' if scene.part else scene.path


def _files(scene: Scene) -> list[str]:
    masks = scene.quality.sources if scene.quality else ()
    return [scene.path, *dict.fromkeys(path for path, _ in (*scene.sources, *masks))]


def _root(files: Sequence[str], root: str | os.PathLike[str] | None) -> str:
    parents = {os.path.dirname(os.path.abspath(file)) for file in files}
    if root is None:
        return Path(os.path.commonpath(parents)).as_posix()
    home = os.path.abspath(root)
    for parent in sorted(parents):
        if os.path.commonpath([home, parent]) != home:
            raise RasterError(
                f'{parent} is not inside the root {home}: give a folder that holds every '
                'scene, or none to let it be found'
            )
    return Path(home).as_posix()


def _relative(path: str, root: str) -> str:
    return Path(os.path.relpath(os.path.abspath(path), root)).as_posix()


def _name(transforms: Callable[..., Any]) -> str:
    return getattr(transforms, '__qualname__', type(transforms).__qualname__)
