"""The command changes: places whose own patches look least alike, as a table or as layers."""

import sys
from dataclasses import dataclass

from torchgeo_cmr.cli import answer
from torchgeo_cmr.cli.options import FilterOptions, OutputOptions


@dataclass(frozen=True, kw_only=True)
class ChangeOutputOptions(OutputOptions):
    """Output: where the answer goes.

    Args:
        out: File to write instead of a table in the terminal; may be repeated. The suffix
            names the format: .gpkg (for QGIS), .geojson, .fgb, .csv, .parquet, .html, .tif (change
            raster) or .stac.json. A row is the later patch; other_patch_id names the
            earlier one.
        heatmap: Write the score of each place as NAME_similarity.tif; the project shows it.
    """


def changes(
    archives: list[str],
    *,
    across: str = 'dates',
    min_overlap: float = 0.5,
    k: int = 10,
    filters: FilterOptions,
    output: ChangeOutputOptions,
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
        min_overlap: Smallest share of ground (intersection over union) of two patches that
            are compared; lower it where the grids of two dates are shifted by a large part of a patch.
        k: Places to find.
    """
    from torchgeo_cmr.search import changes as find_changes
    from torchgeo_cmr.search import open_archives

    output.check()
    where = filters.read()
    index = open_archives(archives)
    where.check(index.columns)
    results = find_changes(
        index.table, k, across=across, where=where, min_overlap=min_overlap
    )
    if len(results) < k:
        why = '' if len(results) else answer.vain(index, where)
        sys.stderr.write(
            f'{len(results)} of {k} places have two patches to compare{why}\n'
        )
    answer.deliver(results, output, answer.change_table, where.area)
