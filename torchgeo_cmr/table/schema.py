"""The one schema of an embedding table, in memory and in a part file.

A part is a GeoParquet 1.1 file: the columns of the frame, then ``vector``, ``part_row`` (the
row's number inside its part, since rows are stored along a Hilbert curve), the footprint as
WKB and its bounding box. The page ``docs/user/archive-format.md`` describes it for readers
of other languages; change both together and raise :data:`FORMAT_VERSION`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.durable import checksum
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.typed_json import check_versioned, decode, signed_text, unsigned

from .footprints import WGS84, to_wkb
from .whole_numbers import in_pandas

#: Name of the format in ``_archive.json`` and in the metadata of each part.
FORMAT = 'torchgeo_cmr.archive'
#: Version of the format; a reader refuses higher ones.
FORMAT_VERSION = 1
#: Key of our JSON in the metadata of a part's Arrow schema.
METADATA_KEY = b'torchgeo_cmr'

#: How vectors may be compared. Of ``'cosine'`` a part holds lists of float32, of
#: ``'hamming'`` packed bits of fixed length.
type Metric = Literal['cosine', 'hamming']
METRICS = get_args(Metric.__value__)

#: Text without a value is null (NaN inside pandas), never the word 'None'.
TEXT = pd.StringDtype(na_value=np.nan)
#: Times are UTC with microseconds.
TIME = pd.DatetimeTZDtype('us', 'UTC')

#: Standard columns of a frame in their order, with the Arrow type they are stored as.
#: ``geometry`` follows them and the user's own columns.
STANDARD: dict[str, pa.DataType] = {
    'patch_id': pa.string(),
    'modality': pa.string(),
    'space': pa.string(),
    'source': pa.string(),
    'time_start': pa.timestamp('us', tz='UTC'),
    'time_end': pa.timestamp('us', tz='UTC'),
    'src_crs': pa.string(),
    'native_corners': pa.list_(pa.float64()),
    'valid_fraction': pa.float64(),
}
#: Names that a part file needs for itself; no column of a frame may have them.
RESERVED = ('vector', 'part_row', 'bbox')

#: What else a part stores, with its Arrow type.
_STORED: dict[str, pa.DataType] = {
    'part_row': pa.int64(),
    'geometry': pa.binary(),
    'bbox': pa.struct([]),
}
#: How far the length of a vector may be from 1: what float32 can be blamed for, and more.
TOLERANCE = 1e-3
#: Rows of vectors or footprints that are looked at together.
_BLOCK = 65_536

#: Bytes of geometry in one piece: with the largest of a row, less than Arrow counts to.
_MOST_BYTES = 1 << 30

_CURE = 'write the archive again'
_BOX = ('xmin', 'ymin', 'xmax', 'ymax')


class Record(TypedDict, total=False):
    """What is read of a record; a writer may add anything."""

    root: str | None
    #: Scene -> its bands.
    sources: dict[str, list[Any]]
    #: Scene -> the bands of each archive that names it.
    ambiguous_sources: dict[str, list[list[Any]]]
    grids: dict[str, Any] | None
    nodata: dict[str, Any] | None
    merged_from: list[dict[str, Any]]


class ArchiveHeader(TypedDict):
    """What ``_archive.json`` holds in any case."""

    format: str
    version: int
    dim: int
    metric: Metric
    space: NotRequired[str | None]
    rows: NotRequired[int]
    record: NotRequired[Record | None]
    work_items: NotRequired[int | None]
    #: Names of the parts when a run was last complete.
    parts: NotRequired[list[str]]
    #: CRC-32 of the rest; archives of earlier versions have none.
    checksum: NotRequired[str]


class PartFacts(TypedDict):
    """What a part says of itself."""

    version: int
    key: str
    rows: int
    spaces: list[str]
    metric: NotRequired[Metric]
    record: NotRequired[Record | None]
    fingerprint: NotRequired[str | None]
    content: NotRequired[str]
    #: CRC-32 of names and types of the columns, which are in the footer, whose bytes have none.
    types: NotRequired[str]
    #: CRC-32 of the metadata of GeoParquet, which other programs read.
    geo: NotRequired[str]
    #: CRC-32 of the rest; parts of earlier versions have none.
    checksum: NotRequired[str]
    #: Places and names of columns without any value.
    blank: NotRequired[list[tuple[int, str]]]


def empty_frame() -> gpd.GeoDataFrame:
    """Give a frame of zero rows with every standard column, its dtype and the CRS."""
    columns: dict[str, Any] = {}
    for name, kind in STANDARD.items():
        if pa.types.is_string(kind):
            columns[name] = pd.Series([], dtype=TEXT)
        elif pa.types.is_timestamp(kind):
            columns[name] = pd.Series([], dtype=TIME)
        else:
            columns[name] = pd.Series(
                [], dtype=object if pa.types.is_list(kind) else 'float64'
            )
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries([], crs=WGS84))


def to_arrow(
    frame: gpd.GeoDataFrame, vectors: NDArray[Any], metadata: Mapping[str, Any]
) -> pa.Table:
    """Write frame and vectors as one Arrow table, rows along a Hilbert curve.

    Args:
        frame: Frame of an embedding table: standard columns, EPSG:4326.
        vectors: Array (n, dim) of float32, or packed codes (n, bytes) of uint8.
        metadata: JSON-able facts about the part, stored under :data:`METADATA_KEY`.

    Returns:
        Table with ``geo`` metadata of GeoParquet 1.1.

    Raises:
        ArchiveError: If a column of the user's own has no Arrow type.
    """
    table = _plain(frame)
    geometry = frame.geometry
    shapes = geometry.to_numpy()
    nowhere = shapely.is_missing(shapes)
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    box = pa.StructArray.from_arrays(
        [pa.array(boxes[:, i], mask=nowhere) for i in range(4)],
        names=list(_BOX),
        mask=pa.array(nowhere),
    )
    # Readers of several files take the types of the first: a column without any value has
    # none, and would not take the values of the parts to come.
    blank = [
        [i, column.name]
        for i, column in enumerate(table.schema)
        if pa.types.is_null(column.type)
    ]
    if blank:
        metadata = {**metadata, 'blank': blank}
    order = _along(geometry, nowhere)
    numbers = pa.array(order)
    table = table.drop_columns([name for _, name in blank])
    table = table.append_column('vector', _packed(vectors)).take(numbers)
    table = table.append_column('part_row', numbers)
    table = table.append_column('geometry', _wkb(shapes, numbers))
    table = table.append_column('bbox', box.take(numbers))
    kinds = sorted(set(geometry.geom_type[~nowhere]))
    geo = json.dumps(_geo(kinds, boxes[~nowhere])).encode()
    metadata = {
        **metadata,
        'types': _types(_as_read(table.schema)),
        'geo': checksum(geo),
    }
    return table.replace_schema_metadata(
        {
            **(table.schema.metadata or {}),
            b'geo': geo,
            METADATA_KEY: signed_text(metadata),
        }
    )


def _plain(frame: gpd.GeoDataFrame) -> pa.Table:
    """Give all columns but the geometry, the standard ones with their types."""
    try:
        table = pa.Table.from_pandas(
            pd.DataFrame(frame.drop(columns='geometry')), preserve_index=False
        )
        for name, kind in STANDARD.items():
            i = table.schema.get_field_index(name)
            table = table.set_column(
                i, pa.field(name, kind), table.column(i).cast(kind)
            )
    except (pa.ArrowException, TypeError) as error:
        raise ArchiveError(
            f'a column cannot be stored ({error}); give each column values of one kind'
        ) from error
    return table


def _geo(kinds: list[str], boxes: NDArray[np.float64]) -> dict[str, Any]:
    """Give the metadata of GeoParquet for footprints of some kinds and bounds (n, 4)."""
    column: dict[str, Any] = {
        'encoding': 'WKB',
        'geometry_types': kinds,
        'crs': WGS84.to_json_dict(),
        'covering': {'bbox': {name: ['bbox', name] for name in _BOX}},
    }
    if len(boxes):
        low, high = np.nanmin(boxes[:, :2], axis=0), np.nanmax(boxes[:, 2:], axis=0)
        column['bbox'] = [*low.tolist(), *high.tolist()]
    return {
        'version': '1.1.0',
        'primary_column': 'geometry',
        'columns': {'geometry': column},
    }


def _along(geometry: gpd.GeoSeries, nowhere: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the order of rows along a Hilbert curve; those without a place come last."""
    placed = np.flatnonzero(~nowhere)
    if len(placed) > 1:
        along = geometry.iloc[placed].hilbert_distance()
        placed = placed[np.argsort(along, kind='stable')]
    return np.concatenate([placed, np.flatnonzero(nowhere)]).astype(np.int64)


