"""Which plan is chosen, and what is said of it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.rank import plan
from torchgeo_cmr.search.rank.plan import choose
from torchgeo_cmr.search.rank.vectors import Vectors, encode

Make = Callable[..., Any]
#: Stands for an approximate index: choosing reads only its kind and recall.
IVF: Any = SimpleNamespace(kind='ivf', recall=0.96)


def vectors(kind: str, n: int = 1000) -> Vectors:
    rows = np.eye(8, dtype=np.float32)[np.arange(n) % 8]
    return Vectors(rows, kind, *encode(rows, kind))


@pytest.mark.parametrize(
    ('rows', 'name'),
    [(1000, 'approximate ivf'), (250, 'approximate ivf'), (249, 'exact'), (0, 'exact')],
)
def test_approximate_only_where_enough_is_left(
    monkeypatch: pytest.MonkeyPatch, rows: int, name: str
) -> None:
    monkeypatch.setattr(plan, 'LEAST_ROWS', 100)
    chosen = choose(vectors('float32'), [IVF], rows, exact=False)
    assert chosen.name == name
    assert chosen.exact == (name == 'exact')
    assert chosen.recall == (1.0 if chosen.exact else 0.96)
    assert f'{rows} of 1000 rows are left' in chosen.why
    assert choose(vectors('float32'), [IVF], rows, exact=True).exact
    monkeypatch.setattr(plan, 'LEAST_ROWS', 2_000)
    assert choose(vectors('float32'), [IVF], rows, exact=False).exact


@pytest.mark.parametrize('kind', ['float16', 'int8', 'binary'])
def test_codes_decide_alone_only_if_allowed(kind: str) -> None:
    exact = choose(vectors(kind), [], 1000, exact=True)
    assert (exact.name, exact.exact, exact.spare) == ('exact', True, None)
    quick = choose(vectors(kind), [], 1000, exact=False)
    assert (quick.name, quick.exact, quick.recall) == ('codes', False, None)
    assert quick.spare is not None


def test_explain_tells_the_plan(make: Make) -> None:
    archive = make(300)
    where = Where((9.2, 44.2, 10.2, 45.2))
    left = len(where.rows(archive))
    told = RetrievalIndex.build(archive, vectors='int8').explain(
        np.ones((2, 16)), 9, where=where, exact=False
    )
    assert (told.plan, told.exact, told.recall, told.rows) == (
        'codes',
        False,
        None,
        left,
    )
    assert f'because {left} of 300 rows are left; int8 codes' in str(told)
    assert 'not exact; expected recall: not measured' in str(told)
    told = RetrievalIndex(archive).explain(np.ones((2, 16)), 9, where=where)
    assert (told.exact, told.recall) == (True, 1.0)
    assert f'because {left} of 300 rows are left, each is scored' in str(told)
    assert 'recall' not in str(told)


def test_filters_that_refer_to_the_query(make: Make) -> None:
    archive = make(200)
    index = RetrievalIndex.build(archive)
    queries = archive.select(np.flatnonzero(archive.frame['time_start'].notna())[:5])
    where = Where(days=20)
    hits = index.search(queries, 200, where=where, exclude=None)
    for i in range(5):
        rows = where.rows(archive, queries.select([i]))
        name = queries.frame['patch_id'].iloc[i]
        own = hits[hits['query_id'] == name]
        assert sorted(own['patch_id']) == sorted(archive.frame['patch_id'].iloc[rows])
        assert own['rank'].tolist() == list(range(1, len(rows) + 1))
    assert hits['query_id'].unique().tolist() == queries.frame['patch_id'].tolist()
    with pytest.raises(
        QueryError, match='which does not form an array; rank them one by one'
    ):
        index.rank(queries, 200, where, exclude=None)
    assert index.rank(queries, 1, where)[0].shape == (5, 1)
    told = index.explain(queries, 3, where=where)
    assert told.rows == round(
        np.mean([len(where.rows(archive, queries.select([i]))) for i in range(5)])
    )


def test_min_score(make: Make) -> None:
    archive = make(300)
    for index in (
        RetrievalIndex(archive),
        RetrievalIndex.build(archive, vectors='int8'),
    ):
        every = index.search(archive.vectors[:4], 300)
        least = float(every['score'].quantile(0.9))
        cut = every[every['score'] >= np.float32(least)].reset_index(drop=True)
        found = index.search(archive.vectors[:4], None, min_score=least)
        assert found['patch_id'].tolist() == cut['patch_id'].tolist()
        assert found['rank'].tolist() == cut['rank'].tolist()
        assert found['query_id'].tolist() == cut['query_id'].tolist()
        few = index.search(archive.vectors[:4], 5, min_score=least)
        assert len(few) == 20
        assert few['patch_id'].tolist() == cut[cut['rank'] <= 5]['patch_id'].tolist()
        none = index.search(-archive.vectors[:4], None, min_score=1.0)
        assert len(none) == 0
        assert (none.dtypes == every.dtypes).all()
    with pytest.raises(
        QueryError, match='k is None; give a number of rows, or give min_score'
    ):
        RetrievalIndex(archive).search(archive.vectors[:4], None)


def test_result_takes_lists(make: Make) -> None:
    archive = make(30)
    index = RetrievalIndex.build(archive)
    rows = [np.array([4, 2]), np.array([], dtype=np.int64), np.array([2, 9, 1])]
    scores = [np.ones(len(r), dtype=np.float32) for r in rows]
    made = index.result(rows, scores, ['a', 'b', 'c'])
    names = archive.frame['patch_id'].iloc[[4, 2, 2, 9, 1]].tolist()
    assert made['patch_id'].tolist() == names
    assert made['query_id'].tolist() == ['a', 'a', 'c', 'c', 'c']
    assert made['rank'].tolist() == [1, 2, 1, 2, 3]
