"""Parts whose geometry is long, and columns without any value, as everybody reads them."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import shapely

from torchgeo_cmr.table import EmbeddingTable, ParquetSink
from torchgeo_cmr.table.archive import part_schema


def make(prefix: str = 'p', n: int = 60, **own: Any) -> EmbeddingTable:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 10, (2, n))
    shapes: Any = shapely.box(x, y, x + 0.1, y + 0.1)
    shapes[[4, 50]] = None
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{prefix}{i}' for i in range(n)], **own},
        geometry=shapes,
        crs=4326,
    )
    vectors = rng.normal(size=(n, 4))
    return EmbeddingTable.from_frame(frame, vectors, space='w', placeless=True)


def same(a: EmbeddingTable, b: EmbeddingTable) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(a.frame), pd.DataFrame(b.frame))
    assert (a.vectors == b.vectors).all()
    assert a.content == b.content


def test_geometry_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make()
    table.save(tmp_path / 'whole')
    monkeypatch.setattr(part_schema, '_MOST_BYTES', 500)
    stored = part_schema.to_arrow(table.frame, table.vectors, {})
    assert stored.column('geometry').num_chunks > 5
    table.save(tmp_path / 'pieces')
    same(EmbeddingTable.load(tmp_path / 'pieces'), table)
    one, other = (pq.read_table(tmp_path / f) for f in ('whole', 'pieces'))
    assert one.equals(other)


@pytest.mark.parametrize('value', [1.5, 'word', True])
def test_a_first_part_without_values(tmp_path: Path, value: Any) -> None:
    parts = [make('a', own=None, other=1), make('b', other=2, own=value)]
    sink = ParquetSink(tmp_path / 'a', {})
    for key, part in zip('ab', parts, strict=True):
        sink.commit(key, part)
    assert len(gpd.read_parquet(tmp_path / 'a')) == 120
    assert ds.dataset(tmp_path / 'a').to_table().num_rows == 120
    loaded = EmbeddingTable.load(tmp_path / 'a').frame['own']
    assert loaded.isna().tolist() == [True] * 60 + [False] * 60
    assert set(loaded.dropna()) == {value}


def test_columns_without_values_come_back_where_they_were(tmp_path: Path) -> None:
    table = make(none=None, k=1, nothing=None, word='x')
    table.save(tmp_path / 'a')
    loaded = EmbeddingTable.load(tmp_path / 'a')
    same(loaded, table)
    assert list(loaded.frame) == list(table.frame)
