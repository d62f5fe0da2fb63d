"""In which steps weights had their pixels: decimals, 8 bits, or reflectance times 10,000."""

from collections.abc import Sequence

__all__ = ('EIGHT_BITS', 'pixel_steps')

#: Sentinel-2 stores reflectance in steps of this.
_REFLECTANCE = 1e-4
#: In its pictures of 8 bits, the highest value is a reflectance of 0.3558.
_DISPLAY = 0.3558 / 255
#: Steps of pictures of 8 bits.
EIGHT_BITS = frozenset({_DISPLAY, 1 / 255})
#: What mean and deviation together do not reach in 8 bits, and what white pictures do.
_BYTES, _WHITE = 300, 200


def pixel_steps(
    mean: Sequence[float], std: Sequence[float], *, sentinel2: bool
) -> list[float | None]:
    """Tell from the statistics of weights what one step of their pixels was.

    Args:
        mean: Mean of each band, in the pixels that the weights were trained with.
        std: Standard deviation of each band.
        sentinel2: Whether they are those of Sentinel-2.

    Returns:
        Physical value of one step of each band, of pictures the share of the highest value; None
        if it is not known.

    Examples:
        >>> pixel_steps([0.485], [0.229], sentinel2=False)
        [1.0]
        >>> pixel_steps([1370.0, 1184.4], [633.2, 650.3], sentinel2=True)
        [0.0001, 0.0001]
    """
    usual = [abs(m) + s for m, s in zip(mean, std, strict=True)]
    small = [value for value in usual if value < _BYTES]
    stored = _REFLECTANCE if sentinel2 else None
    # Bands of one picture have one kind of number, whatever the brightness of each.
    if max(small, default=0) <= 1:
        shown: float | None = 1.0
    elif len(small) == len(usual) or max(small) >= _WHITE:
        shown = _DISPLAY if sentinel2 else 1 / 255
    else:
        shown = stored  # little light, such as that of cirrus
    return [shown if value < _BYTES else stored for value in usual]
