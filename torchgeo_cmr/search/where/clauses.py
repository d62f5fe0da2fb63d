"""The clauses of a filter: each takes rows and returns those that match.

A clause sees the archive as columns (:class:`~torchgeo_cmr.search.where.columns.Columns`) and
reads footprints only where boxes leave a doubt, so that an index of a million rows never
makes a million geometry objects. ``rows`` is None while every row is still in. Clauses are
plain values: they can be compared, hashed and sent to another process.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.where.conditions.condition import Expression
from torchgeo_cmr.table import EmbeddingTable

from .area import Drawn
from .border import Border
from .cells import judged, rasters
from .columns import Columns, as_columns, check_placed
from .curve import Cover
from .near import within
from .predicates import enough, lies, near_boxes
from .times import Spans, in_months, in_window, spans, within_days

type Rows = NDArray[np.int64]

_MANY = 2_000
#: Rows up to which to look at their footprints is quicker than to draw an area, and where only
#: the best of them are looked at.
_FOOTPRINTS, _FEW = 512, 4_096


class Clause(Protocol):
    """One condition of a filter."""

    #: Whether it refers to the query.
    relative: ClassVar[bool]
    #: Whether it is worth testing first where rows are many, since it leaves most of them
    #: out without looking at them.
    early: ClassVar[bool]

    @property
    def words(self) -> str:
        """The condition in words."""
        ...

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, int | None]:
        """Give the rows that pass, and how many of those tested were undated."""
        ...


@dataclass(frozen=True)
class Condition:
    """Keep rows whose columns meet a condition."""

    expression: Expression
    relative: ClassVar[bool] = False
    early: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """The condition in words."""
        return f'where {self.expression.text}'

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        """Give the rows that pass."""
        expression = self.expression
        try:
            frame = columns.attributes(rows, sorted(expression.names))
        except KeyError:
            frame = None
        if frame is None or expression.doubtful:
            # To list or to compare with the names of all columns; seldom needed.
            every = columns.attributes(np.empty(0, dtype=np.int64))
            expression.check(every.columns)
        assert frame is not None  # else a column is missing, which was refused
        return _narrowed(rows, expression.mask(frame)), None


@dataclass(frozen=True)
class Window:
    """Keep rows of a time window; rows without time, if ``undated``."""

    start: np.datetime64 | None
    end: np.datetime64 | None
    undated: bool = False
    relative: ClassVar[bool] = False
    early: ClassVar[bool] = False
    words: ClassVar[str] = 'during'

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, int]:
        """Give the rows that pass, and how many were undated."""
        window = self.start, self.end
        return _dated(columns, rows, lambda t: in_window(t, window), self.undated)


@dataclass(frozen=True)
class Months:
    """Keep rows of some months of any year; rows without time, if ``undated``."""

    months: tuple[int, ...]
    undated: bool = False
    relative: ClassVar[bool] = False
    early: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """The condition in words."""
        return f'months {", ".join(map(str, self.months))}'

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, int]:
        """Give the rows that pass, and how many were undated."""
        return _dated(columns, rows, lambda t: in_months(t, self.months), self.undated)


@dataclass(frozen=True)
class Days:
    """Keep rows taken at most some days from the query."""

    days: float
    undated: bool = False
    relative: ClassVar[bool] = True
    early: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """The condition in words."""
        return f'within {self.days:g} days of the query'

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, int]:
        """Give the rows that pass, and how many were undated."""
        days = self.days
        single = _one(query, f'days={days:g}')
        span = spans(*as_columns(single).times)
        if span.undated[0]:
            raise QueryError(
                f'query {single.frame["patch_id"].iloc[0]!r} has no date, so days={days:g} cannot be '
                'counted from it; drop days or use dated patches as queries'
            )
        return _dated(columns, rows, lambda t: within_days(t, span, days), self.undated)


@dataclass(frozen=True)
class InArea:
    """Keep rows that stand in a relation to an area."""

    area: Geometry
    predicate: str = 'intersects'
    min_overlap: float | None = None
    #: The same area in its own CRS.
    drawn: Drawn | None = field(default=None, compare=False)
    relative: ClassVar[bool] = False
    early: ClassVar[bool] = True

    @property
    def words(self) -> str:
        """The condition in words."""
        share = self.min_overlap
        least = '' if share is None else f', at least {share:g} of a footprint'
        return f'area, {self.predicate}{least}'

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        """Give the rows that pass."""
        found, border = self.sift(columns, rows, _FOOTPRINTS)
        return border.tested(found), None

    def sift(
        self, columns: Columns, rows: Rows | None, few: int = _FEW
    ) -> tuple[Rows, Border]:
        """Give the rows that may pass, and of which of these footprints decide.

        Args:
            columns: The archive.
            rows: Rows that are still in.
            few: Rows in the box of the area up to which footprints decide on all.
        """
        if len(columns):
            check_placed(columns)

        test = partial(self._test, columns)
        # Testing a few rows is quicker than covering an area.
        many = rows is None or len(rows) > _MANY
        cover = columns.cover(self.area, few) if many else None
        if cover is None:
            cover, rows = self._flat_cover(columns, rows, few), None
        found = cover.with_border(cover.border)
        border = Border(found if self.predicate == 'contains' else cover.border, test)
        if rows is None:
            return found, border
        mask = np.zeros(len(columns), dtype=bool)
        mask[found] = True
        return rows[mask[rows]], border

    def _flat_cover(self, columns: Columns, rows: Rows | None, few: int) -> Cover:
        """Say how the boxes of rows lie to the area, box by box."""
        boxes = columns.boxes if rows is None else columns.boxes[rows]
        near = _narrowed(rows, near_boxes(boxes, self.area))
        if len(near) <= few:
            return Cover.of(near[:0], near)
        boxes = columns.boxes.take(near, axis=0)
        inside, doubt = judged(boxes, rasters(self.area, len(near)))
        return Cover.of(near[inside], near[doubt])

    def _test(self, columns: Columns, rows: Rows) -> NDArray[np.bool_]:
        """Say which rows pass, by their footprints."""
        shapes = columns.footprints(rows)
        hit = lies(shapes, self.area, self.predicate, self.drawn)
        if self.min_overlap is not None:
            hit[hit] = enough(shapes[hit], self.area, self.min_overlap, self.drawn)
        return hit


@dataclass(frozen=True)
class Near:
    """Keep rows at most some metres from a place."""

    place: Geometry
    metres: float
    relative: ClassVar[bool] = False
    early: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """The condition in words."""
        return f'within {self.metres:g} m'

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        """Give the rows that pass."""
        return _narrowed(rows, within(columns, rows, self.place, self.metres)), None


@dataclass(frozen=True)
class Beyond:
    """Keep rows more than some metres from the query's own footprint."""

    metres: float
    relative: ClassVar[bool] = True
    early: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """The condition in words."""
        return f'beyond {self.metres:g} m of the query'

    def keep(
        self, columns: Columns, rows: Rows | None, query: EmbeddingTable | None
    ) -> tuple[Rows, None]:
        """Give the rows that pass."""
        metres = self.metres
        single = _one(query, f'beyond={metres:g}')
        footprint = single.frame.geometry.iloc[0]
        if footprint is None:
            raise QueryError(
                f'query {single.frame["patch_id"].iloc[0]!r} has no place, so beyond={metres:g} '
                'cannot be counted from it; leave beyond out'
            )
        return _narrowed(rows, ~within(columns, rows, footprint, metres)), None


def _narrowed(rows: Rows | None, mask: NDArray[np.bool_]) -> Rows:
    return np.flatnonzero(mask) if rows is None else rows[mask]


def _dated(
    columns: Columns,
    rows: Rows | None,
    test: Callable[[Spans], NDArray[np.bool_]],
    undated: bool,
) -> tuple[Rows, int]:
    start, end = columns.times
    times = spans(start, end) if rows is None else spans(start[rows], end[rows])
    mask = test(times)
    return _narrowed(rows, mask | times.undated if undated else mask), int(
        times.undated.sum()
    )


def _one(query: EmbeddingTable | None, clause: str) -> EmbeddingTable:
    """Give the one query that a clause refers to."""
    if query is None:
        raise QueryError(
            f'{clause} is counted from the query, and there is none with a place and a date; '
            'use a table as queries, not bare vectors'
        )
    if len(query) != 1:
        raise QueryError(
            f'{clause} is counted from one query and {len(query)} were given; search for the rows '
            'of each one separately'
        )
    return query
