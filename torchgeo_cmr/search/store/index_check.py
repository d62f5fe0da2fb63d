"""Whether an index is as it was written: every byte of every file is read."""

from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from torchgeo_cmr.durable import checksum
from torchgeo_cmr.errors import ArchiveError, Finding
from torchgeo_cmr.search import arrow_check
from torchgeo_cmr.search.where.columns import StoredColumns

from .index_files import HEADER, checksums, read_header, read_segment

_CURE = 'build the index again from its archive'


def verify_index(path: str | PathLike[str]) -> Iterator[Finding]:
    """Compare an index with what its writer recorded of it.

    Opening an index compares small files only, for vectors are read when they are needed.

    Args:
        path: Folder of the index.

    Yields:
        One finding per file, and one per part whose rows do not fit each other.

    Examples:
        >>> list(verify_index('nowhere'))[0].fault.partition(':')[0]
        'nowhere is not an index'
    """
    folder = Path(path)
    try:
        header = read_header(folder)
    except ArchiveError as error:
        yield Finding(str(folder / HEADER), str(error), _CURE)
        return
    yield Finding(str(folder / HEADER))
    for facts in header['segments']:
        faults = []
        for name, expected in checksums(facts).items():
            file = folder / name
            fault = '' if file.is_file() else 'it is missing'
            if not fault and checksum(file) != expected:
                fault = 'it is damaged: its checksum differs'
            faults.append(fault)
            yield Finding(str(file), fault, _CURE if fault else '')
        if not any(faults):
            home = str(folder / facts['name'])
            try:
                _verify_rows(folder, facts)
            except ArchiveError as error:
                yield Finding(home, str(error), _CURE)
            else:
                yield Finding(home)


def _verify_rows(folder: Path, facts: Mapping[str, Any]) -> None:
    """Compare the rows of a part with their digests; parts of earlier versions have none.

    Raises:
        ArchiveError: If files do not fit each other.
    """
    part = read_segment(folder, facts)
    assert isinstance(part.columns, StoredColumns)  # what is read from a file
    attributes = part.columns.arrow
    for name in attributes.column_names:
        arrow_check.check(attributes.column(name), name)
    part.to_positions(np.arange(len(part), dtype=np.int64))
    if part.digests is not None and not np.array_equal(part.digests, part.computed):
        raise ArchiveError('vectors and ids are not those that were written')
