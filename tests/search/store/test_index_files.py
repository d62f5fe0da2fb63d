"""An index on disk: the answers of the table, whatever was saved, opened, added, deleted."""

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import ArchiveError, OutputExistsError, QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.rank.vectors import KINDS
from torchgeo_cmr.search.store import index_files as store
from torchgeo_cmr.search.store import segment
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., Any]
BOX = (9.2, 44.2, 10.2, 45.2)
#: An area with corners, in another CRS.
AREA = shapely.Polygon(
    [(520e3, 4.88e6), (640e3, 4.9e6), (600e3, 5.05e6), (510e3, 4.95e6)]
)
FILTERS = [
    None,
    Where(BOX),
    Where(AREA, 'EPSG:32632', during=('2024-03-01', None), where='cloud < 70'),
    Where(AREA, 'EPSG:32632', predicate='within') | Where(where='source == "x"'),
    ~Where(BOX, predicate='centroid'),
    Where((100, 0, 101, 1)),
]


def same(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame(a), pd.DataFrame(b))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('mapped', [True, False])
def test_answers_are_those_of_the_table(
    make: Make, tmp_path: Path, kind: str, mapped: bool
) -> None:
    archive, queries = make(1500), make(7, seed=5)
    plain = RetrievalIndex(archive)
    index = RetrievalIndex.build(
        archive, tmp_path / 'i' if mapped else None, vectors=kind
    )
    assert (len(index), index.dim, index.spaces, index.metric) == (
        1500,
        16,
        ('abc',),
        'cosine',
    )
    for where in FILTERS:
        same(
            index.search(queries, 6, where=where), plain.search(queries, 6, where=where)
        )
        for one, two in zip(
            index.rank(queries.vectors, 6, where),
            plain.rank(queries, 6, where),
            strict=True,
        ):
            assert one.dtype == two.dtype
            assert (one == two).all()
        chosen = Where() if where is None else where
        assert index.rows(where).tolist() == chosen.rows(archive).tolist()
        told, truth = (i.explain(queries, 6, where=where) for i in (index, plain))
        assert (told.rows, told.found, told.undated) == (
            truth.rows,
            truth.found,
            truth.undated,
        )


def test_the_slow_oracle(make: Make, tmp_path: Path) -> None:
    archive = make(400)
    index = RetrievalIndex.build(archive, tmp_path / 'i')
    where = Where(AREA, 'EPSG:32632')
    rows = [
        i
        for i, shape in enumerate(archive.frame.geometry)
        if shape.intersects(where.area)
    ]
    assert 10 < len(rows) < 390
    found, scores = index.rank(archive.vectors[:3], 12, where)
    for i in range(3):
        score = {
            r: float(archive.vectors[r].astype(float) @ archive.vectors[i])
            for r in rows
        }
        best = sorted(rows, key=lambda r: (-score[r], archive.frame['patch_id'][r]))[
            :12
        ]
        assert found[i].tolist() == best
        assert scores[i] == pytest.approx([score[r] for r in best], abs=1e-6)


def test_the_table_comes_back(make: Make, tmp_path: Path) -> None:
    archive = make(60, corners=[[float(i)] * 2 for i in range(60)])
    index = RetrievalIndex.build(archive, tmp_path / 'i', vectors='int8')
    same(index.table.frame, archive.frame)
    assert (index.table.vectors == archive.vectors).all()
    some = index.select([5, 2, 59])
    same(some.frame, archive.select([5, 2, 59]).frame)
    assert (index.vectors([7, 7, 1]) == archive.vectors[[7, 7, 1]]).all()
    assert RetrievalIndex(archive).table is archive
    assert (index.ties == RetrievalIndex(archive).ties).all()


