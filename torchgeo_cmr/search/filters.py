"""Where: which rows of an archive a search may look at.

Area, dates and attributes are applied before anything is ranked. The area is brought to
the archive's CRS, never the archive to the area's. The module is long because each kind of
area has its own way to be wrong, and a sentence for it. What this does not know: predicates are
planar in longitude and latitude, so an edge between two far corners is not a geodesic.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Geod
from pyproj.exceptions import CRSError
from shapely import Geometry

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.table import EmbeddingTable, to_wgs84
from torchgeo_cmr.table.footprints import WGS84, is_wgs84, unwrap

from .expression import Expression

#: What an area may be given as.
type AreaLike = (
    Geometry | gpd.GeoDataFrame | gpd.GeoSeries | str | PathLike[str] | Sequence[float]
)
#: What a time may be given as; naive times are UTC.
type TimeLike = str | date | datetime | np.datetime64 | pd.Timestamp

#: How a footprint may lie to the area.
PREDICATES = ('intersects', 'within', 'contains', 'centroid')

_GEOD = Geod(ellps='WGS84')
_SEGMENTS = 512


@dataclass(frozen=True)
class Step:
    """What one clause of a filter did.

    Args:
        clause: The clause in words.
        before: Rows before it.
        after: Rows after it.
        seconds: Wall time.
        undated: Rows without time that the dates met (kept only with ``undated=True``).

    .. versionadded:: 0.1
    """

    clause: str
    before: int
    after: int
    seconds: float
    undated: int | None = None


@dataclass(frozen=True, eq=False)
class Where:
    """A filter: an area, a time window, a condition on attributes; all that are given hold.

    Args:
        geometry: The area: a shapely geometry (``crs`` needed); a GeoDataFrame or GeoSeries
            (its features united, its CRS used); the path of a vector file; or a box
            ``(west, south, east, north)`` in EPSG:4326 unless ``crs`` says otherwise, where
            west > east runs across the antimeridian. Invalid polygons are mended.
        crs: CRS of the geometry, anything pyproj reads; x before y.
        predicate: ``'intersects'``: the footprint shares a point with the area. ``'within'``:
            it lies inside. ``'contains'``: the area lies inside it. ``'centroid'``: its
            centre lies in the area.
        during: ``(start, end)``, either may be None. A row matches if its ``time_start`` is
            before end and its ``time_end`` at or after start; a missing end stands for the
            start and the other way round.
        where: Condition on columns, such as ``'cloud < 10 and source == "x"'``.
        undated: Let rows without time pass ``during``.

    Raises:
        QueryError: If the area, the dates or the condition cannot be understood.

    .. versionadded:: 0.1
    """

    geometry: AreaLike | None = None
    crs: Any = None
    predicate: str = field(default='intersects', kw_only=True)
    during: tuple[TimeLike | None, TimeLike | None] | None = field(
        default=None, kw_only=True
    )
    where: str | None = field(default=None, kw_only=True)
    undated: bool = field(default=False, kw_only=True)
    #: The area in EPSG:4326, cut at the antimeridian; None without one.
    area: Geometry | None = field(init=False, repr=False, default=None)
    _window: tuple[pd.Timestamp | None, pd.Timestamp | None] | None = field(
        init=False, repr=False, default=None
    )
    _expression: Expression | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        """Understand every clause now, so that mistakes show before the archive is read."""
        if self.predicate not in PREDICATES:
            raise QueryError(
                f'predicate {self.predicate!r} is not known; use one of {", ".join(PREDICATES)}'
            )
        if self.geometry is None and self.crs is not None:
            raise QueryError(
                'a CRS was given without an area; give the geometry it belongs to'
            )
        made = {
            'area': None if self.geometry is None else _area(self.geometry, self.crs),
            '_window': None if self.during is None else _window(self.during),
            '_expression': None if self.where is None else Expression(self.where),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def rows(
        self, table: EmbeddingTable, query: EmbeddingTable | None = None
    ) -> NDArray[np.int64]:
        """Give the rows of a table that match.

        Args:
            table: The archive.
            query: One row that query-relative clauses refer to; there are none yet.

        Returns:
            Sorted row numbers (m,), each once.

        Raises:
            QueryError: If the condition names a column that is not there.
        """
        return self.narrow(table)[0]

    def narrow(
        self, table: EmbeddingTable
    ) -> tuple[NDArray[np.int64], tuple[Step, ...]]:
        """Give the rows that match, and what each clause did, cheapest clause first.

        Args:
            table: The archive.

        Returns:
            Sorted row numbers (m,) and one :class:`Step` for each clause.

        Raises:
            QueryError: If the condition names a column that is not there.
        """
        rows = np.arange(len(table), dtype=np.int64)
        steps: list[Step] = []
        for clause, apply in (
            (f'where {self.where}', self._by_attributes),
            ('during', self._by_time),
            (f'area, {self.predicate}', self._by_area),
        ):
            begin = time.perf_counter()
            kept = apply(table, rows)
            if kept is not None:
                mask, undated = kept
                spent = time.perf_counter() - begin
                steps.append(Step(clause, len(rows), int(mask.sum()), spent, undated))
                rows = rows[mask]
        return rows, tuple(steps)

    def check(self, table: EmbeddingTable) -> None:
        """Refuse an area that touches no footprint of the archive.

        A search with such an area is valid and gives no rows; call this where a person
        should hear about it.

        Args:
            table: The archive.

        Raises:
            QueryError: If nothing of the archive touches the area; the message says where
                the archive lies and how far away the nearest footprint is. If no row of the
                archive has a place.
        """
        if self.area is None:
            return
        if not len(table):
            raise QueryError('the archive is empty; embed some scenes first')
        if not table.placed.any():
            raise no_place(table)
        shapes = table.frame.geometry.to_numpy()
        candidates = _near(table.boxes, np.arange(len(table)), self.area)
        shapely.prepare(self.area)
        if shapely.intersects(self.area, shapes[candidates]).any():
            return
        west, south = np.nanmin(table.boxes[:, :2], axis=0)
        east, north = np.nanmax(table.boxes[:, 2:], axis=0)
        raise QueryError(
            f'the area touches no footprint: the archive lies within longitude {west:.4f} to '
            f'{east:.4f}, latitude {south:.4f} to {north:.4f}, and its nearest footprint is '
            f'{distance(shapes, self.area) / 1000:,.1f} km from the area; choose an area inside'
        )

    def _by_attributes(
        self, table: EmbeddingTable, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], None] | None:
        if self._expression is None:
            return None
        return self._expression.mask(table.frame)[rows], None

    def _by_time(
        self, table: EmbeddingTable, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], int] | None:
        if self._window is None:
            return None
        start, end = self._window
        first = table.frame['time_start'].iloc[rows]
        last = table.frame['time_end'].iloc[rows]
        first, last = first.fillna(last), last.fillna(first)
        undated = first.isna().to_numpy()
        mask = ~undated
        if end is not None:
            mask &= (first < end).to_numpy()
        if start is not None:
            mask &= (last >= start).to_numpy()
        return mask | undated if self.undated else mask, int(undated.sum())

    def _by_area(
        self, table: EmbeddingTable, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], None] | None:
        if self.area is None:
            return None
        if len(table) and not table.placed.any():
            raise no_place(table)
        mask = np.zeros(len(rows), dtype=bool)
        candidates = _near(table.boxes, rows, self.area)
        shapes = table.frame.geometry.to_numpy()[rows[candidates]]
        # Prepared once, the area is tested against many footprints in one call.
        shapely.prepare(self.area)
        if self.predicate == 'within':
            hit = shapely.contains(self.area, shapes)
        elif self.predicate == 'contains':
            hit = shapely.contains(shapes, self.area)
        elif self.predicate == 'centroid':
            hit = shapely.intersects(self.area, _centroids(shapes))
        else:
            hit = shapely.intersects(self.area, shapes)
        mask[candidates[hit]] = True
        return mask, None


def no_place(table: EmbeddingTable) -> QueryError:
    """Say that an archive cannot be searched by place.

    Args:
        table: An archive of sound, or of images that nobody georeferenced.
    """
    return QueryError(
        f'none of the {len(table)} rows of the archive has a place, so it cannot be searched '
        'by area or position: leave that out'
    )


def _near(
    boxes: NDArray[np.float64], rows: NDArray[np.int64], area: Geometry
) -> NDArray[np.int64]:
    """Give positions in ``rows`` whose box meets the box of a part of the area."""
    parts = shapely.get_parts(area)
    # Two parts either side of 180 must not become one box round the world.
    bounds = shapely.bounds(parts if len(parts) <= 16 else np.array([area])).reshape(
        -1, 4
    )
    own = boxes[rows]
    near = np.zeros(len(rows), dtype=bool)
    for west, south, east, north in bounds:
        near |= (
            (own[:, 0] <= east)
            & (own[:, 2] >= west)
            & (own[:, 1] <= north)
            & (own[:, 3] >= south)
        )
    return np.flatnonzero(near)


def _centroids(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give centroids; those of footprints cut at 180 are taken side by side, not at 0."""
    centres = shapely.centroid(shapes)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    for i in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        centres[i] = to_wgs84([unwrap(shapes[i]).centroid], WGS84)[0]
    return centres


