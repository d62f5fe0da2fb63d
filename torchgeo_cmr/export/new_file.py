"""New files: refused if they are there, complete before they get their name."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from torchgeo_cmr.errors import OutputExistsError


@contextmanager
def new_file(path: str | PathLike[str], *, overwrite: bool = False) -> Generator[Path]:
    """Write a file under a temporary name next to the target, then rename it.

    Args:
        path: Target file; parent folders are created.
        overwrite: Replace an existing file.

    Yields:
        The temporary path, same suffix. Nothing is left if the block raises.

    Raises:
        OutputExistsError: If the path is there and is not to be replaced, or is a folder.
    """
    target = Path(path)
    check_new(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.stem}.tmp-{os.getpid()}{target.suffix}')
    # A link that somebody left there would be followed.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def check_new(path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse a path that is taken.

    Args:
        path: Target file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        OutputExistsError: If the path is there and is not to be replaced, or is a folder.
    """
    target = Path(path)
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(
            f'{target} is there already; choose another name or overwrite it'
        )
    if target.is_dir():
        raise OutputExistsError(f'{target} is a folder; name a file to write')
