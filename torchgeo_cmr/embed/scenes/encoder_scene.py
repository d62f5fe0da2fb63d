"""From files to scenes that an encoder can read: its bands, in its order and units."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from torchgeo_cmr.embed.encoder_record import Encoder
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.band_order import colours, pick_bands
from torchgeo_cmr.scenes.bands import is_optical, is_radar, nameless
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.scales import Scale, common_steps
from torchgeo_cmr.scenes.scene import Scene, physical
from torchgeo_cmr.scenes.sources.cubes import open_cube
from torchgeo_cmr.scenes.units import BACKSCATTER, UNITS

#: Units of light -> what the numbers are.
KINDS = {'dn': 'whole numbers', 'reflectance': 'decimals of reflectance'}

#: How bands on a coarser grid come onto the finest one; part of the plan and the record.
RESAMPLING = 'bilinear'


@dataclass(frozen=True)
class EncoderInput:
    """What an encoder expects of scenes, and what the user states where files do not.

    Args:
        modality: Modality name.
        in_channels: Bands the encoder expects; None to accept any.
        spec: Training data: ``bands``, ``units``, ``scale`` and ``gsd``, all optional.
        transformed: True if pixels pass a transform before the encoder, which then gives
            units and scale.
        units: Unit of the pixels where files do not state it.
        scale: Physical value of one step of the pixels where nothing states it.
    """

    modality: str
    in_channels: int | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    transformed: bool = False
    units: str | None = None
    scale: float | None = None

    @classmethod
    def of(
        cls,
        task: Encoder,
        modality: str,
        transformed: bool,
        units: str | None,
        scale: float | None,
    ) -> Self:
        """Take what a task has recorded of its training.

        Raises:
            RasterError: If the task does not have the modality.
        """
        if modality not in task.keys:
            raise RasterError(
                f'the task has no modality {modality!r}: use one of {", ".join(task.keys)}'
            )
        spec = task.specs.get(modality) or {}
        channels = task.in_channels.get(modality)
        return cls(modality, channels, spec, transformed, units, scale)

    def match(self, scene: Scene) -> Scene:
        """Have a scene read as the encoder expects it.

        Raises:
            RasterError: If bands, units or scale do not match.
        """
        trained = {} if self.transformed else self.spec
        bands = self.spec.get('bands') or ()
        scene = match_bands(
            scene, self.modality, self.in_channels, self.spec, self.transformed
        )
        scene = match_units(
            scene, self.modality, trained.get('units'), self.units, bands
        )
        return match_scales(scene, self.modality, trained.get('scale'), self.scale)


def match_bands(
    scene: Scene,
    modality: str,
    in_channels: int | None,
    spec: Mapping[str, Any],
    transformed: bool = False,
) -> Scene:
    """Pick an encoder's bands: by name, or by count where one side has no names.

    Names are compared as in :mod:`torchgeo_cmr.scenes.bands`.

    Args:
        scene: What the catalogue offers.
        modality: Modality name, for messages.
        in_channels: Bands the encoder expects; None to accept any.
        spec: ``bands`` (names, in channel order) of the training data, optional.
        transformed: True if the dataset transforms its samples: bands must then come as
            they did in training, and only the result can be counted.

    Returns:
        The scene with the encoder's bands, in its order.

    Raises:
        RasterError: If bands are missing or their number is wrong.
    """
    wanted = [str(name) for name in spec.get('bands') or ()]
    given = scene.bands
    if transformed and (nameless(wanted) or nameless(given) or tuple(wanted) == given):
        return scene
    if wanted and not transformed:
        return pick_bands(scene, wanted, modality)
    if not wanted and not transformed:
        without = colours(scene)
        if in_channels in (None, len(without)):
            return scene if len(without) == len(given) else scene.pick(without)
    if not wanted and in_channels in (None, len(given)):
        return scene
    names = f' ({", ".join(wanted)})' if wanted else ''
    raise RasterError(
        f'{modality} expects {len(wanted) or in_channels} bands{names}, the dataset gives '
        f'{len(given)} ({", ".join(given)}) in {scene.path}: open it with the expected '
        '`bands`'
    )


def match_units(
    scene: Scene,
    modality: str,
    trained: str | None,
    stated: str | None = None,
    bands: Sequence[str] = (),
) -> Scene:
    """Have backscatter read in the unit that the encoder was trained on.

    Args:
        scene: What the catalogue offers.
        modality: Modality name, for messages.
        trained: Unit of the training data; None if unknown.
        stated: Unit of scenes whose files do not state theirs, as the user states it.
        bands: Names of the bands of the training, which may say that it is radar.

    Returns:
        The scene, with ``units`` as found or stated, and ``read_as`` if they differ from
        the training.

    Raises:
        RasterError: If *stated* contradicts the file, or the unit of the scene is not
            known and the encoder was trained on radar.
    """
    if stated is not None:
        if stated not in UNITS:
            raise RasterError(f'units is {stated!r}: give one of {", ".join(UNITS)}')
        if scene.units in BACKSCATTER and stated != scene.units:
            raise RasterError(
                f'{scene.path} says that it is in {scene.units}, units that it is in '
                f'{stated}: leave units out'
            )
        scene = replace(scene, units=stated)
    radar = trained in BACKSCATTER or any(map(is_radar, (*bands, *scene.bands)))
    if trained is None or not radar:
        return scene
    if scene.units in BACKSCATTER and trained in BACKSCATTER:
        return scene if trained == scene.units else replace(scene, read_as=trained)
    if scene.units in BACKSCATTER:
        raise RasterError(
            f'{modality} was trained on radar whose pixels are {trained}, and {scene.path} '
            f'is in {scene.units}: train with the units of the pixels stated'
        )
    # Numbers as they are stored are the same thing on both sides, if both are integers.
    if stated == trained or (trained == 'dn' and _stores_integers(scene)):
        return scene
    if stated == 'dn':
        raise RasterError(
            f'{modality} was trained on radar in {trained}, and {scene.path} holds numbers without '
            "a unit, which no rule turns into it: take a model with normalize='data' (embed "
            '--model MODEL --normalize data), or train on such pixels'
        )
    raise RasterError(
        f'{modality} was trained on radar in {trained}, and {scene.path} does not say what '
        'its pixels are: state it with `units`, which is never guessed, as db, power or amplitude'
    )


def match_scales(
    scene: Scene,
    modality: str,
    trained: Sequence[float | None] | None,
    stated: float | None = None,
) -> Scene:
    """Have pixels read in the steps that the encoder was trained on.

    Args:
        scene: What the catalogue offers, with bands and units matched.
        modality: Modality name, for messages.
        trained: Physical value of one step of each band of the training; None, or None for a
            band, if nothing stated it.
        stated: Value of one step in scenes that state none, as the user states it.

    Returns:
        The scene, with ``steps`` if its own differ from those of the training. What states
        no scale is taken as it is.

    Raises:
        RasterError: If *stated* is not a scale; or the scene holds decimal reflectance of
            unknown scale and the encoder was trained on a known one.
    """
    count = len(scene.bands)
    if stated is not None:
        if not (math.isfinite(stated) and stated > 0):
            raise RasterError(
                f'scale is {stated}: give a number above 0, such as 0.0001'
            )
        if scene.scales is None:
            scene = replace(scene, scales=(Scale(stated),) * count)
    scene = physical(scene)
    wanted = [*(trained or ())]
    if scene.steps is not None or len(wanted) != count or not any(wanted):
        return scene
    step = min(step for step in wanted if step)
    if scene.scales is None and scene.units == 'reflectance' and step != 1:
        raise RasterError(
            f'{modality} was trained on numbers in steps of {step:g}, and {scene.path} holds '
            f'decimals without a scale: state it with `scale`, 1 for reflectance from 0 to 1 '
            f'or {step:g} for numbers as in the training'
        )
    if scene.scales is None and step < 1e-3 and _stores_bytes(scene):
        raise RasterError(
            f'{modality} was trained on numbers in steps of {step:g}, and {scene.path} holds '
            'numbers of 8 bits, which end at 255: state their value with `scale`, such as 0.004, or '
            "for pictures for display take a model with normalize='data' (embed --model MODEL "
            '--normalize data)'
        )
    same = scene.scales is None or common_steps([scene.scales, _known(wanted)]) is None
    return scene if same else replace(scene, steps=tuple(wanted))


def is_of_other_kind(scene: Scene, spec: Mapping[str, Any]) -> bool:
    """Decide whether a scene holds decimals of reflectance and the training did not, or reverse.

    Args:
        scene: What the catalogue offers, with bands, units and scales matched.
        spec: ``bands``, ``units`` and ``scale`` of the training, all optional.

    Returns:
        True if no scale connects them.
    """
    light = all(map(is_optical, (*(spec.get('bands') or ()), *scene.bands)))
    connected = any(spec.get('scale') or ()) and (
        scene.scales is not None or scene.units == 'reflectance'
    )
    return light and not connected and {scene.units, spec.get('units')} == {*KINDS}


def _known(steps: Sequence[float | None]) -> tuple[Scale, ...]:
    return tuple(Scale(step) for step in steps)


def _stores_integers(scene: Scene) -> bool:
    return all(np.issubdtype(kind, np.integer) for kind in _kinds(scene))


def _stores_bytes(scene: Scene) -> bool:
    return all(np.dtype(kind).itemsize == 1 for kind in _kinds(scene))


def _kinds(scene: Scene) -> list[Any]:
    """NumPy types in which the bands are stored."""
    if scene.layers is None:
        return [read_header(file).dtypes[i - 1] for file, i in scene.sources]
    with open_cube(scene.path) as cube:
        images = [cube[name] for name, _ in scene.layers]
        return [image.encoding.get('dtype', image.dtype) for image in images]
