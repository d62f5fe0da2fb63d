"""Files of quality masks: which of them there are in a folder, and whose they are.

A mask belongs to the files whose names begin like its own: ``scene_SCL.tif`` to
``scene.tif`` and ``scene_B02.tif``. What follows in their names may be a band, a
resolution or words such as ``AnalyticMS_SR_8b``, but not another date, tile or number.
"""

import os
import re
from functools import lru_cache

from torchgeo_cmr.scenes.bands import MASKS, is_optical, mask_name, mask_stem
from torchgeo_cmr.scenes.files import RASTERS

#: What may follow the common beginning, between breaks.
_WORD = re.compile(r'[a-z]+|B\d{1,2}|B8A|\d+m|\d+b', re.IGNORECASE)
_BREAK = re.compile(r'[-_. ]')

#: Folder of one resolution inside a Sentinel-2 product.
_RESOLUTION = re.compile(r'R\d+m')


def mask_of_file(file: str) -> str | None:
    """Say which mask a file is by its name, such as ``scene_SCL_20m.tif``; None if none."""
    return mask_name(_stem(file))


def mask_next_to(file: str) -> tuple[str, str] | None:
    """Find the mask of a file by their names.

    Args:
        file: Path of a raster.

    Returns:
        Path of the mask and its key in :data:`torchgeo_cmr.scenes.bands.MASKS`; None if
        there is none in its folder or, in a Sentinel-2 product, in those of other
        resolutions.
    """
    folder, stem = os.path.dirname(file), _stem(file)
    folders = [folder]
    if _RESOLUTION.fullmatch(os.path.basename(folder)):
        folders += [os.path.join(os.path.dirname(folder), r) for r in ('R20m', 'R60m')]
    for place in folders:
        masks = _masks_in(place, _changed(place))
        ends = [match.start() for match in _BREAK.finditer(stem)]
        for end in (len(stem), *reversed(ends)):
            found = masks.get(stem[:end].lower())
            rest = _BREAK.split(stem[end + 1 :]) if end < len(stem) else []
            if found and all(map(_WORD.fullmatch, filter(None, rest))):
                return os.path.join(place, found[0]), found[1]
        # A file that is only called like its band has a mask that is only called so.
        if '' in masks and is_optical(stem):
            return os.path.join(place, masks[''][0]), masks[''][1]
    return None


@lru_cache(maxsize=256)
def _masks_in(folder: str, _: int) -> dict[str, tuple[str, str]]:
    """Beginning of a name -> file and mask, for all masks in a folder."""
    found: dict[str, tuple[str, str]] = {}
    order = list(MASKS)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        mask = mask_of_file(name) if name.lower().endswith(RASTERS) else None
        if mask is None:
            continue
        start = (mask_stem(_stem(name)) or '').lower()
        first = found.get(start)
        if first is None or order.index(mask) < order.index(first[1]):
            found[start] = name, mask
    return found


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _stem(file: str) -> str:
    return os.path.splitext(os.path.basename(file))[0]
