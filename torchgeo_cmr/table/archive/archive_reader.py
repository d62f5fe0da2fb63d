"""An archive read as a whole: its rows, or what headers and footers say of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
from numpy.typing import NDArray

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.kinds import are_plain_together
from torchgeo_cmr.table.provenance import Content
from torchgeo_cmr.table.schema import check_vectors, empty_frame

from .completeness import complete_parts
from .folder import read_header
from .part_footers import AGAIN, Footer, read_footers
from .part_reader import read_part, read_parts
from .part_schema import frame_from_arrow
from .records import merge_records


def read_archive(
    path: str | PathLike[str], make: Callable[..., NDArray[Any]]
) -> tuple[gpd.GeoDataFrame, NDArray[Any], str, dict[str, Any], Content | None]:
    """Read an archive folder.

    Args:
        path: The folder.
        make: Makes the array of the vectors from a shape and a type.

    Returns:
        Frame, vectors, metric and record of the table, and what its parts record of their
        content, None if one records none.

    Raises:
        ArchiveError: If the folder is not an archive, broken, mixed or of a newer format.
    """
    folder = Path(path)
    header = read_header(folder)
    while True:
        footers = complete_parts(folder, header)
        if (read := read_parts(footers, header, folder, make)) is not None:
            break
    vectors, parts = read
    vectors.flags.writeable = False
    records = [header.get('record') or {}]
    records += [facts.get('record') or {} for _, facts in parts]
    record, metric = merge_records(records), header['metric']
    if not parts:
        return empty_frame(), vectors, metric, record, Content()
    try:
        filled = [c for c, _ in parts if len(c)] or [parts[0][0]]
        together = pa.concat_tables(
            _without_mixed_categories(filled), promote_options='permissive'
        ).unify_dictionaries()
    except pa.ArrowException as error:
        raise ArchiveError(
            f'the parts of {folder} have columns of different kinds ({error}); '
            'write them into separate archives'
        ) from error
    try:
        frame = frame_from_arrow(together)
    except ArchiveError as error:
        raise ArchiveError(f'{folder}: {error}') from error
    start = 0
    for footer, (columns, _) in zip(footers, parts, strict=True):
        block = slice(start, start := start + len(columns))
        try:
            check_vectors(frame['patch_id'].iloc[block], vectors[block])
        except ArchiveError as error:
            raise ArchiveError(f'{footer.file}: {error}; {AGAIN}') from error
    if frame['patch_id'].duplicated().any():
        twice = frame['patch_id'][frame['patch_id'].duplicated()].iloc[0]
        raise ArchiveError(
            f'patch_id {twice!r} is in two parts of {folder}; remove one of them'
        )
    return frame, vectors, metric, record, _content(facts for _, facts in parts)


def _without_mixed_categories(parts: Sequence[pa.Table]) -> list[pa.Table]:
    """Write categories as plain values in columns that other parts store otherwise."""
    types: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for field in part.schema:
            types.setdefault(field.name, set()).add(field.type)
    mixed = {name for name, found in types.items() if are_plain_together(found)}
    made = []
    for part in parts:
        for i, field in enumerate(part.schema):
            if field.name in mixed and pa.types.is_dictionary(field.type):
                plain = part.column(i).cast(field.type.value_type)
                part = part.set_column(i, field.with_type(plain.type), plain)
        made.append(part)
    return made


class Parts[T]:
    """The parts of an archive in its order, each read when it is wanted.

    Args:
        path: Folder of the archive.
        make: Makes what is given from frame, vectors, metric and record of a part.

    Raises:
        ArchiveError: If the folder is not an archive, incomplete, broken or of a newer format.
    """

    def __init__(self, path: str | PathLike[str], make: Callable[..., T]) -> None:
        """List the parts."""
        self._header = read_header(path)
        self._footers = complete_parts(Path(path), self._header)
        self._make = make

    @property
    def space(self) -> str | None:
        """The space of all rows, if they have one."""
        return self._header.get('space')

    @property
    def record(self) -> dict[str, Any]:
        """The record of the archive, as its table has it."""
        return _record(self._header, self._footers)

    @property
    def rows(self) -> list[int]:
        """The number of rows of each part."""
        return [footer.facts['rows'] for footer in self._footers]

    def __len__(self) -> int:
        """Give the number of parts."""
        return len(self._footers)

    def __getitem__(self, number: int) -> tuple[str, T]:
        """Read a part: its key, and what is made of it.

        Raises:
            ArchiveError: If it is broken, or has other rows than when the parts were listed: what was
                learned from those would be applied to these.
            IndexError: If there is no such part.
        """
        footer = self._footers[number]
        frame, vectors, facts = read_part(footer.file, self._header)
        if facts != footer.facts:
            raise ArchiveError(
                f'{footer.file} was replaced while the archive was read; run this again once '
                'nothing writes to it'
            )
        records = [each.get('record') or {} for each in (self._header, facts)]
        return facts['key'], self._make(
            frame, vectors, self._header['metric'], merge_records(records)
        )

    def __iter__(self) -> Iterator[tuple[str, T]]:
        """Read one part after the other."""
        return (self[number] for number in range(len(self)))


def read_content(path: str | PathLike[str]) -> Content | None:
    """Say what the rows of an archive are, from the footers of its parts.

    Args:
        path: The folder.

    Returns:
        None if a part was written before parts recorded it.

    Raises:
        ArchiveError: If the folder is not an archive, or a part cannot be read.
    """
    footers = complete_parts(Path(path), read_header(path))
    return _content(footer.facts for footer in footers)


def read_record(path: str | PathLike[str], *, strict: bool = True) -> dict[str, Any]:
    """Read the record of an archive as its table has it, from the header and the footers of its parts.

    Args:
        path: The folder.
        strict: As in :func:`merge_records`.

    Raises:
        ArchiveError: If the folder is not an archive, a part cannot be read, or as
            :func:`merge_records`.
    """
    header = read_header(path)
    footers = read_footers(Path(path), header['dim'])
    return _record(header, footers, strict=strict)


def _record(
    header: Mapping[str, Any], footers: Iterable[Footer], *, strict: bool = True
) -> dict[str, Any]:
    every = (header, *(footer.facts for footer in footers))
    return merge_records([facts.get('record') or {} for facts in every], strict=strict)


def _content(parts: Iterable[Mapping[str, Any]]) -> Content | None:
    """Combine the content that parts record, in the order of their keys."""
    whole = Content()
    for facts in parts:
        if 'content' not in facts:
            return None
        whole += Content(int(facts['rows']), int(facts['content'], 16))
    return whole
