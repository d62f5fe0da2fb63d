"""Rank an archive for every query and score the rankings, some queries at a time.

The result does not depend on how the queries are cut up, nor on the order of the archive: equal
vectors score equal, and ties count as the mean over all their orders.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.metrics.functional import METRICS, Pool, Ranking, find_ties
from torchgeo_cmr.progress.bars import steps
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import Spots, metres_between

from .label_rule import LabelSets, compare
from .measure import OF_GAINS, Column, Floats, Measured, columns, measure
from .offset import gaps, moments
from .place_rule import Relevance, same_patch, same_place
from .protocol import ExcludeSelf, Similarity
from .rule import Rule
from .similarity import UnitRows, check_features, similarity

#: Pairs that a rule judges at a time, one byte each, and that are ranked at a time.
_JUDGED, _RANKED = 64_000_000, 4_000_000

type Judge = Relevance | Callable[[EmbeddingTable, EmbeddingTable], Relevance]


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores of each query of one direction."""

    #: Measure -> value and chance of each query, NaN where nothing is relevant.
    scores: dict[str, tuple[Column, Column]]
    #: Whether the query has a relevant item.
    counted: NDArray[np.bool_]
    #: Metres to the nearest relevant item; NaN without one or if not requested.
    nearest: Floats
    #: Days to the relevant item nearest in time; NaN without a dated one or if not requested.
    soonest: Floats
    #: Items among the first ranks, and those of them near training ground.
    hits: NDArray[np.int64]
    hits_near: NDArray[np.integer] | Floats


class _Part(NamedTuple):
    """:class:`Judged` of some queries, measures not yet combined."""

    scores: dict[str, Measured]
    counted: NDArray[np.bool_]
    nearest: Floats
    soonest: Floats
    hits: NDArray[np.int64]
    hits_near: NDArray[np.integer] | Floats


@dataclass(frozen=True, eq=False)
class Setting:
    """What :func:`judge` needs besides the tables."""

    metrics: Sequence[str]
    k: Sequence[int]
    exclude_self: ExcludeSelf = 'same_modality'
    similarity: Similarity = 'cosine'
    #: Memberships of the queries and the archive.
    sets: LabelSets | None = None
    #: Vectors to compare in place of those of the tables.
    features: tuple[NDArray[np.floating], NDArray[np.floating]] | None = None
    #: Whether each item is near training ground.
    near: NDArray[np.bool_] | None = None
    distances: bool = False
    days: bool = False
    #: Queries at a time; by default as many as fit into some hundred megabytes.
    chunk: int | None = None


