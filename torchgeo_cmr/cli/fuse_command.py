"""The command fuse: saved answers of several models, sensors or examples become one."""

from torchgeo_cmr.cli import answer
from torchgeo_cmr.cli.options import OutputOptions


def fuse(
    results: list[str],
    *,
    method: str = 'rrf',
    by: str = 'patch_id',
    constant: float = 60,
    match: str = 'all',
    k: int = 10,
    output: OutputOptions,
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
    """
    from torchgeo_cmr.export import read_search
    from torchgeo_cmr.search import fuse as fuse_results

    output.check()
    rankings = [read_search(path).results for path in results]
    fused = fuse_results(
        rankings[0] if len(rankings) == 1 else rankings,
        k,
        method=method,
        by=by,
        constant=constant,
        match=match,
    )
    answer.deliver(fused, output, answer.hit_table)
