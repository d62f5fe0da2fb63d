"""What the names of products say: sensor, scene, band, resolution and date.

Names are read with the patterns of TorchGeo's dataset classes; the classes themselves are
not needed, so no file is warped or opened twice. Products without a class have patterns
here.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
from torchgeo.datasets import (
    NAIP,
    Landsat1,
    Landsat2,
    Landsat3,
    Landsat4MSS,
    Landsat4TM,
    Landsat5TM,
    Landsat7,
    Landsat8,
    Landsat9,
    RasterDataset,
    Sentinel1,
    Sentinel2,
)
from torchgeo.datasets.utils import disambiguate_timestamp

#: Sensor -> the class of TorchGeo that knows its names.
PRODUCTS: dict[str, type[RasterDataset]] = {
    'sentinel-1': Sentinel1,
    'sentinel-2': Sentinel2,
    'landsat-9': Landsat9,
    'landsat-8': Landsat8,
    'landsat-7': Landsat7,
    'landsat-5': Landsat5TM,
    'landsat-4': Landsat4TM,
    'landsat-4 mss': Landsat4MSS,
    'landsat-3': Landsat3,
    'landsat-2': Landsat2,
    'landsat-1': Landsat1,
    'naip': NAIP,
}

#: First and last moment; None if unknown.
type Times = tuple[pd.Timestamp | None, pd.Timestamp | None]

#: Names of Copernicus products, also of what others cut out of them.
_COPERNICUS = re.compile(
    r'S(?P<number>[12])[A-D]_.*?_(?P<date>\d{8})T(?P<time>\d{5,6})'
)


@dataclass(frozen=True)
class Pattern:
    """The names of the files of one kind of product."""

    sensor: str
    #: Groups ``band`` and, where names have them, ``date``, ``resolution`` and ``scale``.
    regex: str
    #: How the names begin.
    start: str = ''
    date_format: str = ''
    #: Bands in the order in which they are read unless others are wanted.
    bands: tuple[str, ...] = ()
    #: Resolution in names of each band as the sensor has it.
    native: Mapping[str, str] = field(default_factory=dict)
    #: Unit of the pixels, where the product defines it.
    units: str | None = None


def _of_class(sensor: str, cls: type[RasterDataset]) -> Pattern:
    regex: str = cls.filename_regex
    return Pattern(
        sensor.split()[0],
        # TorchGeo fills the resolution of one band into the pattern of Sentinel-2.
        regex.format(r'\d+m') if cls is Sentinel2 else regex,
        cls.filename_glob.split('*')[0].split('{')[0],
        cls.date_format,
        tuple(getattr(cls, 'default_bands', None) or cls.all_bands),
        getattr(cls, 'resolutions', {}),
    )


def _hls(letter: str, sensor: str, bands: str) -> Pattern:
    regex = rf"""
        ^HLS\.{letter}30\.T(?P<tile>\w{{5}})\.(?P<date>\d{{7}}T\d{{6}})
        \.v\d+\.\d+\.(?P<band>B\d[\dA])\."""
    order = tuple(f'B{number}' for number in bands.split())
    return Pattern(sensor, regex, f'HLS.{letter}30.', '%Y%jT%H%M%S', order)


_RADAR = ('VV', 'VH', 'HH', 'HV')

PATTERNS = (
    *(_of_class(sensor, cls) for sensor, cls in PRODUCTS.items()),
    _hls('S', 'sentinel-2', '01 02 03 04 05 06 07 08 8A 09 10 11 12'),
    _hls('L', 'landsat', '01 02 03 04 05 06 07 09 10 11'),
    # Terrain-corrected Sentinel-1 of the Planetary Computer, which is power by definition;
    # the product is named by the folder.
    Pattern(
        'sentinel-1',
        r'(?i)^(?:.*[-_.])?(?:iw|ew|sm|wv)-(?P<band>[vh][vh])\.rtc\.tiff?$',
        bands=_RADAR,
        units='power',
    ),
    Pattern(
        'sentinel-1', r'(?i)^.*[-_.]rtc[-_.](?P<band>[vh][vh])\.tiff?$', bands=_RADAR
    ),
)


@dataclass(frozen=True)
class FileName:
    """What the name of one file of a product states."""

    pattern: Pattern
    #: The name before the band.
    stem: str
    #: '' if one file holds all bands.
    band: str
    resolution: str
    times: Times


def parse_name(file: str) -> FileName | None:
    """Read the name of a file; None if it is not that of a known product."""
    name = os.path.basename(file)
    for pattern in PATTERNS:
        if not name.startswith(pattern.start):
            continue
        match = re.match(pattern.regex, name, re.VERBOSE)
        if match is None:
            continue
        groups = match.groupdict()
        band = groups.get('band') or ''
        times = date_of(file)
        if groups.get('date'):
            try:
                times = disambiguate_timestamp(groups['date'], pattern.date_format)
            except ValueError:
                # Looks like a product, but its date does not exist.
                continue
        return FileName(
            pattern,
            name[: match.start('band')] if band else name,
            band.upper() if pattern.bands == _RADAR else band,
            groups.get('resolution') or '',
            times,
        )
    return None


def sensor_of_name(file: str) -> str | None:
    """Name the sensor of a file, or of its folders, called like a Copernicus product."""
    match = _copernicus(file)
    return f'sentinel-{match["number"]}' if match else None


def date_of(file: str) -> Times:
    """Date in a name of Copernicus; the day, if its time is not valid (as in BigEarthNet)."""
    match = _copernicus(file)
    if match is None:
        return None, None
    for text, form in (
        (match['date'] + match['time'], '%Y%m%d%H%M%S'),
        (match['date'], '%Y%m%d'),
    ):
        try:
            if form == '%Y%m%d' or len(match['time']) == 6:
                return disambiguate_timestamp(text, form)
        except ValueError:
            continue
    return None, None


def _copernicus(file: str) -> re.Match[str] | None:
    """Match the name of a file, else of the folder around it or of the next."""
    folder, name = os.path.split(file)
    outer, inner = os.path.split(folder)
    found = (_COPERNICUS.match(text) for text in (name, inner, os.path.basename(outer)))
    return next((match for match in found if match), None)
