"""Whether the files of a scene are still those that were embedded."""

import hashlib
import json
import os
from collections.abc import Iterator
from functools import lru_cache

from torchgeo_cmr.embed.scenes.work_item import WorkItem, facts_of
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.rasters.raster_files import files_behind
from torchgeo_cmr.scenes.header import read_header
from torchgeo_cmr.scenes.remote_access import identify
from torchgeo_cmr.scenes.remote_files import RemoteFile

#: Bytes read at the head and at the end of a file, where headers and directories are.
_EDGE = 65_536
#: Bytes of each of the samples between them, and how many there are.
_SAMPLE, _SAMPLES = 4096, 14


def fingerprint(item: WorkItem) -> str:
    """Give a fingerprint of what a scene is made of, without reading all of it.

    It covers grid, CRS, dates, bands and units of the scene, and of each file (the quality
    mask among them) its path from the root, its size, its first and last 64 KiB and 14 samples
    of 4 KiB spread evenly between them; of a folder (a Zarr store), those of every file in it; of a
    VRT those of its sources, and of a raster that of a ``.msk`` file next to it and what an
    ``.aux.xml`` states to be missing. Times of modification do not
    count: copies are equal. A change that keeps the size of a file and misses all samples
    goes unseen. Of a file on a server it is what
    :func:`~torchgeo_cmr.scenes.remote_access.identify` finds.

    Args:
        item: The scene.

    Returns:
        16 hexadecimal digits.

    Raises:
        RasterError: If a file cannot be read.
    """
    scene = item.scene
    masks = scene.quality.sources if scene.quality else ()
    digest = hashlib.sha256(json.dumps(facts_of(item)).encode())
    for path in dict.fromkeys(path for path, _ in (*scene.sources, *masks)):
        if isinstance(path, RemoteFile):
            digest.update(json.dumps(identify(path)).encode())
            continue
        if scene.layers is None:
            digest.update(_stated_next_to(path))
        for file in _files(path):
            digest.update(os.path.relpath(file, path).encode())
            try:
                status = os.stat(file)
                digest.update(_content(file, status.st_size, status.st_mtime_ns))
            except OSError as error:
                raise RasterError(
                    f'{file} cannot be read ({error.strerror}): fetch the file again'
                ) from error
    return digest.hexdigest()[:16]


def _files(path: str) -> Iterator[str]:
    """Give a file and those behind it, or all files of a folder in order; else nothing."""
    if os.path.isfile(path):
        yield path
        yield from files_behind(path)
    for parent, folders, names in os.walk(path):
        folders.sort()
        yield from (os.path.join(parent, name) for name in sorted(names))


def _stated_next_to(path: str) -> bytes:
    """Give what a file next to a raster may state of missing pixels; nothing without one."""
    if not os.path.isfile(path) or not os.path.isfile(path + '.aux.xml'):
        return b''
    header = read_header(path)
    return json.dumps([header.nodata, header.masks]).encode()


@lru_cache(maxsize=4096)
def _content(path: str, size: int, changed: int) -> bytes:
    """Digest the size and samples of a file; all of it if it is small.

    The scenes of a cube share its files, so what was read of one is remembered until its time
    of modification, *changed*, is another.
    """
    digest = hashlib.sha256(str(size).encode())
    with open(path, 'rb') as file:
        if size <= 2 * _EDGE + _SAMPLE * _SAMPLES:
            digest.update(file.read())
            return digest.digest()
        digest.update(file.read(_EDGE))
        step = (size - 2 * _EDGE - _SAMPLE) // (_SAMPLES - 1)
        for number in range(_SAMPLES):
            file.seek(_EDGE + number * step)
            digest.update(file.read(_SAMPLE))
        file.seek(size - _EDGE)
        digest.update(file.read())
    return digest.digest()
