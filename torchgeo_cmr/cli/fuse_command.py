"""The verb fuse: saved answers of several models, sensors or examples become one."""

from typing import Any

from torchgeo_cmr.cli import answer


def fuse(
    results: list[str],
    *,
    method: str = 'rrf',
    by: str = 'patch_id',
    constant: float = 60,
    match: str = 'all',
    k: int = 10,
    out: list[str] | None = None,
    project: bool = False,
    heatmap: bool = False,
    html: bool = False,
    overwrite: bool = False,
) -> None:
    """Combine saved results of the same queries.

    Scores of two models, or of two sensors, cannot be compared; their ranks can. Queries are
    matched by query_id. A hit that a result lacks scores nothing there: save each
    with a larger -k than you need.

    Radar and optical queries of the same places, in one order, under different names:
    torchgeo-cmr search one --query radar -k 100 --out one.gpkg
    torchgeo-cmr search other --query optical -k 100 --out other.gpkg
    torchgeo-cmr fuse one.gpkg other.gpkg --match order -k 20 --out both.gpkg

    One ranking for several examples, where a hit need resemble only one:
    torchgeo-cmr fuse examples.gpkg --method max -k 20

    Args:
        results: Results that search wrote, .gpkg, .geojson or .parquet. All queries of a
            single result are fused into one.
        method: rrf adds up 1 / (60 + rank) over the results (reciprocal rank fusion); max
            takes the best score, for results of one model.
        by: Column that identifies a hit, such as one that names the place if the results
            come from two archives.
        constant: What rrf adds to each rank.
        match: How queries are matched, one of all (by query_id, which every result must
            contain), any (by query_id; a result may lack some, as after a filter), order (the
            first of each result, then the second, whatever their ids).
        k: Hits per query.
        out: File to write instead of a table in the terminal; may be repeated. The suffix
            names the format: .gpkg (for QGIS), .geojson, .fgb, .csv, .parquet, .html, .tif
            (similarity raster) or .stac.json.
        project: Write a QGIS project NAME.qgz next to the GeoPackage.
        heatmap: Write the best score of each place as NAME_similarity.tif; the project
            shows it.
        html: Write NAME.html, a page with map and table for any browser.
        overwrite: Replace existing files.
    """
    from torchgeo_cmr.export import check_all, read_search
    from torchgeo_cmr.search import fuse as put_together

    outputs: dict[str, Any] = {
        'project': project,
        'heatmap': heatmap,
        'html': html,
        'overwrite': overwrite,
    }
    check_all(out or [], **outputs)
    read = [read_search(path).results for path in results]
    fused = put_together(
        read[0] if len(read) == 1 else read,
        k,
        method=method,
        by=by,
        constant=constant,
        match=match,
    )
    answer.deliver(fused, out, answer.hit_table, **outputs)
