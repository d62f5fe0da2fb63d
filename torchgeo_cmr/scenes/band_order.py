"""Bands and units of scenes as an encoder, or the first scene of a modality, has them."""

from collections.abc import Sequence
from dataclasses import replace

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.bands import explain, find_bands, is_optical, nameless
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.scene import Scene, in_steps
from torchgeo_cmr.scenes.units import BACKSCATTER


def pick_bands(scene: Scene, wanted: Sequence[str], modality: str) -> Scene:
    """Pick bands by name; by position only where one side has no names at all.

    An alpha band that is not wanted is not a band: it masks the others.

    Args:
        scene: What the files offer.
        wanted: Band names, in channel order.
        modality: Modality name, for messages.

    Returns:
        The scene with those bands, in that order, under its own names.

    Raises:
        RasterError: If a band is missing or could be two; without names, if the numbers of
            bands differ.
    """
    given = scene.bands
    if tuple(wanted) == given:
        return scene
    if sorted(wanted) == sorted(given) == sorted({*given}):
        return scene.pick([given.index(name) for name in wanted])
    if nameless(wanted) or nameless(given):
        if len(wanted) == len(given):
            return scene
        if len(wanted) == len(without := colours(scene)):
            return scene.pick(without)
        reason = 'without names on both sides the number of bands must agree'
    else:
        order = find_bands(wanted, given, scene.sensor)
        if order is not None:
            return scene.pick(order)
        reason = explain(wanted, given, scene.sensor)
    raise RasterError(
        f'{modality} expects {len(wanted)} bands ({", ".join(wanted)}), the dataset gives '
        f'{len(given)} ({", ".join(given)}) in {scene.path}: {reason}'
    )


def colours(scene: Scene) -> list[int]:
    """Return the positions of bands that are not alpha: a mask, unless it is requested as a band."""
    if scene.layers is not None:
        return [*range(len(scene.bands))]
    return [
        i
        for i, (file, index) in enumerate(scene.sources)
        if read_header(file).colours[index - 1] != 'alpha'
    ]


def alike(scenes: Sequence[Scene], modality: str) -> list[Scene]:
    """Give the scenes of one modality the bands, order and unit of the first.

    Args:
        scenes: Scenes whose pixels become one modality.
        modality: Modality name, for messages.

    Returns:
        The scenes in the same order; backscatter in another unit than that of the first is
        converted when it is read.

    Raises:
        RasterError: If a scene lacks a band, or backscatter of a known unit is mixed with
            pixels that do not say what they are, or whole numbers with decimals of
            reflectance.
    """
    found = [pick_bands(scene, scenes[0].bands, modality) for scene in scenes]
    if len({scene.bands for scene in scenes}) > 1:
        # Steps were left alone as long as bands lay in different orders.
        found = in_steps(found)
    units = {scene.units for scene in found}
    if units == {'dn', 'reflectance'} and any(s.scales is None for s in found):
        _refuse_mixture(found, modality)
    if len(units) < 2 or not units & BACKSCATTER:
        return found
    if not units <= BACKSCATTER:
        first = next(scene for scene in found if scene.units in BACKSCATTER)
        other = next(scene for scene in found if scene.units not in BACKSCATTER)
        raise RasterError(
            f'{modality} mixes backscatter in {first.units} ({first.path}) with pixels that '
            f'do not say what they are ({other.path}): write the unit of their bands into '
            'the files, or open them as another dataset'
        )
    target = found[0].units
    return [s if s.units == target else replace(s, read_as=target) for s in found]


def _refuse_mixture(found: Sequence[Scene], modality: str) -> None:
    """Refuse whole numbers and decimals of reflectance that no scale connects."""
    if all(map(is_optical, found[0].bands)):
        paths = {scene.units: scene.path for scene in found}
        raise RasterError(
            f'{modality} mixes decimals of reflectance ({paths["reflectance"]}) with stored '
            f'numbers ({paths["dn"]}), and not all state a scale: set scale and offset of '
            'the files, or open them as two datasets'
        )
