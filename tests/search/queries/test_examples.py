"""Queries made of several: examples, labelled hits, places, two sensors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import (
    RetrievalIndex,
    Where,
    blend,
    from_examples,
    from_feedback,
    from_places,
)
from torchgeo_cmr.search.queries.examples import mean_row
from torchgeo_cmr.search.where.area import read_area
from torchgeo_cmr.search.where.columns import StoredColumns
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., Any]


def planted(n: int = 200, dim: int = 8, *, seed: int = 0) -> EmbeddingTable:
    """Even rows are of one kind, odd ones of another; both share a strong direction."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, dim)) * 0.6
    vectors[:, 0] += 3
    vectors[::2, 1] += 1
    vectors[1::2, 1] -= 1
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{i:03d}' for i in range(n)]},
        geometry=[shapely.box(i, 0, i + 0.5, 1) for i in np.linspace(0, 100, n)],
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, vectors, space='abc', modality='s2')


def rows_in(archive: Any, shape: shapely.Geometry) -> Any:
    """Give the rows that touch a place, as a filter finds them."""
    where = Where(shape, 4326)
    return (
        where.rows(archive)
        if isinstance(archive, EmbeddingTable)
        else archive.rows(where)
    )


def share(table: EmbeddingTable, query: EmbeddingTable, k: int = 50) -> float:
    """Share of even rows among the first hits."""
    hits = RetrievalIndex(table).search(query, k)
    return float((hits['patch_id'].str[1:].astype(int) % 2 == 0).mean())


class TestExamples:
    def test_mean_and_rocchio_by_hand(self, make: Make) -> None:
        table = make(20)
        right, wrong, asked = (table.select(r) for r in ([1, 2, 3], [7, 8], [5]))
        v = table.vectors.astype(float)
        for query, vector in (
            (from_examples(right, method='mean'), v[[1, 2, 3]].mean(0)),
            (from_examples(right, query=asked, method='mean'), v[[1, 2, 3, 5]].mean(0)),
            (from_examples(right), v[[1, 2, 3]].mean(0)),
            (
                from_examples(right, wrong, query=asked),
                v[5] + 0.75 * v[[1, 2, 3]].mean(0) - 0.15 * v[[7, 8]].mean(0),
            ),
        ):
            assert len(query) == 1
            assert query.vectors[0] == pytest.approx(
                vector / np.linalg.norm(vector), abs=1e-6
            )
            assert query.space == 'abc'
            assert query.modality == 's2'

    def test_footprint_and_time_are_those_of_the_right_ones(self, make: Make) -> None:
        right = make(20).select([1, 2, 3])
        query = from_examples(right, name='mine').frame
        assert query['patch_id'].tolist() == ['mine']
        assert query.geometry.iloc[0].equals(shapely.union_all(right.frame.geometry))
        assert query['time_start'].iloc[0] == right.frame['time_start'].min()
        assert query['time_end'].iloc[0] == right.frame['time_end'].max()

    @pytest.mark.parametrize('method', ['rocchio', 'logistic'])
    def test_examples_find_their_kind(self, method: str) -> None:
        table = planted()
        right, wrong = table.select(range(0, 20, 2)), table.select(range(1, 20, 2))
        one = share(table, table.select([1]))
        better = share(table, from_examples(right, wrong, method=method))
        assert one < 0.4
        assert better > (0.9 if method == 'rocchio' else 0.95)

    def test_logistic_is_the_minimum_of_its_loss(self) -> None:
        table = planted()
        right, wrong = table.select(range(0, 12, 2)), table.select(range(1, 8, 2))
        found = from_examples(right, wrong, method='logistic', penalty=0.05)
        x = np.vstack([right.vectors, wrong.vectors]).astype(float)
        y = np.repeat([1.0, -1.0], [6, 4])
        weight = np.repeat([1 / 12, 1 / 8], [6, 4])

        def loss(w: np.ndarray, b: float) -> float:
            apart = np.log1p(np.exp(-y * (x @ w + b)))
            return float((weight * apart).sum() + 0.025 * w @ w + 5e-7 * b * b)

        # The length of the normal and the step are not told; find both by a fine search.
        lengths, steps = np.linspace(0.5, 12, 120), np.linspace(-12, 12, 240)
        unit = found.vectors[0].astype(float)
        best, s, b = min((loss(s * unit, b), s, b) for s in lengths for b in steps)
        rng = np.random.default_rng(0)
        for _ in range(200):
            other = unit + 0.2 * rng.normal(size=8)
            assert loss(s * other / np.linalg.norm(other), b) > best - 1e-3

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (
                {'method': 'max'},
                "method 'max' is not known; use mean, rocchio, logistic",
            ),
            ({'method': 'logistic'}, "'logistic' needs negatives too"),
            ({'method': 'mean', 'negatives': [3]}, "'mean' takes no negatives"),
            ({'positives': []}, 'there is no positive example'),
            ({'query': [1, 2]}, 'the query has 2 rows'),
            (
                {'method': 'logistic', 'negatives': [3], 'penalty': 0},
                'penalty is 0; give a number above 0',
            ),
        ],
    )
    def test_refuses(self, make: Make, arguments: dict, message: str) -> None:
        table = make(5)
        given: dict[str, Any] = {'positives': [0], **arguments}
        given = {
            name: table.select(value) if isinstance(value, list) else value
            for name, value in given.items()
        }
        with pytest.raises(QueryError, match=message):
            from_examples(**given)

    def test_refuses_two_spaces_and_opposites(self, make: Make) -> None:
        table = make(5)
        other = EmbeddingTable.from_frame(
            table.frame.assign(space='xyz'), table.vectors
        )
        with pytest.raises(
            QueryError, match='in space abc and xyz; take them from one'
        ):
            from_examples(table.select([0]), other.select([1]))
        opposite = EmbeddingTable.from_frame(
            table.frame.iloc[:2], np.array([[1.0, 0], [-1, 0]])
        )
        with pytest.raises(QueryError, match='cancel each other out'):
            from_examples(opposite, method='mean')


