"""A disk that fails, a process that dies, a power cut: at the n-th change of the file system.

``Disk`` stands between the package and the functions that change files. The libraries that write in C
are stopped where they are called: before they write, and when half of it is written.
"""

import builtins
import errno
import fcntl
import io
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, Self
from unittest.mock import patch

import faiss
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import rasterio

from torchgeo_cmr import drafts, durable

#: What happens at the n-th change: the disk is full that once, or from then on (files can be removed); the
#: process is gone from then on.
How = Literal['fail', 'full', 'kill']


class Killed(BaseException):
    """The process is gone: no clean-up changes a file any more."""


class Disk:
    """Counts changes of files in a folder, stops at one of them, and records what is durable.

    Args:
        home: The folder.
        how: What happens at the n-th change.
        nth: Which change, from 1; None to count only.
        number: Number of the error.
    """

    def __init__(
        self,
        home: Path,
        how: How = 'fail',
        nth: int | None = None,
        number: int = errno.ENOSPC,
    ) -> None:
        self.number = number
        self.home, self.how, self.nth = home.resolve(), how, nth
        self.count = 0
        #: Changes in their order, for :func:`replay`.
        self.log: list[tuple[Any, ...]] = []
        self._patches = ExitStack()
        self._locked: list[int] = []

    def __enter__(self) -> Self:
        enter = self._patches.enter_context
        # A process that died had another start than the one that looks for what it left.
        enter(patch.object(drafts, '_begun', lambda process: 7))
        for name in ('rename', 'replace', 'link', 'mkdir', 'unlink', 'remove', 'rmdir'):
            enter(patch.object(os, name, self._changing(name, getattr(os, name))))
        enter(patch.object(fcntl, 'flock', self._locking(fcntl.flock)))
        enter(patch.object(os, 'fsync', self._syncing(os.fsync)))
        exchange = self._changing('exchange', durable._exchange)
        enter(patch.object(durable, '_exchange', exchange))
        for module in (builtins, io):
            enter(patch.object(module, 'open', self._opening(io.open)))
        for owner, name, place in (
            (pq, 'write_table', 1),
            (pq, 'ParquetWriter', 0),
            (pyogrio, 'write_arrow', 1),
            (faiss, 'write_index', 1),
        ):
            enter(patch.object(owner, name, self._writing(getattr(owner, name), place)))
        enter(patch.object(pa, 'OSFile', self._writing(pa.OSFile, 0, mode='wb')))
        enter(patch.object(rasterio, 'open', self._writing(rasterio.open, 0, mode='w')))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()
        if self.how == 'kill':  # locks go with their process
            for descriptor in self._locked:
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _step(self, path: Path | None = None) -> None:
        """Count a change, and stop if it is the n-th; of a file that is written, half is there."""
        self.count += 1
        if self.nth is None or self.count < self.nth:
            return
        if self.count > self.nth and self.how == 'fail':
            return
        if path is not None and self.count == self.nth and path.is_file():
            os.truncate(path, path.stat().st_size // 2)
        if self.how == 'kill':
            raise Killed
        raise OSError(self.number, os.strerror(self.number))

    def _inside(self, path: Any, folder: int | None = None) -> Path | None:
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        base = (
            Path.cwd() if folder is None else Path(f'/proc/self/fd/{folder}').resolve()
        )
        whole = base / os.fsdecode(path)
        whole = whole.parent.resolve() / whole.name
        return whole if whole.is_relative_to(self.home) else None

    def _changing(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **options: Any) -> Any:
            pair = kind in ('rename', 'replace', 'link', 'exchange')
            found = [self._inside(p, options.get('dir_fd')) for p in args[: 1 + pair]]
            if None in found:
                return real(*args, **options)
            if self.how != 'full' or kind not in ('unlink', 'remove', 'rmdir'):
                self._step()
            made = real(*args, **options)
            if kind != 'exchange' or made:
                self.log.append((kind, *found))
            return made

        return change

    def _locking(self, real: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def lock(descriptor: int, operation: int) -> None:
            real(descriptor, operation)
            self._locked.append(descriptor)

        return lock

    def _syncing(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            path = Path(f'/proc/self/fd/{descriptor}').resolve()
            if not path.is_relative_to(self.home):
                return
            self._step()
            content = None if path.is_dir() else path.read_bytes()
            self.log.append(('sync', path, content))

        return sync

    def _opening(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = 'r', *args: Any, **options: Any) -> Any:
            path = self._inside(file) if set(mode) & set('wax+') else None
            if path is None:
                return real(file, mode, *args, **options)
            self._step()
            made = real(file, mode, *args, **options)
            if 'x' in mode:
                self.log.append(('create', path))
            return made

        return opened

    def _writing(
        self, real: Callable[..., Any], place: int, mode: str | None = None
    ) -> Callable[..., Any]:
        def write(*args: Any, **options: Any) -> Any:
            given = options.get(
                'mode', args[place + 1] if len(args) > place + 1 else None
            )
            path = self._inside(args[place])
            if path is None or (mode is not None and given != mode):
                return real(*args, **options)
            self._step()
            made = real(*args, **options)
            if mode is None:
                self._step(path)
            return made

        return write


def replay(
    log: list[tuple[Any, ...]], home: Path, lost: Literal['content', 'names']
) -> None:
    """Do to a folder what a power cut leaves of some changes.

    Args:
        log: The changes, with the content that was flushed.
        home: A copy of the folder as it was before them; the log names its files.
        lost: ``'content'``: every name is there, and of files that were not flushed nothing else;
            ``'names'``: changes of names in a folder that was not flushed since are lost too.
    """
    for i, (kind, *paths) in enumerate(log):
        if kind == 'sync':
            path, content = paths
            if content is not None and path.parent.is_dir():
                path.write_bytes(content)
            continue
        if lost == 'names' and not _is_durable(log[i:], paths[-1].parent):
            continue
        source, target = paths[0], paths[-1]
        with suppress(FileNotFoundError):
            if kind in ('rename', 'replace', 'link') and not source.exists():
                source.touch()  # written, but not flushed
            _do(kind, source, target)


def _do(kind: str, source: Path, target: Path) -> None:
    if kind == 'create':
        source.touch()
    elif kind == 'link':
        os.link(source, target)
    elif kind == 'exchange':
        durable._exchange(source, target)
    elif kind in ('rename', 'replace'):
        source.replace(target)
    elif kind == 'mkdir':
        source.mkdir(exist_ok=True)
    elif source.is_dir():
        source.rmdir()
    else:
        source.unlink()


def _is_durable(following: list[tuple[Any, ...]], folder: Path) -> bool:
    return any(
        kind == 'sync' and content is None and path == folder
        for kind, path, content, *_ in ((*entry, None) for entry in following)
        if kind == 'sync'
    )
