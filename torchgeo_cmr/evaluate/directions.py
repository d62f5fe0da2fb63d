"""All directions between the modalities of two tables, scored under one protocol."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.provenance import fingerprint, versions

from .blocks import cells, intervals
from .groups import by_class, by_days, by_distance, by_region, by_season
from .judge import Judge, Judged, Setting, judge
from .label_rule import LabelSets, label_sets
from .leak import leaking_splits, near_area
from .measure import expand, formulas
from .picking import pick, pick_rows
from .protocol import ExcludeSelf, Protocol
from .report import Report
from .rule import Rule
from .score import check_spaces
from .settings import check_rule, check_settings, pairs, settle, split_rows

_TIES = 'mean over all orders of equal scores (float32)'
_EMPTY = 'queries without a relevant item are skipped and counted'


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
    split: str | None = None,
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
        queries: Patches used as queries; may hold several modalities.
        archive: Patches that may be retrieved; may be the same table.
        relevance: A :class:`Rule`, a word for one, a function of two tables, or an array
            (queries, items): bool, or numbers for how relevant an item is.
        protocol: A protocol or the name of a published one; what is given below replaces its
            settings, and the report then calls it changed.
        k: Cut-offs.
        metrics: Measures, with the letter k; by default those of the protocol, and
            ``f1@k`` where labels are known.
        directions: ``'all'``, ``'cross'``, ``'same'``, or words such as ``'s1->s2'``.
        exclude_self: See :class:`Protocol`.
        split: Only rows whose column ``split`` has this word, such as ``'test'``; without it, and
            without a protocol that names one, all rows.
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
        QueryError: If a setting is not valid.

    Examples:
        >>> import geopandas as gpd
        >>> import shapely
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> boxes = shapely.box([9, 10, 11], 46, [9.1, 10.1, 11.1], 46.1)
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': [*'abc']}, geometry=boxes, crs='EPSG:4326'
        ... )
        >>> vectors = [[1, 0], [0.8, 0.6], [0, 1]]
        >>> table = EmbeddingTable.from_frame(frame, vectors, space='demo')
        >>> labelled = EmbeddingTable.from_frame(
        ...     frame.assign(label=['lake', 'lake', 'field'], modality='s2'),
        ...     vectors,
        ...     space='demo',
        ... )
        >>> report = make_report(
        ...     labelled, labelled, relevance='exact:label', metrics=['map']
        ... )
        >>> sorted(report.directions)
        ['s2->s2']
    """
    rule = Rule.parse(relevance) if isinstance(relevance, str) else relevance
    queries, archive = _classify(rule, (queries, archive))
    column = labels or (rule.column if isinstance(rule, Rule) else None)
    chosen, notes = settle(
        protocol, k, metrics, directions, exclude_self, split, column
    )
    if isinstance(rule, Rule):
        check_rule(chosen, rule.match)
    check_settings(chosen, column, by := tuple(by), bootstrap, seed)
    check_spaces(queries, archive)
    rows, notes_split = split_rows(queries, archive, chosen, split is not None)
    sides = _Sides.of((queries, archive), rule, features).select(*rows)
    blocks = block if bootstrap else None
    sides = sides.annotate(column, blocks, train_area, train_metres)
    query_table, found = sides.tables
    scoring = _Scoring(chosen, by, regions, bootstrap, seed, float(train_metres), chunk)
    caution = leaking_splits(queries, archive, chosen)
    results = {
        name: scoring.score(sides.select(query_rows, item_rows)) | caution
        for name, query_rows, item_rows in pairs(query_table, found, chosen.directions)
    }
    if features is None and chosen.similarity == 'chi_square':
        notes.append('chi-square compared unit vectors; the published one raw features')
    return Report(
        _words(sides.rule),
        _plain(chosen),
        {'queries': _count(query_table), 'archive': _count(found)},
        results,
        seed,
        _draws(bootstrap, block),
        {'queries': fingerprint(query_table), 'archive': fingerprint(found)},
        versions(),
        (*notes, *notes_split),
    )


def _draws(bootstrap: int, block: float) -> dict[str, Any] | None:
    if not bootstrap:
        return None
    return {'draws': bootstrap, 'resampled': 'blocks of ground', 'metres': float(block)}


