"""The verb duplicates: patches of an archive that look the same, in groups."""

import sys

from torchgeo_cmr.cli import answer, values


def duplicates(
    archives: list[str],
    *,
    min_score: float = 0.99,
    within: str | None = None,
    crs: str | None = None,
    during: str | None = None,
    where: str | None = None,
    out: list[str] | None = None,
    overwrite: bool = False,
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
        within: Area: a vector file, of several layers FILE|layername=NAME, or a box
            W,S,E,N in EPSG:4326, where W > E crosses the antimeridian. Also --bbox.
        crs: CRS of --within, such as EPSG:32632, for a file that does not state its own or a box
            in other coordinates.
        during: Time window START/END; END itself is outside, times are UTC, and either may
            be empty or two dots. Or one year, month or day, such as 2024-06, for the
            whole of it.
        where: Condition on columns of the archive, such as 'cloud < 10'.
        out: File to write instead of a table in the terminal; may be repeated. The suffix
            names the format: .gpkg (for QGIS), .geojson, .fgb, .csv or .parquet.
        overwrite: Replace existing files.
    """
    from torchgeo_cmr.export import check_all
    from torchgeo_cmr.search import Where, open_archives
    from torchgeo_cmr.search import duplicates as find_duplicates

    check_all(out or [], overwrite=overwrite)
    chosen = Where(
        None if within is None else values.area(within),
        None if within is None else crs,
        during=None if during is None else values.window(during),
        where=where,
    )
    index = open_archives(archives)
    chosen.check(index.columns)
    table = index.select(index.rows(chosen))
    found = find_duplicates(table, min_score)
    sys.stderr.write(
        f'{len(found)} of {len(table)} patches look like another, in '
        f'{found["group"].nunique()} groups\n'
    )
    answer.deliver(found, out, answer.group_table, overwrite=overwrite)
