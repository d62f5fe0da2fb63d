"""Which files a user means by files, folders and patterns."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote

from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import is_address, named_address, shown

#: Suffixes of rasters looked for in a folder. A VRT there most often points at the files
#: next to it, so it must be named.
RASTERS = ('.tif', '.tiff', '.jp2')
#: Suffixes of rasters that are not looked for, since they may be pictures of others or parts of products.
_NAMED = frozenset(
    ['.vrt', '.png', '.jpg', '.jpeg', '.img', '.asc', '.bil', '.hdf', '.h5', '.ntf']
)
#: Suffixes of cubes, which xarray reads.
CUBES = ('.nc', '.nc4', '.zarr')
#: Suffixes of lists of STAC items; a folder may hold other JSON, so they must be named.
LISTS = ('.json', '.geojson', '.parquet', '.geoparquet')

#: A file, folder or glob pattern, or several.
type Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def find_files(
    paths: Paths,
    suffixes: Sequence[str] = (*RASTERS, *CUBES),
    what: str = 'raster',
    error: type[Exception] = RasterError,
) -> list[str]:
    """Find the files meant by paths, each once, in the order given.

    A name that exists is that file or folder, whatever characters it holds; only other
    names are patterns. ``~`` is the home folder. In folders, files are looked for at any
    depth, behind links too, each real folder once; hidden files are skipped. A Zarr store is
    a folder on disk and one file here.

    Args:
        paths: Files, folders or glob patterns.
        suffixes: What the names of files in folders end in, lower case.
        what: What is looked for, for the message.
        error: What to raise.

    Returns:
        Paths of files and Zarr stores; those of one folder or pattern are sorted.

    Raises:
        RasterError: If one of the paths matches nothing, or is neither a file nor a folder.
    """
    found: list[str] = []
    for path in listed(paths):
        if is_address(path):
            raise error(
                f'{shown(path)} is on a server, from where only scenes to embed are read '
                '(embed --remote): download it'
            )
        exists = os.path.lexists(path)
        matches = [path] if exists else _matches(path)
        files = [
            file for match in matches for file in _of_match(match, suffixes, error)
        ]
        if not files:
            raise error(f'no {what} matches {path}: {_cure(path, suffixes)}')
        found += files
    if not found:
        raise error(f'no {what} is given: name files, folders or patterns')
    return list(dict.fromkeys(found))


def check_words(paths: Paths, what: str = 'raster') -> None:
    """Refuse a word that matches nothing, without looking into folders.

    Args:
        paths: Files, folders or glob patterns.
        what: What is looked for, for the message.

    Raises:
        RasterError: If one of them matches nothing.
    """
    for path in listed(paths):
        if not os.path.lexists(path) and not _matches(path):
            raise RasterError(f'no {what} matches {path}: {_cure(path, ())}')


def _matches(pattern: str) -> list[str]:
    """Names that match a pattern; the folders in it that exist are those folders."""
    folder = os.path.dirname(pattern)
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    rest = pattern[len(folder) :]
    return sorted(glob.iglob(glob.escape(folder) + rest, recursive=True))


def _cure(path: str, suffixes: Sequence[str]) -> str:
    if named_address(path):
        return 'of addresses only http(s):// and s3:// are read, with --remote; download it'
    if path.startswith(('/vsizip', '/vsigzip', '/vsitar', '/vsi7z', '/vsirar', 'zip:')):
        return (
            'what is in an archive is not read, so unpack it, and name what was in it'
        )
    if path.startswith('/vsi'):
        return (
            'file systems of GDAL are not read; give the address itself (https://, s3://) '
            'with --remote'
        )
    if os.path.isdir(path):
        return f'nothing in this folder ends in {", ".join(suffixes)}' + (
            _others(path) if set(RASTERS) <= {*suffixes} else ''
        )
    if glob.has_magic(path):
        return 'check the path, and put quotes round a pattern so that it arrives unchanged'
    return 'check the path, and that its disk is mounted'


def _others(folder: str) -> str:
    """Say how to name rasters of a folder that are not looked for there."""
    endings = {os.path.splitext(name)[1] for name in os.listdir(folder)}
    named = sorted(ending for ending in endings if ending.lower() in _NAMED)
    patterns = [os.path.join(folder, f'*{ending}') for ending in named]
    return f'; name what it holds: {" ".join(patterns)}' if patterns else ''


def listed(paths: Paths) -> list[str]:
    """Return paths as a list of words, home folder and ``file:`` addresses written out."""
    words = [paths] if isinstance(paths, str | os.PathLike) else paths
    return [
        _plain(word) if word.lower().startswith('file:') else word
        for word in (os.path.expanduser(word) for word in words)
    ]


def _plain(address: str) -> str:
    """Path of a ``file:`` address, or of a file that is only called like one."""
    # With a folder before it, no library takes the name for an address.
    relative = os.path.join(os.curdir, address)
    return relative if os.path.lexists(relative) else local_file(address)


def local_file(href: str, home: str = '') -> str:
    """Find the file that an address or a path in a list names.

    Args:
        href: Path, relative to *home* or absolute, as it is or with escapes such as
            ``%20``; or an address that begins with ``file:``.
        home: Folder of the list.

    Returns:
        The path; of something that is elsewhere, the address itself.
    """
    scheme, _, rest = href.partition(':')
    if scheme.lower() == 'file':
        # Two slashes are followed by a host, of which only this one is local.
        href = rest.removeprefix('//').removeprefix('localhost')
    elif rest.startswith('//') and len(scheme) > 1:
        return href
    # A name that exists is that file, whatever characters it holds.
    paths = [
        os.path.normpath(os.path.join(home, os.path.expanduser(text)))
        for text in (href, unquote(href))
    ]
    return next((path for path in paths if os.path.exists(path)), paths[-1])


def readable_folders(paths: Paths) -> list[str]:
    """Return the real folders that paths speak of and that can be listed now.

    Args:
        paths: Files, folders or glob patterns.

    Returns:
        The folder itself, that of a file, or the one in which a pattern begins.
    """
    folders: dict[str, None] = {}
    for path in listed(paths):
        folder = path
        while glob.has_magic(folder) and not os.path.lexists(folder):
            folder = os.path.dirname(folder)
        if os.path.isfile(folder):
            folder = os.path.dirname(folder)
        folder = folder or os.curdir
        try:
            with os.scandir(folder):
                folders[os.path.realpath(folder)] = None
        except OSError:
            continue
    return list(folders)


def _of_match(
    path: str, suffixes: Sequence[str], error: type[Exception]
) -> Iterator[str]:
    """Give a file itself, and of a folder what it holds."""
    if _is_cube(path) or os.path.isfile(path):
        yield path
    elif os.path.isdir(path):
        yield from sorted(_inside(path, suffixes, set()))
    elif os.path.islink(path):
        raise error(f'{path} is a link to {os.readlink(path)}, which does not exist')
    else:
        # Reading a pipe or a device might never end.
        raise error(f'{path} is neither a file nor a folder: name a file')


def _inside(
    folder: str, suffixes: Sequence[str], seen: set[tuple[int, int]]
) -> Iterator[str]:
    """Walk through a folder; links may lead back, so each real folder is entered once."""
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise RasterError(
            f'{folder} cannot be listed ({error.strerror}): check its permissions'
        ) from error
    if (place := (status.st_dev, status.st_ino)) in seen:
        return
    seen.add(place)
    # Real folders come before links to them, so that the names of files stay as they are.
    for entry in sorted(entries, key=lambda entry: entry.is_symlink()):
        wanted = entry.name.lower().endswith(tuple(suffixes))
        if entry.name.startswith('.'):
            continue
        # A link to a file that is not there is named when it is opened, not passed over.
        lost = entry.is_symlink() and not os.path.exists(entry.path)
        if wanted and (entry.is_file() or _is_cube(entry.path) or lost):
            yield entry.path
        elif entry.is_dir():
            yield from _inside(entry.path, suffixes, seen)


def _is_cube(path: str) -> bool:
    """Say whether a path is a cube: a file, or a folder that is a Zarr store."""
    path = path.rstrip('/\\')
    return path.lower().endswith(CUBES) and (
        os.path.isfile(path) or (os.path.isdir(path) and path.lower().endswith('.zarr'))
    )
