"""All parts of an index as one, by the row numbers that all other modules use."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.search.where.columns import APART, Columns
from torchgeo_cmr.search.where.curve import Cover
from torchgeo_cmr.table.kinds import filled, united

from .segment import Segment

type _Rows = NDArray[np.int64]
type _Times = tuple[NDArray[np.datetime64], NDArray[np.datetime64]]


class Numbered:
    """Columns over several segments, by row number; deleted rows are still in them.

    Args:
        parts: The segments, whose rows are numbered on.
    """

    def __init__(self, parts: Sequence[Segment]) -> None:
        """Remember the parts; nothing is read yet."""
        self._parts = parts
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        """Give the number of rows."""
        return int(self._starts[-1])

    @cached_property
    def total(self) -> int:
        """Number of rows that can be found."""
        return sum(len(part) - len(part.dead) for part in self._parts)

    @cached_property
    def members(self) -> tuple[Columns, ...]:
        """The columns of each part, by position, as a filter of all rows reads them."""
        alone = len(self._parts) == 1 and not len(self._parts[0].dead)
        if alone:
            return (self._parts[0].columns,)
        return tuple(Member(part, self) for part in self._parts)

    @cached_property
    def dtypes(self) -> dict[str, Any]:
        """Columns of any part but the geometry, with the dtypes that they have together."""
        having = [part for part in self._parts if len(part)] or self._parts[:1]
        return united([part.kinds for part in having])

    @cached_property
    def boxes(self) -> NDArray[np.float64]:
        """Bounds of the footprints (n, 4)."""
        return np.concatenate([p.columns.boxes[o] for p, o in self._ordered()])

    @cached_property
    def placed(self) -> bool:
        """Whether any row that can be found has a place."""
        return any(part.placed for part in self._parts)

    @cached_property
    def times(self) -> _Times:
        """Starts and ends (n,)."""
        both = [[t[o] for t in p.columns.times] for p, o in self._ordered()]
        start, end = (np.concatenate(t) for t in zip(*both, strict=True))
        return start, end

    def attributes(
        self, rows: _Rows | None = None, names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Give columns of some rows or of all."""
        numbers = np.arange(len(self)) if rows is None else rows
        places = list(self.places(numbers))
        frames = [self.read(part, positions, names) for part, _, positions in places]
        return _put(frames, [places_of_part for _, places_of_part, _ in places])

    def read(
        self, part: Segment, positions: _Rows | None, names: Sequence[str] | None
    ) -> pd.DataFrame:
        """Give columns of rows of a part, null where others have a column and it has none."""
        if len(self._parts) == 1:
            return part.columns.attributes(positions, names)
        wanted = [n for n in self.dtypes if n not in APART] if names is None else names
        dtypes = {name: self.dtypes[name] for name in wanted}
        if not any(name in part.kinds for name in wanted):
            count = len(part) if positions is None else len(positions)
            return filled(pd.DataFrame(index=pd.RangeIndex(count)), dtypes)
        present = [name for name in wanted if name in part.kinds]
        return filled(part.columns.attributes(positions, present), dtypes)

    def footprints(self, rows: _Rows) -> NDArray[np.object_]:
        """Make the footprints of some rows."""
        shapes = np.empty(len(rows), dtype=object)
        for part, places_of_part, positions in self.places(rows):
            shapes[places_of_part] = part.columns.footprints(positions)
        return shapes

    def cover(self, area: Geometry, few: int) -> Cover | None:
        """Cover an area in every part."""
        inside, border = [], []
        for part, start in zip(self._parts, self._starts, strict=False):
            found = part.columns.cover(area, few)
            if found is None:
                return None
            inside.append(part.to_numbers(found.inside) + start)
            border.append(part.to_numbers(found.border) + start)
        return Cover.of(
            np.sort(np.concatenate(inside)), np.sort(np.concatenate(border))
        )

    def meeting(
        self, boxes: NDArray[np.float64], most: int
    ) -> tuple[_Rows, _Rows] | None:
        """Give box and row of pairs whose boxes meet; None if a part has too many."""
        pairs = []
        for part, start in zip(self._parts, self._starts, strict=False):
            met = part.columns.meeting(boxes, most)
            if met is None:
                return None
            pairs.append((met[0], part.to_numbers(met[1]) + start))
        box, row = (np.concatenate(numbers) for numbers in zip(*pairs, strict=True))
        return box, row

    def frame(self, rows: _Rows) -> pd.DataFrame:
        """Give the columns of some rows, in the given order, footprints in ``geometry``."""
        places = list(self.places(rows))
        if len(self._parts) == 1:
            return self._parts[0].frame(places[0][2])
        frames = [
            filled(part.frame(positions), self.dtypes) for part, _, positions in places
        ]
        return _put(frames, [places_of_part for _, places_of_part, _ in places])

    def names(self) -> pa.Array:
        """Give the ``patch_id`` of every row."""
        ids = np.concatenate([part.ids(order) for part, order in self._ordered()])
        return pa.array(ids.tolist(), type=pa.large_string())

    def places(self, rows: _Rows) -> Iterator[tuple[Segment, _Rows, _Rows]]:
        """Say where rows are.

        Args:
            rows: Row numbers (m,).

        Yields:
            A part, which of the rows are in it, and their positions there. Parts without any
            are skipped, but for the first if there are no rows at all.
        """
        part = np.searchsorted(self._starts, rows, side='right') - 1
        for i in np.unique(part).tolist() if len(rows) else [0]:
            places_of_part = np.flatnonzero(part == i)
            segment = self._parts[i]
            yield (
                segment,
                places_of_part,
                segment.to_positions(rows[places_of_part] - self._starts[i]),
            )

    def leading(self, most: int) -> _Rows:
        """Give the first rows that can be found, by number, without a look at all others."""
        reach = most
        while True:
            numbers = np.arange(min(reach, len(self)), dtype=np.int64)
            alive = np.ones(len(numbers), bool)
            for part, places_of_part, positions in self.places(numbers):
                living = part.living(np.sort(positions))
                alive[places_of_part] = np.isin(positions, living)
            if alive.sum() >= most or len(numbers) < reach:
                return numbers[alive][:most]
            reach *= 8

    def _ordered(self) -> Iterator[tuple[Segment, _Rows]]:
        for part in self._parts:
            yield part, part.to_positions(np.arange(len(part), dtype=np.int64))


