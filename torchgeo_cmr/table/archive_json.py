"""The JSON of an archive: types of its header, of the facts in a part, and of records."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.typed_json import check_versioned

#: Version of the format; a reader refuses higher ones.
FORMAT_VERSION = 1
#: What to do about an archive that is broken.
CURE = 'write the archive again'


class Record(TypedDict, total=False):
    """What is read of a record; a writer may add anything."""

    root: str | None
    #: Scene -> its bands.
    sources: dict[str, list[Any]]
    #: Scene -> the bands of each archive that names it.
    ambiguous_sources: dict[str, list[list[Any]]]
    grids: dict[str, Any] | None
    nodata: dict[str, Any] | None
    merged_from: list[dict[str, Any]]


class ArchiveHeader(TypedDict):
    """What ``_archive.json`` holds in any case."""

    format: str
    version: int
    dim: int
    metric: Literal['cosine', 'hamming']
    space: NotRequired[str | None]
    rows: NotRequired[int]
    record: NotRequired[Record | None]
    work_items: NotRequired[int | None]
    #: CRC-32 of the rest; archives of earlier versions have none.
    checksum: NotRequired[str]


class PartFacts(TypedDict):
    """What a part says of itself."""

    version: int
    key: str
    rows: int
    spaces: list[str]
    metric: NotRequired[Literal['cosine', 'hamming']]
    record: NotRequired[Record | None]
    fingerprint: NotRequired[str | None]
    content: NotRequired[str]
    #: Places and names of columns without any value.
    blank: NotRequired[list[tuple[int, str]]]


def check_facts(content: Mapping[str, Any], columns: Sequence[str], source: str) -> dict[str, Any]:
    """Check what a part says of itself.

    Args:
        content: What was decoded.
        columns: Names of the columns of the part.
        source: Name of the part, for the message.

    Returns:
        The content.

    Raises:
        ArchiveError: If it is broken or of a newer version.
    """
    check_versioned(content, PartFacts, FORMAT_VERSION, source, CURE)
    facts = dict(content)
    blank = facts.get('blank', ())
    names = [*columns, *(name for _, name in blank)]
    # Columns are added from left to right, each at its place.
    misplaced = any(not 0 <= place <= len(names) for place, _ in blank)
    if misplaced or len({*names}) < len(names):
        raise ArchiveError(f'{source} is broken (blank names impossible columns); {CURE}')
    if not re.fullmatch('[0-9a-f]+', facts.get('content', '0')) or facts['rows'] < 0:
        raise ArchiveError(f'{source} is broken (content or rows is impossible); {CURE}')
    return facts
