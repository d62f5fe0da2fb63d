"""Fusing results: by hand, and what a fused result is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, check_result, from_ids, fuse
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., Any]


def models(make: Make) -> tuple[EmbeddingTable, EmbeddingTable]:
    """The same patches embedded by two models."""
    one = make(100)
    rng = np.random.default_rng(5)
    other = EmbeddingTable.from_frame(
        one.frame.assign(space='xyz'), rng.normal(size=(100, 9))
    )
    return one, other


def answers(make: Make, asked: list[str], depth: int = 20) -> list[Any]:
    return [
        RetrievalIndex(table).search(from_ids(table, asked), depth, exclude=None)
        for table in models(make)
    ]


def test_rrf_over_models_by_hand(make: Make) -> None:
    asked = ['p0003', 'p0050']
    results = answers(make, asked)
    found = fuse(results, 7)
    check_result(found)
    assert found['query_id'].tolist() == [name for name in asked for _ in range(7)]
    for name in asked:
        points: dict[str, float] = {}
        for result in results:
            for hit in result[result['query_id'] == name].itertuples():
                points[hit.patch_id] = points.get(hit.patch_id, 0) + 1 / (60 + hit.rank)
        expected = sorted(points, key=lambda patch: (-points[patch], patch))[:7]
        own = found[found['query_id'] == name]
        assert own['patch_id'].tolist() == expected
        assert own['score'].tolist() == pytest.approx([points[p] for p in expected])
        assert own['rank'].tolist() == list(range(1, 8))
    assert own['patch_id'].iloc[0] == 'p0050'
    assert not found['exact'].any()
    assert list(found.columns) == list(results[0].columns)
    assert found.dtypes.astype(str).tolist() == results[0].dtypes.astype(str).tolist()


def test_best_of_several_examples_is_exact(make: Make) -> None:
    table = make(200)
    examples = table.select([3, 17, 60])
    result = RetrievalIndex(table).search(examples, 12, exclude=None)
    found = fuse(result, 12, method='max', query_id='mine')
    best = (table.vectors.astype(float) @ examples.vectors.T.astype(float)).max(axis=1)
    order = np.argsort(-best, kind='stable')[:12]
    assert set(found['patch_id']) == set(table.frame['patch_id'].iloc[order])
    assert found['score'].tolist() == pytest.approx(best[order].tolist(), abs=1e-6)
    assert found['exact'].all()
    assert set(found['query_id']) == {'mine'}
    assert not fuse(result, 13, method='max')['exact'].any()


def test_queries_of_two_sensors_go_together_in_their_order(make: Make) -> None:
    table = make(100)
    index = RetrievalIndex(table)
    s1 = index.search(from_ids(table, ['p0003', 'p0004']), 5, exclude=None)
    s2 = index.search(from_ids(table, ['p0013', 'p0014']), 5, exclude=None)
    with pytest.raises(
        QueryError, match="result 1 of 2 has no hits for 'p0013', 'p0014'"
    ):
        fuse([s1, s2], 3)
    found = fuse([s1, s2], 3, match='order')
    assert found['query_id'].tolist() == ['p0003'] * 3 + ['p0004'] * 3
    first = found[found['query_id'] == 'p0003']['patch_id'].tolist()
    assert {'p0003', 'p0013'} <= set(first)
    swapped = s2.iloc[::-1]
    with pytest.raises(QueryError, match='the results hold 2, 1 queries'):
        fuse([s1, swapped[swapped['query_id'] == 'p0013']], 3, match='order')


@pytest.mark.slow
def test_answers_to_other_questions_are_not_mixed(make: Make) -> None:
    asked = [f'p{i:04d}' for i in range(9)]
    one, other = answers(make, asked)
    both, alone = fuse([one, other], 5), fuse([one], 5)
    for names, missing in (
        (asked[:8], r"result 2 of 2 has no hits for 'p0008', which"),
        (asked[1:], r"result 2 of 2 has no hits for 'p0000', which"),
        (asked[:2], r"'p0002', 'p0003', 'p0004', 'p0005', 'p0006' and 2 more, which"),
        ([], r"result 2 of 2 has no hits for 'p0000', .* and 4 more, which"),
    ):
        part = other[other['query_id'].isin(names)]
        with pytest.raises(QueryError, match=missing):
            fuse([one, part], 5)
        found = fuse([one, part], 5, match='any')
        check_result(found)
        assert found['query_id'].drop_duplicates().tolist() == asked
        for name in asked:
            right = both if name in names else alone
            alike = [
                f[f['query_id'] == name]['patch_id'].tolist() for f in (found, right)
            ]
            assert alike[0] == alike[1]
    with pytest.raises(
        QueryError, match="query_id='mine' names one question and there are 9"
    ):
        fuse([one, other], 5, query_id='mine')
    with pytest.raises(
        QueryError, match="match 'name' is not known; use all, any, order"
    ):
        fuse([one, other], 5, match='name')


def test_equal_queries_in_another_order(make: Make) -> None:
    one, other = models(make)
    a = RetrievalIndex(one).search(from_ids(one, ['p0003', 'p0050']), 9, exclude=None)
    b = RetrievalIndex(other).search(
        from_ids(other, ['p0050', 'p0003']), 9, exclude=None
    )
    assert fuse([a, b], 4)['patch_id'].tolist() == (
        fuse(answers(make, ['p0003', 'p0050'], 9), 4)['patch_id'].tolist()
    )


def test_by_place(make: Make) -> None:
    results = answers(make, ['p0003'])
    results = [r.assign(place=r['source']) for r in results]
    found = fuse(results, 10, by='place')
    assert sorted(found['place']) == ['x', 'y', 'z']
    # Each counts where it ranks best in each result.
    best = [r.groupby('place')['rank'].min() for r in results]
    for place, score in zip(found['place'], found['score'], strict=True):
        assert score == pytest.approx(sum(1 / (60 + b[place]) for b in best))


def test_results_that_were_edited(make: Make) -> None:
    one, other = answers(make, ['p0003', 'p0050'])
    right = fuse([one, other], 7)
    for edited in (one.to_crs(32632), one.rename_geometry('shape')):
        found = fuse([other, edited], 7)
        assert found['patch_id'].tolist() == right['patch_id'].tolist()
        assert found.geometry.name == 'geometry'
        assert found.crs == 4326
        assert found.geometry.geom_equals_exact(right.geometry, 1e-6).all()


@pytest.mark.parametrize('method', ['rrf', 'max'])
def test_hits_without_a_name_of_the_place_are_not_one(make: Make, method: str) -> None:
    one, other = answers(make, ['p0003'])
    both = [r.assign(site=['a', 'b', *[None] * (len(r) - 2)]) for r in (one, other)]
    found = fuse(both, 50, by='site', method=method)
    assert len(found) == 2 + 2 * (len(one) - 2)
    assert np.isfinite(found['score']).all()
    assert found['score'].is_monotonic_decreasing


def test_refuses(make: Make) -> None:
    (result, _) = answers(make, ['p0003'])
    for given, message in (
        (([], 5), 'there is no result to fuse'),
        ((result.iloc[:0], 5), 'there is no result to fuse'),
        (([result], 0), 'k is 0'),
    ):
        with pytest.raises(QueryError, match=message):
            fuse(*given)
    with pytest.raises(QueryError, match="method 'sum' is not known; use rrf or max"):
        fuse([result], method='sum')
    for constant in (-1, float('nan')):  # the first rank would score 1 / 0
        with pytest.raises(
            QueryError, match=r'constant is .*: give a number of at least'
        ):
            fuse([result], 3, constant=constant)
    with pytest.raises(QueryError, match="no column 'place' to tell hits apart by"):
        fuse([result], by='place')
    with pytest.raises(QueryError, match='the result lacks score'):
        fuse([result.drop(columns='score')])
    call: Any = fuse
    for wrong in (['hits.gpkg'], {'one': 1}, [make(3)]):
        with pytest.raises(QueryError, match=r'the result is a .*read_search\(FILE\)'):
            call(wrong, 5)
    for by in ('geometry', ['source']):
        with pytest.raises(QueryError, match='to tell hits apart by'):
            call([result], 5, by=by)
