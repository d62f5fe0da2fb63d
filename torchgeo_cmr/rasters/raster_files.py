"""Rasters on this disk, opened by drivers that read pixels and never fetch anything.

GDAL decides by what a file holds, not by its name: XML or JSON under any suffix makes it read
other files or the network. Here a raster is a regular file that holds its own pixels, or a VRT
that is called ``.vrt`` and names nothing but such files.
"""

import logging
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from xml.parsers import expat

import rasterio
from rasterio.env import ensure_env
from rasterio.errors import RasterioIOError

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import check_name, check_regular, head_of

_LOG = logging.getLogger(__name__)

#: Drivers that take all pixels from the file, or from files of the same name next to it.
_DRIVERS = (
    'GTiff COG JP2OpenJPEG JP2KAK JP2ECW JP2MrSID JP2Lura PNG JPEG JPEGXL GIF BIGGIF BMP WEBP '
    'HEIF AVIF HFA ENVI EHdr EIR ISCE ROI_PAC RRASTER AAIGrid GRASSASCIIGrid GSAG GSBG GS7BG '
    'SRTMHGT USGSDEM DTED NITF GRIB netCDF HDF5 HDF4 PNM RMF RST SAGA XYZ BT BYN GTX NTv2 KRO '
    'LCP NWT_GRD NWT_GRC PCRaster Terragen TGA ZMap'
)

#: Archives of GDAL that lie on this disk.
_PACKED = re.compile(r'/vsi(?:zip|tar|gzip|mem)/(?!.*/vsi)(?!.*://)', re.DOTALL)
#: How files of pixels begin that a VRT may name, and overviews and masks next to a raster.
_MAGIC = re.compile(
    rb'II[*+]\0|MM\0[*+]|\0\0\0\x0cjP  |\xffO\xffQ|\x89PNG|\xff\xd8\xff|EHFA_HEADER_TAG|'
    rb'\x89HDF|CDF[\x01\x02\x05]|GIF8|BM|RIFF|NITF|GRIB'
)
#: Text before the first zero byte, in which GDAL looks for XML.
_MARKUP = re.compile(rb'[^\0]*<[A-Za-z?!]')
_NETWORK = re.compile(r'/vsi|^\s*[a-z][a-z0-9+.-]*://', re.IGNORECASE)
#: Files next to a raster that GDAL lists with it.
_NO_PIXELS = ('.aux.xml', '.ovr')
#: Words of a VRT that name a file, in elements, attributes and keys of metadata.
_NAMING = re.compile(r'filename|dataset$|dempath$|rpc_dem$|overview_file$')
_CODE = ('pixelfunctioncode', 'pixelfunctionlanguage')
#: VRTs that name VRTs.
_DEEPEST = 8


def open_pixels(path: str | os.PathLike[str]) -> Any:
    """Open a raster of this disk for reading.

    Args:
        path: A regular file; or one inside an archive of this disk, as GDAL's
            ``/vsizip/scenes.zip/a.tif``.

    Returns:
        The open dataset of rasterio.

    Raises:
        RasterError: If it is not such a file, or one that names data elsewhere.
        RasterioIOError: If no driver that reads pixels takes it.
    """
    name = os.fspath(path)
    _LOG.debug('opening %s', name)
    check_name(name, RasterError)
    if not _PACKED.match(name):
        if not os.path.exists(name):
            raise RasterioIOError(f'{name}: No such file or directory on this disk')
        check_regular(name, RasterError)
        if ':' in name:
            name = os.path.abspath(name)  # what is absolute has no driver's prefix
    if name.lower().endswith('.vrt') and not name.startswith('/vsi'):
        _check_virtual(name, *_stamp(name))
        return rasterio.open(name, driver='VRT')
    _check_sidecars(name)
    head = head_of(name)
    try:
        # No driver that reads text, such as XML, takes what begins like pixels.
        file = rasterio.open(name) if _holds_pixels(head) else _open(name)
    except RasterioIOError as error:
        if _MARKUP.match(head):
            raise RasterError(
                f'{name} holds XML in place of pixels: such files name data elsewhere, which '
                'is not fetched; give the rasters themselves'
            ) from error
        raise
    overview = file.tags(ns='OVERVIEWS').get('OVERVIEW_FILE')
    if overview is not None:
        file.close()
        raise RasterError(
            f'{name} names a file of overviews ({overview:.100}), which is not opened: drop '
            'OVERVIEW_FILE from its metadata'
        )
    return file


@ensure_env
def _open(name: str) -> Any:
    """Open with the drivers above; ``rasterio.open`` takes one only."""
    return rasterio.DatasetReader(name, driver=_DRIVERS.split())


def open_virtual(description: str) -> Any:
    """Open a VRT of our own making.

    Args:
        description: Its XML, which names rasters that :func:`open_pixels` has opened.
    """
    return rasterio.open(description)


