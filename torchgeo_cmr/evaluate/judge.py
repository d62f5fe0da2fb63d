"""Rank an archive for every query and score the rankings, some queries at a time.

The result does not depend on how the queries are cut up: products are made in float64 and
rounded to float32, so that equal vectors score equal, and ties are broken by archive row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.metrics.functional import item_scores
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import metres_between

from .distance import Spots
from .label import LabelSets, compare
from .measure import Floats, Ranking, measure
from .place import Relevance, same_patch, same_place
from .protocol import ExcludeSelf, Similarity
from .rule import Rule

#: Pairs that a rule judges at a time, one byte each, and that are ranked at a time.
_JUDGED, _RANKED = 64_000_000, 4_000_000
_BLOCK = 8_192

type Judge = Relevance | Callable[[EmbeddingTable, EmbeddingTable], Relevance]


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores of each query of one direction.

    .. versionadded:: 0.1
    """

    #: Measure -> value and chance of each query, NaN where nothing is relevant.
    scores: dict[str, tuple[Floats, Floats]]
    #: Whether the query has a relevant item.
    counted: NDArray[np.bool_]
    #: Metres to the nearest relevant item; NaN without one or if not asked for.
    nearest: Floats
    #: Items among the first ranks, and those of them near training ground.
    hits: NDArray[np.int64]
    hits_near: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Setting:
    """What :func:`judge` needs beside the tables.

    .. versionadded:: 0.1
    """

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
    #: Queries at a time; by default as many as fit into some hundred megabytes.
    chunk: int | None = None