@pytest.mark.slow
@pytest.mark.parametrize('mapped', [True, False])
@pytest.mark.parametrize('kind', ['float32', 'int8'])
def test_append_and_delete(make: Make, tmp_path: Path, mapped: bool, kind: str) -> None:
    archive = make(300)
    first, second = archive.select(np.arange(200)), archive.select(np.arange(200, 300))
    index = RetrievalIndex.build(
        first, tmp_path / 'i' if mapped else None, vectors=kind
    )
    other = RetrievalIndex.open(tmp_path / 'i') if mapped else None
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / 'i').glob('segment-*/*')}
    index.append(second)
    gone = archive.frame['patch_id'].iloc[[3, 199, 200, 250]].tolist()
    index.delete(gone)
    index.delete(archive.frame['patch_id'].iloc[17])
    left = np.setdiff1d(np.arange(300), [3, 17, 199, 200, 250])
    assert len(index) == 295
    truth = RetrievalIndex(archive.select(left))
    for where in FILTERS:
        for k in (4, 400):
            hits = index.search(archive.vectors[:6], k, where=where)
            same(hits, truth.search(archive.vectors[:6], k, where=where))
        rows, _ = index.rank(archive.vectors[:6], 4, where)
        assert (rows == left[truth.rank(archive.vectors[:6], 4, where)[0]]).all()
        calibrated = index.search(archive.vectors[:3], 5, where=where, calibrated=True)
        same(
            calibrated,
            truth.search(archive.vectors[:3], 5, where=where, calibrated=True),
        )
    same(index.table.frame, archive.select(left).frame)
    assert index.columns.footprints(np.array([250, 3])).tolist() == (
        archive.frame.geometry.iloc[[250, 3]].tolist()
    )
    assert (index.columns.boxes == archive.boxes).all()
    assert index.columns.attributes()['cloud'].equals(archive.frame['cloud'])
    # What was named once may be used again after it is gone.
    index.append(archive.select([3]))
    assert index.rank(archive.vectors[3], 1)[0].tolist() == [[300]]
    if other is not None:
        assert len(other) == 200  # as it was when it was opened
        assert len(other.search(archive.vectors[3], 200)) == 200
        after = {p: p.stat().st_mtime_ns for p in before}
        assert after == before  # nothing was rebuilt
        assert len(RetrievalIndex.open(tmp_path / 'i')) == 296


def test_append_refuses(make: Make) -> None:
    index = RetrievalIndex.build(make(20))
    with pytest.raises(ArchiveError, match=r"patch_id 'p0.*' is in the index already"):
        index.append(make(5))
    fresh = make(3).frame.assign(patch_id=['a', 'b', 'c'])
    other = EmbeddingTable.from_frame(fresh.assign(space='xyz'), np.ones((3, 16)))
    with pytest.raises(ArchiveError, match='the new rows were embedded in space xyz'):
        index.append(other)
    with pytest.raises(ArchiveError, match='the new rows have 4 numbers'):
        index.append(EmbeddingTable.from_frame(fresh, np.ones((3, 4))))
    with pytest.raises(QueryError, match="no patch_id 'zz' in the index; nothing was"):
        index.delete(['p0001', 'zz'])
    assert len(index) == 20


def test_opening_checks(make: Make, tmp_path: Path) -> None:
    archive = make(30)
    archive.save(tmp_path / 'archive')
    path = tmp_path / 'i'
    RetrievalIndex.build(tmp_path / 'archive', path)
    assert len(RetrievalIndex.open(path, tmp_path / 'archive')) == 30
    make(31).save(tmp_path / 'archive', overwrite=True)
    with pytest.raises(ArchiveError, match='was not built from this archive'):
        RetrievalIndex.open(path, tmp_path / 'archive')
    RetrievalIndex.build(archive, path, overwrite=True)
    RetrievalIndex.open(path, archive)
    with pytest.raises(ArchiveError, match='was not built from this archive'):
        RetrievalIndex.open(path, archive.select(np.arange(29)))
    with pytest.raises(OutputExistsError, match='is there already'):
        RetrievalIndex.build(archive, path)
    (tmp_path / 'other').mkdir()
    with pytest.raises(
        OutputExistsError, match='is not an index, so it is not replaced'
    ):
        RetrievalIndex.build(archive, tmp_path / 'other', overwrite=True)
    with pytest.raises(ArchiveError, match=r'no readable index\.json'):
        RetrievalIndex.open(tmp_path / 'other')
    assert not [p for p in tmp_path.iterdir() if p.name.startswith('.')]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', r'index\.json is broken'),
        ('{"format": "x"}', 'does not describe a torchgeo_cmr.index'),
        ('{"format": "torchgeo_cmr.index", "version": 99}', 'format version 99'),
        ('{"format": "torchgeo_cmr.index"}', 'no format version'),
    ],
)
def test_refuses_headers(make: Make, tmp_path: Path, text: str, message: str) -> None:
    RetrievalIndex.build(make(5), tmp_path / 'i')
    (tmp_path / 'i/index.json').write_text(text)
    with pytest.raises(ArchiveError, match=message):
        RetrievalIndex.open(tmp_path / 'i')


