"""The command duplicates: patches of an archive that look the same, in groups."""

import sys

from torchgeo_cmr.cli import answer
from torchgeo_cmr.cli.options import FileOptions, FilterOptions


def duplicates(
    archives: list[str],
    *,
    min_score: float = 0.99,
    filters: FilterOptions,
    output: FileOptions,
) -> None:
    """Find patches that look the same: many dates of one field, scenes delivered twice.

    Two patches are in one group if the cosine of their vectors is at least the score, or
    if a chain of such pairs links them. All patches that pass the filters are compared with
    each other: meant for up to some hundred thousand.

    The groups of an area, in the terminal, and as a layer with the columns group and members:

        torchgeo-cmr duplicates archive --within area.gpkg
        torchgeo-cmr duplicates archive --min-score 0.999 --out same.gpkg

    To drop them from answers, not from the archive:

        torchgeo-cmr search archive --query queries --distinct 0.99

    Args:
        archives: Archive folders, or an index folder; several are treated as one.
        min_score: Smallest cosine of two patches that look the same, at most 1.
    """
    from torchgeo_cmr.search import duplicates as find_duplicates
    from torchgeo_cmr.search import open_archives

    output.check()
    where = filters.read()
    index = open_archives(archives)
    where.check(index.columns)
    table = index.select(index.rows(where))
    found = find_duplicates(table, min_score)
    why = '' if len(table) else answer.vain(index, where)
    sys.stderr.write(
        f'{len(found)} of {len(table)} patches look like another, in '
        f'{found["group"].nunique()} groups{why}\n'
    )
    answer.deliver(found, output, answer.group_table)