def holds_pixels(path: str) -> bool:
    """Say whether a file begins like pixels, and not like XML that names others.

    Args:
        path: The file.
    """
    return os.path.isfile(path) and _holds_pixels(head_of(path))


def files_behind(path: str) -> list[str]:
    """Name the files next to a raster, or that it names, from which its pixels and masks come.

    Args:
        path: A raster of this disk.

    Returns:
        A mask next to it and, of a VRT, its sources with what is behind those, sorted.

    Raises:
        RasterError: If it is a VRT that names anything but files of pixels.
        RasterioIOError: If it is a VRT that cannot be opened.
    """
    found, waiting = {path}, [path]
    while waiting:
        file = waiting.pop()
        named = [file + '.msk'] if os.path.isfile(file + '.msk') else []
        if file.lower().endswith('.vrt'):
            with open_pixels(file) as source:
                # Statistics and overviews next to it change no pixel.
                named += [f for f in source.files if not f.endswith(_NO_PIXELS)]
        new = {*named} - found
        found |= new
        waiting += new
    return sorted(found - {path})


def _check_sidecars(name: str) -> None:
    """Refuse overviews and masks next to a raster that are not pixels themselves."""
    for ending in ('.ovr', '.msk'):
        if os.path.lexists(name + ending):
            check_regular(name + ending, RasterError)
            if not _holds_pixels(head_of(name + ending)):
                raise RasterError(
                    f'{name}{ending} is not a raster, and GDAL would open it with {name}: '
                    'remove it'
                )


def _holds_pixels(head: bytes) -> bool:
    return bool(_MAGIC.match(head)) and not _MARKUP.match(head)


def _stamp(name: str) -> tuple[int, int]:
    status = os.stat(name)
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1024)
def _check_virtual(name: str, size: int, changed: int, depth: int = 0) -> None:
    """Refuse a VRT that runs code or names anything but files of pixels on this disk."""
    if depth > _DEEPEST:
        raise RasterError(
            f'{name} is a VRT of VRTs, {depth} deep: build one of the files'
        )
    for word, value in _words(name):
        if word in _CODE and value.strip().lower() not in ('', 'c'):
            raise RasterError(
                f'{name} has a pixel function with code of its own, which is not run: write '
                'its result with gdal_translate where you trust it'
            )
        if not _NAMING.search(word):
            # No word of a VRT needs a path of GDAL's.
            if '/vsi' in value.lower():
                raise _outside(name, value)
            continue
        if _NETWORK.search(value) or value.lstrip().startswith('<'):
            raise _outside(name, value)
        _check_source(name, value, depth)


def _check_source(name: str, value: str, depth: int) -> None:
    """Refuse a source of a VRT that is not a file of pixels; GDAL opens it with any driver."""
    found = {value, os.path.join(os.path.dirname(name), value)}
    files = [file for file in found if value and os.path.lexists(file)]
    if not files and re.match(r'\s*\w{2,}:', value):
        raise _outside(name, value)
    for file in files:
        check_regular(file, RasterError)
        if file.lower().endswith('.vrt'):
            _check_virtual(os.path.abspath(file), *_stamp(file), depth + 1)
            continue
        try:
            open_pixels(file).close()
            known = _holds_pixels(head_of(file))
        except RasterioIOError:
            known = False
        if not known:
            raise RasterError(
                f'{name} names {file}, which is not a GeoTIFF, JPEG 2000, PNG or another '
                'raster of its own pixels: convert it with gdal_translate'
            )


def _outside(name: str, value: str) -> RasterError:
    return RasterError(
        f'{name} names {" ".join(value.split())[:100]!r}, which is not a file on this disk: '
        'download it, and name the file'
    )


def _words(name: str) -> Iterator[tuple[str, str]]:
    """Give names, in lower case, and texts of the elements, attributes and keys of a VRT."""
    found: list[tuple[str, str]] = []
    words: list[tuple[str, list[str]]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        found.extend((key.lower(), value) for key, value in attributes.items())
        # GDAL reads keys of metadata, names of options and of arguments as names.
        key = attributes.get('key', attributes.get('name', tag))
        words.append((key.lower(), []))

    def end(_: str) -> None:
        word, texts = words.pop()
        found.append((word, ''.join(texts)))

    def forbid(*_: Any) -> None:
        raise RasterError(
            f'{name} has a document type, with which XML can grow without end or read other '
            'files: remove it'
        )

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = lambda text: words[-1][1].append(text)
    parser.StartDoctypeDeclHandler = forbid
    try:
        with open(name, 'rb') as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise RasterError(
            f'{name} cannot be read as a VRT ({error}): build it again'
        ) from error
    yield from found
