"""New files: refused if they are there, complete before they get their name."""

import errno
import os
import re
import shutil
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from torchgeo_cmr.durable import is_alive
from torchgeo_cmr.errors import CMRError, OutputExistsError

#: Seconds to wait for another writer.
_PATIENCE = 60
#: Full, over a quota or a limit, read-only, not permitted, defective.
_DISK = {
    getattr(errno, name)
    for name in ('ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES', 'EPERM', 'EIO')
    if hasattr(errno, name)  # Windows has no quota
}


@contextmanager
def new_file(path: str | PathLike[str], *, overwrite: bool = False) -> Generator[Path]:
    """Write a file under a temporary name next to the target, then rename it.

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
    target = Path(path)
    check_new(target, overwrite=overwrite)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.stem}.tmp-{os.getpid()}{target.suffix}')
    # A link that somebody left there would be followed.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        if overwrite:
            temporary.replace(target)
        else:
            _appear(temporary, target)
    except Exception as error:
        if not _is_of_the_disk(error):
            raise
        free = shutil.disk_usage(target.parent).free / 1e6
        raise OSError(
            f'{target} could not be written, and nothing was changed there ({error}); {free:.1f} MB '
            'are free: make room, check that the folder may be written to, or choose another one'
        ) from error
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
    from filelock import FileLock, Timeout  # needed only here

    with ExitStack() as held:
        # In one order, so that no two wait for each other.
        for name in sorted({name.absolute() for name in names}):
            name.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(name.with_name(f'.{name.name}.lock'), timeout=_PATIENCE)
            try:
                lock.acquire()
            except Timeout as error:
                raise OutputExistsError(
                    f'another process is writing {name}; wait until it is done, or choose '
                    'another name'
                ) from error
            held.callback(_release, lock)
        for file in files:
            sweep(file.parent, file.stem)
        yield


def sweep(folder: Path, stem: str | None = None) -> None:
    """Remove temporary files of processes that are gone.

    Args:
        folder: Where they are.
        stem: Name of the file without its suffix; None for all.
    """
    if os.name != 'posix' or not folder.is_dir():
        return
    name = '.+' if stem is None else re.escape(stem)
    ours = re.compile(rf'\.{name}\.tmp-(\d{{1,10}})(\..*)?', re.DOTALL)
    for file in folder.iterdir():
        match = ours.fullmatch(file.name)
        if match and not is_alive(int(match[1])) and not file.is_dir():
            file.unlink(missing_ok=True)


def _is_of_the_disk(error: Exception) -> bool:
    """Say whether a file failed, and not what was to be in it.

    GDAL and SQLite have errors of their own for a full disk, which are no OSError.
    """
    if isinstance(error, CMRError):
        return False
    package = type(error).__module__.partition('.')[0]
    number = getattr(error, 'errno', None)
    return number in _DISK or package in {'pyogrio', 'rasterio', 'sqlite3'}


def _appear(temporary: Path, target: Path) -> None:
    """Give a file its name, which nobody must have taken meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        check_new(target)
        raise
    except OSError:  # a file system without hard links
        check_new(target)
        temporary.replace(target)


def _release(lock: Any) -> None:
    # Removed while it is held: who waits for it notices, and makes another.
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