def judge(
    queries: EmbeddingTable, archive: EmbeddingTable, relevance: Judge, setting: Setting
) -> Judged:
    """Score each query.

    Args:
        queries: Patches used as queries.
        archive: Patches that may be retrieved.
        relevance: A rule, or its array (queries, items): bool, or numbers that say how
            relevant an item is.
        setting: The rest.

    Returns:
        One value per query.

    Raises:
        ArchiveError: If relevance or features have another shape than the tables, or a
            feature is nothing but zeros.
        QueryError: If chi-square meets a negative number, or a measure of graded relevance a
            rule that only gives yes or no.
    """
    shape = len(queries), len(archive)
    if not callable(relevance) and np.shape(relevance) != shape:
        raise ArchiveError(
            f'relevance is (queries, items), {shape}, found {np.shape(relevance)}'
        )
    query_features, found = setting.features or (UnitRows(queries), UnitRows(archive))
    check_features(query_features, found, shape, setting.similarity)
    spots = [
        Spots(t.frame.geometry.to_numpy())
        for t in (queries, archive)
        if setting.distances
    ]
    times = (*moments(queries), *moments(archive)) if setting.days else None
    coarse = setting.chunk or max(1, _JUDGED // max(1, shape[1]))
    fine = setting.chunk or max(1, _RANKED // max(1, shape[1]))
    starts = range(0, max(1, len(queries)), coarse)

    def rule(start: int) -> tuple[NDArray[np.int64], NDArray, Relevance]:
        rows = np.arange(start, min(start + coarse, len(queries)))
        part = queries.select(rows)
        grades = _grades(part, archive, relevance, rows, setting.sets)
        return rows, grades, _own(part, archive, setting.exclude_self)

    largest = None
    if 'anmrr' in setting.metrics:
        # its GTM is known only after all queries have been judged once
        counts = (
            ((grades > 0) & ~same).sum(axis=1)
            for _, grades, same in map(rule, steps(starts, 'block', 'count'))
        )
        largest = max(int(count.max(initial=0)) for count in counts)
    parts: list[_Part] = []
    for rows, grades, same in map(rule, steps(starts, 'block', 'score')):
        _check_grades(setting, grades)
        for first in range(0, max(1, len(rows)), fine):
            part = slice(first, first + fine)
            scores = similarity(query_features[rows[part]], found, setting.similarity)
            parts.append(
                _rank(
                    scores,
                    grades[part],
                    same[part],
                    rows[part],
                    setting,
                    spots,
                    largest,
                    times,
                )
            )
    return Judged(
        columns([part.scores for part in parts], setting.metrics, setting.k),
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ('counted', 'nearest', 'soonest', 'hits', 'hits_near')
        ),
    )


def _check_grades(setting: Setting, grades: NDArray) -> None:
    """Refuse measures of graded relevance if nothing is graded."""
    needs = [name for name in setting.metrics if name in OF_GAINS]
    if needs and setting.sets is None and grades.dtype == bool:
        raise QueryError(
            f'{needs[0]} needs graded relevance and this rule only gives yes or no: name a '
            'column of labels, or give relevance as numbers'
        )


def _grades(
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    relevance: Judge,
    rows: NDArray[np.int64],
    sets: LabelSets | None,
) -> NDArray:
    """How relevant each item is, (queries, items): bool, or numbers of at least 0."""
    if not callable(relevance):
        grades = np.asarray(relevance)[rows]
    elif isinstance(relevance, Rule) and relevance.match and sets is not None:
        # The labels are read once, not once for each chunk.
        query_labels, found = sets.members
        return compare(
            query_labels[rows], found, relevance.match, relevance.value or 0.5
        )
    else:
        grades = np.asarray(relevance(queries, archive))
    if grades.dtype.kind not in 'biuf':
        raise QueryError(
            f'relevance is True and False, or real numbers, found {grades.dtype}: convert it, for example '
            'with .astype(float)'
        )
    if grades.dtype != bool and not (np.isfinite(grades) & (grades >= 0)).all():
        raise QueryError('relevance is finite and at least 0, found other numbers')
    return grades


def _own(
    queries: EmbeddingTable, archive: EmbeddingTable, exclude: ExcludeSelf
) -> Relevance:
    if exclude == 'none':
        return np.zeros((len(queries), len(archive)), bool)
    same = same_patch(queries, archive)
    return same | same_place(queries, archive) if exclude == 'all' else same


def _rank(
    scores: NDArray[np.float32],
    grades: NDArray,
    same: Relevance,
    rows: NDArray[np.int64],
    setting: Setting,
    spots: Sequence[Spots],
    largest: int | None,
    times: tuple[Floats, ...] | None,
) -> _Part:
    relevant = (grades > 0) & ~same
    scores = np.where(same, np.nan, scores)
    order = np.argsort(-scores, axis=1, kind='stable')
    ties = find_ties(np.take_along_axis(scores, order, axis=1))
    items = scores.shape[1] - same.sum(axis=1)
    deepest = min(max(setting.k, default=1), scores.shape[1])
    top = order[:, : deepest if ties is None else ties.end(deepest)]
    depths = np.minimum(items, deepest)
    ranking = Ranking(
        np.take_along_axis(relevant, order, axis=1),
        relevant.sum(axis=1),
        largest=largest,
        ties=ties,
    )
    pool = Pool(ranking.num_relevant, items, largest=largest)
    if any(METRICS[name].needs != 'relevance' for name in setting.metrics):
        ranking, pool = _graded(
            setting.sets, grades, same, rows, top, deepest, ranking, pool
        )
    close = np.zeros(top.shape, bool)
    if setting.near is not None:
        close = setting.near[top] & ~np.take_along_axis(same, top, axis=1)
    return _Part(
        measure(ranking, pool, setting.metrics, setting.k),
        ranking.num_relevant > 0,
        _nearest(relevant, rows, *spots) if spots else np.full(len(rows), np.nan),
        _soonest(relevant, rows, *times) if times else np.full(len(rows), np.nan),
        depths,
        (close[:, :deepest] if ties is None else ties.smooth(close, deepest)).sum(
            axis=1
        ),
    )


def _graded(
    sets: LabelSets | None,
    grades: NDArray,
    same: Relevance,
    rows: NDArray[np.int64],
    top: NDArray[np.int64],
    cut: int,
    ranking: Ranking,
    pool: Pool,
) -> tuple[Ranking, Pool]:
    """Add gains: the number of shared labels, or what the rule gives without labels."""
    query_sizes = item_sizes = None
    if sets is not None:
        members, others = sets.members[0][rows], sets.members[1]
        grades = members @ others.T
        query_sizes, item_sizes = members.sum(axis=1), others.sum(axis=1)
    gains = np.where(same, 0, grades)
    ideal = -gains if cut == gains.shape[1] else np.partition(-gains, cut, axis=1)
    ideal = -np.sort(ideal[:, :cut], axis=1)
    ranking = replace(
        ranking,
        gains=np.take_along_axis(gains, top, axis=1),
        ideal=ideal,
        query_sizes=query_sizes,
        item_sizes=None if item_sizes is None else item_sizes[top],
    )
    return ranking, replace(
        pool, gains=gains, ideal=ideal, query_sizes=query_sizes, item_sizes=item_sizes
    )


def _nearest(
    relevant: Relevance,
    rows: NDArray[np.int64],
    query_spots: Spots,
    archive_spots: Spots,
) -> Floats:
    """Metres to the nearest relevant item: measured only where bounds leave it open."""
    least, largest = query_spots.bounds(rows, archive_spots)
    best = np.where(relevant, largest, np.inf).min(axis=1, initial=np.inf)
    q, a = np.nonzero(relevant & (least <= best[:, None]))
    metres = np.full(len(rows), np.inf)
    for part in np.array_split(np.arange(len(q)), 1 + len(q) // 100_000):
        left, right = query_spots.shapes[rows[q[part]]], archive_spots.shapes[a[part]]
        touch = shapely.intersects(left, right)
        apart = np.where(touch, 0, metres_between(left, right))
        np.minimum.at(metres, q[part], apart)
    return np.where(np.isfinite(metres), metres, np.nan)


def _soonest(
    relevant: Relevance,
    rows: NDArray[np.int64],
    start: Floats,
    end: Floats,
    other_start: Floats,
    other_end: Floats,
) -> Floats:
    """Days to the relevant item nearest in time."""
    apart = gaps(start[rows], end[rows], other_start, other_end)
    apart[~relevant | np.isnan(apart)] = np.inf
    days = apart.min(axis=1, initial=np.inf)
    return np.where(np.isfinite(days), days, np.nan)
