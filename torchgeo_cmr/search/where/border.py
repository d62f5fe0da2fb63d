"""Rows at the border of an area, whose footprints are looked at only where it matters.

Most rows inside an area are known to be inside by their boxes; for those at its border the
footprint decides, which costs more than all others together. A search for the ten best needs to
know it only of the few that would be among them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

type _Rows = NDArray[np.int64]
type Test = Callable[[_Rows], NDArray[np.bool_]]

_UNKNOWN, _OUT, _IN = -1, 0, 1


class Border:
    """Rows that their footprints decide on, each of which is tested once at most.

    Args:
        rows: Sorted row numbers (m,).
        test: Says which of some rows pass.
    """

    def __init__(self, rows: _Rows, test: Test) -> None:
        """Remember the rows; nothing is tested yet."""
        self.rows = rows
        self._test = test
        self._known = np.full(len(rows), _UNKNOWN, np.int8)

    def __len__(self) -> int:
        """Give the number of rows."""
        return len(self.rows)

    def failed(self, rows: _Rows) -> _Rows:
        """Give those of some sorted rows that lie at the border and do not pass."""
        if not len(rows):
            return rows
        place = np.minimum(np.searchsorted(rows, self.rows), len(rows) - 1)
        at = np.flatnonzero(rows[place] == self.rows)
        new = at[self._known[at] == _UNKNOWN]
        if len(new):
            self._known[new] = np.where(self._test(self.rows[new]), _IN, _OUT)
        return self.rows[at[self._known[at] == _OUT]]

    def tested(self, rows: _Rows) -> _Rows:
        """Give some sorted rows without those that do not pass."""
        failed = self.failed(rows)
        return np.delete(rows, np.searchsorted(rows, failed)) if len(failed) else rows
