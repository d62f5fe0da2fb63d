"""Whether the numbers of a scene can be those that its encoder was trained on.

Files do not always say what a step of their pixels is. What is ten thousand times too small, or
eighty decibels too high, gives vectors like any other, so the first patches of a scene are compared
with what the encoder expects. Differences between places, seasons and sensors are far smaller.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models.foundation.pixel_steps import EIGHT_BITS
from torchgeo_cmr.rasters.fill_values import FillValues
from torchgeo_cmr.scenes.bands import is_optical
from torchgeo_cmr.scenes.scene import Scene
from torchgeo_cmr.scenes.units import BACKSCATTER, are_decibels, convert

__all__ = ('check_light', 'doubt_backscatter', 'doubt_missing')

#: Of every so many rows and columns one is looked at.
_EVERY = 4
#: What decimals of reflectance hardly exceed, under clouds and on snow too.
_BRIGHT = 1.5
#: Decibels by which no ground differs from the mean of a training.
_DECIBELS = 40
#: How photographs call their bands.
_COLOURS = frozenset({'R', 'G', 'B', 'N', 'NIR'})


def check_light(
    images: Tensor, scene: Scene, spec: Mapping[str, Any], modality: str
) -> None:
    """Refuse light in other steps than the encoder's, in scenes that do not state theirs.

    Args:
        images: Patches, shape (batch, bands, height, width), NaN where missing.
        scene: Where they are from, matched to the encoder.
        spec: ``bands``, ``scale`` and ``units`` of the training, all optional.
        modality: For messages.

    Raises:
        RasterError: If they are decimals where the training had whole numbers, or whole numbers
            beyond those of the training.
    """
    steps: Sequence[float | None] = spec.get('scale') or ()
    known = [i for i, step in enumerate(steps) if step]
    light = all(map(_is_light, spec.get('bands') or ()))
    if scene.scales is not None or not known or not light:
        return
    if spec.get('units') and scene.units == spec['units']:
        return  # Files, or who named the unit, say that they are alike.
    for i in known:
        step, values = steps[i] or 0, _sample(images, i)
        high = float(np.quantile(values, 0.99)) if values.size else 0.0
        if step < 1 and 0 < high <= _BRIGHT and (values != np.round(values)).any():
            raise RasterError(
                f'{modality} was trained on numbers in steps of {step:g}, and {scene.path} holds '
                f'decimals up to {values.max():.3g} without a scale: state it with `scale`, 1 for '
                f'reflectance from 0 to 1 or {step:g} for numbers as in the training'
            )
        if step in EIGHT_BITS and values.size and values.max() > 255:
            least = 'numbers of 8 bits, which end at 255'
        elif step == 1 and high > 2 * _BRIGHT:
            least = 'decimals from 0 to 1'
        else:
            continue
        raise RasterError(
            f'{modality} was trained on {least}, and {scene.path} holds numbers up to '
            f'{values.max():g} without a scale: state the value of one step with `scale`, such as '
            '0.0001 for reflectance times 10,000 or 0.0039 for 8 bits, or take a model with '
            "normalize='data' (embed --model MODEL --normalize data)"
        )


def doubt_backscatter(
    images: Tensor, scene: Scene, spec: Mapping[str, Any], modality: str
) -> str | None:
    """Say why backscatter cannot be what it is stated to be.

    Args:
        images: Patches, shape (batch, bands, height, width), NaN where missing, in the unit of the
            training.
        scene: Where they are from, matched to the encoder.
        spec: ``units`` and ``mean`` of the training, both optional.
        modality: For messages.

    Returns:
        A sentence; None if it can be.
    """
    unit, mean = spec.get('units'), spec.get('mean')
    if unit not in BACKSCATTER or not mean or len(mean) != images.shape[1]:
        return None
    samples = [_sample(images, i) for i in range(images.shape[1])]
    if not all(sample.size for sample in samples):
        return None
    if scene.units == unit == 'db' and max(mean) < 0 <= min(map(np.min, samples)):
        return (
            f'{modality} of {scene.path} holds no value below 0, which decibels of ground are '
            'nearly everywhere: state `units` as power or amplitude, if they are that'
        )
    if unit != 'db' and all(map(are_decibels, samples)):
        return (
            f'{modality} of {scene.path} is negative, which {unit} never is: state `units` as db, if it is in '
            'decibels'
        )
    found = _decibels(np.array([np.median(sample) for sample in samples]), unit)
    away = found - _decibels(np.array(mean), unit)
    if not np.isfinite(away).all() or np.abs(away).min() <= _DECIBELS:
        return None
    side = 'above' if away[0] > 0 else 'below'
    return (
        f'the median of {modality} in {scene.path} is {found[0]:.0f} dB, far {side} what the encoder '
        'was trained on: if its pixels are stored in steps, state their value with `scale`, such as '
        '7.08e-5 for amplitude of Sentinel-1 in 16 bits; else check `units`'
    )


def doubt_missing(images: Tensor, scene: Scene, modality: str) -> str | None:
    """Say which number of a scene stands for missing pixels in many files, and is read as a measured one.

    Args:
        images: Patches, shape (batch, bands, height, width), NaN where missing.
        scene: Where they are from.
        modality: For messages.

    Returns:
        A sentence; None if there is none.
    """
    fills = FillValues()
    fills.add(images.transpose(0, 1).flatten(1).numpy())
    found = fills.doubt()
    if found is None:
        return None
    return (
        f'{modality} of {scene.path} has {found} of its first patches, which nothing calls missing: if '
        'these are, state it with `nodata`'
    )


def _is_light(band: str) -> bool:
    return is_optical(band) or band.strip().upper() in _COLOURS


def _sample(images: Tensor, band: int) -> np.ndarray:
    """Take some of the valid pixels of a band."""
    values = images[:, band, ::_EVERY, ::_EVERY].numpy()
    return values[np.isfinite(values)]


def _decibels(values: np.ndarray, unit: str) -> np.ndarray:
    return convert(values.astype(np.float32), unit, 'db')