class TestFeedback:
    @pytest.fixture
    def hits(self) -> Any:
        """Five hits each of two queries, labelled by their kind where a person looked."""
        table = planted()
        hits = RetrievalIndex(table).search(table.select([1, 4]), 6)
        even = hits['patch_id'].str[1:].astype(int) % 2 == 0
        hits['relevant'] = even.astype('boolean').where(hits['rank'] < 6)
        return hits

    @pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', None])
    def test_labelled_layer(
        self, hits: Any, tmp_path: Path, suffix: str | None
    ) -> None:
        table = planted()
        layer: Any = hits
        if suffix is not None:
            layer = tmp_path / f'hits{suffix}'
            hits.to_file(layer)
        made = from_feedback(table, layer, queries=table.select([1, 4]))
        expected = []
        for row in (1, 4):
            own = hits[hits['query_id'] == f'p{row:03d}']
            numbers = own['patch_id'].str[1:].astype(int)
            looked = own['relevant'].notna()
            right = numbers[looked & (numbers % 2 == 0)]
            wrong = numbers[looked & (numbers % 2 == 1)]
            if len(right):
                v = table.vectors.astype(float)
                vector = v[row] + 0.75 * v[right].mean(0)
                if len(wrong):
                    vector -= 0.15 * v[wrong].mean(0)
                expected.append((f'p{row:03d}', vector / np.linalg.norm(vector)))
        assert made.frame['patch_id'].tolist() == [name for name, _ in expected]
        assert made.vectors == pytest.approx(
            np.stack([v for _, v in expected]), abs=1e-6
        )

    def test_words_and_numbers_are_labels_too(self, hits: Any) -> None:
        table = planted()
        for yes, no in (
            (1, 0),
            ('Yes', 'no'),
            ('true', 'FALSE'),
            (1.0, 0.0),
            ('1', ''),
        ):
            marked = hits.assign(relevant=[yes, no] * 6)
            made = from_feedback(table, marked)
            assert len(made) == 2

    def test_refuses(self, hits: Any, tmp_path: Path) -> None:
        table = planted()
        with pytest.raises(QueryError, match='no column relevant; label a result'):
            from_feedback(table, hits.drop(columns='relevant'))
        with pytest.raises(QueryError, match='no hit is marked as right'):
            from_feedback(table, hits.assign(relevant=False))
        with pytest.raises(
            QueryError, match="relevant is 'maybe'; write true or false"
        ):
            from_feedback(table, hits.assign(relevant='maybe'))
        with pytest.raises(QueryError, match="no patch_id 'gone'"):
            from_feedback(table, hits.assign(relevant=True, patch_id='gone'))
        with pytest.raises(QueryError, match=r'labelled layer .*a\.gpkg is not there'):
            from_feedback(table, tmp_path / 'a.gpkg')

    def test_the_layer_called_results(self, hits: Any, tmp_path: Path) -> None:
        table = planted()
        path = tmp_path / 'a.gpkg'
        table.frame.head(1)[['patch_id', 'geometry']].to_file(path, layer='query')
        hits.to_file(path, layer='results', mode='a')
        assert from_feedback(table, path).vectors == pytest.approx(
            from_feedback(table, hits).vectors
        )


