"""How far a score may be from the one that decides."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Margin:
    """What each score of a scan may be off by, up or down.

    Args:
        off: For each query, whatever the row (num_queries,).
        norm: What ``lost`` of a row is multiplied by for each query (num_queries,).
        lost: For each row of the archive (n,); None for nothing.
        highest: The highest score there is, for each query: what is above counts as this.
    """

    off: NDArray[np.float32]
    norm: NDArray[np.float32] | None = None
    lost: NDArray[np.float32] | None = None
    highest: NDArray[np.float32] | None = None

    @classmethod
    def even(cls, num_queries: int, slack: float) -> Self:
        """Let scores count as equal that differ by no more than so much."""
        return cls(np.full(num_queries, slack / 2, np.float32))

    def most(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the largest margin among sorted rows for each query (num_queries,)."""
        if self.lost is None or self.norm is None:
            return self.off
        first, last = int(rows[0]), int(rows[-1]) + 1
        # More than the rows themselves, in passing.
        inside = rows if last - first > 4 * len(rows) else slice(first, last)
        largest = self.lost[inside].max()
        # What is damaged rules nothing out.
        return self.off + self.norm * (
            largest if largest < np.inf else np.float32(np.inf)
        )

    def mean(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the mean margin among rows for each query (num_queries,)."""
        if self.lost is None or self.norm is None:
            return self.off
        return self.off + self.norm * self.lost[rows].mean()

    def of(self, owner: Any, row: Any) -> NDArray[np.float32]:
        """Give the margins of queries and rows, which are broadcast."""
        if self.lost is None or self.norm is None:
            return self.off[owner]
        return self.off[owner] + self.norm[owner] * self.lost[row]

    def capped(self, least: NDArray[np.float32], queries: Any) -> NDArray[np.float32]:
        """Give scores of some queries that are no higher than the highest."""
        if self.highest is None:
            return least
        return np.minimum(least, self.highest[queries])
