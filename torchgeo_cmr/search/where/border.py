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

    def fail(self, rows: _Rows) -> NDArray[np.bool_]:
        """Say which of some sorted rows lie at the border and do not pass."""
        out = np.zeros(len(rows), dtype=bool)
        few, many = (
            (rows, self.rows) if len(rows) < len(self.rows) else (self.rows, rows)
        )
        if not len(few):
            return out
        place = np.minimum(many.searchsorted(few), len(many) - 1)
        met = np.flatnonzero(many[place] == few)
        # Which of the rows, and where they are at the border.
        which, at = (met, place[met]) if few is rows else (place[met], met)
        known = self._known[at]
        new = known == _UNKNOWN
        if new.any():
            fresh = at[new]
            known[new] = self._known[fresh] = self._test(self.rows[fresh])
        out[which] = known == _OUT
        return out

    def tested(self, rows: _Rows) -> _Rows:
        """Give some sorted rows without those that do not pass."""
        out = self.fail(rows)
        return rows[~out] if out.any() else rows