def test_refuses_broken_files(make: Make, tmp_path: Path) -> None:
    path = tmp_path / 'i'
    RetrievalIndex.build(make(40), path, vectors='int8')
    boxes = path / 'segment-0/boxes.npy'
    kept = boxes.read_bytes()
    np.save(boxes, np.zeros((39, 4)))
    with pytest.raises(ArchiveError, match='have different numbers of rows'):
        RetrievalIndex.open(path)
    np.save(boxes, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ArchiveError, match='cannot be read'):
        RetrievalIndex.open(path)
    boxes.write_bytes(kept)
    RetrievalIndex.open(path)
    (path / 'segment-0/attributes.arrow').write_bytes(b'no')
    with pytest.raises(ArchiveError, match='cannot be read'):
        RetrievalIndex.open(path)


def test_a_write_that_fails_leaves_the_index_as_it_was(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(50)
    index = RetrievalIndex.build(archive.select(np.arange(40)), tmp_path / 'i')
    rest = archive.select(np.arange(40, 50))

    def full(*_: object, **__: object) -> None:
        raise OSError('disk full')

    with monkeypatch.context() as patch:
        patch.setattr(store, 'write_header', full)
        with pytest.raises(OSError, match='disk full'):
            index.append(rest)
    assert len(index) == len(RetrievalIndex.open(tmp_path / 'i')) == 40
    index.append(rest)
    assert len(RetrievalIndex.open(tmp_path / 'i')) == 50
    with monkeypatch.context() as patch:
        patch.setattr(store, 'write_array', full)
        with pytest.raises(OSError, match='disk full'):
            index.save(tmp_path / 'i', overwrite=True)
        with pytest.raises(OSError, match='disk full'):
            RetrievalIndex(rest).save(tmp_path / 'new')
    assert len(RetrievalIndex.open(tmp_path / 'i')) == 50
    assert sorted(p.name for p in tmp_path.iterdir()) == ['i']


def test_one_writer_at_a_time(make: Make, tmp_path: Path) -> None:
    archive = make(20)
    index = RetrievalIndex.build(archive, tmp_path / 'i')
    busy = pytest.raises(ArchiveError, match='another process is changing the index')
    with store.writing(tmp_path / 'i'), busy:
        index.delete('p0001')
    index.delete('p0001')
    assert len(index) == 19


def test_saving_an_opened_index_keeps_everything(make: Make, tmp_path: Path) -> None:
    archive = make(90)
    index = RetrievalIndex.build(archive.select(np.arange(60)), tmp_path / 'a')
    index.append(archive.select(np.arange(60, 90)))
    index.delete(['p0003', 'p0070'])
    copy = RetrievalIndex.open(index.save(tmp_path / 'b'))
    same(copy.search(archive, 4), index.search(archive, 4))
    table = RetrievalIndex(archive)
    table.delete('p0003')
    saved = RetrievalIndex.open(table.save(tmp_path / 'c'))
    same(saved.search(archive, 4), table.search(archive, 4))


@pytest.mark.slow
def test_threads_share_an_index_that_changes(make: Make, tmp_path: Path) -> None:
    archive = make(200)
    index = RetrievalIndex.build(archive.select(np.arange(150)), tmp_path / 'i')
    lengths: list[int] = []
    done: list[bool] = []

    def ask() -> None:
        for _ in range(40):
            hits = index.search(archive.vectors[:3], 300, where=Where((8, 43, 12, 47)))
            assert (hits.groupby('query_id').size().nunique()) == 1
            lengths.append(len(hits) // 3)
        done.append(True)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    index.append(archive.select(np.arange(150, 200)))
    index.delete(archive.frame['patch_id'].iloc[:30])
    for thread in threads:
        thread.join()
    assert len(done) == 3
    assert set(lengths) <= {150, 200, 170}


def rank_elsewhere(index: RetrievalIndex, query: np.ndarray, answers: Any) -> None:
    answers.put(index.rank(query, 3)[0].tolist())


@pytest.mark.parametrize(
    'method', ['fork', pytest.param('spawn', marks=pytest.mark.slow)]
)
@pytest.mark.filterwarnings('ignore:.*multi-threaded.*:DeprecationWarning')
def test_processes_share_an_index(make: Make, tmp_path: Path, method: str) -> None:
    archive = make(80)
    index = RetrievalIndex.build(archive, tmp_path / 'i')
    index.rank(archive.vectors[:1], 3)
    context: Any = multiprocessing.get_context(method)
    answers = context.Queue()
    arguments = (index, archive.vectors[:1], answers)
    worker = context.Process(target=rank_elsewhere, args=arguments)
    worker.start()
    assert answers.get(timeout=60) == index.rank(archive.vectors[:1], 3)[0].tolist()
    worker.join()


def test_no_geometry_for_all_rows(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(3000)
    index = RetrievalIndex.build(archive, tmp_path / 'i')
    made: list[int] = []
    read = shapely.from_wkb

    def counted(wkb: np.ndarray) -> np.ndarray:
        made.append(len(wkb))
        return read(wkb)

    monkeypatch.setattr(shapely, 'from_wkb', counted)
    monkeypatch.setattr(
        segment.gpd.GeoSeries,
        'bounds',
        property(lambda _: pytest.fail('bounds of all')),
    )
    where = Where((9.1, 44.1, 10.9, 45.9))
    rows, _ = index.rank(archive.vectors[:2], 5, where)
    assert 0 < sum(made) < 1000
    assert np.isin(rows, where.rows(archive)).all()


def test_packed_codes(make: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (120, 4), dtype=np.uint8)
    archive = EmbeddingTable.from_frame(make(120).frame, codes, metric='hamming')
    index = RetrievalIndex.build(archive, tmp_path / 'i')
    for one in (index, RetrievalIndex(archive)):
        rows, scores = one.rank(codes[:9], 10)
        bits = np.unpackbits(codes[None] ^ codes[:9, None], axis=2).sum(axis=2)
        names = archive.frame['patch_id'].to_numpy()
        for i in range(9):
            best = np.lexsort((names, bits[i]))[:10]
            assert rows[i].tolist() == best.tolist()
            assert scores[i] == pytest.approx(1 - bits[i][best] / 16)
        assert one.search(archive.select([4]), 1, exclude=None)[
            'patch_id'
        ].tolist() == [names[4]]
    with pytest.raises(QueryError, match='holds packed codes, so give uint8'):
        index.rank(np.ones((1, 32)), 3)
    with pytest.raises(
        QueryError, match='the queries have 24 numbers and the archive has 32'
    ):
        index.rank(codes[:1, :3], 3)
    with pytest.raises(QueryError, match="vectors='int8' does not fit uint8 vectors"):
        RetrievalIndex.build(archive, vectors='int8')


@pytest.mark.parametrize('mapped', [True, False])
def test_delete_what_a_filter_finds(make: Make, tmp_path: Path, mapped: bool) -> None:
    archive = make(200)
    index = RetrievalIndex.build(archive, tmp_path / 'index' if mapped else None)
    where = Where(where='patch_id < "p0050"')
    gone = set(archive.select(where.rows(archive)).frame['patch_id'])
    assert 0 < len(gone) < 200
    index.delete(where)
    assert set(index.table.frame['patch_id']) == set(archive.frame['patch_id']) - gone
    index.delete(where)
    assert len(index) == 200 - len(gone)


def test_a_path_that_is_taken_is_refused_before_the_work(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RetrievalIndex.build(make(20), tmp_path / 'index')
    monkeypatch.setattr(segment, 'build', None)  # nothing is to be built
    with pytest.raises(OutputExistsError, match='is there already'):
        RetrievalIndex.build(make(20), tmp_path / 'index')


def test_the_same_change_again(make: Make, tmp_path: Path) -> None:
    """A process killed when it was done is run again: the second time there is nothing to do."""
    path = tmp_path / 'i'
    table, new = make(40), make(20, seed=1)
    frame: Any = new.frame.assign(patch_id='q' + new.frame['patch_id'])
    new = EmbeddingTable.from_frame(frame, new.vectors)
    gone = table.frame['patch_id'].tolist()[:3]
    RetrievalIndex.build(table, path)
    for _ in range(2):
        RetrievalIndex.open(path).delete(gone)
        assert len(RetrievalIndex.open(path)) == 37
    for _ in range(2):
        RetrievalIndex.open(path).append(new)
        assert len(RetrievalIndex.open(path)) == 57
    index = RetrievalIndex.open(path)
    with pytest.raises(ArchiveError, match='is in the index already'):
        index.append(table.select(np.arange(5, 9)))  # of the build
    with pytest.raises(ArchiveError, match='is in the index already'):
        index.append(new.select([0]))  # other rows than those of the last time
    with pytest.raises(QueryError, match='nothing was deleted'):
        index.delete([*gone, 'never there'])
    with pytest.raises(QueryError, match='nothing was deleted'):
        index.delete([gone[0], new.frame['patch_id'].iloc[0]])
    assert len(index) == 57
