"""Whether a vector file holds its own features: GDAL also opens files that fetch others.

GDAL decides by what a file holds, not by its name: a file of areas may be a virtual layer, the
address of a service, or GeoJSON whose CRS is an address. Of an archive, each file is looked at.
"""

import gzip
import json
import mmap
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.regular_files import check_regular, head_of

#: Bytes by which a file is judged; GDAL looks at fewer.
_HEAD = 65_536
#: How GDAL knows a file that names its data elsewhere, wherever that stands.
_ELSEWHERE = re.compile(
    rb'<OGR\w+DataSource|<(?:\w+:)?W[CFM]S_?\w*Capabilities|gdal_streamed_alg|<GDAL\w+|'
    rb'<VRTDataset',
    re.IGNORECASE,
)
_TYPE = re.compile(rb'<!(?:DOCTYPE|ENTITY)', re.IGNORECASE)
#: The outermost element, without the prefix of its namespace.
_ROOT = re.compile(
    rb'(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<(?:[\w.-]+:)?([\w.-]+)',
    re.DOTALL,
)
_DRAWINGS = frozenset(
    (b'kml', b'gpx', b'featurecollection', b'gml', b'rss', b'feed', b'rdf', b'osm')
)
_GML = b'opengis.net/'
#: Key of the CRS of GeoJSON; letters may be written as their numbers.
_CRS = re.compile(
    rb'"(?:c|\\u0063)(?:r|\\u0072)(?:s|\\u0073)"\s*:\s*(?=\{)', re.IGNORECASE
)
#: GDAL's names of files in an archive.
_PACKED = re.compile(r'(?:/vsi(?:zip|tar|gzip)/|zip://)(.+)', re.DOTALL)
#: Files of one archive, bytes of one of them, and how much smaller it may be packed.
_MOST, _LARGE, _RATIO = 10_000, 2**30, 200


def check_vector(path: str | os.PathLike[str], error: type[CMRError]) -> str:
    """Refuse a vector file that is not a file of this disk, or names its features elsewhere.

    Args:
        path: A file; a folder that GDAL reads, such as ``.gdb``; or a file in an archive of
            this disk, as GDAL's ``/vsizip/areas.zip/aoi.shp``.
        error: What to raise.

    Returns:
        A name that GDAL takes for nothing else than this file.

    Raises:
        CMRError: Of the kind *error*.
    """
    name = os.fspath(path)
    packed = _PACKED.match(name)
    outer = name if packed is None else _archive(packed[1])
    if os.path.isdir(outer):
        files = [entry.path for entry in os.scandir(outer) if not entry.is_dir()]
    else:
        files = [outer]
    for file in files:
        check_regular(file, error)
        try:
            for inner, head in _heads(file):
                _check_head(f'{file}/{inner}' if inner else file, head, error)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError) as reason:
            raise error(
                f'{file} cannot be read as an archive ({reason}): pack it again'
            ) from reason
        except ValueError as reason:
            raise error(f'{file} {reason}') from reason
    # What is absolute has no driver's prefix.
    return name if packed else os.path.abspath(name)


def _archive(path: str) -> str:
    """Give the archive that a path leads into."""
    while path and not os.path.isfile(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def _heads(file: str) -> Iterator[tuple[str, bytes]]:
    """Give how a file begins, or each file in an archive with its name there."""
    head = head_of(file, _HEAD)
    if head.startswith(b'PK\3\4'):
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
            if len(members) > _MOST:
                raise ValueError(f'holds {len(members)} files: give one with few')
            for member in members:
                size = member.file_size
                if size > _LARGE and size > _RATIO * member.compress_size:
                    raise ValueError(
                        f'claims {size} bytes for {member.filename}, of which it holds '
                        f'{member.compress_size}: unpack it where you trust it'
                    )
                if not member.is_dir() and not member.flag_bits & 1:
                    with packed.open(member) as inner:
                        yield member.filename, inner.read(_HEAD)
    elif head.startswith(b'\x1f\x8b') or head[257:262] == b'ustar':
        try:
            with tarfile.open(file) as packed:
                for number, member in enumerate(packed):
                    if number > _MOST:
                        raise ValueError('holds too many files: give one with few')
                    inner = packed.extractfile(member) if member.isfile() else None
                    yield member.name, inner.read(_HEAD) if inner else b''
        except tarfile.ReadError:
            with gzip.open(file) as inner:
                yield '', inner.read(_HEAD)
    else:
        _check_crs(file, head)
        yield '', head


def _check_head(name: str, head: bytes, error: type[CMRError]) -> None:
    # Texts of two bytes per letter have zeros between.
    text = head.replace(b'\0', b'')
    if _ELSEWHERE.search(text):
        raise error(
            f'{name} names its data elsewhere (a virtual layer or a service), which is not '
            'fetched: give the file itself, or convert it with ogr2ogr'
        )
    root = _ROOT.match(text)
    if root is None:
        return
    if _TYPE.search(text):
        raise error(
            f'{name} has a document type, with which XML can grow without end or read other '
            'files: remove it'
        )
    if root[1].lower() not in _DRAWINGS and _GML not in text:
        raise error(
            f'{name} is XML of the kind {root[1].decode(errors="replace")!r:.60}, which is '
            'not a drawing: give KML, GPX or GML, or another vector file'
        )


def _check_crs(file: str, head: bytes) -> None:
    """Refuse GeoJSON that names its CRS by an address, which GDAL would fetch."""
    if not head or b'\0' in head or not os.path.getsize(file):
        return
    with (
        open(file, 'rb') as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        for key in _CRS.finditer(content):
            text = content[key.end() : key.end() + _HEAD].decode(errors='replace')
            try:
                crs, _ = json.JSONDecoder().raw_decode(text)
            except (ValueError, RecursionError):
                raise ValueError('has a CRS that is not JSON: write it again') from None
            if str(crs.get('type')).lower() not in ('name', 'epsg', 'ogc'):
                raise ValueError(
                    'names its CRS by an address, which is not fetched: bring it to '
                    'EPSG:4326 and drop "crs"'
                )
