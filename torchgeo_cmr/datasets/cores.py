"""Threads that decode pixels, one a core, and how much GDAL keeps of what they decode."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import rasterio
from torch.utils.data import get_worker_info

#: Bytes of decoded blocks that GDAL may keep, for what is resampled or masked: the rest is in
#: :class:`~torchgeo_cmr.datasets.blocks.Blocks`. Bytes, because rasterio hands a small number
#: on as bytes, not as the MiB of GDAL's own setting.
_CACHE = 128 * 2**20


def cores() -> int:
    """Return how many threads may decode: a loader's worker keeps to its own core."""
    if get_worker_info() is not None:
        return 1
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> ThreadPoolExecutor:
    """Return the threads that decode in this process, whatever reads.

    All readers share them: each thread keeps memory for what it decodes, and more threads
    than cores would only take turns.
    """
    return _threads_of(os.getpid())


@lru_cache(maxsize=1)
def _threads_of(process: int) -> ThreadPoolExecutor:
    """Start threads: those of another process did not survive the fork."""
    return ThreadPoolExecutor(
        cores(),
        thread_name_prefix=f'torchgeo_cmr-decode-{process}',
        initializer=_settle,
    )


def _settle() -> None:
    """Set GDAL up once in a thread: doing so for each block costs as much as a small one."""
    environment().__enter__()


def environment() -> rasterio.Env:
    """Limit what GDAL keeps and the threads it starts, while the context lasts.

    Threads of GDAL would not survive a fork, and ours are enough. Decoded blocks would be
    kept in a twentieth of all memory; unless the environment says otherwise, they get what a
    row of blocks of a large scene needs (GDAL asks once, at the first read of a process).
    """
    limit = {} if 'GDAL_CACHEMAX' in os.environ else {'GDAL_CACHEMAX': _CACHE}
    return rasterio.Env(GDAL_NUM_THREADS='1', **limit)
