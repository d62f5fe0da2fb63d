"""Threads that decode pixels, one per core, and steps that run ahead of their use."""

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import lru_cache

import rasterio

from torchgeo_cmr.processors import cores

#: Bytes of decoded blocks that GDAL may keep, for what is resampled or masked: the rest is in
#: :class:`~torchgeo_cmr.reading.cache.Blocks`. Bytes, because rasterio hands a small number
#: on as bytes, not as the MiB of GDAL's own setting.
_CACHE = 128 * 2**20


def decoders() -> int:
    """Return how many threads may decode: a loader's worker keeps to its own core."""
    # A worker is torch's: where torch was never loaded there are none.
    loader = sys.modules.get('torch.utils.data')
    if loader is not None and loader.get_worker_info() is not None:
        return 1
    return cores()


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
        decoders(),
        thread_name_prefix=f'torchgeo_cmr-decode-{process}',
        initializer=_settle,
    )


def _settle() -> None:
    """Set GDAL up once in a thread: doing so for each block costs as much as a small one."""
    environment().__enter__()


def environment() -> rasterio.Env:
    """Limit what GDAL keeps and the threads it starts, while the context lasts.

    Threads of GDAL would not survive a fork, and ours are enough. Decoded blocks would be
    kept in a twentieth of all memory; unless the environment sets another size, they get what a
    row of blocks of a large scene needs (GDAL reads the setting once, at the first read of a process).
    """
    limit = {} if 'GDAL_CACHEMAX' in os.environ else {'GDAL_CACHEMAX': _CACHE}
    return rasterio.Env(GDAL_NUM_THREADS='1', **limit)


def ahead[T](steps: Iterator[T], pool: Executor) -> Iterator[T]:
    """Start now, and stay one step ahead of the consumer.

    Args:
        steps: What to go through; each step runs in *pool*, one after the other.
        pool: Threads.

    Returns:
        The same steps. What a step raises is raised where its result is used.
    """

    def step() -> tuple[T] | None:
        for value in steps:
            return (value,)
        return None

    def asked(coming: Future[tuple[T] | None]) -> Iterator[T]:
        while (found := coming.result()) is not None:
            coming = pool.submit(step)
            yield found[0]

    return asked(pool.submit(step))


def some_early[T](steps: Iterable[T], sizes: Iterable[int], room: int) -> Iterator[T]:
    """Take steps before those before them are given, as many as there is room for.

    Args:
        steps: What to go through; taking a step starts something.
        sizes: Size of each step.
        room: Sum of the sizes of steps that are taken and not given; one is taken in any case.

    Yields:
        The same steps.
    """
    waiting: deque[tuple[T, int]] = deque()
    coming, taken = iter(zip(steps, sizes, strict=True)), 0
    for step, size in coming:
        waiting.append((step, size))
        taken += size
        while waiting and taken >= room:
            first, size = waiting.popleft()
            taken -= size
            yield first
    for first, _ in waiting:
        yield first


def one_early[T](steps: Iterable[T]) -> Iterator[T]:
    """Take each step before the one before it is given: for steps that start something.

    Args:
        steps: What to go through.

    Yields:
        The same steps.
    """
    waiting: list[T] = []
    for step in steps:
        yield from waiting
        waiting = [step]
    yield from waiting
