"""Opening archives and indexes, one or several as one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.search import (
    RetrievalIndex,
    Where,
    at,
    from_ids,
    open_archives,
    patch_ids,
)
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., Any]


@pytest.fixture
def folders(make: Make, tmp_path: Path) -> list[Path]:
    """One table as two archives of which one is an index."""
    table = make(60)
    halves = []
    for name, rows, record in (
        ('a', range(40), {'root': 'here', 'sources': {'x': [['x.tif', 1]]}}),
        ('b', range(40, 60), {'root': 'there', 'sources': {'x': [['x.tif', 2]]}}),
    ):
        half = table.select(rows)
        half = EmbeddingTable.from_frame(half.frame, half.vectors, record=record)
        halves.append(half.save(tmp_path / name))
    RetrievalIndex.build(halves[1], tmp_path / 'index')
    return [*halves, tmp_path / 'index']


def test_one_or_several_give_one_answer(make: Make, folders: list[Path]) -> None:
    table = make(60)
    a, b, index = folders
    where = Where((9.5, 44.2, 10.9, 45.8))
    expected = RetrievalIndex(table).search(table.vectors[:3], 7, where=where)
    for paths in ([a, b], [a, index], (str(index), str(a))):
        found = open_archives(paths).search(table.vectors[:3], 7, where=where)
        assert found['patch_id'].tolist() == expected['patch_id'].tolist()
        assert found['score'].tolist() == expected['score'].tolist()
    assert len(open_archives(a)) == 40
    assert len(open_archives([index])) == 20


@pytest.fixture
def four(make: Make, tmp_path: Path) -> list[Path]:
    """Four indexes of a quarter each: of bytes, with a deleted row, of two parts, plain."""
    table, paths = make(60), [tmp_path / f'index{i}' for i in range(4)]
    kinds = ('int8', 'float32', 'float32', 'float16')
    for i, (path, kind) in enumerate(zip(paths, kinds, strict=True)):
        rows = np.arange(15 * i, 15 * i + 15)
        RetrievalIndex.build(table.select(rows), path, vectors=kind)
    RetrievalIndex.open(paths[1]).delete(table.frame['patch_id'].iloc[20])
    moved = table.frame['patch_id'].iloc[40:45]
    RetrievalIndex.open(paths[2]).delete(moved)
    RetrievalIndex.open(paths[2]).append(table.select(np.arange(40, 45)))
    return paths


def test_several_indexes_stay_mapped_and_answer_as_one(
    make: Make, four: list[Path]
) -> None:
    table = make(60)
    rest = table.select(np.setdiff1d(np.arange(60), 20))
    memory, index = RetrievalIndex(rest), open_archives(four)
    parts = index._state.parts
    assert len(parts) == 5
    # What was read would be writable.
    assert not any(part.vectors.whole.flags.owndata for part in parts)
    queries = rest.select(np.array([3, 30, 50]))
    ways: list[dict[str, Any]] = [{}, {'calibrated': True}, {'exclude': None}]
    for where in (None, Where((9.5, 44.2, 10.9, 45.8))):
        for options in ways:
            wanted = memory.search(queries, 12, where, **options)
            hits = index.search(queries, 12, where, **options)
            pd.testing.assert_frame_equal(pd.DataFrame(hits), pd.DataFrame(wanted))
    assert len(index) == 59
    assert (index.dim, index.spaces) == (memory.dim, memory.spaces)
    assert index.explain(queries, 5).exact


def test_indexes_that_cannot_be_one_are_refused(
    make: Make, four: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ArchiveError, match='hold the same rows; leave one'):
        open_archives([four[0], four[1], four[0]])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArchiveError, match='index0 and index0 hold the same rows'):
        open_archives(['index0', 'index0'])
    table = make(60)
    # An id in two indexes is noticed where it would be found.
    RetrievalIndex.build(table.select(np.arange(40, 60)), tmp_path / 'overlap')
    index = open_archives([four[3], tmp_path / 'overlap'])
    with pytest.raises(ArchiveError, match='is in two of the indexes'):
        index.search(table.vectors[50], 5)
    narrow = EmbeddingTable.from_frame(
        make(4).frame.assign(patch_id=[*'wxyz']), np.eye(4)
    )
    RetrievalIndex.build(narrow, tmp_path / 'narrow')
    with pytest.raises(ArchiveError, match='differ in dim'):
        open_archives([four[0], tmp_path / 'narrow'])


def test_records_are_kept(folders: list[Path]) -> None:
    table = open_archives(folders[:2]).table
    assert [facts['root'] for facts in table.record['merged_from']] == ['here', 'there']
    assert table.record['sources'] == {}
    assert table.record['ambiguous_sources'] == {'x': [[['x.tif', 1]], [['x.tif', 2]]]}
    with pytest.raises(ArchiveError, match="scene 'x' names different files"):
        EmbeddingTable.concat([EmbeddingTable.load(p) for p in folders[:2]])
    # Put together once more, nothing is forgotten.
    again = EmbeddingTable.concat([table, table.select([])], strict=False)
    assert set(again.record['ambiguous_sources']) == {'x'}


def test_queries_from_an_opened_index(make: Make, folders: list[Path]) -> None:
    index = open_archives(folders[2])
    table = EmbeddingTable.load(folders[1])
    assert patch_ids(index).tolist() == table.frame['patch_id'].tolist()
    asked = table.frame['patch_id'].tolist()[5:8][::-1]
    query = from_ids(index, asked)
    assert query.frame['patch_id'].tolist() == asked
    assert (query.vectors == from_ids(table, asked).vectors).all()
    centre = table.frame.geometry.iloc[4].centroid
    one, other = at(index, centre.x, centre.y), at(table, centre.x, centre.y)
    assert one.frame['patch_id'].tolist() == other.frame['patch_id'].tolist()
    index.delete(asked[0])
    assert asked[0] not in patch_ids(index).tolist()
    with pytest.raises(QueryError, match='there is no patch_id'):
        from_ids(index, asked)
    left = from_ids(index, asked[1:])
    assert (left.vectors == from_ids(table, asked[1:]).vectors).all()
    assert np.isfinite(left.vectors).all()


def test_refuses(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match='no archive is named'):
        open_archives([])
    with pytest.raises(ArchiveError, match='gone: check the path'):
        open_archives(tmp_path / 'gone')