def distance(shapes: NDArray[np.object_], area: Geometry) -> float:
    """Give metres along the ellipsoid between an area and the nearest of many footprints."""
    tree = shapely.STRtree(shapes)
    best = np.inf
    # The nearest footprint may lie on the other side of 180.
    for turn in (-360.0, 0.0, 360.0):
        moved = shapely.transform(area, lambda c, turn=turn: c + np.array([turn, 0]))
        nearest = shapes[tree.nearest(moved)]
        (lon1, lat1), (lon2, lat2) = shapely.get_coordinates(
            shapely.shortest_line(moved, nearest)
        )
        best = min(best, _GEOD.inv(lon1, lat1, lon2, lat2)[2])
    return best


def _area(given: AreaLike, crs: Any) -> Geometry:
    """Bring an area of any kind to one valid geometry in EPSG:4326."""
    shape, own, name = _read(given)
    stated = None if crs is None else _crs(crs)
    if (
        own is not None
        and stated is not None
        and not own.equals(stated, ignore_axis_order=True)
    ):
        raise QueryError(
            f'{name} is in {own.to_string()[:60]} but crs={stated.to_string()[:60]} was given; leave crs out'
        )
    known = own or stated
    if isinstance(shape, tuple):
        known = known or WGS84
        shape = _box(shape, known)
    if shape is None or shapely.is_missing(shape) or shape.is_empty:
        raise QueryError(f'{name} is empty; give an area that covers some ground')
    if known is None:
        raise QueryError(
            f"{name} has no CRS; say which one it is in, for example crs='EPSG:4326'"
        )
    shape = shapely.force_2d(shape)
    if not np.isfinite(shapely.get_coordinates(shape)).all():
        raise QueryError(f'{name} has coordinates that are not finite numbers; mend it')
    if not shape.is_valid:
        shape = shapely.make_valid(shape)
    west, south, east, north = shape.bounds
    if is_wgs84(known):
        if south < -90 or north > 90 or west < -540 or east > 540:
            raise QueryError(
                f'{name} reaches from {west:.6g}, {south:.6g} to {east:.6g}, {north:.6g}, which are no '
                'longitudes and latitudes; give the CRS these coordinates are in'
            )
        if west >= -180 and east <= 180:
            return shape
    longest = max(east - west, north - south) / _SEGMENTS
    if longest > 0:
        shape = shapely.segmentize(shape, longest)
    moved = to_wgs84([shape], known)[0]
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise QueryError(
            f'{name} cannot be expressed in EPSG:4326 from {known.to_string()[:60]}; check its CRS'
        )
    return moved if moved.is_valid else shapely.make_valid(moved)


