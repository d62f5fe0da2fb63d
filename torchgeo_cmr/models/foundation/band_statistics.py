"""How pixels are normalised for weights from elsewhere, as mean and standard deviation per band.

TorchGeo keeps with each set of weights the transforms that its authors applied. Of an image whose
pixels are all alike, resizing and cropping change nothing, so what comes out of such an image is
the normalisation alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchgeo.models import ResNet50_Weights, TileNet_Weights
from torchvision.models._api import WeightsEnum

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models.weights import FoundWeights, band_key, match_bands

__all__ = ('for_bands', 'image_size', 'of_sensor', 'of_weights')

#: Pixels of the constant image: larger than any crop.
_SIDE = 300
#: Widths that TorchGeo does not record: tiles of Tile2Vec.
_WIDTHS: dict[type[WeightsEnum], int] = {TileNet_Weights: 50}


def of_weights(weights: WeightsEnum) -> tuple[list[float], list[float]] | None:
    """Give the normalisation that weights were trained with.

    Args:
        weights: Weights of TorchGeo.

    Returns:
        Mean and standard deviation of each band of the weights, in the units in which their
        authors had the pixels; None if the transforms leave pixels as they are, do more than
        to subtract and divide, or are for other inputs than pictures.

    Examples:
        >>> mean, std = of_weights(ResNet50_Weights.SENTINEL1_GRD_DECUR)
        >>> mean, std  # decibels of VV and VH
        ([-12.59, -20.26], [5.26, 5.91])
        >>> of_weights(ResNet50_Weights.SENTINEL1_GRD_CLOSP)
    """
    images = [_transformed(weights, level) for level in (0.0, 1.0, 2.0)]
    outputs = [image[0].mean(dim=(1, 2)) for image in images if image is not None]
    if len(outputs) < len(images):
        return None
    offset, slope = outputs[0], outputs[1] - outputs[0]
    straight = torch.allclose(outputs[2] - outputs[1], slope, rtol=1e-6)
    if not straight or (slope <= 0).any():
        return None
    if torch.allclose(offset, offset * 0) and torch.allclose(slope, slope * 0 + 1):
        return None
    mean, std = -offset / slope, 1 / slope
    return [round(x, 9) + 0.0 for x in mean.tolist()], [
        round(x, 9) for x in std.tolist()
    ]


def for_bands(
    found: FoundWeights | None, bands: Sequence[str] | None, channels: int
) -> tuple[list[float], list[float]] | None:
    """Give the normalisation of weights in the order of the bands of images.

    Args:
        found: The weights, if there are any.
        bands: Names of the bands of the images; None to take them in the order of the weights.
        channels: How many there are.

    Returns:
        Mean and standard deviation of each band; None if TorchGeo does not know them.

    Raises:
        RasterError: If the weights do not know a band.
    """
    known = None if found is None or found.enum is None else of_weights(found.enum)
    if found is None or known is None:
        return None
    order = match_bands(
        found.bands, len(known[0]), bands, channels, source=found.source
    )
    first = [i[0] if isinstance(i, tuple) else i or 0 for i in order]
    mean, std = ([each[i] for i in first] for each in known)
    return mean, std


def image_size(weights: WeightsEnum) -> int | None:
    """Give the width in pixels of the images that weights were trained with; None if unknown.

    Args:
        weights: Weights of TorchGeo, whose transforms or records say it.
    """
    image = _transformed(weights, 0.0)
    side = _SIDE if image is None else int(image.shape[-1])
    if side != _SIDE:
        return side
    meta = weights.meta
    stated = meta.get('img_size') or meta.get('image_size') or meta.get('input_shape')
    if isinstance(stated, Sequence):
        stated = stated[-1]
    return _WIDTHS.get(type(weights)) if stated is None else int(stated)


def _transformed(weights: WeightsEnum, level: float) -> Tensor | None:
    """Apply the transforms of weights to an image of one value; None if they take no images."""
    channels = weights.meta.get('in_chans') or len(weights.meta.get('bands') or ())
    transforms = weights.transforms
    if not channels or not isinstance(transforms, nn.Module):
        return None
    image = torch.full((1, channels, _SIDE, _SIDE), level, dtype=torch.float64)
    try:
        with torch.no_grad():
            return transforms(image)
    except (AssertionError, RuntimeError, TypeError, ValueError):
        return None  # those of Tessera take series of pixels


def of_sensor(bands: Sequence[str], model: str) -> tuple[list[float], list[float]]:
    """Give the statistics of Sentinel-1 (decibels) or Sentinel-2 (reflectance times 10,000).

    They are those of SSL4EO-S12, which TorchGeo keeps with weights that were trained on it. For
    models that were trained on pictures of several sensors, each standardised by its own.

    Args:
        bands: Names of the bands.
        model: Who asks, for the message.

    Returns:
        Mean and standard deviation of each band.

    Raises:
        RasterError: If a band is of another sensor.
    """
    known: dict[str, tuple[float, float]] = {}
    for weights in (
        ResNet50_Weights.SENTINEL1_GRD_DECUR,
        ResNet50_Weights.SENTINEL2_ALL_SOFTCON,
    ):
        found = of_weights(weights)
        assert found is not None  # a test holds TorchGeo to it
        names = map(band_key, weights.meta['bands'])
        known |= dict(zip(names, zip(*found, strict=True), strict=True))
    missing = [band for band in bands if band_key(band) not in known]
    if missing:
        raise RasterError(
            f'{model} has no statistics for {", ".join(missing)}, only for Sentinel-1 and '
            'Sentinel-2: give mean= and std= of your pixels'
        )
    mean, std = zip(*(known[band_key(band)] for band in bands), strict=True)
    return [*mean], [*std]
