"""The dates of an archive joined next to it: one row per place, made again after each run."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.embed.companion import companion
from torchgeo_cmr.export.new_file import only_writer
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.archive_reader import Parts
from torchgeo_cmr.table.archive.replacement import replacement
from torchgeo_cmr.table.dates import How, Places, check_stack, join_dates
from torchgeo_cmr.table.kinds import filled

#: Rows that are joined at a time, but for a place that alone has more.
_ROWS = 50_000


def stack_dates(
    archive: str | os.PathLike[str], how: How = 'mean', *, min_dates: int = 1
) -> Path:
    """Write an archive with one row per place next to one with a row for each date.

    The rows are those of :func:`~torchgeo_cmr.table.over_dates`. The archive itself stays as
    it is, so that it can be completed and updated; the stack is derived from it, and an older
    one is replaced. Memory holds the places of all rows, and the vectors of 50,000 at a time.

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
    check_stack(how, min_dates)
    path = stack_folder(archive)
    with only_writer([path], []):
        parts = EmbeddingTable.load_parts(archive)
        tables = (table for _, table in steps(parts, 'part', 'find places'))
        places = Places.of(tables, min_dates)
        header = {'space': parts.space, 'record': {**parts.record, 'over_dates': how}}
        with replacement(path, header) as sink:
            batches = [*places.batches(_ROWS)]
            for number, batch in enumerate(steps(batches, 'batch', 'join dates')):
                rows = np.sort(batch.rows)
                inside = replace(batch, rows=np.searchsorted(rows, batch.rows))
                joined = join_dates(_read(parts, rows, places.dtypes), inside, how)
                sink.commit(f'{number:06}', joined)
            sink.finish()
    return path


def stack_folder(archive: str | os.PathLike[str]) -> Path:
    """Name the stack of an archive, and refuse anything else of that name."""
    return companion(archive, '-over-dates', 'over_dates', 'a stack over dates')


def _read(
    parts: Parts[EmbeddingTable], rows: NDArray[np.int64], dtypes: Mapping[str, Any]
) -> EmbeddingTable:
    """Read some rows, in order, from the parts that hold them, with columns of some types."""
    begin = np.cumsum([0, *parts.rows])
    holding = np.searchsorted(begin, rows, side='right') - 1
    found = []
    for number in np.unique(holding).tolist():
        _, table = parts[number]
        chosen = table.select(rows[holding == number] - begin[number])
        # Batches of one archive have the same types, whichever parts they are of.
        frame = gpd.GeoDataFrame(filled(chosen.frame, dtypes))
        found.append(replace(chosen, frame=frame))
    return EmbeddingTable.concat(found)


__all__ = ('stack_dates', 'stack_folder')
