"""Which files are sound, plain images, or rasters that have a place."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rasterio.errors import NotGeoreferencedWarning, RasterioError

from torchgeo_cmr.datasets.spoken.class_folders import SUFFIXES
from torchgeo_cmr.errors import AudioError, CMRError, RasterError
from torchgeo_cmr.rasters.raster_files import open_pixels
from torchgeo_cmr.scenes import files as listing
from torchgeo_cmr.scenes.files import CUBES, RASTERS, Paths

Kind = Literal['sound', 'image', 'raster']


#: Suffixes that no plain image and no sound has.
_PLACED = ('.jp2', '.json', *CUBES, '.parquet', '.vrt')


#: Suffixes of sound that is not read.
_OTHER_SOUND = ('.aac', '.aiff', '.flac', '.m4a', '.mp3', '.ogg', '.opus', '.wma')


def kind_of(words: Paths) -> Kind:
    """Say what files are: sound, plain images, or rasters that have a place.

    Args:
        words: Files, folders or patterns.

    Returns:
        Rasters if a TIFF, or the first file of another suffix, has a place. An image is plain
        if nothing says where it lies: neither a CRS nor a geotransform, ground control points
        or RPCs. A raster that only lost its CRS is still a raster, for which that has to be
        declared.

    Raises:
        AudioError: If they are sound of another format than WAV.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, 'river.wav').write_bytes(b'')
        ...     kind_of(folder)
        'sound'
    """
    suffixes = ('.wav', *SUFFIXES, *RASTERS, *CUBES, *_PLACED, *_OTHER_SOUND)
    try:
        files = find_files(words, suffixes)
    except RasterError:
        return 'raster'  # whose reader names the word that matches nothing
    # Products hold quicklooks next to their bands: one file with a place tells what they are.
    first = {path.suffix.lower(): path for path in reversed(files)}
    if '.wav' in first:
        return 'sound'  # next to which speak writes JSON
    for path in (first[suffix] for suffix in _OTHER_SOUND if suffix in first):
        raise AudioError(
            f'{path} is sound but not WAV: convert it, as ffmpeg -i {path.name} '
            f'{path.stem}.wav does'
        )
    listed = first.pop('.json', None)
    if not first or not first.keys().isdisjoint(_PLACED):
        return 'raster'
    if listed is not None and b'"stac_version"' in listed.read_bytes():
        return 'raster'
    if any(s not in SUFFIXES or has_place(path) for s, path in first.items()):
        return 'raster'
    # A scene that lost its place must not make plain images of those next to it.
    tiffs = (path for path in files if path.suffix.lower() in ('.tif', '.tiff'))
    return 'raster' if any(map(has_place, tiffs)) else 'image'


def find_files(
    words: Paths,
    suffixes: Sequence[str],
    what: str = 'file',
    error: type[CMRError] = RasterError,
) -> list[Path]:
    """List files: those named, those of folders and below, those that match a pattern.

    Args:
        words: Files, folders or patterns.
        suffixes: What files of folders end in, lower case.
        what: What is looked for, for the message.
        error: What to raise.

    Returns:
        Each once, in the order of their names.

    Raises:
        RasterError: If one of the words matches nothing.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ('b.wav', 'a.wav', 'notes.txt'):
        ...         _ = Path(folder, name).write_bytes(b'')
        ...     [path.name for path in find_files(folder, ['.wav'])]
        ['a.wav', 'b.wav']
    """
    return sorted(map(Path, listing.find_files(words, suffixes, what, error)))


def has_place(path: str | os.PathLike[str]) -> bool:
    """Decide whether anything in a raster tells where it lies.

    Args:
        path: The file.

    Returns:
        True also for what cannot be opened: the raster reader explains why.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        try:
            with open_pixels(path) as file:
                points, _ = file.gcps
                georeference = file.crs, points, file.rpcs
                return any(georeference) or not file.transform.is_identity
        except (RasterError, RasterioError):
            return Path(path).suffix.lower() in ('.tif', '.tiff')


__all__ = ('Kind', 'find_files', 'has_place', 'kind_of')
