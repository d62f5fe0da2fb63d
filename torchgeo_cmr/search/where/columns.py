"""The parts of an archive that a filter reads: boxes, times, columns, and footprints of few rows.

A filter does not care whether the archive is a table in memory or an index on disk. Both
come to it as :class:`Columns`, which can say much about all rows from plain arrays and
makes geometry objects only for the rows that are needed.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search import arrow_check
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.whole_numbers import in_pandas
from torchgeo_cmr.vectors.arcs import UNREADABLE

from .curve import Cover, Curve, hilbert_order

type _Times = tuple[NDArray[np.datetime64], NDArray[np.datetime64]]
type _Rows = NDArray[np.int64]

#: Rows up to which Arrow takes longer to give them than they take one by one.
_FEW = 256
#: Columns of an index that no condition can compare; they are not read for one.
APART = ('geometry', 'native_corners')


@runtime_checkable
class Columns(Protocol):
    """Rows of an archive as a filter reads them; row i is the same row everywhere."""

    def __len__(self) -> int:
        """Give the number of rows."""
        ...

    @property
    def total(self) -> int:
        """Rows of the whole archive, of which these may be a part, without deleted ones."""
        ...

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Bounds of the footprints (n, 4) in EPSG:4326: west, south, east, north.

        NaN where a row has no place.
        """
        ...

    @property
    def placed(self) -> bool:
        """Whether any row of the whole archive has a place."""
        ...

    @property
    def times(self) -> _Times:
        """Starts and ends (n,), ``datetime64[us]`` in UTC, NaT where unknown."""
        ...

    def attributes(
        self, rows: _Rows | None = None, names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Give columns that conditions compare: those named or all, of some rows or of all."""
        ...

    def footprints(self, rows: _Rows) -> NDArray[np.object_]:
        """Make the footprints of some rows: shapely geometries in EPSG:4326."""
        ...

    def cover(self, area: Geometry, few: int) -> Cover | None:
        """Say which rows an area holds and which must be tested; None if boxes must do.

        The area is in EPSG:4326, cut at the antimeridian. All rows in its box may be left to be
        tested if they are *few* or fewer.
        """
        ...

    def meeting(
        self, boxes: NDArray[np.float64], most: int
    ) -> tuple[_Rows, _Rows] | None:
        """Give box and row of pairs whose boxes meet, in no order; None if they are too many."""
        ...


class TableColumns:
    """The rows of a table in memory.

    Args:
        table: The table; not copied.
        curve: Keep a curve through the boxes, so that many areas are covered quickly.
    """

    def __init__(self, table: EmbeddingTable, *, curve: bool = False) -> None:
        """Remember the table; nothing is computed yet."""
        self.table = table
        self._curved = curve

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.table)

    @property
    def total(self) -> int:
        """Number of rows."""
        return len(self)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Bounds of the footprints (n, 4)."""
        return self.table.boxes

    @cached_property
    def placed(self) -> bool:
        """Whether any row has a place."""
        return bool(self.table.placed.any())

    @cached_property
    def times(self) -> _Times:
        """Starts and ends (n,)."""
        frame = self.table.frame
        return _naive(frame['time_start']), _naive(frame['time_end'])

    @cached_property
    def _curve(self) -> Curve:
        return Curve(self.boxes, hilbert_order(self.boxes))

    def attributes(
        self, rows: _Rows | None = None, names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Give the frame, or some rows and columns of it."""
        frame = self.table.frame if names is None else self.table.frame[list(names)]
        return frame if rows is None else frame.iloc[rows]

    def footprints(self, rows: _Rows) -> NDArray[np.object_]:
        """Give the footprints of some rows."""
        return self.table.frame.geometry.to_numpy()[rows]

    def cover(self, area: Geometry, few: int) -> Cover | None:
        """Cover an area along the curve, if there is one."""
        return self._curve.cover(area, few) if self._curved else None

    def meeting(
        self, boxes: NDArray[np.float64], most: int
    ) -> tuple[_Rows, _Rows] | None:
        """Give box and row of pairs whose boxes meet, as :meth:`Curve.meeting`."""
        return self._curve.meeting(boxes, most)


class StoredColumns:
    """The rows of a part of an index on disk, in the order of its curve.

    Args:
        boxes: Bounds (n, 4), often memory-mapped.
        attributes: Arrow table of the columns and ``geometry`` as WKB, often memory-mapped.
    """

    def __init__(self, boxes: NDArray[np.float64], attributes: pa.Table) -> None:
        """Remember the arrays; nothing is read yet."""
        self._boxes = boxes
        self.arrow = attributes
        self._checked: set[str] = set()

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self._boxes)

    @property
    def total(self) -> int:
        """Number of rows."""
        return len(self)

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Bounds of the footprints (n, 4)."""
        return self._boxes

    @cached_property
    def placed(self) -> bool:
        """Whether any row has a place."""
        return bool(np.isfinite(self.boxes[:, 0]).any())

    @cached_property
    def times(self) -> _Times:
        """Starts and ends (n,)."""
        start, end = (
            self.whole(name).to_numpy().astype('datetime64[us]')
            for name in ('time_start', 'time_end')
        )
        return start, end

    @cached_property
    def _curve(self) -> Curve:
        return Curve(self.boxes)

    @cached_property
    def _wkb(self) -> arrow_check.Binary | None:
        column = self.arrow.column('geometry')
        alone = column.num_chunks == 1 and pa.types.is_large_binary(column.type)
        return arrow_check.Binary(column.chunk(0), 'geometry') if alone else None

    def attributes(
        self, rows: _Rows | None = None, names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Read columns with the types they have in a table."""
        known = [name for name in self.arrow.column_names if name not in APART]
        plain = self.arrow.select(known if names is None else list(names))
        if rows is not None:
            return in_pandas(arrow_check.take(plain, rows))
        for name in plain.column_names:
            self.whole(name)
        return in_pandas(plain)

    def whole(self, name: str) -> pa.ChunkedArray:
        """Give a column of all rows, checked when it is first used.

        Raises:
            ArchiveError: If it is broken.
        """
        if name not in self._checked:
            arrow_check.check(self.arrow.column(name), name)
            self._checked.add(name)
        return self.arrow.column(name)

    def footprints(self, rows: _Rows) -> NDArray[np.object_]:
        """Make the footprints of some rows from their WKB."""
        if self._wkb is not None and len(rows) <= _FEW:
            return _from_wkb(self._wkb.take(rows))
        wkb = arrow_check.take(self.arrow.select(['geometry']), rows).column(0)
        return footprints_of(wkb)

    def cover(self, area: Geometry, few: int) -> Cover:
        """Cover an area along the curve."""
        return self._curve.cover(area, few)

    def meeting(
        self, boxes: NDArray[np.float64], most: int
    ) -> tuple[_Rows, _Rows] | None:
        """Give box and row of pairs whose boxes meet, as :meth:`Curve.meeting`."""
        return self._curve.meeting(boxes, most)


def footprints_of(wkb: pa.ChunkedArray) -> NDArray[np.object_]:
    """Make footprints from WKB.

    Raises:
        ArchiveError: If one cannot be read.
    """
    return _from_wkb(wkb.to_numpy())


def _from_wkb(wkb: NDArray[np.object_]) -> NDArray[np.object_]:
    try:
        return shapely.from_wkb(wkb)
    except UNREADABLE as error:
        raise ArchiveError(
            f'a footprint of the index is broken ({error}); build the index again'
        ) from error


def as_columns(archive: EmbeddingTable | Columns) -> Columns:
    """Read a table as columns; columns stay what they are.

    Args:
        archive: A table, or columns.
    """
    return TableColumns(archive) if isinstance(archive, EmbeddingTable) else archive


def check_placed(columns: Columns) -> None:
    """Refuse to look for a place where no row has one.

    Args:
        columns: Rows of an archive, or of a part of it.

    Raises:
        QueryError: If the archive is of sound, or of images without georeference.
    """
    if columns.total and not columns.placed:
        raise QueryError(
            f'none of the {columns.total} rows of the archive has a place, so it cannot be '
            'searched by area or position: leave that out'
        )


def _naive(times: pd.Series) -> NDArray[np.datetime64]:
    plain = times.dt.tz_convert('UTC').dt.tz_localize(None)
    return plain.to_numpy(dtype='datetime64[us]')
