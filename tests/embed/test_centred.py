"""An archive without its mean, made part by part: that of the whole."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.embed import center_archive
from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.search import Alignment
from torchgeo_cmr.table import EmbeddingTable, ParquetSink, describe


def part(
    name: str, modality: str | None, n: int = 50, **columns: Any
) -> EmbeddingTable:
    rng = np.random.default_rng(len(name))
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{name}:{i}' for i in range(n)],
            'source': name,
            'modality': modality,
            **columns,
        },
        geometry=shapely.box(range(n), 0, np.arange(n) + 1, 1),
        crs=4326,
    )
    record = {'sources': {name: [[f'{name}.tif', 1, 'B02', 10.0]]}}
    vectors = rng.normal(size=(n, 16)) + rng.normal(size=16)
    return EmbeddingTable.from_frame(frame, vectors, space='x', record=record)


def archive(folder: Path, *tables: EmbeddingTable) -> Path:
    sink = ParquetSink(folder, {'space': 'x', 'record': {'model': 'm'}})
    for i, table in enumerate(tables):
        sink.commit(f'{9 - i}', table)  # in another order than they were committed
    sink.finish()
    return folder


def test_parts_together_give_what_the_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = archive(
        tmp_path / 'a',
        part('a', 's1'),
        part('bb', 's2', kind=pd.Categorical(['x', 'y'] * 25)),
        part('ccc', 's1', 3),
        part('dddd', 's2').select([]),
        part('eeeee', 's2', 7, note='seen', kind=None),
    )
    whole = EmbeddingTable.load(folder)
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddingTable, 'load', None)
        made = center_archive(folder)
        assert center_archive(folder) == made  # in place of the first
    mean = Alignment.center([whole])
    wanted, found = mean.table(whole), EmbeddingTable.load(made)
    pd.testing.assert_frame_equal(found.frame, wanted.frame)
    np.testing.assert_allclose(found.vectors, wanted.vectors, atol=2e-7)
    assert found.record == wanted.record
    assert found.spaces == ('x+center',)
    kept = Alignment.load(f'{made}.npz')
    for modality in ('s1', 's2'):
        shift = mean.shifts[modality]
        np.testing.assert_allclose(kept.shifts[modality], shift, atol=1e-7)
        rows = whole.frame['modality'] == modality
        mean_of_rows = whole.vectors[rows].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(shift, mean_of_rows, atol=1e-7)
    assert describe(made)['missing'] == []
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        *('a', 'a-centred', 'a-centred.npz')
    ]


def test_what_cannot_be_centred_leaves_the_former(tmp_path: Path) -> None:
    folder = archive(tmp_path / 'a', part('a', 's1'), part('bb', 's2'))
    before = EmbeddingTable.load(center_archive(folder))
    archive(tmp_path / 'b', part('a', 's1'), part('bb', None))
    with pytest.raises(QueryError, match='a row has no modality'):
        center_archive(tmp_path / 'b')
    next(folder.glob('part-9*')).unlink()
    with pytest.raises(ArchiveError, match='lacks part-9-'):
        center_archive(folder)
    assert len(EmbeddingTable.load(tmp_path / 'a-centred')) == len(before)
    (tmp_path / 'b-centred').mkdir()
    with pytest.raises(OutputExistsError, match='is not an archive without its mean'):
        center_archive(tmp_path / 'b')
    with pytest.raises(QueryError, match='the tables have no rows'):
        Alignment.center([])
