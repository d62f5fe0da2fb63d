"""An index on disk: a folder whose files are memory-mapped.

::

    index/
      index.json                  what it is, and which of the rest counts
      segment-<n>/
        vectors.npy               whole vectors (n, dim) float32, along the curve
        codes.npy                 what is scanned instead, or before float32 vectors
        scale.npy  lost.npy       factor, and length of what rounding took away, for codes of int8
        axes.npy                  principal axes of float32 vectors, if few of them tell most
        head.npy  tail.npy        coordinates along them, and length of the rest
        boxes.npy                 bounds (n, 4) float64 in EPSG:4326
        numbers.npy  ties.npy     row number in the archive; alphabetical rank of patch_id
        digests.npy               16 bytes per row that identify its id and vector
        attributes.arrow          Arrow IPC: all columns, and geometry as WKB
        approximate-<kind>.faiss  if one was requested
      dead-<n>-<generation>.npy   positions of deleted rows of segment n

Arrays and Arrow file of a segment end in, or name, the random token that the header has of it too, so files
of two indexes are not mixed.

Nothing that ``index.json`` names is ever changed, and no name is given twice: an index that is
built in the place of another numbers its segments on. New files are written first, then the
header is replaced by a rename, then files that it no longer names are removed: a reader sees the
index before or after, and a reader that is there already keeps what it has mapped. Nothing is
pickled.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.drafts import check_folder, disk_faults, draft_folder, stamp, sweep
from torchgeo_cmr.durable import checksum, flush
from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.regular_files import check_special
from torchgeo_cmr.search.mapped_files import MappedFiles, write_array, write_table
from torchgeo_cmr.search.rank.int8_codes import Int8Codes
from torchgeo_cmr.search.rank.principal_heads import Heads
from torchgeo_cmr.search.rank.vectors import KINDS, Vectors
from torchgeo_cmr.search.where.columns import StoredColumns, TableColumns
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.folder import PARTS, header_file, is_archive
from torchgeo_cmr.table.archive.records import Record
from torchgeo_cmr.table.provenance import Content
from torchgeo_cmr.table.schema import STANDARD, Metric
from torchgeo_cmr.typed_json import check_versioned, decode, signed_text, unsigned

from .segment import Segment, build, check_rows

if TYPE_CHECKING:
    from torchgeo_cmr.search.rank.approximate import Approximate

#: Name and version of the format; a reader refuses higher versions.
FORMAT = 'torchgeo_cmr.index'
VERSION = 1

HEADER = 'index.json'
_LOCK = '.writer'
_TAIL = 65_536
_CURE = 'build the index again'
_OURS = re.compile(r'index\.json|\.writer|segment-\d+|dead-\d+-\d+\.npy|\.tmp-.*')
_FILES = re.compile(r'[a-z]+\.npy|attributes\.arrow|approximate-[a-z_]+\.faiss')


class ApproximateEntry(TypedDict):
    """What the header says of an approximate part of a segment."""

    kind: str
    effort: int
    spare: int
    recall: float


class SegmentEntry(TypedDict):
    """What the header says of a segment."""

    name: str
    rows: int
    vectors: str
    error: float | None
    #: Whether float32 vectors have codes, and heads, as well.
    codes: NotRequired[bool]
    heads: NotRequired[bool]
    dead: str | None
    content: NotRequired[str]
    approximate: NotRequired[list[ApproximateEntry]]
    #: File -> CRC-32; indexes of earlier versions have none.
    files: NotRequired[dict[str, str]]
    #: What the arrays and the Arrow file hold as well; those of earlier versions do not.
    token: NotRequired[str]
    dead_checksum: NotRequired[str | None]


class Header(TypedDict):
    """What ``index.json`` holds."""

    format: str
    version: int
    generation: int
    next: NotRequired[int]
    dim: int
    metric: Metric
    spaces: list[str]
    record: Record
    fingerprint: str | None
    build: NotRequired[str | None]
    #: Whether float32 vectors get codes; those of earlier versions do when rows are added.
    codes: NotRequired[bool]
    segments: list[SegmentEntry]
    #: CRC-32 of the rest.
    checksum: NotRequired[str]


def read_header(path: str | PathLike[str]) -> dict[str, Any]:
    """Read ``index.json``.

    Args:
        path: Folder of the index.

    Raises:
        ArchiveError: If it is missing, broken or of a newer format.
    """
    file = Path(path) / HEADER
    check_special(file, ArchiveError)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ArchiveError(
            f'{path} is not an index: it has no readable {HEADER}; make one '
            'with RetrievalIndex.build'
        ) from error
    facts = decode(text, dict[str, Any], str(file), _CURE)
    if facts.get('format') != FORMAT:
        raise ArchiveError(f'{file} does not describe a {FORMAT}; name an index folder')
    check_versioned(facts, Header, VERSION, str(file), _CURE)
    plain, edited = unsigned(facts, text, str(file), _CURE)
    for entry in plain['segments']:
        _check_entry(entry, file)
        # Without a bound on what codes lost, whole vectors are scanned.
        if edited and entry['vectors'] in ('float16', 'int8'):
            entry['error'] = None
        if edited or 'checksum' not in facts:  # as none of ours that has codes
            entry.pop('codes', None)
            entry.pop('heads', None)
    names = {entry['name'] for entry in plain['segments']}
    if not names or len(names) < len(plain['segments']):
        raise ArchiveError(f'{file} is broken (no parts, or one twice); {_CURE}')
    return plain


def _check_entry(facts: Mapping[str, Any], file: Path) -> None:
    """Refuse a header that names files outside its folder, or impossible numbers."""
    names = [facts['name'], *([facts['dead']] if facts['dead'] is not None else [])]
    names_ours = all(_OURS.fullmatch(name) for name in names)
    kinds = [entry['kind'] for entry in facts.get('approximate', ())]
    files = [*facts.get('files', ()), *(f'approximate-{kind}.faiss' for kind in kinds)]
    content = facts.get('content', '0')
    if (
        not names_ours
        or not all(_FILES.fullmatch(name) for name in files)
        or facts['vectors'] not in (*KINDS, 'hamming')
        or facts['rows'] < 0
        or not re.fullmatch('[0-9a-f]+', content)
    ):
        raise ArchiveError(
            f'{file} is broken (the entry of {facts["name"]!r:.40} is not possible); {_CURE}'
        )


def write_header(path: Path, header: Mapping[str, Any]) -> None:
    """Replace ``index.json`` as a whole: the moment at which a change is there."""
    temporary = path / f'.{stamp()}'
    temporary.write_bytes(signed_text(header))
    flush(temporary)
    flush(path)  # the names that the header names, before it
    temporary.replace(path / HEADER)
    flush(path)


def write_first_header(path: Path, header: Mapping[str, Any]) -> None:
    """Write ``index.json`` into a folder that has no name yet; its entries are flushed later."""
    (path / HEADER).write_bytes(signed_text(header))
    flush(path / HEADER)


def write_segment(folder: Path, segment: Segment) -> dict[str, Any]:
    """Write a segment into a new folder; its files are on the disk, and its names not yet.

    Args:
        folder: Folder to make, which no header names.
        segment: A segment that was built.

    Returns:
        Its entry in the header.
    """
    columns, vectors = segment.columns, segment.vectors
    assert isinstance(columns, StoredColumns)  # only built segments are written
    folder.mkdir(parents=True)
    token = uuid.uuid4().hex
    arrays = {
        'vectors': vectors.whole,
        'boxes': columns.boxes,
        'numbers': segment.numbers,
        'ties': segment.ties,
        'digests': segment.digests,
    }
    if vectors.codes is not vectors.whole:
        arrays |= {'codes': vectors.codes, 'scale': vectors.scale}
        arrays['lost'] = vectors.lost
    elif quick := vectors.quick:
        arrays |= {'codes': quick.codes, 'scale': quick.scale, 'lost': quick.lost}
    if heads := vectors.heads:
        arrays |= {'axes': heads.axes, 'head': heads.coordinates, 'tail': heads.tail}
    files = {}
    for name, array in arrays.items():
        if array is not None:
            file = folder / f'{name}.npy'
            files[file.name] = write_array(file, array, token)
    files['attributes.arrow'] = write_table(
        folder / 'attributes.arrow', columns.arrow, token
    )
    for name in files:
        flush(folder / name)
    return {
        'name': folder.name,
        'rows': len(segment),
        'vectors': vectors.kind,
        'error': vectors.error if np.isfinite(vectors.error) else None,
        **({'codes': True} if vectors.quick is not None else {}),
        **({'heads': True} if vectors.heads is not None else {}),
        'dead': None,
        'content': f'{segment.content.value:x}',
        'files': files,
        'token': token,
    }


def read_segment(folder: Path, facts: Mapping[str, Any]) -> Segment:
    """Map a segment.

    Args:
        folder: Folder of the index.
        facts: The segment's entry in the header.

    Raises:
        ArchiveError: If a file is missing, broken or of another size than in the header.
    """
    home = folder / facts['name']
    known = 'content' in facts  # indexes of earlier versions have no digests of rows
    files = MappedFiles(home, facts.get('files', {}), facts.get('token'))
    with _reading(folder):
        attributes = files.table('attributes.arrow')
        boxes = files.array('boxes.npy', np.float64)
        kept = _map_vectors(files, facts)
        numbers = files.array('numbers.npy', np.int64)
        ties = files.array('ties.npy', np.int64)
        digests = files.array('digests.npy', np.uint8) if known else None
        dead = _read_dead(folder, facts)
    arrays = [boxes, numbers, ties, *([] if digests is None else [digests])]
    if {*map(len, arrays), *kept.lengths, attributes.num_rows} != {facts['rows']}:
        raise ArchiveError(
            f'the files of {home} have different numbers of rows; build the index again'
        )
    with _reading(folder):
        files.compare_all()
    shapes = [(boxes, 2), (numbers, 1), (ties, 1), (dead, 1)]
    fits = boxes.shape[1:] == (4,) and _fits(kept)
    if any(array.ndim != axes for array, axes in shapes) or not fits:
        raise ArchiveError(
            f'the files of {home} have other shapes; build the index again'
        )
    missing = {*STANDARD, 'geometry'} - set(attributes.column_names)
    if missing:
        raise ArchiveError(
            f'{home / "attributes.arrow"} has no column {min(missing)}; build the index again'
        )
    dead = np.asarray(check_rows(dead, facts['rows'], 'deleted rows'))
    columns = StoredColumns(boxes, attributes)
    content = None
    if known:
        content = Content(facts['rows'] - len(dead), int(facts['content'], 16))
    return Segment(columns, kept, numbers, ties, dead, digests, content)


@contextmanager
def _reading(folder: Path) -> Generator[None]:
    """Name the index whose file cannot be read."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArchiveError(
            f'the index {folder} cannot be read ({error}); build it again'
        ) from error