def _wkb(shapes: NDArray[np.object_], order: pa.Array) -> pa.ChunkedArray:
    """Give geometries in an order as bytes, in pieces each of which an Arrow array can count."""
    # As they lie in memory, and then in the order: each would be fetched again and again.
    long = to_wkb(shapes).take(order)
    ends = np.frombuffer(long.buffers()[1], dtype=np.int64)[1 : len(long) + 1]
    cuts = np.flatnonzero(np.diff(ends // _MOST_BYTES)) + 1
    pieces = [long]
    if len(cuts):
        numbers = np.split(np.arange(len(long)), cuts)
        pieces = [long.take(pa.array(piece)) for piece in numbers]
    return pa.chunked_array(
        [piece.cast(pa.binary()) for piece in pieces], type=pa.binary()
    )


def _packed(vectors: NDArray[Any]) -> pa.Array:
    """Give vectors as lists of float32, codes as bytes of fixed length."""
    flat = np.ascontiguousarray(vectors).reshape(-1)
    if vectors.dtype == np.uint8:
        kind = pa.binary(vectors.shape[1])
        return pa.Array.from_buffers(kind, len(vectors), [None, pa.py_buffer(flat)])
    return pa.FixedSizeListArray.from_arrays(
        pa.array(flat, type=pa.float32()), vectors.shape[1]
    )


def unpacked(column: pa.Array) -> NDArray[Any]:
    """Give vectors (n, dim), or codes (n, bytes), of the column that a part has for them."""
    if pa.types.is_fixed_size_binary(column.type):
        width = column.type.byte_width
        words = b''.join(column.to_pylist())
        return np.frombuffer(words, dtype=np.uint8).reshape(-1, width)
    size = column.type.list_size
    # A view, which flatten() is not: as many vectors as fit are read, not half of them.
    flat = column.values.slice(column.offset * size, len(column) * size)
    numbers = flat.to_numpy(zero_copy_only=False)
    return np.asarray(numbers, dtype=np.float32).reshape(-1, size)


def from_arrow(table: pa.Table) -> tuple[gpd.GeoDataFrame, NDArray[Any]]:
    """Read what :func:`to_arrow` wrote, rows in the order of the table.

    Args:
        table: Arrow table of one or more parts.

    Returns:
        The frame, and the vectors (n, dim) as a read-only float32 array; packed codes as
        uint8 (n, bytes).

    Raises:
        ArchiveError: If a footprint is not WKB.
    """
    vectors = unpacked(table.column('vector').combine_chunks())
    vectors.flags.writeable = False
    return frame_from_arrow(table.drop_columns([*RESERVED])), vectors


def frame_from_arrow(table: pa.Table) -> gpd.GeoDataFrame:
    """Read the columns of a frame.

    Args:
        table: Arrow table of one or more parts, without what :data:`RESERVED` names.

    Raises:
        ArchiveError: If a footprint is not WKB.
    """
    shapes = np.empty(len(table), dtype=object)
    column = table.column('geometry')
    try:
        for start in range(0, len(table), _BLOCK):
            words = column.slice(start, _BLOCK).to_numpy()
            shapes[start : start + _BLOCK] = shapely.from_wkb(words)
    except shapely.errors.ShapelyError as error:
        raise ArchiveError(
            f'a footprint of the archive is broken ({error}); write the archive again'
        ) from error
    plain = in_pandas(table.drop_columns(['geometry']))
    set_types(plain)
    return gpd.GeoDataFrame(plain, geometry=gpd.GeoSeries(shapes, crs=WGS84))


def set_types(plain: pd.DataFrame) -> None:
    """Give standard columns that came from Arrow the types of a table, in place."""
    # Most have them, and looking at a column takes longer than at its type.
    types = dict(zip(plain.columns, plain.dtypes, strict=True))
    for name, kind in STANDARD.items():
        if name == 'native_corners':
            if types[name] != object:
                values = plain[name]
                plain[name] = values.astype(object).where(values.notna(), None)
        elif pa.types.is_string(kind) and types[name] != TEXT:
            plain[name] = plain[name].astype(TEXT)


def check_vectors(ids: pd.Series, vectors: NDArray[Any]) -> None:
    """Refuse vectors that are not of length 1, which no score of a search would show.

    Args:
        ids: Their ``patch_id``.
        vectors: Array (n, dim) of float32; packed codes are taken as they are.

    Raises:
        ArchiveError: If one holds NaN or is longer or shorter; the message names the row.
    """
    if vectors.dtype == np.uint8:
        return
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        with np.errstate(over='ignore', invalid='ignore'):
            squares = np.einsum('ij,ij->i', block, block)
        wrong = np.flatnonzero(~(np.abs(squares - 1) <= 2 * TOLERANCE))
        if len(wrong):
            row = start + int(wrong[0])
            length = np.linalg.norm(vectors[row].astype(np.float64))
            raise ArchiveError(
                f'the vector of patch_id {ids.iloc[row]!r:.80} (row {row}) is {length:.4g} long, not 1'
            )


def _is_like(kind: pa.DataType, wanted: pa.DataType) -> bool:
    """Say whether values of an Arrow type can be read as those of another."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(wanted):
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if pa.types.is_binary(wanted):
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if pa.types.is_list(wanted):
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(test(kind) for test in lists) and _is_like(
            kind.value_type, wanted.value_type
        )
    if pa.types.is_floating(wanted):
        return pa.types.is_floating(kind) or pa.types.is_integer(kind)
    tests = (pa.types.is_timestamp, pa.types.is_integer, pa.types.is_struct)
    return any(test(kind) and test(wanted) for test in tests)


def read_facts(schema: pa.Schema, name: str) -> dict[str, Any]:
    """Read what a part says of itself.

    Args:
        schema: Arrow schema of the part.
        name: File name, for the message.

    Returns:
        The JSON stored under :data:`METADATA_KEY`, as :class:`PartFacts` types it.

    Raises:
        ArchiveError: If it is missing, broken or of a newer version.
    """
    text = (schema.metadata or {}).get(METADATA_KEY)
    if text is None:
        raise ArchiveError(
            f'{name} has no torchgeo_cmr metadata; it was not written as a part of an archive'
        )
    facts = decode(text, dict[str, Any], name, _CURE)
    check_versioned(facts, PartFacts, FORMAT_VERSION, name, _CURE)
    blank = facts.get('blank', ())
    if (
        not re.fullmatch('[0-9a-f]+', facts.get('content', '0'))
        or facts['rows'] < 0
        # Columns without any value are added from left to right, each at its place.
        or not all(0 <= x <= len(schema) + i for i, (x, _) in enumerate(blank))
        or len({*schema.names, *(c for _, c in blank)}) < len(schema) + len(blank)
    ):
        raise ArchiveError(f'{name} is broken (its facts are not possible); {_CURE}')
    return unsigned(facts, text, name, _CURE)[0]


def check_part(schema: pa.Schema, dim: int, name: str) -> dict[str, Any]:
    """Refuse a part that this version cannot read, and give its metadata.

    Args:
        schema: Arrow schema of the part.
        dim: Vector dimension that the archive's header names.
        name: File name, for the message.

    Returns:
        The JSON stored under :data:`METADATA_KEY`.

    Raises:
        ArchiveError: If metadata or columns are missing, the version is newer, or ``dim`` differs.
    """
    facts = read_facts(schema, name)
    missing = [
        c for c in (*STANDARD, 'geometry', *RESERVED) if schema.get_field_index(c) < 0
    ]
    if missing:
        raise ArchiveError(
            f'{name} lacks the columns {", ".join(missing)}; write the archive again'
        )
    for column, wanted in {**STANDARD, **_STORED}.items():
        if not _is_like(found := schema.field(column).type, wanted):
            raise ArchiveError(
                f'{name} stores {column} as {found} and not as {wanted}; {_CURE}'
            )
    kind = schema.field('vector').type
    if pa.types.is_fixed_size_binary(kind):
        found = 8 * kind.byte_width
    elif pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type):
        found = kind.list_size
    else:
        raise ArchiveError(
            f'{name} stores its vectors as {kind}; this version reads float32 and packed bits only'
        )
    if found != dim:
        raise ArchiveError(
            f'{name} holds vectors of {found} numbers but the header gives {dim}; '
            'parts of two archives were mixed'
        )
    # What is not written yet has the types that it will have.
    known = facts.get('types')
    if known not in (None, _types(schema)) and known != _types(_as_read(schema)):
        raise ArchiveError(
            f'{name} is damaged: its columns are not those that were written; {_CURE}'
        )
    geo = (schema.metadata or {}).get(b'geo', b'')
    if facts.get('geo') not in (None, checksum(geo)):
        raise ArchiveError(
            f'{name} is damaged: its metadata of GeoParquet are not those that were written; {_CURE}'
        )
    return facts


def check_metadata(file: pq.ParquetFile, name: str) -> None:
    """Refuse a part whose metadata differ between the two places in which Arrow writes them.

    Args:
        file: The part.
        name: File name, for the message.

    Raises:
        ArchiveError: If they do: other programs read those that we do not.
    """
    stored = file.metadata.metadata or {}
    if b'ARROW:schema' not in stored:  # of another writer
        return
    for key, value in (file.schema_arrow.metadata or {}).items():
        if stored.get(key) != value:
            raise ArchiveError(
                f'{name} is damaged: its metadata are not those that were written; {_CURE}'
            )


def _types(schema: pa.Schema) -> str:
    """Give the CRC-32 of names and types of columns, and of their types in pandas."""
    words = '\n'.join(f'{column.name}: {column.type}' for column in schema)
    return checksum(words.encode() + (schema.metadata or {}).get(b'pandas', b''))


def _as_read(schema: pa.Schema) -> pa.Schema:
    """Give the types that columns have when they are read: Parquet lacks some."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema):
        pass
    return pq.read_schema(pa.BufferReader(sink.getvalue()))
