"""Open files and decoded blocks, kept for as long as they are used."""

import os
from typing import Any

from torchgeo_cmr.datasets.blocks import Blocks
from torchgeo_cmr.datasets.recent import Recent
from torchgeo_cmr.datasets.spare import Spare

#: Files that readers which belong together keep open.
_OPEN = 256


class Kept:
    """What readers that belong together keep: open files, decoded blocks, spare memory.

    Left behind when it is pickled or its process forks: two processes that read through one
    handle would move each other's place in the file.
    """

    def __init__(self) -> None:
        """Initialize a new Kept instance."""
        self._handles: Recent[Any, Any] = Recent(_OPEN)
        self._process = os.getpid()
        self.blocks = Blocks()
        self.spare = Spare()

    def __reduce__(self) -> tuple[Any, ...]:
        """Start empty in another process."""
        return type(self), ()

    @property
    def handles(self) -> Recent[Any, Any]:
        """Open files of this process."""
        if self._process != os.getpid():
            self._handles, self._process = Recent(_OPEN), os.getpid()
        return self._handles
