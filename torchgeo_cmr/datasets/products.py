"""Products: files that say by their names which scene, band and date they are.

Names are read with the patterns of TorchGeo's dataset classes; the classes themselves are
not needed, so no file is warped or opened twice. Files of other origin that end in the
names of bands form scenes as well.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

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

from torchgeo_cmr.datasets.header import read_header
from torchgeo_cmr.datasets.scene import Scene, assemble, bands_of, moments
from torchgeo_cmr.errors import RasterError

_LOG = logging.getLogger(__name__)

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

#: Folder of one resolution inside a Sentinel-2 product.
_RESOLUTION = re.compile(r'R\d+m')


@dataclass
class _Product:
    """Files of one acquisition, found by their names."""

    sensor: str | None
    folder: str
    stem: str
    times: Times
    regex: str = '(?!)'
    #: Band name -> resolution in the name ('' if none) -> file.
    files: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """One of its files."""
        return next(iter(next(iter(self.files.values())).values()))


def find_products(
    files: Iterable[str], bands: Sequence[str] = ()
) -> list[tuple[str, Callable[[], Scene]]]:
    """Sort rasters into scenes by their names; those without a pattern stand alone.

    Sentinel-1 RTC, Sentinel-2, Landsat and NAIP are recognised by the file names that
    TorchGeo knows. Other files whose names differ only in a band of *bands* at their end,
    such as ``scene_B02.tif`` and ``scene_B03.tif``, are one scene too. Everything else is
    a scene by itself, with its date if it is named like a Copernicus product or states
    when it was acquired. Files that belong to a product without being one of its bands,
    such as previews, are left out.

    Args:
        files: Paths of rasters.
        bands: Bands to look for, in channel order; empty for those that are there.

    Returns:
        For each scene the name of a file of it, and a function that opens it: with date
        and sensor where known. That raises RasterError if a file cannot be read or has no
        CRS, or a band is missing.
    """
    products: dict[tuple[str, str], _Product] = {}
    rest = [file for file in files if not _recognise(file, products)]
    sets, rest = _band_sets(_without_parts(rest, products.values()), bands)
    return [
        *((p.first, partial(_of_product, p, bands)) for p in products.values()),
        *((p.first, partial(_of_set, p, bands)) for p in sets),
        *((file, partial(_plain, file)) for file in _without_parts(rest, sets)),
    ]


def sensor_of(dataset: RasterDataset) -> str | None:
    """Name the sensor of a TorchGeo dataset; None if its class is not known."""
    return next(
        (name.split()[0] for name, cls in PRODUCTS.items() if type(dataset) is cls),
        next(
            (name for name, cls in PRODUCTS.items() if isinstance(dataset, cls)), None
        ),
    )


def _recognise(file: str, products: dict[tuple[str, str], _Product]) -> bool:
    """Note a file under its product, if its name is that of one."""
    folder, name = os.path.split(file)
    for sensor, cls in PRODUCTS.items():
        # TorchGeo fills the resolution of one band into the pattern of Sentinel-2.
        regex: str = cls.filename_regex
        regex = regex.format(r'\d+m') if cls is Sentinel2 else regex
        start = cls.filename_glob.split('*')[0].split('{')[0]
        match = re.match(regex, name, re.VERBOSE) if name.startswith(start) else None
        if match is None:
            continue
        told = match.groupdict()
        try:
            times = disambiguate_timestamp(told['date'], cls.date_format)
        except ValueError:
            # Looks like a product, but its date does not exist.
            continue
        band = told.get('band') or ''
        home, last = os.path.split(folder)
        if _RESOLUTION.fullmatch(last):
            folder = home
        stem = name[: match.start('band')] if band else name
        product = products.setdefault(
            (folder, stem), _Product(sensor.split()[0], folder, stem, times, regex)
        )
        product.files.setdefault(band, {})[told.get('resolution') or ''] = file
        return True
    return False


def _of_product(product: _Product, bands: Sequence[str]) -> Scene:
    """Open the files of a product; bands that are asked for and there come first."""
    files = product.files
    sensor = product.sensor
    if '' in files:
        (path,) = files[''].values()
        names, sources = bands_of(path)
        if all(re.fullmatch(r'band_\d+', name) for name in names):
            names = tuple(NAIP.all_bands[: len(names)])
        return assemble(sources, names, times=product.times, sensor=sensor)
    cls = next(c for s, c in PRODUCTS.items() if s.split()[0] == sensor)
    standard = getattr(cls, 'default_bands', None) or cls.all_bands
    chosen = list(bands) if bands and set(bands) <= set(files) else []
    chosen = chosen or [band for band in standard if band in files] or sorted(files)
    native = getattr(cls, 'resolutions', {})
    sources = []
    for band in chosen:
        choice = files[band]
        # A level-2A product repeats bands at coarser pixels than the sensor has.
        best = native.get(band)
        finest = min(choice, key=lambda text: int(text[:-1] or 0))
        sources.append((choice[best] if best in choice else choice[finest], 1))
    return assemble(
        sources, chosen, times=product.times, regex=product.regex, sensor=sensor
    )


def _band_sets(
    files: Sequence[str], bands: Sequence[str]
) -> tuple[list[_Product], list[str]]:
    """Group files whose names differ only in the band at their end."""
    ends = {f'_{band}'.lower(): band for band in bands}
    sets: dict[tuple[str, str], _Product] = {}
    rest: list[str] = []
    for file in files:
        folder, name = os.path.split(file)
        stem, suffix = os.path.splitext(name)
        band = next((b for end, b in ends.items() if stem.lower().endswith(end)), None)
        if band is None or not _has_one_band(file):
            rest.append(file)
            continue
        stem = stem[: -len(band) - 1]
        product = sets.setdefault(
            (folder, stem + suffix),
            _Product(_sensor(stem), folder, f'{stem}_', _date(stem)),
        )
        product.files[band] = {'': file}
    return list(sets.values()), rest


def _of_set(product: _Product, bands: Sequence[str]) -> Scene:
    missing = [band for band in bands if band not in product.files]
    if missing:
        name = os.path.basename(product.first)
        raise RasterError(
            f'{name} belongs to a set of {len(bands)} bands, but there is no file for '
            f'{", ".join(missing)} beside it: add it, or leave the set out'
        )
    sources = [(product.files[band][''], 1) for band in bands]
    return assemble(sources, bands, times=product.times, sensor=product.sensor)


def _plain(file: str) -> Scene:
    names, sources = bands_of(file)
    stem = os.path.splitext(os.path.basename(file))[0]
    times = _date(stem)
    if times[0] is None:
        # GDAL keeps the moment in its domain for imagery.
        stated = read_header(file).imagery.get('ACQUISITIONDATETIME')
        try:
            times = moments(stated)
        except ValueError as error:
            _LOG.warning(
                '%s is taken as undated: its ACQUISITIONDATETIME %s', file, error
            )
    return assemble(sources, names, times=times, sensor=_sensor(stem))


def _without_parts(files: Iterable[str], products: Iterable[_Product]) -> list[str]:
    """Drop files that belong to a product without being one of its bands."""
    products = list(products)
    safes = {_safe(product.folder) for product in products} - {None}
    kept = []
    for file in files:
        folder, name = os.path.split(file)
        home = os.path.dirname(folder) if _RESOLUTION.search(folder) else folder
        part = any(
            name.startswith(product.stem) and product.folder in (folder, home)
            for product in products
        )
        if not part and _safe(folder) not in safes:
            kept.append(file)
    return kept


def _safe(folder: str) -> str | None:
    """Folder of the Copernicus product that holds a folder."""
    match = re.match(r'(.*?\.SAFE)(?:[/\\]|$)', folder)
    return match[1] if match else None


def _has_one_band(file: str) -> bool:
    try:
        return read_header(file).count == 1
    except RasterError:
        # Told of when its scene is opened.
        return True


def _sensor(stem: str) -> str | None:
    match = _COPERNICUS.match(stem)
    return f'sentinel-{match["number"]}' if match else None


def _date(stem: str) -> Times:
    """Date in a name of Copernicus; the day, if its time is none (as in BigEarthNet)."""
    match = _COPERNICUS.match(stem)
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
