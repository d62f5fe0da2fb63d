"""STAC items as the list of inputs: local files, with the dates and bands of their items.

Read as plain JSON or GeoParquet and not through pystac: there one dead or remote link, one entry
that is not an item or one asset of another shape ends the reading of a whole catalogue, a
catalogue that links to itself never ends, and ``#`` or ``%20`` in a path is not found, where here
that entry alone is refused. Items of STAC 1.0
(``eo:bands``) and 1.1 (``bands``) are understood. Scales and offsets of the raster extension
are honoured as described in :mod:`torchgeo_cmr.scenes.scales`. An asset may be a cube, which gives
one scene per date.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyproj import CRS
from pyproj.exceptions import CRSError

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import check_regular, is_address
from torchgeo_cmr.scenes.bands import candidates, is_radar
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.quality import open_mask
from torchgeo_cmr.scenes.remote_access import RemoteAccess
from torchgeo_cmr.scenes.remote_files import RemoteFile, unallowed
from torchgeo_cmr.scenes.scales import merged, of_item
from torchgeo_cmr.scenes.scene import Scene, assemble, moments, without_zeros
from torchgeo_cmr.scenes.sources.assets import (
    AssetBand,
    bands_of_asset,
    best_mask,
    choose_bands,
    is_cube,
    is_data,
    is_picture,
    mask_of_asset,
    names_stated,
    needed_assets,
)
from torchgeo_cmr.scenes.sources.cubes import cube_scenes
from torchgeo_cmr.scenes.sources.hrefs import Finder, shown_href
from torchgeo_cmr.scenes.sources.product_names import parse_name
from torchgeo_cmr.scenes.units import stated_unit

#: What opens one input: a name for the report, and the way to its scenes.
type Opening = tuple[str, Callable[[], list[Scene]]]


def find_items(
    path: str, bands: Sequence[str] = (), access: RemoteAccess | None = None
) -> list[Opening]:
    """Read a list of STAC items: one scene per item, or one per date of its cubes.

    Args:
        path: JSON of an item, an item collection, or a collection or catalogue with links
            to items; or a stac-geoparquet. Files are found relative to it.
        bands: Bands to pick, by band name, asset key or common name; empty, or names that
            are not all there, for all bands of the assets that hold data.
        access: What allows files and lists on servers to be fetched; None for none.

    Returns:
        For each item its id and a function that opens it, with dates, sensor and quality
        mask as the item has them. Rasters that hold the bands come before cubes, whose own
        dates count. That raises RasterError if the item has no local file of a band, or its
        projection is not that of its files; of a link that leads nowhere, always.

    Raises:
        RasterError: If it cannot be read or holds no items.
    """
    items = list(_items(path, bands, set(), access))
    if not items:
        raise RasterError(
            f'{path} holds no STAC items: give an item, an item collection or a '
            'stac-geoparquet'
        )
    return items


def _items(
    path: str, bands: Sequence[str], seen: set[str], access: RemoteAccess | None
) -> Iterator[Opening]:
    """Open each item; *seen* are the files read so far, for links may lead back."""
    items, content = _read(path, access)
    place = path if is_address(path) else os.path.abspath(path)
    seen.add(place)
    finder = Finder(place if is_address(path) else os.path.dirname(place), access)
    for number, item in enumerate(items):
        if not isinstance(item, Mapping):
            error = RasterError(
                f'entry {number} of {path} is not a STAC item: correct or remove it'
            )
            yield f'{path}#{number}', partial(_fail, error)
        elif item.get('assets') or item.get('stac_version'):
            yield str(item.get('id')), partial(_opened, item, finder, bands)
    links = content.get('links')
    if content.get('type') not in ('Collection', 'Catalog') or not isinstance(
        links, list
    ):
        return
    for link in links:
        if not isinstance(link, Mapping) or link.get('rel') not in ('item', 'child'):
            continue
        try:
            file = finder.find(str(link.get('href')))
            known = file if is_address(file) else os.path.abspath(file)
            if known not in seen:
                yield from _items(finder.list_name(file), bands, seen, access)
        except RasterError as error:
            # Found when it is opened, so that it keeps none of the others.
            yield shown_href(link.get('href')), partial(_fail, error)


def _read(path: str, access: RemoteAccess | None) -> tuple[list[Any], dict[str, Any]]:
    """Read the items of a list, and the list where it is a JSON object."""
    if path.lower().endswith('parquet'):
        try:
            check_regular(path, RasterError)
            return pq.read_table(path).to_pylist(), {}
        except (pa.ArrowException, OSError, ValueError, LookupError) as error:
            raise RasterError(
                f'{path} cannot be read as stac-geoparquet ({error}): write it again'
            ) from error
    if is_address(path):
        if access is None:
            raise RasterError(unallowed(path))
        content = access.read_list(path)
    else:
        try:
            check_regular(path, RasterError)
            with open(path, encoding='utf-8') as file:
                content = json.load(file)
        except (OSError, ValueError, RecursionError) as error:
            raise RasterError(
                f'{path} cannot be read as JSON ({error}): give a STAC item or a raster'
            ) from error
    content = content if isinstance(content, dict) else {}
    kind, features = content.get('type'), content.get('features')
    if kind == 'FeatureCollection' and isinstance(features, list):
        return features, content
    return [content] if kind == 'Feature' else [], content


def _fail(error: RasterError) -> list[Scene]:
    raise error


def _opened(
    item: Mapping[str, Any], finder: Finder, bands: Sequence[str]
) -> list[Scene]:
    """Open an item; one of another shape than STAC's is a sentence."""
    try:
        return _scenes(item, finder, bands)
    except RasterError:
        raise
    except (
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
        ArithmeticError,
    ) as error:
        raise RasterError(
            f'the item {str(item.get("id"))[:80]} has a value of another kind than STAC '
            f'gives it ({type(error).__name__}: {error}): correct the item'
        ) from error


