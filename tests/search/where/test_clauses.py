"""The newer clauses of Where, and filters put together, against slow loops."""

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Geod

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.where import clauses
from torchgeo_cmr.search.where.clauses import InArea
from torchgeo_cmr.search.where.columns import TableColumns
from torchgeo_cmr.search.where.predicates import near_boxes
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., Any]

GEOD = Geod(ellps='WGS84')
AREA = shapely.Polygon([(9.3, 44.3), (10.9, 44.6), (10.5, 45.8), (9.5, 45.5)])


def metres(one: shapely.Geometry, other: shapely.Geometry) -> float:
    """Geodesic metres between nearest points, from vertices and points along edges."""
    if one.intersects(other):
        return 0.0
    a, b = (
        shapely.get_coordinates(shapely.segmentize(s, s.length / 60 or 1))
        for s in (one, other)
    )
    i, j = (x.ravel() for x in np.meshgrid(range(len(a)), range(len(b))))
    return GEOD.inv(a[i, 0], a[i, 1], b[j, 0], b[j, 1])[2].min()


def boxes(*corners: tuple[float, float], size: float = 0.1) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i:02d}' for i in range(len(corners))]},
        geometry=[shapely.box(x, y, x + size, y + size) for x, y in corners],
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, np.ones((len(corners), 2)))


class TestOverlap:
    @pytest.mark.parametrize('share', [0.01, 0.3, 0.999, 1])
    def test_against_a_loop(self, make: Make, share: float) -> None:
        table = make(400)
        rows = Where(AREA, 4326, min_overlap=share).rows(table)
        expected = []
        for i, shape in enumerate(table.frame.geometry):
            change = lambda c: np.column_stack([c[:, 0], np.sin(np.radians(c[:, 1]))])
            part = shapely.transform(shape.intersection(AREA), change).area
            if part / shapely.transform(shape, change).area >= share - 1e-12:
                expected.append(i)
        assert rows.tolist() == expected
        assert 0 < len(rows) < 400

    def test_ground_counts_and_not_degrees(self) -> None:
        # The lower half of this box, in degrees, holds nearly two thirds of its ground.
        table = boxes((0, 60), size=20)
        area = shapely.box(0, 60, 20, 70)
        share = np.sin(np.radians(70)) - np.sin(np.radians(60))
        share /= np.sin(np.radians(80)) - np.sin(np.radians(60))
        assert share > 0.6
        assert len(Where(area, 4326, min_overlap=share - 1e-6).rows(table)) == 1
        assert len(Where(area, 4326, min_overlap=share + 1e-6).rows(table)) == 0

    def test_points_are_in_or_out(self) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['in', 'edge', 'out']},
            geometry=shapely.points([0.5, 1, 2], [0.5, 0.5, 0.5]),
            crs=4326,
        )
        table = EmbeddingTable.from_frame(frame, np.ones((3, 1)))
        assert Where((0, 0, 1, 1), min_overlap=1).rows(table).tolist() == [0, 1]


class TestNear:
    @pytest.mark.parametrize('reach', [0, 500, 20_000, 60_000, 300_000])
    def test_against_a_loop(self, make: Make, reach: float) -> None:
        table = make(300)
        place = shapely.Point(10, 45)
        expected = [
            i
            for i, shape in enumerate(table.frame.geometry)
            if metres(shape, place) <= reach
        ]
        rows = Where(near=((10, 45), reach)).rows(table)
        assert rows.tolist() == expected
        assert Where(near=(place, reach), crs=4326).rows(table).tolist() == expected

    def test_over_the_antimeridian_and_the_pole(self) -> None:
        table = boxes((179.7, 0), (-179.9, 0), (-178, 0), (0, 89.8), (179, 89.8))
        assert Where(near=((179.95, 0.05), 30_000)).rows(table).tolist() == [0, 1]
        assert Where(near=((-90, 89.95), 30_000)).rows(table).tolist() == [3, 4]

    def test_places_of_any_kind(self) -> None:
        table = boxes((0, 0), (5, 0), (10, 0))
        places = gpd.GeoSeries(shapely.points([0.05, 10.05], [-1, -1]), crs=4326)
        moved = places.to_crs(3857)
        for near in (
            places,
            moved,
            places.to_frame('geometry').set_geometry('geometry'),
        ):
            assert Where(near=(near, 112_000)).rows(table).tolist() == [0, 2]
        assert Where(near=((0, -1, 10.1, -0.9), 112_000)).rows(table).tolist() == [
            0,
            1,
            2,
        ]

    @pytest.mark.parametrize(
        ('near', 'message'),
        [
            (5, r'give a pair \(place, metres\)'),
            (((0, 0),), 'give a pair'),
            ('here', 'give a pair'),
            (((0, 0), -1), 'near is -1; give a number of 0 or more'),
            (((0, 0), np.nan), 'near is nan'),
            (((0, 0), '5'), "near is '5'"),
            (((0, 91), 5), 'near 0,91 is not a position; give longitude'),
            (((np.nan, 0), 5), 'is not a position'),
            ((shapely.Point(0, 0), 5), 'has no CRS'),
            (((1, 2, 3), 5), 'is not an area'),
        ],
    )
    def test_refuses(self, near: Any, message: str) -> None:
        with pytest.raises(QueryError, match=message):
            Where(near=near)


