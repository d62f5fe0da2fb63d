"""How many cores decode pixels, and how much of them GDAL keeps."""

import multiprocessing
import os

import rasterio

#: Bytes of decoded blocks that GDAL may keep, for what is resampled or masked: the rest is in
#: :class:`~torchgeo_cmr.datasets.blocks.Blocks`. Bytes, because rasterio hands a small number
#: on as bytes, not as the MiB of GDAL's own setting.
_CACHE = 128 * 2**20


def cores() -> int:
    """Return how many threads may decode: a loader's worker keeps to its own core."""
    if multiprocessing.parent_process() is not None:
        return 1
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else (os.cpu_count() or 1)
    )


def environment(threads: int = 1) -> rasterio.Env:
    """Let GDAL decode the blocks of each read on some cores, while the context lasts.

    GDAL would keep decoded blocks in a twentieth of all memory; unless the environment says
    otherwise, it gets what a row of blocks of a large scene needs (GDAL asks once, at the
    first read of a process).

    Args:
        threads: Threads that decode one read. GDAL's threads do not survive a fork, and the
            first read of a child would wait for them for ever: there it must be 1.
    """
    cache = {} if 'GDAL_CACHEMAX' in os.environ else {'GDAL_CACHEMAX': _CACHE}
    return rasterio.Env(GDAL_NUM_THREADS=str(threads), **cache)
