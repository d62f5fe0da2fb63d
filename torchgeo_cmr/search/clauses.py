"""The clauses of a filter: each takes rows and gives back those that it lets pass.

A clause sees the archive as columns (:class:`~torchgeo_cmr.search.columns.Columns`) and
asks for footprints only where boxes leave a doubt, so that an index of a million rows never
makes a million geometry objects. ``rows`` is None while every row is still in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable

from .columns import Columns, check_placed
from .curve import together
from .during import Spans, in_months, in_window, spans, within_days
from .expression import Expression
from .predicates import lies, near_boxes, overlap
from .reach import bounds, likely, measured

type Rows = NDArray[np.int64]
#: Columns, rows or None for all, the query or None -> rows, and how many were undated.
type Keep = Callable[
    [Columns, Rows | None, EmbeddingTable | None], tuple[Rows, int | None]
]

_FEW = 16
_MANY = 2_000


@dataclass(frozen=True)
class Clause:
    """One condition of a filter.

    Args:
        words: The condition in words.
        keep: What does it.
        relative: Whether it refers to the query.
        early: Whether it is worth asking first where rows are many, since it leaves most of
            them out without looking at them.

    .. versionadded:: 0.1
    """

    words: str
    keep: Keep
    relative: bool = False
    early: bool = False


def by_attributes(text: str) -> Clause:
    """Keep rows whose columns meet a condition.

    .. versionadded:: 0.1
    """
    expression = Expression(text)

    def keep(
        columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        none = columns.attributes(np.empty(0, dtype=np.int64))
        if not expression.names <= set(none.columns):
            expression.mask(none)  # says which column is not there
        return _narrowed(
            rows, expression.mask(columns.attributes(rows, sorted(expression.names)))
        ), None

    return Clause(f'where {text}', keep)


def by_time(
    words: str, test: Callable[[Spans], NDArray[np.bool_]], *, undated: bool
) -> Clause:
    """Keep rows whose dates pass a test; rows without any, if ``undated``.

    .. versionadded:: 0.1
    """

    def keep(
        columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, int]:
        return _dated(columns, rows, test, undated=undated)

    return Clause(words, keep)


def by_window(
    window: tuple[np.datetime64 | None, np.datetime64 | None], *, undated: bool
) -> Clause:
    """Keep rows of a time window.

    .. versionadded:: 0.1
    """
    return by_time('during', lambda times: in_window(times, window), undated=undated)


def by_months(months: tuple[int, ...], *, undated: bool) -> Clause:
    """Keep rows of some months of any year.

    .. versionadded:: 0.1
    """
    words = f'months {", ".join(map(str, months))}'
    return by_time(words, lambda times: in_months(times, months), undated=undated)


def by_days(days: float, *, undated: bool) -> Clause:
    """Keep rows taken at most some days from the query.

    .. versionadded:: 0.1
    """

    def keep(
        columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, int]:
        one = _one(query, f'days={days:g}')
        own = spans(*(_moment(one, name) for name in ('time_start', 'time_end')))
        if own.undated[0]:
            raise QueryError(
                f'query {one.frame["patch_id"].iloc[0]!r} has no date, so days={days:g} cannot be '
                'counted from it; leave days out or ask with dated patches'
            )
        return _dated(
            columns, rows, lambda times: within_days(times, own, days), undated=undated
        )

    return Clause(f'within {days:g} days of the query', keep, relative=True)


def by_area(area: Geometry, predicate: str, min_overlap: float | None) -> Clause:
    """Keep rows that lie to an area as asked.

    .. versionadded:: 0.1
    """
    share = '' if min_overlap is None else f', at least {min_overlap:g} of a footprint'

    def test(shapes: NDArray[np.object_]) -> NDArray[np.bool_]:
        hit = lies(shapes, area, predicate)
        if min_overlap is not None:
            hit[hit] = overlap(shapes[hit], area) >= min_overlap
        return hit

    def keep(
        columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        if len(columns):
            check_placed(columns)
        # Few rows are tested sooner than an area is covered.
        cover = columns.cover(area) if rows is None or len(rows) > _MANY else None
        if cover is None:
            boxes = columns.boxes if rows is None else columns.boxes[rows]
            mask = near_boxes(boxes, area)
            doubt = np.flatnonzero(mask)
            own = doubt if rows is None else rows[doubt]
            mask[doubt] = test(columns.footprints(own))
            return _narrowed(rows, mask), None
        sure, doubt = cover.inside, cover.border
        if predicate == 'contains':
            sure, doubt = sure[:0], np.union1d(sure, doubt)
        found = together([sure, doubt[test(columns.footprints(doubt))]], len(columns))
        if rows is None:
            return found, None
        mask = np.zeros(len(columns), dtype=bool)
        mask[found] = True
        return rows[mask[rows]], None

    return Clause(f'area, {predicate}{share}', keep, early=True)


def by_distance(place: Geometry, metres: float) -> Clause:
    """Keep rows at most some metres from a place.

    .. versionadded:: 0.1
    """

    def keep(
        columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        return _narrowed(rows, _within(columns, rows, place, metres)), None

    return Clause(f'within {metres:g} m', keep)


def beyond_query(metres: float) -> Clause:
    """Keep rows more than some metres from the query's own footprint.

    .. versionadded:: 0.1
    """

    def keep(
        columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        one = _one(query, f'beyond={metres:g}')
        own = one.frame.geometry.iloc[0]
        if own is None:
            raise QueryError(
                f'query {one.frame["patch_id"].iloc[0]!r} has no place, so beyond={metres:g} '
                'cannot be counted from it; leave beyond out'
            )
        return _narrowed(rows, ~_within(columns, rows, own, metres)), None

    return Clause(f'beyond {metres:g} m of the query', keep, relative=True)


def _narrowed(rows: Rows | None, mask: NDArray[np.bool_]) -> Rows:
    return np.flatnonzero(mask) if rows is None else rows[mask]


def _dated(
    columns: Columns,
    rows: Rows | None,
    test: Callable[[Spans], NDArray[np.bool_]],
    *,
    undated: bool,
) -> tuple[Rows, int]:
    start, end = columns.times
    times = spans(start, end) if rows is None else spans(start[rows], end[rows])
    mask = test(times)
    return _narrowed(rows, mask | times.undated if undated else mask), int(
        times.undated.sum()
    )


def _within(
    columns: Columns, rows: Rows | None, place: Geometry, metres: float
) -> NDArray[np.bool_]:
    """Say which rows are at most some metres from a place, part by part."""
    parts = shapely.get_parts(place)
    boxes = columns.boxes if rows is None else columns.boxes[rows]
    near = np.zeros(len(boxes), dtype=bool)
    for part in parts if len(parts) <= _FEW else [place]:
        some = np.flatnonzero(likely(boxes, part, metres) & ~near)
        least, most = bounds(boxes[some], part)
        near[some[most <= metres]] = True
        doubt = some[(least <= metres) & (most > metres)]
        shapes = columns.footprints(doubt if rows is None else rows[doubt])
        near[doubt[measured(shapes, part) <= metres]] = True
    return near


def _one(query: EmbeddingTable | None, clause: str) -> EmbeddingTable:
    """Give the one query that a clause refers to."""
    if query is None:
        raise QueryError(
            f'{clause} is counted from the query, and there is none with a place and a date; '
            'ask with a table, not with bare vectors'
        )
    if len(query) != 1:
        raise QueryError(
            f'{clause} is counted from one query and {len(query)} were given; ask for the rows '
            'of each by itself'
        )
    return query


def _moment(query: EmbeddingTable, name: str) -> NDArray[np.datetime64]:
    moment = query.frame[name].dt.tz_convert('UTC').dt.tz_localize(None)
    return moment.to_numpy(dtype='datetime64[us]')
