"""The verb search: what the words mean, and the answer as a table or as layers.

The module is long because the verb has many options, each with its line of help.
"""

import sys
from typing import Any

from torchgeo_cmr.cli import answer, queries, values
from torchgeo_cmr.cli.parser import words


def search(
    archives: list[str],
    *,
    query: list[str] | None = None,
    unlike: list[str] | None = None,
    examples: str | None = None,
    and_: list[str] | None = None,
    refine: str | None = None,
    within: str | None = None,
    crs: str | None = None,
    predicate: str = 'intersects',
    min_overlap: float | None = None,
    near: str | None = None,
    exclude_own: float | None = None,
    exclude_days: float | None = None,
    include_self: bool = False,
    during: str | None = None,
    days: float | None = None,
    months: str | None = None,
    where: str | None = None,
    undated: bool = False,
    k: int = 10,
    min_score: float | None = None,
    spacing: float | None = None,
    max_overlap: float | None = None,
    distinct: float | None = None,
    one_per: str | None = None,
    diversity: float | None = None,
    hubs: str | None = None,
    hubs_method: str = 'csls',
    calibrated: bool = False,
    approximate: bool = False,
    modality: list[str] | None = None,
    ckpt: str | None = None,
    query_modality: str | None = None,
    size: int | None = None,
    dataset: str | None = None,
    units: str | None = None,
    out: list[str] | None = None,
    project: bool = False,
    heatmap: bool = False,
    html: bool = False,
    clips: str | None = None,
    links: bool = False,
    overwrite: bool = False,
    explain: bool = False,
    quiet: bool = False,
) -> None:
    """Find the patches of an archive that look most like a query.

    Area, dates and conditions are applied first, then the rest is ranked, so that you get
    K hits per query whenever K patches match, and never one from outside.

    Search with another archive, of any sensor that the same checkpoint was trained on, in an
    area and in June 2024; read the answer in the terminal:
    torchgeo-cmr search archive --query queries --within area.gpkg
    --during 2024-06-01/2024-07-01

    Search with what covers a place, in a box, for the 20 best, as a layer for QGIS:
    torchgeo-cmr search archive --query -98.49,29.43 --within -98.6,29.3,-98.4,29.5
    -k 20 --out hits.gpkg --project

    Search with one patch, among nearly whole patches only:
    torchgeo-cmr search archive --query s2:scene.tif:0_32_32x32
    --where 'valid_fraction > 0.9'

    Find similar places elsewhere: not within 2 km of the query, hits 500 m apart, summers only:
    torchgeo-cmr search archive --query -98.49,29.43 --exclude-own 2000 --spacing 500
    --months 6-8

    Find what resembles two patches and not a third; or search with two sensors at once:
    torchgeo-cmr search archive --query s2:a.tif:0_0_32x32 --query s2:a.tif:0_32_32x32
    --unlike s2:a.tif:64_0_32x32
    torchgeo-cmr search archive --query radar --and optical

    Search with a new raster, which the checkpoint turns into vectors first:
    torchgeo-cmr search archive --query new.tif --ckpt best.ckpt --query-modality s1

    Search with a spoken word, or with a photograph for the words that name it:
    torchgeo-cmr search images --query tanks.wav --ckpt best.ckpt
    torchgeo-cmr search spoken --query port.jpg --ckpt best.ckpt --one-per label -k 3

    Search again after marking hits as right or wrong (column relevant) in a GIS:
    torchgeo-cmr search archive --query queries --refine hits.gpkg

    Args:
        archives: Archive folders that embed wrote, or an index folder built from one; several
            are searched as one.
        query: What to look for; may be repeated. An archive folder (all its patches), a
            patch_id of the archives, a position LON,LAT in EPSG:4326 (all patches that cover
            it), a vector file of places (for each feature the mean of the patches it
            touches), or, with --ckpt, a WAV file, an image, a raster (with --query-modality), a
            folder of these or a quoted pattern.
        unlike: What hits should not look like, given as for --query but without rasters; may be
            repeated. All of --query then form one query, as examples of what is right.
        examples: Make one query of all of --query: mean (of their vectors), rocchio (the
            mean, away from --unlike) or logistic (the plane that separates --query
            from --unlike, for several of each); rocchio with --unlike if not given.
        and_: Archive folder of another sensor: each patch of --query is combined with the
            one of this archive on the same ground; those without one are skipped; may be
            repeated.
        refine: Result of an earlier search in which hits are marked in the column relevant
            (true or false): each of its queries with a right hit is repeated, nearer to the
            right ones and farther from the wrong ones; --query only adds to them.
        within: Area to search: a vector file, of several layers FILE|layername=NAME, or a box
            W,S,E,N in EPSG:4326, where W > E crosses the antimeridian, or WKT with --crs. Also
            --bbox, --area or --aoi.
        crs: CRS of --within, such as EPSG:32632, for a file that does not state its own or a box
            in other coordinates.
        predicate: How a footprint must lie to the area, one of intersects, within, contains
            (the footprint holds the area), centroid.
        min_overlap: Least share of a footprint's ground that the area covers, such as 0.5.
        near: Place LON,LAT,METRES: only footprints at most so many metres from it; 5km is 5000.
        exclude_own: Metres: only footprints farther than this from the query's own; 0 excludes
            those that touch it. A query without a place excludes only itself.
        exclude_days: Exclude patches taken at most this many days before or after the query.
        include_self: Also find query patches of the archive, and patches given as
            examples; they are excluded otherwise.
        during: Time window START/END, such as 2024-06-01/2024-07-01 for June; END itself is
            outside, times are UTC, and either may be left empty or be two dots. Or one year,
            month or day, such as 2024-06, for the whole of it. Dates are ISO 8601.
        days: Only patches taken at most so many days before or after the query's own date.
        months: Months of any year, such as 6,7,8 or 6-8, or 11-2 over the new year.
        where: Condition on columns of the archive, as SQL, QGIS and CQL2 write it, such as
            "cloud < 10 and source = 'x'", or 'cloud < 10 and source == "x"'.
        undated: Let patches without a date pass --during, --days and --months.
        modality: Only patches of this sensor, such as s2, or of several, such as s1,s2; may be
            repeated.
        k: Hits per query; 0 with --min-score for all that reach it.
        min_score: Lowest score of a hit.
        spacing: Fewest metres between two hits of a query; the ranking continues until K are
            found or the archive ends, as with the next four.
        max_overlap: Largest share of its ground that a hit may have in common with another.
        distinct: Cosine from which a hit that looks like a better one is dropped, such as
            0.99 for near-duplicates.
        one_per: Column of which hits have no value in common, such as label: the best hit of
            each spoken word.
        diversity: From 0 to 1, how much hits should differ from one another (maximal marginal
            relevance); ranks then follow the choice and not the score.
        hubs: Archive folder of the sensor of the queries, the larger the better: patches that are
            close to all of it (hubs) lose, and what is close to the query alone wins. Each
            patch left by the filters is compared with all of it, so filter first.
        hubs_method: How hubs lose, which is the score then: csls or softmax (inverted
            softmax).
        calibrated: Rank patches of several sensors by how far a score is above those that
            the query gets from that sensor in general, in standard deviations, so that the
            sensor that lies closer does not fill the list.
        approximate: Allow an index that was built with an approximate part to use it; the
            column exact shows whether it did.
        ckpt: Checkpoint that embeds query files; the one that made the archive.
        query_modality: Sensor of the query rasters, by the name used in training, such as s1;
            WAV files and plain images need none if one encoder alone can take them.
        size: Patch width in pixels of the query rasters; without it, that of the training.
        dataset: Python path of a TorchGeo raster dataset that opens the query rasters, such
            as torchgeo.datasets.Sentinel1.
        units: What radar pixels of the query rasters are where files do not say it: db, power
            or amplitude.
        out: File to write instead of a table in the terminal; may be repeated. The suffix
            names the format: .gpkg (for QGIS), .geojson, .fgb, .csv, .parquet, .html, .tif
            (similarity raster) or .stac.json. The manifest NAME.json next to the first one is what
            replay reads.
        project: Write a QGIS project NAME.qgz next to the GeoPackage.
        heatmap: Write the best score of each place as NAME_similarity.tif; the project
            shows it.
        html: Write NAME.html, a page with map, table and thumbnails for any browser.
        clips: Folder to cut the pixels of the hits into, in every sensor whose scenes the
            archives name.
        links: Draw lines from each query to its hits, as a layer of the GeoPackage.
        overwrite: Replace files that are there.
        explain: Tell on stderr how many rows each filter left, and the time of each step.
        quiet: Show no progress bar while rasters are embedded.
    """
    command = ['torchgeo-cmr', 'search', *words(search, locals())]
    from torchgeo_cmr.errors import QueryError
    from torchgeo_cmr.search import Where, open_archives

    outputs: dict[str, Any] = {
        'project': project,
        'heatmap': heatmap,
        'html': html,
        'clips': clips,
        'links': links,
        'manifest': True,
        'overwrite': overwrite,
    }
    if out or any((project, heatmap, html, clips, links)):
        # Writing takes half a second to be loaded.
        from torchgeo_cmr.export import check_all

        check_all(out or [], **outputs)
    if k < 0 or (k == 0 and min_score is None):
        raise QueryError(
            f'-k is {k}: give at least 1 hit per query, or -k 0 with --min-score for all'
        )
    if refine is not None and (unlike or and_ or examples):
        raise QueryError(
            '--refine takes the marks of a result as queries: drop --unlike, --examples and '
            '--and'
        )
    if within is None and crs is not None:
        raise QueryError(f'--crs {crs} is the CRS of --within, which is missing')
    if within is None and predicate != 'intersects':
        raise QueryError(f'--predicate {predicate} needs --within')
    if not query and refine is None:
        raise QueryError('no query given: say what to look for with --query')
    modality = values.several(modality)
    where = values.condition(where, modality)
    chosen = Where(
        None if within is None else values.area(within),
        crs,
        predicate=predicate,
        min_overlap=min_overlap,
        near=None if near is None else values.place(near),
        beyond=exclude_own,
        during=None if during is None else values.window(during),
        days=days,
        months=None if months is None else values.months(months),
        where=where,
        undated=undated,
    )
    after: dict[str, Any] = {
        'spacing': spacing,
        'max_overlap': max_overlap,
        'distinct': distinct,
        'one_per': one_per,
        'diversity': diversity,
    }
    after = {name: value for name, value in after.items() if value is not None}
    without: dict[str, Any] = {'exclude': 'self', 'exclude_days': exclude_days}
    if include_self:
        without['exclude'] = None
    if hubs is None and hubs_method != 'csls':
        raise QueryError(f'--hubs-method {hubs_method} needs --hubs')
    if hubs is not None and approximate:
        raise QueryError('--approximate does not go with --hubs: leave one out')
    if calibrated and (hubs is not None or after):
        other = 'hubs' if hubs is not None else next(iter(after)).replace('_', '-')
        raise QueryError(f'--calibrated does not go with --{other}: leave one out')
    if k == 0 and (calibrated or hubs is not None or after or approximate):
        raise QueryError(
            '-k 0 finds all by their bare scores: give -k, or leave the rest out'
        )
    if after and approximate:
        raise QueryError(
            f'--approximate does not go with --{next(iter(after)).replace("_", "-")}: leave one out'
        )
    index = open_archives(archives)
    queries.check_modality(index, modality, query_modality, ckpt)
    chosen.check(index.columns)
    # A condition on a missing column should not wait for embedding.
    Where(where=where).rows(index.columns)
    table = queries.asked(
        query,
        refine,
        index,
        ckpt,
        query_modality,
        size,
        dataset,
        units,
        progress=not quiet,
    )
    table = queries.combined(table, and_, unlike, examples, index)
    if after or hubs is not None:
        from torchgeo_cmr.search import rerank

        freed = index
        if hubs is not None:
            from torchgeo_cmr.search import HubFree

            freed = HubFree(index, open_archives(hubs).table, method=hubs_method)
        results = rerank(
            freed, table, k, where=chosen, min_score=min_score, **after, **without
        )
    else:
        results = index.search(
            table,
            k or None,
            where=chosen,
            exact=not approximate,
            min_score=min_score,
            calibrated=calibrated,
            **without,
        )
    if explain:
        message = index.explain(
            table, k or len(index), where=chosen, exact=not approximate, **without
        )
        sys.stderr.write(f'{message}\n')
    if len(results) < k * len(table):
        left = [*(['min_score'] if min_score is not None else []), *after]
        message = answer.shortfall(index, chosen, table, len(results), k, left, without)
        sys.stderr.write(message)
    if out or clips:
        from torchgeo_cmr.export import make_record, write_all

        alone = len(archives) == 1
        options: dict[str, Any] = {
            'refine': refine,
            'unlike': unlike,
            'and': and_,
            'examples': examples,
            'hubs': hubs,
            'hubs_method': hubs_method if hubs is not None else None,
            'calibrated': calibrated or None,
        }
        options |= {'min_score': min_score, **after}
        if approximate:
            options['exact'] = False
        record = make_record(
            results,
            archives={
                folder: index if alone else open_archives(folder) for folder in archives
            },
            queries=table,
            where=chosen,
            k=k,
            options={name: v for name, v in options.items() if v is not None},
            excluded=without,
            asked=query or [],
            command=command,
        )
        written = write_all(
            results,
            out or [],
            queries=table,
            area=chosen.area,
            record=record,
            **outputs,
        )
        for path, message in written:
            sys.stdout.write(f'{path}: {message}\n')
    if not out:
        sys.stdout.write(answer.hit_table(results))
