"""The most recently used values, up to a number."""

from collections import OrderedDict
from collections.abc import Hashable


class Recent[K: Hashable, V]:
    """Keeps values until newer ones need their place.

    Args:
        limit: How many are kept, 1 or more.
    """

    def __init__(self, limit: int) -> None:
        """Initialize a new Recent instance."""
        self.limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        """Return how many values are kept."""
        return len(self._values)

    def get(self, key: K) -> V | None:
        """Return a value and count it as used; None if it is not kept."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> V:
        """Keep a value in place of the one used longest ago, and return it."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self.limit:
            self._values.popitem(last=False)
        return value
