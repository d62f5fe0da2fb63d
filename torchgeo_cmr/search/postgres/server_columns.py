"""The rows of an archive in PostgreSQL as a filter reads them: only those that it asks for."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from shapely import Geometry

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search.where.columns import APART, footprints_of
from torchgeo_cmr.search.where.curve import Cover
from torchgeo_cmr.table.whole_numbers import in_pandas

from .archive_tables import Entry
from .binary_rows import unpacked_numbers, unpacked_vectors
from .connection import driver
from .sieve import Sieve
from .sql_types import from_sql, sql_name, sql_type

type _Rows = NDArray[np.int64]

_NEVER = np.iinfo(np.int64).min
#: Box and times of a row as numbers without nulls.
_FACTS = ', '.join(
    [
        'row_number',
        *(
            f"coalesce(ST_{end}(geometry), 'NaN')"
            for end in ('XMin', 'YMin', 'XMax', 'YMax')
        ),
        *(
            f'coalesce((extract(epoch FROM {name}) * 1000000)::bigint, {_NEVER})'
            for name in ('time_start', 'time_end')
        ),
    ]
)
_KINDS = 'iffffii'


class Asked:
    """Values of rows, each read when it is used; of all rows if it is used as an array.

    Args:
        size: Number of rows.
        read: Gives the values of some rows.
    """

    def __init__(self, size: int, read: Callable[[_Rows], NDArray[Any]]) -> None:
        """Remember how to read."""
        self._size, self._read = size, read

    def __len__(self) -> int:
        """Give the number of rows."""
        return self._size

    def __getitem__(self, key: Any) -> Any:
        """Read some rows; anything else than row numbers is applied to all."""
        if isinstance(key, np.ndarray) and key.dtype.kind in 'iu':
            return self._read(key)
        return self._all[key]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Read all rows."""
        return np.asarray(self._all, dtype)

    @cached_property
    def _all(self) -> NDArray[Any]:
        return self._read(np.arange(self._size, dtype=np.int64))


