"""Types of what a record of a search holds, as it is read back from a file of anybody."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.typed_json import check_versioned, convert, decode

#: Path, number from 1, name and ground sample distance of a band.
type StoredBand = tuple[str, int, Any, float | None]

_CURE = 'make the search again'


class Searched(TypedDict):
    """An archive that was searched."""

    name: str
    rows: int
    sha256: str


class Question(TypedDict):
    """The queries."""

    asked: NotRequired[list[str]]
    count: int
    sha256: str


class Answers(TypedDict):
    """The rows that were found; the first with query, rank, patch and score."""

    count: int
    sha256: str
    first: list[tuple[str, int, str, float]]


class Scenes(TypedDict, total=False):
    """Where the rasters of a modality are."""

    root: str | None
    sources: dict[str, list[StoredBand]]
    grids: dict[str, Any] | None
    nodata: dict[str, Any] | None


class SearchRecord(TypedDict, total=False):
    """What is read of a record; a writer may add anything."""

    format: str
    version: int
    command: list[str] | None
    query: Question
    filters: dict[str, Any] | None
    options: dict[str, Any] | None
    excluded: dict[str, Any] | None
    k: int | None
    archives: list[Searched]
    space: str | list[str] | None
    versions: dict[str, str] | None
    rows: Answers
    scenes: dict[str, Scenes] | None


def read_record(text: str | bytes, source: str) -> dict[str, Any]:
    """Decode a record of a search.

    Args:
        text: Its JSON.
        source: Where it comes from, for the message.

    Returns:
        All of it.

    Raises:
        QueryError: If it is broken or of a newer version; the message names the key.
    """
    content = decode(text, dict[str, Any], source, _CURE, QueryError)
    check_record(content, source)
    return content


def check_record(content: Mapping[str, Any], source: str) -> None:
    """Check a record of a search, see :func:`read_record`."""
    from .record import FORMAT, FORMAT_VERSION

    if content.get('format') == FORMAT:
        check_versioned(
            content, SearchRecord, FORMAT_VERSION, source, _CURE, QueryError
        )
    else:  # a user's own
        convert(content, SearchRecord, source, _CURE, QueryError)
