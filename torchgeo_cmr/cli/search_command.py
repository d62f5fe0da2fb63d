"""The command search: what the words mean, and the answer as a table or as layers."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torchgeo_cmr.cli import answer, values
from torchgeo_cmr.cli.options import QueryFilterOptions, ResultOptions
from torchgeo_cmr.cli.parser import words
from torchgeo_cmr.cli.queries import ModelOptions, QueryOptions, check_modality
from torchgeo_cmr.cli.terminal import printable_lines

if TYPE_CHECKING:
    import geopandas as gpd

    from torchgeo_cmr.search import Ranking, RetrievalIndex, Where
    from torchgeo_cmr.table import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class RankingOptions:
    """Ranking: which of the patches that pass the filter are hits.

    Args:
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
    """

    k: int = 10
    min_score: float | None = None
    spacing: float | None = None
    max_overlap: float | None = None
    distinct: float | None = None
    one_per: str | None = None
    diversity: float | None = None
    hubs: str | None = None
    hubs_method: str = 'csls'
    calibrated: bool = False
    approximate: bool = False

    def read(self, filters: QueryFilterOptions) -> 'Ranking':
        """Check what goes with what, before anything is opened.

        Raises:
            QueryError: If an option needs another, or two exclude each other.
        """
        from torchgeo_cmr.search import Ranking

        given: dict[str, Any] = vars(self)
        exclude = None if filters.include_self else 'self'
        with values.as_flags(given):
            return Ranking(**given, exclude=exclude, exclude_days=filters.exclude_days)


def search(
    archives: list[str],
    *,
    query: QueryOptions,
    filters: QueryFilterOptions,
    ranking: RankingOptions,
    model: ModelOptions,
    output: ResultOptions,
    explain: bool = False,
    quiet: bool = False,
) -> None:
    r"""Find the patches of an archive that look most like a query.

    Area, dates and conditions are applied first, then the rest is ranked, so that you get
    K hits per query whenever K patches match, and never one from outside.

    Search with another archive, of any sensor that the same checkpoint was trained on, in an
    area and in June 2024; read the answer in the terminal:

        torchgeo-cmr search archive --query queries --within area.gpkg \
            --during 2024-06-01/2024-07-01

    Search with what covers a place, in a box, for the 20 best, as a layer for QGIS:

        torchgeo-cmr search archive --query -98.49,29.43 --within -98.6,29.3,-98.4,29.5 \
            -k 20 --out hits.gpkg --project

    Search with one patch, among nearly whole patches only:

        torchgeo-cmr search archive --query s2:scene.tif:0_32_32x32 \
            --where 'valid_fraction > 0.9'

    Find similar places elsewhere: not within 2 km of the query, hits 500 m apart, summers only:

        torchgeo-cmr search archive --query -98.49,29.43 --exclude-own 2000 --spacing 500 \
            --months 6-8

    Find what resembles two patches and not a third; or search with two sensors at once:

        torchgeo-cmr search archive --query s2:a.tif:0_0_32x32 --query s2:a.tif:0_32_32x32 \
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
        explain: Print to stderr how many rows each filter left, and the time of each step.
        quiet: Show no progress bar while rasters are embedded.
    """
    command = ['torchgeo-cmr', 'search', *words(search, locals())]
    from torchgeo_cmr.search import open_archives

    output.check(manifest=True)
    query.check()
    where, rule = filters.read(), ranking.read(filters)
    index = open_archives(archives)
    check_modality(index, filters.modalities, model)
    filters.check(index, where)
    table = query.read(index, model, progress=not quiet)
    results = rule.find(index, table, where)
    if explain:
        k, exact = rule.k or len(index), not rule.approximate
        plan = index.explain(table, k, where=where, exact=exact, **rule.excluded)
        sys.stderr.write(printable_lines(f'{plan}\n'))
    if len(results) < ranking.k * len(table) or not (ranking.k or len(results)):
        text = answer.shortfall(index, where, table, len(results), rule)
        sys.stderr.write(printable_lines(text))
    if output.files or output.clips:
        from torchgeo_cmr.export import write_all

        record = _record(results, archives, index, table, where, rule, query, command)
        outputs: dict[str, Any] = output.written()
        for path, message in write_all(
            results,
            output.files,
            queries=table,
            area=where.area,
            record=record,
            manifest=True,
            **outputs,
        ):
            sys.stdout.write(f'{path}: {message}\n')
    if not output.files:
        sys.stdout.write(answer.hit_table(results))


def _record(
    results: 'gpd.GeoDataFrame',
    archives: list[str],
    index: 'RetrievalIndex',
    table: 'EmbeddingTable',
    where: 'Where',
    rule: 'Ranking',
    query: QueryOptions,
    command: list[str],
) -> dict[str, Any]:
    """Describe the search, so that it can be understood and made again."""
    from torchgeo_cmr.export import make_record
    from torchgeo_cmr.search import open_archives
    from torchgeo_cmr.search.store.origin import without_password

    searched = {without_password(archives[0]): index}
    if len(archives) > 1:
        searched = {folder: open_archives(folder) for folder in archives}
    options: dict[str, Any] = {
        'refine': query.refine,
        'unlike': query.unlike,
        'and': query.and_,
        'examples': query.examples,
        'hubs': rule.hubs,
        'hubs_method': rule.hubs_method if rule.hubs is not None else None,
        'calibrated': rule.calibrated or None,
        'min_score': rule.min_score,
        'exact': False if rule.approximate else None,
    }
    options = {name: value for name, value in options.items() if value is not None}
    return make_record(
        results,
        archives=searched,
        queries=table,
        where=where,
        k=rule.k,
        options=options | rule.spread,
        excluded=rule.excluded,
        asked=[without_password(word) for word in query.query or []],
        command=[without_password(word) for word in command],
    )
