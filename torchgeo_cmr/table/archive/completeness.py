"""Whether an archive has all parts that were committed to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchgeo_cmr.errors import ArchiveError

from .folder import read_header
from .part_footers import Footer, read_footers
from .part_markers import list_names, removed_parts
from .records import CURE


def complete_parts(folder: Path, header: Mapping[str, Any]) -> list[Footer]:
    """List the parts of an archive in its order, and refuse one of which a part was removed.

    Args:
        folder: The archive.
        header: Its header.

    Raises:
        ArchiveError: If a part was removed, with the part and what to do; if one cannot be read.
    """
    missing = missing_parts(folder, header)
    found = [] if missing else read_footers(folder, header['dim'])
    rows = sum(footer.facts['rows'] for footer in found)
    if fault := incomplete(folder, header, missing, rows):
        raise ArchiveError(fault)
    return found


def missing_parts(folder: Path, header: Mapping[str, Any]) -> list[str]:
    """Name the parts that were committed to an archive and are gone, whether or not a run was complete.

    Args:
        folder: The archive; others may write to it meanwhile.
        header: Its header.

    Returns:
        Names of files, sorted. Of parts that were written before archives kept account of
        unfinished runs, none is known.
    """
    names = list_names(folder)
    missing = removed_parts(folder, names)
    if listed := {*header.get('parts', ())} - names:
        # A part that is dropped meanwhile goes from the header first.
        listed &= {*read_header(folder).get('parts', ())}
        missing |= {name for name in listed if not (folder / name).exists()}
    return sorted(missing)


def incomplete(
    folder: Path, header: Mapping[str, Any], missing: Sequence[str], rows: int
) -> str:
    """Say in a sentence which parts an archive lacks and what to do; empty if it lacks none.

    Args:
        folder: The archive.
        header: Its header.
        missing: Parts that :func:`missing_parts` names.
        rows: Rows of the parts that are there.
    """
    if missing:
        rest = f' and {len(missing) - 1} more' if missing[1:] else ''
        return (
            f'{folder} lacks {missing[0]}{rest}, written and then removed; copy it there again, or run '
            'the command that embedded it again'
        )
    if rows != header.get('rows', rows):
        return f'{folder} holds {rows} of {header["rows"]} rows: a part file is missing; {CURE}'
    return ''
