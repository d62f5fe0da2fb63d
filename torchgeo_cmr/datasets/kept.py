"""What readers that belong together keep: open files, decoded blocks, memory of batches."""

import os
from typing import Any

from torchgeo_cmr.datasets.blocks import Blocks
from torchgeo_cmr.datasets.handles import Handles
from torchgeo_cmr.datasets.spare import Spare


class Kept:
    """Open files, decoded blocks and memory, shared by the readers of a dataset.

    Left behind when it is pickled or its process forks: two processes that read through one
    handle would move each other's place in the file.
    """

    def __init__(self) -> None:
        """Initialize a new Kept instance."""
        self.spare = Spare()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._handles, self._blocks = Handles(), Blocks()

    def __reduce__(self) -> tuple[Any, ...]:
        """Start empty in another process."""
        return type(self), ()

    @property
    def handles(self) -> Handles:
        """Open files of this process."""
        return self._here()._handles

    @property
    def blocks(self) -> Blocks:
        """Decoded blocks of this process."""
        return self._here()._blocks

    def _here(self) -> 'Kept':
        if self._process != os.getpid():
            self._begin()
        return self