class TestBeyond:
    @pytest.mark.slow
    def test_against_a_loop(self, make: Make) -> None:
        table = make(100)
        query = table.select([17])
        own = query.frame.geometry.iloc[0]
        for reach in (0, 15_000, 70_000):
            expected = [
                i
                for i, shape in enumerate(table.frame.geometry)
                if metres(shape, own) > reach
            ]
            rows = Where(beyond=reach).rows(table, query)
            assert rows.tolist() == expected
            assert 17 not in rows
            assert 0 < len(rows) < 100

    def test_over_the_antimeridian(self) -> None:
        table = boxes((179.95, 0), (-179.9, 0), (-178, 0))
        assert table.frame.geometry.iloc[0].geom_type == 'MultiPolygon'
        query = table.select([0])
        assert Where(beyond=20_000).rows(table, query).tolist() == [2]

    def test_needs_one_query(self, make: Make) -> None:
        table = make(5)
        with pytest.raises(QueryError, match='beyond=5 is counted from the query'):
            Where(beyond=5).rows(table)
        with pytest.raises(QueryError, match='from one query and 2 were given'):
            Where(beyond=5).rows(table, table.select([0, 1]))
        with pytest.raises(QueryError, match='beyond is -1; give a number of 0'):
            Where(beyond=-1)


@pytest.fixture
def dated() -> EmbeddingTable:
    """Rows of a moment, of three days over the new year, of a year, and without time."""
    start = ['2023-06-30T23:00', '2023-12-30', '2022-05-01', None, '2024-07-01']
    end = [None, '2024-01-02', '2023-05-02', None, None]
    frame = gpd.GeoDataFrame(
        {'patch_id': list('abcde'), 'time_start': start, 'time_end': end},
        geometry=[shapely.box(0, 0, 1, 1)] * 5,
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, np.ones((5, 2)))


class TestMonths:
    @pytest.mark.parametrize(
        ('months', 'rows'),
        [
            (6, [0, 2]),
            ((6, 7), [0, 2, 4]),
            ((12,), [1, 2]),
            ([1], [1, 2]),
            ((2, 3), [2]),
            (np.array([7]), [2, 4]),
        ],
    )
    def test_any_year(
        self, dated: EmbeddingTable, months: Any, rows: list[int]
    ) -> None:
        assert Where(months=months).rows(dated).tolist() == rows
        assert Where(months=months, undated=True).rows(dated).tolist() == sorted(
            [*rows, 3]
        )

    def test_against_a_loop(self, make: Make) -> None:
        table = make(400)
        expected = [
            i
            for i, row in enumerate(table.frame.itertuples())
            if not pd.isna(row.time_start)
            and {row.time_start.month, row.time_end.month} & {3, 11}
        ]
        assert Where(months=(11, 3, 3)).rows(table).tolist() == expected

    @pytest.mark.parametrize(
        ('months', 'message'),
        [
            (6.5, 'months is 6.5; give numbers'),
            ((np.timedelta64(6, 'D'),), 'is not a month'),
            ((), 'months is empty'),
            ((0,), '0 is not a month'),
            (13, '13 is not a month'),
            (('June',), "'June' is not a month; give numbers from 1 to 12"),
            (True, 'True is not a month'),
        ],
    )
    def test_refuses(self, months: Any, message: str) -> None:
        with pytest.raises(QueryError, match=message):
            Where(months=months)


