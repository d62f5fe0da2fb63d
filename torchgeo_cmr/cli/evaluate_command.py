"""The command evaluate: two archives and a rule in, a report out."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from torchgeo_cmr.cli.terminal import printable_lines

if TYPE_CHECKING:
    import geopandas as gpd

    from torchgeo_cmr.evaluate import Report

_WRITERS = ('.json', '.md')


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Scores: how queries are answered and measured.

    Args:
        protocol: A published protocol, which sets splits, distance, k, metric, directions and
            what a query cannot find: ben14k-csmae (CSMAE, arXiv 2401.07782), ben14k-precursor
            (code before SS-CM-RSIR), ben14k-x-jepa (X-JEPA, WACV 2026, and CR-JEPA, arXiv
            2606.00706), ben14k-34tcs (one tile left out of training), bigearthnet-v2 (ours, on
            geographic splits), bigearthnet-ibm-any and bigearthnet-ibm-exact (IBM, arXiv
            2403.02059), dsrsid (CMIR-NET), dsrsid-cr-jepa and cbrsir-vs (CR-JEPA),
            ucmerced-speech (CMIR-NET, arXiv 1904.04794).
        distance: Distance to rank by, one of cosine, euclidean, chi_square; without it cosine,
            or that of the protocol. Archives hold unit vectors, on which euclidean ranks as
            cosine does: give --features for what was published.
        features: Column of both archives with the raw features to compare in place of the unit
            vectors: lists of numbers, or the length of each feature. Patches whose feature is
            only zeros are skipped and counted.
        k: Cut-off; may be repeated. Without it 5 and 10, or those of the protocol.
        metric: Measure, such as map, ndcg@k or median_rank, with the letter k; may be repeated.
            A wrong name lists all.
        directions: all, cross, same, or one such as 's1->s2', which may be repeated.
        exclude_self: What a query cannot find: same_modality (its own patch), all (that and
            whatever shows its place) or none.
        split: Only patches whose column split has this word, such as test, in both archives.
        labels: Column of labels for f1@k and --by class, if the rule has none.
    """

    protocol: str | None = None
    distance: str | None = None
    features: str | None = None
    k: list[int] | None = None
    metric: list[str] | None = None
    directions: list[str] | None = None
    exclude_self: str | None = None
    split: str | None = None
    labels: str | None = None


@dataclass(frozen=True, kw_only=True)
class IntervalOptions:
    """Intervals: 95 % by resampling whole blocks of ground.

    Args:
        bootstrap: Resamples of whole blocks of ground for 95 % intervals.
        seed: Seed of the resamples.
        block: Width of a block of ground in metres.
    """

    bootstrap: int = 0
    seed: int = 0
    block: float = 5000.0


@dataclass(frozen=True, kw_only=True)
class BreakdownOptions:
    """Breakdowns: where and when scores differ, and the leak check.

    Args:
        by: Breakdown, one of class, region, season, distance, days (to what should be found);
            may be repeated.
        regions: For --by region: a vector file of regions, or the width of square cells in
            metres.
        train_area: Vector file of the places seen in training, for the leak check.
        train_metres: How near to those places counts as a leak.
    """

    by: list[str] | None = None
    regions: str = '50000'
    train_area: str | None = None
    train_metres: float = 0.0


