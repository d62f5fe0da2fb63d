"""Open files: a thread borrows a handle and gives it back."""

from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable
from contextlib import contextmanager
from threading import Lock
from typing import Any

#: Handles that wait open: scenes come in thousands, and a process may open about as many files.
_OPEN = 256


class Handles:
    """Keeps files open between reads; those used longest ago are closed.

    A handle is never with two threads at once, for they would move each other's place in the
    file. Of the handles of one file the one given back last is lent first: it has the blocks
    that were decoded last.

    Args:
        limit: Handles that wait open at most.
    """

    def __init__(self, limit: int = _OPEN) -> None:
        """Initialize a new Handles instance."""
        self.limit = limit
        self._waiting: OrderedDict[Hashable, list[Any]] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def borrow(self, key: Hashable, open_file: Callable[[], Any]) -> Generator[Any]:
        """Lend a handle for the time of a context.

        Args:
            key: What the handle is of.
            open_file: Opens another one if none is waiting.

        Yields:
            The handle.
        """
        with self._lock:
            waiting = self._waiting.get(key)
            handle = waiting.pop() if waiting else None
        handle = handle or open_file()
        try:
            yield handle
        finally:
            self._give_back(key, handle)

    def _give_back(self, key: Hashable, handle: Any) -> None:
        with self._lock:
            self._waiting.setdefault(key, []).append(handle)
            self._waiting.move_to_end(key)
            old = []
            while sum(map(len, self._waiting.values())) > self.limit:
                _, handles = self._waiting.popitem(last=False)
                old += handles
        for other in old:
            other.close()
