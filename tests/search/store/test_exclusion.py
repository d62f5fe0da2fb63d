"""What a query shall not find: itself, its neighbourhood, its days."""

from collections.abc import Callable
from functools import partial
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import (
    HubFree,
    RetrievalIndex,
    Where,
    from_examples,
    from_feedback,
    from_ids,
    rerank,
)
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.table.distance import metres_between

type Make = Callable[..., EmbeddingTable]


def world(n: int, rng: np.random.Generator, prefix: str = 'p') -> EmbeddingTable:
    """Rows on both sides of the antimeridian, some without a place or a date, some equal."""
    west = (rng.uniform(170, 190, n) + 180) % 360 - 180
    south = rng.uniform(60, 75, n)
    wide, high = rng.uniform(0.05, 2, n), rng.uniform(0.05, 1, n)
    west = np.minimum(west, 180 - wide)
    shapes = np.asarray(shapely.box(west, south, west + wide, south + high), object)
    shapes[rng.random(n) < 0.1] = None
    day = pd.Timestamp('2024-01-01', tz='UTC')
    start = pd.Series(day + pd.to_timedelta(rng.integers(0, 60, n), unit='D'))
    end = start + pd.to_timedelta(rng.integers(0, 5, n), unit='D')
    start[rng.random(n) < 0.1] = pd.NaT
    end[rng.random(n) < 0.1] = pd.NaT
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{prefix}{i:04d}' for i in rng.permutation(n)],
            'time_start': start,
            'time_end': end,
            'modality': np.where(rng.random(n) < 0.5, 'a', 'b'),
            'cloud': rng.integers(0, 100, n),
        },
        geometry=shapes,
        crs=4326,
    )
    vectors = rng.normal(size=(n, 8))[rng.integers(0, max(2, n // 2), n)]
    return EmbeddingTable.from_frame(frame, vectors, space='w', placeless=True)


def allowed(
    table: EmbeddingTable,
    one: EmbeddingTable,
    where: Where | None,
    exclude: str | float | None,
    days: float | None,
) -> np.ndarray:
    """Say, row by row, what a query may find."""
    mask = np.zeros(len(table), dtype=bool)
    mask[np.arange(len(table)) if where is None else where.rows(table, one)] = True
    row = one.frame.iloc[0]
    if exclude is not None:
        mask &= (table.frame['patch_id'] != row['patch_id']).to_numpy()
    if isinstance(exclude, int | float) and row.geometry is not None:
        placed = np.flatnonzero(table.frame.geometry.notna())
        shapes = table.frame.geometry.to_numpy()[placed]
        own = np.full(len(placed), row.geometry, dtype=object)
        mask[placed[metres_between(shapes, own) <= exclude]] = False
    start, end = row['time_start'], row['time_end']
    start, end = (end if pd.isna(start) else start, start if pd.isna(end) else end)
    if days is not None and not pd.isna(start):
        gap = pd.Timedelta(days=days)
        first = table.frame['time_start'].fillna(table.frame['time_end'])
        last = table.frame['time_end'].fillna(table.frame['time_start'])
        mask &= ~((first <= end + gap) & (last >= start - gap)).to_numpy()
    return mask


def in_two(table: EmbeddingTable) -> RetrievalIndex:
    n = len(table)
    two = RetrievalIndex.build(table.select(np.arange(n // 2)))
    two.append(table.select(np.arange(n // 2, n)))
    return two


#: The same rows in every life of an index.
LIVES: list[Callable[[EmbeddingTable], RetrievalIndex]] = [
    RetrievalIndex,
    in_two,
    partial(RetrievalIndex.build, vectors='int8'),
    partial(RetrievalIndex.build, vectors='binary'),
]


@pytest.mark.parametrize('seed', range(30))
def test_equal_to_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = world(int(rng.integers(4, 80)), rng)
    n = len(table)
    queries = table.select(rng.permutation(n)[: rng.integers(1, 5)])
    queries = EmbeddingTable.concat([queries, world(2, rng, 'z')])
    filters = (None, 'cloud < 60', 'cloud < 20 or cloud > 50')
    where: Where | None = None
    if text := filters[seed % 3]:
        where = Where(where=text)
    exclude = (None, 'self', 0, 30_000.0, 200_000, 1e8)[rng.integers(6)]
    days = (None, None, 0, 3.5, 20)[rng.integers(5)]
    k = int(rng.choice([1, 3, n // 2 + 1, n + 5]))
    least = float(rng.uniform(-0.5, 0.9))
    index = LIVES[seed % 4](table)
    how: dict[str, Any] = {'where': where, 'exclude': exclude, 'exclude_days': days}
    first = index.search(queries, k, **how)
    every = index.search(queries, None, min_score=least, **how)
    names = table.frame['patch_id'].to_numpy()
    for i in range(len(queries)):
        one = queries.select([i])
        rows = np.flatnonzero(allowed(table, one, where, exclude, days))
        pairs = table.vectors[rows].astype(float) * one.vectors.astype(float)
        score = np.clip(pairs.sum(axis=1).astype(np.float32), -1, 1)
        order = np.lexsort((names[rows].astype(str), -score))
        name = one.frame['patch_id'].iloc[0]
        found = first[first['query_id'] == name]['patch_id'].tolist()
        assert found == names[rows[order]][:k].tolist()
        found = every[every['query_id'] == name]['patch_id'].tolist()
        assert found == names[rows[order]][score[order] >= np.float32(least)].tolist()


def test_sound_excludes_itself_only() -> None:
    frame = gpd.GeoDataFrame(
        {'patch_id': ['s1', 's2', 's3']}, geometry=[None] * 3, crs=4326
    )
    vectors = np.random.default_rng(0).normal(size=(3, 8))
    table = EmbeddingTable.from_frame(frame, vectors, placeless=True)
    index = RetrievalIndex(table)
    for exclude in ('self', 0, 5000.0):
        found = index.search(table, 3, exclude=exclude)
        assert found['query_id'].value_counts().tolist() == [2, 2, 2]
        assert not (found['query_id'] == found['patch_id']).any()
    found = index.search(table, 1, exclude=None)
    assert found['patch_id'].tolist() == ['s1', 's2', 's3']
    # As the filter's own clause does.
    assert len(index.search(table, 3, where=Where(beyond=5))) == 6


@pytest.mark.parametrize('reach', [{'where': Where(beyond=0)}, {'exclude': 0}])
def test_patches_that_share_an_edge_touch(reach: dict[str, Any]) -> None:
    """Whatever the last bits of their coordinates: nine by nine, eight round each."""
    corners = [(9 + 0.01 * c, 45 + 0.01 * r) for r in range(9) for c in range(9)]
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i:02d}' for i in range(81)]},
        geometry=[shapely.box(x, y, x + 0.01, y + 0.01) for x, y in corners],
        crs=4326,
    )
    vectors = np.random.default_rng(0).normal(size=(81, 4))
    table = EmbeddingTable.from_frame(frame, vectors)
    inner = [i for i in range(81) if 0 < i % 9 < 8 and 9 <= i < 72]
    found = RetrievalIndex(table).search(table.select(inner), 81, **reach)
    counts = found.groupby('query_id').size()
    assert len(counts) == 49
    assert set(counts) == {72}


def test_another_patch_of_the_same_name_is_found(make: Make) -> None:
    """Two sensors may name their patches alike, and a name alone is no identity."""
    archive = make(30)
    names = archive.frame['patch_id'].tolist()
    other = EmbeddingTable.from_frame(
        gpd.GeoDataFrame(archive.frame.drop(columns=['modality', 'space'])),
        -archive.vectors,
        space=archive.space,
    )
    found = RetrievalIndex(archive).search(other, 30)
    assert sorted(found[found['query_id'] == names[4]]['patch_id']) == sorted(names)
    radar = EmbeddingTable.from_frame(
        gpd.GeoDataFrame(archive.frame.assign(modality='radar')), archive.vectors
    )
    first = RetrievalIndex(archive).search(radar, 1)
    assert first['patch_id'].tolist() == first['query_id'].tolist()


def test_examples_are_not_found(make: Make) -> None:
    table = make(60)
    index = RetrievalIndex(table)
    right = from_ids(index, ['p0003', 'p0010'])
    wrong = from_ids(index, ['p0020'])
    found = index.search(from_examples(right, wrong), 60)['patch_id'].tolist()
    assert len(found) == 58
    assert not {'p0003', 'p0010'} & set(found)
    assert len(index.search(from_examples(right, wrong), 60, exclude=None)) == 60
    # Of a result that was judged, the query stays out and what was judged may come again.
    queries = from_ids(index, 'p0003')
    result = index.search(queries, 5)
    result['relevant'] = [True, False, None, None, None]
    again = index.search(from_feedback(index, result, queries=queries), 60)
    assert set(again['patch_id']) == set(table.frame['patch_id']) - {'p0003'}


@pytest.mark.parametrize('kind', ['ivf', 'rabitq'])
def test_approximate(kind: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torchgeo_cmr.search.rank.plan.LEAST_ROWS', 0)
    table = make(500)
    index = RetrievalIndex.build(table, approximate=kind)
    queries = table.select([3, 77])
    for exclude in ('self', 0, 20_000):
        found = index.search(queries, 20, exact=False, exclude=exclude)
        assert not found['exact'].any()
        assert found['query_id'].value_counts().tolist() == [20, 20]
        for i in (0, 1):
            one = queries.select([i])
            own = found[found['query_id'] == one.frame['patch_id'].iloc[0]]
            names = table.frame['patch_id'][allowed(table, one, None, exclude, None)]
            assert set(own['patch_id']) <= set(names)


def test_reranked_and_freed_of_hubs(make: Make) -> None:
    table = make(80)
    index = RetrievalIndex(table)
    queries = table.select([2, 9])
    for ranks in (index, HubFree(index, table, neighbours=3)):
        for exclude in ('self', 30_000):
            found = rerank(ranks, queries, 80, exclude=exclude)
            for i in (0, 1):
                one = queries.select([i])
                own = found[found['query_id'] == one.frame['patch_id'].iloc[0]]
                left = allowed(table, one, None, exclude, None)
                assert set(own['patch_id']) == set(table.frame['patch_id'][left])


def test_explained(make: Make) -> None:
    table = make(100)
    index = RetrievalIndex(table)
    told = str(index.explain(table.select([5]), 100))
    assert 'not the query itself: 100 -> 99 rows' in told
    left = int(allowed(table, table.select([5]), None, 30_000, None).sum())
    told = str(index.explain(table.select([5]), 100, exclude=30_000))
    assert f'beyond 30000 m of the query: 100 -> {left} rows' in told


def test_no_selection_for_each_query(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filter is asked once, however many queries exclude their surroundings."""
    table = make(200)
    index = RetrievalIndex(table)
    asked = []
    narrow = Where.narrow
    monkeypatch.setattr(
        Where, 'narrow', lambda *a: (asked.append(a), narrow(*a))[1], raising=True
    )
    where = Where(where='cloud < 80', beyond=10_000)
    found = index.search(table.select(np.arange(50)), 3, where=where)
    assert len(asked) == 1
    assert len(found) == 150


def test_refuses(make: Make) -> None:
    index = RetrievalIndex(make(5))
    for exclude in ('me', -1, True, float('nan')):
        with pytest.raises(QueryError, match="give 'self', None or metres"):
            index.search(make(5), 2, exclude=exclude)
    with pytest.raises(QueryError, match='exclude_days is -3; give a number of 0'):
        index.search(make(5), 2, exclude_days=-3)
    with pytest.raises(QueryError, match='bare vectors have no place and no date'):
        index.search(np.ones(16), 2, exclude=500)
    with pytest.raises(QueryError, match='what is filtered and excluded leaves 5'):
        RetrievalIndex(make(7).select(np.arange(6))).rank(make(7), 6)
