"""What readers that belong together keep: open files, decoded blocks, threads that decode."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torchgeo_cmr.datasets.blocks import Blocks
from torchgeo_cmr.datasets.cores import cores, environment
from torchgeo_cmr.datasets.handles import Handles
from torchgeo_cmr.datasets.spare import Spare


class Kept:
    """Open files, decoded blocks and threads, shared by the readers of a dataset.

    Left behind when it is pickled or its process forks: two processes that read through one
    handle would move each other's place in the file, and threads do not survive a fork.
    """

    def __init__(self) -> None:
        """Initialize a new Kept instance."""
        self.spare = Spare()
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._handles, self._blocks = Handles(), Blocks()
        self._threads = ThreadPoolExecutor(
            cores(), thread_name_prefix='torchgeo_cmr-decode', initializer=_settle
        )

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

    @property
    def threads(self) -> ThreadPoolExecutor:
        """Threads of this process, one a core."""
        return self._here()._threads

    def _here(self) -> 'Kept':
        if self._process != os.getpid():
            self._begin()
        return self


def _settle() -> None:
    """Set GDAL up once in a thread: doing so for each block costs as much as a small one."""
    environment().__enter__()
