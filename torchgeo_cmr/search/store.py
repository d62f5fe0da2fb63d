"""An index on disk: a folder whose files are memory-mapped.

::

    index/
      index.json                  what it is, and which of the rest counts
      segment-<n>/
        vectors.npy               whole vectors (n, dim) float32, along the curve
        codes.npy  scale.npy      what is scanned instead, unless vectors are float32
        boxes.npy                 bounds (n, 4) float64 in EPSG:4326
        numbers.npy  ties.npy     row number in the archive; alphabetical rank of patch_id
        attributes.arrow          Arrow IPC: all columns, and geometry as WKB
        approximate-<kind>.faiss  if one was asked for
      dead-<n>-<generation>.npy   positions of deleted rows of segment n

Nothing that ``index.json`` names is ever changed. New files are written first, then the
header is replaced by a rename: a reader sees the index before or after, and a reader that
is there already keeps what it has mapped. Nothing is pickled.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.sink import PARTS, header_file, is_archive

from .columns import StoredColumns, TableColumns
from .segment import Segment, build
from .vectors import Vectors

if TYPE_CHECKING:
    from .approximate import Approximate

#: Name and version of the format; a reader refuses higher versions.
FORMAT = 'torchgeo_cmr.index'
VERSION = 1

HEADER = 'index.json'
_LOCK = '.writer'
_TAIL = 65_536


def read_header(path: str | PathLike[str]) -> dict[str, Any]:
    """Read ``index.json``.

    Args:
        path: Folder of the index.

    Raises:
        ArchiveError: If it is missing, broken or of a newer format.

    .. versionadded:: 0.1
    """
    file = Path(path) / HEADER
    try:
        header = json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise ArchiveError(
            f'{path} is no index: it has no readable {HEADER}; make one with RetrievalIndex.build'
        ) from error
    except ValueError as error:
        raise ArchiveError(
            f'{file} is broken ({error}); build the index again'
        ) from error
    if not isinstance(header, dict) or header.get('format') != FORMAT:
        raise ArchiveError(f'{file} does not describe a {FORMAT}; name an index folder')
    if not isinstance(header.get('version'), int) or header['version'] > VERSION:
        raise ArchiveError(
            f'{file} has format version {header.get("version")} but this torchgeo_cmr reads up '
            f'to {VERSION}; install a newer torchgeo_cmr or build the index again'
        )
    return header


def write_header(path: Path, header: Mapping[str, Any]) -> None:
    """Replace ``index.json`` as a whole."""
    temporary = path / f'.tmp-{os.getpid()}-{HEADER}'
    text = json.dumps(header, indent=1, sort_keys=True, allow_nan=False) + '\n'
    temporary.write_text(text, encoding='utf-8')
    temporary.replace(path / HEADER)


def write_segment(folder: Path, segment: Segment) -> dict[str, Any]:
    """Write a segment into a new folder, which appears when it is complete.

    Args:
        folder: Folder to make.
        segment: A segment that was built.

    Returns:
        What the header says of it.

    .. versionadded:: 0.1
    """
    columns, vectors = segment.columns, segment.vectors
    assert isinstance(columns, StoredColumns)  # only built segments are written
    building = folder.with_name(f'.tmp-{os.getpid()}-{folder.name}')
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        arrays = {
            'vectors': vectors.whole,
            'boxes': columns.boxes,
            'numbers': segment.numbers,
            'ties': segment.ties,
        }
        if vectors.codes is not vectors.whole:
            arrays |= {'codes': vectors.codes, 'scale': vectors.scale}
        for name, array in arrays.items():
            if array is not None:
                np.save(building / f'{name}.npy', array, allow_pickle=False)
        with (
            pa.OSFile(str(building / 'attributes.arrow'), 'wb') as sink,
            pa.ipc.new_file(sink, columns.arrow.schema) as writer,
        ):
            writer.write_table(columns.arrow)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return {
        'name': folder.name,
        'rows': len(segment),
        'vectors': vectors.kind,
        'error': vectors.error if np.isfinite(vectors.error) else None,
        'dead': None,
    }


def read_segment(folder: Path, facts: Mapping[str, Any]) -> Segment:
    """Map a segment.

    Args:
        folder: Folder of the index.
        facts: What the header says of the segment.

    Raises:
        ArchiveError: If a file is missing, broken or of another size than the header says.

    .. versionadded:: 0.1
    """
    own = folder / facts['name']

    def array(name: str) -> NDArray[Any]:
        # Nothing can write through the map, and no array can hold Python objects.
        return np.load(own / f'{name}.npy', mmap_mode='r', allow_pickle=False)

    try:
        whole, boxes = array('vectors'), array('boxes')
        kind = str(facts['vectors'])
        codes = whole if kind in ('float32', 'hamming') else array('codes')
        scale = array('scale') if kind == 'int8' else None
        source = pa.memory_map(str(own / 'attributes.arrow'))
        attributes = pa.ipc.open_file(source).read_all()
        numbers, ties = array('numbers'), array('ties')
        dead = np.empty(0, np.int64)
        if facts['dead'] is not None:
            dead = np.load(folder / facts['dead'], allow_pickle=False)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ArchiveError(
            f'the index {folder} cannot be read ({error}); build it again'
        ) from error
    sizes = {len(a) for a in (whole, codes, boxes, numbers, ties)}
    if {*sizes, attributes.num_rows} != {facts['rows']}:
        raise ArchiveError(
            f'the files of {own} have different numbers of rows; build the index again'
        )
    error = float('inf') if facts['error'] is None else float(facts['error'])
    # Plain views: a memmap is a slower kind of array.
    plain = np.asarray(whole)
    kept = Vectors(
        plain,
        kind,
        plain if codes is whole else np.asarray(codes),
        None if scale is None else np.asarray(scale),
        error,
    )
    columns = StoredColumns(np.asarray(boxes), attributes)
    return Segment(columns, kept, np.asarray(numbers), np.asarray(ties), dead)


def check_free(path: str | PathLike[str], *, overwrite: bool) -> None:
    """Refuse a folder that must not be made, before any work is done for it.

    Args:
        path: Where an index shall be.
        overwrite: Replace an index, never anything else.

    Raises:
        OutputExistsError: If the path is there and is not to be, or must not be, replaced.
    """
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputExistsError(
            f'{path} is there already; choose another name or overwrite it'
        )
    if not (Path(path) / HEADER).is_file():
        raise OutputExistsError(
            f'{path} is no index, so it is not replaced; choose another name'
        )


@contextmanager
def new_folder(path: str | PathLike[str], *, overwrite: bool) -> Generator[Path]:
    """Make a folder under a temporary name, then rename it.

    Args:
        path: Where the index shall be; parents are made.
        overwrite: Replace an index, never anything else.

    Raises:
        OutputExistsError: As :func:`check_free`.
    """
    check_free(path, overwrite=overwrite)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f'.{target.name}.tmp-{os.getpid()}')
    retired = target.with_name(f'.{target.name}.old-{os.getpid()}')
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        yield building
        if target.exists():
            target.rename(retired)
        building.rename(target)
    finally:
        if retired.exists() and not target.exists():
            retired.rename(target)
        for folder in (building, retired):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writing(path: Path) -> Generator[dict[str, Any]]:
    """Let one process change an index: its newest header, written back at the end.

    Raises:
        ArchiveError: If another process is changing it.
    """
    lock = path / _LOCK
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError as error:
        raise ArchiveError(
            f'another process is changing the index {path}; wait, or remove {lock} if it died'
        ) from error
    try:
        header = read_header(path)
        yield header
        header['generation'] += 1
        write_header(path, header)
    finally:
        lock.unlink(missing_ok=True)


def fingerprint(archive: EmbeddingTable | str | PathLike[str]) -> str:
    """Give a short text that tells one archive from another.

    Args:
        archive: A table: its vectors and ids are read. Or an archive folder: its header, and
            names, sizes and ends of its parts, which hold their statistics.

    .. versionadded:: 0.1
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
    folder: Path, number: int, segment: Segment, approximate: Sequence['Approximate']
) -> dict[str, Any]:
    """Write a segment and its approximate indexes, and give what the header says of them.

    A table that was never put in order is put in order first.

    .. versionadded:: 0.1
    """
    if isinstance(segment.columns, TableColumns):
        built = build(segment.columns.table, segment.vectors.kind)
        assert built.numbers is not None  # a built segment has them
        dead = np.flatnonzero(np.isin(built.numbers, segment.dead))
        segment = replace(built, dead=dead)
    name = f'segment-{number}'
    # Left by a process that died before it named the segment in the header.
    shutil.rmtree(folder / name, ignore_errors=True)
    facts = write_segment(folder / name, segment)
    if len(segment.dead):
        facts['dead'] = add_dead(folder, number, 0, segment.dead)
    facts['approximate'] = [
        one.write(folder / name / f'approximate-{one.kind}.faiss')
        for one in approximate
    ]
    return facts


def add_dead(
    folder: Path, number: int, generation: int, dead: NDArray[np.int64]
) -> str:
    """Write the positions of deleted rows and give the file's name."""
    name = f'dead-{number}-{generation}.npy'
    temporary = folder / f'.tmp-{os.getpid()}-{name}'
    np.save(temporary, dead, allow_pickle=False)
    temporary.replace(folder / name)
    return name


def read_approximate(
    folder: Path, facts: Mapping[str, Any]
) -> tuple['Approximate', ...]:
    """Read the approximate indexes of a segment.

    Raises:
        ArchiveError: If a file is missing or broken.
    """
    if not facts['approximate']:
        return ()
    from .approximate import read

    own = folder / facts['name']
    try:
        return tuple(
            read(own / f'approximate-{one["kind"]}.faiss', one)
            for one in facts['approximate']
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise ArchiveError(
            f'an approximate index of {own} cannot be read ({error}); build the index again'
        ) from error