class TestDays:
    def test_around_the_own_date(self, dated: EmbeddingTable) -> None:
        query = dated.select([1])
        assert Where(days=0).rows(dated, query).tolist() == [1]
        # From 2024-01-02 to 2024-07-01 there are 181 days; from 2023-06-30T23:00 to
        # 2023-12-30 there are 182 and an hour.
        assert Where(days=181).rows(dated, query).tolist() == [1, 4]
        assert Where(days=180.9).rows(dated, query).tolist() == [1]
        assert Where(days=183).rows(dated, query).tolist() == [0, 1, 4]
        assert Where(days=181, undated=True).rows(dated, query).tolist() == [1, 3, 4]

    def test_each_query_has_its_own_rows(self, make: Make) -> None:
        table = make(200)
        dated = np.flatnonzero(table.frame['time_start'].notna())[:20]
        queries = table.select(dated)
        where = Where(days=10, where='cloud < 60')
        assert where.relative
        seen = []
        for positions, rows in where.groups(table, queries):
            assert positions is not None
            for i in positions:
                own = table.frame.iloc[dated[i]]
                expected = [
                    j
                    for j, row in enumerate(table.frame.itertuples())
                    if row.cloud < 60
                    and not pd.isna(row.time_start)
                    and row.time_start <= own.time_end + pd.Timedelta(days=10)
                    and row.time_end >= own.time_start - pd.Timedelta(days=10)
                ]
                assert rows.tolist() == expected
                seen.append(int(i))
        assert sorted(seen) == list(range(20))

    def test_refuses(self, dated: EmbeddingTable) -> None:
        with pytest.raises(QueryError, match="query 'd' has no date, so days=3"):
            Where(days=3).rows(dated, dated.select([3]))
        with pytest.raises(
            QueryError, match='use a table as queries, not bare vectors'
        ):
            Where(days=3).rows(dated)
        with pytest.raises(QueryError, match="days is 'a'"):
            Where(days='a')  # ty: ignore[invalid-argument-type]


