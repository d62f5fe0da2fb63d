"""pgvector's HNSW index: approximate, and used only where no filter left anything out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.search.rank.exact import Ties

from .server_part import ServerPart, literal

type _Rows = NDArray[np.int64]

#: Rows that a walk through the graph keeps, at least, and for each row requested.
_LEAST, _EACH = 200, 4
_MOST = 1_000


class ServerHnsw:
    """The index of an archive; it stands where :mod:`rank.approximate` has those of faiss.

    Args:
        part: The rows.
    """

    kind = 'hnsw'
    #: Not measured when the index was built.
    recall: float | None = None

    def __init__(self, part: ServerPart) -> None:
        """Remember the rows."""
        self._part = part

    def search(
        self, vectors: Any, chosen: _Rows, queries: NDArray[Any], k: int, *, ties: Ties
    ) -> tuple[_Rows, NDArray[np.float32]]:
        """Find k rows; exactly if a filter left some out, or the graph gives too few."""
        part, columns = self._part, self._part.server
        k = min(k, len(chosen))
        if len(chosen) < columns.total or k > _MOST or not k:
            return part.best(chosen, queries, k)
        effort = min(_MOST, max(_LEAST, _EACH * k))
        for name, value in (
            ('hnsw.iterative_scan', 'strict_order'),
            ('hnsw.ef_search', str(effort)),
            ('enable_seqscan', 'off'),
        ):
            columns.run('SELECT set_config(%s, %s, true)', [name, value])
        kind = 'halfvec' if columns.entry.half else 'vector'
        statement = (
            f'SELECT row_number FROM {{vector}} ORDER BY v <#> %s::{kind} LIMIT %s'
        )
        found = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        for i, query in enumerate(queries):
            rows = columns.run(statement, [literal(query), k]).fetchall()
            near = np.array(rows, dtype=np.int64).reshape(-1)
            near = np.sort(near) if len(near) == k else chosen
            row, score = part.best(near, query[None], k)
            found[i], scores[i] = row[0], score[0]
        columns.run("SELECT set_config('enable_seqscan', 'on', true)")
        return found, scores
