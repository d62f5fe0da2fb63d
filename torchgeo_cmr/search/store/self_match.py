"""Which hits are the query's own patch.

A query is a row of the archive if a row has its ``patch_id``, its vector, and no other sensor. A
query made of examples, or of several sensors, names the patches it was made of in its column
``examples``.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from torchgeo_cmr.table import EmbeddingTable

from .snapshot import State

#: Column of a query in which it names the patches that it was made of.
EXAMPLES = 'examples'

type _Rows = NDArray[np.int64]

#: Cosine of two embeddings of one patch: the same but for the order of additions.
_SAME = 0.9999


class QueryPatches:
    """The patches of the queries, to be taken out of their own hits.

    Args:
        table: The queries.
    """

    def __init__(self, table: EmbeddingTable) -> None:
        """Read which patches each query represents."""
        frame = table.frame
        self._vectors = table.vectors
        self._names = frame['patch_id'].to_numpy(dtype=object)
        self._modality = frame['modality'].to_numpy(dtype=object)
        self._made: dict[int, frozenset[str]] = {}
        if EXAMPLES in frame:
            self._made = {
                i: frozenset(map(str, names))
                for i, names in enumerate(frame[EXAMPLES])
                if isinstance(names, list | tuple | np.ndarray)
            }
        #: The most patches that one query represents.
        self.most = max([1, *map(len, self._made.values())])

    def among(
        self,
        state: State,
        queries: _Rows,
        found: _Rows,
        scores: NDArray[np.floating] | None,
    ) -> NDArray[np.bool_]:
        """Say which hits are the query's own.

        Args:
            state: The index.
            queries: Which of the queries were searched (n,).
            found: Row numbers (n, k).
            scores: Their cosines (n, k), -inf for what is not a hit; None to look at all.
        """
        likely = np.ones(found.shape, dtype=bool)
        if scores is not None:
            made = np.isin(queries, list(self._made))
            likely = np.where(made[:, None], np.isfinite(scores), scores >= _SAME)
        same = np.zeros(found.shape, dtype=bool)
        owner, column = np.nonzero(likely)
        if len(owner):
            same[owner, column] = self._same(
                state, queries[owner], found[owner, column]
            )
        return same

    def _same(self, state: State, query: _Rows, row: _Rows) -> NDArray[np.bool_]:
        once, which = np.unique(row, return_inverse=True)
        columns = state.columns.attributes(once, ['patch_id', 'modality'])
        wanted = set(self._names[query]).union(*self._made.values())
        known = columns['patch_id'].isin(wanted).to_numpy(dtype=bool)
        names = columns['patch_id'].to_numpy(dtype=object)
        kinds = columns['modality'].to_numpy(dtype=object)
        same = np.zeros(len(row), dtype=bool)
        alone = []
        for i in np.flatnonzero(known[which]).tolist():
            place, asks = which[i], int(query[i])
            mine, its = self._modality[asks], kinds[place]
            if not (pd.isna(mine) or pd.isna(its) or mine == its):
                continue
            made = self._made.get(asks)
            if made is not None:
                same[i] = names[place] in made
            elif names[place] == self._names[asks]:
                alone.append(i)
        vectors = self._vectors[query[alone]]
        for part, places, positions in state.columns.places(row[alone]):
            found = np.array(alone, dtype=np.int64)[places]
            same[found] = _equal(vectors[places], part.vectors.whole[positions])
        return same


def _equal(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which rows of vectors are the same."""
    if left.dtype == np.uint8:
        return (left == right).all(axis=1)
    return np.vecdot(left.astype(np.float64), right.astype(np.float64)) >= _SAME