class TestTogether:
    def test_and_or_not_are_sets(self, make: Make) -> None:
        table = make(500)
        one = Where(AREA, 4326, predicate='within')
        two = Where(where='cloud < 30')
        three = Where(during=('2024-03-01', '2024-07-01'))
        a, b, c = (set(w.rows(table).tolist()) for w in (one, two, three))
        every = set(range(500))
        for where, expected in (
            (one & two, a & b),
            (one | two, a | b),
            (~one, every - a),
            (one & ~two, a - b),
            (~(one | two) & three, (every - (a | b)) & c),
            (one & (two | ~three), a & (b | (every - c))),
            (~~one, a),
        ):
            rows = where.rows(table)
            assert rows.dtype == np.int64
            assert rows.tolist() == sorted(expected)
            assert isinstance(where, Where)

    def test_not_lets_nulls_pass_and_not_in_words_does_not(self, make: Make) -> None:
        table = make(100)
        null = set(np.flatnonzero(table.frame['cloud'].isna()))
        assert null <= set((~Where(where='cloud < 30')).rows(table))
        assert not null & set(Where(where='not cloud < 30').rows(table))

    def test_relative_inside(self, make: Make) -> None:
        table = make(100)
        query = table.select([4])
        where = ~Where(beyond=30_000)
        assert where.relative
        assert not (Where() | Where(where='cloud < 3')).relative
        near = set(where.rows(table, query).tolist())
        assert near == set(range(100)) - set(Where(beyond=30_000).rows(table, query))

    def test_steps_tell_what_each_did(self, make: Make) -> None:
        table = make(300)
        where = Where(where='cloud < 50') & (
            Where(AREA, 4326) | ~Where(during=('2024-06-01', None))
        )
        rows, steps = where.narrow(table)
        assert [s.clause for s in steps] == [
            'where cloud < 50',
            '(area, intersects) or (not (during))',
        ]
        assert (steps[0].before, steps[1].before) == (300, steps[0].after)
        assert steps[1].after == len(rows)
        undated = table.frame['time_start'].isna() & (table.frame['cloud'] < 50)
        assert steps[1].undated == undated.sum()

    def test_area_of_all(self) -> None:
        one, two = Where((0, 0, 1, 1)), Where((5, 5, 6, 6))
        both, same = (one | two).area, (one & Where(where='a < 1')).area
        assert both is not None
        assert same is not None
        assert both.equals(
            shapely.union_all([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)])
        )
        assert same.equals(one.area)
        assert (~one).area is None

    def test_check_asks_what_must_hold(self, make: Make) -> None:
        table, far = make(50), Where((2.2, 48.8, 2.4, 48.9))
        with pytest.raises(QueryError, match='touches no footprint'):
            (Where() & far).check(table)
        (Where() | far).check(table)
        (~far).check(table)

    def test_refuses(self) -> None:
        with pytest.raises(QueryError, match='a filter and a int cannot be combined'):
            Where() & 5  # ty: ignore[unsupported-operator]
        with pytest.raises(QueryError, match='min_overlap was given without an area'):
            Where(min_overlap=0.5)
        for drawn in ('LINESTRING (0 0, 1 1)', 'MULTIPOINT (0 0, 1 1)', 'POINT (0 0)'):
            with pytest.raises(QueryError, match=r'no extent .* give an area of polyg'):
                Where(drawn, 4326, min_overlap=0.5)
        with pytest.raises(QueryError, match='an area of LineString, which has no ext'):
            Where((0, 0, 0, 1), min_overlap=0.5)
        assert Where('LINESTRING (0 0, 1 1)', 4326).min_overlap is None
        mixed = 'GEOMETRYCOLLECTION (POINT (0 0), POLYGON ((0 0, 1 0, 1 1, 0 0)))'
        assert Where(mixed, 4326, min_overlap=0.5).min_overlap == 0.5
        shares: list[Any] = [0, 1.1, np.nan, 'half', True]
        for share in shares:
            with pytest.raises(QueryError, match='give a share above 0'):
                Where((0, 0, 1, 1), min_overlap=share)


@pytest.mark.parametrize('predicate', ['intersects', 'within', 'contains', 'centroid'])
@pytest.mark.parametrize('share', [None, 0.7])
def test_a_covered_area_gives_the_same_rows(
    make: Make, predicate: str, share: float | None
) -> None:
    table = make(5000)
    plain, curved = TableColumns(table), TableColumns(table, curve=True)
    rng = np.random.default_rng(3)
    for _ in range(5):
        x, y = rng.uniform((9, 44), (11, 46))
        area = shapely.Point(x, y).buffer(10 ** rng.uniform(-3, 0))
        where = Where(area, 4326, predicate=predicate, min_overlap=share)
        both = where & Where(where='cloud < 80')
        assert where.rows(curved).tolist() == where.rows(plain).tolist()
        assert both.rows(curved).tolist() == both.rows(plain).tolist()


def test_many_rows_are_asked_for_the_area_first(make: Make) -> None:
    table = make(21_000, 1)
    where = Where(AREA, 4326, where='cloud < 50', during=('2024-03-01', None))
    columns = TableColumns(table, curve=True)
    rows, steps = where.narrow(columns)
    assert [s.clause.split()[0] for s in steps] == ['area,', 'where', 'during']
    small = table.select(range(5000))
    few, steps = where.narrow(TableColumns(small, curve=True))
    assert [s.clause.split()[0] for s in steps] == ['where', 'during', 'area,']
    assert few.tolist() == rows[rows < 5000].tolist()


