"""A segment: rows that came into an index together, from a table or from a folder.

An index is a list of segments. Rows have two numbers: the *position* at which a segment
keeps them (along its curve, if it was built), which everything inside uses, and the *number*
they had in the archive, which all other modules use. Deleted rows stay where they are and
are excluded from every selection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from geopandas.array import from_shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import arrow_check
from torchgeo_cmr.search.rank import pruning
from torchgeo_cmr.search.rank.exact import Looks, above, top_k
from torchgeo_cmr.search.rank.hidden_rows import HiddenRows
from torchgeo_cmr.search.rank.vectors import Vectors, as_vectors, encode, with_codes
from torchgeo_cmr.search.where.border import Border
from torchgeo_cmr.search.where.columns import (
    Columns,
    StoredColumns,
    TableColumns,
    footprints_of,
)
from torchgeo_cmr.search.where.curve import hilbert_order
from torchgeo_cmr.search.where.where import Step, Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.footprints import WGS84, to_wkb
from torchgeo_cmr.table.kinds import Kind, kinds_of
from torchgeo_cmr.table.provenance import Content, row_digests
from torchgeo_cmr.table.schema import in_arrow, set_types
from torchgeo_cmr.table.whole_numbers import in_pandas

#: Rows whose vectors are read together.
_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class Segment:
    """Some rows of an index.

    Args:
        columns: What filters read, by position.
        vectors: What is scored, by position.
        numbers: Number in the archive of each position (n,), counted from the segment's
            first row; None if they are the same.
        ties: Alphabetical rank of the ``patch_id`` at each position (n,); None to sort them
            when equal scores first need it.
        dead: Sorted positions of deleted rows.
        digests: A digest of the row at each position (n, 16); None to compute them when
            they are needed.
        known: Identity of the living rows, if known.
    """

    columns: TableColumns | StoredColumns
    vectors: Vectors
    numbers: NDArray[np.int64] | None = None
    ties: NDArray[np.int64] | None = None
    dead: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    digests: NDArray[np.uint8] | None = None
    known: Content | None = None

    def __len__(self) -> int:
        """Give the number of rows, deleted ones too."""
        return len(self.vectors)

    @cached_property
    def _every(self) -> NDArray[np.int64]:
        """Give all positions: counting to a million takes longer than an approximate answer."""
        every = np.arange(len(self), dtype=np.int64)
        every.flags.writeable = False
        return every

    @cached_property
    def _alive(self) -> NDArray[np.bool_]:
        alive = np.ones(len(self), dtype=bool)
        alive[self.dead] = False
        return alive

    @cached_property
    def _positions(self) -> NDArray[np.int64]:
        """Give the position of each number."""
        assert self.numbers is not None
        positions = np.full(len(self), -1, dtype=np.int64)
        check_rows(self.numbers, len(self), 'numbers')
        positions[self.numbers] = np.arange(len(self))
        if len(self) and positions.min() < 0:
            raise ArchiveError(
                'row numbers of the index occur twice: its files were damaged; build it again'
            )
        return positions

    @cached_property
    def _ranks(self) -> NDArray[np.int64]:
        if self.ties is not None:
            return self.ties
        return alphabetical(self._names(None))

    @cached_property
    def content(self) -> Content:
        """What the living rows are, in the order of their numbers."""
        if self.known is not None:
            return self.known
        order = self.to_positions(np.arange(len(self), dtype=np.int64))
        order = order[self._alive[order]]
        if self.digests is not None:
            return Content.of(self.digests[order])
        if isinstance(self.columns, TableColumns):
            table = self.columns.table
            return Content.of(table.digests[order]) if len(self.dead) else table.content
        return Content.of(self.computed[order])

    @property
    def computed(self) -> NDArray[np.uint8]:
        """Digests of the rows at each position (n, 16), from ids and vectors."""
        made = np.empty((len(self), 16), dtype=np.uint8)
        for begin in range(0, len(self), _BLOCK):
            block = self._every[begin : begin + _BLOCK]
            made[block] = row_digests(
                self.ids(block).tolist(), self.vectors.whole[block]
            )
        return made

    def without(self, gone: NDArray[np.int64]) -> 'Segment':
        """Give the segment with more rows deleted, by position."""
        if not len(gone):
            return self
        return replace(self, dead=np.union1d(self.dead, gone), known=None)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """What the columns hold, without the geometry."""
        if isinstance(self.columns, StoredColumns):
            return kinds_of(self.columns.arrow)
        return kinds_of(self.columns.table.frame)

    @cached_property
    def placed(self) -> bool:
        """Whether a living row has a place."""
        if not len(self.dead):
            return self.columns.placed
        return bool(np.isfinite(self.columns.boxes[self.living(), 0]).any())

    def living(self, positions: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Leave deleted rows out of sorted positions, or out of all."""
        if positions is None:
            positions = self._every
        return positions[self._alive[positions]] if len(self.dead) else positions

    def ranks(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the alphabetical ranks of some rows among all of the segment."""
        return self._ranks[positions]

    def to_numbers(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the archive's numbers of some positions."""
        if self.numbers is None:
            return positions
        return check_rows(self.numbers[positions], len(self), 'numbers')

    def to_positions(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the positions of some of the archive's numbers."""
        return numbers if self.numbers is None else self._positions[numbers]

    def ids(self, positions: NDArray[np.int64] | None = None) -> NDArray[np.object_]:
        """Give the ``patch_id`` of some rows or of all."""
        return np.asarray(self._names(positions).to_pylist(), dtype=object)

    def named(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Give the sorted positions of living rows with one of some ids."""
        names = self._names(None)
        wanted = pa.array(ids, type=names.type)
        # pyarrow makes its functions when it is imported, where no type checker sees them.
        found = pc.is_in(names, value_set=wanted)  # ty: ignore[missing-attribute]
        return self.living(np.flatnonzero(found.to_numpy(zero_copy_only=False)))

    def modalities(self) -> NDArray[np.object_]:
        """Give the modality of each row, None where it is null."""
        if isinstance(self.columns, StoredColumns):
            names = self.columns.whole('modality')
            return np.asarray(names.to_pylist(), dtype=object)
        names = self.columns.table.frame['modality']
        return names.astype(object).where(names.notna(), None).to_numpy()

    def frame(self, positions: NDArray[np.int64]) -> pd.DataFrame:
        """Give the columns of some rows, in the given order, footprints in ``geometry``."""
        if isinstance(self.columns, TableColumns):
            frame = self.columns.table.frame.iloc[positions].reset_index(drop=True)
            return pd.DataFrame(frame)
        return to_frame(arrow_check.take(self.columns.arrow, positions))

    def narrow(
        self,
        where: Where,
        columns: Columns,
        query: EmbeddingTable | None,
        borders: list[Border] | None = None,
    ) -> tuple[NDArray[np.int64], tuple[Step, ...]]:
        """Give the living positions that match a filter, and what each clause did.

        Args:
            where: The filter.
            columns: The rows as the filter of the whole index reads them.
            query: One row that clauses may refer to.
            borders: Takes what was not tested, as :meth:`Where.narrow`.
        """
        living = self.living() if len(self.dead) else None
        return where.narrow(columns, query, living, borders)

    def best(
        self,
        chosen: NDArray[np.int64],
        queries: NDArray[Any],
        k: int,
        *,
        spare: int | None = None,
        withheld: HiddenRows | None = None,
        looks: Looks | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the k best of some positions for each query, as :func:`top_k`."""
        return top_k(
            self.vectors,
            chosen,
            queries,
            k,
            ties=self.ranks,
            spare=spare,
            withheld=withheld,
            looks=looks,
        )

    def reaching(
        self,
        chosen: NDArray[np.int64],
        queries: NDArray[Any],
        least: float,
        *,
        withheld: HiddenRows | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Find all of some positions that score at least so much, as :func:`above`."""
        return above(
            self.vectors, chosen, queries, least, ties=self.ranks, withheld=withheld
        )

    def _names(self, positions: NDArray[np.int64] | None) -> pa.Array:
        if isinstance(self.columns, StoredColumns):
            if positions is None:
                return self.columns.whole('patch_id').combine_chunks()
            ids = self.columns.arrow.select(['patch_id'])
            return arrow_check.take(ids, positions).column(0).combine_chunks()
        names = self.columns.table.frame['patch_id']
        names = names if positions is None else names.iloc[positions]
        return pa.array(names.tolist(), type=pa.string())


def check_rows(rows: NDArray[np.int64], size: int, what: str) -> NDArray[np.int64]:
    """Give row numbers from a file if they are in a segment of so many rows.

    Raises:
        ArchiveError: If one is not.
    """
    if rows.size and not (rows.min() >= 0 and rows.max() < size):
        raise ArchiveError(
            f'the {what} of the index are not below {size}: its files were damaged; build it again'
        )
    return rows


def from_table(table: EmbeddingTable) -> Segment:
    """Take a table as it is: nothing is copied, rows keep their order."""
    return Segment(TableColumns(table, curve=True), as_vectors(table.vectors))


def build(table: EmbeddingTable, kind: str, *, codes: bool = True) -> Segment:
    """Put a table in the order of its curve, in memory.

    Args:
        table: The rows.
        kind: How vectors are kept, one of :data:`~torchgeo_cmr.search.rank.vectors.KINDS`.
        codes: Give float32 vectors codes that an exact scan reads first, if they are enough for that.
    """
    numbers = hilbert_order(table.boxes)
    whole = table.vectors[numbers]
    # Packed codes are what they are, whatever floats would be kept as.
    kept = as_vectors(whole)
    if kind != kept.kind and not (kept.packed and kind == 'float32'):
        kept = Vectors(whole, kind, *encode(whole, kind))
    elif codes and kind == 'float32' and pruning.is_enough(*whole.shape):
        kept = with_codes(kept)
    # Geometries as they lie in memory, and then in the order: that is twice as fast.
    attributes = to_arrow(table.frame).take(pa.array(numbers)).combine_chunks()
    names = attributes.column('patch_id').combine_chunks()
    return Segment(
        StoredColumns(table.boxes[numbers], attributes),
        kept,
        numbers,
        alphabetical(names),
        digests=table.digests[numbers],
        known=table.content,
    )


def alphabetical(names: pa.Array) -> NDArray[np.int64]:
    """Give the rank of each of some different names."""
    ranks = np.empty(len(names), dtype=np.int64)
    order = pc.sort_indices(names)  # ty: ignore[missing-attribute]
    ranks[order.to_numpy()] = np.arange(len(names))
    return ranks


def to_arrow(frame: gpd.GeoDataFrame) -> pa.Table:
    """Give the columns of a frame with footprints as WKB.

    Raises:
        ArchiveError: If a column has no Arrow type.
    """
    # Long offsets are what pandas reads without a copy.
    table = in_arrow(frame, pa.large_string())
    wkb = to_wkb(frame.geometry.to_numpy())
    return table.append_column('geometry', wkb)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Give the columns that :func:`to_arrow` was given, with the types of a table.

    Making a GeoDataFrame takes as long as a third of all that a search of ten hits does with
    columns, so that is left to whoever hands one out.
    """
    plain = in_pandas(table.drop_columns(['geometry']))
    set_types(plain)
    shapes = footprints_of(table.column('geometry'))
    plain['geometry'] = from_shapely(shapes, crs=WGS84)
    return plain
