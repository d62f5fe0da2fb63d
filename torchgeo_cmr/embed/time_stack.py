"""The dates of an archive joined next to it: one row per place, made again after each run."""

import os
from pathlib import Path

from torchgeo_cmr.embed.companion import companion
from torchgeo_cmr.table import EmbeddingTable, over_dates
from torchgeo_cmr.table.dates import How


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
    path = companion(archive, '-over-dates', 'over_dates', 'a stack over dates')
    table = over_dates(EmbeddingTable.load(archive), how, min_dates=min_dates)
    return table.save(path, overwrite=True)


__all__ = ('stack_dates',)
