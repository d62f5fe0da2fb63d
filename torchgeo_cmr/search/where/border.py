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
        """Say which of a few rows lie at the border and do not pass.

        Args:
            rows: Row numbers of any shape and order, each as often as it comes.

        Returns:
            Mask of their shape.
        """
        if not len(self.rows):
            return np.zeros(rows.shape, dtype=bool)
        place = np.minimum(self.rows.searchsorted(rows), len(self.rows) - 1)
        met = self.rows[place] == rows
        # Quicker than NumPy for a few, each of which may come several times.
        once = np.array(sorted({*place[met].tolist()}), np.int64)
        return met & (self._learned(once, place) == _OUT)

    def tested(self, rows: _Rows) -> _Rows:
        """Give some sorted rows, each once, without those that do not pass."""
        if not len(self.rows) or not len(rows):
            return rows
        # The fewer are looked up among the many.
        if len(rows) < len(self.rows):
            place, met = _common(rows, self.rows)
        else:
            met, place = _common(self.rows, rows)
        gone = place[self._learned(met, met) == _OUT]
        return np.delete(rows, gone) if len(gone) else rows

    def _learned(self, needed: _Rows, places: _Rows) -> NDArray[np.int8]:
        """Give what is known at some places, once those that are needed, each once, were tested."""
        new = needed[self._known[needed] == _UNKNOWN]
        if len(new):
            self._known[new] = self._test(self.rows[new])
        return self._known[places]


def _common(few: _Rows, many: _Rows) -> tuple[_Rows, _Rows]:
    """Give the places, in either list, of what two sorted lists have in common."""
    place = np.minimum(many.searchsorted(few), len(many) - 1)
    met = np.flatnonzero(many[place] == few)
    return met, place[met]
