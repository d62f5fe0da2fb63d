"""Drafts: what is written under a temporary name gets its own when it is complete.

A draft stands next to its target and names its owner: ``.hits.tmp-OWNER.gpkg`` for ``hits.gpkg``.
Whoever writes the same target later removes the drafts of owners that are gone, and no other's.
"""

import errno
import functools
import hashlib
import itertools
import os
import re
import shutil
import socket
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from torchgeo_cmr.durable import flush, locked
from torchgeo_cmr.errors import CMRError, OutputExistsError, QueryError
from torchgeo_cmr.regular_files import check_name, is_database, named_address

_DAY = 86_400
#: Full, over a quota or a limit, read-only, not permitted, defective.
_DISK = {
    getattr(errno, name)
    for name in ('ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES', 'EPERM', 'EIO')
    if hasattr(errno, name)  # Windows has no quota
}
#: Place, process and its start; earlier versions wrote the process alone, or ``old`` for a folder
#: that was replaced.
_OWNER = r'(?:tmp|old)-(?:(?P<place>\w+)-)?(?P<process>\d{1,10})(?:-(?P<begun>\d+))?(?:-\d+)?(?P<suffix>\..*)?'
#: What every library takes for a part of a name; some read the rest as the end of a path.
_PLAIN = re.compile(r'[\w .,()+=@~-]+')
#: Bytes of a name in that of a draft, whose owner and suffixes need up to 100 of 255.
_LONGEST = 150
_count = itertools.count()


class Draft(NamedTuple):
    """A complete file that waits for its name."""

    path: Path
    target: Path
    overwrite: bool


def stamp() -> str:
    """Give a word that names this process and that no other draft has.

    Numbers of processes mean something in one namespace of one start of one machine, and are given
    again there; so the word names these and when the process began.
    """
    process = os.getpid()
    return f'tmp-{_place()}-{process}-{_begun(process)}-{next(_count)}'


def draft_file(target: Path) -> Path:
    """Name a draft of a file, with its suffix, by which libraries choose a format."""
    return target.with_name(f'.{short(target.stem)}.{stamp()}{target.suffix}')


def draft_folder(target: Path) -> Path:
    """Name a draft of a folder."""
    return target.with_name(f'.{short(target.name)}.{stamp()}')


def short(name: str) -> str:
    """Give a name of which files that are written for it can be made, as drafts and locks.

    It is the name itself, or if that is long or has letters that libraries take for something
    else, such as ``;`` or ``?``, what begins like it and ends in a checksum.

    Args:
        name: A file without its suffix, or a folder.

    Examples:
        >>> short('hits'), short('a;b')
        ('hits', 'a_b-295a9749')
    """
    if _PLAIN.fullmatch(name) and len(name.encode()) <= _LONGEST:
        return name
    given = name.encode(errors='surrogateescape')
    plain = re.sub(r'[^\w.-]', '_', name).encode()[: _LONGEST - 9]
    return f'{plain.decode(errors="ignore")}-{zlib.crc32(given):08x}'


@contextmanager
def drafting(target: Path, *, overwrite: bool) -> Generator[Draft]:
    """Write a file as a draft, which is complete and on the disk at the end of the block.

    Args:
        target: The file it will be; parent folders are made.
        overwrite: Whether it may replace a file.

    Yields:
        The draft; nothing is left of it if the block raises.

    Raises:
        OutputExistsError: If the target is there and is not to be replaced, or is a folder.
        OSError: If the disk is full or the folder cannot be written to.
    """
    check_new(target, overwrite=overwrite)
    temporary = draft_file(target)
    with disk_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, target.stem)
        try:
            yield Draft(temporary, target, overwrite)
            flush(temporary)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def new_draft(target: str | PathLike[str], *, overwrite: bool) -> Generator[Path]:
    """Write a file that appears when it is complete; arguments and errors as of :func:`drafting`."""
    with drafting(Path(target), overwrite=overwrite) as draft:
        yield draft.path
    publish([draft])


