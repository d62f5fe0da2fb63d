"""What footers of parts say, and whether columns and metadata are those that were written."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from torchgeo_cmr.durable import checksum
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.regular_files import check_special, name_fault
from torchgeo_cmr.table.schema import RESERVED, STANDARD, Metric
from torchgeo_cmr.typed_json import check_versioned, decode, unsigned

from .folder import FORMAT_VERSION, PARTS
from .part_schema import METADATA_KEY, as_read, types_checksum
from .records import CURE, Record

#: What else a part stores, with its Arrow type.
_STORED: dict[str, pa.DataType] = {
    'part_row': pa.int64(),
    'geometry': pa.binary(),
    'bbox': pa.struct([]),
}
#: What to do about a part that is broken.
AGAIN = 'remove it and run again'
#: What to do about one that the system does not give: to remove it might lose it.
WHOLE = 'it may be whole: make sure that it may be read, and run this again'


class PartFacts(TypedDict):
    """What a part says of itself."""

    version: int
    key: str
    rows: int
    spaces: list[str]
    metric: NotRequired[Metric]
    record: NotRequired[Record | None]
    fingerprint: NotRequired[str | None]
    content: NotRequired[str]
    #: CRC-32 of names and types of the columns, which are in the footer, whose bytes have none.
    types: NotRequired[str]
    #: CRC-32 of the metadata of GeoParquet, which other programs read.
    geo: NotRequired[str]
    #: CRC-32 of the rest; parts of earlier versions have none.
    checksum: NotRequired[str]
    #: Places and names of columns without any value.
    blank: NotRequired[list[tuple[int, str]]]


class Footer(NamedTuple):
    """A part, and what it says of itself, as :class:`PartFacts` types it."""

    file: Path
    facts: dict[str, Any]


def read_footers(folder: Path, dim: int) -> list[Footer]:
    """List the parts of an archive in its order, that of their keys.

    Args:
        folder: The archive.
        dim: Numbers in a vector.

    Raises:
        ArchiveError: If a part cannot be read, or does not fit vectors of *dim* numbers.
    """
    found = [
        Footer(part, check_part(read_schema(part), dim, str(part)))
        for part in folder.glob(PARTS)
    ]
    return sorted(found, key=lambda footer: footer.facts['key'])


def read_schema(part: Path) -> pa.Schema:
    """Read columns and metadata of a part, which are in its footer.

    Args:
        part: The file.

    Raises:
        ArchiveError: If it cannot be read.
    """
    with reading(part):
        return pq.read_schema(part)


@contextmanager
def reading(part: Path) -> Generator[None]:
    """Turn whatever a broken part raises into one sentence; a pipe would never end."""
    check_special(part, ArchiveError)
    try:
        yield
    except ArchiveError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if fault := name_fault(part):
            raise ArchiveError(
                f'{part} cannot be read, for {fault}; it may be whole: rename that file or folder'
            ) from error
        if reason := refused(error):
            raise ArchiveError(f'{part} cannot be read ({reason}); {WHOLE}') from error
        # ValueError: a name in the file that is not Unicode
        raise ArchiveError(
            f'{part} cannot be read, it is truncated or broken; {AGAIN}'
        ) from error


def refused(error: Exception) -> str:
    """Say why the system gave no bytes of a file, which may be whole; empty if it did."""
    return (
        os.strerror(error.errno) if isinstance(error, OSError) and error.errno else ''
    )


def read_facts(schema: pa.Schema, name: str) -> dict[str, Any]:
    """Read what a part says of itself.

    Args:
        schema: Arrow schema of the part.
        name: File name, for the message.

    Returns:
        The JSON stored under :data:`METADATA_KEY`, as :class:`PartFacts` types it.

    Raises:
        ArchiveError: If it is missing, broken or of a newer version.
    """
    text = (schema.metadata or {}).get(METADATA_KEY)
    if text is None:
        raise ArchiveError(
            f'{name} has no torchgeo_cmr metadata; it was not written as a part of an archive'
        )
    facts = decode(text, dict[str, Any], name, CURE)
    check_versioned(facts, PartFacts, FORMAT_VERSION, name, CURE)
    blank = facts.get('blank', ())
    if (
        not re.fullmatch('[0-9a-f]+', facts.get('content', '0'))
        or facts['rows'] < 0
        # Columns without any value are added from left to right, each at its place.
        or not all(0 <= x <= len(schema) + i for i, (x, _) in enumerate(blank))
        or len({*schema.names, *(c for _, c in blank)}) < len(schema) + len(blank)
    ):
        raise ArchiveError(f'{name} is broken (its facts are not possible); {CURE}')
    return unsigned(facts, text, name, CURE)[0]


def check_part(schema: pa.Schema, dim: int, name: str) -> dict[str, Any]:
    """Refuse a part that this version cannot read, and give its metadata.

    Args:
        schema: Arrow schema of the part.
        dim: Vector dimension that the archive's header names.
        name: File name, for the message.

    Returns:
        The JSON stored under :data:`METADATA_KEY`.

    Raises:
        ArchiveError: If metadata or columns are missing, the version is newer, or ``dim`` differs.
    """
    facts = read_facts(schema, name)
    missing = [
        c for c in (*STANDARD, 'geometry', *RESERVED) if schema.get_field_index(c) < 0
    ]
    if missing:
        raise ArchiveError(f'{name} lacks the columns {", ".join(missing)}; {CURE}')
    for column, wanted in {**STANDARD, **_STORED}.items():
        if not _is_like(found := schema.field(column).type, wanted):
            raise ArchiveError(
                f'{name} stores {column} as {found} and not as {wanted}; {CURE}'
            )
    kind = schema.field('vector').type
    if pa.types.is_fixed_size_binary(kind):
        found = 8 * kind.byte_width
    elif pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type):
        found = kind.list_size
    else:
        raise ArchiveError(
            f'{name} stores its vectors as {kind}; this version reads float32 and packed bits only'
        )
    if found != dim:
        raise ArchiveError(
            f'{name} holds vectors of {found} numbers but the header gives {dim}; '
            'parts of two archives were mixed'
        )
    # What is not written yet has the types that it will have.
    known = facts.get('types')
    if known not in (None, types_checksum(schema)) and known != types_checksum(
        as_read(schema)
    ):
        raise ArchiveError(
            f'{name} is damaged: its columns are not those that were written; {CURE}'
        )
    geo = (schema.metadata or {}).get(b'geo', b'')
    if facts.get('geo') not in (None, checksum(geo)):
        raise ArchiveError(
            f'{name} is damaged: its metadata of GeoParquet are not those that were written; {CURE}'
        )
    return facts


def check_metadata(file: pq.ParquetFile, name: str) -> None:
    """Refuse a part whose metadata differ between the two places in which Arrow writes them.

    Args:
        file: The part.
        name: File name, for the message.

    Raises:
        ArchiveError: If they do: other programs read those that we do not.
    """
    stored = file.metadata.metadata or {}
    if b'ARROW:schema' not in stored:  # of another writer
        return
    for key, value in (file.schema_arrow.metadata or {}).items():
        if stored.get(key) != value:
            raise ArchiveError(
                f'{name} is damaged: its metadata are not those that were written; {CURE}'
            )


def _is_like(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Say whether values of an Arrow type can be read as those of another."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(wanted):
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if pa.types.is_binary(wanted):
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if pa.types.is_list(wanted):
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(test(kind) for test in lists) and _is_like(
            kind.value_type, wanted.value_type
        )
    if pa.types.is_floating(wanted):
        return pa.types.is_floating(kind) or pa.types.is_integer(kind)
    tests = (pa.types.is_timestamp, pa.types.is_integer, pa.types.is_struct)
    return any(test(kind) and test(wanted) for test in tests)
