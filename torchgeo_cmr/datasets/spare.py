"""Memory of batches that nobody holds any more, written again by the next."""

import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Pieces of memory that wait for their next use.
_WAITING = 4


class Spare:
    """Gives arrays, and takes their memory back when the last view of them is gone.

    A batch is tens of megabytes, for which every allocation asks the system anew; emptying
    what it gives costs as much as filling it.
    """

    def __init__(self) -> None:
        """Initialize a new Spare instance."""
        self._waiting: list[NDArray[np.uint8]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        """Start empty in another process."""
        return type(self), ()

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array whose values are not set."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        fitting = [memory for memory in self._waiting if len(memory) == size]
        memory = fitting[0] if fitting else np.empty(size, np.uint8)
        self._waiting = [other for other in self._waiting if other is not memory]
        loan = _Loan(memory)
        weakref.finalize(loan, self._take, memory).atexit = False
        return np.asarray(loan).view(dtype).reshape(shape)

    def _take(self, memory: NDArray[np.uint8]) -> None:
        self._waiting = [*self._waiting, memory][-_WAITING:]


class _Loan:
    """What every array made of some memory holds on to."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self.__array_interface__ = memory.__array_interface__
        self.memory = memory
