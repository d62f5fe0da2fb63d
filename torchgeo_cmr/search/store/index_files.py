"""An index on disk: a folder whose files are memory-mapped.

::

    index/
      index.json                  what it is, and which of the rest counts
      segment-<n>/
        vectors.npy               whole vectors (n, dim) float32, along the curve
        codes.npy  scale.npy      what is scanned instead, unless vectors are float32
        boxes.npy                 bounds (n, 4) float64 in EPSG:4326
        numbers.npy  ties.npy     row number in the archive; alphabetical rank of patch_id
        digests.npy               16 bytes per row that identify its id and vector
        attributes.arrow          Arrow IPC: all columns, and geometry as WKB
        approximate-<kind>.faiss  if one was requested
      dead-<n>-<generation>.npy   positions of deleted rows of segment n

Nothing that ``index.json`` names is ever changed, and no name is given twice: an index that is
built in the place of another numbers its segments on. New files are written first, then the
header is replaced by a rename, then files that it no longer names are removed: a reader sees the
index before or after, and a reader that is there already keeps what it has mapped. Nothing is
pickled.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, OutputExistsError
from torchgeo_cmr.search.rank.vectors import Vectors
from torchgeo_cmr.search.where.columns import StoredColumns, TableColumns
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.provenance import Content
from torchgeo_cmr.table.sink import PARTS, header_file, is_archive

from .segment import Segment, build

if TYPE_CHECKING:
    from torchgeo_cmr.search.rank.approximate import Approximate

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
    """
    file = Path(path) / HEADER
    try:
        header = json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise ArchiveError(
            f'{path} is not an index: it has no readable {HEADER}; make one '
            'with RetrievalIndex.build'
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
        Its entry in the header.
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
            'digests': segment.digests,
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
        'content': f'{segment.content.value:x}',
    }


def read_segment(folder: Path, facts: Mapping[str, Any]) -> Segment:
    """Map a segment.

    Args:
        folder: Folder of the index.
        facts: The segment's entry in the header.

    Raises:
        ArchiveError: If a file is missing, broken or of another size than in the header.
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
        # Indexes that were built before there were digests have none.
        known = 'content' in facts
        digests = np.asarray(array('digests')) if known else None
        dead = np.empty(0, np.int64)
        if facts['dead'] is not None:
            dead = np.load(folder / facts['dead'], allow_pickle=False)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ArchiveError(
            f'the index {folder} cannot be read ({error}); build it again'
        ) from error
    arrays = (
        whole,
        codes,
        boxes,
        numbers,
        ties,
        *(() if digests is None else (digests,)),
    )
    sizes = {len(a) for a in arrays}
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
    content = None
    if known:
        content = Content(facts['rows'] - len(dead), int(facts['content'], 16))
    return Segment(
        columns, kept, np.asarray(numbers), np.asarray(ties), dead, digests, content
    )


def check_free(path: str | PathLike[str], *, overwrite: bool) -> None:
    """Refuse a folder that must not be made, before any work is done for it.

    Args:
        path: Where an index is to be.
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
            f'{path} is not an index, so it is not replaced; choose another name'
        )


@contextmanager
def new_folder(path: str | PathLike[str]) -> Generator[Path]:
    """Make a folder under a temporary name, then rename it.

    Args:
        path: Where the index is to be, which must be free; parents are made.

    Raises:
        OutputExistsError: If something has come there meanwhile.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = target.with_name(f'.{target.name}.tmp-{os.getpid()}')
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    try:
        yield building
        check_free(target, overwrite=False)
        building.rename(target)
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
        _sweep(path)
        lock.release()


def _sweep(path: Path) -> None:
    """Remove what the header no longer names, or what a writer that failed has left."""
    named = {
        name
        for facts in read_header(path)['segments']
        for name in (facts['name'], facts['dead'])
    }
    for pattern in ('segment-*', 'dead-*', '.tmp-*'):
        for one in path.glob(pattern):
            if one.is_dir() and one.name not in named:
                shutil.rmtree(one, ignore_errors=True)
            elif one.name not in named:
                with suppress(OSError):  # in use, where open files cannot go
                    one.unlink()


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
        facts['dead'] = add_dead(folder, number, generation, segment.dead)
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


def map_approximate(
    folder: Path, facts: Mapping[str, Any]
) -> tuple[pa.NativeFile, ...]:
    """Map the files of the approximate indexes of a segment; nothing is read.

    Raises:
        ArchiveError: If a file is missing.
    """
    own = folder / facts['name']
    try:
        return tuple(
            pa.memory_map(str(own / f'approximate-{one["kind"]}.faiss'))
            for one in facts.get('approximate', ())
        )
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ArchiveError(
            f'an approximate index of {own} cannot be read ({error}); build the index again'
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
        return tuple(
            read(file, one)
            for file, one in zip(files, facts['approximate'], strict=True)
        )
    except (RuntimeError, KeyError, ValueError) as error:
        raise ArchiveError(
            f'an approximate index of {folder / facts["name"]} cannot be read ({error}); build '
            'the index again'
        ) from error
