"""Products: rasters sorted into scenes by their names.

Files of known products form scenes, and so do files of other origin whose names differ only
in a band. Quality masks are not scenes: they are found by the scenes that they belong to.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from torchgeo.datasets import NAIP, RasterDataset

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.bands import find_bands, mask_name, nameless
from torchgeo_cmr.scenes.mask_files import mask_of_file
from torchgeo_cmr.scenes.scene import Scene, assemble, bands_of
from torchgeo_cmr.scenes.sources.band_sets import BandSet, find_band_sets
from torchgeo_cmr.scenes.sources.product_names import (
    PRODUCTS,
    Pattern,
    Times,
    date_of,
    parse_name,
    sensor_of_name,
)

#: Folder of one resolution inside a Sentinel-2 product.
_RESOLUTION = re.compile(r'R\d+m')


@dataclass
class _Product:
    """Files of one acquisition, found by their names."""

    pattern: Pattern
    folder: str
    stem: str
    times: Times
    #: Band name -> resolution in the name ('' if none) -> file.
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    #: Others of the same band and resolution, such as a .tif of a .jp2.
    others: dict[str, str] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """One of its files."""
        return next(iter(next(iter(self.files.values())).values()))


def find_products(
    files: Iterable[str], bands: Sequence[str] = ()
) -> list[tuple[str, Callable[[], Scene]]]:
    """Sort rasters into scenes by their names; those without a pattern stand alone.

    Sentinel-1 RTC, Sentinel-2, Landsat and NAIP are recognised by the file names that
    TorchGeo knows, HLS and the Sentinel-1 RTC of the Planetary Computer by their own. Other
    files whose names differ only in a band of *bands*, such as ``scene_B02.tif`` and
    ``scene_B03.tif``, are one scene too. Everything else is a scene of its own, with its
    date if it is named like a Copernicus product or states when it was acquired. Files that
    belong to a product without being one of its bands, such as previews, are skipped, and
    so are quality masks, unless *bands* names one.

    Args:
        files: Paths of rasters.
        bands: Bands to look for, in channel order; empty for those that are there.

    Returns:
        For each scene the name of a file of it, and a function that opens it: with date
        and sensor where known. That raises RasterError if a file cannot be read or has no
        CRS, a band is missing, or all files are masks.
    """
    given = list(files)
    wanted = {mask_name(band) for band in bands} - {None}
    images = [f for f in given if (mask := mask_of_file(f)) is None or mask in wanted]
    if not images:
        return [(file, partial(_refuse_mask, file)) for file in given]
    products: dict[tuple[str, str], _Product] = {}
    rest = [file for file in images if not _recognise(file, products)]
    sets, rest = find_band_sets(_without_parts(rest, products.values()), bands)
    return [
        *((p.first, partial(_of_product, p, bands)) for p in products.values()),
        *((s.first, partial(s.open, bands)) for s in sets),
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


def _refuse_mask(file: str) -> Scene:
    raise RasterError(
        f'{file} is a quality mask ({mask_of_file(file)}), which is not embedded: give the '
        'images that it belongs to'
    )


def _recognise(file: str, products: dict[tuple[str, str], _Product]) -> bool:
    """Note a file under its product, if its name is that of one."""
    known = parse_name(file)
    if known is None:
        return False
    folder = os.path.dirname(file)
    home, last = os.path.split(folder)
    folder = home if _RESOLUTION.fullmatch(last) else folder
    product = products.setdefault(
        (folder, known.stem), _Product(known.pattern, folder, known.stem, known.times)
    )
    first = product.files.setdefault(known.band, {}).setdefault(known.resolution, file)
    if first != file:
        product.others[first] = file
    return True


def _of_product(product: _Product, bands: Sequence[str]) -> Scene:
    """Open the files of a product; bands that are requested and present come first."""
    files, pattern = product.files, product.pattern
    sensor, times = pattern.sensor, product.times
    if '' in files:
        (path,) = files[''].values()
        _check_alone(path, product)
        names, sources = bands_of(path)
        if nameless(names):
            names = tuple(NAIP.all_bands[: len(names)])
        return assemble(sources, names, times=times, sensor=sensor)
    present = list(files)
    order = find_bands(bands, present, sensor) if bands else None
    chosen = [present[i] for i in order] if order else []
    chosen = chosen or [b for b in pattern.bands if b in files] or sorted(files)
    sources = []
    for band in chosen:
        choice = files[band]
        # A level-2A product repeats bands at coarser pixels than the sensor has.
        best = pattern.native.get(band)
        finest = min(choice, key=lambda text: int(text[:-1] or 0))
        path = choice[best] if best in choice else choice[finest]
        _check_alone(path, product)
        sources.append((path, 1))
    scene = assemble(sources, chosen, times=times, regex=pattern.regex, sensor=sensor)
    return replace(scene, units=scene.units or pattern.units)


def _check_alone(path: str, product: _Product) -> None:
    """Refuse a file that is not the only one of its band and resolution."""
    if path in product.others:
        raise RasterError(
            f'{path} and {os.path.basename(product.others[path])} are one band of one product: keep one '
            'of them in the folder, or name the files to read'
        )


def _plain(file: str) -> Scene:
    names, sources = bands_of(file)
    return assemble(sources, names, times=date_of(file), sensor=sensor_of_name(file))


def _without_parts(
    files: Iterable[str], products: Iterable[_Product | BandSet]
) -> list[str]:
    """Drop files that belong to a product without being one of its bands."""
    stems: dict[str, set[str]] = {}
    for product in products:
        if product.stem:
            stems.setdefault(product.folder, set()).add(product.stem)
    if not stems:
        return list(files)
    safes = {_safe(folder) for folder in stems} - {None}
    kept = []
    for file in files:
        folder, name = os.path.split(file)
        homes = {folder}
        if _RESOLUTION.search(folder):
            homes.add(os.path.dirname(folder))
        known = set().union(*(stems.get(home, ()) for home in homes))
        part = any(name[:end] in known for end in range(1, len(name) + 1))
        if not part and _safe(folder) not in safes:
            kept.append(file)
    return kept


def _safe(folder: str) -> str | None:
    """Folder of the Copernicus product that holds a folder."""
    match = re.match(r'(.*?\.SAFE)(?:[/\\]|$)', folder)
    return match[1] if match else None
