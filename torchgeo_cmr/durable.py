"""Files that outlive a power failure or their writer: flushed, checked, locked, swapped as a whole."""

import ctypes
import errno
import os
import shutil
import sys
import zlib
from collections.abc import Buffer, Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from torchgeo_cmr.errors import CMRError

_BLOCK = 1 << 20
#: Of Linux: renameat2 relative to the working folder, and its flag that swaps two names.
_HERE, _EXCHANGE = -100, 2


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk itself.

    Args:
        path: File or folder.
    """
    if path.is_dir() and os.name == 'nt':  # Windows has no handle for a folder
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != 'nt' else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(content: Path | Buffer) -> str:
    """Give the CRC-32 of a file, read in blocks, or of bytes in memory, as eight hex digits.

    It finds damage, three times as fast as SHA-256, and not a forger.
    """
    if not isinstance(content, Path):
        return f'{zlib.crc32(content):08x}'
    made = 0
    if not content.is_file():  # a pipe would never end
        raise FileNotFoundError(f'{content} is not a file')
    with content.open('rb') as file:
        while block := file.read(_BLOCK):
            made = zlib.crc32(block, made)
    return f'{made:08x}'


@contextmanager
def locked(path: Path, busy: CMRError, patience: float = 0) -> Generator[None]:
    """Let one process at a time into the block; the lock goes with its process, however that ends.

    Args:
        path: File that is locked; it is made, and removed at the end of the block.
        busy: What is raised if another process has the lock.
        patience: Seconds to wait for it.

    Raises:
        CMRError: If another process has it still.
        OSError: If the folder takes no files.
    """
    from filelock import FileLock, Timeout  # needed only here

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not path.exists():
            # A folder that takes no files looks like a lock that another holds.
            raise OSError(
                errno.EROFS, 'its folder takes no new files', str(path)
            ) from None
        try:
            lock.acquire(timeout=patience)
        except Timeout as error:
            raise busy from error
    try:
        yield
    finally:
        try:
            # Removed while it is held: who waits for it notices, and makes another.
            with suppress(OSError):
                path.unlink(missing_ok=True)
        finally:
            lock.release()


def read_unreplaced[T](folder: Path, read: Callable[[], T]) -> T:
    """Read files of a folder, again if another folder got its name meanwhile.

    Args:
        folder: The folder.
        read: Reads it by its name.

    Returns:
        What *read* gave, all of it from one folder.

    Raises:
        CMRError: What *read* raised while the folder was in its place.
    """
    while True:
        with _watched(folder) as is_there:
            try:
                made = read()
            except CMRError:
                if is_there():
                    raise
                continue
            if is_there():
                return made


@contextmanager
def _watched(folder: Path) -> Generator[Callable[[], bool]]:
    """Keep a folder open, so that no other can get its number; say whether it has its name."""
    flag = getattr(os, 'O_DIRECTORY', None)
    try:
        descriptor = None if flag is None else os.open(folder, os.O_RDONLY | flag)
    except OSError:  # the reader says why
        descriptor = None
    if descriptor is None:
        yield lambda: True
        return

    def is_there() -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(folder))
        except OSError:
            return False

    try:
        yield is_there
    finally:
        os.close(descriptor)


def replace_folder(building: Path, target: Path, retired: Path) -> None:
    """Put a complete folder in the place of another, which is removed.

    On Linux the two names are swapped at once, so that a process killed at any moment leaves the
    old folder or the new one under the name. Elsewhere there is one moment between two renames in
    which the old one has the name *retired*.

    Args:
        building: The new folder.
        target: The old folder; it may be missing.
        retired: A free name next to it.

    Raises:
        OSError: If the folders cannot be renamed; the old one is then in its place.
    """
    if name_folder(building, target):
        flush(target.parent)
        return
    if _exchange(building, target):
        retired = building
    else:
        target.rename(retired)
        try:
            building.rename(target)
        except OSError:
            retired.rename(target)
            raise
    # The new name is on the disk before the old folder goes.
    flush(target.parent)
    shutil.rmtree(retired, ignore_errors=True)


def name_folder(building: Path, target: Path) -> bool:
    """Give a folder its name if that is free, and say whether it was.

    Args:
        building: The folder.
        target: Its name; what has it stays.

    Raises:
        OSError: If the folder cannot be renamed.
    """
    if target.exists():
        return False
    try:
        building.rename(target)
    except OSError:
        if target.exists():  # another process was quicker
            return False
        raise
    return True


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names where the system and the file system can."""
    if sys.platform != 'linux':
        return False
    swap = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if swap is None:
        return False
    return swap(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0
