"""Whether a vector file holds its own features: GDAL also opens files that fetch others.

GDAL decides by what a file holds, not by its name: a file of areas may be a virtual layer, the
address of a service, or GeoJSON whose CRS is an address. Of an archive, each file is looked at.
"""

import gzip
import json
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from torchgeo_cmr.errors import CMRError
from torchgeo_cmr.regular_files import check_name, check_regular, head_of

#: Bytes by which a file is judged; GDAL looks at fewer. A CRS is shorter.
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
    rb'[\xef\xbb\xbf\xff\xfe\s]*(?:<[?!].*?>\s*)*<(?:[\w.-]+:)?([\w.-]+)', re.DOTALL
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
#: Bytes of text that are searched at once.
_PIECE = 2**24


#: Letters that pyogrio leaves out of a path, or at which it cuts it.
_TAKEN = re.compile(r'[\n\r\t!]|;(?=[^/]*$)')


class _Refused(Exception):
    """What is wrong with a file, without its name."""


#: Files by which GDAL reads a folder as one source.
_IN_FOLDERS = ('.gdbtable', '.shp', '.tab', '.mif')


def check_vector_name(path: str | os.PathLike[str], error: type[CMRError]) -> None:
    """Refuse a name of which the library of vector files takes a part for something else.

    Args:
        path: A file of this disk, to be read or written.
        error: What to raise.

    Raises:
        CMRError: Of the kind *error*.
    """
    name = os.path.abspath(path)
    for odd in _TAKEN.findall(name):
        raise error(
            f'{name} holds {odd!r}, which the library of vector files takes for a mark of its '
            'own: choose a name without'
        )


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
    check_name(name, error)
    packed = _PACKED.match(name)
    if packed is None:
        check_vector_name(name, error)
    outer = name if packed is None else _archive(packed[1])
    if packed is None and os.path.isdir(outer):
        files = [entry.path for entry in os.scandir(outer) if not entry.is_dir()]
        if not any(file.lower().endswith(_IN_FOLDERS) for file in files):
            raise error(f'{name} is a folder without a layer: name a file in it')
    else:
        files = [outer]
    for file in files:
        check_regular(file, error)
        where = file
        try:
            for inner, stream in _streams(file):
                where = f'{file}/{inner}' if inner else file
                _check(stream)
        except _Refused as reason:
            raise error(f'{where} {reason}') from reason
        except (
            zipfile.BadZipFile,
            tarfile.TarError,
            zlib.error,
            EOFError,
            OSError,
            NotImplementedError,
        ) as reason:
            raise error(
                f'{file} cannot be read as an archive ({reason}): pack it again'
            ) from reason
    # What is absolute has no driver's prefix.
    return name if packed else os.path.abspath(name)


def _archive(path: str) -> str:
    """Give the archive that a path leads into; the path itself if there is none."""
    found = path
    while found and not os.path.exists(found):
        found = os.path.dirname(found)
    return found if os.path.isfile(found) else path


def _streams(file: str) -> Iterator[tuple[str, Any]]:
    """Open a file for reading bytes, or each file in an archive with its name there."""
    head = head_of(file, 512)
    if head.startswith(b'\x1f\x8b'):
        with gzip.open(file) as stream:
            head = stream.read(512)
    if head.startswith(b'PK\3\4'):
        with zipfile.ZipFile(file) as packed:
            members = packed.infolist()
            if len(members) > _MOST:
                raise _Refused(f'holds {len(members)} files: give an archive of few')
            for member in members:
                size, stored = member.file_size, member.compress_size
                if size > _LARGE and size > _RATIO * stored:
                    raise _Refused(
                        f'claims {size} bytes for {member.filename!r:.80}, of which it '
                        f'holds {stored}: unpack it where you trust it'
                    )
                if member.flag_bits & 1:
                    raise _Refused('is encrypted: unpack it')
                with packed.open(member) as stream:
                    yield member.filename, stream
    elif head[257:262] == b'ustar':
        with tarfile.open(file) as packed:
            for number, member in enumerate(packed):
                if number > _MOST:
                    raise _Refused('holds too many files: give an archive of few')
                stream = packed.extractfile(member) if member.isfile() else None
                if stream is not None:
                    yield member.name, stream
    else:
        opening = gzip.open if head_of(file, 2) == b'\x1f\x8b' else open
        with opening(file, 'rb') as stream:
            yield '', stream


def _check(stream: Any) -> None:
    """Judge a file by how it begins; of JSON, its CRS wherever it stands."""
    head = stream.read(_HEAD)
    # Texts of two bytes per letter have zeros between.
    text = head.replace(b'\0', b'')
    if _ELSEWHERE.search(text):
        raise _Refused(
            'names its data elsewhere (a virtual layer or a service), which is not '
            'fetched: give the file itself, or convert it with ogr2ogr'
        )
    if text.lstrip(b'\xef\xbb\xbf\xff\xfe\r\n\t ').startswith(b'<'):
        if _TYPE.search(text):
            raise _Refused(
                'has a document type, with which XML can grow without end or read other '
                'files: remove it'
            )
        root = _ROOT.match(text)
        kind = root[1] if root else b''
        if kind.lower() not in _DRAWINGS and _GML not in text:
            raise _Refused(
                f'is XML of the kind {kind.decode(errors="replace")!r:.60}, which is not a '
                'drawing: give KML, GPX or GML, or another vector file'
            )
    elif b'\0' not in head and b'{' in head:
        _check_crs(head, stream)


def _check_crs(piece: bytes, stream: Any) -> None:
    """Refuse GeoJSON that names its CRS by an address, which GDAL would fetch."""
    while piece:
        following = stream.read(_PIECE)
        for key in _CRS.finditer(piece, 0, len(piece) - (_HEAD if following else 0)):
            text = piece[key.end() : key.end() + _HEAD].decode(errors='replace')
            try:
                crs, _ = json.JSONDecoder().raw_decode(text)
            except (ValueError, RecursionError):
                raise _Refused('has a CRS that is not JSON: write it again') from None
            if str(crs.get('type')).lower() not in ('name', 'epsg', 'ogc'):
                raise _Refused(
                    'names its CRS by an address, which is not fetched: bring it to '
                    'EPSG:4326 and drop "crs"'
                )
        piece = piece[-_HEAD:] + following if following else b''
