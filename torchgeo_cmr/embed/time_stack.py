"""The dates of an archive joined next to it: one row per place, made again after each run."""

import os
from pathlib import Path

from torchgeo_cmr.embed.run_report import beside
from torchgeo_cmr.errors import OutputExistsError
from torchgeo_cmr.table import EmbeddingTable, over_dates, read_header
from torchgeo_cmr.table.dates import How
from torchgeo_cmr.table.sink import is_archive


def derived(archive: str | os.PathLike[str], ending: str, fact: str, what: str) -> Path:
    """Name an archive that is derived from another, next to it.

    Args:
        archive: Folder of the other.
        ending: What its name ends in.
        fact: What its record holds, by which an older one is known.
        what: What it is, for the message.

    Returns:
        The folder; if there is one, it was derived likewise and may be replaced.

    Raises:
        OutputExistsError: If something else has the name.
    """
    path = beside(Path(archive), ending)
    if os.path.lexists(path):
        exists = is_archive(path)
        if not exists or fact not in (read_header(path).get('record') or {}):
            raise OutputExistsError(
                f'{path} is not {what}, so it is not replaced: move it away'
            )
    return path


def stack_dates(
    archive: str | os.PathLike[str], how: How = 'mean', *, min_dates: int = 1
) -> Path:
    """Write an archive with one row per place next to one with a row for each date.

    The rows are those of :func:`~torchgeo_cmr.table.over_dates`. The archive itself stays as
    it is, so that it can be completed and updated; the stack is derived from it, and an older
    one is replaced.

    Args:
        archive: Folder of the archive.
        how: ``'mean'`` or ``'attention'``.
        min_dates: Skip places with fewer dates.

    Returns:
        The folder of the stack, ``<archive>-over-dates``.

    Raises:
        ArchiveError: If there is no archive, or its rows cannot be joined.
        OutputExistsError: If something that is not a stack has the name of the stack.
    """
    path = derived(archive, '-over-dates', 'over_dates', 'a stack over dates')
    table = over_dates(EmbeddingTable.load(archive), how, min_dates=min_dates)
    return table.save(path, overwrite=True)


__all__ = ('stack_dates',)
