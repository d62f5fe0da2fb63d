"""The verb changes: places whose own patches look least alike, as a table or as layers."""

import sys
from typing import Any

from torchgeo_cmr.cli import answer, values


def changes(
    archives: list[str],
    *,
    across: str = 'dates',
    within: str | None = None,
    crs: str | None = None,
    predicate: str = 'intersects',
    during: str | None = None,
    months: str | None = None,
    where: str | None = None,
    modality: list[str] | None = None,
    min_overlap: float = 0.5,
    k: int = 10,
    out: list[str] | None = None,
    project: bool = False,
    heatmap: bool = False,
    html: bool = False,
    overwrite: bool = False,
) -> None:
    """Find the places of an archive that changed most, or that two sensors see differently.

    Patches of several acquisitions that share most of their ground are one place. Each place is
    found once, by its two patches that look least alike; the score is their cosine distance, from
    0 (alike) to 2.

    The fifty places that changed most between any two dates, as a layer for QGIS:
    torchgeo-cmr changes archive -k 50 --out changed.gpkg --project

    Between spring and summer of one year, inside an area:
    torchgeo-cmr changes archive --during 2024-03-01/2024-09-01 --within area.gpkg

    Places whose radar and optical patches differ, on nearly whole patches only:
    torchgeo-cmr changes s1 s2 --across modalities --where 'valid_fraction > 0.9'

    Args:
        archives: Archive folders, or an index folder; several are treated as one.
        across: dates compares patches of one sensor at different times, modalities those of
            different sensors at any time.
        within: Area: a vector file, of several layers FILE|layername=NAME, or a box
            W,S,E,N in EPSG:4326, where W > E crosses the antimeridian, or WKT with --crs. Also
            --bbox, --area or --aoi.
        crs: CRS of --within, such as EPSG:32632, for a file that does not state its own or a box
            in other coordinates.
        predicate: How a footprint must relate to the area, one of intersects, within, contains
            (the footprint holds the area), centroid.
        during: Time window START/END of the patches that are compared; END itself is outside,
            times are UTC, and either may be empty or two dots. Or one year, month or
            day, such as 2024-06, for the whole of it.
        months: Months of any year, such as 6,7,8 or 6-8, or 11-2 over the new year.
        where: Condition on columns of the archive, such as 'cloud < 10'.
        modality: Only patches of this sensor, such as s2, or of several, such as s1,s2.
        min_overlap: Smallest share of ground (intersection over union) of two patches that
            are compared; lower it where the grids of two dates are shifted by a large part of a patch.
        k: Places to find.
        out: File to write instead of a table in the terminal; may be repeated. The suffix
            names the format: .gpkg (for QGIS), .geojson, .fgb, .csv, .parquet, .html, .tif (change
            raster) or .stac.json. A row is the later patch; other_patch_id names the
            earlier one.
        project: Write a QGIS project NAME.qgz next to the GeoPackage.
        heatmap: Write the score of each place as NAME_similarity.tif; the project shows it.
        html: Write NAME.html, a page with map and table for any browser.
        overwrite: Replace existing files.
    """
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.export import check_all
    from torchgeo_cmr.search import Where, open_archives
    from torchgeo_cmr.search import changes as find_changes

    outputs: dict[str, Any] = {
        'project': project,
        'heatmap': heatmap,
        'html': html,
        'overwrite': overwrite,
    }
    check_all(out or [], **outputs)
    if within is None and predicate != 'intersects':
        raise QueryError(f'--predicate {predicate} needs --within')
    chosen = Where(
        None if within is None else values.area(within),
        None if within is None else crs,
        predicate=predicate,
        during=None if during is None else values.window(during),
        months=None if months is None else values.months(months),
        where=values.condition(where, values.several(modality)),
    )
    index = open_archives(archives)
    chosen.check(index.columns)
    results = find_changes(
        index.table, k, across=across, where=chosen, min_overlap=min_overlap
    )
    if len(results) < k:
        sys.stderr.write(f'{len(results)} of {k} places have two patches to compare\n')
    answer.deliver(results, out, answer.change_table, area=chosen.area, **outputs)
