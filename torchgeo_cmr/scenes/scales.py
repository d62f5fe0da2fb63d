"""Scales: what stored numbers mean, so that scenes of different scale are never mixed.

A physical value is ``stored * scale + offset``. Pixels are read as ``stored + offset / scale``:
zero means zero, integers stay exact, and what is left to know is the value of one step, the
scale. It is taken from the first of these that states it:

1. a STAC item: ``raster:scale`` and ``raster:offset`` of its bands or assets, or
   ``raster:bands``. If the item has ``boa_offset_applied``, there is no offset any more; if
   it names a processing baseline of Sentinel-2 and no offset, the baseline decides;
2. scale and offset that the file itself states for a band;
3. ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml`` of a Sentinel-2 product, or its name: from
   processing baseline 04.00 on, reflectances carry an offset of -1000;
4. the ``MTL`` file of a Landsat product of collection 2.

xarray decodes cubes: their pixels are physical values, in steps of 1. What is missing is
decided on stored numbers, before all this.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchgeo_cmr.scenes.bands import numbers_of
from torchgeo_cmr.scenes.header import Header, read_header


class Scale(NamedTuple):
    """What the stored numbers of a band mean."""

    #: Physical value of one step; None if nothing states it.
    step: float | None = None
    #: What is added to stored numbers, so that zero means zero.
    shift: float = 0.0


#: Scales of the bands of a scene; None if nothing is stated of any.
type Scales = tuple[Scale, ...] | None

UNKNOWN = Scale()

#: Sentinel-2 stores reflectance times this many.
_QUANTIFICATION = 10_000.0

#: What baseline 04.00 brought, in stored numbers.
_OFFSET = -1000.0

#: Reflectance of Sentinel-2 from baseline 04.00 on.
SENTINEL2 = Scale(1 / _QUANTIFICATION, _OFFSET)

#: Names of products with their processing baseline.
_PRODUCT = re.compile(r'S2[A-D]_MSIL(?:1C|2A)_\d{8}T\d{6}_N(\d{4})_')

#: How catalogues call the satellites of Sentinel-2.
_SENTINEL2 = re.compile(r'\s*(?:sentinel[-_ ]?|s)2', re.IGNORECASE)

#: Numbers of the bands of Sentinel-2 in its metadata.
_IDS = ('1', '2', '3', '4', '5', '6', '7', '8', '8A', '9', '10', '11', '12')

#: Files of Landsat collection 2, level 2 or 1: the product, and the band.
_LANDSAT = re.compile(
    r'(?P<stem>L[COTEM]\d\d_L\w{3}_\d{6}_\d{8}_\d{8}_02_\w\w)_'
    r'(?:(?P<kind>SR|ST)_)?B(?P<band>\d{1,2})\.\w+',
    re.IGNORECASE,
)


def find_scales(sources: Sequence[tuple[str, int]], bands: Sequence[str]) -> Scales:
    """Find what the files of a scene state of the scales of its bands.

    Args:
        sources: ``(file, 1-based band)`` of each band.
        bands: Band names.

    Returns:
        One scale per band; None if nothing is stated.
    """
    found = tuple(
        _of_band(read_header(file), index, band)
        for (file, index), band in zip(sources, bands, strict=True)
    )
    return found if any(scale != UNKNOWN for scale in found) else None


def stated(scale: Any, offset: Any) -> Scale:
    """Make a scale of a physical scale and offset; 1 and 0 say nothing."""
    try:
        step, start = float(scale), float(offset)
    except (TypeError, ValueError):
        return UNKNOWN
    if not (np.isfinite([step, start]).all() and step) or (step, start) == (1, 0):
        return UNKNOWN
    shift = start / step
    # Decimal fractions are not exact in binary: -0.1 / 0.0001 means -1000.
    whole = round(shift)
    return Scale(step, float(whole) if abs(shift - whole) < 1e-6 else shift)


def _of_band(header: Header, index: int, band: str) -> Scale:
    known = stated(header.scales[index - 1], header.offsets[index - 1])
    kind = np.dtype(header.dtypes[index - 1])
    # Bytes are pictures, and decimals are what somebody computed.
    if known != UNKNOWN or kind.kind not in 'iu' or kind.itemsize == 1:
        return known
    return _of_sentinel2(header.path, band) or _of_landsat(header.path) or UNKNOWN


def _of_sentinel2(path: str, band: str) -> Scale | None:
    """What a product of Sentinel-2 states; None if the file is not in one."""
    numbers = numbers_of(band, 'sentinel-2')
    if not numbers and not re.fullmatch(r'band_\d+', band):
        return None
    folder = os.path.dirname(os.path.abspath(path))
    metadata = _metadata(folder) if numbers else None
    if metadata is not None:
        quantification, offsets = metadata
        found = {offsets.get(number, 0.0) for number in numbers}
        return Scale(1 / quantification, found.pop()) if len(found) == 1 else None
    return of_product(path)


def of_product(name: str) -> Scale | None:
    """Read the scale of reflectance from a name that holds that of a Sentinel-2 product."""
    found = _PRODUCT.findall(name)
    return of_baseline(found[-1]) if found else None


def of_baseline(text: Any) -> Scale | None:
    """Give the scale of reflectance of a processing baseline, such as ``'05.10'``."""
    text = str(text)
    match = re.fullmatch(r'N?0?(\d)\.(\d\d)', text)
    match = match or re.fullmatch(r'N?0(\d)(\d\d)', text)
    if match is None:
        return None
    later = int(match[1] + match[2]) >= 400
    return Scale(1 / _QUANTIFICATION, _OFFSET if later else 0.0)


@lru_cache(maxsize=4096)
def _metadata(folder: str) -> tuple[float, dict[str, float]] | None:
    """Quantification and offsets of the Sentinel-2 product in which a folder lies."""
    for place in (folder, *map(str, Path(folder).parents)):
        for name in ('MTD_MSIL2A.xml', 'MTD_MSIL1C.xml'):
            file = os.path.join(place, name)
            if os.path.isfile(file):
                return _read_metadata(file)
        inside = re.fullmatch(r'R\d+m|IMG_DATA|GRANULE|L[12][AC]_T.*', Path(place).name)
        if inside is None:
            return None
    return None


def _read_metadata(file: str) -> tuple[float, dict[str, float]]:
    text = Path(file).read_text(encoding='utf-8', errors='replace')
    value = re.search(r'<(?:BOA_)?QUANTIFICATION_VALUE[^>]*>\s*([\d.eE+-]+)', text)
    offsets = re.findall(
        r'<(?:BOA|RADIO)_ADD_OFFSET\s+band_id="(\d+)"[^>]*>\s*([\d.eE+-]+)', text
    )
    return float(value[1]) if value else _QUANTIFICATION, {
        _IDS[int(i)]: float(offset) for i, offset in offsets if int(i) < len(_IDS)
    }


def _of_landsat(path: str) -> Scale | None:
    folder, name = os.path.split(os.path.abspath(path))
    match = _LANDSAT.fullmatch(name)
    if match is None:
        return None
    factors = _mtl(os.path.join(folder, match['stem']))
    kind, band = match['kind'], match['band']
    if kind is not None and kind.upper() == 'ST':
        keys = f'TEMPERATURE_MULT_BAND_ST_B{band}', f'TEMPERATURE_ADD_BAND_ST_B{band}'
    else:
        keys = f'REFLECTANCE_MULT_BAND_{band}', f'REFLECTANCE_ADD_BAND_{band}'
    if not set(keys) <= set(factors):
        return None
    # Level 2 comes first, and repeats the factors of level 1 behind its own.
    return stated(*(factors[key][0] for key in keys))


@lru_cache(maxsize=1024)
def _mtl(stem: str) -> dict[str, list[float]]:
    """Factors that the metadata of a Landsat product states, in the order of the file."""
    found: dict[str, list[float]] = {}
    for end in ('_MTL.txt', '_MTL.json', '_MTL.xml'):
        if os.path.isfile(stem + end):
            text = Path(stem + end).read_text(encoding='utf-8', errors='replace')
            for key, value in re.findall(
                r'((?:REFLECTANCE|TEMPERATURE)_(?:MULT|ADD)_BAND_\w+)"?\s*[=:>]\s*"?'
                r'([\d.eE+-]+)',
                text,
            ):
                found.setdefault(key, []).append(float(value))
            return found
    return found


def of_item(
    properties: Mapping[str, Any],
    facts: Sequence[Mapping[str, Any]],
    names: Sequence[Sequence[str]],
) -> Scales:
    """Find what a STAC item states of the scales of some of its bands.

    Args:
        properties: The item's own fields and its properties, and its ``id``.
        facts: What it states of each band: ``scale`` and ``offset``, or with ``raster:``.
        names: All names that each band goes by.

    Returns:
        One scale per band, unknown where the item states none; None if it states none at all.
    """
    applied = _applied(properties)
    found = tuple(
        _of_asset(properties, entry, known, applied)
        for entry, known in zip(facts, names, strict=True)
    )
    return found if any(scale != UNKNOWN for scale in found) else None


def _applied(properties: Mapping[str, Any]) -> bool:
    """Whether an item states that the offset is in the pixels already."""
    return any(
        str(value).lower() == 'true'
        for key, value in properties.items()
        if 'boa_offset_applied' in key
    )


def _of_asset(
    properties: Mapping[str, Any],
    entry: Mapping[str, Any],
    names: Sequence[str],
    applied: bool,
) -> Scale:
    scale, offset = (
        next(
            (entry[k] for k in (f'raster:{name}', name) if entry.get(k) is not None),
            None,
        )
        for name in ('scale', 'offset')
    )
    reflectance = any(numbers_of(name, 'sentinel-2') for name in names)
    if scale is None and offset is None and not reflectance:
        return UNKNOWN
    known = _of_properties(properties) if reflectance else None
    if known is not None and applied:
        known = Scale(known.step)
    if scale is None and offset is None:
        return known or UNKNOWN
    scale_of_asset = stated(
        1 if scale is None else scale, 0 if offset is None else offset
    )
    if known is not None and (applied or offset is None):
        return Scale(scale_of_asset.step or known.step, known.shift)
    return scale_of_asset


def _of_properties(properties: Mapping[str, Any]) -> Scale | None:
    """What an item states of all its reflectances; None if it is not one of Sentinel-2."""
    keys = ['s2:processing_baseline', 'sentinel:processing_baseline']
    named = [str(properties.get(key) or '') for key in ('constellation', 'platform')]
    ours = any(map(_SENTINEL2.match, named))
    # Other missions count their processors too.
    keys += ['processing:version'] if ours else []
    texts = [properties.get(key) for key in ('s2:product_uri', 'id')]
    found = [
        *(of_baseline(properties.get(key)) for key in keys),
        *(of_product(str(text)) for text in texts),
    ]
    first = next((each for each in found if each), None)
    # Only Sentinel-2 has that offset, and one step whichever baseline made it.
    return first or (Scale(1 / _QUANTIFICATION) if _applied(properties) else None)


def common_steps(every: Sequence[Scales]) -> tuple[float | None, ...] | None:
    """Choose one step per band in which several scenes are read.

    Args:
        every: Scales of the scenes, which have the same bands.

    Returns:
        For each band the step of the first scene that states one; None if all that state
        one agree, so that nothing has to be converted.
    """
    stated_ones = [scales for scales in every if scales is not None]
    if len({len(scales) for scales in stated_ones}) != 1:
        return None
    bands = [[scale.step for scale in band] for band in zip(*stated_ones, strict=True)]
    bands = [[step for step in steps if step is not None] for steps in bands]
    if all(len({*steps}) < 2 for steps in bands):
        return None
    return tuple(steps[0] if steps else None for steps in bands)


def changes(
    scales: Scales, steps: Sequence[float | None] | None
) -> list[tuple[float, float]] | None:
    """Say how stored numbers become those that are read: ``(stored + shift) * factor``.

    Args:
        scales: Scales of the bands.
        steps: Physical value of the steps to read them in; None for their own.

    Returns:
        Factor and shift of each band; None if no number changes.
    """
    if scales is None:
        return None
    found = [
        (1.0 if scale.step is None or step is None else scale.step / step, scale.shift)
        for scale, step in zip(scales, steps or (None,) * len(scales), strict=True)
    ]
    return found if any(change != (1, 0) for change in found) else None


def merged(first: Scales, second: Scales) -> Scales:
    """Take the scales that one source states, and of other bands those of another."""
    if first is None or second is None:
        return first or second
    return tuple(a if a != UNKNOWN else b for a, b in zip(first, second, strict=True))
