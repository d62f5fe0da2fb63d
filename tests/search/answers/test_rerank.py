"""Choosing after the ranking, against slow walks down the whole list."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import (
    Hash,
    HubFree,
    RetrievalIndex,
    Where,
    check_result,
    rerank,
)
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import metres_between

type Make = Callable[..., Any]


def apart(one: shapely.Geometry, other: shapely.Geometry) -> float:
    # Half a degree is more than any distance below, and exact metres take long.
    if abs(one.centroid.y) < 70 and 0.5 < one.distance(other) < 90:
        return 19_000.0
    a, b = np.empty(1, object), np.empty(1, object)
    a[0], b[0] = one, other
    return float(metres_between(a, b)[0])


def walk(
    table: EmbeddingTable,
    query: int,
    k: int,
    close: Callable[[int, int], bool],
    rows: set[int] | None = None,
) -> list[str]:
    """Walk down the whole ranking, one row at a time."""
    v = table.vectors.astype(float)
    score = (v @ v[query]).astype(np.float32)
    names = table.frame['patch_id'].tolist()
    order = sorted(range(len(table)), key=lambda i: (-score[i], names[i]))
    kept: list[int] = []
    for i in order:
        if rows is not None and i not in rows:
            continue
        if len(kept) < k and not any(close(i, j) for j in kept):
            kept.append(i)
    return [names[i] for i in kept]


class TestApart:
    @pytest.mark.parametrize('k', [1, 5, pytest.param(40, marks=pytest.mark.slow)])
    def test_spacing(self, make: Make, k: int) -> None:
        table = make(160)
        shapes = table.frame.geometry.tolist()
        found = rerank(
            RetrievalIndex(table), table.select([3, 9]), k, spacing=15_000, exclude=None
        )
        check_result(found)
        for query in (3, 9):
            expected = walk(
                table, query, k, lambda i, j: apart(shapes[i], shapes[j]) < 15_000
            )
            name = table.frame['patch_id'].iloc[query]
            own = found[found['query_id'] == name]
            assert own['patch_id'].tolist() == expected
            assert own['rank'].tolist() == list(range(1, len(expected) + 1))
            assert own['exact'].all()

    def test_overlap(self, make: Make) -> None:
        table = make(400)
        shapes = table.frame.geometry.tolist()
        for share in (0, 0.4):
            found = rerank(
                RetrievalIndex(table), table.vectors[3], 60, max_overlap=share
            )
            expected = walk(
                table,
                3,
                60,
                lambda i, j, share=share: (
                    shapes[i].intersection(shapes[j]).area
                    > (share + 1e-9) * min(shapes[i].area, shapes[j].area)
                ),
            )
            assert found['patch_id'].tolist() == expected

    def test_one_hit_of_each_value(self, make: Make) -> None:
        table = make(400)
        labels = [['a'], ['b', 'c'], ['c'], None, []]
        said = pd.Series([labels[i % 5] for i in range(400)], dtype=object)
        table = replace(table, frame=table.frame.assign(label=said))

        def close(i: int, j: int) -> bool:
            return bool(set(said[i] or ()) & set(said[j] or ()))

        found = rerank(RetrievalIndex(table), table.vectors[3], 20, one_per='label')
        assert found['patch_id'].tolist() == walk(table, 3, 20, close)
        assert len(found) == 20  # rows that say nothing stand for themselves
        with pytest.raises(
            QueryError, match="one_per is 'word', which is not a column"
        ):
            rerank(RetrievalIndex(table), table.vectors[3], 2, one_per='word')

    @pytest.mark.slow
    def test_all_together_behind_a_filter(self, make: Make) -> None:
        table = make(160)
        vectors = table.vectors.copy()
        vectors[80:] = vectors[:80]
        table = EmbeddingTable.from_frame(table.frame, vectors)
        shapes = table.frame.geometry.tolist()
        where = Where(where='cloud < 70')
        rows = set(where.rows(table).tolist())

        def close(i: int, j: int) -> bool:
            alike = float(vectors[i].astype(float) @ vectors[j]) > 0.999
            return alike or apart(shapes[i], shapes[j]) < 5_000

        index = RetrievalIndex(table)
        found = rerank(
            index, table.vectors[7], 300, where=where, spacing=5_000, distinct=0.999
        )
        expected = walk(table, 7, 300, close, rows)
        assert found['patch_id'].tolist() == expected
        assert 20 < len(expected) < len(rows)

    def test_as_many_as_there_are(self) -> None:
        # Nine of ten rows lie on one spot, and they are the best ones.
        n = 400
        spots = [(0.0, 0.0)] * (n - 8) + [(float(i), 10.0) for i in range(8)]
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'p{i:03d}' for i in range(n)]},
            geometry=[shapely.box(x, y, x + 0.1, y + 0.1) for x, y in spots],
            crs=4326,
        )
        angle = np.linspace(0, 1, n)
        table = EmbeddingTable.from_frame(
            frame, np.column_stack([np.cos(angle), np.sin(angle)])
        )
        found = rerank(RetrievalIndex(table), [1.0, 0.0], 5, spacing=1000)
        assert found['patch_id'].tolist() == ['p000', 'p392', 'p393', 'p394', 'p395']
        every = rerank(RetrievalIndex(table), [1.0, 0.0], 50, spacing=1000)
        assert len(every) == 9

    def test_over_the_antimeridian(self) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['a', 'b', 'c']},
            geometry=[shapely.box(x, 0, x + 0.1, 0.1) for x in (179.9, 180, 181)],
            crs=4326,
        )
        table = EmbeddingTable.from_frame(frame, np.ones((3, 2)))
        found = rerank(RetrievalIndex(table), [1.0, 1.0], 3, spacing=1000)
        assert found['patch_id'].tolist() == ['a', 'c']

    def test_min_score_and_the_own_place(self, make: Make) -> None:
        table = make(300)
        index = RetrievalIndex(table)
        query = table.select([3, 50])
        found = rerank(
            index, query, 300, where=Where(beyond=20_000), min_score=0.2, spacing=0
        )
        for i, row in enumerate((3, 50)):
            rows = Where(beyond=20_000).rows(table, query.select([i]))
            score = table.vectors[rows].astype(float) @ table.vectors[row]
            own = found[found['query_id'] == table.frame['patch_id'].iloc[row]]
            expected = table.frame['patch_id'].iloc[rows[score >= 0.2]]
            assert sorted(own['patch_id']) == sorted(expected)
            assert 3 < len(own) < 100

    def test_no_row_and_no_query(self, make: Make) -> None:
        table = make(30)
        index = RetrievalIndex(table)
        none = rerank(index, table, 3, where=Where(where='cloud > 200'), spacing=5)
        assert len(none) == 0
        check_result(none)
        assert len(rerank(index, table.select([]), 3, spacing=5)) == 0

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            ({'spacing': -1}, 'spacing is -1; give a number of 0 or more'),
            ({'max_overlap': 1.5}, 'max_overlap is 1.5; give a number from 0 to 1'),
            ({'diversity': np.nan}, 'diversity is nan; give a number from 0 to 1'),
            ({'distinct': 'yes'}, "distinct is 'yes'; give a number from -1 to 1"),
            ({'min_score': True}, 'min_score is True; give a number'),
            ({'k': 0}, 'k is 0; give at least 1'),
            ({'k': 2.5}, 'k is 2.5'),
        ],
    )
    def test_refuses(self, make: Make, arguments: dict, message: str) -> None:
        table = make(5)
        with pytest.raises(QueryError, match=message):
            rerank(RetrievalIndex(table), table, **arguments)


class TestDiverse:
    def test_against_a_loop(self, make: Make) -> None:
        table = make(120, 6)
        v = table.vectors.astype(float)
        score = v @ v[5]
        for d in (0.3, 0.7):
            pool = sorted(range(120), key=lambda i: -score[i])[:70]
            kept: list[int] = []
            while len(kept) < 7:
                worth = {
                    i: (1 - d) * score[i]
                    - (d * max(float(v[i] @ v[j]) for j in kept) if kept else 0)
                    for i in pool
                    if i not in kept
                }
                kept.append(max(worth, key=lambda i: worth[i]))
            found = rerank(
                RetrievalIndex(table), table.select([5]), 7, diversity=d, exclude=None
            )
            names = table.frame['patch_id'].iloc[kept].tolist()
            assert found['patch_id'].tolist() == names
            assert not found['exact'].any()
            check_result(found)

    def test_none_is_the_ranking(self, make: Make) -> None:
        table = make(100)
        index = RetrievalIndex(table)
        plain = index.search(table.select([5]), 9)
        found = rerank(index, table.select([5]), 9, diversity=0)
        assert found['patch_id'].tolist() == plain['patch_id'].tolist()

    def test_min_k_matches(self, make: Make) -> None:
        table = make(100)
        where = Where(where='cloud < 10')
        matches = len(where.rows(table))
        found = rerank(
            RetrievalIndex(table), table.select([5]), 99, where=where, diversity=1
        )
        assert len(found) == matches


class TestHubFree:
    @pytest.fixture
    def hubby(self) -> tuple[EmbeddingTable, np.ndarray]:
        """Sixty rows, each with a query beside it; row 0 is close to all queries."""
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(60, 20))
        queries = rows + 1.2 * rng.normal(size=(60, 20)) + 1.5
        rows[0] = queries.mean(axis=0)
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'p{i:02d}' for i in range(60)]},
            geometry=[shapely.box(i, 0, i + 1, 1) for i in range(60)],
            crs=4326,
        )
        return EmbeddingTable.from_frame(frame, rows), queries[1:]

    def test_csls_against_a_loop(
        self, hubby: tuple[EmbeddingTable, np.ndarray]
    ) -> None:
        table, queries = hubby
        unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        cosine = unit.astype(np.float32).astype(float) @ table.vectors.astype(float).T
        rows, scores = HubFree(RetrievalIndex(table), queries, neighbours=5).rank(
            queries[:4], 6
        )
        for i in range(4):
            expected = []
            for j in range(60):
                r_row = np.mean(sorted(cosine[:, j])[-5:])
                r_query = np.mean(sorted(cosine[i])[-5:])
                expected.append(2 * cosine[i, j] - r_row - r_query)
            order = np.argsort(-np.array(expected))[:6]
            assert rows[i].tolist() == order.tolist()
            assert scores[i] == pytest.approx(np.array(expected)[order], abs=1e-6)

    def test_softmax_against_a_loop(
        self, hubby: tuple[EmbeddingTable, np.ndarray]
    ) -> None:
        table, queries = hubby
        unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        cosine = unit.astype(np.float32).astype(float) @ table.vectors.astype(float).T
        free = HubFree(RetrievalIndex(table), queries, method='softmax', temperature=10)
        rows, scores = free.rank(queries[:3], 60)
        share = np.exp(10 * cosine) / np.exp(10 * cosine).mean(axis=0)
        for i in range(3):
            assert scores[i] == pytest.approx(np.log(share[i, rows[i]]) / 10, abs=1e-6)
            assert rows[i].tolist() == np.argsort(-share[i]).tolist()

    @pytest.mark.parametrize('method', ['csls', 'softmax'])
    def test_the_hub_goes_and_more_is_found(
        self, hubby: tuple[EmbeddingTable, np.ndarray], method: str
    ) -> None:
        table, queries = hubby
        index = RetrievalIndex(table)
        plain = index.rank(queries, 1)[0][:, 0]
        free = HubFree(index, queries, method=method).rank(queries, 1)[0][:, 0]
        assert (plain == 0).mean() > 0.5
        assert (free == 0).mean() < (plain == 0).mean() - 0.2
        right = np.arange(1, 60)
        assert (free == right).mean() > (plain == right).mean() + 0.2

    def test_as_a_layer_behind_a_filter(self, make: Make) -> None:
        table = make(200)
        index = RetrievalIndex(table)
        free = HubFree(index, table)
        where = Where(where='cloud < 50')
        found = free.search(table.select([1, 2]), 300, where=where)
        check_result(found)
        matches = where.rows(table)
        names = set(table.frame['patch_id'].iloc[matches])
        for _, own in found.groupby('query_id'):
            assert set(own['patch_id']) == names
        spaced = rerank(free, table.select([1]), 5, spacing=20_000)
        assert len(spaced) == 5
        none = free.search(table.select([1]), 5, where=Where(where='cloud > 200'))
        assert len(none) == 0
        away = free.search(table.select([1]), 5, where=Where(beyond=1000))
        assert table.frame['patch_id'].iloc[1] not in away['patch_id'].tolist()

    def test_refuses(self, make: Make) -> None:
        table = make(5)
        index = RetrievalIndex(table)
        with pytest.raises(QueryError, match="method 'mean' is not known; use csls or"):
            HubFree(index, table, method='mean')
        with pytest.raises(QueryError, match='give positive numbers'):
            HubFree(index, table, neighbours=0)
        codes = Hash.lsh(16, 8).table(table)
        with pytest.raises(QueryError, match='this archive holds binary codes'):
            HubFree(RetrievalIndex(codes), codes)
        with pytest.raises(QueryError, match='the queries have 3 numbers'):
            HubFree(index, np.ones((2, 3)))
        with pytest.raises(QueryError, match='use a table as queries'):
            HubFree(index, table).rank(table.vectors, 2, Where(beyond=5))
