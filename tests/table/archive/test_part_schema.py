"""A part as an Arrow table: GeoParquet, along a curve, and back."""

import json

import numpy as np
import pyarrow as pa
import pytest

from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.archive.part_schema import from_arrow, to_arrow
from torchgeo_cmr.table.schema import STANDARD


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
