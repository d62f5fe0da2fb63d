"""Progress on stderr: one place decides whether a bar is drawn.

A bar is for who watches. It is drawn on a terminal and in a notebook, never into a pipe or a file,
where it would be thousands of lines; a program that reads it from a pipe says so with ``--progress``.
Work whose functions have no argument ``progress`` draws bars for commands only.
"""

import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, Protocol, Self

#: ``'asked'``: in Python, bars of calls with ``progress=True``. ``'command'``: all. ``'always'``:
#: all, also into a pipe. ``'never'``: none.
type Mode = Literal['asked', 'command', 'always', 'never']
_MODE: ContextVar[Mode] = ContextVar('progress', default='asked')
#: Seconds of a command before a bar appears: what is done by then needs none.
_DELAY = 2.0
#: When the command began.
_BEGAN: ContextVar[float] = ContextVar('began')


class Bar(Protocol):
    """What is used of a bar of tqdm."""

    def update(self, n: float | None = 1) -> Any:
        """Count units that are done."""
        ...

    def set_postfix(self, ordered_dict: Any = None) -> Any:
        """Show words behind the bar."""
        ...

    def close(self) -> Any:
        """Leave the bar as it is."""
        ...

    def __enter__(self) -> Any:
        """Use it as a context."""
        ...

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> Any:
        """Close it."""
        ...


class _Silent:
    """A bar that is not drawn; without it, tqdm need not be loaded."""

    def update(self, n: float | None = 1) -> None:
        pass

    def set_postfix(self, ordered_dict: Any = None) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None:
        pass


def is_watched() -> bool:
    """Say whether somebody may be looking at stderr."""
    # An interactive Python, such as that of a notebook, has ps1.
    return sys.stderr is not None and (sys.stderr.isatty() or hasattr(sys, 'ps1'))


def is_drawn(wanted: bool | None = None) -> bool:
    """Decide whether a bar is drawn.

    Args:
        wanted: The argument ``progress`` of a function; None for work without one.
    """
    mode = _MODE.get()
    if mode == 'never' or wanted is False:
        return False
    if mode == 'always':
        return True
    return (bool(wanted) or mode == 'command') and is_watched()


@contextmanager
def drawing(mode: Mode) -> Generator[None]:
    """Draw bars in a way while the context lasts.

    Args:
        mode: When bars are drawn.
    """
    token, began = _MODE.set(mode), _BEGAN.set(time.monotonic())
    try:
        yield
    finally:
        _MODE.reset(token)
        _BEGAN.reset(began)


def bar(
    total: int | None,
    unit: str,
    what: str | None = None,
    *,
    initial: int = 0,
    wanted: bool | None = None,
) -> Bar:
    """Make a bar with rate and time left; it is silent unless it is to be drawn.

    Args:
        total: How many units there are; None if that is unknown.
        unit: What is counted.
        what: Words in front of the bar.
        initial: How many are done.
        wanted: The argument ``progress`` of a function; None for work without one, whose bar
            appears once the command is two seconds old.

    Returns:
        The bar: call ``update(n)``, and ``close()`` or use it as a context.

    Examples:
        >>> with bar(10, 'row') as shown:
        ...     shown.update(10)
    """
    if not is_drawn(wanted):
        return _Silent()
    step = wanted is None and _MODE.get() != 'always'
    # One short step of a long command after the other would be silence, too.
    now = time.monotonic()
    wait = max(0.0, _DELAY - (now - _BEGAN.get(now))) if step else 0.0
    made = _drawn()(
        desc=what, total=total, initial=initial, unit=unit, delay=wait, file=sys.stderr
    )
    made.is_step = step
    return made


@cache
def _drawn() -> Any:
    """Give the class of bars; tqdm is loaded only where one is drawn."""
    from tqdm import tqdm

    class Drawn(tqdm):
        """A bar; that of a short step leaves no line."""

        is_step = False

        def close(self) -> None:
            """End it."""
            if self.is_step and self.format_dict['elapsed'] < _DELAY:
                self.leave = False
            super().close()

    return Drawn


def steps[T](
    items: Iterable[T], unit: str, what: str, total: int | None = None
) -> Iterator[T]:
    """Go through items of long work with a bar, which counts those that are done.

    Args:
        items: What is gone through.
        unit: What each of them is.
        what: Words in front of the bar.
        total: How many there are, if they do not say it.

    Yields:
        The items.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    if total is not None and total < 2 and _MODE.get() != 'always':
        yield from items  # a bar would have nothing to say before all is done
        return
    with bar(total, unit, what) as shown:
        for item in items:
            yield item
            shown.update()