class Member:
    """The rows of one part, by position, with the columns and places of the whole.

    Args:
        part: The part.
        whole: All parts.
    """

    def __init__(self, part: Segment, whole: Numbered) -> None:
        """Remember both; nothing is read yet."""
        self._part, self._whole = part, whole

    def __len__(self) -> int:
        """Give the number of rows of the part."""
        return len(self._part)

    @property
    def total(self) -> int:
        """Number of rows of all parts that can be found."""
        return self._whole.total

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Bounds of the footprints (n, 4)."""
        return self._part.columns.boxes

    @property
    def placed(self) -> bool:
        """Whether any row of all parts has a place."""
        return self._whole.placed

    @property
    def times(self) -> _Times:
        """Starts and ends (n,)."""
        return self._part.columns.times

    def attributes(
        self, rows: _Rows | None = None, names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Give columns of any part."""
        return self._whole.read(self._part, rows, names)

    def footprints(self, rows: _Rows) -> NDArray[np.object_]:
        """Make the footprints of some rows."""
        return self._part.columns.footprints(rows)

    def cover(self, area: Geometry, few: int) -> Cover | None:
        """Cover an area in the part."""
        return self._part.columns.cover(area, few)

    def meeting(
        self, boxes: NDArray[np.float64], most: int
    ) -> tuple[_Rows, _Rows] | None:
        """Give box and row of pairs whose boxes meet."""
        return self._part.columns.meeting(boxes, most)


def _put(frames: Sequence[pd.DataFrame], places: list[_Rows]) -> pd.DataFrame:
    """Put rows of several frames into the given order."""
    if len(frames) == 1:
        return frames[0].reset_index(drop=True)
    together = pd.concat(frames, ignore_index=True)
    return together.iloc[np.argsort(np.concatenate(places))].reset_index(drop=True)
