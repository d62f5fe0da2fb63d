"""An archive put in the place of another, complete before the old one goes."""

import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from torchgeo_cmr.drafts import check_folder, disk_faults, draft_folder, sweep
from torchgeo_cmr.durable import flush, name_folder, replace_folder
from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.table.provenance import Rows

from .folder import OURS, read_header
from .sink import ParquetSink


def write_archive(path: str | PathLike[str], table: Rows, *, overwrite: bool) -> Path:
    """Write a whole table as an archive of one part, replacing an older archive if requested.

    Args:
        path: Folder to make.
        table: What to write.
        overwrite: Replace an archive, never anything else.

    Returns:
        The folder.

    Raises:
        OutputExistsError: If the path is there and is not to be, or cannot safely be, replaced.
    """
    header = {
        'dim': table.dim,
        'metric': table.metric,
        'space': table.spaces[0] if len(table.spaces) == 1 else None,
        'rows': len(table),
        'record': table.record,
    }
    target = Path(path)
    with replacement(target, header, overwrite=overwrite) as sink:
        sink.commit('all', table)
    return target


@contextmanager
def replacement(
    path: str | PathLike[str], header: Mapping[str, Any], *, overwrite: bool = True
) -> Generator[ParquetSink]:
    """Give the writer of an archive that takes its place, or that of an older one, at the end.

    Args:
        path: Folder to make.
        header: Facts that all parts share.
        overwrite: Replace an archive, never anything else.

    Raises:
        OutputExistsError: If the path is there and is not to be, or cannot safely be, replaced.
    """
    if not overwrite:
        _refuse_taken(path)
    building = begin_replacement(path)
    try:
        yield ParquetSink(building, header)
        replace_archive(building, path, overwrite=overwrite)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def begin_replacement(path: str | PathLike[str]) -> Path:
    """Name a folder in which an archive is made that will replace another.

    Args:
        path: The archive to replace; it may be missing.

    Returns:
        A free name next to it. Folders that processes which are gone have begun there are removed.

    Raises:
        OutputExistsError: If the folder is not an archive, or holds anything else.
    """
    check_folder(path)
    target = Path(path).resolve()
    if os.path.lexists(target):
        _refuse_foreign(target)
    with disk_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent, target.name)
    return draft_folder(target)


def replace_archive(
    building: Path, path: str | PathLike[str], *, overwrite: bool = True
) -> None:
    """Put a complete archive in the place of another, see :func:`begin_replacement`."""
    target = Path(path).resolve()
    # Again: somebody may have made it meanwhile.
    if not overwrite:
        with disk_faults(target):
            if name_folder(building, target):
                flush(target.parent)
                return
        _refuse_taken(target)
    if os.path.lexists(target):
        _refuse_foreign(target)
    with disk_faults(target):
        replace_folder(building, target, draft_folder(target))


def _refuse_taken(path: str | PathLike[str]) -> None:
    """Refuse a name that something has."""
    if os.path.lexists(path):
        raise OutputExistsError(
            f'{os.fspath(path)} is there already; choose another name or overwrite it'
        )


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace anything but a folder that holds an archive and nothing else."""
    try:
        read_header(folder)
        strangers = sorted(
            p.name
            for p in folder.iterdir()
            if p.is_symlink()
            or not OURS.fullmatch(p.name)
            # What is gone went with an archive that another process has just replaced.
            or (p.exists() and not p.is_file())
        )
    except ArchiveError as error:
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise OutputExistsError(
            f'{folder} is not an archive and stays as it is; choose another name'
        ) from error
    if strangers:
        raise OutputExistsError(
            f'{folder} holds {strangers[0]} next to the archive, which is not replaced; '
            'move that file away'
        )
