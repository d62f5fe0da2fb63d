"""Markers: empty files by which an unfinished archive knows which parts were committed to it.

A marker is made before its part and bears the names of the part and of the draft that becomes it. So a
marker whose part is not there tells two cases apart: the draft is there still, and the part never was
(its writer was killed); or the draft is gone, and the part was removed. When a run is complete, the
header lists the parts, and the markers go.
"""

import os
import re
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_match = re.compile(r'_(?P<part>part-.*\.parquet)(?P<draft>\.tmp-[\w-]+)').fullmatch


class Marker(NamedTuple):
    """A marker, its part, and the draft that became or becomes the part."""

    path: Path
    part: Path
    draft: Path


@contextmanager
def marked(part: Path, draft: Path) -> Generator[None]:
    """Make the marker of a part; its draft gets the name of the part in the block.

    Args:
        part: File of the part.
        draft: The part, complete and on the disk; no other has its name.
    """
    marker = part.with_name(f'_{part.name}{draft.name}')
    # The folder is flushed when the part is in it, and with it this name.
    marker.open('xb').close()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            if draft.exists():
                marker.unlink(missing_ok=True)
        raise


def find_markers(folder: Path) -> list[Marker]:
    """List the markers of an archive.

    Args:
        folder: The archive.
    """
    return [_marker(folder, m) for name in list_names(folder) if (m := _match(name))]


def removed_parts(folder: Path, names: Collection[str]) -> set[str]:
    """Name the parts that were committed and are gone, as far as markers tell.

    Args:
        folder: The archive.
        names: Names of the files in it, as :func:`list_names` gives them.
    """
    matches = (m for name in names if (m := _match(name)) and m['part'] not in names)
    # In this order, so that a writer at work raises no alarm: a draft becomes its part at once, and
    # where a part is dropped or a draft given up, the marker goes first.
    return {
        marker.part.name
        for marker in (_marker(folder, match) for match in matches)
        if not marker.draft.exists()
        and not marker.part.exists()
        and marker.path.exists()
    }


def list_names(folder: Path) -> set[str]:
    """Give the names of all files of an archive; none of one that is not there."""
    try:
        return {*os.listdir(folder)}
    except FileNotFoundError:
        return set()


def unmark(markers: Iterable[Marker]) -> None:
    """Remove markers.

    Args:
        markers: Those to remove; some may be gone.
    """
    for marker in markers:
        marker.path.unlink(missing_ok=True)


def _marker(folder: Path, match: re.Match[str]) -> Marker:
    return Marker(
        folder / match.string, folder / match['part'], folder / match['draft']
    )
