"""Queries that are rows of a table: by id, by position."""

from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Geod

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, at, from_ids, similar_ids
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., EmbeddingTable]


def one(shape: shapely.Geometry) -> EmbeddingTable:
    frame = gpd.GeoDataFrame({'patch_id': ['p']}, geometry=[shape], crs=4326)
    return EmbeddingTable.from_frame(frame, [[1.0, 0.0]])


class TestFromIds:
    def test_rows_in_the_order_asked(self, make: Make) -> None:
        table = make(50)
        asked = ['p0031', 'p0002', 'p0040']
        queries = from_ids(table, iter(asked))
        assert queries.frame['patch_id'].tolist() == asked
        for row, name in enumerate(asked):
            own = table.frame['patch_id'].tolist().index(name)
            assert (queries.vectors[row] == table.vectors[own]).all()
        assert queries.space == table.space
        best = RetrievalIndex(table).search(queries, 1, exclude=None)
        assert best['patch_id'].tolist() == asked

    def test_one_word_is_one_id(self, make: Make) -> None:
        assert from_ids(make(5), 'p0003').frame['patch_id'].tolist() == ['p0003']

    def test_named_twice_asks_once(self, make: Make) -> None:
        queries = from_ids(make(5), ['p0003', 'p0001', 'p0003'])
        assert queries.frame['patch_id'].tolist() == ['p0003', 'p0001']

    @pytest.mark.parametrize(
        ('asked', 'message'),
        [
            ([], 'no patch_id is given; name at least one'),
            (['p0001', 'p002'], r"no patch_id 'p002'; similar ones are p0020, p002\d"),
            (['p0001x'], "no patch_id 'p0001x'; similar ones are p0001"),
            (['elsewhere'], r"'elsewhere'; ids of the archive look like p\d{4}$"),
            ([''], "no patch_id ''; ids of the archive look like"),
        ],
    )
    def test_refuses(self, make: Make, asked: list[str], message: str) -> None:
        table = make(30)
        ordered = table.select(np.argsort(table.frame['patch_id'].to_numpy(object)))
        with pytest.raises(QueryError, match=message):
            from_ids(ordered, asked)

    def test_nothing_is_in_an_empty_table(self, make: Make) -> None:
        with pytest.raises(QueryError, match='the archive is empty'):
            from_ids(make(3).select([]), 'p0001')

    @pytest.mark.slow
    def test_a_large_table_answers_a_typing_error_soon(self) -> None:
        n = 60_000
        frame = gpd.GeoDataFrame(
            {'patch_id': [f's2:scene_{i}.tif:0_0_32x32' for i in range(n)]},
            geometry=shapely.points(np.zeros(n), np.zeros(n)),
            crs=4326,
        )
        table = EmbeddingTable.from_frame(frame, np.ones((n, 1)))
        assert 's2:scene_59999.tif' in similar_ids(table, 'scene_59999')
        assert 'similar ones are s2:' in similar_ids(table, 's2:scne_7.tif:0_0_32x32')


class TestAt:
    def test_equals_a_loop(self, make: Make) -> None:
        table = make(400)
        rng = np.random.default_rng(1)
        found = 0
        for lon, lat in rng.uniform((9.2, 44.2), (10.8, 45.8), (40, 2)).tolist():
            covers = [
                i
                for i, shape in zip(
                    table.frame['patch_id'], table.frame.geometry, strict=True
                )
                if shape.covers(shapely.Point(lon, lat))
            ]
            if covers:
                assert at(table, lon, lat).frame['patch_id'].tolist() == covers
                found += 1
            else:
                with pytest.raises(QueryError, match='no patch covers'):
                    at(table, lon, lat)
        assert 5 < found < 40

    def test_edges_count(self) -> None:
        table = one(shapely.box(0, 0, 1, 1))
        for lon, lat in ((0, 0), (1, 0.5), (0.5, 1)):
            assert len(at(table, lon, lat)) == 1

    def test_over_the_antimeridian(self) -> None:
        table = one(shapely.box(179.9, -17, 180.1, -16))
        assert len(at(table, 179.95, -16.5)) == 1
        assert len(at(table, -179.95, -16.5)) == 1
        with pytest.raises(QueryError, match=r'no patch covers 0,-16\.5'):
            at(table, 0, -16.5)
        metres = Geod(ellps='WGS84').inv(-179.9, -16.5, -179.5, -16.5)[2]
        with pytest.raises(
            QueryError, match=f'nearest is {metres / 1000:,.1f} km away'
        ):
            at(table, -179.5, -16.5)

    def test_says_how_far_and_where(self) -> None:
        metres = Geod(ellps='WGS84').inv(1, 0.5, 3, 0.5)[2]
        message = (
            f'no patch covers 3,0.5: the nearest is {metres / 1000:.1f} km away, and the '
            r'archive lies within longitude 0\.0000 to 1\.0000, latitude 0\.0000 to 1\.0000'
        )
        with pytest.raises(QueryError, match=message):
            at(one(shapely.box(0, 0, 1, 1)), 3, 0.5)

    @pytest.mark.parametrize(
        ('lon', 'lat'),
        [(29.5, -98.5), (181, 0), (np.nan, 0), (0, np.nan), (np.inf, 0), (-180.1, 0)],
    )
    def test_no_position(self, lon: float, lat: float) -> None:
        with pytest.raises(QueryError, match=r'give longitude .* then latitude'):
            at(one(shapely.box(-180, -90, 180, 90)), lon, lat)

    def test_empty_table(self, make: Make) -> None:
        with pytest.raises(QueryError, match='the archive is empty'):
            at(make(3).select([]), 10, 45)
