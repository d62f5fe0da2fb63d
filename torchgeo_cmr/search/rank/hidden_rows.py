"""Rows that one query must not find, though others may: hidden while scores come in blocks.

A short list of pairs of query and row, and for times a window for each query, are all that is
kept; nothing here grows with queries times rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

type _Rows = NDArray[np.int64]

_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Windows:
    """Times that are withheld from each query: what overlaps its window.

    Args:
        start: When each row began (n,), microseconds; the largest number if undated.
        end: When it ended (n,).
        first: Begin of each query's window (num_queries,), past all times if it has none.
        last: End of each query's window, included.
    """

    start: _Rows
    end: _Rows
    first: _Rows
    last: _Rows

    def meet(self, owner: Any, row: Any) -> NDArray[np.bool_]:
        """Say of queries and rows, which are broadcast, whether they overlap."""
        hit = self.start[row] <= self.last[owner]
        hit &= self.end[row] >= self.first[owner]
        return hit


@dataclass(frozen=True, eq=False)
class HiddenRows:
    """Rows hidden from some queries among the rows of one part of an index.

    Args:
        owner: Query of each pair (pairs,).
        row: Row of each pair, sorted; no pair twice.
        windows: Times that are withheld as well.
    """

    owner: _Rows
    row: _Rows
    windows: Windows | None = None

    def hide(self, rows: _Rows, scores: NDArray[np.floating]) -> None:
        """Set scores (num_queries, b) of listed rows among sorted rows (b,) to -inf."""
        part = slice(*np.searchsorted(self.row, (rows[0], rows[-1] + 1)))
        if part.start < part.stop:
            owner, row = self.owner[part], self.row[part]
            column = np.searchsorted(rows, row)
            found = rows[column] == row
            scores[owner[found], column[found]] = -np.inf

    def hide_times(self, rows: _Rows, scores: NDArray[np.floating]) -> None:
        """Set scores (num_queries, b) of rows (b,) whose times are withheld to -inf."""
        if self.windows is None:
            return
        every = np.arange(len(self.windows.first))
        hit = self.windows.meet(every[:, None], rows)
        np.copyto(scores, -np.inf, where=hit)

    def in_time(self, owner: _Rows, row: _Rows) -> NDArray[np.bool_] | None:
        """Say of a few pairs whether their times are not withheld; None if none are."""
        return None if self.windows is None else ~self.windows.meet(owner, row)

    def of(self, queries: slice) -> 'HiddenRows':
        """Give what is withheld from some queries, which are numbered from 0 again."""
        start, stop, _ = queries.indices(np.iinfo(np.int64).max)
        inside = (self.owner >= start) & (self.owner < stop)
        windows = self.windows
        if windows is not None:
            windows = Windows(
                windows.start,
                windows.end,
                windows.first[queries],
                windows.last[queries],
            )
        return HiddenRows(self.owner[inside] - start, self.row[inside], windows)

    def holds(self, found: _Rows) -> NDArray[np.bool_]:
        """Say which rows (num_queries, k) are withheld from their query."""
        owner = np.broadcast_to(np.arange(len(found))[:, None], found.shape)
        base = 1 + max(self.row.max(initial=0), found.max(initial=0))
        held = np.isin(owner * base + found, self.owner * base + self.row)
        return held if self.windows is None else held | self.windows.meet(owner, found)

    def most(self, rows: _Rows, num_queries: int) -> int:
        """Give the most rows among some that are withheld from one query; many for times."""
        if self.windows is not None:
            return len(rows)
        return int(self.counts(rows, num_queries).max(initial=0))

    def counts(self, rows: _Rows, num_queries: int) -> _Rows:
        """Count the rows among some, sorted, that are withheld from each query."""
        column = np.minimum(np.searchsorted(rows, self.row), max(len(rows) - 1, 0))
        among = rows[column] == self.row if len(rows) else np.zeros(len(column), bool)
        owner, row = self.owner[among], self.row[among]
        windows = self.windows
        if windows is None:
            return np.bincount(owner, minlength=num_queries)
        alone = ~windows.meet(owner, row)
        total = np.bincount(owner[alone], minlength=num_queries)
        for query in range(num_queries):
            for start in range(0, len(rows), _ROWS):
                hit = windows.meet(query, rows[start : start + _ROWS])
                total[query] += np.count_nonzero(hit)
        return total
