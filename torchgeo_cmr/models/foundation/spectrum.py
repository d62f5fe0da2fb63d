"""What channels are to models that ask for the physics of a band: wavelength, bandwidth, polarisation."""

from collections.abc import Sequence

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.models.weights import band_key

__all__ = ('bandwidths', 'is_radar', 'wavelengths')

#: Band of Sentinel-2 -> centre and width in nanometres, as Copernicus-Bench lists them.
SENTINEL2 = {
    'B1': (440, 20),
    'B2': (490, 65),
    'B3': (560, 35),
    'B4': (665, 30),
    'B5': (705, 15),
    'B6': (740, 15),
    'B7': (783, 20),
    'B8': (842, 115),
    'B8A': (860, 20),
    'B9': (940, 20),
    'B10': (1370, 30),
    'B11': (1610, 90),
    'B12': (2190, 180),
}
#: Channels of Sentinel-1.
SENTINEL1 = ('VV', 'VH', 'HH', 'HV')


def is_radar(bands: Sequence[str]) -> bool:
    """Say whether all bands are polarisations of a radar.

    Args:
        bands: Names of bands.

    Examples:
        >>> is_radar(['VV', 'VH']), is_radar(['B02', 'B03'])
        (True, False)
    """
    return all(band_key(band) in SENTINEL1 for band in bands)


def wavelengths(bands: Sequence[str], model: str) -> list[float]:
    """Give the centre of each band.

    Args:
        bands: Names of Sentinel-2, or wavelengths in nanometres such as ``'665'``.
        model: Who asks, for the message.

    Returns:
        Nanometres.

    Raises:
        RasterError: If a band is not known.
    """
    return [_physics(band, model)[0] for band in bands]


def bandwidths(bands: Sequence[str], model: str) -> list[float]:
    """Give the width of each band in nanometres, see :func:`wavelengths`."""
    return [_physics(band, model)[1] for band in bands]


def _physics(band: str, model: str) -> tuple[float, float]:
    """Look a band up by name; a bare number is its wavelength, of a width of 30 nm."""
    known = SENTINEL2.get(band_key(band))
    if known is not None:
        return known
    if band.isdecimal() and 300 <= int(band) <= 15_000:
        return float(band), 30.0
    raise RasterError(
        f'{model} needs the wavelength of each band, and {band!r} is not a band of Sentinel-2: name '
        'bands as B02 and B8A, or by their wavelength in nanometres: 655,561,482,865 for red, green, '
        'blue and near infrared of Landsat 8'
    )
