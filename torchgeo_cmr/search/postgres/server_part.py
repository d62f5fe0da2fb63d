"""The rows of an archive in PostgreSQL as the search engine takes them.

Filter first: what a filter leaves is known before anything is ranked. Then the database ranks
exactly among these rows and proposes the best, with all that its last bits cannot rule out; their
vectors are read, and scores, ties and what is withheld are decided as for an archive in memory. No
order by distance that an approximate index could answer is used for that: behind a filter such an
index gives too few rows, or none, without a word.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.search.rank.exact import Looks, above, top_k
from torchgeo_cmr.search.rank.hidden_rows import HiddenRows, Windows
from torchgeo_cmr.search.store.segment import Segment, alphabetical, to_frame
from torchgeo_cmr.search.where.border import Border
from torchgeo_cmr.search.where.clauses import InArea
from torchgeo_cmr.search.where.columns import Columns, check_placed
from torchgeo_cmr.search.where.where import Step, Where
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.kinds import Kind, kinds_of

from .server_columns import ServerColumns, located
from .sieve import sieve_of

type _Rows = NDArray[np.int64]

#: Rows whose vectors are read without asking for the best first.
_FEW = 256
#: Queries from which on vectors are read once for all of them, of chosen rows and of all: the
#: database hands a vector out in the time in which it finds three rows, or computes ten distances
#: (``tests/benchmarks/scale.py database``). Rows that are read together.
_MANY = {False: 4, True: 16}
_BLOCK = 16_384
#: Rows proposed beyond those requested, before all within rounding are fetched.
_SPARE = 64
#: By how much half precision may change a score once a vector is brought to length 1 again.
_HALF = 2.0**-9
#: A sum with 0 is not what an approximate index orders by, so none is used.
_DISTANCE = '((v::vector <#> %s::vector) + 0)'


class ServerMatrix:
    """Vectors (n, dim), of which those that are used are read.

    Args:
        columns: The rows.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, columns: ServerColumns) -> None:
        """Remember where to read."""
        self._columns = columns
        self.shape = len(columns), columns.entry.dim

    def __len__(self) -> int:
        """Give the number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        """Read some rows."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        return self._columns.vectors(np.asarray(rows, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class ServerPart(Segment):
    """All rows of an archive; those that were deleted have numbers too."""

    @property
    def server(self) -> ServerColumns:
        """What reads the rows."""
        assert isinstance(self.columns, ServerColumns)
        return self.columns

    @property
    def kinds(self) -> dict[str, Kind]:
        """What the columns hold."""
        blank = self.server.entry.columns
        return kinds_of(blank.append_column('geometry', pa.array([], pa.binary())))

    @property
    def placed(self) -> bool:
        """Whether a row has a place."""
        return self.server.placed

    def living(self, positions: _Rows | None = None) -> _Rows:
        """Leave deleted rows out of sorted positions, or out of all."""
        every = self.server.living
        return every if positions is None else positions[np.isin(positions, every)]

    def ranks(self, positions: _Rows) -> _Rows:
        """Give the alphabetical ranks of some rows among themselves."""
        return alphabetical(self._names(positions))

    def named(self, ids: Any) -> _Rows:
        """Give the sorted positions of rows with one of some ids."""
        statement = 'SELECT row_number FROM {patch} WHERE patch_id = ANY(%s::text[])'
        found = self.server.run(statement, [list(ids)]).fetchall()
        return np.sort(np.array(found, dtype=np.int64).reshape(-1))

    def modalities(self) -> NDArray[np.object_]:
        """Give the modality of each row, None where it is null."""
        every = np.arange(len(self), dtype=np.int64)
        names = self.server.arrow(every, ['modality']).column('modality')
        return np.asarray(names.to_pylist(), dtype=object)

    def frame(self, positions: _Rows) -> pd.DataFrame:
        """Give the columns of some rows, in the given order, footprints in ``geometry``."""
        columns = self.server
        names = columns.entry.columns.column_names
        return to_frame(columns.arrow(positions, names, shapes=True))

    def narrow(
        self,
        where: Where,
        columns: Columns,
        query: EmbeddingTable | None,
        borders: list[Border] | None = None,
    ) -> tuple[_Rows, tuple[Step, ...]]:
        """Give the rows that match: the database leaves out what it can, the filter judges the rest.

        Nothing is left untested in *borders*, for each test would be a question to the database.
        """
        server, begin = self.server, time.perf_counter()
        sieve = sieve_of(where)
        if sieve is None:
            return where.narrow(columns, query, self.living())
        if server.total and _is_placed(where):
            check_placed(columns)
        rows = server.sieved(sieve)
        if not sieve.complete:
            step = _step('left by the database', server, rows, begin)
            chosen, steps = where.narrow(columns, query, rows)
            return chosen, (step, *steps)
        undated = None
        if sieve.undated is not None:
            start, end = (times[rows] for times in server.times)
            dateless = np.isnat(start) & np.isnat(end)
            undated = int(dateless.sum())
            rows = rows if sieve.undated else rows[~dateless]
        return rows, (_step(where.words, server, rows, begin, undated),)

    def best(
        self,
        chosen: _Rows,
        queries: NDArray[Any],
        k: int,
        *,
        spare: int | None = None,
        withheld: HiddenRows | None = None,
        looks: Looks | None = None,
    ) -> tuple[_Rows, NDArray[np.float32]]:
        """Find the k best of some rows, as :func:`top_k`."""
        most = k if withheld is None else k + withheld.most(chosen, len(queries))
        rows = self._proposed(chosen, queries, min(most, len(chosen)))
        found, scores = top_k(
            self.vectors.whole[rows],
            np.arange(len(rows)),
            queries,
            k,
            ties=lambda places: self.ranks(rows[places]),
            withheld=None if withheld is None else _among(withheld, rows),
            looks=looks,
        )
        return rows[found], scores

    def reaching(
        self,
        chosen: _Rows,
        queries: NDArray[Any],
        least: float,
        *,
        withheld: HiddenRows | None = None,
    ) -> tuple[_Rows, _Rows, NDArray[np.float32]]:
        """Find all of some rows that score at least so much, as :func:`above`."""
        bound = self._slack - float(np.float32(least))
        found = [self._within(chosen, query, bound) for query in queries]
        rows = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
        owner, place, score = above(
            self.vectors.whole[rows],
            np.arange(len(rows)),
            queries,
            least,
            ties=lambda places: self.ranks(rows[places]),
            withheld=None if withheld is None else _among(withheld, rows),
        )
        return owner, rows[place], score

    @property
    def _slack(self) -> float:
        """By how much a score of the database may be off, on both sides of a comparison."""
        entry = self.server.entry
        return 2 * ((entry.dim + 2) * 2.0**-24 + (_HALF if entry.half else 0.0))

    def _proposed(self, chosen: _Rows, queries: NDArray[Any], most: int) -> _Rows:
        """Give rows among which the best of every query are, ties included."""
        if len(chosen) <= max(_FEW, 2 * most):
            return chosen
        if len(queries) >= _MANY[len(chosen) == self.server.total]:
            return self._scanned(chosen, queries, most)
        found = []
        for query in queries:
            text = literal(query)
            rows = self._ordered(chosen, text, most + _SPARE)
            edge = rows[most - 1][1] + self._slack
            if rows[-1][1] <= edge:
                found.append(self._within(chosen, query, edge))
            else:
                found.append(np.array([r for r, d in rows if d <= edge], np.int64))
        return np.unique(np.concatenate([np.empty(0, np.int64), *found]))

    def _scanned(self, chosen: _Rows, queries: NDArray[Any], most: int) -> _Rows:
        """Give the best of every query, from vectors that are read once for all, block by block."""
        found = [np.empty(0, np.int64)]
        for start in range(0, len(chosen), _BLOCK):
            block = chosen[start : start + _BLOCK]
            places, _ = top_k(
                self.vectors.whole[block],
                np.arange(len(block)),
                queries,
                most,
                ties=lambda places, block=block: self.ranks(block[places]),
            )
            found.append(block[np.unique(places)])
        return np.concatenate(found)

    def _ordered(self, chosen: _Rows, query: str, most: int) -> list[Any]:
        source, values = self._source(chosen, query)
        statement = f'{source} ORDER BY distance LIMIT %s'
        return self.server.run(statement, [*values, most]).fetchall()

    def _within(self, chosen: _Rows, query: NDArray[Any], edge: float) -> _Rows:
        source, values = self._source(chosen, literal(query))
        statement = f'SELECT row_number FROM ({source}) s WHERE distance <= %s'
        found = self.server.run(statement, [*values, edge]).fetchall()
        return np.array(found, dtype=np.int64).reshape(-1)

    def _source(self, chosen: _Rows, query: str) -> tuple[str, list[Any]]:
        """Give a statement of rows and distances, of all rows or of those chosen."""
        select = f'SELECT row_number, {_DISTANCE} AS distance FROM {{vector}}'
        if len(chosen) == self.server.total:
            return select, [query]
        return f'{select} WHERE row_number = ANY(%s::bigint[])', [
            query,
            chosen.tolist(),
        ]

    def _names(self, positions: _Rows | None) -> pa.Array:
        every = np.arange(len(self), dtype=np.int64) if positions is None else positions
        names = self.server.arrow(every, ['patch_id']).column('patch_id')
        return names.combine_chunks()


def literal(vector: NDArray[Any]) -> str:
    """Write a vector as pgvector reads it."""
    return f'[{",".join(f"{number:.9g}" for number in vector.tolist())}]'


def _among(withheld: HiddenRows, rows: _Rows) -> HiddenRows:
    """Number withheld rows as they stand among some sorted rows."""
    places, present = located(rows, withheld.row)
    windows = withheld.windows
    if windows is not None:
        windows = Windows(
            windows.start[rows], windows.end[rows], windows.first, windows.last
        )
    return HiddenRows(withheld.owner[present], places[present], windows)


def _is_placed(where: Where) -> bool:
    """Say whether a filter has an area, which rows without any place do not have."""
    parts = any(_is_placed(part) for part in where.joined[1])
    return parts or any(isinstance(clause, InArea) for clause in where._clauses)


def _step(
    words: str,
    server: ServerColumns,
    rows: _Rows,
    begin: float,
    undated: int | None = None,
) -> Step:
    spent = time.perf_counter() - begin
    return Step(words, server.total, len(rows), spent, undated)
