"""Where: which rows of an archive a search may look at.

Area, dates, distances and attributes are applied before anything is ranked. A filter is a
list of clauses (:mod:`~torchgeo_cmr.search.where.clauses`), all of which hold; filters are put
together with ``&``, ``|`` and ``~``. The module is long because every clause is an argument
with a sentence of its own, and its errors are worded here.
"""

import logging
import operator
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search.keywords import named
from torchgeo_cmr.search.number_checks import is_real
from torchgeo_cmr.search.where.conditions.condition import Expression
from torchgeo_cmr.table import EmbeddingTable

from .area import Drawn, read_area, read_drawn
from .border import Border
from .clauses import Beyond, Clause, Condition, Days, InArea, Months, Near, Window
from .columns import Columns, as_columns, check_placed
from .drawing import AreaLike, short
from .near import closest, turned
from .notation import notation
from .predicates import PREDICATES, near_boxes
from .region import Region
from .times import WindowLike, read_months, read_window

type _Rows = NDArray[np.int64]

_LOG = logging.getLogger(__name__)

_BLOCK = 10_000
#: Rows from which an area is tested before dates and conditions: a curve skips most of them
#: without reading their columns.
_MANY = 20_000


@dataclass(frozen=True)
class Step:
    """What one clause of a filter did.

    Args:
        clause: The clause in words.
        before: Rows before it.
        after: Rows after it.
        seconds: Wall time.
        undated: Rows without time that the dates met (kept only with ``undated=True``).
    """

    clause: str
    before: int
    after: int
    seconds: float
    undated: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Where:
    """A filter: area, dates, distance, a condition on attributes; all that are given hold.

    ``a & b`` keeps rows that both keep, ``a | b`` those that either keeps, ``~a`` all rows
    that ``a`` does not keep, those with nulls too: rows without a date match
    ``~Where(during=...)``. Filters are equal if they have the same clauses in the same order; they
    can be hashed and pickled, and are printed as they were written.

    Args:
        geometry: The area: a shapely geometry, several or WKT (``crs`` needed); a GeoDataFrame
            or GeoSeries (its features united, its CRS used), or an EmbeddingTable; GeoJSON as a mapping or text, or
            anything with ``__geo_interface__``; the path of a vector file, of which
            ``FILE|layername=NAME`` is a layer; or a box ``(west, south, east, north)`` in
            EPSG:4326 unless ``crs`` names another, where west > east runs across the
            antimeridian. Invalid polygons are repaired one by one, then united.
        crs: CRS of the geometries given, anything pyproj reads; x before y. For a file only if
            it has none.
        layer: Layer of a file that has several.
        predicate: ``'intersects'``: the footprint shares a point with the area. ``'within'``:
            it lies inside, to a centimetre. ``'contains'``: the area lies inside it, to a
            centimetre. ``'centroid'``: its centre lies in the area. For ``'within'`` and
            ``'contains'`` an area of several types is its polygons alone.
        min_overlap: Least share of the footprint's ground that the area covers, above 0 and
            at most 1; in addition to the predicate. It needs an area with an extent.
        near: ``(place, metres)``: footprints at most so far from a place, which is
            ``(lon, lat)`` in EPSG:4326 or anything an area may be, ``crs`` its CRS where it
            brings none; or ``(lon, lat, metres)``.
        beyond: Metres: only footprints farther than this from the query's own, which 0 takes
            to mean those that do not touch it.
        during: ``(start, end)`` or ``'START/END'``, either may be None or empty, or one year,
            month or day, such as ``'2024-06'``, for the whole of it. Text is ISO 8601. A row
            matches if its ``time_start`` is before end and its ``time_end`` at or after start;
            a missing end stands for the start and the other way round.
        months: Months, 1 to 12, of any year, in UTC: ``(12, 1, 2)`` for northern winters.
        days: Only rows taken at most so many days before or after the query's own date.
        where: Condition on columns, such as ``"cloud < 10 and source = 'x'"``: OGC CQL2-Text
            with SQL's habits, or the form ``'cloud < 10 and source == "x"'``.
        undated: Let rows without time pass ``during``, ``months`` and ``days``.

    Raises:
        QueryError: If a clause cannot be understood.

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
        >>> alps = Where((9.5, 45, 12, 47)) & ~Where(where="patch_id = 'c'")
        >>> alps.rows(table).tolist()
        [1]
    """

    geometry: AreaLike | None = None
    crs: Any = None
    layer: str | None = field(default=None, kw_only=True)
    predicate: str = field(default='intersects', kw_only=True)
    min_overlap: float | None = field(default=None, kw_only=True)
    near: tuple[Any, float] | None = field(default=None, kw_only=True)
    beyond: float | None = field(default=None, kw_only=True)
    during: WindowLike | None = field(default=None, kw_only=True)
    months: int | Iterable[int] | None = field(default=None, kw_only=True)
    days: float | None = field(default=None, kw_only=True)
    where: str | None = field(default=None, kw_only=True)
    undated: bool = field(default=False, kw_only=True)
    #: The area in EPSG:4326, cut at the antimeridian; None without one. Of combined filters:
    #: the intersection for ``a & b``, the difference for ``a & ~b``, the union for ``a | b``;
    #: None where they reach beyond any area, an empty geometry where none is left.
    area: Geometry | None = field(init=False, repr=False, default=None)
    _drawn: Drawn | None = field(init=False, repr=False, default=None)
    _clauses: tuple[Clause, ...] = field(init=False, repr=False, default=())
    _join: str = field(init=False, repr=False, default='')
    _parts: tuple['Where', ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        """Understand every clause now, so that mistakes show before the archive is read."""
        if self.predicate not in PREDICATES:
            raise QueryError(
                f'predicate {self.predicate!r} is not known; use one of {", ".join(PREDICATES)}'
            )
        if self.geometry is None and self.near is None and self.crs is not None:
            raise QueryError(
                'a CRS was given without an area; give the geometry it belongs to'
            )
        if self.min_overlap is not None and self.geometry is None:
            raise QueryError(
                'min_overlap was given without an area; give the geometry to overlap with'
            )
        if isinstance(self.months, Iterator):
            # It can be read once only, and not be pickled.
            object.__setattr__(self, 'months', tuple(self.months))
        if self.layer is not None and self.geometry is None:
            raise QueryError(
                f'layer={self.layer!r} was given without an area; give the file that has it'
            )
        if self.geometry is not None:
            area, drawn = read_drawn(self.geometry, self.crs, self.layer)
            object.__setattr__(self, 'area', area)
            object.__setattr__(self, '_drawn', drawn)
            if self.min_overlap is not None and not area.area > 0:
                raise QueryError(
                    f'min_overlap was given with an area of {area.geom_type}, which has no extent '
                    'and so covers no share of a footprint; give an area of polygons, or leave '
                    'min_overlap out'
                )
        object.__setattr__(self, '_clauses', tuple(self._read()))

    def _read(self) -> Iterator[Clause]:
        """Give the clauses, cheapest first."""
        late = {'undated': self.undated}
        if self.where is not None:
            yield Condition(Expression(self.where))
        if self.during is not None:
            yield Window(*read_window(self.during), **late)
        if self.months is not None:
            yield Months(read_months(self.months), **late)
        if self.days is not None:
            yield Days(_amount('days', self.days), **late)
        if self.near is not None:
            yield Near(*_near(self.near, self.crs))
        if self.area is not None:
            share = None if self.min_overlap is None else _share(self.min_overlap)
            yield InArea(self.area, self.predicate, share, self._drawn)
        if self.beyond is not None:
            yield Beyond(_amount('beyond', self.beyond))

    def __eq__(self, other: object) -> bool:
        """Compare the clauses of two filters."""
        if not isinstance(other, Where):
            return NotImplemented
        return self._asked == other._asked

    def __hash__(self) -> int:
        """Hash the clauses."""
        return hash(self._asked)

    def __repr__(self) -> str:
        """Give the filter as it was written."""
        return notation(self)

    @property
    def _asked(self) -> tuple[Any, ...]:
        return self._join, self._parts, self._clauses

    def __and__(self, other: 'Where') -> 'Where':
        """Keep rows that both keep."""
        return _joined('and', self, other)

    def __or__(self, other: 'Where') -> 'Where':
        """Keep rows that either keeps."""
        return _joined('or', self, other)

    def __bool__(self) -> bool:
        """Refuse ``and``, ``or`` and ``not``, which would drop a filter without a word.

        Raises:
            QueryError: Always.
        """
        raise QueryError(
            'a filter is neither true nor false; join filters with &, | and ~ in place of and, '
            'or and not, and test whether there is one with "is None"'
        )

    def __invert__(self) -> 'Where':
        """Keep rows that this one does not."""
        return _joined('not', self)

    @property
    def joined(self) -> tuple[str, tuple['Where', ...]]:
        """How it was combined, ``'and'``, ``'or'`` or ``'not'``, and of what; else empty."""
        return self._join, self._parts

    @property
    def relative(self) -> bool:
        """Whether rows depend on the query (``days``, ``beyond``)."""
        return any(c.relative for c in self._clauses) or any(
            part.relative for part in self._parts
        )

    @property
    def conditions(self) -> tuple[Expression, ...]:
        """All conditions on columns, also those of filters that it is combined of."""
        alone = (c.expression for c in self._clauses if isinstance(c, Condition))
        return (*(each for part in self._parts for each in part.conditions), *alone)

    @property
    def places(self) -> tuple[tuple[Geometry, float], ...]:
        """All places of ``near`` with their metres, but for those that a filter excludes."""
        alone = ((c.place, c.metres) for c in self._clauses if isinstance(c, Near))
        parts = self._parts if self._join != 'not' else ()
        return (*(each for part in parts for each in part.places), *alone)

    def rows(
        self, table: EmbeddingTable | Columns, query: EmbeddingTable | None = None
    ) -> _Rows:
        """Give the rows of a table that match.

        Args:
            table: The archive, or its columns.
            query: One row that ``days`` and ``beyond`` refer to.

        Returns:
            Sorted row numbers (m,), each once.

        Raises:
            QueryError: If the condition names a column that is not there, or the query that
                a clause refers to is missing or undated.
        """
        return self.narrow(table, query)[0]

    def narrow(
        self,
        table: EmbeddingTable | Columns,
        query: EmbeddingTable | None = None,
        rows: _Rows | None = None,
        borders: list[Border] | None = None,
    ) -> tuple[_Rows, tuple[Step, ...]]:
        """Give the rows that match, and what each clause did, in the order they were applied.

        Args:
            table: The archive, or its columns.
            query: One row that ``days`` and ``beyond`` refer to.
            rows: Sorted numbers of the rows to choose from; None for all.
            borders: Takes what was not tested: of the rows at borders of areas, those that
                fail are then among the rows given. Without it all are tested.

        Returns:
            Sorted row numbers (m,) and one :class:`Step` for each clause.

        Raises:
            QueryError: As :meth:`rows`.
        """
        columns = as_columns(table)
        many = columns.total > _MANY
        rows, steps = self._narrow(columns, rows, query, many, borders)
        if rows is None:
            rows = np.arange(len(columns), dtype=np.int64)
        for step in steps if _LOG.isEnabledFor(logging.DEBUG) else ():
            untested = f', {sum(map(len, borders))} not tested yet' if borders else ''
            left = step.after, step.before, step.seconds, untested
            _LOG.debug('%s left %d of %d rows in %.3f s%s', step.clause, *left)
        return rows, tuple(steps)

    def groups(
        self, table: EmbeddingTable | Columns, queries: EmbeddingTable | None
    ) -> Iterator[tuple[_Rows | None, _Rows]]:
        """Give the rows for each of several queries, those with equal rows together.

        Args:
            table: The archive, or its columns.
            queries: What clauses may refer to; None for bare vectors.

        Yields:
            Positions of queries (None for all of them) and their sorted row numbers.

        Raises:
            QueryError: As :meth:`rows`.
        """
        columns = as_columns(table)
        if not self.relative or queries is None:
            yield None, self.rows(columns)
            return
        equal: dict[bytes, tuple[list[int], _Rows]] = {}
        for i in range(len(queries)):
            rows = self.rows(columns, queries.select([i]))
            equal.setdefault(rows.tobytes(), ([], rows))[0].append(i)
        for positions, rows in equal.values():
            yield np.array(positions, dtype=np.int64), rows

    def check(self, table: EmbeddingTable | Columns) -> None:
        """Refuse an area that touches no footprint of the archive.

        A search with such an area is valid and gives no rows; call this where a person
        should hear about it.

        Args:
            table: The archive, or its columns.

        Raises:
            QueryError: If nothing of the archive touches the area; the message gives where
                the archive lies and how far away the nearest footprint is. If no row of the
                archive has a place.
        """
        if self._parts:
            # What a filter excludes, or offers as an alternative, need not be there.
            for part in self._parts if self._join == 'and' else ():
                part.check(table)
            if self.area is not None and self.area.is_empty:
                raise QueryError(
                    f'the areas of {self} leave no ground together; give areas that overlap'
                )
            return
        if self.area is None:
            return
        columns = as_columns(table)
        if not len(columns):
            raise QueryError('the archive is empty; embed some scenes first')
        check_placed(columns)
        cover = columns.cover(self.area, few=0)
        if cover is not None and len(cover.runs[0]):
            return
        near = (
            np.flatnonzero(near_boxes(columns.boxes, self.area))
            if cover is None
            else cover.border
        )
        shapely.prepare(self.area)
        for start in range(0, len(near), _BLOCK):
            shapes = columns.footprints(near[start : start + _BLOCK])
            if shapely.intersects(self.area, shapes).any():
                return
        west, south = np.nanmin(columns.boxes[:, :2], axis=0)
        east, north = np.nanmax(columns.boxes[:, 2:], axis=0)
        cure = (
            'longitude comes first, then latitude: swap them'
            if turned(columns.boxes, self.area)
            else 'choose an area inside'
        )
        raise QueryError(
            f'the area touches no footprint: the archive lies within longitude {west:.4f} to '
            f'{east:.4f}, latitude {south:.4f} to {north:.4f}, and its nearest footprint is '
            f'{closest(columns, None, self.area) / 1000:,.1f} km from the area; {cure}'
        )

    def _narrow(
        self,
        columns: Columns,
        rows: _Rows | None,
        query: EmbeddingTable | None,
        many: bool,
        borders: list[Border] | None = None,
    ) -> tuple[_Rows | None, list[Step]]:
        if self._join in ('or', 'not'):
            return self._combined(columns, rows, query, many)
        steps: list[Step] = []
        for part in self._parts:
            first = many and not steps
            rows, part_steps = part._narrow(columns, rows, query, first, borders)
            steps += part_steps
        clauses = self._clauses
        if many and not steps:
            clauses = sorted(clauses, key=lambda clause: not clause.early)
        for clause in clauses:
            begin = time.perf_counter()
            before = len(columns) if rows is None else len(rows)
            undated = None
            if borders is not None and isinstance(clause, InArea):
                rows, border = clause.sift(columns, rows)
                borders.append(border)
            else:
                rows, undated = clause.keep(columns, rows, query)
            spent = time.perf_counter() - begin
            steps.append(Step(clause.words, before, len(rows), spent, undated))
        return rows, steps

    def _combined(
        self,
        columns: Columns,
        rows: _Rows | None,
        query: EmbeddingTable | None,
        many: bool,
    ) -> tuple[_Rows, list[Step]]:
        """Answer ``|`` and ``~``: one step, whatever happens inside."""
        begin = time.perf_counter()
        every = np.arange(len(columns), dtype=np.int64) if rows is None else rows
        mask = np.zeros(len(columns), dtype=bool)
        undated = 0
        for part in self._parts:
            kept, steps = part._narrow(columns, rows, query, many)
            mask[every if kept is None else kept] = True
            undated += sum(step.undated or 0 for step in steps)
        found = every[~mask[every] if self._join == 'not' else mask[every]]
        spent = time.perf_counter() - begin
        return found, [Step(self.words, len(every), len(found), spent, undated)]

    @property
    def words(self) -> str:
        """The filter in words."""
        words = [clause.words for clause in self._clauses]
        parts = [part.words for part in self._parts]
        if self._join == 'not':
            return f'not ({parts[0]})'
        if self._join == 'or':
            return ' or '.join(f'({part})' for part in parts)
        return ' and '.join([*parts, *words]) or 'everything'


# Python would answer with a TypeError that does not say what to write.
Where.__init__ = named(Where.__init__)  # ty: ignore[invalid-assignment]


def _joined(join: str, *parts: Any) -> Where:
    for part in parts:
        if not isinstance(part, Where):
            raise QueryError(
                f'a filter and a {type(part).__name__} cannot be combined; give a Where(...)'
            )
    both = Where()
    for name, value in {'_join': join, '_parts': parts}.items():
        object.__setattr__(both, name, value)
    object.__setattr__(both, 'area', _region(both).inside)
    return both


def _region(where: Where) -> Region:
    """Give the ground that a filter reaches."""
    join, parts = where.joined
    if not join:
        alone = len(where._clauses) == 1 and where.min_overlap is None
        # Patches that cross into the area of another predicate may be hits of its opposite.
        pure = alone and where.predicate in ('intersects', 'centroid')
        return Region(where.area, None, pure and where.area is not None)
    if join == 'not' and parts[0].joined[0] == 'not':
        return _region(parts[0].joined[1][0])
    regions = [_region(part) for part in parts]
    if join == 'not':
        return ~regions[0]
    return reduce(operator.and_ if join == 'and' else operator.or_, regions)


def _near(near: Any, crs: Any) -> tuple[Geometry, float]:
    """Read ``(place, metres)``."""
    flat = isinstance(near, Sequence | np.ndarray) and len(near) == 3
    if flat and all(map(is_real, near)):
        near = near[:2], near[2]
    pair = isinstance(near, Sequence | np.ndarray) and not isinstance(near, str)
    if not pair or len(near) != 2 or is_real(near[0]):
        raise QueryError(
            f'near is {short(near)}; give a pair (place, metres), such as ((9.2, 45.5), 5000)'
        )
    place, metres = near
    if isinstance(place, str) and place.count(',') == 1:
        place = place.split(',')
    try:
        numbers = np.asarray(place, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape == (2,):
        lon, lat = numbers
        # Written so that NaN is refused too.
        if not (abs(lon) <= 180 and abs(lat) <= 90):
            raise QueryError(
                f'near {lon:.8g},{lat:.8g} is not a position; give longitude (-180 to 180), then '
                'latitude (-90 to 90), in degrees'
            )
        return shapely.Point(lon, lat), _amount('near', metres)
    system = None if numbers.shape == (4,) else crs
    return read_area(place, system), _amount('near', metres)


def _amount(name: str, value: Any) -> float:
    """Read a number of metres or days."""
    if not is_real(value) or not 0 <= value < np.inf:
        raise QueryError(f'{name} is {value!r:.80}; give a number of 0 or more')
    return float(value)


def _share(value: Any) -> float:
    if not is_real(value) or not 0 < value <= 1:
        raise QueryError(
            f'min_overlap is {value!r:.80}; give a share above 0 and at most 1'
        )
    return float(value)