def publish(drafts: Sequence[Draft]) -> None:
    """Give drafts their names, one after the other: all of them, or on an error none.

    A process killed between two names leaves some; :func:`sweep` takes those back that did not
    replace a file.

    Args:
        drafts: The drafts, what refers to others last.

    Raises:
        OutputExistsError: If somebody has taken a name meanwhile.
        OSError: If the disk fails.
    """
    older: list[Path | None] = []
    try:
        for draft in drafts:
            with disk_faults(draft.target):
                older.append(_older(draft.target) if len(drafts) > 1 else None)
                if draft.overwrite:
                    draft.path.replace(draft.target)
                else:
                    _appear(draft)
        for folder in {draft.target.parent for draft in drafts}:
            with disk_faults(folder):
                flush(folder)
    except BaseException:
        if len(drafts) > 1:
            _take_back(drafts, older)
        raise
    finally:
        for path in [*(draft.path for draft in drafts), *filter(None, older)]:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _older(target: Path) -> Path | None:
    """Keep the file that is to be replaced under a second name, where the file system can."""
    kept = draft_file(target)
    try:
        os.link(target, kept, follow_symlinks=False)
    except OSError:
        return None
    return kept


def _appear(draft: Draft) -> None:
    """Give a draft its name, which nobody must have taken meanwhile."""
    try:
        os.link(draft.path, draft.target)
    except FileExistsError:
        check_new(draft.target)
        raise
    except OSError:  # a file system without hard links
        check_new(draft.target)
        draft.path.replace(draft.target)


def _take_back(drafts: Sequence[Draft], older: Sequence[Path | None]) -> None:
    """Undo what :func:`publish` did before it failed."""
    for draft, kept in reversed([*zip(drafts, older, strict=False)]):
        with suppress(OSError):
            if kept is not None:
                kept.replace(draft.target)
            elif not draft.path.exists() or draft.path.samefile(draft.target):
                draft.target.unlink(missing_ok=True)


def check_on_disk(path: str | PathLike[str]) -> None:
    """Refuse to write to an address, whose words would become folders, and what no disk takes.

    Args:
        path: File or folder to be written.

    Raises:
        QueryError: If it is the address of a server, or of a file system of GDAL; or if its name
            is too long, not UTF-8, or holds a line break or another invisible letter.

    Examples:
        >>> check_on_disk('s3://bucket/archive')
        Traceback (most recent call last):
        torchgeo_cmr.errors.QueryError: s3://bucket/archive is an address, and results are written \
to a disk only: name a file or folder, and upload it afterwards
    """
    if not os.fspath(path):
        raise QueryError('the name is empty: name a file or folder to write')
    text = Path(path).as_posix()
    address = named_address(path)
    if is_database(address):
        raise QueryError(
            f'{address} is a database, and this is written to a disk only: name a folder, and load '
            'an archive with torchgeo-cmr load'
        )
    if address:
        raise QueryError(
            f'{address} is an address, and results are written to a disk only: name a file '
            'or folder, and upload it afterwards'
        )
    if text.startswith('/vsi'):
        raise QueryError(
            f'{text} is of a file system of GDAL, which results are not written to; name a file or '
            'folder on a disk'
        )
    check_name(path, QueryError)
    if odd := re.search(r'[\x00-\x1f\x7f]', text):
        raise QueryError(
            f'the name {text[-100:]!r} holds {odd[0]!r}, which many programs do not take: leave '
            'it out'
        )
    fault = _fault(os.lstat, path)
    if fault == errno.ENAMETOOLONG:
        raise QueryError(
            f'the name {text[:60]}... is too long, with {len(text.encode())} bytes in UTF-8: '
            'disks take up to 255 for a file or folder; choose a shorter one'
        )
    if fault == errno.ELOOP:
        raise QueryError(
            f'{text} leads through a link that leads to itself: remove that link, or name '
            'another folder'
        )


def check_folder(path: str | PathLike[str]) -> None:
    """Refuse a folder as :func:`check_on_disk`, a link that leads to itself, and a whole disk.

    Args:
        path: Folder to be written; a file may take the place of such a link, a folder goes behind it.

    Raises:
        QueryError: If no folder can be written there.
    """
    check_on_disk(path)
    whole = Path(path).absolute()
    if whole == whole.parent:  # no draft and no lock has a place next to it
        raise QueryError(f'{whole} is a whole disk: name a folder in it')
    if _fault(os.stat, path) == errno.ELOOP:
        raise QueryError(
            f'{os.fspath(path)} is a link that leads to itself: remove it, or choose another '
            'name'
        )