def judge(
    queries: EmbeddingTable, archive: EmbeddingTable, relevance: Judge, setting: Setting
) -> Judged:
    """Score each query.

    Args:
        queries: Patches that ask.
        archive: Patches that may answer.
        relevance: A rule, or its bool array (queries, items).
        setting: The rest.

    Returns:
        One value a query.

    Raises:
        ArchiveError: If relevance or features have another shape than the tables.
        QueryError: If chi-square meets a negative number.

    .. versionadded:: 0.1
    """
    shape = len(queries), len(archive)
    if not callable(relevance) and np.shape(relevance) != shape:
        raise ArchiveError(
            f'relevance is (queries, items), {shape}, found {np.shape(relevance)}'
        )
    asked, found = setting.features or (queries.unit_rows(), archive.unit_rows())
    if (len(asked), len(found)) != shape:
        raise ArchiveError(
            f'features of {len(asked)} and {len(found)} rows do not fit tables of {shape[0]} '
            f'and {shape[1]}'
        )
    if setting.similarity == 'chi_square' and min(asked.min(), found.min()) < 0:
        raise QueryError(
            'chi-square compares histograms and these features hold negative numbers: use '
            'cosine, or a head that ends in ReLU'
        )
    spots = [
        Spots(t.frame.geometry.to_numpy())
        for t in (queries, archive)
        if setting.distances
    ]
    parts: list[Judged] = []
    coarse = setting.chunk or max(1, _JUDGED // max(1, shape[1]))
    fine = setting.chunk or max(1, _RANKED // max(1, shape[1]))
    for start in range(0, max(1, len(queries)), coarse):
        rows = np.arange(start, min(start + coarse, len(queries)))
        some = queries.select(rows)
        relevant = _relevant(some, archive, relevance, rows, setting.sets)
        own = _own(some, archive, setting.exclude_self)
        for first in range(0, max(1, len(rows)), fine):
            part = slice(first, first + fine)
            scores = _similarity(asked[rows[part]], found, setting.similarity)
            parts.append(
                _rank(scores, relevant[part], own[part], rows[part], setting, spots)
            )
    return Judged(
        {
            name: (
                np.concatenate([p.scores[name][0] for p in parts]),
                np.concatenate([p.scores[name][1] for p in parts]),
            )
            for name in parts[0].scores
        },
        *(
            np.concatenate([getattr(p, name) for p in parts])
            for name in ('counted', 'nearest', 'hits', 'hits_near')
        ),
    )


def _relevant(
    queries: EmbeddingTable,
    archive: EmbeddingTable,
    relevance: Judge,
    rows: NDArray[np.int64],
    sets: LabelSets | None,
) -> Relevance:
    if not callable(relevance):
        return np.asarray(relevance, bool)[rows]
    if isinstance(relevance, Rule) and relevance.match and sets is not None:
        # The labels are read once, not once for each chunk.
        asked, found = sets.members
        return compare(asked[rows], found, relevance.match, relevance.value or 0.5)
    return np.asarray(relevance(queries, archive), bool)


def _own(
    queries: EmbeddingTable, archive: EmbeddingTable, exclude: ExcludeSelf
) -> Relevance:
    if exclude == 'none':
        return np.zeros((len(queries), len(archive)), bool)
    own = same_patch(queries, archive)
    return own | same_place(queries, archive) if exclude == 'all' else own


def _similarity(
    asked: NDArray[np.floating], found: NDArray[np.floating], kind: Similarity
) -> NDArray[np.float32]:
    """Similarities (queries, items): higher is closer."""
    scores = np.empty((len(asked), len(found)), np.float32)
    asked = asked.astype(np.float64)
    for start in range(0, len(found), _BLOCK):
        block = found[start : start + _BLOCK].astype(np.float64)
        part = slice(start, start + _BLOCK)
        if kind == 'chi_square':
            for row, query in enumerate(asked):
                squares = (query - block) ** 2 / (query + block + 1e-10)
                scores[row, part] = -0.5 * squares.sum(axis=1)
        elif kind == 'euclidean':
            squares = (asked**2).sum(1)[:, None] + (block**2).sum(1)
            scores[:, part] = -np.maximum(squares - 2 * asked @ block.T, 0)
        else:
            lengths = np.linalg.norm(asked, axis=1)[:, None]
            lengths = lengths * np.linalg.norm(block, axis=1)
            product = asked @ block.T
            # A feature of length 0 points nowhere: NaN comes last.
            scores[:, part] = np.divide(
                product, lengths, out=np.full_like(product, np.nan), where=lengths > 0
            )
    return scores


def _rank(
    scores: NDArray[np.float32],
    relevant: Relevance,
    own: Relevance,
    rows: NDArray[np.int64],
    setting: Setting,
    spots: Sequence[Spots],
) -> Judged:
    relevant = relevant & ~own
    order = np.argsort(-np.where(own, np.nan, scores), axis=1, kind='stable')
    items = scores.shape[1] - own.sum(axis=1)
    deep = max(setting.k, default=1)
    top = order[:, :deep]
    there = np.arange(top.shape[1]) < items[:, None]
    ranking = Ranking(
        np.take_along_axis(relevant, order, axis=1),
        relevant.sum(axis=1),
        items,
        {} if setting.sets is None else _sets(setting.sets, rows, own, top, there),
    )
    near = np.zeros(scores.shape[1], bool) if setting.near is None else setting.near
    return Judged(
        measure(ranking, setting.metrics, setting.k),
        ranking.found > 0,
        _nearest(relevant, rows, *spots) if spots else np.full(len(rows), np.nan),
        there.sum(axis=1),
        (near[top] & there).sum(axis=1),
    )


def _sets(
    sets: LabelSets,
    rows: NDArray[np.int64],
    own: Relevance,
    top: NDArray[np.int64],
    there: NDArray[np.bool_],
) -> dict[str, tuple[Floats, Floats]]:
    """Compare label sets: at the first ranks, and on average over all that may be found."""
    members, others = sets.members[0][rows], sets.members[1]
    shared = members @ others.T
    sizes = np.broadcast_to(others.sum(axis=1), shared.shape)
    count = np.maximum((~own).sum(axis=1), 1)
    made = {}
    for name, values in (
        item_scores(shared, members.sum(axis=1), sizes)._asdict().items()
    ):
        values[own] = 0
        first = np.where(there, np.take_along_axis(values, top, axis=1), 0)
        made[name] = first, values.sum(axis=1) / count
    return made


def _nearest(
    relevant: Relevance, rows: NDArray[np.int64], here: Spots, there: Spots
) -> Floats:
    """Metres to the nearest relevant item: measured only where bounds leave it open."""
    least, largest = here.bounds(rows, there)
    best = np.where(relevant, largest, np.inf).min(axis=1, initial=np.inf)
    q, a = np.nonzero(relevant & (least <= best[:, None]))
    metres = np.full(len(rows), np.inf)
    for part in np.array_split(np.arange(len(q)), 1 + len(q) // 100_000):
        one, other = here.shapes[rows[q[part]]], there.shapes[a[part]]
        touch = shapely.intersects(one, other)
        apart = np.where(touch, 0, metres_between(one, other))
        np.minimum.at(metres, q[part], apart)
    return np.where(np.isfinite(metres), metres, np.nan)
