"""RetrievalIndex: filter first, min(k, matches) rows, one order whatever the archive's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Geod

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.progress.bars import drawing
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable

#: The tables are Any: pandas' stubs lose the types of rows and assigned frames.
Make = Callable[..., Any]
BOX = (9.2, 44.2, 10.2, 45.2)


def slow(
    table: Any, query: Any, k: int, keep: Callable[[pd.Series], bool]
) -> list[str]:
    """Score each row that matches, sort by score and id: the whole search as a loop."""
    scored = []
    for (_, row), vector in zip(table.frame.iterrows(), table.vectors, strict=True):
        if keep(row):
            score = np.float32(
                sum(float(a) * float(b) for a, b in zip(vector, query, strict=True))
            )
            scored.append((-score, row['patch_id']))
    return [name for _, name in sorted(scored)[:k]]


def test_against_a_loop(make: Make) -> None:
    archive, queries = make(300), make(6, seed=9)
    where = Where(BOX, where='cloud < 60', during=('2024-02-01', '2024-11-01'))
    a, b = pd.Timestamp('2024-02-01', tz='UTC'), pd.Timestamp('2024-11-01', tz='UTC')

    def keep(row: pd.Series) -> bool:
        dated = not pd.isna(row.time_start) and row.time_start < b and row.time_end >= a
        return dated and row.cloud < 60 and row.geometry.intersects(shapely.box(*BOX))

    result = RetrievalIndex(archive).search(queries, 5, where=where)
    assert result['query_id'].unique().tolist() == queries.frame['patch_id'].tolist()
    for query, vector in zip(queries.frame['patch_id'], queries.vectors, strict=True):
        hits = result[result['query_id'] == query]
        assert hits['patch_id'].tolist() == slow(archive, vector, 5, keep)
        assert hits['rank'].tolist() == [1, 2, 3, 4, 5]
        assert hits['score'].is_monotonic_decreasing


def test_rows_of_the_result_are_rows_of_the_archive(make: Make) -> None:
    archive = make()
    result = RetrievalIndex(archive).search(archive.select([5, 250]), 3, exclude=None)
    frame = archive.frame.set_index('patch_id')
    for _, hit in result.iterrows():
        row = frame.loc[hit.patch_id]
        assert hit.geometry.equals(row.geometry)
        assert hit.source == row.source
    top = result[result['rank'] == 1]
    assert top['patch_id'].tolist() == top['query_id'].tolist()
    assert top['score'].tolist() == pytest.approx([1, 1], abs=1e-6)


def test_permutation_of_the_archive_changes_nothing(make: Make) -> None:
    rng = np.random.default_rng(3)
    archive = make(400, 64)
    # Many equal vectors, so that order within ties is tested across position k.
    vectors = archive.vectors[rng.integers(0, 30, 400)]
    archive = EmbeddingTable.from_frame(archive.frame, vectors)
    queries = np.vstack([vectors[:4], rng.normal(size=(3, 64))])
    for where in (None, Where(BOX)):
        first = RetrievalIndex(archive).search(queries, 23, where=where)
        for _ in range(3):
            mixed = archive.select(rng.permutation(400))
            again = RetrievalIndex(mixed).search(queries, 23, where=where)
            pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(again))


def test_order_and_number_of_queries_change_nothing(make: Make) -> None:
    archive, queries = make(), make(9, seed=4)
    index = RetrievalIndex(archive)
    rows, scores = index.rank(queries.vectors, 7)
    for i in range(9):
        one, score = index.rank(queries.vectors[i], 7)
        assert (one[0] == rows[i]).all()
        assert (score[0] == scores[i]).all()


def test_ties_are_broken_by_patch_id(make: Make) -> None:
    archive = make(40)
    same = EmbeddingTable.from_frame(archive.frame, np.ones((40, 3)))
    result = RetrievalIndex(same).search([1.0, 2.0, 3.0], 11)
    assert result['patch_id'].tolist() == sorted(archive.frame['patch_id'])[:11]
    assert result['score'].nunique() == 1


@pytest.mark.parametrize(('k', 'rows'), [(1, 1), (40, 40), (1000, 40)])
def test_never_padded(make: Make, k: int, rows: int) -> None:
    archive = make(40)
    result = RetrievalIndex(archive).search(archive.select([0, 1]), k, exclude=None)
    assert len(result) == 2 * rows
    assert result['patch_id'].value_counts().max() <= 2


def test_filter_comes_before_ranking(make: Make) -> None:
    archive = make(300)
    rows = Where(where='source == "x"').rows(archive)
    worst = -archive.vectors[rows].sum(axis=0)
    result = RetrievalIndex(archive).search(
        worst, 300, where=Where(where='source == "x"')
    )
    assert len(result) == len(rows)
    assert set(result['source']) == {'x'}


def test_nothing_matches(make: Make) -> None:
    index = RetrievalIndex(make())
    full = index.search(np.ones((2, 16)), 3)
    empty = index.search(np.ones((2, 16)), 3, where=Where((100, 0, 101, 1)))
    assert len(empty) == 0
    assert empty.crs == full.crs
    assert (empty.dtypes == full.dtypes).all()
    rows, scores = index.rank(np.ones((2, 16)), 3, where=Where((100, 0, 101, 1)))
    assert rows.shape == scores.shape == (2, 0)
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32
    none = RetrievalIndex(make().select([])).search(np.ones((2, 16)), 3)
    assert len(none) == 0
    assert len(index.search(np.empty((0, 16)), 3)) == 0


def test_arrays_as_queries(make: Make) -> None:
    archive = make()
    index = RetrievalIndex(archive)
    one = index.search(archive.vectors[3].astype(np.float64) * 50, 4)
    two = index.search(archive.vectors[[3, 8]], 4)
    assert one['query_id'].unique().tolist() == ['q0']
    assert two['query_id'].unique().tolist() == ['q0', 'q1']
    assert one['patch_id'].tolist() == two['patch_id'].tolist()[:4]
    integers = index.search([[1] * 16], 2, exact=False)
    assert integers['exact'].all()


@pytest.mark.parametrize(
    ('queries', 'message'),
    [
        (np.zeros((2, 16)), 'query 0 holds only zeros'),
        (np.vstack([np.ones(16), np.full(16, np.nan)]), 'query 1 holds NaN'),
        (np.full((1, 16), np.inf), 'query 0 holds NaN or infinite'),
        (np.ones((2, 15)), 'the queries have 15 numbers and the archive has 16'),
        (np.ones((2, 2, 16)), r'shape \(2, 2, 16\)'),
        (np.array(['a'] * 16), 'give real numbers'),
        ([[1.0], [1.0, 2.0]], 'different lengths'),
        (np.ones((2, 0)), r'shape \(2, 0\)'),
    ],
)
def test_refuses_queries(make: Make, queries: np.ndarray, message: str) -> None:
    index = RetrievalIndex(make(20))
    for ask in (index.search, index.rank, index.explain):
        with pytest.raises(QueryError, match=message):
            ask(queries, 3)


@pytest.mark.parametrize(
    ('k', 'message'),
    [
        (0, 'k is 0; give at least 1'),
        (-2, 'k is -2'),
        (2.0, 'k is 2.0; give a whole number'),
        (True, 'k is True'),
        ('3', "k is '3'"),
    ],
)
def test_refuses_k(make: Make, k: int, message: str) -> None:
    index = RetrievalIndex(make(20))
    for ask in (index.search, index.rank, index.explain):
        with pytest.raises(QueryError, match=message):
            ask(np.ones(16), k)
    two: Any = np.int64(2)
    assert len(index.search(np.ones(16), two)) == 2


def test_spaces_must_agree(make: Make) -> None:
    archive, queries = make(20), make(3)
    other = EmbeddingTable.from_frame(
        queries.frame.assign(space='xyz'), queries.vectors
    )
    blank = EmbeddingTable.from_frame(queries.frame.assign(space=None), queries.vectors)
    with pytest.raises(
        QueryError, match='embedded in space xyz and the archive in abc'
    ):
        RetrievalIndex(archive).search(other, 2)
    with pytest.raises(
        QueryError, match='compared by hamming and the archive by cosine'
    ):
        RetrievalIndex(archive).search(
            EmbeddingTable(queries.frame, queries.vectors, 'hamming'), 2
        )
    assert len(RetrievalIndex(archive).search(blank, 2)) == 6
    assert len(RetrievalIndex(blank).search(other, 2)) == 6


def test_where_must_be_a_filter(make: Make) -> None:
    with pytest.raises(QueryError, match='where is a str; give a Where'):
        RetrievalIndex(make(5)).search(np.ones(16), 2, where='cloud < 5')


@pytest.mark.parametrize('stored', [False, True])
def test_the_first_rows_that_can_be_found(
    make: Make, tmp_path: Path, stored: bool
) -> None:
    table = make(40)
    index = RetrievalIndex(table)
    if stored:
        index = RetrievalIndex.build(table.select(range(25)), tmp_path / 'index')
        index.append(table.select(range(25, 40)))
    for gone in ((), (0, 3, 7), range(10, 30)):
        if len(gone):
            index.delete([table.frame['patch_id'][i] for i in gone])
        for most in (1, 4, 16, 17, 18, 39, 100):
            assert index.columns.leading(most).tolist() == index.rows()[:most].tolist()


def test_explain_lists_no_rows_if_some_are_left(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make(40)
    table = replace(table, frame=table.frame.assign(label='port', cloud=np.nan))
    index = RetrievalIndex(table)
    listed: list[int] = []
    rows = RetrievalIndex.rows
    monkeypatch.setattr(
        RetrievalIndex, 'rows', lambda *given: listed.append(1) or rows(*given)
    )
    assert index.explain(np.ones(16), 3, where=Where(where="label = 'port'")).rows
    assert not listed
    assert index.explain(np.ones(16), 3, where=Where(where="label = 'sea'")).unmet
    assert listed


@pytest.mark.parametrize('stored', [False, True])
def test_explain_names_what_is_compared_in_vain(
    make: Make, tmp_path: Path, stored: bool
) -> None:
    table = make(40)
    frame = table.frame.assign(cloud=np.nan, label=['port'] * 39 + ['field'])
    table = replace(table, frame=frame)
    index = RetrievalIndex(table)
    if stored:
        index = RetrievalIndex.build(table, tmp_path / 'index')
    blind = index.explain(np.ones(16), 3, where=~Where(where='cloud > 20'))
    assert blind.rows == 40
    assert [s[:30] for s in blind.unmet] == ['no row has a value in cloud: i']
    assert 'no row has a value in cloud' in str(blind)
    field = Where(where="label = 'field'")
    assert index.explain(np.ones(16), 3, where=field).unmet == ()
    # Rows that were deleted have no values any more.
    index.delete(Where(where="label = 'field'"))
    (found,) = index.explain(np.ones(16), 3, where=field).unmet
    assert found == "no row has label = 'field', for label is 'port'"
    # Where rows are left, nothing is missed.
    either = Where(where="label = 'field' or label = 'port'")
    assert index.explain(np.ones(16), 3, where=either).unmet == ()


def test_explain(make: Make) -> None:
    archive = make(300)
    where = Where(BOX, during=('2024-02-01', None), where='cloud < 60')
    told = RetrievalIndex(archive).explain(np.ones((2, 16)), 9, where=where)
    assert (told.plan, told.queries, told.k, told.archive, told.found) == (
        'exact',
        2,
        9,
        300,
        9,
    )
    assert told.rows == len(where.rows(archive))
    assert [s.clause for s in told.steps] == [
        'where cloud < 60',
        'during',
        'area, intersects',
        'rank',
    ]
    assert (
        told.undated
        == (archive.frame['time_start'].isna() & (archive.frame['cloud'] < 60)).sum()
        > 0
    )
    text = str(told)
    assert 'plan: exact; 2 queries, k=9, 300 rows' in text
    assert f'rows without time met by the window: {told.undated}' in text
    assert RetrievalIndex(archive).explain(np.ones(16), 500).found == 300


def test_table_stays(make: Make) -> None:
    archive = make(50)
    before = pd.DataFrame(archive.frame).copy(deep=True), archive.vectors.tobytes()
    result = RetrievalIndex(archive).search(archive, 3, where=Where(BOX, undated=True))
    result['source'] = 'changed'
    pd.testing.assert_frame_equal(pd.DataFrame(archive.frame), before[0])
    assert archive.vectors.tobytes() == before[1]


def test_refuses_an_id_that_occurs_twice(make: Make) -> None:
    archive = make(50)
    frame = archive.frame.copy()
    frame.loc[7, 'patch_id'] = frame.loc[3, 'patch_id']
    twice = replace(archive, frame=frame)
    name = frame.loc[3, 'patch_id']
    for refused in (RetrievalIndex, RetrievalIndex.build):
        with pytest.raises(ArchiveError, match=f"patch_id '{name}' occurs more than"):
            refused(twice)


def test_many_queries_are_ranked_in_parts_that_a_bar_counts(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    index, queries = RetrievalIndex(make(300)), make(1_100, seed=5).vectors
    with drawing('always'):
        together = index.search(queries, 3)
    assert '1100/1100' in capsys.readouterr().err
    for i in (0, 511, 512, 1_099):
        alone = index.search(queries[i], 3)
        mine = together.iloc[3 * i : 3 * i + 3]
        assert mine['patch_id'].tolist() == alone['patch_id'].tolist()
        assert mine['score'].tolist() == alone['score'].tolist()
    assert index.explain(queries, 3).queries == 1_100


@pytest.mark.parametrize('stored', [False, True])
def test_explain_says_how_far_away_a_place_is(
    make: Make, tmp_path: Path, stored: bool
) -> None:
    table = make(40)
    index = RetrievalIndex(table)
    if stored:
        index = RetrievalIndex.build(table, tmp_path / 'index')
    point = table.frame.geometry.iloc[0].representative_point()

    def unmet(where: Where) -> tuple[str, ...]:
        return index.explain(np.ones(16), 3, where=where).unmet

    exchanged = Where(near=((point.y, point.x), 500))
    (said,) = unmet(exchanged)
    assert said.startswith('the nearest footprint is ')
    assert said.endswith(' km from the place; longitude comes first, then latitude')
    away = min(
        Geod(ellps='WGS84').inv(point.y, point.x, *corner)[2]
        for shape in table.frame.geometry
        for corner in shapely.get_coordinates(shape)
    )
    found = float(said.split()[4].replace(',', ''))
    assert found * 1000 == pytest.approx(away, rel=0.01)
    (said,) = unmet(Where(near=((point.x, point.y + 20), 500)))
    assert said.endswith(' km from the place')
    # The place is not to blame, or not looked for.
    here = Where(near=((point.x, point.y), 500))
    assert unmet(here & Where(during='1999')) == ()
    assert unmet(~exchanged & Where(during='1999')) == ()
    assert unmet(exchanged | here) == ()