def _scenes(
    item: Mapping[str, Any], finder: Finder, bands: Sequence[str]
) -> list[Scene]:
    content = {**item, **(item.get('properties') or {})}
    name = str(content.get('id'))
    sensor = _sensor(content)
    offered, cubes, masks, absent = _offered(item, finder, bands, sensor)
    chosen = choose_bands(offered, bands, sensor)
    crs = _crs(content)
    found = [band for _, band in chosen] == list(bands) if bands else bool(chosen)
    if cubes and not found:
        return [s for cube in cubes for s in _of_cube(*cube, bands, content, crs)]
    if not chosen:
        href = next(iter(absent), None)
        if href is not None and (is_address(href) or is_address(finder.home)):
            raise RasterError(f'the item {name}: {finder.refusal(href)}')
        if href is None:
            raise RasterError(f'the item {name} has no band: {_why_none(item)}')
        raise RasterError(
            f'the item {name} has no band in a local file ({href} is not there): download its '
            'assets, and give paths relative to the list'
        )
    if not found:
        names = [band.names for band in offered]
        _check_absent(name, bands, names, absent, sensor, finder)
    nodata = _nodata(name, [band for band, _ in chosen])
    scene = assemble(
        [(band.file, band.index) for band, _ in chosen],
        # Units are those of the item, not what the encoder calls its bands.
        [next((n for n in b.names if is_radar(n)), b.names[0]) for b, _ in chosen],
        nodata=nodata,
        times=_times(content),
        sensor=sensor,
        crs=crs,
    )
    _check_crs(name, crs, scene)
    unit = stated_unit([band.facts.get('unit') for band, _ in chosen]) or scene.units
    product = parse_name(chosen[0][0].file)
    facts = [band.facts for band, _ in chosen]
    scales = merged(of_item(content, facts, [b.names for b, _ in chosen]), scene.scales)
    mask = best_mask(masks)
    scene = replace(
        scene,
        bands=tuple(name for _, name in chosen),
        units=unit or (product.pattern.units if product else None),
        quality=mask and open_mask(*mask),
        scales=scales,
    )
    return [without_zeros(scene)]


def _nodata(item: str, bands: Sequence[AssetBand]) -> float | None:
    """Value that all bands of an item share; several are refused unless their files state them."""
    values = {band.facts.get('nodata') for band in bands}
    # NaN is missing in any case.
    numbers = {v for v in values if isinstance(v, int | float) and not math.isnan(v)}
    if len(values) == 1:
        return float(numbers.pop()) if numbers else None
    for band in bands if len(numbers) > 1 else ():
        value = band.facts.get('nodata')
        if value in numbers and value != read_header(band.file).nodata[band.index - 1]:
            raise RasterError(
                f'the item {item} states several values of nodata, {value:g} of {band.names[0]}, and '
                f'{band.file} does not state it: set it in the file, for example with '
                '`gdal_edit.py -a_nodata`'
            )
    return None


def _why_none(item: Mapping[str, Any]) -> str:
    """Say why none of the assets of an item is a band."""
    assets = item.get('assets')
    named = assets if isinstance(assets, Mapping) else {}
    pictures = [key for key, asset in named.items() if is_picture(key, asset)]
    if pictures:
        return (
            f'of its assets {", ".join(pictures)[:80]} are pictures for display, by their keys or '
            'roles; name an item with bands, or give such an asset another key and role'
        )
    return (
        f'its assets ({", ".join(named)[:80] or "none"}) are no GeoTIFF, JPEG 2000 or cube by type '
        'or name; add one, or state its type, such as image/tiff'
    )


