"""Where: areas, dates and conditions against a plain loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Transformer

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import Where
from torchgeo_cmr.table import EmbeddingTable

#: The tables are Any: pandas' stubs lose the types of rows and assigned frames.
Make = Callable[..., Any]
AREA = shapely.Polygon(
    [(9.3, 44.3), (10.9, 44.6), (10.5, 45.8), (9.5, 45.5)],
    [[(9.8, 44.8), (10.3, 44.8), (10.3, 45.3), (9.8, 45.3)]],
)


def slow(table: EmbeddingTable, test: Callable[[shapely.Geometry], bool]) -> list[int]:
    return [i for i, shape in enumerate(table.frame.geometry) if test(shape)]


def moved(shape: shapely.Geometry, code: int) -> shapely.Geometry:
    """Bring EPSG:4326 to another CRS with densely sampled edges."""
    change = Transformer.from_crs(4326, code, always_xy=True)
    return shapely.transform(
        shapely.segmentize(shape, 0.01),
        lambda c: np.column_stack(change.transform(*c.T)),
    )


class TestArea:
    @pytest.mark.parametrize(
        ('predicate', 'test'),
        [
            ('intersects', lambda s: s.intersects(AREA)),
            ('within', lambda s: s.within(AREA)),
            ('contains', lambda s: s.contains(AREA)),
            ('centroid', lambda s: s.centroid.intersects(AREA)),
        ],
    )
    def test_predicates_against_a_loop(
        self, make: Make, predicate: str, test: Callable[[shapely.Geometry], bool]
    ) -> None:
        table = make(600)
        rows = Where(AREA, 'EPSG:4326', predicate=predicate).rows(table)
        assert rows.dtype == np.int64
        assert rows.tolist() == slow(table, test)
        assert len(rows) > 100 or predicate == 'contains'

    def test_predicates_differ(self, make: Make) -> None:
        table = make(600)
        within, centre, touch = (
            set(Where(AREA, 4326, predicate=p).rows(table).tolist())
            for p in ('within', 'centroid', 'intersects')
        )
        assert within < centre < touch

    def test_contains_a_small_area(self, make: Make) -> None:
        table = make()
        point = table.frame.geometry.iloc[7].centroid
        rows = Where(point.buffer(1e-4), 4326, predicate='contains').rows(table)
        assert rows.tolist() == slow(table, lambda s: s.contains(point.buffer(1e-4)))
        assert 7 in rows
        assert 7 in Where(point, 4326).rows(table)

    @pytest.mark.parametrize('code', [3035, 32632, 32633, 3857, 4258])
    @pytest.mark.parametrize('predicate', ['intersects', 'within', 'centroid'])
    def test_any_crs_gives_the_same_rows(
        self, make: Make, code: int, predicate: str
    ) -> None:
        table = make(600)
        assert (
            Where(moved(AREA, code), code, predicate=predicate).rows(table).tolist()
            == Where(AREA, 4326, predicate=predicate).rows(table).tolist()
        )

    def test_long_edges_are_densified(self) -> None:
        # A box of 3000 km in EPSG:3035: its straight northern edge bulges north in degrees.
        box = shapely.box(3_000_000, 2_000_000, 6_000_000, 4_000_000)
        back = Transformer.from_crs(3035, 4326, always_xy=True)
        x = np.linspace(3.1e6, 5.9e6, 57)
        points = [
            (*back.transform(e, n), inside)
            for n, inside in (
                (4e6 - 500, True),
                (4e6 + 500, False),
                (2e6 + 500, True),
                (2e6 - 500, False),
            )
            for e in x
        ]
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'{i:04d}' for i in range(len(points))]},
            geometry=[shapely.Point(p[:2]) for p in points],
            crs=4326,
        )
        table = EmbeddingTable.from_frame(frame, np.ones((len(points), 2)))
        assert Where(box, 3035).rows(table).tolist() == [
            i for i, p in enumerate(points) if p[2]
        ]

    def test_two_zones_in_one_archive(self) -> None:
        tables = []
        for zone, x in ((32632, 730_000), (32633, 265_000)):
            boxes = [
                shapely.box(x + 320 * i, 5.1e6, x + 320 * (i + 1), 5.1e6 + 320)
                for i in range(20)
            ]
            frame = gpd.GeoDataFrame(
                {'patch_id': [f'{zone}:{i:02d}' for i in range(20)]},
                geometry=boxes,
                crs=zone,
            )
            tables.append(EmbeddingTable.from_frame(frame, np.ones((20, 3))))
        table = EmbeddingTable.concat(tables)
        for zone, first in ((32632, 0), (32633, 20)):
            x = 730_000 if zone == 32632 else 265_000
            area = shapely.box(x + 640 - 1, 5.1e6 - 1, x + 1280 + 1, 5.1e6 + 321)
            rows = Where(area, f'EPSG:{zone}', predicate='within').rows(table)
            assert [r for r in rows if first <= r < first + 20] == [
                first + 2,
                first + 3,
            ]

    def test_hole_is_a_hole(self, make: Make) -> None:
        table = make()
        hole = shapely.Polygon(AREA.interiors[0])
        inside = Where(hole, 4326, predicate='within').rows(table)
        assert len(inside)
        assert not set(inside) & set(Where(AREA, 4326).rows(table))

    def test_frames_files_and_boxes(self, make: Make, tmp_path: Path) -> None:
        table = make()
        expected = Where(AREA, 4326).rows(table).tolist()
        halves = [
            AREA.intersection(shapely.box(9, 44, 10, 46)),
            AREA.intersection(shapely.box(10, 44, 11, 46)),
        ]
        frame = gpd.GeoDataFrame({'n': [1, 2]}, geometry=halves, crs=4326)
        frame.to_crs(32632).to_file(tmp_path / 'aoi.gpkg')
        frame.to_file(tmp_path / 'aoi.geojson')
        frame.to_parquet(tmp_path / 'aoi.parquet')
        for area in (
            frame,
            frame.geometry,
            tmp_path / 'aoi.geojson',
            str(tmp_path / 'aoi.parquet'),
        ):
            assert Where(area).rows(table).tolist() == expected
        assert len(Where(tmp_path / 'aoi.gpkg').rows(table)) == pytest.approx(
            len(expected), abs=2
        )
        box = (9.5, 44.5, 10.0, 45.0)
        assert (
            Where(box).rows(table).tolist()
            == Where(shapely.box(*box), 4326).rows(table).tolist()
        )
        assert (
            Where(np.array(box)).rows(table).tolist()
            == Where(list(box)).rows(table).tolist()
        )

    def test_bow_tie_is_mended(self, make: Make) -> None:
        tie = shapely.Polygon([(9, 44), (11, 46), (11, 44), (9, 46)])
        rows = Where(tie, 4326).rows(make())
        assert (
            rows.tolist() == Where(shapely.make_valid(tie), 4326).rows(make()).tolist()
        )

    def test_archive_and_area_stay(self, make: Make) -> None:
        table, area = make(), moved(AREA, 32632)
        before = shapely.to_wkb(table.frame.geometry.to_numpy()).tolist(), area.wkb
        Where(area, 32632).rows(table)
        assert (
            shapely.to_wkb(table.frame.geometry.to_numpy()).tolist(),
            area.wkb,
        ) == before

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (
                {'geometry': AREA},
                "has no CRS; say which one it is in, for example crs='EPSG:4326'",
            ),
            ({'geometry': gpd.GeoSeries([AREA])}, 'has no CRS'),
            ({'geometry': shapely.Polygon(), 'crs': 4326}, 'is empty'),
            ({'geometry': gpd.GeoSeries([], crs=4326)}, 'is empty'),
            ({'geometry': gpd.GeoSeries([None], crs=4326)}, 'is empty'),
            (
                {'geometry': AREA, 'crs': 'EPSG:nonsense'},
                "'EPSG:nonsense' is not a CRS",
            ),
            (
                {'geometry': AREA, 'crs': 4326, 'predicate': 'near'},
                "predicate 'near' is not known; use one of intersects, within",
            ),
            (
                {'geometry': gpd.GeoSeries([AREA], crs=4326), 'crs': 32632},
                'is in EPSG:4326 but crs=EPSG:32632 was given',
            ),
            ({'crs': 4326}, 'a CRS was given without an area'),
            ({'geometry': (1, 2, 3)}, 'is not an area'),
            ({'geometry': (9, 45, 10, 44)}, 'south 45.0 above north 44.0'),
            (
                {'geometry': (6e5, 5e6, 5e5, 6e6), 'crs': 32632},
                'only boxes in EPSG:4326 may cross',
            ),
            ({'geometry': (5e5, 5e6, 6e5, 6e6)}, 'are not longitudes and latitudes'),
            (
                {'geometry': shapely.box(1e30, 1e30, 2e30, 2e30), 'crs': 32632},
                'cannot be expressed in EPSG:4326',
            ),
            (
                {'geometry': shapely.LineString([(0, 0), (np.inf, 1)]), 'crs': 4326},
                'not finite',
            ),
            ({'geometry': 5}, 'is not an area'),
        ],
    )
    def test_refuses(self, arguments: dict, message: str) -> None:
        with pytest.raises(QueryError, match=message):
            Where(**arguments)

    def test_refuses_files(self, tmp_path: Path) -> None:
        with pytest.raises(QueryError, match=r'nowhere\.geojson is not there'):
            Where(tmp_path / 'nowhere.geojson')
        (tmp_path / 'bad.geojson').write_text('no')
        with pytest.raises(
            QueryError, match=r'bad\.geojson cannot be read as a vector file'
        ):
            Where(tmp_path / 'bad.geojson')
        (tmp_path / 'none.geojson').write_text(
            '{"type": "FeatureCollection", "features": []}'
        )
        with pytest.raises(QueryError, match=r'none\.geojson has no features'):
            Where(tmp_path / 'none.geojson')
        (tmp_path / 'table.csv').write_text('a,b\n1,2\n')
        with pytest.raises(
            QueryError, match=r'table\.csv has no features with a geometry'
        ):
            Where(tmp_path / 'table.csv')
        gpd.GeoDataFrame(geometry=[AREA], crs=4326).to_file(tmp_path / 'lost.shp')
        (tmp_path / 'lost.prj').unlink()
        with pytest.raises(QueryError, match=r'lost\.shp has no CRS'):
            Where(tmp_path / 'lost.shp')
        assert Where(tmp_path / 'lost.shp', 4326).area is not None


class TestAntimeridian:
    @pytest.fixture
    def fiji(self) -> EmbeddingTable:
        """Patches at 178, 179, ..., -179 east, one of them over 180, one far away."""
        shapes = [
            shapely.box(x - 0.3, -17, x + 0.3, -16.5) for x in (178, 179, 180, 181, 182)
        ] + [shapely.box(-0.3, -17, 0.3, -16.5)]
        frame = gpd.GeoDataFrame(
            {'patch_id': list('abcdef')}, geometry=shapes, crs=4326
        )
        return EmbeddingTable.from_frame(frame, np.ones((6, 2)))

    @pytest.mark.parametrize(
        ('box', 'predicate', 'rows'),
        [
            ((178.5, -18, -178.5, -16), 'within', [1, 2, 3]),
            ((178.9, -18, -178.9, -16), 'intersects', [1, 2, 3]),
            ((179.9, -18, -179.9, -16), 'centroid', [2]),
            ((179.9, -16.9, -179.9, -16.8), 'contains', [2]),
            ((179, -18, 180.9, -16), 'intersects', [1, 2, 3]),
            ((-1, -18, 1, -16), 'centroid', [5]),
            ((-179, -18, 179, -16), 'intersects', [0, 1, 3, 4, 5]),
        ],
    )
    def test_boxes(
        self,
        fiji: EmbeddingTable,
        box: tuple[float, ...],
        predicate: str,
        rows: list[int],
    ) -> None:
        assert Where(box, predicate=predicate).rows(fiji).tolist() == rows

    def test_projected_area(self, fiji: EmbeddingTable) -> None:
        change = Transformer.from_crs(4326, 3832, always_xy=True)
        area = shapely.box(
            *change.transform(178.5, -18), *change.transform(-178.5, -16)
        )
        where = Where(area, 3832, predicate='within')
        assert where.rows(fiji).tolist() == [1, 2, 3]
        assert where.area is not None
        assert where.area.geom_type == 'MultiPolygon'

    def test_polar_area(self) -> None:
        shapes = [
            shapely.box(lon, -85, lon + 1, -84.9) for lon in range(-180, 180, 30)
        ] + [shapely.box(0, -60, 1, -59)]
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'{i:02d}' for i in range(13)]}, geometry=shapes, crs=4326
        )
        table = EmbeddingTable.from_frame(frame, np.ones((13, 2)))
        assert Where(shapely.box(-1e6, -1e6, 1e6, 1e6), 3031).rows(
            table
        ).tolist() == list(range(12))

    def test_whole_world(self, fiji: EmbeddingTable) -> None:
        assert len(Where((-180, -90, 180, 90)).rows(fiji)) == 6
        world = shapely.box(-20037508.34, -2e7, 20037508.34, 2e7)
        assert len(Where(world, 3857).rows(fiji)) == 6


class TestDuring:
    @pytest.fixture
    def dated(self) -> EmbeddingTable:
        """One row for each rule: an hour long, a moment, only an end, without time."""
        start = ['2024-06-01T10:00', '2024-06-02T00:00', None, None]
        end = ['2024-06-01T11:00', None, '2024-06-03T00:00', None]
        frame = gpd.GeoDataFrame(
            {'patch_id': list('abcd'), 'time_start': start, 'time_end': end},
            geometry=[shapely.box(0, 0, 1, 1)] * 4,
            crs=4326,
        )
        return EmbeddingTable.from_frame(frame, np.ones((4, 2)))

    @pytest.mark.parametrize(
        ('during', 'rows'),
        [
            (('2024-06-01', '2024-06-02'), [0]),
            (('2024-06-01T10:30', '2024-06-01T10:40'), [0]),
            (('2024-06-01T11:00', '2024-06-01T12:00'), [0]),
            (('2024-06-01T11:00:01', '2024-06-01T12:00'), []),
            (('2024-06-01T09:00', '2024-06-01T10:00'), []),
            (('2024-06-01T12:00+02:00', '2024-06-01T12:01+02:00'), [0]),
            (('2024-06-02', '2024-06-03'), [1]),
            (('2024-06-02', '2024-06-03T00:00:01'), [1, 2]),
            ((None, '2024-06-02'), [0]),
            (('2024-06-02', None), [1, 2]),
            ((pd.Timestamp('2024-06-02'), np.datetime64('2024-06-02T01')), [1]),
            (
                (
                    pd.Timestamp('2024-06-02').date(),
                    pd.Timestamp('2024-06-02T01', tz='UTC').to_pydatetime(),
                ),
                [1],
            ),
        ],
    )
    def test_half_open(
        self, dated: EmbeddingTable, during: tuple, rows: list[int]
    ) -> None:
        assert Where(during=during).rows(dated).tolist() == rows
        assert Where(during=during, undated=True).rows(dated).tolist() == [*rows, 3]

    def test_undated_rows_without_window(self, dated: EmbeddingTable) -> None:
        assert Where().rows(dated).tolist() == [0, 1, 2, 3]

    def test_against_a_loop(self, make: Make) -> None:
        table = make(500)
        a, b = (
            pd.Timestamp('2024-03-01', tz='UTC'),
            pd.Timestamp('2024-07-01', tz='UTC'),
        )
        expected = [
            i
            for i, r in enumerate(table.frame.itertuples())
            if not pd.isna(r.time_start) and r.time_start < b and r.time_end >= a
        ]
        rows = Where(during=('2024-03-01', '2024-07-01')).rows(table)
        assert rows.tolist() == expected
        assert 0 < len(rows) < 500

    @pytest.mark.parametrize(
        ('during', 'message'),
        [
            (
                ('2024-06-02', '2024-06-01'),
                'starts at 2024-06-02.* ends at 2024-06-01.*, which is not after it; swap',
            ),
            (('soon', None), "'soon' is not a date in ISO 8601"),
            ((5, None), '5 is not a date'),
            (('', None), "'' is not a date"),
            (('2024', '2025', '2026'), r'give a pair \(start, end\)'),
            ((None, None), 'limits nothing'),
        ],
    )
    def test_refuses(self, during: tuple, message: str) -> None:
        with pytest.raises(QueryError, match=message):
            Where(during=during)


class TestTogether:
    def test_all_clauses_hold(self, make: Make) -> None:
        table = make(800)
        where = Where(
            AREA,
            4326,
            during=('2024-03-01', '2024-09-01'),
            where='cloud < 50 and source != "z"',
        )
        rows, steps = where.narrow(table)
        a, b = (
            pd.Timestamp('2024-03-01', tz='UTC'),
            pd.Timestamp('2024-09-01', tz='UTC'),
        )
        expected = [
            i
            for i, r in enumerate(table.frame.itertuples())
            if r.cloud < 50
            and r.source != 'z'
            and not pd.isna(r.time_start)
            and r.time_start < b
            and r.time_end >= a
            and r.geometry.intersects(AREA)
        ]
        assert rows.tolist() == expected
        assert len(rows) > 5
        assert [s.before for s in steps] == [800, steps[0].after, steps[1].after]
        assert steps[-1].after == len(rows)
        undated = (
            table.frame['time_start'].isna()
            & (table.frame['cloud'] < 50)
            & (table.frame['source'] != 'z')
        )
        assert steps[1].undated == undated.sum()

    def test_unknown_column(self, make: Make) -> None:
        with pytest.raises(
            QueryError, match=r"no column 'clouds'.*patch_id, modality, .*cloud"
        ):
            Where(where='clouds < 5').rows(make())

    def test_bad_condition_shows_at_once(self) -> None:
        with pytest.raises(QueryError, match='not allowed'):
            Where(where='__import__("os")')


class TestCheck:
    def test_area_far_away(self, make: Make) -> None:
        table = make()
        paris = Where((2.2, 48.8, 2.4, 48.9))
        assert len(paris.rows(table)) == 0
        with pytest.raises(
            QueryError,
            match=r'longitude 9\.\d+ to 11\.\d+, latitude 44\.\d+ to 46\.\d+',
        ) as caught:
            paris.check(table)
        km = float(str(caught.value).split(' km from the area')[0].split()[-1])
        assert 550 < km < 700

    def test_over_the_antimeridian(self) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['a']}, geometry=[shapely.box(179, 0, 179.5, 1)], crs=4326
        )
        table = EmbeddingTable.from_frame(frame, [[1.0]])
        with pytest.raises(QueryError, match=r'footprint is 111\.3 km'):
            Where((-179.5, 0, -179, 1)).check(table)

    @staticmethod
    def _at(lon: float, lat: float) -> EmbeddingTable:
        shape = shapely.box(lon, lat, lon + 1, lat + 1)
        frame = gpd.GeoDataFrame({'patch_id': ['a']}, geometry=[shape], crs=4326)
        return EmbeddingTable.from_frame(frame, [[1.0]])

    def test_gap_inside_the_bounds(self) -> None:
        frame = gpd.GeoDataFrame(
            {'patch_id': ['a', 'b']},
            geometry=[shapely.box(0, 0, 1, 1), shapely.box(9, 9, 10, 10)],
            crs=4326,
        )
        table = EmbeddingTable.from_frame(frame, [[1.0], [1.0]])
        with pytest.raises(QueryError, match='touches no footprint'):
            Where((4, 4, 5, 5)).check(table)
        Where((0.5, 0.5, 5, 5), predicate='within').check(table)
        with pytest.raises(QueryError, match='from the area; longitude comes first'):
            Where((40, 9, 41, 10)).check(self._at(9, 40))
        with pytest.raises(QueryError, match='from the area; choose an area inside'):
            Where((40, 19, 41, 20)).check(self._at(9, 40))
        Where().check(table)
        with pytest.raises(QueryError, match='archive is empty'):
            Where((4, 4, 5, 5)).check(table.select([]))
