"""Whether a path is a regular file: reading a pipe, a socket or a device might never end."""

import os
import re
import stat
from pathlib import Path

from torchgeo_cmr.errors import ArchiveError, CMRError, Finding

#: How archives begin: zip, gzip, bzip2, xz, 7z, Zstandard.
PACKED = (
    b'PK\3\4',
    b'\x1f\x8b',
    b'BZh',
    b'\xfd7zXZ',
    b'7z\xbc\xaf',
    b'\x28\xb5\x2f\xfd',
)
_ADDRESS = re.compile(r'(https?|s3)://', re.IGNORECASE)

#: How addresses of servers and object stores begin; a drive of Windows has one letter.
_ELSEWHERE = re.compile(
    r'(?P<scheme>https?|ftps?|sftp|s3a?|gs|gcs|az|abfss?|wasbs?|adl|oss|hdfs|file|'
    r'postgres(?:ql)?(?:\+\w+)?):/',
    re.IGNORECASE,
)

_ON_HUB = re.compile(r'[A-Za-z0-9][\w.-]*/[\w.-]+')

#: What is not a file, by its mode.
_KINDS = {
    stat.S_IFIFO: 'a named pipe',
    stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
    stat.S_IFDIR: 'a folder',
}


def check_regular(path: str | os.PathLike[str], error: type[CMRError]) -> None:
    """Refuse what is not a regular file, or a link to one, before it is opened.

    Args:
        path: The path.
        error: What to raise.

    Raises:
        CMRError: Of the kind *error*, if nothing is there, or something else than a file.

    Examples:
        >>> check_regular('/dev/null', CMRError)
        Traceback (most recent call last):
        torchgeo_cmr.errors.CMRError: /dev/null is a device and not a file: name a file
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as reason:
        fault = getattr(reason, 'strerror', None) or reason
        raise error(
            f'{os.fspath(path)!s:.200} is not a file on this disk ({fault}): check the path; '
            'what lies elsewhere must be downloaded first'
        ) from reason
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), 'something else')
        raise error(f'{os.fspath(path)} is {kind} and not a file: name a file')


def named_address(path: str | os.PathLike[str]) -> str:
    """Give the address that a path is, without query and password; empty for a path of this disk.

    Args:
        path: What was given as a path; it may have lost the second of two slashes.

    Examples:
        >>> named_address(Path('s3://bucket/a')), named_address('a')
        ('s3://bucket/a', '')
    """
    text = Path(path).as_posix()
    match = _ELSEWHERE.match(text)
    if match is None:
        return ''
    return shown(f'{match["scheme"]}://{text[match.end() :].lstrip("/")}')


def is_database(address: str) -> bool:
    """Say whether an address is that of a database."""
    return address.lower().startswith('postgres')


def check_not_address(path: str | os.PathLike[str], error: type[CMRError]) -> None:
    """Refuse an address where a path of this disk is read.

    Args:
        path: What was given as a path.
        error: What to raise.

    Raises:
        CMRError: Of the kind *error*.

    Examples:
        >>> check_not_address('postgresql://gis:secret@server/gis', CMRError)
        Traceback (most recent call last):
        torchgeo_cmr.errors.CMRError: postgresql://server/gis is a database, which cannot be read \
here: name the archive folder that was loaded into it
    """
    address = named_address(path)
    if is_database(address):
        raise error(
            f'{address} is a database, which cannot be read here: name the archive folder that '
            'was loaded into it'
        )
    if address:
        raise error(
            f'{address} is on a server, and only files of this disk are read here: download it'
        )


def check_there(path: str | os.PathLike[str], error: type[CMRError]) -> None:
    """Refuse a path at which nothing is, and an address.

    Args:
        path: File or folder.
        error: What to raise.

    Raises:
        CMRError: Of the kind *error*.
    """
    if os.path.lexists(path):
        return
    check_not_address(path, error)
    raise error(f'there is no {os.fspath(path)!s:.200}: check the path')


def is_on_hub(name: str | os.PathLike[str]) -> bool:
    """Say whether something can only be a repository of the Hugging Face Hub, ``'organisation/name'``."""
    words = os.fspath(name)
    return _ON_HUB.fullmatch(words) is not None and not (
        os.path.exists(words) or words.endswith('.ckpt')
    )


def check_checkpoint(path: str | os.PathLike[str]) -> None:
    """Refuse a checkpoint that is neither here nor a name of the Hub, without loading torch.

    Args:
        path: A file, a folder or ``'organisation/name'``.

    Raises:
        ArchiveError: If nothing is there.
    """
    if os.path.isfile(path) or os.path.isdir(path) or is_on_hub(path):
        return
    check_not_address(path, ArchiveError)
    raise ArchiveError(f'there is no checkpoint {path}: check the path')


def check_special(path: str | os.PathLike[str], error: type[CMRError]) -> None:
    """Refuse a pipe, a socket or a device; what is not there is left to whoever opens it.

    Args:
        path: The path.
        error: What to raise.

    Raises:
        CMRError: Of the kind *error*.
    """
    if os.path.exists(path):
        check_regular(path, error)


def check_name(path: str | os.PathLike[str], error: type[CMRError]) -> None:
    """Refuse a name that is not UTF-8, which GDAL does not open.

    Args:
        path: The path.
        error: What to raise.

    Raises:
        CMRError: Of the kind *error*.
    """
    if fault := name_fault(path):
        raise error(f'{fault}: rename that file or folder')


def name_fault(path: str | os.PathLike[str]) -> str:
    """Say which name on a path is not UTF-8, so that most libraries do not open it.

    Args:
        path: The path.

    Returns:
        A sentence, its letters fit to be shown; empty if all names are UTF-8.
    """
    for name in Path(path).parts:
        try:
            name.encode()
        except UnicodeEncodeError:
            return f'the name {name!a} is not UTF-8'
    return ''


def name_finding(path: str | os.PathLike[str]) -> Finding | None:
    """Give what a check says of a file that its name keeps from being read; None if nothing does.

    Args:
        path: The file or folder.
    """
    fault = name_fault(path)
    cure = 'it may be whole: rename that file or folder, and check it again'
    return Finding(str(path), fault, cure) if fault else None


def head_of(path: str | os.PathLike[str], size: int = 1024) -> bytes:
    """Give the first bytes of a file; none if it cannot be read.

    Args:
        path: A regular file.
        size: Number of bytes.
    """
    try:
        with open(path, 'rb') as file:
            return file.read(size)
    except (OSError, ValueError):
        return b''


def is_address(text: str) -> bool:
    """Say whether a word is an address on a server: ``http(s)://`` or ``s3://``."""
    return _ADDRESS.match(text) is not None


def shown(address: str) -> str:
    """Give an address without query and password, for messages."""
    start, _, rest = address.partition('://')
    host, slash, path = re.split('[?#]', rest, maxsplit=1)[0].partition('/')
    return f'{start}://{host.rpartition("@")[2]}{slash}{path}'[:200]


def under(root: str | os.PathLike[str], path: str) -> str:
    """Join the root of an archive with the path of a scene; an address stays what it is.

    Args:
        root: Folder to which paths are relative.
        path: Path, or an address on a server.

    Returns:
        POSIX path, or the address.

    Examples:
        >>> under('/data', 'a/b.tif'), under('/data', 'https://example.com/b.tif')
        ('/data/a/b.tif', 'https://example.com/b.tif')
    """
    return path if is_address(path) else (Path(root) / path).as_posix()