class ServerColumns:
    """The patches of an archive, by row number.

    Args:
        server: Connection.
        entry: The archive.
        size: One more than the largest row number.
        living: Sorted numbers of the rows that are there.
    """

    def __init__(self, server: Any, entry: Entry, size: int, living: _Rows) -> None:
        """Remember where to read; nothing is read yet."""
        self._server, self.entry, self.living = server, entry, living
        self._size = size
        self._facts: list[NDArray[Any]] | None = None
        #: Bounds (n, 4), read when they are used.
        self.boxes: Any = Asked(size, self._boxes)
        #: Starts and ends (n,), read when they are used.
        self.times: Any = tuple(
            Asked(size, lambda rows, i=i: self._moments(rows, i)) for i in (5, 6)
        )

    def __len__(self) -> int:
        """Give the number of rows, those that were deleted too."""
        return self._size

    @property
    def total(self) -> int:
        """Number of rows that are there."""
        return len(self.living)

    @cached_property
    def placed(self) -> bool:
        """Whether any row has a place."""
        statement = 'SELECT EXISTS (SELECT 1 FROM {patch} WHERE geometry IS NOT NULL)'
        return bool(self._run(statement).fetchone()[0])

    def attributes(
        self, rows: _Rows | None = None, names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Read columns with the types they have in a table."""
        known = [n for n in self.entry.columns.column_names if n not in APART]
        rows = np.arange(self._size, dtype=np.int64) if rows is None else rows
        return in_pandas(self.arrow(rows, known if names is None else list(names)))

    def arrow(
        self, rows: _Rows, names: Sequence[str], *, shapes: bool = False
    ) -> pa.Table:
        """Read columns of some rows, in their order, with ``geometry`` as WKB if wanted.

        Raises:
            KeyError: If the archive has no such column.
        """
        sql = driver().sql
        blank = self.entry.columns
        stored = [n for n in names if sql_type(blank.schema.field(n).type)]
        fields = [sql.Identifier(sql_name(n)) for n in stored]
        fields += [sql.SQL('ST_AsBinary(geometry)')] if shapes else []
        values: dict[int, list[Any]] = {}
        if len(rows):
            among, numbers = self._among(rows)
            found = self._run(
                f'SELECT row_number, {{fields}} FROM {{patch}}{among}',
                numbers,
                fields=sql.SQL(', ').join([*fields, sql.SQL('NULL')]),
            )
            values = {number: rest for number, *rest in found}
        gone: list[Any] = [None] * (len(fields) + 1)
        ordered = [values.get(number, gone) for number in rows.tolist()]
        made = {}
        for name in names:
            kind = blank.schema.field(name).type
            i = stored.index(name) if name in stored else -1
            words = None
            if pa.types.is_dictionary(kind):
                words = blank.column(name).chunk(0).dictionary
            made[name] = from_sql([row[i] for row in ordered], kind, words)
        if shapes:
            wkb = [row[-2] for row in ordered]
            made['geometry'] = pa.array(wkb, pa.large_binary())
        return pa.table(made)

    def footprints(self, rows: _Rows) -> NDArray[np.object_]:
        """Make the footprints of some rows."""
        return footprints_of(self.arrow(rows, [], shapes=True).column('geometry'))

    def cover(self, area: Geometry, few: int) -> Cover | None:
        """Leave it to boxes: the database has looked already."""
        return None

    def meeting(
        self, boxes: NDArray[np.float64], most: int
    ) -> tuple[_Rows, _Rows] | None:
        """Give box and row of pairs whose boxes meet; None if they are too many."""
        found = self._run(
            'SELECT q.n - 1, row_number FROM unnest(%s::float8[], %s::float8[], %s::float8[], '
            '%s::float8[]) WITH ORDINALITY AS q(w, s, e, t, n) JOIN {patch} '
            'ON geometry && ST_MakeEnvelope(q.w, q.s, q.e, q.t, 4326) LIMIT %s',
            [*boxes.T.tolist(), min(most + 1, np.iinfo(np.int64).max)],
        ).fetchall()
        if len(found) > most:
            return None
        pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    def sieved(self, sieve: Sieve) -> _Rows:
        """Give the sorted rows that pass a sieve, and keep their boxes and times."""
        statement = (
            'COPY (SELECT {facts} FROM {patch} WHERE {sieve}) TO STDOUT (FORMAT BINARY)'
        )
        sql = driver().sql
        content = self._copy(
            statement,
            sieve.values,
            facts=sql.SQL(_FACTS),
            sieve=sql.SQL(sieve.condition),
        )
        return self._keep(content)

    def vectors(self, rows: _Rows) -> NDArray[np.float32]:
        """Read the vectors of some rows (m, dim), in their order."""
        dim = self.entry.dim
        if not len(rows):
            return np.empty((0, dim), dtype=np.float32)
        among, values = self._among(rows)
        content = self._copy(
            f'COPY (SELECT row_number, v FROM {{vector}}{among}) TO STDOUT (FORMAT BINARY)',
            values,
        )
        numbers, vectors = unpacked_vectors(content, dim, half=self.entry.half)
        order = np.argsort(numbers)
        places, present = located(numbers[order], rows)
        # Rows that were deleted have no vector, and are left out later.
        if not present[np.isin(rows, self.living)].all():
            raise ArchiveError(
                f'the archive {self.entry.name!r} of the database has rows without a vector; '
                'torchgeo-cmr check names them'
            )
        return (
            vectors[order[places]]
            if len(order)
            else np.zeros((len(rows), dim), np.float32)
        )

    def run(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement in which ``{patch}`` and ``{vector}`` stand for the tables."""
        return self._run(statement, values)

    def _run(self, statement: str, values: Sequence[Any] = (), **names: Any) -> Any:
        text = driver().sql.SQL(statement).format(**self.entry.names, **names)
        return self._server.execute(text, list(values) or None, binary=True)

    def _copy(self, statement: str, values: Sequence[Any], **names: Any) -> bytes:
        text = driver().sql.SQL(statement).format(**self.entry.names, **names)
        with self._server.cursor().copy(text, list(values) or None) as stream:
            return b''.join(bytes(piece) for piece in stream)

    def _keep(self, content: bytes) -> _Rows:
        facts = unpacked_numbers(content, _KINDS)
        order = np.argsort(facts[0])
        self._facts = [values[order] for values in facts]
        return self._facts[0]

    def _among(self, rows: _Rows) -> tuple[str, list[Any]]:
        """Give the end of a statement that reads some rows and perhaps others, and its values."""
        first, last = (int(rows.min()), int(rows.max())) if len(rows) else (0, -1)
        if last - first < 2 * len(rows):
            return ' WHERE row_number BETWEEN %s AND %s', [first, last]
        return ' WHERE row_number = ANY(%s::bigint[])', [rows.tolist()]

    def _of(self, rows: _Rows) -> tuple[list[NDArray[Any]], _Rows, NDArray[np.bool_]]:
        """Give facts of rows, where they stand in them, and which rows are there."""
        if self._facts is None or not located(self._facts[0], rows)[1].all():
            among, values = self._among(rows)
            self._keep(
                self._copy(
                    f'COPY (SELECT {{facts}} FROM {{patch}}{among}) TO STDOUT (FORMAT BINARY)',
                    values,
                    facts=driver().sql.SQL(_FACTS),
                )
            )
        assert self._facts is not None  # just kept
        return self._facts, *located(self._facts[0], rows)

    def _boxes(self, rows: _Rows) -> NDArray[np.float64]:
        facts, places, present = self._of(rows)
        made = np.full((len(rows), 4), np.nan)
        for i in range(4):
            made[present, i] = facts[1 + i][places[present]]
        return made

    def _moments(self, rows: _Rows, i: int) -> NDArray[np.datetime64]:
        facts, places, present = self._of(rows)
        made = np.full(len(rows), _NEVER)
        made[present] = facts[i][places[present]]
        return made.view('datetime64[us]')


def located(known: _Rows, rows: _Rows) -> tuple[_Rows, NDArray[np.bool_]]:
    """Give where rows stand among sorted ones, and which of them do.

    Args:
        known: Sorted row numbers (n,).
        rows: Row numbers (m,).

    Returns:
        Places (m,), of which those of absent rows mean nothing, and presence (m,).
    """
    if not len(known):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), bool)
    places = np.minimum(np.searchsorted(known, rows), len(known) - 1)
    return places, known[places] == rows
