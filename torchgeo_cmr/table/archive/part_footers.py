"""The parts of an archive in their order, each with what its footer says; no rows are read."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.regular_files import check_special
from torchgeo_cmr.table.schema import check_part

from .folder import PARTS


class Footer(NamedTuple):
    """A part, and what it says of itself, as :class:`~torchgeo_cmr.table.schema.PartFacts` types it."""

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
        # ValueError: a name of the file that is not Unicode
        raise ArchiveError(
            f'{part} cannot be read, it is truncated or broken; remove it and run again'
        ) from error