def _fault(look: Callable[..., Any], path: str | PathLike[str]) -> int:
    """Give the number of the error that a look at a path ends with; 0 if it ends well."""
    try:
        look(path)
    except OSError as error:
        return error.errno or 0
    return 0


def check_free(out: str | PathLike[str]) -> None:
    """Refuse a folder that holds files: what a command writes would be mixed with them.

    Args:
        out: Folder to be written.

    Raises:
        OutputExistsError: If it is a file, or a folder that is not empty.
    """
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputExistsError(
            f'{path} exists and is not empty: choose another folder, or say --overwrite'
        )


def check_new(path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Refuse a path that is taken, or an address.

    Args:
        path: Target file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        QueryError: If it is an address.
        OutputExistsError: If the path is there and is not to be replaced, or is a folder.
    """
    check_on_disk(path)
    target = Path(path)
    if os.path.lexists(target) and not overwrite:
        raise OutputExistsError(
            f'{target} is there already; choose another name or overwrite it'
        )
    if target.is_dir():
        raise OutputExistsError(f'{target} is a folder; name a file to write')


@contextmanager
def disk_faults(target: Path) -> Generator[None]:
    """Turn what a full, closed or vanished disk raises into one sentence.

    Args:
        target: File or folder that is written.

    Raises:
        OSError: With the sentence.
    """
    try:
        yield
    except Exception as error:
        if not _is_of_the_disk(error, target):
            raise
        # It is torch that has lost count of what it could not write.
        reason = 'not all of it was taken' if _is_of_torch(error) else error
        raise OSError(
            f'{as_meant(target)} could not be written, and nothing was changed there ({reason}); '
            f'{disk_cure(target)}'
        ) from error


@contextmanager
def claimed(
    lock: Path, target: Path, busy: CMRError, patience: float = 0
) -> Generator[None]:
    """Let one process at a time write something, in a folder that is made for it.

    Args:
        lock: File that is locked.
        target: File or folder that is written, for the sentence of a disk that takes no files.
        busy: What is raised if another process writes it.
        patience: Seconds to wait for that process.

    Raises:
        CMRError: If another process writes it still.
        OSError: If the folder takes no files.
    """
    with ExitStack() as held:
        # What goes wrong in the block itself is not the lock's.
        with disk_faults(target):
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(lock, busy, patience))
        yield


def disk_cure(target: Path) -> str:
    """Say how much room there is, and what to do about a disk that takes no files.

    Args:
        target: File or folder that cannot be written.
    """
    folder = next(p for p in target.absolute().parents if p.is_dir())
    free = shutil.disk_usage(folder).free / 1e6
    return (
        f'{free:.1f} MB are free: make room, check that the folder may be written to, or choose '
        'another one'
    )


def as_meant(path: Path) -> Path:
    """Give a path with drafts by the names that they wait for.

    Args:
        path: File or folder, itself a draft or in one.
    """
    parts = [
        f'{match["name"]}{match["suffix"] or ""}'
        if (match := re.fullmatch(rf'\.(?P<name>.+)\.{_OWNER}', part))
        else part
        for part in path.parts
    ]
    return Path(*parts)


def is_full_or_closed(error: OSError) -> bool:
    """Say whether a disk is full, over a quota, read-only, not ours to write to, or defective.

    Args:
        error: What the system raised.
    """
    return error.errno in _DISK


def _is_of_torch(error: Exception) -> bool:
    """Say whether torch failed to write: it raises RuntimeError without a reason or a number."""
    return isinstance(error, RuntimeError) and any(
        word in str(error)
        for word in ('inline_container', 'PytorchStreamWriter', 'iostream error')
    )


def _is_of_the_disk(error: Exception, target: Path) -> bool:
    """Say whether a file failed, and not what was to be in it.

    GDAL, SQLite and torch have errors of their own for a full disk, which are no OSError;
    NumPy's has no number.
    """
    if isinstance(error, CMRError):
        return False
    if _is_of_torch(error):
        return True
    package = type(error).__module__.partition('.')[0]
    if package in {'pyogrio', 'rasterio', 'sqlite3'}:
        return True
    return isinstance(error, OSError) and (
        is_full_or_closed(error)
        or (error.errno is not None and not target.parent.is_dir())
        or re.fullmatch(r'\d+ requested and \d+ written', str(error)) is not None
    )


def sweep(
    folder: Path, name: str | None = None, before: Callable[[Path], object] = id
) -> None:
    """Remove drafts whose owners are gone.

    Args:
        folder: Where they are.
        name: What they are drafts of: the stem of a file, or a folder; None for all, empty for
            those without a name, as they are within a folder of ours.
        before: Is called with each draft before that goes.
    """
    for path, _ in _abandoned(folder, name):
        before(path)
        _remove(path)


def sweep_outputs(files: Iterable[Path]) -> None:
    """Remove drafts of files that are written together, and half an output of a dead owner.

    What :func:`publish` had named when its process was killed is taken back, unless it was
    changed since: it was written before the last of the drafts that have no name yet.

    Args:
        files: All files of the output.
    """
    targets = {(f.parent, f.stem, f.suffix): f for f in files}
    owners: dict[str, list[tuple[Path, Path]]] = {}
    drafts = []
    for folder, stem in {key[:2] for key in targets}:
        for path, owner in _abandoned(folder, stem):
            drafts.append(path)
            target = targets.get((folder, stem, path.suffix))
            if target is not None:
                owners.setdefault(owner, []).append((path, target))
    for pairs in owners.values():
        waiting = [p for p, target in pairs if not _is_same(p, target)]
        newest = max((p.stat().st_mtime_ns for p in waiting), default=0)
        for path, target in pairs:
            if path not in waiting and target.stat().st_mtime_ns <= newest:
                target.unlink()
    for path in drafts:
        _remove(path)


def _is_same(path: Path, target: Path) -> bool:
    try:
        return path.samefile(target)
    except OSError:
        return False


def _abandoned(folder: Path, name: str | None) -> list[tuple[Path, str]]:
    """List the drafts in a folder whose owners are gone, and these."""
    name = short(name) if name else name
    begin = f'.{name}.' if name else '.'
    word = r'(?:.+\.)?' if name is None else re.escape(f'{name}.' if name else '')
    ours = re.compile(rf'\.{word}{_OWNER}', re.DOTALL)
    found = []
    for file in os.listdir(folder) if folder.is_dir() else ():
        match = ours.fullmatch(file) if file.startswith(begin) else None
        if match and _is_gone(folder / file, match):
            words = match.group('place', 'process', 'begun')
            owner = '-'.join(word or '' for word in words)
            found.append((folder / file, owner))
    return found


def _is_gone(path: Path, match: re.Match[str]) -> bool:
    place, process, begun = match['place'], int(match['process']), match['begun']
    if os.name == 'posix' and place in (None, _place()):
        if not is_alive(process):
            return True
        now = _begun(process)
        return bool(now and begun) and now != int(begun)
    # Of another machine or container, where nobody can be seen: what is old.
    try:
        paths = [path, *path.iterdir()] if path.is_dir() else [path]
        return max(p.lstat().st_mtime for p in paths) < time.time() - _DAY
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Say whether a process of this system runs; so does one that is not ours to ask about."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _begun(process: int) -> int:
    """Say when a process began, in ticks since the machine did; 0 where nothing tells."""
    try:
        text = Path(f'/proc/{process}/stat').read_text(errors='replace')
        state, *facts = text.rpartition(')')[2].split()
        # One that was killed stays in the list until its parent has looked: it began, say, before all.
        return 1 if state in 'ZX' else int(facts[18])
    except (OSError, ValueError, IndexError):
        return 0


@functools.cache
def _place() -> str:
    """Name what numbers of processes belong to: machine, its start, namespace."""
    facts = [socket.gethostname()]
    with suppress(OSError):
        facts.append(Path('/proc/sys/kernel/random/boot_id').read_text())
        facts.append(os.readlink('/proc/self/ns/pid'))
    return hashlib.blake2b('\0'.join(facts).encode(), digest_size=5).hexdigest()
