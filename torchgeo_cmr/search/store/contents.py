"""The contents of an index: rows by their number, and facts about all of them."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search.where.columns import TableColumns
from torchgeo_cmr.search.where.where import Where
from torchgeo_cmr.table import EmbeddingTable

from .engine import select
from .row_numbers import Numbered
from .snapshot import State

type _Rows = NDArray[np.int64]


class IndexContents:
    """Rows of an archive by number, as a state of an index has them.

    Args:
        state: The state.
    """

    def __init__(self, state: State) -> None:
        """Remember the state."""
        self._state = state

    def __len__(self) -> int:
        """Give the number of rows that can be found."""
        return sum(len(part) - len(part.dead) for part in self._state.parts)

    @property
    def dim(self) -> int:
        """Numbers in a vector, or bits in a code."""
        return int(self._state.facts['dim'])

    @property
    def spaces(self) -> tuple[str, ...]:
        """Fingerprints of the weights that made the vectors."""
        return tuple(self._state.facts['spaces'])

    @property
    def metric(self) -> str:
        """What vectors are compared by: ``'cosine'`` or ``'hamming'``."""
        return str(self._state.facts['metric'])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the ids and vectors of the rows that can be found, in their order.

        That of a table of these rows; of an index on disk it is known and not computed.
        """
        return self._state.content.fingerprint(self.dim, self.metric)

    @property
    def record(self) -> dict[str, Any]:
        """How the archive was made, and where its scenes are."""
        return dict(self._state.facts['record'])

    @property
    def columns(self) -> Numbered:
        """What a filter reads, by row number; deleted rows are still in it."""
        return self._state.columns

    @property
    def ties(self) -> _Rows:
        """Alphabetical rank of each row's ``patch_id``, by row number."""
        return self._state.ties

    @property
    def table(self) -> EmbeddingTable:
        """All rows that can be found, as a table; an index on disk is read for it."""
        state = self._state
        part = state.parts[0]
        alone = len(state.parts) == 1 and not len(part.dead)
        if alone and isinstance(part.columns, TableColumns):
            return part.columns.table
        return taken(state, self.rows())

    def rows(
        self, where: Where | None = None, query: EmbeddingTable | None = None
    ) -> _Rows:
        """Give the numbers of rows that can be found.

        Args:
            where: Which rows; all without it.
            query: One row that clauses of the filter may refer to.

        Returns:
            Sorted row numbers (m,).

        Raises:
            QueryError: As :meth:`Where.rows`.
        """
        state = self._state
        selection, _ = select(state, where, query)
        numbers = [
            part.to_numbers(chosen) + start
            for part, chosen, start in zip(
                state.parts, selection, state.starts, strict=False
            )
        ]
        return np.sort(np.concatenate(numbers))

    def vectors(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Give the vectors of some rows (m, dim), in the given order.

        Args:
            rows: Row numbers.

        Raises:
            ArchiveError: If a row is not there.
        """
        return _vectors(self._state, _there(self._state, rows))

    def select(self, rows: ArrayLike) -> EmbeddingTable:
        """Give some rows as a table, in the given order.

        Args:
            rows: Row numbers, each once.

        Raises:
            ArchiveError: If a row is selected twice (``patch_id`` stays unique), is not there or
                was deleted.
        """
        state = self._state
        numbers = _there(state, rows)
        if len(np.unique(numbers)) != len(numbers):
            raise ArchiveError('a row is selected twice; select each row once')
        for part, places, positions in state.columns.places(numbers):
            if (gone := np.isin(positions, part.dead)).any():
                raise ArchiveError(
                    f'row {numbers[places[gone][0]]} was deleted; select rows that can be found'
                )
        return taken(state, numbers)

    def _check(self, table: EmbeddingTable, kind: type[ValueError], words: str) -> None:
        """Refuse a table of another space, metric or dimension."""
        facts = self._state.facts
        if len({*table.spaces, *self.spaces}) > 1:
            raise kind(
                f'{words} were embedded in space {_words(table.spaces)} and the archive in '
                f'{_words(self.spaces)}; embed both with one checkpoint'
            )
        if table.metric != facts['metric']:
            raise kind(
                f'{words} are compared by {table.metric} and the archive by {facts["metric"]}; '
                'embed both with one checkpoint'
            )
        if table.dim != self.dim:
            raise kind(
                f'{words} have {table.dim} numbers and the archive has {self.dim}; '
                'embed both with one checkpoint'
            )


def taken(state: State, numbers: _Rows) -> EmbeddingTable:
    """Give rows of a state as a table, also those that were deleted since it was another's."""
    vectors = _vectors(state, numbers)
    vectors.flags.writeable = False
    facts = state.facts
    frame = gpd.GeoDataFrame(frame_of(state, numbers), geometry='geometry', copy=False)
    return EmbeddingTable(frame, vectors, facts['metric'], facts['record'])


def frame_of(state: State, numbers: _Rows) -> pd.DataFrame:
    """Give the columns of different rows of a state, footprints in ``geometry``.

    Raises:
        ArchiveError: If two of them have one name, since the indexes share a row.
    """
    frame = state.columns.frame(numbers)
    twice = frame['patch_id'].duplicated() if len(state.parts) > 1 else None
    if twice is not None and twice.any():
        raise ArchiveError(
            f'patch_id {frame["patch_id"][twice].iloc[0]!r} is in two of the indexes that are searched as '
            'one; leave one of them out'
        )
    return frame


def _vectors(state: State, numbers: _Rows) -> NDArray[np.float32]:
    whole = state.parts[0].vectors.whole
    made = np.empty((len(numbers), whole.shape[1]), dtype=whole.dtype)
    for part, places, positions in state.columns.places(numbers):
        made[places] = part.vectors.whole[positions]
    return made


def _there(state: State, rows: ArrayLike) -> _Rows:
    """Give row numbers of an index, which are those of rows that are or were there."""
    numbers = np.asarray(rows)
    if numbers.dtype == bool or (numbers.size and numbers.dtype.kind not in 'iu'):
        raise ArchiveError(
            f'rows have the type {numbers.dtype}; give row numbers, as rank and rows do'
        )
    numbers = numbers.astype(np.int64).reshape(-1)
    last = int(state.starts[-1]) - 1
    wrong = numbers[(numbers < 0) | (numbers > last)]
    if len(wrong):
        raise ArchiveError(
            f'there is no row {wrong[0]}: row numbers go from 0 to {last}; select only those'
        )
    return numbers


def _words(spaces: tuple[str, ...]) -> str:
    return ' and '.join(spaces) or 'none'
