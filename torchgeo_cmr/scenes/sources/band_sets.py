"""Files of one band each whose names differ only in the band: one scene.

The band may stand anywhere in the name between breaks, in any spelling that means a wanted
band: ``scene_B02.tif`` and ``scene_b3_20m.tif``, ``VV_2024.tif`` and ``VH_2024.tif``.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.scenes.bands import candidates, is_optical, is_radar
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.scene import Scene, assemble
from torchgeo_cmr.scenes.sources.product_names import Times, date_of, sensor_of_name

#: Words of a name, and a resolution at its end.
_WORD = re.compile(r'[^-_. ]+')
_RESOLUTION = re.compile(r'_(\d+)m$')


@dataclass
class BandSet:
    """Files of one scene, found by their names."""

    folder: str
    #: The name before the band, and the name without it.
    stem: str
    sensor: str | None
    times: Times
    #: Wanted band -> files, which may repeat it at several resolutions, and what their
    #: names call it.
    files: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """One of its files."""
        return next(iter(self.files.values()))[0][0]

    def open(self, bands: Sequence[str]) -> Scene:
        """Open the wanted bands, each at its finest resolution.

        Args:
            bands: Band names, in channel order.

        Returns:
            The scene.

        Raises:
            RasterError: If a band has no file, or two of equal pixels, or a file cannot be read.
        """
        missing = [band for band in bands if band not in self.files]
        if missing:
            raise RasterError(
                f'{os.path.basename(self.first)} belongs to a set of {len(bands)} bands, '
                f'but there is no file for {", ".join(missing)} next to it: add it, or '
                'remove the set'
            )
        chosen = [_finest(self.files[band], band) for band in bands]
        sources = [(file, 1) for file, _ in chosen]
        # Units are what the files say, not what the encoder calls its bands.
        names = [read_header(file).descriptions[0] or word for file, word in chosen]
        scene = assemble(sources, names, times=self.times, sensor=self.sensor)
        return replace(scene, bands=tuple(bands))


def find_band_sets(
    files: Sequence[str], bands: Sequence[str]
) -> tuple[list[BandSet], list[str]]:
    """Group files whose names differ only in a band.

    Args:
        files: Paths of rasters.
        bands: Wanted bands.

    Returns:
        The sets, and the files that belong to none.
    """
    sets: dict[tuple[str, str], BandSet] = {}
    rest: list[str] = []
    for file in files:
        folder, name = os.path.split(file)
        stem, suffix = os.path.splitext(name)
        found = _divide(_RESOLUTION.sub('', stem), tuple(bands))
        if found is None or not _has_one_band(file):
            rest.append(file)
            continue
        before, band, after = found
        known = sets.setdefault(
            (folder, f'{before}\0{after}{suffix}'.lower()),
            BandSet(folder, before, sensor_of_name(file), date_of(file)),
        )
        word = stem[len(before) :]
        known.files.setdefault(band, []).append((file, word))
    return list(sets.values()), rest


def _divide(stem: str, bands: tuple[str, ...]) -> tuple[str, str, str] | None:
    """Divide a name before and after the last word that means a wanted band."""
    for word in reversed(list(_WORD.finditer(stem))):
        band = _meant(word[0], bands)
        if band is not None:
            return stem[: word.start()], band, stem[word.end() :]
    return None


@lru_cache(maxsize=4096)
def _meant(text: str, bands: tuple[str, ...]) -> str | None:
    """Give the one wanted band that a word means."""
    # Most words of most names are not bands: those are recognised at a glance.
    # A single letter is a colour only where the encoder calls it so.
    named = len(text) > 1 and (is_radar(text) or is_optical(text))
    if text.lower() not in _ends(bands) and not named:
        return None
    found = [
        b for b, fit in zip(bands, candidates(bands, [(text,)]), strict=True) if fit
    ]
    return found[0] if len(found) == 1 else None


@lru_cache
def _ends(bands: tuple[str, ...]) -> frozenset[str]:
    """The bands, and the last words of their names, in lower case."""
    names = [band.lower() for band in bands]
    return frozenset(word for n in names for word in (n, *_WORD.findall(n)[-1:]))


def _finest(files: Sequence[tuple[str, str]], band: str) -> tuple[str, str]:
    """Give the file with the smallest pixels; of renditions whose names say so, any."""
    if len(files) == 1:
        return files[0]
    areas = [abs(read_header(file).transform.determinant) for file, _ in files]
    finest, second = sorted(zip(areas, files, strict=True))[:2]
    words = [
        _RESOLUTION.findall(os.path.splitext(each[1][0])[0])
        for each in (finest, second)
    ]
    if words[0] == words[1] and np.isclose(finest[0], second[0], rtol=1e-6, atol=0):
        raise RasterError(
            f'{finest[1][0]} and {os.path.basename(second[1][0])} are both {band} of one scene, '
            'with pixels of one size: keep one of them in the folder, or name the files to read'
        )
    return finest[1]


def _has_one_band(file: str) -> bool:
    """Whether a file has one band, or cannot be opened."""
    try:
        return read_header(file).count == 1
    except RasterError:
        # Reported when its scene is opened.
        return True