def _offered(
    item: Mapping[str, Any], finder: Finder, bands: Sequence[str], sensor: str | None
) -> tuple[
    list[AssetBand],
    list[tuple[str, Mapping[str, Any]]],
    list[tuple[str, str]],
    dict[str, tuple[str, ...]],
]:
    """Sort the assets of an item: bands, cubes, masks, and names of those that are not there."""
    offered: list[AssetBand] = []
    absent: dict[str, tuple[str, ...]] = {}
    cubes, masks = [], []
    assets = item.get('assets')
    data = {
        key: asset
        for key, asset in (assets if isinstance(assets, Mapping) else {}).items()
        if is_data(key, asset)
    }
    needed = needed_assets(data, bands, sensor)
    for key, asset in data.items():
        if not finder.is_there(asset['href']):
            absent[asset['href']] = names_stated(key, asset)
            continue
        file = finder.find(asset['href'])
        if is_cube(file):
            cubes.append((file, asset))
        elif isinstance(file, RemoteFile) and key not in needed:
            continue
        elif mask := mask_of_asset(key, asset, file):
            masks.append((file, mask))
        else:
            offered += bands_of_asset(key, asset, file)
    return offered, cubes, masks, absent


def _check_absent(
    item: str,
    wanted: Sequence[str],
    offered: Sequence[tuple[str, ...]],
    absent: Mapping[str, tuple[str, ...]],
    sensor: str | None,
    finder: Finder,
) -> None:
    """Refuse an item that names a wanted band in a file that is not there."""
    matches = candidates(wanted, offered, sensor)
    absent_matches = candidates(wanted, list(absent.values()), sensor)
    for name, found, gone in zip(wanted, matches, absent_matches, strict=True):
        if gone and not found:
            href = list(absent)[gone[0]]
            if is_address(href):
                raise RasterError(
                    f'the item {item} has {name} on a server: {finder.refusal(href)}'
                )
            raise RasterError(
                f'the item {item} has {name} in {href}, which is not there: download it, '
                'and give paths relative to the list'
            )


def _sensor(facts: Mapping[str, Any]) -> str | None:
    named = str(facts.get('constellation') or facts.get('platform') or '')
    return re.sub(r'[ _]+', '-', named.strip().lower()) or None


def _of_cube(
    file: str,
    asset: Mapping[str, Any],
    bands: Sequence[str],
    facts: Mapping[str, Any],
    crs: CRS | None,
) -> list[Scene]:
    """Open a cube: it states its dates, the item what it leaves open."""
    start, end = _times(facts)
    nodata = asset.get('nodata')
    made = []
    for scene in cube_scenes(file, bands, crs):
        _check_crs(str(facts.get('id')), crs, scene)
        made.append(
            replace(
                scene,
                units=scene.units or stated_unit([asset.get('unit')]),
                sensor=scene.sensor or _sensor(facts),
                time_start=scene.time_start or start,
                time_end=scene.time_end or end,
                nodata=float(nodata) if isinstance(nodata, int | float) else None,
            )
        )
    return made


def _crs(facts: Mapping[str, Any]) -> CRS | None:
    code = facts.get('proj:code') or (
        f'EPSG:{facts["proj:epsg"]}' if facts.get('proj:epsg') else None
    )
    try:
        return CRS.from_user_input(code) if code else None
    except CRSError as error:
        raise RasterError(
            f'the item {facts.get("id")} is in {code}, which is not a CRS: correct the item'
        ) from error


def _check_crs(item: str, crs: CRS | None, scene: Scene) -> None:
    if crs is not None and not scene.crs.equals(crs, ignore_axis_order=True):
        raise RasterError(
            f'the item {item} is in {crs.to_string()}, its file {scene.path} in '
            f'{scene.crs.name}: '
            'correct the one that is wrong'
        )


def _times(facts: Mapping[str, Any]) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    named = ('start_datetime', 'end_datetime', 'datetime')
    start, end, middle = (facts.get(name) for name in named)
    try:
        # Null means undated; what is empty in another way was meant to be a date.
        for date in (start, end, middle):
            if date is not None and not date:
                raise ValueError(f'{date!r} is not a date; write it in ISO 8601')
        first = moments(middle if start is None else start)[0]
        last = moments(middle if end is None else end)[1]
    except ValueError as error:
        raise RasterError(f'the date of the item {facts.get("id")}: {error}') from error
    return first, last