def _classify(
    rule: Any, tables: tuple[EmbeddingTable, EmbeddingTable]
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Add the classes of the map that a rule judges by."""
    if not isinstance(rule, Rule) or rule.file is None or rule.column is None:
        return tables
    from .raster_labels import add_classes  # needs rasterio

    queries, archive = (add_classes(t, rule.file, rule.column) for t in tables)
    return queries, archive


@dataclass(frozen=True, eq=False)
class _Sides:
    """Queries and the items that may answer, with what is known of the rows of both."""

    tables: tuple[EmbeddingTable, EmbeddingTable]
    #: A function of two tables, or an array (queries, items).
    rule: Any
    features: tuple[NDArray[Any], NDArray[Any]] | None = None
    sets: LabelSets | None = None
    #: Which rows lie near training ground.
    near: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    #: Block of ground of each query.
    blocks: NDArray[np.object_] | None = None

    @classmethod
    def of(
        cls,
        tables: tuple[EmbeddingTable, EmbeddingTable],
        rule: Any,
        features: tuple[NDArray[Any], NDArray[Any]] | None,
    ) -> Self:
        """Refuse relevance and features of other rows than those of the tables."""
        shape = (len(tables[0]), len(tables[1]))
        if not callable(rule) and (rule := np.asarray(rule)).shape != shape:
            raise ArchiveError(
                f'relevance is (queries, items), {shape}, found {rule.shape}'
            )
        if features is not None and (len(features[0]), len(features[1])) != shape:
            raise ArchiveError('features have one row for each row of their table')
        return cls(tables, rule, features)

    def annotate(
        self, column: str | None, block: float | None, area: Any, metres: float
    ) -> Self:
        """Add labels, blocks of ground and nearness to training ground, where wanted."""
        queries, items = self.tables
        if metres and area is None:
            raise QueryError(
                f'train_metres={metres:g} is counted from train_area, which is not given: give the '
                'places seen in training, or leave train_metres out'
            )
        return replace(
            self,
            sets=None if column is None else label_sets(self.tables, column),
            blocks=None if block is None else cells(queries, block).to_numpy(),
            near=None
            if area is None
            else (near_area(queries, area, metres), near_area(items, area, metres)),
        )

    def select(
        self, query_rows: NDArray[np.int64], archive_rows: NDArray[np.int64]
    ) -> Self:
        """Give some rows of either side."""

        def both(pair: Any) -> Any:
            if pair is None:
                return None
            return pick(pair[0], query_rows), pick(pair[1], archive_rows)

        queries, items = self.tables
        return type(self)(
            (pick_rows(queries, query_rows), pick_rows(items, archive_rows)),
            self.rule
            if callable(self.rule)
            else self.rule[np.ix_(query_rows, archive_rows)],
            both(self.features),
            self.sets and self.sets._replace(members=both(self.sets.members)),
            both(self.near),
            None if self.blocks is None else self.blocks[query_rows],
        )


@dataclass(frozen=True)
class _Scoring:
    """How every direction is scored."""

    protocol: Protocol
    by: tuple[str, ...]
    regions: gpd.GeoDataFrame | float
    draws: int
    seed: int
    train_metres: float
    chunk: int | None

    def score(self, sides: _Sides) -> dict[str, Any]:
        """Score one direction, with intervals, breakdowns and leak check where wanted."""
        protocol = self.protocol
        queries, items = sides.tables
        setting = Setting(
            protocol.metrics,
            protocol.k,
            protocol.exclude_self,
            protocol.similarity,
            sides.sets,
            sides.features,
            None if sides.near is None else sides.near[1],
            'distance' in self.by,
            'days' in self.by,
            self.chunk,
        )
        judged = judge(queries, items, sides.rule, setting)
        made = _scores(judged, protocol, np.ones(len(judged.counted), bool))
        if sides.blocks is not None:
            self._add_intervals(made, judged, sides.blocks)
        made['gallery'] = len(items)
        groups = _groups(self.by, queries, judged, sides.sets, self.regions)
        if groups:
            made['by'] = {
                kind: {name: _scores(judged, protocol, mask) for name, mask in masks}
                for kind, masks in groups
            }
        if sides.near is not None:
            made['leak'] = {
                'metres': self.train_metres,
                'k': max(protocol.k),
                'queries': _share(sides.near[0].sum(), len(queries)),
                'gallery': _share(sides.near[1].sum(), len(items)),
                'hits': _share(judged.hits_near.sum(), judged.hits.sum()),
            }
        return made

    def _add_intervals(
        self, made: dict[str, Any], judged: Judged, blocks: NDArray[np.object_]
    ) -> None:
        values = {name: value for name, (value, _) in judged.scores.items()}
        names = list(made['scores'])
        made['blocks'] = len({*blocks[judged.counted]})
        ends = intervals(values, blocks, names, draws=self.draws, seed=self.seed)
        for name in names:
            low, high = ends.get(name, (None, None))
            made['scores'][name].update(low=low, high=high)


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
    """The protocol as JSON would give it back, and what holds for all of them."""
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(protocol).items()
    }
    rules = {'ties': _TIES, 'empty': _EMPTY}
    return plain | rules | {'formulas': formulas(protocol.metrics)}


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
