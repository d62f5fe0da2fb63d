"""Going ahead: the next step is under way while this one is used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future


def ahead[T](steps: Iterator[T], pool: Executor) -> Iterator[T]:
    """Start now, and stay one step ahead of whoever asks.

    Args:
        steps: What to go through; each step runs in *pool*, one after the other.
        pool: Threads.

    Returns:
        The same steps. What a step raises is raised where it is asked for.
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
