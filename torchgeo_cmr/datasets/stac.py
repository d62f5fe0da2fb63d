"""STAC items as the list of inputs: local files, with the dates and bands of their items.

Read as plain JSON or GeoParquet, so no further package is needed. Items of STAC 1.0
(``eo:bands``) and 1.1 (``bands``) are understood. Pixels are what the files hold: scale and
offset of the raster extension are not applied. An asset may be a cube, which gives one scene a
date.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import unquote, urlparse

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyproj import CRS
from pyproj.exceptions import CRSError

from torchgeo_cmr.datasets.cube import cube_scenes
from torchgeo_cmr.datasets.files import CUBES, RASTERS
from torchgeo_cmr.datasets.names import mask_name, nameless
from torchgeo_cmr.datasets.scene import Scene, assemble, bands_of, moments
from torchgeo_cmr.datasets.units import stated_unit
from torchgeo_cmr.errors import RasterError

#: Roles and keys of assets that are pictures of a scene, not its data.
_PICTURES = frozenset(
    {'visual', 'overview', 'thumbnail', 'preview', 'rendered_preview'}
)

#: Common names that catalogues give the bands of Sentinel-2 in place of their own.
_SENTINEL2 = {
    'coastal': 'B01',
    'blue': 'B02',
    'green': 'B03',
    'red': 'B04',
    'rededge1': 'B05',
    'rededge2': 'B06',
    'rededge3': 'B07',
    'nir': 'B08',
    'nir08': 'B8A',
    'nir09': 'B09',
    'swir16': 'B11',
    'swir22': 'B12',
}


@dataclass(frozen=True)
class _Band:
    """A band that an item offers: where it is, and the names it goes by."""

    file: str
    index: int
    names: tuple[str, ...]
    told: Mapping[str, Any]


#: What opens one input: a name for the report, and the way to its scenes.
type Opening = tuple[str, Callable[[], list[Scene]]]


def find_items(path: str, bands: Sequence[str] = ()) -> list[Opening]:
    """Read a list of STAC items: one scene an item, or one a date of its cubes.

    Args:
        path: JSON of an item, an item collection, or a collection or catalogue with links
            to items; or a stac-geoparquet. Files are found relative to it.
        bands: Bands to pick, by band name, asset key or common name; empty, or names that
            are not all there, for all bands of the assets that hold data.

    Returns:
        For each item its id and a function that opens it, with dates, sensor and quality
        mask as the item has them. Rasters that hold the bands come before cubes, whose own
        dates count. That raises RasterError if the item has no local file of a band, or its
        projection is not that of its files; of a link that leads nowhere, always.

    Raises:
        RasterError: If it cannot be read or holds no items.
    """
    items = list(_items(path, bands, set()))
    if not items:
        raise RasterError(
            f'{path} holds no STAC items: give an item, an item collection or a '
            'stac-geoparquet'
        )
    return items


def _items(path: str, bands: Sequence[str], seen: set[str]) -> Iterator[Opening]:
    """Open each item; *seen* are the files read so far, for links may lead back."""
    home = os.path.dirname(os.path.abspath(path))
    seen.add(os.path.abspath(path))
    if path.lower().endswith('parquet'):
        try:
            items = pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise RasterError(
                f'{path} cannot be read as stac-geoparquet ({error}): write it again'
            ) from error
        told = {}
    else:
        try:
            with open(path, encoding='utf-8') as file:
                told = json.load(file)
        except (OSError, ValueError) as error:
            raise RasterError(
                f'{path} cannot be read as JSON ({error}): give a STAC item or a raster'
            ) from error
        told = told if isinstance(told, dict) else {}
        held = {'Feature': [told], 'FeatureCollection': told.get('features')}
        items = held.get(told.get('type')) or ()
    for item in items:
        if item.get('assets'):
            yield str(item.get('id')), partial(_scenes, item, home, bands)
    if told.get('type') not in ('Collection', 'Catalog'):
        return
    for link in told.get('links', ()):
        file = _local(str(link.get('href')), home)
        if link.get('rel') not in ('item', 'child') or os.path.abspath(file) in seen:
            continue
        try:
            yield from _items(file, bands, seen)
        except RasterError as error:
            # Found when it is opened, so that it keeps none of the others.
            yield file, partial(_fail, error)


def _fail(error: RasterError) -> list[Scene]:
    raise error


def _scenes(item: Mapping[str, Any], home: str, bands: Sequence[str]) -> list[Scene]:
    told = {**item, **(item.get('properties') or {})}
    name = str(told.get('id'))
    constellation = str(told.get('constellation') or told.get('platform') or '').lower()
    offered, absent, cubes = [], [], []
    mask = None
    for key, asset in (item.get('assets') or {}).items():
        if not _is_data(key, asset):
            continue
        file = _local(asset['href'], home)
        if not os.path.exists(file):
            absent.append(asset['href'])
        elif _is_cube(file):
            cubes.append((file, asset))
        elif mask_name(key):
            mask = mask or assemble([(file, 1)], [mask_name(key) or ''])
        else:
            offered += _bands(key, asset, file, constellation)
    chosen = _choose(offered, bands)
    crs = _crs(told)
    found = [band for _, band in chosen] == list(bands) if bands else bool(chosen)
    if cubes and not found:
        return [s for cube in cubes for s in _of_cube(*cube, bands, told, crs)]
    if not chosen:
        raise RasterError(
            f'the item {name} has no band in a local file'
            f'{f" ({absent[0]} is not there)" if absent else ""}: download its assets, and '
            'give paths relative to the list'
        )
    values = {band.told.get('nodata') for band, _ in chosen}
    nodata = values.pop() if len(values) == 1 else None
    scene = assemble(
        [(band.file, band.index) for band, _ in chosen],
        [name for _, name in chosen],
        nodata=float(nodata) if isinstance(nodata, int | float) else None,
        times=_times(told),
        sensor=constellation or None,
        crs=crs,
    )
    _check_crs(name, crs, scene)
    unit = stated_unit([band.told.get('unit') for band, _ in chosen])
    return [replace(scene, units=unit or scene.units, quality=mask)]


def _of_cube(
    file: str,
    asset: Mapping[str, Any],
    bands: Sequence[str],
    told: Mapping[str, Any],
    crs: CRS | None,
) -> list[Scene]:
    """Open a cube: it says its dates itself, the item what it leaves open."""
    sensor = str(told.get('constellation') or told.get('platform') or '').lower()
    start, end = _times(told)
    nodata = asset.get('nodata')
    made = []
    for scene in cube_scenes(file, bands, crs):
        _check_crs(str(told.get('id')), crs, scene)
        made.append(
            replace(
                scene,
                units=scene.units or stated_unit([asset.get('unit')]),
                sensor=scene.sensor or sensor or None,
                time_start=scene.time_start or start,
                time_end=scene.time_end or end,
                nodata=float(nodata) if isinstance(nodata, int | float) else None,
            )
        )
    return made


def _crs(told: Mapping[str, Any]) -> CRS | None:
    code = told.get('proj:code') or (
        f'EPSG:{told["proj:epsg"]}' if told.get('proj:epsg') else None
    )
    try:
        return CRS.from_user_input(code) if code else None
    except CRSError as error:
        raise RasterError(
            f'the item {told.get("id")} is in {code}, which is no CRS: correct the item'
        ) from error


def _check_crs(item: str, crs: CRS | None, scene: Scene) -> None:
    if crs is not None and not scene.crs.equals(crs, ignore_axis_order=True):
        raise RasterError(
            f'the item {item} is in {crs.to_string()}, its file {scene.path} in '
            f'{scene.crs.name}: '
            'correct the one that is wrong'
        )


def _is_cube(file: str) -> bool:
    return file.rstrip('/\\').lower().endswith(CUBES)


def _is_data(key: str, asset: Mapping[str, Any] | None) -> bool:
    if not asset or not asset.get('href'):
        return False
    kind = str(asset.get('type') or '')
    file = urlparse(asset['href']).path.lower()
    raster = kind.startswith(('image/tiff', 'image/jp2', 'image/vnd.stac.geotiff'))
    known = raster or _is_cube(file) or file.endswith((*RASTERS, '.vrt'))
    return known and not _PICTURES & {key.lower(), *(asset.get('roles') or ())}


def _bands(
    key: str, asset: Mapping[str, Any], file: str, constellation: str
) -> list[_Band]:
    """List the bands of an asset with all their names."""
    told = asset.get('bands') or asset.get('eo:bands') or []
    raster = asset.get('raster:bands') or []
    names, sources = bands_of(file)
    found = []
    for i, ((path, index), own) in enumerate(zip(sources, names, strict=True)):
        facts = told[i] if i < len(told) and told[i] else {}
        known = [facts.get('name')]
        known += [key] if len(sources) == 1 else [None if nameless([own]) else own]
        known += [facts.get('eo:common_name'), facts.get('common_name')]
        if constellation.startswith('sentinel-2'):
            known += [_SENTINEL2.get(str(name).lower()) for name in known]
        unique = tuple(dict.fromkeys(str(name) for name in known if name)) or (own,)
        # The asset speaks for all its bands; a band's own word comes first.
        about = {k: v for k in ('unit', 'nodata') if (v := asset.get(k)) is not None}
        about |= raster[i] if i < len(raster) and raster[i] else {}
        about |= {k: v for k, v in facts.items() if v is not None}
        found.append(_Band(path, index, unique, about))
    return found


def _choose(offered: Sequence[_Band], wanted: Sequence[str]) -> list[tuple[_Band, str]]:
    """Pick the wanted bands, the first of each name; all of them if that fails."""
    chosen = []
    for name in wanted:
        ranks = [
            (band.names.index(name), i, band)
            for i, band in enumerate(offered)
            if name in band.names
        ]
        if ranks:
            chosen.append((min(ranks, key=lambda rank: rank[:2])[2], name))
    if wanted and len(chosen) == len(wanted):
        return chosen
    return [(band, band.names[0]) for band in offered]


def _times(told: Mapping[str, Any]) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    start = told.get('start_datetime') or told.get('datetime')
    end = told.get('end_datetime') or told.get('datetime')
    try:
        return moments(start)[0], moments(end)[1]
    except ValueError as error:
        raise RasterError(f'the date of the item {told.get("id")}: {error}') from error


def _local(href: str, home: str) -> str:
    """Path of a file that an item names; of one that is elsewhere, the address itself."""
    parsed = urlparse(href)
    if parsed.scheme == 'file':
        return unquote(parsed.path)
    # A letter alone is a drive, not a scheme.
    if len(parsed.scheme) > 1:
        return href
    return os.path.normpath(os.path.join(home, href))
