"""Tables that were saved come back as they were, and broken archives are refused in one sentence."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.table import EmbeddingTable, ParquetSink

#: Any: pandas' stubs lose the type of assigned frames.
type Frame = Any
type Same = Callable[[EmbeddingTable, EmbeddingTable], None]

RECORD = {
    'model': 'm',
    'bands': {'s2': ['B02']},
    'sources': {'scene.tif': [['scene.tif', 1, 'B02', 10.0]], 'unused.tif': []},
}


def test_identity(
    frame: Frame, vectors: np.ndarray, tmp_path: Path, assert_same: Same
) -> None:
    table = EmbeddingTable.from_frame(
        frame, vectors, space='abc', modality='s2', record=RECORD
    )
    assert table.save(tmp_path / 'deep' / 'a') == tmp_path / 'deep' / 'a'
    loaded = EmbeddingTable.load(tmp_path / 'deep' / 'a')
    assert_same(loaded, table)
    loaded.save(tmp_path / 'b')
    assert_same(EmbeddingTable.load(tmp_path / 'b'), table)
    assert [p.name for p in (tmp_path / 'deep').iterdir()] == ['a']


def test_empty(frame: Frame, tmp_path: Path, assert_same: Same) -> None:
    table = EmbeddingTable.from_frame(
        frame.iloc[:0].drop(columns='class'), np.empty((0, 3)), space='x'
    )
    assert (len(table), table.dim) == (0, 3)
    table.save(tmp_path / 'a')
    assert_same(EmbeddingTable.load(tmp_path / 'a'), table)


def test_geopandas_opens_a_part(
    frame: Frame, vectors: np.ndarray, tmp_path: Path
) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    table.save(tmp_path / 'a')
    (part,) = (tmp_path / 'a').glob('*.parquet')
    read = gpd.read_parquet(part).sort_values('part_row', ignore_index=True)
    assert read.crs.to_epsg() == 4326
    assert 'bbox' not in read
    assert read.geometry.geom_equals(table.frame.geometry).all()
    assert np.stack(read['vector']).tobytes() == table.vectors.tobytes()
    one = read.geometry.iloc[0].bounds
    assert len(gpd.read_parquet(part, bbox=(one[0], one[1], one[0], one[1]))) >= 1


def test_same_table_gives_the_same_bytes(
    frame: Frame, vectors: np.ndarray, tmp_path: Path
) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    for name in 'ab':
        table.save(tmp_path / name)
    (a,), (b,) = (list((tmp_path / name).glob('*.parquet')) for name in 'ab')
    assert a.read_bytes() == b.read_bytes()


def test_broken_archives(frame: Frame, vectors: np.ndarray, tmp_path: Path) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    good = table.save(tmp_path / 'good')
    (name,) = (p.name for p in good.glob('*.parquet'))
    header = json.loads((good / '_archive.json').read_text())

    def broken(message: str, *, head: object = None, part: bytes | None = None) -> None:
        folder = tmp_path / 'broken'
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        if head is not None:
            (folder / '_archive.json').write_text(
                head if isinstance(head, str) else json.dumps(head)
            )
        if part is not None:
            (folder / name).write_bytes(part)
        with pytest.raises(ArchiveError, match=message) as caught:
            EmbeddingTable.load(folder)
        assert '\n' not in str(caught.value)

    whole = (good / name).read_bytes()
    broken('truncated or broken', part=whole[: len(whole) // 2])
    broken('truncated or broken', part=b'')
    # Past the footer's reach: the schema reads, the pages do not.
    broken('truncated or broken', part=whole[:4] + b'\xff' * 3000 + whole[3004:])
    broken('is broken', head='{"format": ')
    broken('does not describe', head=[1])
    broken('does not describe', head={'format': 'other'})
    broken(
        'no format version', head={k: v for k, v in header.items() if k != 'version'}
    )
    broken('format version 99', head=header | {'version': 99})
    broken(
        'missing required field `dim`',
        head={k: v for k, v in header.items() if k != 'dim'},
    )
    broken(r'vectors of 5 numbers but the header gives 4', head=header | {'dim': 4})
    broken('12 of 13 rows: a part file is missing', head=header | {'rows': 13})
    with pytest.raises(ArchiveError, match=r'it has no readable _archive\.json'):
        EmbeddingTable.load(tmp_path / 'nowhere')
    (good / name).unlink()
    with pytest.raises(ArchiveError, match='0 of 12 rows'):
        EmbeddingTable.load(good)


@pytest.mark.parametrize(
    'kinds',
    [
        (pd.Categorical(['x', None]), ['y', 'x']),
        (['y', 'x'], pd.Categorical(['x', None])),
        (pd.Categorical(['x', 'z'], ordered=True), pd.Categorical(['y', 'x'])),
        (pd.Categorical([1, 2]), [3, 4]),
        (pd.Categorical(['x', 'z']), [None, None]),
    ],
)
def test_categories_go_with_what_they_stand_for(
    make: Callable[..., EmbeddingTable], tmp_path: Path, kinds: tuple[Any, Any]
) -> None:
    sink = ParquetSink(tmp_path / 'a', {'space': 'abc'})
    for name, kind in zip('ab', kinds, strict=True):
        table = make(name, 2)
        frame = table.frame
        frame['kind'] = kind
        sink.commit(name, replace(table, frame=frame))
    found = EmbeddingTable.load(sink.path).frame['kind'].astype(object)
    wanted = [None if pd.isna(value) else value for kind in kinds for value in kind]
    assert found.where(found.notna(), None).tolist() == wanted


def test_own_columns_that_differ_between_parts(
    frame: Frame, vectors: np.ndarray, tmp_path: Path
) -> None:
    a = EmbeddingTable.from_frame(frame.iloc[:2].assign(extra=None), vectors[:2])
    b = EmbeddingTable.from_frame(
        frame.iloc[2:4].assign(extra=['p', 'q']), vectors[2:4]
    )
    sink = ParquetSink(tmp_path / 'a', {})
    sink.commit('a', a)
    sink.commit('b', b)
    assert EmbeddingTable.load(tmp_path / 'a').frame['extra'].tolist()[2:] == ['p', 'q']
    sink.commit(
        'c',
        EmbeddingTable.from_frame(frame.iloc[4:5].assign(extra=[[1, 2]]), vectors[4:5]),
    )
    with pytest.raises(ArchiveError, match='columns of different kinds'):
        EmbeddingTable.load(tmp_path / 'a')
