"""The bands of a scene in the order in which an encoder, or the scenes before it, have them."""

from collections.abc import Sequence

from torchgeo_cmr.datasets.names import explain, find_bands, nameless
from torchgeo_cmr.datasets.scene import Scene
from torchgeo_cmr.errors import RasterError


def pick_bands(scene: Scene, wanted: Sequence[str], modality: str) -> Scene:
    """Pick bands by name; by position only where one side has no names at all.

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
    if nameless(wanted) or nameless(given):
        if len(wanted) == len(given):
            return scene
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
