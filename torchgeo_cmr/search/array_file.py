"""Arrays by name in one ``.npz`` file: written whole or not at all, read without pickle."""

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.drafts import new_draft
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.regular_files import check_regular

#: Bytes that any file may become, and how many times as long as it is.
_LARGEST, _MOST_GROWTH = 1 << 26, 20


def write_arrays(path: str | PathLike[str], *, overwrite: bool, **arrays: Any) -> Path:
    """Write arrays and words.

    Args:
        path: File to write.
        overwrite: Replace a file that is there.
        **arrays: What it holds.

    Returns:
        The path.

    Raises:
        OutputExistsError: If the file is there and is not to be replaced.
        OSError: If the disk is full or the folder cannot be written to.
    """
    with (
        new_draft(path, overwrite=overwrite) as temporary,
        temporary.open('wb') as file,
    ):
        np.savez(file, **arrays)
    return Path(path)


def _check_size(file: ZipFile, size: int) -> None:
    """Refuse a file that would grow without measure: ours is as long as what it holds."""
    grown = sum(member.file_size for member in file.infolist())
    if grown > _LARGEST and grown > _MOST_GROWTH * size:
        raise ValueError(f'{size} bytes would become {grown}')


def read_arrays(
    path: str | PathLike[str], what: str, cure: str, names: Sequence[str] | None = None
) -> dict[str, NDArray[Any]]:
    """Read what :func:`write_arrays` wrote.

    Args:
        path: The file.
        what: What it should be, for the message.
        cure: What a user can do about another one.
        names: What is read; None for all.

    Returns:
        Arrays by name, in the order of *names*.

    Raises:
        ArchiveError: If it holds no arrays, or lacks one of them.
    """
    if os.path.exists(path):
        check_regular(path, ArchiveError)
    try:
        # NumPy closes what it opened only if that is a zip file.
        with open(path, 'rb') as whole, np.load(whole, allow_pickle=False) as file:
            _check_size(file.zip, os.fstat(whole.fileno()).st_size)
            return {name: file[name] for name in names or file.files}
    except Exception as error:  # NumPy and zipfile raise what they like
        raise ArchiveError(
            f'{path} cannot be read as {what} ({type(error).__name__}: {error}); {cure}'
        ) from error
