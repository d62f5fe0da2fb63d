"""What a query must not find: itself, its neighbourhood, its days; one short list for each."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.number_checks import is_real
from torchgeo_cmr.search.rank.hidden_rows import HiddenRows, Windows
from torchgeo_cmr.search.where.clauses import Beyond
from torchgeo_cmr.search.where.columns import as_columns
from torchgeo_cmr.search.where.nearby import Places, unique_pairs
from torchgeo_cmr.search.where.times import spans
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

from .segment import Segment
from .self_match import QueryPatches
from .snapshot import State

type _Rows = NDArray[np.int64]
#: Queries, and what each part of the index withholds from them.
type Chunk = tuple[_Rows, Sequence[HiddenRows | None]]

#: Queries whose neighbours are looked for at a time, and pairs of those and of rows.
_QUERIES = 512
_PAIRS = 1 << 21
_DAY = 86_400_000_000
_EVER = 1e7
_LAST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Exclusion:
    """What queries must not find.

    Args:
        table: The queries; None for bare vectors, which exclude nothing.
        itself: The query's own patch.
        metres: What is at most so far from the query's footprint.
        days: What was taken at most so many days before or after the query.
    """

    table: EmbeddingTable | None = None
    itself: bool = False
    metres: float | None = None
    days: float | None = None

    @property
    def own(self) -> QueryPatches | None:
        """The patches of the queries, if they must not be found."""
        return (
            QueryPatches(self.table) if self.itself and self.table is not None else None
        )

    @property
    def words(self) -> str:
        """What is withheld from each query by place and date; empty if nothing is."""
        limits = [] if self.metres is None else [f'beyond {self.metres:g} m']
        limits += [] if self.days is None else [f'more than {self.days:g} days']
        return f'{" and ".join(limits)} of the query' if limits else ''

    def chunks(self, state: State, queries: _Rows) -> Iterator[Chunk]:
        """Give queries a part at a time, with the rows hidden from them.

        Args:
            state: The index.
            queries: Which of the queries are searched (n,).

        Yields:
            Some of them, and what each part of the index withholds from them, numbered as
            they come; None where nothing is.
        """
        blocks = [
            queries[start : start + _QUERIES]
            for start in range(0, len(queries), _QUERIES)
        ]
        if self.table is None or (self.metres is None and self.days is None):
            for block in blocks:
                yield block, [None] * len(state.parts)
            return
        shapes = np.asarray(self.table.frame.geometry.to_numpy(), dtype=object)
        todo = blocks[::-1]
        while todo:
            block = todo.pop()
            pairs = self._pairs(state.parts, shapes[block])
            if pairs is None:
                half = len(block) // 2
                todo += [block[half:], block[:half]]
                continue
            yield (
                block,
                [
                    HiddenRows(*pair_rows, self._windows(part, block))
                    for part, pair_rows in zip(state.parts, pairs, strict=True)
                ],
            )

    def _pairs(
        self, parts: Sequence[Segment], shapes: NDArray[np.object_]
    ) -> list[tuple[_Rows, _Rows]] | None:
        """Give query and position of neighbours in each part; None if there are too many."""
        none = np.empty(0, dtype=np.int64)
        placed = np.flatnonzero([shape is not None for shape in shapes])
        if self.metres is None or not len(placed):
            return [(none, none)] * len(parts)
        places = Places(shapes[placed], self.metres)
        found = []
        for part in parts:
            met = part.columns.meeting(
                places.boxes, _PAIRS if len(shapes) > 1 else _LAST
            )
            if met is None:
                return None
            pairs = unique_pairs((places.owner[met[0]], met[1]))
            query_row, row = places.near(part.columns, pairs)
            found.append((placed[query_row], row))
        return found

    def _windows(self, part: Segment, queries: _Rows) -> Windows | None:
        if self.days is None:
            return None
        assert self.table is not None
        gap = round(min(self.days, _EVER) * _DAY)
        first, last = _moments(
            *(times[queries] for times in as_columns(self.table).times)
        )
        dated = first < _LAST
        return Windows(
            *_moments(*part.columns.times),
            np.where(dated, first - gap * dated, _LAST),
            np.where(dated, last + gap * dated, -_LAST),
        )


def _moments(start: NDArray[Any], end: NDArray[Any]) -> tuple[_Rows, _Rows]:
    """Give begin and end in microseconds; of what is undated, an end before its begin."""
    times = spans(start, end)
    both = times.start.astype(np.int64), times.end.astype(np.int64)
    return (
        np.where(times.undated, _LAST, both[0]),
        np.where(times.undated, -_LAST, both[1]),
    )


def read_exclusion(
    table: EmbeddingTable | None,
    where: Where | None,
    exclude: str | float | None,
    days: float | None,
) -> tuple[Where | None, Exclusion]:
    """Read what queries must not find; the filter's ``beyond`` is taken out of it for that.

    Args:
        table: The queries; None for bare vectors.
        where: The filter.
        exclude: ``'self'``, metres, or None.
        days: Days around the query's own date.

    Returns:
        What is left of the filter, and the exclusion.

    Raises:
        QueryError: If they are of another type, or counted from bare vectors.
    """
    metres = None if exclude is None or exclude == 'self' else exclude
    for name, value in (('exclude', metres), ('exclude_days', days)):
        if value is None:
            continue
        if not is_real(value) or not 0 <= value < np.inf:
            usual = "'self', None or metres, " if name == 'exclude' else ''
            raise QueryError(f'{name} is {value!r}; give {usual}a number of 0 or more')
        if table is None:
            raise QueryError(
                f'{name}={value:g} is counted from the query, and bare vectors have no place '
                'and no date; use a table as queries'
            )
    reach = [] if metres is None else [float(metres)]
    if table is not None and isinstance(where, Where):
        where, beyond = _lifted(where)
        reach += beyond
        itself = exclude is not None or bool(beyond)
    else:
        itself = exclude is not None
    return where, Exclusion(
        table,
        itself,
        max(reach) if reach else None,
        None if days is None else float(days),
    )


def _lifted(where: Where) -> tuple[Where, list[float]]:
    """Take distances from the query out of a filter, as far as all of it must hold."""
    join, parts = where.joined
    if join in ('or', 'not') or not where.relative:
        return where, []
    lifted = [_lifted(part) for part in parts]
    reach = [metres for _, distances in lifted for metres in distances]
    clauses = [clause for clause in where._clauses if isinstance(clause, Beyond)]
    left = copy.copy(where)
    changed = {
        '_clauses': tuple(c for c in where._clauses if not isinstance(c, Beyond)),
        '_parts': tuple(part for part, _ in lifted),
    }
    for name, value in changed.items():
        object.__setattr__(left, name, value)
    return left, reach + [clause.metres for clause in clauses]