def count_deleted(folder: Path, facts: Mapping[str, Any]) -> int:
    """Count the deleted rows of a part.

    Args:
        folder: Folder of the index.
        facts: What its header says of the part.

    Raises:
        ArchiveError: If they cannot be read, or are damaged.
    """
    with _reading(folder):
        return len(_read_dead(folder, facts))


def _read_dead(folder: Path, facts: Mapping[str, Any]) -> NDArray[np.int64]:
    """Map the positions of deleted rows, all of which count.

    Raises:
        OSError: If they cannot be opened.
        ValueError: If they are damaged.
    """
    name, expected = facts['dead'], facts.get('dead_checksum')
    if name is None:
        return np.empty(0, np.int64)
    files = MappedFiles(folder, {} if expected is None else {name: expected})
    files.compare(name)
    return files.array(name, np.int64)


def _map_vectors(files: MappedFiles, facts: Mapping[str, Any]) -> Vectors:
    """Map vectors and their codes.

    Raises:
        OSError: If a file cannot be opened.
        ValueError: If it is damaged.
    """
    kind, error = str(facts['vectors']), facts['error']
    whole = files.array('vectors.npy')
    plain = kind in ('float32', 'hamming')
    codes = whole if plain else files.array('codes.npy')
    scale = lost = quick = heads = None
    if kind == 'int8':
        scale = files.array('scale.npy', np.float32)
        # Indexes of earlier versions know the largest only.
        known = 'lost.npy' in facts.get('files', {})
        lost = files.array('lost.npy', np.float32) if known else None
    elif kind == 'float32' and facts.get('codes'):
        quick = Int8Codes(
            files.array('codes.npy', np.int8),
            files.array('scale.npy', np.float32),
            files.array('lost.npy', np.float32),
        )
    if kind == 'float32' and facts.get('heads'):
        axes, head, tail = (
            files.array(f'{name}.npy', np.float32) for name in ('axes', 'head', 'tail')
        )
        heads = Heads(axes, head, tail)
    error = float('inf') if error is None else float(error)
    return Vectors(whole, kind, codes, scale, error, lost, quick, heads)