def _read(given: AreaLike) -> tuple[Any, CRS | None, str]:
    """Give a geometry or a box, the CRS it brings, and what to call it."""
    if isinstance(given, Geometry):
        return given, None, 'the area'
    if isinstance(given, str | PathLike):
        return _read_file(Path(fspath(given)))
    if isinstance(given, gpd.GeoDataFrame | gpd.GeoSeries):
        frame = given.geometry
        return frame.union_all() if len(frame) else None, frame.crs, 'the area'
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise QueryError(
            f'{given!r:.80} is no area; give a shapely geometry with crs, a GeoDataFrame, the path '
            'of a vector file, or a box (west, south, east, north)'
        )
    return tuple(numbers.tolist()), None, 'the box'


def _read_file(path: Path) -> tuple[Any, CRS | None, str]:
    if not path.exists():
        raise QueryError(f'the area file {path} is not there; check its name')
    try:
        parquet = path.suffix.lower() in ('.parquet', '.geoparquet')
        frame = gpd.read_parquet(path) if parquet else gpd.read_file(path)
    except Exception as error:  # pyogrio, pyarrow and GDAL raise kinds of their own
        raise QueryError(
            f'the area file {path} cannot be read as a vector file ({error})'
        ) from error
    if not isinstance(frame, gpd.GeoDataFrame) or not frame.geometry.notna().any():
        raise QueryError(
            f'the area file {path} has no features with a geometry; draw an area first'
        )
    return frame.geometry.union_all(), frame.crs, f'the area file {path}'


