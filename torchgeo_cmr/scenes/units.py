"""What pixel values mean: decibels, power, amplitude, reflectance or plain numbers.

Backscatter in decibels, power and amplitude are three ways to write one measurement, so
they can be turned into each other exactly. Which one a file holds is read from it or
stated by the user, never guessed: bands of radar whose unit nobody states have none.
"""

import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.scenes.bands import is_optical, is_radar, nameless
from torchgeo_cmr.scenes.header import Header
from torchgeo_cmr.scenes.sources.product_names import sensor_of_name

#: What pixel values can be.
UNITS = ('db', 'power', 'amplitude', 'reflectance', 'dn')

#: Units of radar backscatter, which can be converted into each other.
BACKSCATTER = frozenset({'db', 'power', 'amplitude'})

#: The letter in the name of a terrain-corrected Sentinel-1 product -> unit of the pixels.
SAR_SCALES = {'d': 'db', 'p': 'power', 'a': 'amplitude'}

#: Words for a unit, in metadata and in the names of radar bands -> the unit.
_WORDS = {
    'db': 'db',
    'decibel': 'db',
    'decibels': 'db',
    'linear': 'power',
    'lin': 'power',
    'power': 'power',
    'pow': 'power',
    'amplitude': 'amplitude',
    'amp': 'amplitude',
}


def find_units(header: Header, bands: Sequence[str], regex: str) -> str | None:
    """Say what the pixel values are, from what the file itself states.

    Args:
        header: Header of the file.
        bands: Band names.
        regex: The dataset's pattern for file names.

    Returns:
        'db', 'power', 'amplitude', 'reflectance' or 'dn'; None for radar bands of unknown
        scale, which must never be guessed.
    """
    stated = stated_unit(
        [*header.units, *(tags.get('units') for tags in header.band_tags)]
    )
    if stated is not None:
        return stated
    match = re.match(regex, os.path.basename(header.path), re.VERBOSE)
    scale = match.groupdict().get('scale') if match else None
    if scale in SAR_SCALES:
        return SAR_SCALES[scale]
    if nameless(bands) and sensor_of_name(header.path) == 'sentinel-1':
        # Radar by the name of the product, whose bands have none.
        return None
    return unit_of(bands, np.dtype(header.dtypes[0]))


def stated_unit(words: Sequence[Any]) -> str | None:
    """Give the unit on which all bands that name a known one agree; None if there is none."""
    known = {word: word for word in UNITS} | _WORDS
    stated = {known.get(str(word).strip().lower()) for word in words if word} - {None}
    return stated.pop() if len(stated) == 1 else None


def unit_of(bands: Sequence[str], kind: np.dtype) -> str | None:
    """Give the unit of bands whose file states none, from their names.

    Args:
        bands: Band names.
        kind: NumPy type of the stored pixels.

    Returns:
        Of radar what its names say, such as ``Sigma0_VV_db``, else None: it is never
        guessed. Of others ``'reflectance'`` if they are floats whose names are those of
        reflected light, and else ``'dn'``: heights and classes reflect nothing.
    """
    radar = [band for band in bands if is_radar(band)]
    if radar:
        stated = {_said(band) for band in radar}
        return stated.pop() if len(stated) == 1 else None
    light = all(map(is_optical, bands)) and not np.issubdtype(kind, np.integer)
    return 'reflectance' if light else 'dn'


def _said(band: str) -> str | None:
    """Unit that the name of a radar band states."""
    # 'VVdB' are two words.
    text = re.sub('[vh]{2}(?=db|lin|pow|amp)', ' ', band.lower())
    words = re.findall('[a-z]+', text)
    return stated_unit([word for word in words if word in _WORDS])


def are_decibels(values: NDArray[Any]) -> bool:
    """Say whether backscatter must be decibels, since neither power nor amplitude is below zero.

    Noise that was taken off leaves some a little below; fill values are all alike or far below.

    Args:
        values: Backscatter of any shape, NaN where missing.
    """
    # First what ends the question for nearly all: it is asked of each window that is read.
    if ((values >= 0) & (values < np.inf)).any():
        return False
    known = values[np.isfinite(values)]
    if not known.size or known.min() <= -100:
        return False
    return bool(known.min() < known.max() and np.median(known) < -1)


def convert(
    pixels: NDArray[np.float32], given: str, wanted: str
) -> NDArray[np.float32]:
    """Turn backscatter from one unit into another.

    ``db = 10 log10(power) = 20 log10(amplitude)``. Computed in float64, returned in
    float32.

    Args:
        pixels: Backscatter of any shape, NaN where missing.
        given: Unit of *pixels*: ``'db'``, ``'power'`` or ``'amplitude'``.
        wanted: Unit to return, one of the same three.

    Returns:
        Array of the same shape; NaN where *pixels* are missing, and where a value has no
        counterpart: zero and below in decibels, below zero as amplitude.
    """
    if given == wanted:
        return pixels
    values = pixels.astype(np.float64)
    if wanted != 'power' and given != 'db':
        # Neither has a logarithm below zero, and an amplitude is never negative.
        values[~(values > 0 if wanted == 'db' else values >= 0)] = np.nan
    if given == 'db':
        power = 10 ** (values / 10)
    else:
        power = values**2 if given == 'amplitude' else values
    if wanted == 'db':
        power = 10 * np.log10(power)
    elif wanted == 'amplitude':
        power = np.sqrt(power)
    with np.errstate(over='ignore'):
        # What no float32 can hold comes out as infinite, and so as missing.
        return power.astype(np.float32)
