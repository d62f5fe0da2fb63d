"""GeoParquet: types, CRS and record survive; anyone who knows Parquet can read it."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import to_parquet


def same(read: gpd.GeoDataFrame, hits: gpd.GeoDataFrame) -> None:
    for name in hits.columns:
        if name == 'native_corners':
            assert np.array_equal(np.stack(read[name]), np.stack(hits[name]))
        elif name == 'relevant':
            assert read[name].isna().all()
            assert read[name].dtype == 'boolean'
    plain = ['native_corners', 'relevant']
    assert_geodataframe_equal(read.drop(columns=plain), hits.drop(columns=plain))


@pytest.mark.parametrize(
    'record', [None, {'k': 3, 'filters': {'where': 'Ü < "ö" & 1'}}]
)
def test_read_back(
    hits: gpd.GeoDataFrame, tmp_path: Path, record: dict[str, object] | None
) -> None:
    path = to_parquet(hits, tmp_path / 'hits.parquet', record=record)
    same(gpd.read_parquet(path), hits)
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata.get(b'torchgeo_cmr', b'null')) == record
    geo = json.loads(metadata[b'geo'])
    assert geo['version'] == '1.1.0'
    assert 'covering' in geo['columns']['geometry']
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == 'ZSTD'
    assert [p.name for p in tmp_path.iterdir()] == ['hits.parquet']


def test_other_crs_is_kept(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_parquet(hits.to_crs(32632), tmp_path / 'hits.parquet', record={})
    assert gpd.read_parquet(path).crs == 'EPSG:32632'


def test_no_row(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = to_parquet(hits.head(0), tmp_path / 'hits.parquet', record={})
    read = gpd.read_parquet(path)
    assert len(read) == 0
    assert list(read.columns) == list(hits.columns)
    assert read.crs == hits.crs


def test_refuses(hits: gpd.GeoDataFrame, tmp_path: Path) -> None:
    plain = pd.DataFrame(hits.drop(columns='geometry'))
    bare = gpd.GeoDataFrame(plain, geometry=list(hits.geometry))
    with pytest.raises(QueryError, match='no geometry with a CRS; declare it'):
        to_parquet(bare, tmp_path / 'a.parquet')
    with pytest.raises(QueryError, match='cannot be written as JSON'):
        to_parquet(hits, tmp_path / 'a.parquet', record={'score': float('nan')})
    assert not list(tmp_path.iterdir())
    (tmp_path / 'a.parquet').touch()
    with pytest.raises(OutputExistsError, match='is there already'):
        to_parquet(hits, tmp_path / 'a.parquet')
