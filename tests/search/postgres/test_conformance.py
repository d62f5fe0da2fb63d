"""One suite for every place of an archive: memory, disk, PostgreSQL, against shapely and loops."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex, Where, load_archive
from torchgeo_cmr.table import EmbeddingTable

pytestmark = pytest.mark.postgres

L_SHAPE = shapely.Polygon(
    [(9.2, 44.2), (10.8, 44.2), (10.8, 44.8), (9.8, 44.8), (9.8, 45.8), (9.2, 45.8)]
)
HOLE = shapely.box(9, 44, 11, 46).difference(shapely.box(9.5, 44.5, 10.6, 45.6))
SEVERAL = shapely.union_all(
    [shapely.box(9, 44, 9.4, 44.4), shapely.box(10.5, 45.5, 11, 46)]
)
OVER = shapely.union_all([shapely.box(179, -1, 180, 1), shapely.box(-180, -1, -179, 1)])
POLE = shapely.box(-180, 80, 180, 90)


class Case(NamedTuple):
    where: Where | None
    #: Row of the frame -> whether it matches, written as plainly as possible.
    truth: Callable[[pd.Series], bool]


def touches(area: shapely.Geometry) -> Callable[[pd.Series], bool]:
    return lambda row: row.geometry is not None and area.intersects(row.geometry)


def at_least(row: pd.Series, start: str) -> bool:
    last = row.time_end if pd.notna(row.time_end) else row.time_start
    return pd.notna(last) and last >= pd.Timestamp(start, tz='UTC')


def before(row: pd.Series, end: str) -> bool:
    first = row.time_start if pd.notna(row.time_start) else row.time_end
    return pd.notna(first) and first < pd.Timestamp(end, tz='UTC')


def undated(row: pd.Series) -> bool:
    return pd.isna(row.time_start) and pd.isna(row.time_end)


MARCH = ('2024-03-01', '2024-04-01')
CASES = {
    'all': Case(None, lambda row: True),
    'l-shape': Case(Where(L_SHAPE, 4326), touches(L_SHAPE)),
    'hole': Case(Where(HOLE, 4326), touches(HOLE)),
    'multipolygon': Case(Where(SEVERAL, 4326), touches(SEVERAL)),
    'touching edge': Case(
        Where(shapely.box(20.1, 44, 21, 45), 4326), lambda row: row.patch_id == 'flush'
    ),
    'antimeridian': Case(Where((179, -1, -179, 1)), touches(OVER)),
    'pole': Case(Where((-180, 80, 180, 90)), touches(POLE)),
    'empty': Case(Where((-30, -30, -29, -29)), lambda row: False),
    'within': Case(
        Where(L_SHAPE, 4326, predicate='within'),
        lambda row: row.geometry is not None and L_SHAPE.contains(row.geometry),
    ),
    'centroid': Case(
        Where(L_SHAPE, 4326, predicate='centroid'),
        lambda row: (
            row.geometry is not None and L_SHAPE.intersects(row.geometry.centroid)
        ),
    ),
    'half-open': Case(
        Where(during=MARCH),
        lambda row: at_least(row, MARCH[0]) and before(row, MARCH[1]),
    ),
    'undated': Case(
        Where(during=MARCH, undated=True),
        lambda row: undated(row) or (at_least(row, MARCH[0]) and before(row, MARCH[1])),
    ),
    'area and time': Case(
        Where(L_SHAPE, 4326, during=(None, '2024-06-01')),
        lambda row: touches(L_SHAPE)(row) and before(row, '2024-06-01'),
    ),
    'nulls': Case(Where(where='cloud < 50'), lambda row: row.cloud < 50),
    'nulls of not': Case(
        Where(where='not cloud < 50'),
        lambda row: pd.notna(row.cloud) and not row.cloud < 50,
    ),
    'is null': Case(Where(where='cloud is null'), lambda row: pd.isna(row.cloud)),
    'or': Case(
        Where(SEVERAL, 4326) | Where(during=MARCH),
        lambda row: (
            touches(SEVERAL)(row) or (at_least(row, MARCH[0]) and before(row, MARCH[1]))
        ),
    ),
    'not': Case(~Where(HOLE, 4326), lambda row: not touches(HOLE)(row)),
    'quotes': Case(
        Where(where="source = 'o''neill; drop table x; --'"),
        lambda row: row.source == "o'neill; drop table x; --",
    ),
}


def archive() -> EmbeddingTable:
    """Random patches round 10 E, 45 N, and some for each way to be wrong."""
    rng, n = np.random.default_rng(3), 600
    x, y = rng.uniform(8.8, 11, n), rng.uniform(43.8, 46, n)
    start = pd.Series(
        pd.Timestamp('2024-01-01', tz='UTC')
        + pd.to_timedelta(rng.integers(0, 360, n), unit='D')
    )
    # On the edges of March: one ends as it begins, one begins as it ends.
    start[:2] = [pd.Timestamp(day, tz='UTC') for day in MARCH]
    end = start.copy()
    start[rng.random(n) < 0.1] = pd.NaT
    end[rng.random(n) < 0.3] = pd.NaT
    shapes = list(shapely.box(x, y, x + 0.05, y + 0.04))
    shapes[:6] = [
        shapely.box(20, 44, 20.1, 44.1),
        shapely.box(178.98, 0, 179.2, 0.1),
        shapely.MultiPolygon(
            [shapely.box(179.9, 0, 180, 0.1), shapely.box(-180, 0, -179.9, 0.1)]
        ),
        shapely.box(-180, 89, 180, 90),
        shapely.box(30, 79.9, 31, 80),
        None,
    ]
    names = [f'p{i:03d}' for i in rng.permutation(n)]
    names[0] = 'flush'
    source = rng.choice(["o'neill; drop table x; --", 'y', '%s'], n)
    frame = gpd.GeoDataFrame(
        {
            'patch_id': names,
            'modality': rng.choice(['s1', 's2'], n),
            'source': source,
            'time_start': start,
            'time_end': end,
            'cloud': np.where(rng.random(n) < 0.2, np.nan, rng.uniform(0, 100, n)),
        },
        geometry=shapes,
        crs=4326,
    )
    vectors = rng.normal(size=(n, 12))
    vectors[50:90] = vectors[10:50]  # ties
    return EmbeddingTable.from_frame(frame, vectors, space='w', placeless=True)


@pytest.fixture(scope='module')
def table() -> EmbeddingTable:
    return archive()


@pytest.fixture(scope='module')
def truths(table: EmbeddingTable) -> dict[str, pd.DataFrame]:
    """The whole answer of each case."""
    return {
        name: expected(table, table.vectors[11], case) for name, case in CASES.items()
    }


STORES = ('memory', 'disk', 'postgres', 'postgres divided')


@pytest.fixture(scope='module', params=STORES)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[EmbeddingTable], RetrievalIndex]]:
    """Put a table into one of the stores and open it."""
    with ExitStack() as held:

        def put(table: EmbeddingTable) -> RetrievalIndex:
            folder: Path = tmp_path_factory.mktemp('conformance')
            if request.param == 'memory':
                return RetrievalIndex(table)
            if request.param == 'disk':
                return RetrievalIndex.build(table, folder / 'index')
            database = request.getfixturevalue('database')
            address = f'{database}&archive={folder.name}'
            divide = 'source' if 'divided' in request.param else None
            load_archive(table.save(folder / 'archive'), address, divide=divide)
            index: Any = RetrievalIndex.open(address)
            held.callback(index.close)
            return index

        yield put


@pytest.fixture(scope='module')
def index(
    opened: Callable[[EmbeddingTable], RetrievalIndex], table: EmbeddingTable
) -> RetrievalIndex:
    return opened(table)


def expected(table: EmbeddingTable, query: np.ndarray, case: Case) -> pd.DataFrame:
    """Score every row that matches, best first, then by name."""
    frame = table.frame
    rows = [i for i in range(len(frame)) if case.truth(frame.iloc[i])]
    whole = table.vectors.astype(np.float64) * query.astype(np.float64)
    scores = np.clip(whole.sum(axis=1).astype(np.float32), -1, 1)
    found = pd.DataFrame(
        {'patch_id': frame['patch_id'].iloc[rows].tolist(), 'score': scores[rows]}
    )
    return found.sort_values(['score', 'patch_id'], ascending=[False, True])


@pytest.mark.parametrize('name', CASES)
def test_answers_are_those_of_shapely_and_numpy(
    index: RetrievalIndex,
    table: EmbeddingTable,
    truths: dict[str, pd.DataFrame],
    name: str,
) -> None:
    for k in (5, 90, 1000):  # the last is more than match
        truth = truths[name].head(k)
        hits = index.search(table.vectors[11], k, CASES[name].where)
        assert hits['patch_id'].tolist() == truth['patch_id'].tolist()
        assert hits['score'].astype(np.float32).tolist() == truth['score'].tolist()
        assert hits['exact'].all()
        assert hits['rank'].tolist() == list(range(1, len(truth) + 1))


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'calibrated': True},
        {'exclude': 30_000.0},
        {'exclude': None},
        {'exclude_days': 20.0},
        {'k': None, 'min_score': 0.4},
        {'where': Where(days=30)},
        {'where': Where(L_SHAPE, 4326, beyond=10_000)},
        {'where': Where(near=((10, 45), 20_000))},
        {'where': Where(HOLE, 4326, min_overlap=0.5, months=(3, 4))},
    ],
    ids=str,
)
def test_whatever_else_is_requested_is_as_in_memory(
    index: RetrievalIndex, table: EmbeddingTable, options: dict[str, Any]
) -> None:
    dated = table.frame['time_start'].notna() & table.frame['time_end'].notna()
    queries = table.select(np.flatnonzero(dated)[[20, 60]])
    wanted = RetrievalIndex(table).search(queries, **options)
    hits = index.search(queries, **options)
    assert len(hits)
    pd.testing.assert_frame_equal(pd.DataFrame(hits), pd.DataFrame(wanted))


def test_deleted_rows_are_not_found_nor_counted(
    opened: Callable[[EmbeddingTable], RetrievalIndex],
    table: EmbeddingTable,
    truths: dict[str, pd.DataFrame],
) -> None:
    nearest = truths['l-shape']['patch_id'].head(3).tolist()
    gone = {*nearest, 'flush', *table.frame['patch_id'].iloc[[15, 60, 599]]}
    index = opened(table)
    index.delete(sorted(gone))
    assert len(index) == len(table) - len(gone)
    for name in ('all', 'l-shape', 'touching edge', 'nulls of not', 'half-open'):
        left = truths[name][~truths[name]['patch_id'].isin(gone)]
        for k in (4, 1000):
            hits = index.search(table.vectors[11], k, CASES[name].where)
            assert hits['patch_id'].tolist() == left['patch_id'].head(k).tolist()
        assert len(index.rows(CASES[name].where)) == len(left)
    rest = table.select(np.flatnonzero(~table.frame['patch_id'].isin(gone)))
    wanted = RetrievalIndex(rest).search(rest.select(np.arange(3)), calibrated=True)
    hits = index.search(rest.select(np.arange(3)), calibrated=True)
    pd.testing.assert_frame_equal(pd.DataFrame(hits), pd.DataFrame(wanted))


def test_explanation_counts_rows(index: RetrievalIndex, table: EmbeddingTable) -> None:
    where = Where(L_SHAPE, 4326, during=MARCH)
    report = index.explain(table.vectors[:2], 5, where)
    assert report.rows == len(where.rows(table))
    assert (report.archive, report.found, report.exact) == (len(table), 5, True)
    assert report.undated > 0


def test_contents_are_those_of_the_table(
    index: RetrievalIndex, table: EmbeddingTable
) -> None:
    assert (len(index), index.dim, index.spaces) == (len(table), 12, ('w',))
    assert index.fingerprint == RetrievalIndex(table).fingerprint
    np.testing.assert_array_equal(index.vectors([3, 1]), table.vectors[[3, 1]])
    hits = index.search('p007', 3)
    assert hits.crs == table.frame.crs
    assert 'p007' not in set(hits['patch_id'])