def _fits(kept: Vectors) -> bool:
    """Say whether codes are of their kind and stand for the vectors."""
    whole, codes, kind = kept.whole, kept.codes, kept.kind
    dtype = {'binary': 'uint8', 'hamming': 'uint8'}.get(kind, kind)
    width = -(-whole.shape[-1] // 8) if kind == 'binary' else whole.shape[-1]
    fits = whole.ndim == 2 and codes.dtype == dtype and codes.shape[1:] == (width,)
    flat = [array for array in (kept.scale, kept.lost) if array is not None]
    if quick := kept.quick:
        fits = fits and quick.codes.shape[1:] == (width,)
        flat += [quick.scale, quick.lost]
    if heads := kept.heads:
        length = heads.axes.shape[-1]
        fits = fits and heads.axes.shape == (width, length)
        fits = fits and heads.coordinates.shape[1:] == (length,)
        flat.append(heads.tail)
    return fits and all(array.ndim == 1 for array in flat)


def checksums(facts: Mapping[str, Any]) -> dict[str, str]:
    """Give the checksum of each file of a segment, by its name relative to the index.

    Args:
        facts: The segment's entry in the header; indexes of earlier versions have none.
    """
    made = {f'{facts["name"]}/{n}': d for n, d in facts.get('files', {}).items()}
    if facts['dead'] is not None and facts.get('dead_checksum'):
        made[facts['dead']] = facts['dead_checksum']
    return made


def check_free(path: str | PathLike[str], *, overwrite: bool) -> None:
    """Refuse a folder that must not be made, before any work is done for it.

    Args:
        path: Where an index is to be.
        overwrite: Replace an index, never anything else.

    Raises:
        OutputExistsError: If the path is there and is not to be, or must not be, replaced.
        QueryError: If it is an address.
    """
    check_folder(path)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputExistsError(
            f'{path} is there already; choose another name or overwrite it'
        )
    try:
        header = read_header(path)
    except ArchiveError as error:
        raise OutputExistsError(
            f'{path} is not an index, so it is not replaced ({error}); choose another name'
        ) from error
    if strange := _strange(Path(path), header):
        raise OutputExistsError(
            f'{path} also holds {strange}, which is not of the index, so it is not replaced; '
            'move that away or choose another name'
        )


def _strange(folder: Path, header: Mapping[str, Any]) -> str | None:
    """Name something in the folder of an index that the index did not write."""
    entries = {facts['name']: facts for facts in header['segments']}
    for item in sorted(folder.iterdir()):
        if item.is_symlink() or not _OURS.fullmatch(item.name):
            return item.name
        if item.name in entries:
            for file in sorted(item.iterdir()):
                if file.is_symlink() or not _FILES.fullmatch(file.name):
                    return f'{item.name}/{file.name}'
    return None


@contextmanager
def new_folder(path: str | PathLike[str]) -> Generator[Path]:
    """Make a folder under a temporary name, then rename it.

    Args:
        path: Where the index is to be, which must be free; parents are made.

    Raises:
        OutputExistsError: If something has come there meanwhile.
    """
    check_folder(path)
    target = Path(path)
    building = draft_folder(target)
    with disk_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent, target.name)
        building.mkdir()
        try:
            yield building
            flush(building)
            check_free(target, overwrite=False)
            try:
                building.rename(target)
            except OSError:
                check_free(target, overwrite=False)  # made in between
                raise
            flush(target.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Generator[dict[str, Any]]:
    """Let one process change an index: its newest header, written back at the end.

    The lock goes with the process that holds it, however that ends; its file stays.

    Raises:
        ArchiveError: If another process is changing it.
    """
    from filelock import FileLock, Timeout  # not needed to search

    read_header(path)
    lock = FileLock(path / _LOCK, timeout=0)
    with disk_faults(path / HEADER):
        try:
            lock.acquire()
        except Timeout as error:
            raise ArchiveError(
                f'another process is changing the index {path}; wait until it is done'
            ) from error
        try:
            header = read_header(path)
            yield header
            header['generation'] += 1
            write_header(path, header)
        finally:
            try:
                with suppress(ArchiveError, OSError):  # the folder may be gone
                    _sweep(path)
            finally:
                lock.release()


def _sweep(path: Path) -> None:
    """Remove what the header no longer names, or what a writer that failed has left."""
    named = {
        name
        for facts in read_header(path)['segments']
        for name in (facts['name'], facts['dead'])
    }
    for item in path.iterdir():
        if item.name in {*named, HEADER, _LOCK} or not _OURS.fullmatch(item.name):
            continue
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            with suppress(OSError):  # in use, where open files cannot go
                item.unlink()


def next_number(header: Mapping[str, Any]) -> int:
    """Give the number of the next segment, which no segment of the folder ever had."""
    found = [int(facts['name'].split('-')[1]) + 1 for facts in header['segments']]
    return max([int(header.get('next', 0)), *found])


def older_fingerprint(archive: EmbeddingTable | str | PathLike[str]) -> str:
    """Give what indexes named as their archive before archives had a fingerprint.

    Args:
        archive: A table: its vectors and ids are read. Or an archive folder: its header, and
            names, sizes and ends of its parts, which hold their statistics.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(archive, EmbeddingTable):
        digest.update('\0'.join(archive.frame['patch_id']).encode())
        digest.update(np.ascontiguousarray(archive.vectors))
        return f'table:{digest.hexdigest()}'
    folder = Path(archive)
    header = [header_file(folder)] if is_archive(folder) else []
    for file in [*header, *sorted(folder.glob(PARTS))]:
        size = file.stat().st_size
        digest.update(f'{file.name}\0{size}\0'.encode())
        with file.open('rb') as content:
            content.seek(max(0, size - _TAIL))
            digest.update(content.read())
    return f'folder:{digest.hexdigest()}'


def add_segment(
    folder: Path,
    number: int,
    segment: Segment,
    approximate: Sequence['Approximate'],
    generation: int = 0,
) -> dict[str, Any]:
    """Write a segment and its approximate indexes, and give their entries in the header.

    A table that was never sorted is sorted first.

    Args:
        folder: Folder of the index.
        number: Number that no segment of the folder ever had.
        segment: The segment.
        approximate: Its approximate indexes.
        generation: Generation of the header that will name it.
    """
    if isinstance(segment.columns, TableColumns):
        built = build(segment.columns.table, segment.vectors.kind)
        assert built.numbers is not None  # a built segment has them
        segment = built.without(np.flatnonzero(np.isin(built.numbers, segment.dead)))
    name = f'segment-{number}'
    # Left by a process that died before it named the segment in the header.
    shutil.rmtree(folder / name, ignore_errors=True)
    if segment.digests is None:  # of an older index
        segment = replace(segment, digests=segment.computed)
    facts = write_segment(folder / name, segment)
    if len(segment.dead):
        facts |= add_dead(folder, number, generation, segment.dead)
    facts['approximate'] = []
    for part in approximate:
        file = folder / name / f'approximate-{part.kind}.faiss'
        facts['approximate'].append(part.write(file))
        flush(file)
        facts['files'][file.name] = checksum(file)
    flush(folder / name)
    return facts


def add_dead(
    folder: Path, number: int, generation: int, dead: NDArray[np.int64]
) -> dict[str, str]:
    """Write the positions of deleted rows and give the file's name and checksum."""
    name = f'dead-{number}-{generation}.npy'
    temporary = folder / f'.{stamp()}.npy'
    np.save(temporary, dead, allow_pickle=False)
    flush(temporary)
    temporary.replace(folder / name)
    return {'dead': name, 'dead_checksum': checksum(folder / name)}


def map_approximate(
    folder: Path, facts: Mapping[str, Any]
) -> tuple[pa.NativeFile, ...]:
    """Map the files of the approximate indexes of a segment; nothing is read.

    Raises:
        ArchiveError: If a file is missing.
    """
    home = folder / facts['name']
    try:
        return tuple(
            pa.memory_map(str(home / f'approximate-{entry["kind"]}.faiss'))
            for entry in facts.get('approximate', ())
        )
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ArchiveError(
            f'an approximate index of {home} cannot be read ({error}); build the index again'
        ) from error


def read_approximate(
    folder: Path, facts: Mapping[str, Any], files: Sequence[pa.NativeFile]
) -> tuple['Approximate', ...]:
    """Read the approximate indexes of a segment from their mapped files.

    Raises:
        ArchiveError: If a file is broken.
    """
    if not files:
        return ()
    from torchgeo_cmr.search.rank.approximate import read

    try:
        for file, entry in zip(files, facts['approximate'], strict=True):
            # faiss reads the file whole, and trusts it.
            expected = facts.get('files', {}).get(f'approximate-{entry["kind"]}.faiss')
            file.seek(0)
            if expected is not None and checksum(file.read_buffer()) != expected:
                raise ValueError(f'approximate-{entry["kind"]}.faiss is damaged')
        return tuple(
            read(file, entry)
            for file, entry in zip(files, facts['approximate'], strict=True)
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise ArchiveError(
            f'an approximate index of {folder / facts["name"]} cannot be read ({error}); build '
            'the index again'
        ) from error
