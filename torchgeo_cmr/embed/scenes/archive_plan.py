"""The plan of an archive: which windows of which scene are embedded, in which order.

A plan depends only on the files and the settings, never on the machine, the hour or what
was done before. Every engine works through the same items, and a
second run can tell what is missing.
"""

import hashlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torchgeo_cmr.embed.run_options import PatchOptions
from torchgeo_cmr.embed.run_report import PACKAGE, Trying
from torchgeo_cmr.embed.scenes.encoder_scene import (
    KINDS,
    RESAMPLING,
    EncoderInput,
    is_of_other_kind,
)
from torchgeo_cmr.embed.scenes.patch_layout import Edges, Gsd, Layout, check_count
from torchgeo_cmr.embed.scenes.work_item import WorkItem, facts_of
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.remote_files import RemoteFile
from torchgeo_cmr.scenes.scene import Scene, in_steps

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """Work items in the order in which they are done."""

    #: One item per scene, sorted by scene id.
    items: tuple[WorkItem, ...]
    #: Ids of scenes smaller than one patch, skipped.
    too_small: tuple[str, ...]
    #: Absolute folder, POSIX, to which scene ids are relative.
    root: str
    #: Size and step of patches.
    layout: Layout

    @property
    def scenes(self) -> str:
        """Fingerprint of the scenes: their paths, grids, dates and bands, not the root."""
        facts = [[item.id, *facts_of(item)] for item in self.items]
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return f'{len(facts)} scenes, {digest[:16]}'


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
    trying: Trying = nullcontext,
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
            skips that scene alone.
        others: Files that could not be opened. They count for the folder that ids are
            relative to, so that it stays when they are repaired.

    Returns:
        The plan; without items if *trying* swallowed every scene.

    Raises:
        RasterError: If bands or units are not the encoder's, two scenes begin with one band
            of one file, a file is listed at two dates, lies outside *root*, no scene holds a patch, pixel sizes
            differ and *gsd* forbids it, or a setting is out of range.

    Warns:
        UserWarning: If scenes smaller than a patch are skipped, or pixel sizes differ.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> import rasterio
        >>> folder = tempfile.TemporaryDirectory()
        >>> profile = {
        ...     'driver': 'GTiff',
        ...     'width': 64,
        ...     'height': 48,
        ...     'count': 1,
        ...     'dtype': 'uint8',
        ... }
        >>> place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
        >>> with rasterio.open(
        ...     f'{folder.name}/a.tif',
        ...     'w',
        ...     **profile,
        ...     crs='EPSG:32632',
        ...     transform=place,
        ... ) as file:
        ...     file.write(np.ones((1, 48, 64), np.uint8))
        >>> from torchgeo_cmr.embed import list_scenes
        >>> plan = plan_scenes(list_scenes([folder.name]), 's2', size=32)
        >>> [(item.id, item.windows.tolist()) for item in plan.items]
        [('a.tif', [[0, 0, 32, 32], [0, 32, 32, 32]])]
        >>> folder.cleanup()
    """
    return make_plan(
        catalogue,
        EncoderInput(modality, in_channels, spec or {}, transformed, units, scale),
        Layout(size, stride, size_metres, overlap, edges, gsd),
        root,
        trying,
        others,
    )


def make_plan(
    catalogue: Sequence[Scene],
    wanted: EncoderInput,
    layout: Layout,
    root: str | os.PathLike[str] | None = None,
    trying: Trying = nullcontext,
    others: Sequence[str] = (),
) -> Plan:
    """Make the plan that :func:`plan_scenes` describes.

    Args:
        catalogue: Scenes, in any order.
        wanted: What the encoder expects.
        layout: Size and step of patches.
        root: As in :func:`plan_scenes`.
        trying: As in :func:`plan_scenes`.
        others: As in :func:`plan_scenes`.

    Returns:
        The plan.

    Raises:
        RasterError: As in :func:`plan_scenes`.
    """
    if not catalogue:
        raise RasterError(
            f'there is no scene of {wanted.modality} to embed: check the paths'
        )
    # The file of the first band names a band set, whichever file the catalogue lists.
    named = [replace(scene, path=scene.sources[0][0]) for scene in catalogue]
    scenes = []
    for scene in named:
        with trying(_name_of(scene)):
            scenes.append(wanted.match(scene))
    # Where the steps of the training are unknown, the scenes agree among themselves.
    scenes = in_steps(scenes)
    if not wanted.transformed:
        scenes = _of_one_kind(scenes, wanted, trying)
    scenes = layout.fit(
        scenes,
        wanted.modality,
        wanted.spec.get('gsd'),
        lambda scene: trying(_name_of(scene)),
    )
    unique = _unique(scenes, trying)
    files = [path for scene in named for path in _files(scene)]
    home = _root(files if root is not None else [*others, *files], root)
    items = [
        WorkItem(
            scene,
            wanted.modality,
            *layout.pixels(scene),
            home,
            layout.edges,
            layout.size_metres,
        )
        for scene in unique
    ]
    items.sort(key=lambda item: item.id)
    items = [item for item in items if _is_possible(item, trying)]
    kept = [item for item in items if len(item.windows)]
    small = [item for item in items if not len(item.windows)]
    if small:
        _warn_of_small(small, len(unique), bool(kept))
    return Plan(tuple(kept), tuple(item.id for item in small), home, layout)


def _unique(scenes: Sequence[Scene], trying: Trying) -> list[Scene]:
    """Merge rows of one scene: a band set may be listed once per file, a mosaic in parts."""
    unique: dict[tuple[str, str], Scene] = {}
    for scene in scenes:
        first = unique.setdefault((scene.path, scene.part), scene)
        with trying(_name_of(scene)):
            if first.sources != scene.sources:
                raise RasterError(
                    f'two scenes begin with {scene.path}, the other bands of one are in '
                    f'{scene.sources[-1][0]}: one file cannot name two scenes, drop one'
                )
            if first is not scene:
                if _are_apart(first, scene):
                    raise RasterError(
                        f'{scene.path} is listed at two dates, {first.time_start} and '
                        f'{scene.time_start}: a file has one date, so correct the list'
                    )
                unique[scene.path, scene.part] = _joined(first, scene)
    return [*unique.values()]


def _are_apart(left: Scene, right: Scene) -> bool:
    """Say whether dates of one scene contradict; a day and a moment of it do not."""
    starts, ends = (left.time_start, right.time_start), (left.time_end, right.time_end)
    times = [time for time in (*starts, *ends) if time is not None]
    return len(times) == 4 and max(times[:2]) > min(times[2:])


def _warn_of_small(items: Sequence[WorkItem], scenes: int, others: bool) -> None:
    """Warn of scenes smaller than a patch, or raise if there are no others."""
    first = items[0]
    height, width = first.scene.shape
    part = '' if first.scene.clip is None else ', of which a part is listed'
    message = (
        f'{len(items)} of {scenes} scenes are smaller than a patch of '
        f'{first.size} x {first.size} pixels, for example {first.id} ({height} x {width}{part})'
    )
    if not others:
        raise RasterError(f"{message}: choose a smaller size, or edges='pad'")
    warnings.warn(f'{message}: skipped', UserWarning, skip_file_prefixes=(PACKAGE,))


def header_of(
    plan: Plan, space: str, dim: int, options: PatchOptions
) -> dict[str, Any]:
    """Give what must be equal for a run to be the continuation of another.

    Args:
        plan: The plan.
        space: Fingerprint of the weights.
        dim: Length of a vector.
        options: Which patches become rows.

    Returns:
        JSON-able settings.
    """
    first = plan.items[0]
    transforms = options.transforms
    return {
        'modality': first.modality,
        'space': space,
        'metric': 'cosine',
        'dim': dim,
        'bands': list(first.scene.bands),
        **plan.layout.settings,
        'min_valid': options.min_valid,
        'max_cloud': options.max_cloud,
        'batch_size': options.batch_size,
        'resampling': RESAMPLING,
        'transforms': None if transforms is None else _name(transforms),
        'scenes': plan.scenes,
        'root': plan.root,
    }


def _of_one_kind(
    scenes: Sequence[Scene], wanted: EncoderInput, trying: Trying
) -> list[Scene]:
    """Drop decimals of reflectance if training had whole numbers of light, and the reverse."""
    trained = wanted.spec
    odd = [is_of_other_kind(scene, trained) for scene in scenes]
    known = any(trained.get('scale') or ())
    if all(odd) and not known:
        if odd:
            _LOG.warning(
                '%s is of another kind of numbers than the training, %s: unless they are of '
                'one scale, results mean nothing',
                scenes[0].path,
                trained['units'],
            )
        return [*scenes]
    kept = []
    for scene, other in zip(scenes, odd, strict=True):
        with trying(_name_of(scene)):
            if other:
                remedy = 'state their `scale`' if known else 'give files of one kind'
                raise RasterError(
                    f'{wanted.modality} was trained on {KINDS[trained["units"]]}, and '
                    f'{scene.path} holds {KINDS[scene.units or ""]}, which nothing connects '
                    f'with them: {remedy}, or state with `units` that they are alike'
                )
            kept.append(scene)
    return kept


def _is_possible(item: WorkItem, trying: Trying) -> bool:
    with trying(item.id):
        check_count(item.scene.path, item.scene.shape, item.stride)
        return True
    return False


def _joined(left: Scene, right: Scene) -> Scene:
    """One scene of two rows of an index that list parts of it."""
    if left.clip is None or right.clip is None:
        return replace(left, clip=None)
    return replace(left, clip=left.clip | right.clip)


def _name_of(scene: Scene) -> str:
    """Name a scene that does not have an id yet."""
    return f'{scene.path}#{scene.part}' if scene.part else scene.path


def _files(scene: Scene) -> list[str]:
    masks = scene.quality.sources if scene.quality else ()
    return [scene.path, *dict.fromkeys(path for path, _ in (*scene.sources, *masks))]


def _root(files: Sequence[str], root: str | os.PathLike[str] | None) -> str:
    parents = {
        os.path.dirname(os.path.abspath(file))
        for file in files
        if not isinstance(file, RemoteFile)
    }
    if root is None and not parents:
        # Addresses are relative to nothing, wherever the run is started.
        return Path(os.path.abspath(os.sep)).as_posix()
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


def _name(transforms: Callable[..., Any]) -> str:
    return getattr(transforms, '__qualname__', type(transforms).__qualname__)
