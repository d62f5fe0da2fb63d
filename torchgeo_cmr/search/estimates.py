"""What an archive of some size takes: bytes, time, and where each way of searching it stops.

Bytes follow from the formats. Rates were measured, by the commands that they name; how quickly
memory is read is measured on the machine at hand.
"""

import os
import time
from dataclasses import dataclass

import numpy as np

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.processors import cores

from .postgres.connection import MOST_NUMBERS

#: Bytes of a row besides its vector: columns of a patch as embed writes them, with its footprint.
_ARCHIVE_ROW = 60
_INDEX_ROW = 257
#: Bytes of a row of an index for its code: scale and length of what rounding took away.
_CODE_ROW = 8
#: Bytes of a patch with its indexes, and of a vector's row with its key and what its page leaves
#: empty, in PostgreSQL; rows a second that are built into an index, and loaded into PostgreSQL; seconds
#: in which PostgreSQL ranks a row: of all, one after the other, and of those that a filter left.
#: Measured on 2026-11-29 by ``tests/benchmarks/scale.py database --n 200000 --shares 0.01 0.1 1``, 256
#: numbers, seed 0, two busy cores.
_SERVER_ROW, _SERVER_VECTOR = 320, 170
_BUILT, _LOADED = 19_000.0, 12_500.0
_RANKED, _FOUND = 1e-6, 1.5e-5
_SAMPLE = 1 << 28


@dataclass(frozen=True)
class Way:
    """A way to keep and search an archive.

    Args:
        name: What it is.
        disk: Bytes on disk.
        memory: Bytes that an exact search without a filter reads; a machine should hold them.
        setup: Seconds to build or to load it on two cores.
        seconds: Seconds of an exact search of one query in all rows.
        filtered: The same where a filter leaves a hundredth.
        fits: Whether ``memory`` fits this machine.
    """

    name: str
    disk: float
    memory: float
    setup: float
    seconds: float
    filtered: float
    fits: bool


def capacity(
    patches: int, dim: int, *, memory: float | None = None, read: float | None = None
) -> list[Way]:
    """Say what an archive of some size takes, in each way to search it.

    Args:
        patches: Rows of the archive.
        dim: Numbers of a vector.
        memory: Bytes of memory of the machine that searches; None for that of this one.
        read: Bytes of memory that it reads a second; None to measure this one, for half a second.

    Returns:
        The archive folder, index folders and, up to the 16,000 numbers that pgvector takes, PostgreSQL,
        each as a :class:`Way`.

    Raises:
        QueryError: If there is no patch or no number.

    Examples:
        >>> [way.name for way in capacity(10**6, 256, memory=2e10, read=1e10)][:2]
        ['archive folder, loaded whole', 'index folder, float32 with codes']
    """
    if patches < 1 or dim < 1:
        raise QueryError(
            f'{patches} patches of {dim} numbers cannot be an archive; give at least one of each'
        )
    memory = _memory() if memory is None else memory
    read = _read_rate() if read is None else read
    n, whole = float(patches), 4.0 * dim
    scale = dim / 256
    build = n / _BUILT * scale
    codes = dim + _CODE_ROW
    ways = []

    def add(
        name: str, disk: float, scanned: float, setup: float, rank: float | None = None
    ) -> None:
        """Add a way whose scan reads so many bytes of a row, or takes so many seconds for it."""
        all_rows = n * scanned / read if rank is None else n * rank * scale
        # Rows that a filter leaves lie apart: their lines of memory come one by one.
        few = n / 100 * (2 * scanned / read if rank is None else _FOUND * scale)
        fits = n * scanned <= memory
        ways.append(Way(name, n * disk, n * scanned, setup, all_rows, few, fits))

    add('archive folder, loaded whole', whole + _ARCHIVE_ROW, whole, n / _BUILT)
    row = whole + _INDEX_ROW
    add('index folder, float32 with codes', row + codes, codes, build)
    add('index folder, float32 without codes', row, whole, build)
    add('index folder, binary (not exact)', row + dim / 8, dim / 8, build)
    if dim > MOST_NUMBERS:
        return ways
    server, load = _SERVER_ROW + _SERVER_VECTOR, n / _LOADED
    add('PostgreSQL', server + whole, whole, load, _RANKED)
    add('PostgreSQL, half precision', server + whole / 2, whole / 2, load, _RANKED)
    return ways


def _read_rate() -> float:
    """Measure how many bytes of memory the cores read in a second."""
    sample = np.ones(_SAMPLE // 4, dtype=np.float32)
    best = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        sample.max()
        best = min(best, time.perf_counter() - begin)
    # One core rarely reads all that memory gives; two nearly do.
    return _SAMPLE / best * min(cores(), 2)


def _memory() -> float:
    """Give the bytes of memory of this machine."""
    return float(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
