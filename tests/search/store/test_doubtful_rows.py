"""What is tested late is found as if it had been tested first, and little of it is tested."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.store import engine
from torchgeo_cmr.search.store.doubtful_rows import LATE, best_tested
from torchgeo_cmr.search.where.border import Border
from torchgeo_cmr.search.where.clauses import InArea

type Make = Callable[..., Any]

AREA = shapely.Polygon([(9.3, 44.3), (10.9, 44.6), (10.5, 45.8), (9.5, 45.5)])


class World:
    """Scores of rows for some queries, and borders at which rows pass by chance."""

    def __init__(self, seed: int, share: float, queries: int, rows: int = 400) -> None:
        rng = np.random.default_rng(seed)
        self.scores = rng.normal(size=(queries, rows)).astype(np.float32)
        # Some queries are denied some rows, whatever the borders say.
        self.scores[rng.random(self.scores.shape) < 0.05] = -np.inf
        self.chosen = np.flatnonzero(rng.random(rows) < 0.8)
        self.passes = rng.random((2, rows)) < share
        at = [np.flatnonzero(rng.random(rows) < 0.6) for _ in range(2)]
        self.tests = self.searches = 0
        self.borders = [
            Border(rows, lambda doubt, i=i: self.test(i, doubt))
            for i, rows in enumerate(at)
        ]
        fails = [
            np.isin(np.arange(rows), a) & ~p
            for a, p in zip(at, self.passes, strict=True)
        ]
        self.left = self.chosen[~(fails[0] | fails[1])[self.chosen]]

    def test(self, i: int, doubt: np.ndarray) -> np.ndarray:
        self.tests += len(doubt)
        return self.passes[i, doubt]

    def best(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        self.searches += 1
        scores = self.scores[:, rows]
        order = np.argsort(-scores, axis=1, kind='stable')[:, :k]
        return rows[order], np.take_along_axis(scores, order, 1)


@pytest.mark.parametrize('share', [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize('k', [1, 10, 90, 1000])
@pytest.mark.parametrize('queries', [1, 4])
def test_as_if_tested_first(share: float, k: int, queries: int) -> None:
    for seed in range(5):
        world = World(seed, share, queries)
        found, scores = best_tested(world.best, world.chosen, world.borders, k, queries)
        expected, theirs = world.best(world.left, k)
        for i in range(queries):
            # More than k may come, where another query needs them.
            ours, good = (
                np.flatnonzero(np.isfinite(scores[i]))[:k],
                np.isfinite(theirs[i]),
            )
            assert found[i, ours].tolist() == expected[i, good].tolist()
            assert scores[i, ours].tolist() == theirs[i, good].tolist()


def test_only_the_best_are_tested() -> None:
    world = World(0, 0.9, 1)
    best_tested(world.best, world.chosen, world.borders, 5, 1)
    assert world.searches == 1
    assert 0 < world.tests < 60


def test_where_the_best_fail_all_are_tested_and_the_search_starts_again() -> None:
    world = World(0, 0.0, 1)
    best_tested(world.best, world.chosen, world.borders, 5, 1)
    assert world.searches == 2


def test_nothing_is_chosen() -> None:
    world = World(0, 0.5, 2)
    found, scores = best_tested(world.best, np.empty(0, np.int64), world.borders, 5, 2)
    assert found.shape == scores.shape == (2, 0)


@pytest.mark.parametrize('predicate', ['intersects', 'within', 'contains', 'centroid'])
@pytest.mark.parametrize('exclude', ['self', None, 20_000.0])
def test_a_search_is_that_of_the_rows_of_the_filter(
    make: Make, predicate: str, exclude: Any
) -> None:
    table = make(3000)
    index = RetrievalIndex(table)
    index.delete(table.frame['patch_id'][::50].tolist())
    where = Where(AREA, 4326, predicate=predicate, where='cloud < 80 or cloud > 90')
    for seed in range(3):
        query = table.select([100 * seed + 7])
        rows, scores = index.rank(query, 10, where, exclude=exclude)
        own = index.rows(where)
        every, theirs = index.rank(query, len(index), exclude=exclude)
        kept = np.isin(every[0], own)
        assert rows[0].tolist() == every[0][kept][:10].tolist()
        np.testing.assert_allclose(scores[0], theirs[0][kept][:10], atol=1e-6)
        assert len(rows[0]) == min(10, kept.sum())
        if predicate != 'contains':
            assert len(rows[0]) == 10


def test_a_search_looks_at_few_footprints(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[int] = []
    real = InArea._test

    def spy(self: InArea, columns: Any, rows: np.ndarray) -> np.ndarray:
        tested.append(len(rows))
        return real(self, columns, rows)

    monkeypatch.setattr(InArea, '_test', spy)
    table = make(3000)
    index, where = RetrievalIndex(table), Where(AREA, 4326)
    border = len(index.rows(where)) and tested.pop()
    assert border > 200
    index.rank(table.vectors[0], 10, where)
    assert 0 < sum(tested) < 30
    tested.clear()
    # What is counted, and what many queries find, is tested first.
    index.explain(table.vectors[0], 10, where)
    assert tested == [border]
    tested.clear()
    index.rank(table.vectors[: LATE // 10 + 1], 10, where)
    assert tested == [border]


def test_explained_counts_are_of_tested_rows(make: Make) -> None:
    table = make(3000)
    index, where = RetrievalIndex(table), Where(AREA, 4326)
    told = index.explain(table.vectors[0], 10, where)
    assert told.rows == len(index.rows(where))
    assert engine.select(index._state, where, None)[1][0].after == told.rows
