"""New files: refused if they are there, complete before they get their name."""

from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from os import PathLike
from pathlib import Path

from torchgeo_cmr.drafts import Draft, claimed, drafting, publish, short, sweep_outputs
from torchgeo_cmr.errors import OutputExistsError

#: Seconds to wait for another writer.
_PATIENCE = 60
#: Files that get their names together; None for each at once.
_WAITING: ContextVar[list[Draft] | None] = ContextVar('waiting', default=None)


@contextmanager
def new_file(path: str | PathLike[str], *, overwrite: bool = False) -> Generator[Path]:
    """Write a file under a temporary name next to the target, then rename it.

    Within :func:`together` it is renamed at the end of that block.

    Args:
        path: Target file; parent folders are created.
        overwrite: Replace an existing file.

    Yields:
        The temporary path, same suffix. Nothing is left if the block raises.

    Raises:
        OutputExistsError: If the path is there and is not to be replaced, even if another process
            has made it meanwhile, or is a folder.
        OSError: If the disk is full or the folder cannot be written to.
    """
    with drafting(Path(path), overwrite=overwrite) as draft:
        yield draft.path
    waiting = _WAITING.get()
    if waiting is None:
        publish([draft])
    else:
        waiting.append(draft)


@contextmanager
def together() -> Generator[None]:
    """Give the files that are written in this block their names at its end, in their order.

    Until then nothing has changed under these names; if the block raises, nothing will. A block
    within another one ends with that.
    """
    if _WAITING.get() is not None:
        yield
        return
    waiting: list[Draft] = []
    token = _WAITING.set(waiting)
    try:
        yield
        publish(waiting)
    finally:
        _WAITING.reset(token)
        for draft in waiting:
            with suppress(OSError):
                draft.path.unlink(missing_ok=True)


@contextmanager
def at_once() -> Generator[None]:
    """Let files appear one by one within :func:`together`, as work that goes on after a stop."""
    token = _WAITING.set(None)
    try:
        yield
    finally:
        _WAITING.reset(token)


def as_written(path: Path) -> Path:
    """Give the place of a file that may be waiting for its name, to read it."""
    waiting = _WAITING.get() or ()
    found = [draft.path for draft in waiting if draft.target == path]
    return found[-1] if found else path


@contextmanager
def only_writer(names: Iterable[Path], files: Iterable[Path]) -> Generator[None]:
    """Let one process at a time write the files of a name; others wait for a minute.

    The lock goes with its process, however that ends. What processes that are gone have left of
    these files is removed; temporary files of others that run are not.

    Args:
        names: Outputs without their suffix, as ``hits`` for ``hits.gpkg`` and ``hits.json``.
        files: All files that will be written.

    Raises:
        OutputExistsError: If another process is still writing them after a minute.
    """
    with ExitStack() as held:
        # In one order, so that no two wait for each other.
        for name in sorted({name.absolute() for name in names}):
            busy = OutputExistsError(
                f'another process is writing {name}; wait until it is done, or choose another name'
            )
            lock = name.with_name(f'.{short(name.name)}.lock')
            held.enter_context(claimed(lock, name, busy, _PATIENCE))
        sweep_outputs(files)
        yield
