"""EmbeddingTable: selections, concatenations, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import ArchiveError
from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable

#: Any: pandas' stubs lose the type of assigned frames.
type Frame = Any
type Same = Callable[[EmbeddingTable, EmbeddingTable], None]

RECORD = {
    'model': 'm',
    'bands': {'s2': ['B02']},
    'sources': {'scene.tif': [['scene.tif', 1, 'B02', 10.0]], 'unused.tif': []},
}


def test_refuses_metric_and_record(frame: Frame, vectors: np.ndarray) -> None:
    with pytest.raises(ArchiveError, match="metric 'l2' is not known"):
        EmbeddingTable.from_frame(frame, vectors, metric='l2')
    with pytest.raises(ArchiveError, match='cannot be written as JSON'):
        EmbeddingTable.from_frame(frame, vectors, record={'a': object()})
    with pytest.raises(ArchiveError, match='12 rows and 1 vectors'):
        EmbeddingTable(frame, np.ones((1, 2), dtype=np.float32))


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        (np.int64(2**60 + 1), np.uint64(2**63 + 1)),
        (np.int64(2**60 + 1), 0.5),
        ('word', 1),
        (True, 2),
    ],
)
def test_a_column_of_several_kinds_is_named_where_it_needs_one(
    frame: Frame, vectors: np.ndarray, first: Any, second: Any, tmp_path: Path
) -> None:
    one, other, third = (
        EmbeddingTable.from_frame(
            frame.assign(patch_id=frame['patch_id'] + str(i), level=value), vectors
        )
        for i, value in enumerate((first, second, first))
    )
    both = EmbeddingTable.concat([one, other])
    assert both.frame['level'].tolist() == [first] * 12 + [second] * 12
    for call in (
        lambda: both.save(tmp_path / 'archive'),
        lambda: RetrievalIndex(both).save(tmp_path / 'index'),
        lambda: EmbeddingTable.concat([both, third]),
    ):
        with pytest.raises(ArchiveError, match="column 'level' cannot be stored"):
            call()


def test_select(frame: Frame, vectors: np.ndarray) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    some = table.select([7, 2])
    assert some.frame['small'].tolist() == [7, 2]
    assert (some.vectors == table.vectors[[7, 2]]).all()
    mask = np.zeros(12, dtype=bool)
    mask[5] = True
    assert table.select(mask).frame['small'].tolist() == [5]
    assert len(table.select([])) == 0


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([1, 1], 'selected twice'),
        ([12], 'from 0 to 11'),
        ([-1], 'from 0 to 11'),
        (np.ones(3, dtype=bool), 'a mask of shape'),
    ],
)
def test_select_refuses(
    frame: Frame, vectors: np.ndarray, rows: list[int], message: str
) -> None:
    with pytest.raises(ArchiveError, match=message):
        EmbeddingTable.from_frame(frame, vectors).select(rows)


def test_concat_undoes_select(
    frame: Frame, vectors: np.ndarray, assert_same: Same
) -> None:
    table = EmbeddingTable.from_frame(frame, vectors, record=RECORD)
    assert_same(
        EmbeddingTable.concat([table.select(range(5)), table.select(range(5, 12))]),
        table,
    )


def test_concat_merges_records(frame: Frame, vectors: np.ndarray) -> None:
    def table(modality: str, **record: object) -> EmbeddingTable:
        return EmbeddingTable.from_frame(
            frame.assign(patch_id=[f'{modality}{i}' for i in range(12)]),
            vectors,
            modality=modality,
            record=record,
        )

    a = table('s1', model='m', bands={'s1': ['VV']}, sources={'x': [1]})
    b = table('s2', model='m', bands={'s2': ['B02']}, sources={'y': [2]})
    both = EmbeddingTable.concat([a, b])
    assert both.record == {
        'model': 'm',
        'bands': {'s1': ['VV'], 's2': ['B02']},
        'sources': {'x': [1], 'y': [2]},
    }
    with pytest.raises(ArchiveError, match=r'do not share one modality .found: s1, s2'):
        _ = both.modality
    other = EmbeddingTable.concat([both, table('s3', model='n')])
    assert [r['model'] for r in other.record['merged_from']] == ['m', 'n']
    with pytest.raises(ArchiveError, match="scene 'x' names different files"):
        EmbeddingTable.concat([a, table('s4', sources={'x': [3]})])
    kept = EmbeddingTable.concat([a, table('s4', sources={'x': [3]})], strict=False)
    assert kept.record == {
        'model': 'm',
        'bands': {'s1': ['VV']},
        'sources': {},
        'ambiguous_sources': {'x': [[1], [3]]},
    }


def test_many_parts_are_one_table(frame: Frame, vectors: np.ndarray) -> None:
    table = EmbeddingTable.from_frame(frame, vectors, record={'model': 'm'})
    parts = [
        EmbeddingTable(part.frame, part.vectors, record={'model': 'm', 'n': n % 2})
        for n, part in enumerate(table.select([i]) for i in range(len(table)))
    ]
    again = EmbeddingTable.concat(parts)
    assert again.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
    np.testing.assert_array_equal(again.vectors, table.vectors)
    # What differs stands side by side, each kind once.
    assert again.record == {
        'merged_from': [{'model': 'm', 'n': 0}, {'model': 'm', 'n': 1}]
    }
    back = again.select(np.arange(len(table))[::-1])
    assert back.frame['patch_id'].tolist() == frame['patch_id'].tolist()[::-1]


def test_concat_refuses(frame: Frame, vectors: np.ndarray) -> None:
    table = EmbeddingTable.from_frame(frame, vectors)
    with pytest.raises(ArchiveError, match='is in two of the tables'):
        EmbeddingTable.concat([table, table])
    with pytest.raises(ArchiveError, match=r'different dim .5 and 3'):
        EmbeddingTable.concat([table, EmbeddingTable.from_frame(frame, vectors[:, :3])])
    with pytest.raises(ArchiveError, match='at least one'):
        EmbeddingTable.concat([])


def test_space_of_nothing(frame: Frame, vectors: np.ndarray) -> None:
    with pytest.raises(ArchiveError, match=r'do not share one space .found: null'):
        _ = EmbeddingTable.from_frame(frame, vectors).space
