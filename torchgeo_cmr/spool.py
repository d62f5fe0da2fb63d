"""Arrays that lie in a file without a name: the system keeps in memory what is in use of them."""

import os
import tempfile
from math import prod

import numpy as np
from numpy.typing import DTypeLike, NDArray

from torchgeo_cmr.errors import ArchiveError

#: Bytes that are written at a time where a file cannot be given its room at once.
_BLOCK = 1 << 24


def spooled(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Make an array in the folder of temporary files (``TMPDIR``).

    Its file has no name and goes with the array, also when the process is killed. All of its room
    is taken at once: a disk that fills up later would end the process without a word.

    Args:
        shape: Shape of the array.
        dtype: Its type.

    Returns:
        A writable array of zeros.

    Raises:
        ArchiveError: If the folder lacks the room.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if not size:  # an empty file cannot be mapped
        return np.zeros(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            _take(file.fileno(), size)
            return np.memmap(file, dtype, 'r+', shape=shape)
    except (OSError, OverflowError) as error:
        folder = tempfile.gettempdir()
        raise ArchiveError(
            f'vectors take {size / 1e9:.3g} GB of a temporary file, which {folder} has no room for '
            f'({error}); name a folder that has in the variable TMPDIR'
        ) from error


def _take(file: int, size: int) -> None:
    """Give a file its room on the disk."""
    if hasattr(os, 'posix_fallocate'):
        os.posix_fallocate(file, 0, size)
        return
    zeros = bytes(min(size, _BLOCK))
    for start in range(0, size, _BLOCK):
        os.write(file, zeros[: size - start])