def evaluate(
    queries: str,
    archive: str,
    *,
    relevance: str,
    scores: ScoreOptions,
    intervals: IntervalOptions,
    breakdowns: BreakdownOptions,
    out: list[str] | None = None,
    plots: str | None = None,
    overwrite: bool = False,
) -> None:
    r"""Score how well one archive answers the patches of another.

    You define what counts as relevant; there is no default. Every score is given with what a
    random ranking would reach.

    Same place, in all directions between the sensors, with 95 % intervals:

        torchgeo-cmr evaluate queries archive --relevance place --bootstrap 1000

    A label in common, as published for BEN-14K, as a file:

        torchgeo-cmr evaluate queries archive --relevance label:labels \
            --protocol ben14k-csmae --out report.json --out report.md

    With figures: recall over the number of hits, modality gap, hubs, maps, a contact sheet:

        torchgeo-cmr evaluate queries archive --relevance place --plots figures

    Land cover of a map, by season, and how many of the hits lie on training ground:

        torchgeo-cmr evaluate queries archive --relevance raster:landcover.tif \
            --by season --train-area train.gpkg

    The distance of the precursor of SS-CM-RSIR, on features that the archive keeps in a column:

        torchgeo-cmr evaluate queries archive --relevance label:labels \
            --distance chi_square --features raw

    Args:
        queries: Archive folder whose patches are the queries.
        archive: Archive folder to search; may be the same.
        relevance: What counts as relevant: place, place>=0.3 (footprints overlap by that IoU;
            0.5 without), near:WIDTHS, distance:METRES (between nearest points), label:COLUMN (a
            label in common), exact:COLUMN, jaccard:COLUMN>=0.5, or raster:FILE (the class of
            more than half of each footprint; a quoted pattern for several files). After place,
            near and distance also +days:NUMBER, such as place+days:5, for items taken at most
            that many days before or after.
        out: File to write instead of Markdown in the terminal, .json or .md; may be repeated.
        plots: Folder for figures.
        overwrite: Replace files that are there.
    """
    from torchgeo_cmr.evaluate import Rule, feature_report, make_report, with_distance
    from torchgeo_cmr.evaluate.plot_folder import write_plots
    from torchgeo_cmr.evaluate.recall_curve import CUTS
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.vectors.vector_file import locate

    _check_outputs(out or [], overwrite=overwrite)
    rule = Rule.parse(relevance)
    protocol = with_distance(scores.protocol, scores.distance)
    regions = _regions(breakdowns.regions)
    area = breakdowns.train_area
    if area is not None:
        locate(area, 'file of --train-area')
    query_table = EmbeddingTable.load(queries, spool=True)
    found = query_table
    if archive != queries:
        found = EmbeddingTable.load(archive, spool=True)
    compare = make_report
    if scores.features is not None:
        compare = partial(feature_report, column=scores.features)
    compare = partial(
        compare,
        query_table,
        found,
        relevance=rule,
        protocol=protocol,
        directions=_words(scores.directions),
        exclude_self=scores.exclude_self,
        split=scores.split,
        **vars(intervals),
    )
    report = compare(
        k=scores.k,
        metrics=scores.metric,
        labels=scores.labels,
        by=breakdowns.by or [],
        regions=regions,
        train_area=area,
        train_metres=breakdowns.train_metres,
    )
    _write(report, out or [], overwrite=overwrite)
    if plots is not None:
        curves = compare(k=CUTS, metrics=['recall@k'])
        # Classes of a map are known to the report alone.
        judge = rule if rule.file is None else None
        tables = query_table, found
        written, notes = write_plots(plots, *tables, curves, judge, overwrite=overwrite)
        sys.stdout.write(''.join(f'{path}\n' for path in written))
        sys.stderr.write(printable_lines(''.join(f'{note}\n' for note in notes)))


def _write(report: 'Report', paths: list[str], *, overwrite: bool) -> None:
    """Write the report to its files, without any to the terminal."""
    from torchgeo_cmr.export.new_file import new_file

    for path in paths:
        text = report.to_json() if path.endswith('.json') else report.to_markdown()
        with new_file(path, overwrite=overwrite) as temporary:
            temporary.write_text(text)
        sys.stdout.write(f'{path}: {len(report.directions)} directions\n')
    if paths:  # of a report in the terminal they are a part
        notes = ''.join(f'{note}\n' for note in report.notes)
        sys.stderr.write(printable_lines(notes))
    if not paths:
        sys.stdout.write(printable_lines(report.to_markdown()))


def _check_outputs(paths: list[str], *, overwrite: bool) -> None:
    """Refuse what cannot be written before anything is computed."""
    from torchgeo_cmr.errors import OutputExistsError, QueryError

    for number, path in enumerate(paths):
        if Path(path).suffix not in _WRITERS:
            raise QueryError(
                f'{path} has the suffix {Path(path).suffix or "none"}: a report is written '
                f'to {" or ".join(_WRITERS)}'
            )
        if path in paths[:number]:
            raise QueryError(f'{path} is named twice as output')
        if Path(path).exists() and not overwrite:
            raise OutputExistsError(
                f'{path} is there already; choose another name or use --overwrite'
            )


def _words(directions: list[str] | None) -> str | list[str] | None:
    """One word may be all, cross or same; several are directions."""
    return directions[0] if directions and len(directions) == 1 else directions


def _regions(word: str) -> 'gpd.GeoDataFrame | float':
    from torchgeo_cmr.table import EmbeddingTable
    from torchgeo_cmr.vectors.vector_file import read_frame

    try:
        return float(word)
    except ValueError:
        pass
    if Path(word).is_dir() and Path(word).suffix.lower() != '.gdb':
        return EmbeddingTable.load(word).frame
    return read_frame(word, 'file of regions', prefer='results', typed=True)
