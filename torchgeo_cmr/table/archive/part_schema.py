"""A part of an archive as an Arrow table: the columns of a frame, vectors, and what readers need.

A part is a GeoParquet 1.1 file: the columns of the frame, then ``vector``, ``part_row`` (the
row's number inside its part, since rows are stored along a Hilbert curve), the footprint as
WKB and its bounding box. The page ``docs/user/archive-format.md`` describes it for readers
of other languages; change both together and raise
:data:`~torchgeo_cmr.table.archive.folder.FORMAT_VERSION`.
"""

import json
from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from torchgeo_cmr.durable import checksum
from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table.footprints import WGS84, to_wkb
from torchgeo_cmr.table.schema import RESERVED, in_arrow, set_types
from torchgeo_cmr.table.whole_numbers import in_pandas
from torchgeo_cmr.typed_json import signed_text
from torchgeo_cmr.vectors.arcs import UNREADABLE

#: Key of our JSON in the metadata of a part's Arrow schema.
METADATA_KEY = b'torchgeo_cmr'
#: Rows of footprints that are read together.
_BLOCK = 65_536
#: Bytes of geometry in one piece: with the largest of a row, less than Arrow counts to.
_MOST_BYTES = 1 << 30
_BOX = ('xmin', 'ymin', 'xmax', 'ymax')


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
    table = in_arrow(frame)
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
        'types': types_checksum(as_read(table.schema)),
        'geo': checksum(geo),
    }
    return table.replace_schema_metadata(
        {
            **(table.schema.metadata or {}),
            b'geo': geo,
            METADATA_KEY: signed_text(metadata),
        }
    )


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
    except UNREADABLE as error:
        raise ArchiveError(
            f'a footprint of the archive is broken ({error}); write the archive again'
        ) from error
    plain = in_pandas(table.drop_columns(['geometry']))
    set_types(plain)
    return gpd.GeoDataFrame(plain, geometry=gpd.GeoSeries(shapes, crs=WGS84))


def types_checksum(schema: pa.Schema) -> str:
    """Give the CRC-32 of names and types of columns, and of their types in pandas."""
    words = '\n'.join(f'{column.name}: {column.type}' for column in schema)
    return checksum(words.encode() + (schema.metadata or {}).get(b'pandas', b''))


def as_read(schema: pa.Schema) -> pa.Schema:
    """Give the types that columns have when they are read: Parquet lacks some."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema):
        pass
    return pq.read_schema(pa.BufferReader(sink.getvalue()))