def _crs(crs: Any) -> CRS:
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        raise QueryError(f"{crs!r} is no CRS; write it like 'EPSG:32632'") from error


def _box(numbers: tuple[float, ...], crs: CRS) -> Geometry:
    west, south, east, north = numbers
    if south > north:
        raise QueryError(
            f'the box has south {south} above north {north}; give west, south, east, north'
        )
    if west <= east:
        return shapely.box(west, south, east, north)
    if not is_wgs84(crs):
        raise QueryError(
            f'the box has west {west} beyond east {east}; only boxes in EPSG:4326 may cross the antimeridian'
        )
    return shapely.union_all(
        [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    )


def _window(
    during: tuple[TimeLike | None, TimeLike | None],
) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    if isinstance(during, str) or not isinstance(during, Sequence) or len(during) != 2:
        raise QueryError(
            f'during is {during!r:.80}; give a pair (start, end), either may be None'
        )
    start, end = (_time(value) for value in during)
    if start is None and end is None:
        raise QueryError(
            'during=(None, None) limits nothing; give a start or an end, or leave it out'
        )
    if start is not None and end is not None and start > end:
        raise QueryError(
            f'the time window starts at {start} after it ends at {end}; swap the two'
        )
    return start, end


def _time(value: TimeLike | None) -> pd.Timestamp | None:
    if value is None:
        return None
    try:
        if not isinstance(value, str | date | np.datetime64):
            raise TypeError(f'a {type(value).__name__}')
        moment = pd.Timestamp(value)
        if not isinstance(moment, pd.Timestamp):
            raise TypeError('not a time')
    except (TypeError, ValueError) as error:
        raise QueryError(
            f"{value!r} is no time; write it like '2024-06-01' or '2024-06-01T10:30Z'"
        ) from error
    return _utc(moment)


def _utc(moment: pd.Timestamp) -> pd.Timestamp:
    """Read a naive time as UTC."""
    zoned = (
        moment.tz_localize('UTC') if moment.tzinfo is None else moment.tz_convert('UTC')
    )
    assert isinstance(zoned, pd.Timestamp)  # only NaT becomes NaT
    return zoned