class TestPlaces:
    def test_one_query_a_place(self, make: Make, tmp_path: Path) -> None:
        table = make(300)
        places = gpd.GeoDataFrame(
            {'name': ['lake', 'town']},
            geometry=[
                shapely.box(9.5, 44.5, 9.7, 44.7),
                shapely.Point(10.5, 45.5).buffer(0.1),
            ],
            crs=4326,
        )
        places.to_crs(32632).to_file(tmp_path / 'places.gpkg')
        made = from_places(table, places, name='name')
        assert made.frame['patch_id'].tolist() == ['lake', 'town']
        for i in range(2):
            rows = Where(places.geometry.iloc[i], 4326).rows(table)
            mean = table.vectors[rows].astype(float).mean(0)
            assert made.vectors[i] == pytest.approx(
                mean / np.linalg.norm(mean), abs=1e-6
            )
            assert made.frame.geometry.iloc[i].equals(places.geometry.iloc[i])
        again = from_places(table, tmp_path / 'places.gpkg')
        assert again.frame['patch_id'].tolist() == ['lake', 'town']
        bare = from_places(table, places[['geometry']])
        assert bare.frame['patch_id'].tolist() == ['place0', 'place1']
        assert again.vectors == pytest.approx(made.vectors, abs=0.2)
        # A point has no ground of its own.
        place = table.frame.geometry.iloc[7].centroid
        point = from_places(table, place, 4326)
        touched = table.frame.geometry[Where(place, 4326).rows(table)]
        assert point.frame.geometry.iloc[0].equals(touched.union_all())
        one = from_places(table, (9.5, 44.5, 9.7, 44.7))
        assert one.vectors[0] == pytest.approx(made.vectors[0], abs=1e-6)

    @pytest.mark.parametrize(
        ('columns', 'names'),
        [
            ({'NAME': ['a', 'b'], 'id': [5, 6]}, ['a', 'b']),
            ({'name': ['a', 'a'], 'id': [5.0, 6.0]}, ['5', '6']),
            ({'Name': ['a', None], 'FID': [5, 6]}, ['5', '6']),
            ({'name': ['a', ' '], 'label': ['c', 'd']}, ['place0', 'place1']),
        ],
    )
    def test_a_layer_names_its_features(
        self, make: Make, columns: dict[str, list[object]], names: list[str]
    ) -> None:
        places = gpd.GeoDataFrame(
            columns, geometry=[shapely.box(9, 44, 11, 46)] * 2, crs=4326
        )
        made = from_places(make(30), places)
        assert made.frame['patch_id'].tolist() == names

    def test_a_place_outside_or_empty_is_reported(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        table = make(30)
        inside = shapely.box(9, 44, 11, 46)
        shapes = [shapely.box(2, 48, 3, 49), inside, None, shapely.Polygon()]
        places = gpd.GeoDataFrame({'id': list('abcd')}, geometry=shapes, crs=4326)
        made = from_places(table, places)
        assert made.frame['patch_id'].tolist() == ['b']
        assert made.vectors == pytest.approx(from_places(table, inside, 4326).vectors)
        assert 'a touches no patch: the nearest is' in caplog.text
        assert 'c is empty' in caplog.text
        assert 'd is empty' in caplog.text
        with pytest.raises(QueryError, match='a touches no patch'):
            from_places(table, places.iloc[[0, 2]])

    @pytest.mark.parametrize('side', [133.3, 2560, 10_240])
    @pytest.mark.parametrize('saved', ['.parquet', '.geojson', '.gpkg', 'utm'])
    def test_the_footprint_of_a_patch_among_flush_ones_is_that_patch(
        self, tmp_path: Path, saved: str, side: float
    ) -> None:
        corners = np.stack(np.meshgrid(np.arange(4), np.arange(4))).reshape(2, 16)
        x, y = 700_000 + side * corners[0], 5e6 + side * corners[1]
        shapes = gpd.GeoSeries(shapely.box(x, y, x + side, y + side), crs=32632)
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'p{i}' for i in range(16)]}, geometry=shapes.to_crs(4326)
        )
        table = EmbeddingTable.from_frame(frame, np.eye(16, dtype='float32'), space='w')
        places: Any = table.frame[['geometry']].iloc[[5, 10]]
        if saved == 'utm':
            places = gpd.GeoDataFrame(geometry=shapes.iloc[[5, 10]])
        elif saved == '.parquet':
            places.to_parquet(places := tmp_path / 'places.parquet')
        else:
            places.to_file(places := tmp_path / f'places{saved}')
        made = from_places(table, places)
        np.testing.assert_array_equal(made.vectors, table.vectors[[5, 10]])
        assert made.frame['patch_id'].tolist() == ['place0', 'place1']
        # What is too thin to have an inside is taken with its edge.
        west, south, east, _ = table.frame.geometry.iloc[5].bounds
        thin = shapely.box(west + 1e-5, south + 1e-4, east - 1e-5, south + 1e-4 + 1e-8)
        assert len(from_places(table, thin, 4326)) == 1
        # Of a collection each polygon.
        both = [table.frame.geometry.iloc[5], table.frame.geometry.iloc[15].centroid]
        made = from_places(table, shapely.GeometryCollection(both), 4326)
        assert np.flatnonzero(made.vectors[0]).tolist() == [5, 15]

    @pytest.mark.slow
    @pytest.mark.parametrize('kind', ['table', 'index', 'changed index', 'few pairs'])
    def test_many_places_equal_each_alone(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        table = make(400)
        rng = np.random.default_rng(3)
        frame = table.frame.assign(modality=rng.choice(['s1', 's2'], 400))
        shapes = frame.geometry.to_numpy().copy()
        shapes[:40] = shapely.transform(shapes[:40], lambda p: p + np.array([169.9, 0]))
        frame['geometry'] = [None, *shapes[1:]]
        table = EmbeddingTable.from_frame(frame, table.vectors, placeless=True)
        archive: Any = table
        if kind != 'table':
            archive = RetrievalIndex.build(table.select(range(300)), tmp_path / 'i')
        if kind == 'changed index':
            archive.append(table.select(range(300, 400)))
            archive.delete(table.frame['patch_id'][5:350:7].tolist())
        if kind == 'few pairs':
            monkeypatch.setattr('torchgeo_cmr.search.queries.contact._MOST', 50)
            monkeypatch.setattr('torchgeo_cmr.search.queries.contact._BLOCK', 7)
            monkeypatch.setattr('torchgeo_cmr.search.queries.places._BLOCK', 9)
        xy = rng.uniform((9, 44), (11, 46), (30, 2))
        places = gpd.GeoDataFrame(
            {'name': [f'n{i}' for i in range(36)]},
            geometry=[
                *shapely.box(*xy[:20].T, *(xy[:20] + 0.2).T),
                *shapely.points(xy[20:28]),
                shapely.LineString(xy),
                shapely.MultiPolygon([*shapely.box(*xy.T, *(xy + 0.003).T)]),
                shapely.MultiPoint(xy),
                shapely.box(179.5, 43, 180.9, 47),
                shapely.box(8, 43, 12, 47),
                None,
                shapely.Point(),
                shapely.Point(2, 48),
            ],
            crs=4326,
        )
        assert len(places) > 2 * 16  # more than are looked for alone
        made = from_places(archive, places)
        found = []
        for name, shape in zip(places['name'], places.geometry, strict=True):
            rows = [] if shape is None or shape.is_empty else rows_in(archive, shape)
            if not len(rows):
                continue
            patches = archive.select(rows)
            area = read_area(shape, 4326)
            if shapely.get_dimensions(area) < 2:
                area = patches.frame.union_all()
            mean = patches.vectors.astype(float).mean(axis=0)
            found.append(mean_row(name, patches, mean, area))
        right = EmbeddingTable.concat(found)
        assert 20 < len(right) < 33
        assert_geodataframe_equal(made.frame, right.frame)
        assert (made.vectors == right.vectors).all()
        assert made.record == right.record
        assert set(made.frame['modality'].dropna()) == {'s1', 's2'}
        assert made.frame['modality'].isna().any()

    def test_many_places_are_read_together(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        index = RetrievalIndex.build(make(200))
        counts: list[int] = []
        read = StoredColumns.footprints

        def counted(columns: StoredColumns, rows: Any) -> Any:
            counts.append(len(rows))
            return read(columns, rows)

        monkeypatch.setattr(StoredColumns, 'footprints', counted)
        monkeypatch.setattr(RetrievalIndex, 'select', None)
        places = gpd.GeoSeries([shapely.Point(10, 45).buffer(0.5)] * 60, crs=4326)
        assert len(from_places(index, places)) == 60
        assert len(counts) < 5

    def test_vectors_of_two_spaces_are_refused(self, make: Make) -> None:
        table = make(30)
        table.frame['space'] = table.frame['space'].where(table.frame.index < 29, 'b')
        places = gpd.GeoSeries([shapely.box(9, 44, 11.1, 46.1)] * 20, crs=4326)
        with pytest.raises(QueryError, match='in space abc and b; take them from one'):
            from_places(table, places)

    def test_refuses(self, make: Make) -> None:
        table = make(30)
        places = gpd.GeoDataFrame(
            {'name': ['a', 'a']}, geometry=[shapely.box(9, 44, 11, 46)] * 2, crs=4326
        )
        for word in (None, '', ' '):
            blank = places.assign(name=['a', word])
            with pytest.raises(QueryError, match="1 of 2 places have no 'name'"):
                from_places(table, blank, name='name')
        with pytest.raises(QueryError, match="two places have the same 'name'"):
            from_places(table, places, name='name')
        with pytest.raises(QueryError, match="the places have no column 'names'"):
            from_places(table, places, name='names')
        with pytest.raises(QueryError, match=r'place0 touches no patch: .* km away'):
            from_places(table, (2, 48, 3, 49))
        west = float(table.boxes[:, 0].min())
        next_to = shapely.box(west - 1, 43, west, 47)
        with pytest.raises(QueryError, match='place0 shares no more than an edge with'):
            from_places(table, gpd.GeoSeries([next_to], crs=4326))
        with pytest.raises(QueryError, match='there is no place to search with'):
            from_places(table, places.iloc[:0])
        with pytest.raises(QueryError, match='the archive is empty'):
            from_places(table.select([]), places)


class TestBlend:
    def test_two_sensors_of_one_place(self) -> None:
        rng = np.random.default_rng(0)

        def sensor(modality: str, places: list[int], days: list[int]) -> EmbeddingTable:
            frame = gpd.GeoDataFrame(
                {
                    'patch_id': [
                        f'{modality}:{p}:{d}' for p, d in zip(places, days, strict=True)
                    ],
                    'time_start': [f'2024-01-{d:02d}' for d in days],
                },
                geometry=[shapely.box(p, 0, p + 1, 1) for p in places],
                crs=4326,
            )
            return EmbeddingTable.from_frame(
                frame, rng.normal(size=(len(places), 6)), space='abc', modality=modality
            )

        s1 = sensor('s1', [0, 1, 2], [5, 5, 5])
        # Two dates at place 0, of which the nearer one counts; nothing at place 1.
        s2 = sensor('s2', [2, 0, 0, 7], [9, 20, 7, 5])
        both = blend([s1, s2])
        assert both.frame['patch_id'].tolist() == ['s1:0:5', 's1:2:5']
        for i, (a, b) in enumerate([(0, 2), (2, 0)]):
            vector = s1.vectors[a].astype(float) + s2.vectors[b]
            assert both.vectors[i] == pytest.approx(
                vector / np.linalg.norm(vector), abs=1e-6
            )
        assert both.space == 'abc'
        assert both.frame['modality'].isna().all()
        assert both.frame['time_end'].dt.day.tolist() == [7, 9]
        shared = blend([sensor('s1', [0, 0], [5, 6]), s2])
        assert shared.frame['patch_id'].tolist() == ['s1:0:5', 's1:0:6']
        heavy = blend([s1, s2], weights=[1, 0])
        assert heavy.vectors[0] == pytest.approx(s1.vectors[0], abs=1e-6)

    def test_refuses(self, make: Make) -> None:
        table = make(5)
        far = EmbeddingTable.from_frame(
            table.frame.set_geometry([shapely.box(0, 0, 1, 1)] * 5, crs=4326),
            table.vectors,
        )
        with pytest.raises(QueryError, match='1 tables cannot be blended'):
            blend([table])
        with pytest.raises(QueryError, match='no place is in all tables'):
            blend([table, far])
        with pytest.raises(QueryError, match='3 weights do not fit 2 tables'):
            blend([table, table], weights=[1, 2, 3])
        with pytest.raises(QueryError, match='give a share above 0'):
            blend([table, table], min_overlap=0)
        other = EmbeddingTable.from_frame(
            table.frame.assign(space='xyz'), table.vectors
        )
        with pytest.raises(QueryError, match='in space abc and xyz'):
            blend([table, other])
