"""Whether an archive is as it was written: every byte of every part is read."""

import os
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError, Finding
from torchgeo_cmr.regular_files import check_special, name_finding
from torchgeo_cmr.table.provenance import Content, row_digests
from torchgeo_cmr.table.schema import check_vectors

from .completeness import missing_parts
from .folder import PARTS, header_file, part_name, read_header
from .part_footers import WHOLE, check_metadata, check_part, refused
from .part_schema import from_arrow
from .records import CURE

_NONE = 'name a folder that embed or index has written'
_PART = 'remove it and run the command that embedded it again'


def verify_archive(path: str | PathLike[str]) -> Iterator[Finding]:
    """Compare an archive with what its writer recorded of it.

    Of each part: the checksum of each page, offsets, ids, footprints, length and numbers of the
    vectors, and the digest of ids and vectors. Of the whole: number of rows, ids that occur twice.
    Memory is that of one row group of a part.

    Args:
        path: Folder of the archive.

    Yields:
        One finding per file, and one per fault of the whole.

    Examples:
        >>> import tempfile
        >>> import geopandas as gpd
        >>> from torchgeo_cmr.table import EmbeddingTable
        >>> points = gpd.points_from_xy([10, 11], [46, 47])
        >>> frame = gpd.GeoDataFrame(
        ...     {'patch_id': ['a', 'b']}, geometry=points, crs='EPSG:4326'
        ... )
        >>> table = EmbeddingTable.from_frame(frame, [[1, 0], [0, 1]], space='demo')
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = table.save(f'{folder.name}/archive')
        >>> [finding.fault for finding in verify_archive(path)]
        ['', '']
        >>> part = next(path.glob('part-*'))
        >>> _ = part.write_bytes(part.read_bytes()[:-9])
        >>> [bool(finding.fault) for finding in verify_archive(path)]
        [False, True]
        >>> folder.cleanup()
    """
    folder = Path(path)
    file = str(header_file(folder))
    if finding := name_finding(folder):
        yield finding
        return
    try:
        header = read_header(folder)
    except ArchiveError as error:
        was_one = os.path.lexists(file) or any(folder.glob(PARTS))
        yield Finding(file, _sentence(error), CURE if was_one else _NONE)
        return
    yield Finding(file)
    ids: list[NDArray[np.uint64]] = []
    broken = False
    for part in sorted(folder.glob(PARTS)):
        if finding := name_finding(part):
            broken = True
            yield finding
            continue
        try:
            ids.append(_verify_part(part, header['dim']))
            yield Finding(str(part))
        except (
            ArchiveError,
            OSError,
            KeyError,
            ValueError,
            pa.ArrowException,
        ) as error:
            broken = True
            reason = refused(error)
            fault, cure = reason or _sentence(error), WHOLE if reason else _PART
            yield Finding(str(part), fault, cure)
    for name in missing_parts(folder, header):
        broken = True
        yield Finding(str(folder / name), 'it is missing', _PART.partition(' and ')[2])
    if broken:
        return  # what the whole lacks is then no news
    every = np.concatenate(ids) if ids else np.empty(0, np.uint64)
    if header.get('rows', len(every)) != len(every):
        fault = f'the parts hold {len(every)} of {header["rows"]} rows: one is missing'
        yield Finding(str(folder), fault, CURE)
    if twice := len(every) - len(np.unique(every)):
        yield Finding(
            str(folder),
            f'{twice} values of patch_id occur twice',
            'remove one of the parts',
        )


def _sentence(error: Exception) -> str:
    return ' '.join(str(error).split()) or type(error).__name__


def _verify_part(part: Path, dim: int) -> NDArray[np.uint64]:
    """Read a part as a whole, row group by row group, and give a number for each id.

    Raises:
        ArchiveError: If something is not as it was written.
    """
    check_special(part, ArchiveError)
    with pq.ParquetFile(part, page_checksum_verification=True) as file:
        facts = check_part(file.schema_arrow, dim, part.name)
        check_metadata(file, part.name)
        if part.name != part_name(str(facts['key'])):
            raise ArchiveError(f'its name is not that of its key {facts["key"]!r:.80}')
        numbers: list[NDArray[np.int64]] = []
        digests: list[NDArray[np.uint8]] = []
        ids: list[NDArray[np.uint64]] = []
        for i in range(file.num_row_groups):
            rows = file.read_row_group(i)
            rows.validate(full=True)
            numbers.append(rows.column('part_row').to_numpy())
            names, vectors = _verify_rows(rows)
            digests.append(row_digests(names, vectors))
            ids.append(_numbers(names))
    order = np.concatenate(numbers) if numbers else np.empty(0, np.int64)
    if not np.array_equal(np.sort(order), np.arange(len(order))):
        raise ArchiveError('the numbers of its rows are not 0, 1, 2 and so on')
    made = np.concatenate(digests)[np.argsort(order)] if digests else np.empty((0, 16))
    _compare(facts, Content.of(made.astype(np.uint8)))
    return np.concatenate(ids) if ids else np.empty(0, np.uint64)


def _verify_rows(rows: pa.Table) -> tuple[pd.Series, NDArray[Any]]:
    """Give ids and vectors of some rows.

    Raises:
        ArchiveError: If an id is missing, a footprint is no geometry, or a vector is not of length 1.
    """
    frame, vectors = from_arrow(rows)
    names = frame['patch_id']
    if names.isna().any() or (names == '').any():
        raise ArchiveError('a row has no patch_id')
    shapely.bounds(frame.geometry.to_numpy())
    check_vectors(names, vectors)
    return names, vectors


def _numbers(names: pd.Series) -> NDArray[np.uint64]:
    """Give 8 bytes that identify each id: all ids would be kept in memory for nothing."""
    digests = row_digests(names, np.zeros((len(names), 1), np.uint8))
    return digests[:, :8].copy().view(np.uint64).ravel()


def _compare(facts: Mapping[str, Any], found: Content) -> None:
    """Compare rows with what the part records of them; parts of earlier versions do not."""
    if facts.get('rows', found.rows) != found.rows:
        raise ArchiveError(f'it holds {found.rows} of {facts["rows"]} rows')
    if 'content' in facts and facts['content'] != f'{found.value:x}':
        raise ArchiveError('ids or vectors are not those that were written')
