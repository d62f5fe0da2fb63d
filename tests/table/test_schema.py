"""The columns in memory and on disk."""

import json

import numpy as np
import pyarrow as pa
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.schema import (
    FORMAT_VERSION,
    METADATA_KEY,
    STANDARD,
    check_part,
    empty_frame,
    from_arrow,
    to_arrow,
)


def test_empty_frame_has_every_column_typed() -> None:
    frame = empty_frame()
    assert list(frame.columns) == [*STANDARD, 'geometry']
    assert frame.crs.to_epsg() == 4326
    assert str(frame['time_start'].dtype) == 'datetime64[us, UTC]'


def test_arrow_table_is_geoparquet(frame, vectors) -> None:  # noqa: ANN001
    table = EmbeddingTable.from_frame(frame, vectors)
    arrow = to_arrow(table.frame, table.vectors, {'version': 1})
    geo = json.loads(arrow.schema.metadata[b'geo'])
    column = geo['columns']['geometry']
    assert geo['version'] == '1.1.0'
    assert column['encoding'] == 'WKB'
    assert column['geometry_types'] == ['Polygon']
    assert column['crs']['id'] == {'authority': 'EPSG', 'code': 4326}
    assert column['bbox'] == pytest.approx(table.frame.total_bounds)
    assert column['covering']['bbox']['xmax'] == ['bbox', 'xmax']
    assert arrow.schema.field('vector').type == pa.list_(pa.float32(), 5)
    for name, kind in STANDARD.items():
        assert arrow.schema.field(name).type == kind


def test_rows_are_stored_along_the_curve(frame, vectors) -> None:  # noqa: ANN001
    table = EmbeddingTable.from_frame(frame, vectors)
    arrow = to_arrow(table.frame, table.vectors, {})
    order = arrow.column('part_row').to_numpy()
    assert sorted(order) == list(range(12))
    distance = table.frame.geometry.hilbert_distance().to_numpy()[order]
    assert (np.diff(distance) >= 0).all()
    stored, rows = from_arrow(arrow)
    assert stored['patch_id'].tolist() == table.frame['patch_id'].iloc[order].tolist()
    assert (rows == table.vectors[order]).all()


def _facts() -> dict[str, object]:
    return {'version': FORMAT_VERSION, 'key': 'a', 'rows': 12, 'spaces': []}


def test_check_part_names_what_is_wrong(frame, vectors) -> None:  # noqa: ANN001
    table = EmbeddingTable.from_frame(frame, vectors)
    arrow = to_arrow(table.frame, table.vectors, _facts())
    assert check_part(arrow.schema, 5, 'p')['version'] == FORMAT_VERSION
    with pytest.raises(
        ArchiveError, match=r'vectors of 5 numbers but the header gives 6'
    ):
        check_part(arrow.schema, 6, 'p')
    with pytest.raises(ArchiveError, match='no torchgeo_cmr metadata'):
        check_part(arrow.schema.remove_metadata(), 5, 'p')
    with pytest.raises(ArchiveError, match='lacks the columns bbox'):
        check_part(arrow.drop_columns('bbox').schema, 5, 'p')
    half = arrow.schema.set(
        arrow.schema.get_field_index('vector'),
        pa.field('vector', pa.list_(pa.float16(), 5)),
    )
    with pytest.raises(ArchiveError, match='reads float32 and packed bits only'):
        check_part(half, 5, 'p')
    newer = arrow.schema.with_metadata({METADATA_KEY: b'{"version": 99}'})
    with pytest.raises(ArchiveError, match='format version 99'):
        check_part(newer, 5, 'p')
