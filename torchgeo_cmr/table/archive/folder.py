"""What makes a folder an archive: the names of its files, and its header.

``_archive.json`` describes the folder; every ``part-*.parquet`` is complete, because it is
written under a temporary name, flushed to disk and renamed. A process killed at any moment
leaves the parts it had committed and perhaps one temporary file, which readers ignore and
the next writer removes. A part that somebody removes is missed by the list in the header, or by
its marker (:mod:`.part_markers`).
"""

import hashlib
import re
from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from torchgeo_cmr.drafts import Draft, disk_faults, publish, stamp
from torchgeo_cmr.durable import flush
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.regular_files import check_not_address, check_special
from torchgeo_cmr.table.schema import Metric
from torchgeo_cmr.typed_json import check_versioned, decode, signed_text, unsigned

from .records import CURE, Record

#: Name of the format in ``_archive.json`` and in the metadata of each part.
FORMAT = 'torchgeo_cmr.archive'
#: Version of the format; a reader refuses higher ones.
FORMAT_VERSION = 1
#: The header. Readers of many Parquet files (Arrow, DuckDB, Spark, geopandas) skip names that
#: begin with an underscore, so that the folder is a data set to them.
HEADER = '_archive.json'
#: Its former name; archives that have it are read and continued without change.
_OLDER = 'archive.json'
#: Pattern of the part files of an archive.
PARTS = 'part-*.parquet'
#: Names that files of an archive have, those of markers and drafts too.
OURS = re.compile(
    r'_?archive\.json|part-.*\.parquet|_part-.*\.parquet\.tmp-.*|\.tmp-.*'
)
#: Numbers in a vector: more than any model gives.
_MOST_NUMBERS = 1 << 24


class ArchiveHeader(TypedDict):
    """What ``_archive.json`` holds in any case."""

    format: str
    version: int
    dim: int
    metric: Metric
    space: NotRequired[str | None]
    rows: NotRequired[int]
    record: NotRequired[Record | None]
    work_items: NotRequired[int | None]
    #: Names of the parts when a run was last complete.
    parts: NotRequired[list[str]]
    #: CRC-32 of the rest; archives of earlier versions have none.
    checksum: NotRequired[str]


def header_file(path: str | PathLike[str]) -> Path:
    """Say where the header of an archive is, or would be.

    Args:
        path: The folder.
    """
    older = Path(path) / _OLDER
    new = Path(path) / HEADER
    return older if older.exists() and not new.exists() else new


def is_archive(path: str | PathLike[str]) -> bool:
    """Decide whether a folder has the header of an archive.

    Args:
        path: Any path.
    """
    return header_file(path).exists()


def name_inside(path: str | PathLike[str]) -> str:
    """Name the archive in a folder that is not one, such as that of a demo, for a message.

    Args:
        path: Any path.

    Returns:
        The end of a sentence; empty if no folder in it, or several, are archives.
    """
    found = [str(header.parent) for header in Path(path).glob(f'*/{HEADER}')]
    return f'; perhaps {found[0]} is meant' if len(found) == 1 else ''


def read_header(path: str | PathLike[str]) -> dict[str, Any]:
    """Read the header, ``_archive.json``, of an archive folder.

    Args:
        path: The folder.

    Returns:
        The header as it was written.

    Raises:
        ArchiveError: If it is missing, broken or of a newer format.

    Examples:
        >>> import tempfile
        >>> import geopandas as gpd
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> points = gpd.points_from_xy([10, 11], [46, 47])
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': ['a', 'b']}, geometry=points, crs='EPSG:4326'
        ... )
        >>> table = EmbeddingTable.from_frame(frame, [[1, 0], [0, 1]], space='demo')
        >>> folder = tempfile.TemporaryDirectory()
        >>> read_header(table.save(f'{folder.name}/archive'))['space']
        'demo'
        >>> folder.cleanup()
    """
    file = header_file(path)
    check_special(file, ArchiveError)
    try:
        text = file.read_bytes()
    except OSError as error:
        check_not_address(path, ArchiveError)
        raise ArchiveError(
            f'{path} is not an archive: it has no readable {HEADER}{name_inside(path)}'
        ) from error
    header: Any = decode(text, object, str(file), CURE)
    if not isinstance(header, dict) or header.get('format') != FORMAT:
        raise ArchiveError(
            f'{file} does not describe a {FORMAT}; name an archive folder'
        )
    check_versioned(header, ArchiveHeader, FORMAT_VERSION, str(file), CURE)
    dim, bits = header['dim'], header['metric'] == 'hamming'
    if not 1 <= dim < _MOST_NUMBERS or (bits and dim % 8):
        raise ArchiveError(f'{file} is broken (dim {dim} is not possible); {CURE}')
    return unsigned(header, text, str(file), CURE)[0]


def write_header(
    path: str | PathLike[str], header: Mapping[str, Any], *, overwrite: bool = True
) -> None:
    """Write the header of an archive folder, which appears whole or not at all.

    Args:
        path: The folder.
        header: What :func:`read_header` will give.
        overwrite: Whether it may replace a header.

    Raises:
        OutputExistsError: If it is there and may not be replaced.
        OSError: If the disk is full or the folder cannot be written to.
    """
    target = header_file(path)
    # Without the name of its target, as all drafts within an archive.
    draft = Draft(target.with_name(f'.{stamp()}'), target, overwrite)
    with disk_faults(target):
        try:
            draft.path.write_bytes(signed_text(header))
            flush(draft.path)
            publish([draft])
        finally:
            with suppress(OSError):
                draft.path.unlink(missing_ok=True)


def part_name(key: str) -> str:
    """Give a file name that any file system takes, readable, and different for each key."""
    readable = re.sub(r'[^A-Za-z0-9_.=]+', '-', key).strip('-.')[-80:]
    return f'part-{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.parquet'
