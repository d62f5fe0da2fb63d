"""Filters as values: printed as written, compared, hashed, sent to another process."""

import copy
import datetime
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex, Where

SQUARE = shapely.box(9.5, 44.5, 10, 45)
A = Where(where='cloud < 10')
B = Where((9, 45, 10, 46), predicate='within', min_overlap=0.5)
C = Where(months=(6, 7), undated=True)

#: Filters of every clause, made anew by each call.
MAKERS: dict[str, Any] = {
    'everything': lambda: Where(),
    'area': lambda: Where(SQUARE, 'EPSG:4326', predicate='centroid'),
    'frame': lambda: Where(gpd.GeoDataFrame(geometry=[SQUARE], crs=4326)),
    'box': lambda: Where((9, 45, 10, 46), min_overlap=0.5),
    'near': lambda: Where(near=((10, 45), 5000)),
    'beyond': lambda: Where(beyond=20),
    'during': lambda: Where(during=(datetime.date(2024, 6, 1), None)),
    'months': lambda: Where(months=iter([12, 1])),
    'days': lambda: Where(days=3, undated=True),
    'where': lambda: Where(where='cloud < 10 and source == "x"'),
    'joined': lambda: (A | ~B) & Where(during=('2024-01-01', '2024-02-01')),
}


@pytest.mark.parametrize(
    ('where', 'text'),
    [
        (A & ~B, f'{A!r} & ~{B!r}'),
        (A, "Where(where='cloud < 10')"),
        (B, "Where((9, 45, 10, 46), predicate='within', min_overlap=0.5)"),
        (C, 'Where(months=(6, 7), undated=True)'),
        (A | B & C, f'{A!r} | {B!r} & {C!r}'),
        ((A | B) & C, f'({A!r} | {B!r}) & {C!r}'),
        (A & B & C, f'{A!r} & {B!r} & {C!r}'),
        (A & (B & C), f'{A!r} & ({B!r} & {C!r})'),
        (~(A | ~~B), f'~({A!r} | ~~{B!r})'),
        (Where(), 'Where()'),
        (Where(shapely.Point(1, 2), 'EPSG:4326'), "Where(<POINT (1 2)>, 'EPSG:4326')"),
        (
            Where(near=(shapely.Point(1, 2), 5), crs=4326),
            'Where(crs=4326, near=(<POINT (1 2)>, 5))',
        ),
        (Where(gpd.GeoSeries([SQUARE], crs=4326)), 'Where(<GeoSeries of 1 features>)'),
        (Where(months=iter([6])), 'Where(months=(6,))'),
        (Where(beyond=np.float64(5)), 'Where(beyond=5.0)'),
    ],
)
def test_prints_as_written(where: Where, text: str) -> None:
    assert repr(where) == text


@pytest.mark.parametrize('name', ['box', 'months', 'where', 'during', 'days'])
def test_prints_what_makes_it_again(name: str) -> None:
    where = MAKERS[name]()
    assert eval(repr(where), {'Where': Where, 'datetime': datetime}) == where


def test_equal_if_they_ask_the_same() -> None:
    for name, make in MAKERS.items():
        one, other = make(), make()
        assert one == other, name
        assert hash(one) == hash(other), name
        others = [made() for word, made in MAKERS.items() if word != name]
        assert one not in others, name
    assert A & B != B & A
    assert A & B != A | B
    assert ~A != A
    assert A != 'cloud < 10'
    assert Where(SQUARE, 'EPSG:4326') == Where(tuple(SQUARE.bounds), 4326)
    assert Where(days=3) != Where(days=3, undated=True)
    assert Where(during=('2024-01-01', None)) == Where(
        during=(np.datetime64('2024-01-01'), None)
    )


@pytest.mark.parametrize('name', MAKERS)
def test_pickled_and_copied_it_selects_the_same(name: str, make: Any) -> None:
    table = make(200)
    query = table.select([3])
    where = MAKERS[name]()
    rows = where.rows(table, query)
    for again in (pickle.loads(pickle.dumps(where)), copy.deepcopy(where)):
        assert again == where
        assert repr(again) == repr(where)
        assert again.rows(table, query).tolist() == rows.tolist()


@pytest.mark.slow
def test_an_index_with_a_filter_in_a_process_pool(make: Any, tmp_path: Path) -> None:
    table = make(60)
    query = table.vectors[:2]
    where = (Where(SQUARE, 4326) | Where(near=((10, 45), 50_000))) & ~Where(
        where='cloud > 90', during=('2024-02-01', None)
    )
    stored = RetrievalIndex.build(table, tmp_path / 'index')
    expected = stored.rank(query, 5, where)
    assert expected[0].shape == (2, 5)
    # Not forked: this process may have threads.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for index in (stored, RetrievalIndex(table)):
            rows, scores = pool.submit(index.rank, query, 5, where).result()
            assert rows.tolist() == expected[0].tolist()
            assert scores.tolist() == expected[1].tolist()