@pytest.mark.parametrize('seed', range(6))
def test_everything_over_the_antimeridian_against_a_loop(seed: int) -> None:
    """Random filters round 180 degrees; the loop counts longitudes from 0 to 360."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(177, 183, 250), rng.uniform(-3, 3, 250)
    start = pd.Timestamp('2023-01-01', tz='UTC') + pd.to_timedelta(
        rng.integers(0, 700, 250), unit='D'
    )
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'p{i:03d}' for i in range(250)],
            'time_start': start,
            'cloud': np.where(rng.random(250) < 0.2, np.nan, rng.uniform(0, 9, 250)),
        },
        geometry=shapely.box(x, y, x + 0.2, y + 0.2),
        crs=4326,
    )
    flat = frame.geometry.tolist()
    table = EmbeddingTable.from_frame(frame, np.ones((250, 2)))
    angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
    reach = rng.uniform(1, 2.5, 7)
    middle = rng.uniform((179, -1), (181, 1))
    points = middle + np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]
    area = shapely.Polygon(points).buffer(0)
    predicate = ['intersects', 'within', 'centroid'][seed % 3]
    test: dict[str, Callable[[Any], bool]] = {
        'intersects': area.intersects,
        'within': area.contains,
        'centroid': lambda shape: area.intersects(shape.centroid),
    }
    lon, lat = rng.uniform((179, -1), (181, 1))
    far = float(rng.uniform(50_000, 200_000))
    own = int(rng.integers(250))
    months = tuple(rng.choice(12, 4, replace=False) + 1)
    one = Where(area, 4326, predicate=predicate, months=months, where='cloud < 6')
    other = Where(near=(((lon + 180) % 360 - 180, lat), far), days=120)
    where = (one | other) & Where(beyond=30_000)

    def holds(i: int) -> bool:
        row = frame.iloc[i]
        first = (
            test[predicate](flat[i])
            and row.time_start.month in months
            and bool(row.cloud < 6)
        )
        gap = abs(row.time_start - frame['time_start'].iloc[own])
        second = metres(
            flat[i], shapely.Point(lon, lat)
        ) <= far and gap <= pd.Timedelta(days=120)
        return (first or second) and metres(flat[i], flat[own]) > 30_000

    expected = [i for i in range(250) if holds(i)]
    query = table.select([own])
    assert where.rows(table, query).tolist() == expected
    assert 5 < len(expected) < 200
    columns = TableColumns(table, curve=True)
    assert where.rows(columns, query).tolist() == expected
    assert (~where).rows(columns, query).tolist() == sorted({*range(250)} - {*expected})


def test_an_index_of_several_parts_reads_columns_of_no_row(make: Make) -> None:
    table = make(90)
    index = RetrievalIndex.build(table.select(range(40)))
    index.append(table.select(range(40, 90)))
    nowhere = Where((0, 0, 1, 1), where='cloud < 50')
    assert len(nowhere.rows(index.columns)) == 0
    where = Where(AREA, 4326, where='cloud < 50 and source like "x%"', months=(1, 2, 3))
    assert where.rows(index.columns).tolist() == where.rows(table).tolist()
    with pytest.raises(
        QueryError, match="no column 'clouds' to compare; the archive has"
    ):
        Where(where='clouds < 5').rows(index.columns)
    never = Where(where='cloud > 1000') & Where(where='cloud < 5', undated=True)
    assert len(never.rows(index.columns)) == 0


@pytest.mark.parametrize('predicate', ['intersects', 'within', 'centroid'])
@pytest.mark.parametrize('share', [None, 0.4])
def test_of_many_rows_footprints_are_looked_at_near_the_edge_only(
    make: Make, predicate: str, share: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = TableColumns(make(4000))
    looked: list[int] = []
    real = TableColumns.footprints

    def spy(self: TableColumns, rows: np.ndarray) -> np.ndarray:
        looked.append(len(rows))
        return real(self, rows)

    monkeypatch.setattr(TableColumns, 'footprints', spy)
    where = Where(AREA, 4326, predicate=predicate, min_overlap=share)
    told_apart = where.rows(columns)
    monkeypatch.setattr(clauses, '_FOOTPRINTS', 10**9)
    assert told_apart.tolist() == where.rows(columns).tolist()
    few, every = looked
    assert 0 < few < every / 2


def test_an_area_is_drawn_where_all_rows_are_wanted_and_not_for_the_best(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = TableColumns(make(4000), curve=True)
    clause = InArea(AREA)
    near = near_boxes(columns.boxes, AREA).sum()
    assert 2 * clauses._FOOTPRINTS < near < clauses._FEW
    found, border = clause.sift(columns, None)
    assert len(found) == len(border) == near
    found, border = clause.sift(columns, None, clauses._FOOTPRINTS)
    assert 0 < len(border) < near / 2 < len(found) < near
