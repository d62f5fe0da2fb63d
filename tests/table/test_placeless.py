"""Rows without a place: said, stored, read back, and never given one."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable


def nowhere(n: int, start: int = 0) -> gpd.GeoDataFrame:
    ids = [f'speech:{start + i}.wav' for i in range(n)]
    return gpd.GeoDataFrame(
        {'patch_id': ids, 'label': ['a'] * n}, geometry=[None] * n, crs='EPSG:4326'
    )


def vectors(n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 4))


def test_only_if_said() -> None:
    with pytest.raises(ArchiveError, match='is null or empty; drop the row, or give'):
        EmbeddingTable.from_frame(nowhere(2), vectors(2))
    table = EmbeddingTable.from_frame(nowhere(2), vectors(2), placeless=True)
    assert not table.placed.any()
    assert np.isnan(table.boxes).all()
    assert table.frame.crs.to_epsg() == 4326


def test_an_empty_footprint_is_still_refused() -> None:
    frame = nowhere(2)
    frame.geometry = [shapely.Polygon(), None]
    with pytest.raises(ArchiveError, match=r'speech:0.wav.* is null or empty'):
        EmbeddingTable.from_frame(frame, vectors(2), placeless=True)


def test_mixed_rows_come_back(frame: gpd.GeoDataFrame, tmp_path: Path) -> None:
    placed = EmbeddingTable.from_frame(frame[['patch_id', 'geometry']], vectors(12))
    plain = EmbeddingTable.from_frame(nowhere(3), vectors(3), placeless=True)
    both = EmbeddingTable.concat([plain, placed])
    assert both.placed.tolist() == [False] * 3 + [True] * 12
    again = EmbeddingTable.load(both.save(tmp_path / 'archive'))
    assert again.placed.tolist() == both.placed.tolist()
    assert again.frame['patch_id'].tolist() == both.frame['patch_id'].tolist()
    assert np.array_equal(again.vectors, both.vectors)
    assert shapely.equals(
        again.frame.geometry[3:].to_numpy(), both.frame.geometry[3:].to_numpy()
    ).all()


def test_all_nowhere_on_disk(tmp_path: Path) -> None:
    table = EmbeddingTable.from_frame(nowhere(3), vectors(3), placeless=True)
    folder = table.save(tmp_path / 'archive')
    assert len(EmbeddingTable.load(folder)) == 3
    (part,) = folder.glob('*.parquet')
    schema = pq.read_schema(part)
    column = json.loads(schema.metadata[b'geo'])['columns']['geometry']
    assert column['geometry_types'] == []
    assert 'bbox' not in column
    stored = pq.read_table(part)
    assert stored['geometry'].null_count == stored['bbox'].null_count == 3
    # and other readers of GeoParquet see the same
    assert gpd.read_parquet(part).geometry.isna().all()


def test_rows_without_a_place_are_last_in_a_part(tmp_path: Path) -> None:
    """Also if one row alone has a place."""
    frame = nowhere(3)
    frame.geometry = [None, shapely.box(0, 0, 1, 1), None]
    table = EmbeddingTable.from_frame(frame, vectors(3), placeless=True)
    (part,) = table.save(tmp_path / 'a').glob('part-*')
    stored = pq.read_table(part)
    assert stored.column('bbox').is_null().to_pylist() == [False, True, True]
    again = EmbeddingTable.load(tmp_path / 'a')
    assert again.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
