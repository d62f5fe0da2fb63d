"""Modalities side by side, stretched so that a screen can show them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def panels(
    images: Mapping[str, tuple[Any, Sequence[str]]],
    *,
    show_titles: bool = True,
    suptitle: str | None = None,
) -> 'Figure':
    """Plot one panel a modality.

    Args:
        images: Modality -> its pixels, a tensor of shape ``(bands, height, width)``, and its
            band names.
        show_titles: Whether to write each modality's name above its panel.
        suptitle: Title of the figure.

    Returns:
        The figure.
    """
    from matplotlib.figure import Figure

    fig = Figure(figsize=(4 * len(images), 4), layout='constrained')
    axes = fig.subplots(1, len(images), squeeze=False)
    for axis, (name, (image, bands)) in zip(axes[0], images.items(), strict=True):
        axis.imshow(quicklook(image.numpy(), bands), cmap='gray')
        axis.axis('off')
        if show_titles:
            axis.set_title(name)
    if suptitle is not None:
        fig.suptitle(suptitle)
    return fig


def quicklook(image: np.ndarray, bands: Sequence[str] = ()) -> np.ndarray:
    """Turn pixels into something a screen can show.

    Args:
        image: Pixels of shape ``(bands, height, width)``, NaN where missing.
        bands: Band names; B04, B03 and B02 are shown as red, green and blue.

    Returns:
        Float array in 0..1 of shape ``(height, width)`` or ``(height, width, 3)``.
    """
    image = np.atleast_3d(np.asarray(image, np.float32))
    names = list(bands)
    if {'B04', 'B03', 'B02'} <= set(names):
        image = image[[names.index(band) for band in ('B04', 'B03', 'B02')]]
    elif len(image) == 2:
        image = np.stack([image[0], image[1], image[0] - image[1]])
    elif len(image) > 3:
        image = image[:3]
    shown = np.zeros_like(image)
    for channel, out in zip(image, shown, strict=True):
        valid = channel[np.isfinite(channel)]
        if valid.size:
            low, high = np.percentile(valid, (2, 98))
            out[:] = np.nan_to_num((channel - low) / max(high - low, 1e-12))
    shown = np.clip(shown, 0, 1)
    return shown[0] if len(shown) == 1 else np.moveaxis(shown, 0, -1)
