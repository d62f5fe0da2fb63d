"""Arrays by name in one ``.npz`` file: written whole or not at all, read without pickle."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.drafts import new_draft
from torchgeo_cmr.errors import ArchiveError


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
    try:
        # NumPy closes what it opened only if that is a zip file.
        with open(path, 'rb') as whole, np.load(whole, allow_pickle=False) as file:
            return {name: file[name] for name in names or file.files}
    except Exception as error:  # NumPy and zipfile raise what they like
        raise ArchiveError(
            f'{path} cannot be read as {what} ({type(error).__name__}: {error}); {cure}'
        ) from error
