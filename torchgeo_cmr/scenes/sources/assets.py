"""Assets of a STAC item: which are data, where they are, and the bands they offer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from torchgeo_cmr.scenes.bands import MASKS, candidates, is_udm2, mask_name, nameless
from torchgeo_cmr.scenes.files import CUBES, RASTERS
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.mask_files import mask_of_file
from torchgeo_cmr.scenes.scene import bands_of
from torchgeo_cmr.scenes.sources.product_names import parse_name

#: Roles and keys of assets that are pictures of a scene, not its data.
_PICTURES = frozenset(
    {'visual', 'overview', 'thumbnail', 'preview', 'rendered_preview'}
)

#: What tells one rendition of a band from another.
_RENDITION = re.compile(r'[-_](?:\d+m|jp2|cog)$')

#: What an asset states of all its bands.
_SHARED = ('unit', 'nodata', 'raster:scale', 'raster:offset')


@dataclass(frozen=True)
class AssetBand:
    """A band that an item offers: where it is, and the names it goes by."""

    file: str
    index: int
    names: tuple[str, ...]
    facts: Mapping[str, Any]


def is_cube(file: str) -> bool:
    """Say whether a file is read as a cube."""
    return file.rstrip('/\\').lower().endswith(CUBES)


def is_data(key: str, asset: Any) -> bool:
    """Say whether an asset is a raster or a cube of data, and no picture of it."""
    return _is_raster(asset) and not _is_shown(key, asset)


def is_picture(key: str, asset: Any) -> bool:
    """Say whether an asset is a raster that shows a scene, and not its data."""
    return _is_raster(asset) and _is_shown(key, asset)


def _is_shown(key: str, asset: Mapping[str, Any]) -> bool:
    return bool(_PICTURES & {key.lower(), *(asset.get('roles') or ())})


def _is_raster(asset: Any) -> bool:
    if not isinstance(asset, Mapping) or not isinstance(asset.get('href'), str):
        return False
    kind = str(asset.get('type') or '')
    file = urlparse(asset['href']).path.lower()
    raster = kind.startswith(('image/tiff', 'image/jp2', 'image/vnd.stac.geotiff'))
    return raster or is_cube(file) or file.endswith((*RASTERS, '.vrt'))


def mask_of_asset(key: str, asset: Mapping[str, Any], file: str) -> str | None:
    """Say which quality mask an asset is: by its key, its file or its bands.

    Args:
        key: Key of the asset.
        asset: The asset.
        file: Its file.

    Returns:
        A key of :data:`torchgeo_cmr.scenes.bands.MASKS`; None if it is not a mask.
    """
    stated = [str(name) for name in _stated(asset) if name]
    by_bands = mask_name(stated[0]) if len(stated) == 1 else None
    described = [name for name in read_header(file).descriptions if name]
    usable = 'UDM2' if is_udm2(stated) or is_udm2(described) else None
    return mask_name(key) or mask_of_file(file) or by_bands or usable


def best_mask(masks: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Choose among masks ``(file, mask)`` the first kind, and its finest pixels."""
    order = list(MASKS)

    def rank(mask: tuple[str, str]) -> tuple[int, float]:
        return order.index(mask[1]), abs(read_header(mask[0]).transform.determinant)

    return min(masks, key=rank, default=None)


def bands_of_asset(key: str, asset: Mapping[str, Any], file: str) -> list[AssetBand]:
    """List the bands of an asset with all their names, the item's own first.

    Args:
        key: Key of the asset.
        asset: The asset.
        file: Its file.

    Returns:
        One entry per band.

    Raises:
        RasterError: If the file cannot be read.
    """
    entries = asset.get('bands') or asset.get('eo:bands') or []
    raster = asset.get('raster:bands') or []
    names, sources = bands_of(file)
    product = parse_name(file)
    found = []
    for i, ((path, index), label) in enumerate(zip(sources, names, strict=True)):
        facts = entries[i] if i < len(entries) and entries[i] else {}
        known = [facts.get('name')]
        known += [key] if len(sources) == 1 else [None if nameless([label]) else label]
        known += [facts.get('eo:common_name'), facts.get('common_name')]
        known += [product.band] if product and len(sources) == 1 else []
        unique = tuple(dict.fromkeys(str(name) for name in known if name)) or (label,)
        # The asset speaks for all its bands; a band's own word comes first.
        about = {k: v for k in _SHARED if (v := asset.get(k)) is not None}
        about |= raster[i] if i < len(raster) and raster[i] else {}
        about |= {k: v for k, v in facts.items() if v is not None}
        found.append(AssetBand(path, index, unique, about))
    return found


def choose_bands(
    offered: Sequence[AssetBand], wanted: Sequence[str], sensor: str | None
) -> list[tuple[AssetBand, str]]:
    """Pick the wanted bands; all of them if that fails.

    Args:
        offered: Bands of all assets.
        wanted: Band names, in channel order.
        sensor: Sensor of the item.

    Returns:
        Each band with its name. Where assets repeat a band, the one with the finest pixels,
        among equals the first, as long as they call it the same.
    """
    fits = candidates(wanted, [band.names for band in offered], sensor)
    chosen = []
    for name, found in zip(wanted, fits, strict=True):
        if len({_RENDITION.sub('', offered[i].names[0].lower()) for i in found}) == 1:
            chosen.append((min((offered[i] for i in found), key=_pixel), name))
    if wanted and len(chosen) == len(wanted):
        return chosen
    return [(band, band.names[0]) for band in offered]


def names_stated(key: str, asset: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the names that an asset states, without its file."""
    return tuple(str(name) for name in (*_stated(asset), key) if name)


def needed_assets(
    assets: Mapping[str, Mapping[str, Any]], bands: Sequence[str], sensor: str | None
) -> set[str]:
    """Choose assets by their names alone, so that no others are fetched.

    Args:
        assets: Assets that are data, by their keys.
        bands: Wanted bands.
        sensor: Sensor of the item.

    Returns:
        Keys of the assets with a wanted band, and of masks; all keys if a band is in none.
    """
    keys = list(assets)
    names = [names_stated(key, assets[key]) for key in keys]
    found = candidates(bands, names, sensor)
    if not bands or not all(found):
        return set(keys)
    masks = {
        key
        for key, known in zip(keys, names, strict=True)
        if any(map(mask_name, known))
        or mask_of_file(urlparse(assets[key]['href']).path)
        or is_udm2(known[:-1])
    }
    return masks | {keys[i] for each in found for i in each}


def _stated(asset: Mapping[str, Any]) -> list[Any]:
    entries = asset.get('bands') or asset.get('eo:bands') or []
    return [band.get('name') for band in entries if band]


def _pixel(band: AssetBand) -> float:
    return abs(read_header(band.file).transform.determinant)


__all__ = (
    'AssetBand',
    'bands_of_asset',
    'best_mask',
    'choose_bands',
    'is_cube',
    'is_data',
    'mask_of_asset',
    'names_stated',
    'needed_assets',
)
