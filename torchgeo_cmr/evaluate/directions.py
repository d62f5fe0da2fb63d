"""All directions between the modalities of two tables, scored under one protocol."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.provenance import fingerprint, versions

from .blocks import cells, intervals
from .groups import by_class, by_days, by_distance, by_region, by_season
from .judge import Judge, Judged, Setting, judge
from .label import LabelSets, label_sets
from .leak import near_area
from .measure import expand
from .protocol import ExcludeSelf, Protocol
from .raster import add_classes
from .report import Report
from .rule import Rule
from .score import check_spaces
from .settings import check_settings, pairs, settle, split_rows

_TIES = 'mean over all orders of equal scores (float32)'
_EMPTY = 'queries without a relevant item are left out and counted'


def make_report(
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    *,
    relevance: Judge | str,
    protocol: Protocol | str | None = None,
    k: Iterable[int] | None = None,
    metrics: Iterable[str] | None = None,
    directions: str | Iterable[str] | None = None,
    exclude_self: ExcludeSelf | None = None,
    labels: str | None = None,
    bootstrap: int = 0,
    seed: int = 0,
    block: float = 5_000,
    by: Iterable[str] = (),
    regions: gpd.GeoDataFrame | float = 50_000,
    train_area: Any = None,
    train_metres: float = 0,
    features: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None,
    chunk: int | None = None,
) -> Report:
    """Score every direction between the modalities of two tables.

    Args:
        queries: Patches that ask; may hold several modalities.
        archive: Patches that may answer; may be the same table.
        relevance: A :class:`Rule`, a word for one, a function of two tables, or an array
            (queries, items): bool, or numbers that say how relevant an item is.
        protocol: A protocol or the name of a published one; what is given below replaces its
            settings, and the report then calls it changed.
        k: Cut-offs.
        metrics: Measures, with the letter k; by default those of the protocol, and
            ``f1@k`` where labels are known.
        directions: ``'all'``, ``'cross'``, ``'same'``, or words such as ``'s1->s2'``.
        exclude_self: See :class:`Protocol`.
        labels: Column whose label sets ``f1@k`` compares and ``by='class'`` groups by; that
            of the rule by default.
        bootstrap: Resamples of whole blocks of ground for 95 % intervals; 0 for none. The
            archive stays as it is.
        seed: Seed of the resamples.
        block: Width of a block in metres.
        by: Breakdowns: ``'class'``, ``'region'``, ``'season'``, ``'distance'``, ``'days'``.
        regions: Polygons, or the width in metres of square cells, for ``by='region'``.
        train_area: Places seen in training (GeoDataFrame or vector file), for the leak check.
        train_metres: How near to them counts.
        features: Raw features to compare in place of the unit vectors, row for row, as
            chi-square and Euclidean distance need.
        chunk: Queries at a time; by default as many as fit.

    Returns:
        The report.

    Raises:
        ArchiveError: If the tables do not fit together, or lack a modality or a column.
        QueryError: If a setting is none.

    .. versionadded:: 0.1
    """
    rule = Rule.parse(relevance) if isinstance(relevance, str) else relevance
    if isinstance(rule, Rule) and rule.file is not None and rule.column is not None:
        queries, archive = (
            add_classes(table, rule.file, rule.column) for table in (queries, archive)
        )
    column = labels or (rule.column if isinstance(rule, Rule) else None)
    chosen, notes = settle(protocol, k, metrics, directions, exclude_self, column)
    if chosen.labels and isinstance(rule, Rule) and rule.match is None:
        raise QueryError(
            f'the protocol {chosen.name} judges by label, not by ground: use label:COLUMN'
        )
    check_settings(chosen, column, by := tuple(by), bootstrap)
    check_spaces(queries, archive)
    kept, notes_split = split_rows(queries, archive, chosen)
    rows = tuple(kept)
    asked, found = (t.select(r) for t, r in zip((queries, archive), rows, strict=True))
    if not callable(rule):
        rule = np.asarray(rule)
        if rule.shape != (len(queries), len(archive)):
            raise ArchiveError(
                f'relevance is (queries, items), {(len(queries), len(archive))}, found '
                f'{rule.shape}'
            )
        rule = rule[np.ix_(*rows)]
    if features is not None:
        if (len(features[0]), len(features[1])) != (len(queries), len(archive)):
            raise ArchiveError('features have one row for each row of their table')
        features = features[0][rows[0]], features[1][rows[1]]
    sets = None if column is None else label_sets((asked, found), column)
    blocks = cells(asked, block).to_numpy() if bootstrap else np.zeros(0, object)
    near: list[NDArray[np.bool_] | None] = [None, None]
    if train_area is not None:
        near = [near_area(t, train_area, train_metres) for t in (asked, found)]
    results: dict[str, Any] = {}
    for name, here, there in pairs(asked, found, chosen.directions):
        setting = Setting(
            chosen.metrics,
            chosen.k,
            chosen.exclude_self,
            chosen.similarity,
            _some(sets, here, there),
            None if features is None else (features[0][here], features[1][there]),
            None if near[1] is None else near[1][there],
            'distance' in by,
            'days' in by,
            chunk,
        )
        some, items = asked.select(here), found.select(there)
        part = rule if callable(rule) else rule[np.ix_(here, there)]
        judged = judge(some, items, part, setting)
        results[name] = _direction(
            judged, chosen, blocks[here] if bootstrap else None, bootstrap, seed
        )
        results[name]['gallery'] = len(items)
        groups = _groups(by, some, judged, setting.sets, regions)
        if groups:
            results[name]['by'] = {
                kind: {n: _scores(judged, chosen, mask) for n, mask in found_groups}
                for kind, found_groups in groups
            }
        if near[0] is not None and near[1] is not None:
            results[name]['leak'] = {
                'metres': float(train_metres),
                'k': max(chosen.k),
                'queries': _share(near[0][here].sum(), len(here)),
                'gallery': _share(near[1][there].sum(), len(there)),
                'hits': _share(judged.hits_near.sum(), judged.hits.sum()),
            }
    if features is None and chosen.similarity == 'chi_square':
        notes.append('chi-square compared unit vectors; the published one raw features')
    return Report(
        _words(rule),
        {**_plain(chosen), 'ties': _TIES, 'empty': _EMPTY},
        {'queries': _count(asked), 'archive': _count(found)},
        results,
        seed,
        {'draws': bootstrap, 'resampled': 'blocks of ground', 'metres': float(block)}
        if bootstrap
        else None,
        {'queries': fingerprint(asked), 'archive': fingerprint(found)},
        versions(),
        (*notes, *notes_split),
    )


def _some(
    sets: LabelSets | None, here: NDArray[np.int64], there: NDArray[np.int64]
) -> LabelSets | None:
    if sets is None:
        return None
    return LabelSets(sets.classes, (sets.members[0][here], sets.members[1][there]))


def _direction(
    judged: Judged,
    protocol: Protocol,
    blocks: NDArray[np.object_] | None,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    made = _scores(judged, protocol, np.ones(len(judged.counted), bool))
    if blocks is not None:
        values = {name: value for name, (value, _) in judged.scores.items()}
        names = list(made['scores'])
        made['blocks'] = len({*blocks[judged.counted]})
        ends = intervals(values, blocks, names, draws=draws, seed=seed)
        for name in names:
            low, high = ends.get(name, (None, None))
            made['scores'][name].update(low=low, high=high)
    return made


def _scores(
    judged: Judged, protocol: Protocol, mask: NDArray[np.bool_]
) -> dict[str, Any]:
    """Averages over some queries."""
    counted = judged.counted & mask
    scores: dict[str, Any] = {}
    for name in expand(protocol.metrics, protocol.k):
        value, chance = (
            column[counted].mean() if counted.any() else None
            for column in judged.scores[name]
        )
        scores[name] = {'value': value, 'chance': chance}
    return {
        'queries': int(counted.sum()),
        'empty': int((mask & ~judged.counted).sum()),
        'scores': scores,
    }


def _groups(
    by: Iterable[str],
    queries: EmbeddingTable,
    judged: Judged,
    sets: LabelSets | None,
    regions: gpd.GeoDataFrame | float,
) -> list[tuple[str, Iterator[tuple[str, NDArray[np.bool_]]]]]:
    made = []
    for kind in by:
        if kind == 'class' and sets is not None:
            made.append((kind, by_class(sets)))
        elif kind == 'region':
            made.append((kind, by_region(queries, regions)))
        elif kind == 'season':
            made.append((kind, by_season(queries)))
        elif kind == 'distance':
            made.append((kind, by_distance(judged.nearest)))
        elif kind == 'days':
            made.append((kind, by_days(judged.soonest, judged.counted)))
    return made


def _plain(protocol: Protocol) -> dict[str, Any]:
    """The protocol as JSON would give it back."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(protocol).items()
    }


def _count(table: EmbeddingTable) -> dict[str, int]:
    found = table.frame['modality'].value_counts()
    return {str(name): int(found[name]) for name in sorted(found.index)}


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _words(rule: Any) -> str:
    if isinstance(rule, np.ndarray):
        return 'as given by the caller'
    return (
        str(rule) if isinstance(rule, Rule) else getattr(rule, '__name__', repr(rule))
    )
