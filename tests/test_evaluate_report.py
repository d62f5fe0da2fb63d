"""Reports: directions, chance, intervals, groups, leak check, and what is written down."""

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import GeometryCollection, LineString, box

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.evaluate import (
    PROTOCOLS,
    Protocol,
    cells,
    evaluate,
    fingerprint,
    get_protocol,
    label_sets,
    make_report,
    same_label,
    same_place,
    with_distance,
)
from torchgeo_cmr.evaluate.blocks import intervals
from torchgeo_cmr.evaluate.groups import by_distance, by_region, by_season
from torchgeo_cmr.evaluate.measure import Column, expand
from torchgeo_cmr.evaluate.similarity import similarity
from torchgeo_cmr.metrics.functional import CHANCE, METRICS, LabelTruth, score_ranking
from torchgeo_cmr.table import EmbeddingTable

X0, Y0 = 500_000, 5_000_000


def table(
    number: int = 12,
    *,
    vectors: Any = None,
    modalities: tuple[str, ...] = ('s1', 's2'),
    seed: int = 0,
    **columns: Any,
) -> EmbeddingTable:
    """Patches of 320 m, one a kilometre, in rows of six; the same places a modality."""
    parts = []
    for name in modalities:
        corners = [(X0 + 1000 * (i % 6), Y0 + 1000 * (i // 6)) for i in range(number)]
        parts.append(
            gpd.GeoDataFrame(
                {
                    'patch_id': [f'{name}:{i}' for i in range(number)],
                    'modality': name,
                    'time_start': pd.Timestamp('2024-01-15', tz='UTC')
                    + pd.to_timedelta(60.0 * (np.arange(number) % 4), unit='D'),
                    'kind': [['a'], ['a', 'b'], ['b']] * (number // 3),
                    **columns,
                },
                geometry=[box(x, y, x + 320, y + 320) for x, y in corners],
                crs=32632,
            )
        )
    frame = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=32632)
    if vectors is None:
        vectors = np.random.default_rng(seed).normal(size=(len(frame), 8))
    return EmbeddingTable.from_frame(frame, vectors, space='one')


def column(name: str, values: Any) -> Column:
    return Column(METRICS[name], np.asarray(values, np.float64))


class TestMeasure:
    def test_names_come_from_the_registry(self) -> None:
        assert expand(['map@k_hits', 'map', 'f1_at_rank'], (5, 10)) == [
            'map@5_hits',
            'map@10_hits',
            'map',
            'f1_at_rank_5',
            'f1_at_rank_10',
        ]

    def test_every_metric_reaches_a_report(self) -> None:
        both = table(24)
        report = make_report(
            both,
            both,
            relevance='label:kind',
            metrics=METRICS,
            k=(3, 7),
            bootstrap=20,
            block=1500,
            by=['class'],
            directions='cross',
        )
        scores = report.directions['s1->s2']['scores']
        assert [*scores] == expand(METRICS, (3, 7))
        assert {*METRICS} - {*CHANCE} == {'median_rank', 'wmap@k'}
        for name, score in scores.items():
            assert score['value'] is not None, name
            assert score['low'] <= score['value'] <= score['high'], name
            blank = name in ('median_rank', 'wmap@3', 'wmap@7')
            assert (score['chance'] is None) == blank, name
        assert json.loads(report.to_json())['directions'] == report.directions
        lines = [x for x in report.to_markdown().splitlines() if '| wmap@3 |' in x]
        assert all('| - |' in line for line in lines)
        assert len(lines) == 2
        # the same numbers as the registry gives on the same vectors
        one, other = (both.select(both.frame['modality'] == m) for m in ('s1', 's2'))
        asked, found = label_sets((one, other), 'kind').members
        scored = score_ranking(
            one.vectors,
            other.vectors,
            LabelTruth(asked, found),
            names=METRICS,
            ks=(3, 7),
        )
        for name, mean in scored.means().items():
            assert scores[name]['value'] == pytest.approx(mean.mean), name

    def test_groups_of_the_median(self) -> None:
        # place i finds its pair at rank i + 1
        first = np.eye(12)[0]
        line = np.column_stack([np.linspace(1, 0.1, 12), np.linspace(0, 1, 12)])
        archive = table(vectors=np.pad(line, ((0, 0), (0, 10))), modalities=('s2',))
        queries = table(vectors=np.tile(first, (12, 1)), modalities=('s1',))
        report = make_report(
            queries,
            archive,
            relevance='place',
            metrics=['median_rank', 'mean_rank'],
            by=['season'],
            bootstrap=50,
            block=1500,
        )
        found = report.directions['s1->s2']
        assert found['scores']['median_rank']['value'] == 6.5
        assert found['scores']['mean_rank']['value'] == 6.5
        assert found['scores']['mean_rank']['chance'] == 6.5
        # places 0, 4, 8 are of winter, 3, 7, 11 of summer
        groups = {
            name: group['scores']['median_rank']['value']
            for name, group in found['by']['season'].items()
        }
        assert groups == {'Dec-Feb': 5, 'Mar-May': 6.5, 'Jun-Aug': 8}

    def test_graded_relevance_of_a_rule(self) -> None:
        # gains 2, 0, 3, 2 in the order of the ranking, worked example 2
        gains = np.array([[2.0, 0.0, 3.0, 2.0]])
        queries = with_labels(np.ones((1, 2)), 's1')
        archive = with_labels(np.ones((4, 2)), 's2')
        features = np.ones((1, 1)), np.array([[1.0], [1.1], [1.3], [1.6]])
        options: dict[str, Any] = {
            'metrics': ['ndcg@k', 'ndcg@k_linear', 'acg@k', 'wmap@k'],
            'k': [2, 4],
            'protocol': Protocol(similarity='euclidean'),
            'features': features,
        }
        for rule in (gains, lambda q, a: gains):
            report = make_report(queries, archive, relevance=rule, **options)
            scores = report.directions['s1->s2']['scores']
            got = {name: score['value'] for name, score in scores.items()}
            assert got == pytest.approx(
                {
                    'ndcg@2': 0.337352,
                    'ndcg@4': 0.749753,
                    'ndcg@2_linear': 2 / (3 + 2 / np.log2(3)),
                    'ndcg@4_linear': 0.828862,
                    'acg@2': 1,
                    'acg@4': 1.75,
                    'wmap@2': 2,
                    'wmap@4': 1.805556,
                },
                abs=1e-6,
            )
        with pytest.raises(
            QueryError,
            match='ndcg@k needs graded relevance and this rule only gives yes',
        ):
            make_report(queries, archive, relevance=gains > 0, **options)
        with pytest.raises(QueryError, match='relevance is finite and at least 0'):
            make_report(queries, archive, relevance=-gains, **options)

    def test_largest_of_anmrr_is_that_of_all_queries(self) -> None:
        # worked example 4: ranks 1, 3, 4, 7 and 2, 9 among ten items
        hits = np.zeros((2, 10), bool)
        hits[0, [0, 2, 3, 6]] = hits[1, [1, 8]] = True
        queries = with_labels(np.ones((2, 2)), 's1')
        archive = with_labels(np.ones((10, 2)), 's2')
        features = np.zeros((2, 1)) + 1, 1 + np.arange(10.0)[:, None]
        for chunk in (None, 1):
            report = make_report(
                queries,
                archive,
                relevance=hits,
                metrics=['anmrr'],
                protocol=Protocol(similarity='euclidean'),
                features=features,
                chunk=chunk,
            )
            found = report.directions['s1->s2']['scores']['anmrr']
            assert found['value'] == pytest.approx(0.348039, abs=1e-6)

    def test_worked_example_of_label_sets(self) -> None:
        # the archive in the order of the ranking; one query, five classes
        hot = np.array(
            [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 1, 0, 0, 1], [0, 1, 1, 1, 1]]
        )
        archive = with_labels(hot, 's2')
        queries = with_labels(np.array([[1, 1, 0, 0, 1]]), 's1')
        asked = np.array([[1.0, 0, 0, 0]])
        found = np.array([[1, 0, 0, 0], [0.9, 1, 0, 0], [0.8, 0, 2, 0], [0.1, 0, 0, 3]])
        report = make_report(
            queries,
            archive,
            relevance='label:hot',
            metrics=(
                'f1@k',
                'f1@k_of_means',
                'item_precision@k',
                'item_recall@k',
                'map@k',
            ),
            k=(2, 4),
            features=(asked, found),
        )
        scores = report.directions['s1->s2']['scores']
        got = {name: score['value'] for name, score in scores.items()}
        assert got == pytest.approx(
            {
                'f1@2': 0.4,
                'f1@4': 0.592857,
                'f1@2_of_means': 0.4,
                'f1@4_of_means': 0.603448,
                'item_precision@2': 0.5,
                'item_precision@4': 0.625,
                'item_recall@2': 1 / 3,
                'item_recall@4': 0.583333,
                'map@2': 0.5,
                'map@4': 0.805556,
            },
            abs=1e-6,
        )


def with_labels(hot: np.ndarray, modality: str) -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'{modality}:{i}' for i in range(len(hot))], 'hot': hot.tolist()},
        geometry=[box(i, 0, i + 0.01, 0.01) for i in range(len(hot))],
        crs=4326,
    )
    return EmbeddingTable.from_frame(
        frame, np.ones((len(hot), 4)), space='one', modality=modality
    )


class TestRanking:
    def test_chunks_change_nothing(self) -> None:
        both = table()
        options: dict[str, Any] = {
            'relevance': 'label:kind',
            'bootstrap': 50,
            'block': 1500,
            'by': ('class', 'distance'),
            'train_area': both.frame.iloc[:2],
        }
        whole = make_report(both, both, **options)
        assert make_report(both, both, **options, chunk=1) == whole
        assert make_report(both, both, **options, chunk=5) == whole

    def test_equal_vectors_come_in_archive_order(self) -> None:
        generator = np.random.default_rng(0)
        vectors = np.repeat(generator.normal(size=(3, 8)), 8, axis=0)
        scores = similarity(generator.normal(size=(5, 8)), vectors, 'cosine')
        order = np.argsort(-scores, axis=1, kind='stable')
        for row in order:
            blocks = row.reshape(3, 8)
            assert (np.diff(blocks, axis=1) == 1).all()

    def test_similarities(self) -> None:
        one, other = np.array([[0.2, 0, 0.8]]), np.array([[0.5, 0.1, 0.4]])
        assert similarity(one, other, 'chi_square')[0, 0] == pytest.approx(
            -0.180952, abs=1e-6
        )
        assert similarity(one, other, 'euclidean')[0, 0] == pytest.approx(-0.26)
        assert similarity(one, other, 'cosine')[0, 0] == pytest.approx(
            0.42 / np.sqrt(0.68 * 0.42)
        )

    def test_matrix_is_the_same_as_its_rule(self) -> None:
        both = table()
        rule = make_report(both, both, relevance=same_place)
        matrix = make_report(both, both, relevance=same_place(both, both))
        assert matrix.directions == rule.directions
        assert (rule.relevance, matrix.relevance) == (
            'same_place',
            'as given by the caller',
        )

    def test_agrees_with_evaluate(self) -> None:
        both = table()
        one, other = (both.select(both.frame['modality'] == m) for m in ('s1', 's2'))
        report = make_report(both, both, relevance='label:kind', k=[10])
        for name, pair in (('s1->s2', (one, other)), ('s2->s2', (other, other))):
            simple = evaluate(
                *pair, relevance=lambda q, a: same_label(q, a, 'kind'), k=10
            )
            found = report.directions[name]
            for measured in ('recall@10', 'map'):
                assert found['scores'][measured]['value'] == simple[measured]
                assert found['scores'][measured]['chance'] == simple['chance'][measured]
            assert found['queries'] == simple['queries']


class TestExcludeSelf:
    def test_three_ways(self) -> None:
        vectors = np.tile(np.eye(12), (2, 1))
        both = table(vectors=vectors)
        found = {
            way: make_report(
                both,
                both,
                relevance='place',
                exclude_self=way,
                k=[1],
                metrics=['recall@k'],
            ).directions
            for way in ('same_modality', 'all', 'none')
        }

        def told(way: str, direction: str) -> tuple[int, float | None]:
            one = found[way][direction]
            return one['queries'], one['scores']['recall@1']['value']

        assert told('same_modality', 's1->s2') == (12, 1)
        assert told('same_modality', 's1->s1') == (0, None)
        assert told('none', 's1->s1') == (12, 1)
        assert told('all', 's1->s2') == (0, None)


class TestDirections:
    @pytest.mark.parametrize(
        ('word', 'names'),
        [
            ('all', ['s1->s1', 's1->s2', 's2->s1', 's2->s2']),
            ('cross', ['s1->s2', 's2->s1']),
            ('same', ['s1->s1', 's2->s2']),
            ('s2->s1', ['s2->s1']),
            (['s2->s1', 's1->s1'], ['s2->s1', 's1->s1']),
        ],
    )
    def test_words(self, word: Any, names: list[str]) -> None:
        both = table(6)
        report = make_report(both, both, relevance='place', directions=word)
        assert list(report.directions) == names

    def test_refuses(self) -> None:
        both, one = table(6), table(6, modalities=('s1',))
        with pytest.raises(
            QueryError, match="'s1->s3' is not a direction of these tables: choose all"
        ):
            make_report(both, both, relevance='place', directions='s1->s3')
        with pytest.raises(QueryError, match='no cross direction between s1 and s1'):
            make_report(one, one, relevance='place', directions='cross')
        frame = both.frame.copy()
        frame.loc[0, 'modality'] = None
        with pytest.raises(ArchiveError, match='rows without a modality'):
            make_report(replace(both, frame=frame), both, relevance='place')


class TestIntervals:
    def test_loop_twin(self) -> None:
        generator = np.random.default_rng(3)
        values = {
            'map': column('map', generator.uniform(size=40)),
            'f1@5_of_means': column('f1@k_of_means', generator.uniform(size=(40, 2))),
            'median_rank': column('median_rank', generator.integers(1, 99, size=40)),
        }
        for value in values.values():
            value.values[7] = np.nan
        blocks = np.array([f'b{i // 6}' for i in range(40)], dtype=object)
        names = list(values)
        found = intervals(values, blocks, names, draws=200, seed=5)
        kinds = sorted({*blocks})
        rng = np.random.default_rng(5)
        drawn: dict[str, list[float]] = {name: [] for name in names}
        share = np.full(len(kinds), 1 / len(kinds))
        for times in rng.multinomial(len(kinds), share, size=200):
            rows = np.concatenate(
                [
                    np.tile(np.flatnonzero(blocks == kind), count)
                    for kind, count in zip(kinds, times, strict=True)
                ]
            )
            rows = rows.astype(int)[rows != 7]
            p, r = values['f1@5_of_means'].values[rows].mean(axis=0)
            drawn['map'].append(values['map'].values[rows].mean())
            drawn['f1@5_of_means'].append(2 * p * r / (p + r))
            drawn['median_rank'].append(np.median(values['median_rank'].values[rows]))
        for name in names:
            assert found[name] == pytest.approx(
                tuple(np.percentile(drawn[name], [2.5, 97.5]))
            )

    def test_whole_blocks_are_wider_than_single_queries(self) -> None:
        # all queries of a block score the same: forty queries, but only five places
        value = {'map': column('map', np.repeat([0.1, 0.9, 0.2, 0.8, 0.5], 8))}
        by_place = np.repeat([f'{i}' for i in range(5)], 8).astype(object)
        by_query = np.array([f'{i}' for i in range(40)], dtype=object)
        wide, thin = (
            intervals(value, blocks, ['map'], draws=500, seed=0)['map']
            for blocks in (by_place, by_query)
        )
        assert wide[1] - wide[0] > 2 * (thin[1] - thin[0])

    def test_one_block_has_none(self) -> None:
        value = {'map': column('map', np.ones(3))}
        assert intervals(value, np.full(3, 'a', object), ['map'], draws=9, seed=0) == {}
        both = table(6)
        report = make_report(both, both, relevance='place', bootstrap=10, block=1e6)
        found = report.directions['s1->s2']
        assert found['blocks'] == 1
        assert found['scores']['map']['low'] is None

    def test_seeded(self) -> None:
        both = table()

        def low(seed: int) -> float:
            report = make_report(
                both, both, relevance='place', bootstrap=30, block=1500, seed=seed
            )
            return report.directions['s1->s2']['scores']['map']['low']

        assert low(0) == low(0) != low(1)

    def test_cells(self) -> None:
        blocks = cells(table(modalities=('s1',)), 2000)
        assert 4 <= blocks.nunique() < 12
        assert (cells(table(modalities=('s1',)), 1e7) == 'E0 N0').all()
        with pytest.raises(QueryError, match='must be above 0 m'):
            cells(table(6), 0)


class TestGroups:
    def test_class_counts_a_query_in_each_of_its_classes(self) -> None:
        both = table()
        report = make_report(both, both, relevance='label:kind', by=['class'])
        groups = report.directions['s1->s2']['by']['class']
        assert {name: group['queries'] for name, group in groups.items()} == {
            'a': 8,
            'b': 8,
        }

    def test_season_is_of_months(self) -> None:
        both = table(12)
        frame = both.frame.copy()
        frame.loc[0, 'time_start'] = pd.NaT
        frame.loc[1, 'time_end'], frame.loc[1, 'time_start'] = (
            frame.loc[1, 'time_start'],
            pd.NaT,
        )
        groups = dict(by_season(replace(both, frame=frame)))
        months = frame['time_start'].dt.month
        assert list(groups) == ['Dec-Feb', 'Mar-May', 'Jun-Aug', 'undated']
        assert groups['undated'].tolist() == [i == 0 for i in range(24)]
        assert groups['Mar-May'][1]
        assert set(months[groups['Jun-Aug']]) == {7}
        assert sum(mask.sum() for mask in groups.values()) == 24

    def test_regions(self) -> None:
        both = table(12, modalities=('s1',))
        west = box(X0 - 10, Y0 - 10, X0 + 2500, Y0 + 3000)
        regions = gpd.GeoDataFrame(
            {'code': [7], 'name': ['west']}, geometry=[west], crs=32632
        )
        groups = dict(by_region(both, regions))
        assert {name: int(mask.sum()) for name, mask in groups.items()} == {
            'west': 6,
            'elsewhere': 6,
        }
        coded = regions[['code', 'geometry']]
        assert isinstance(coded, gpd.GeoDataFrame)
        assert list(dict(by_region(both, coded))) == ['7', 'elsewhere']
        assert sum(mask.sum() for _, mask in by_region(both, 2000)) == 12
        # A region of several polygons, as layers of classes have, is one.
        near, far = (
            box(X0 + i, Y0 - 10, X0 + i + 1260, Y0 + 3000) for i in (-10, 1250)
        )
        pieces = gpd.GeoDataFrame(
            {'name': ['elsewhere', 'elsewhere', 'none']},
            geometry=[near, far, None],
            crs=32632,
        )
        found = [(name, int(mask.sum())) for name, mask in by_region(both, pieces)]
        assert found == [('elsewhere', 6), ('elsewhere (no region)', 6)]
        with pytest.raises(QueryError, match='regions has no CRS; declare'):
            list(by_region(both, gpd.GeoDataFrame(geometry=[west])))

    @pytest.mark.parametrize('crs', ['EPSG:3832', 'EPSG:32601', 'EPSG:4326'])
    def test_regions_across_the_antimeridian(self, crs: str) -> None:
        lon = np.array([-179.8, 179.7, 178.0, -178.0, 0.0])
        frame = gpd.GeoDataFrame(
            {'patch_id': [*'abcde']},
            geometry=shapely.box(lon - 0.01, -16.01, lon + 0.01, -15.99),
            crs=4326,
        )
        places = EmbeddingTable.from_frame(frame, np.ones((5, 2)))
        degrees = box(179.5, -17, 180.5, -15)
        region = gpd.GeoDataFrame({'name': ['fiji']}, geometry=[degrees], crs=4326)
        groups = dict(by_region(places, region.to_crs(crs)))
        assert groups['fiji'].tolist() == [True, True, False, False, False]

    def test_regions_are_polygons_with_names(self) -> None:
        both = table(12, modalities=('s1',))
        boxes = [box(X0 + i, Y0 - 10, X0 + i + 1260, Y0 + 3000) for i in (-10, 1250)]
        line = LineString([(X0 - 10, Y0), (X0 + 9000, Y0)])
        whole = box(X0 - 10, Y0 - 10, X0 + 9000, Y0 + 9000)

        def found(names: Any, shapes: list[Any], crs: Any = 32632) -> dict[str, int]:
            regions = gpd.GeoDataFrame({'name': names}, geometry=shapes, crs=crs)
            groups = by_region(both, regions)
            return {name: int(mask.sum()) for name, mask in groups}

        blank = found(['', ' ', None], [*boxes, boxes[0]])
        assert blank == {'unnamed': 6, 'elsewhere': 6}
        spaced = found(['west ', 'west'], boxes)
        assert spaced == {
            'west': sum(blank.values()) - blank['elsewhere'],
            'elsewhere': 6,
        }
        numbers = found([3.0, None], [boxes[0], whole])
        assert numbers == {'3': 4, 'unnamed': 12}
        mixed = GeometryCollection([line, boxes[0]])
        assert found(['a', 'b'], [mixed, line]) == {'a': 4, 'elsewhere': 8}
        with pytest.raises(QueryError, match='no polygon: it holds LineString, which'):
            found(['a'], [line])
        with pytest.raises(QueryError, match='NAVD88 height, which has no place on'):
            found(['a'], [whole], 5703)
        with pytest.raises(QueryError, match='from which nothing leads to EPSG:4326'):
            found(['a'], [whole], '+proj=eqc +R=1737400 +no_defs')

    def test_regions_without_a_query_are_reported(self) -> None:
        both = table(12, modalities=('s1',))
        west = box(X0 - 10, Y0 - 10, X0 + 9000, Y0 + 9000)
        metres = gpd.GeoDataFrame({'name': ['a']}, geometry=[west], crs=4326)
        with pytest.raises(
            QueryError, match='are not longitudes and latitudes; declare'
        ):
            list(by_region(both, metres))
        swapped = gpd.GeoDataFrame(
            {'name': ['a']}, geometry=[box(45, 9, 46, 9.1)], crs=4326
        )
        with pytest.warns(
            UserWarning, match=r'no query lies in .* longitude 45\.0000 to'
        ):
            (name, mask), *_ = by_region(both, swapped)
        assert (name, int(mask.sum())) == ('elsewhere', 12)

    def test_distance_to_the_nearest_relevant(self) -> None:
        names = dict(by_distance(np.array([0, 5, 1000, 1001, 2e4, 3e5, np.nan])))
        assert {name: int(mask.sum()) for name, mask in names.items()} == {
            'touching': 1,
            'up to 1 km': 2,
            '1 to 10 km': 1,
            '10 to 100 km': 1,
            'over 100 km': 1,
        }
        # the next place of the same class is three places, 2,680 m, away, or below
        both = table(modalities=('s1',))
        report = make_report(both, both, relevance='exact:kind', by=['distance'])
        groups = report.directions['s1->s1']['by']['distance']
        assert {name: group['queries'] for name, group in groups.items()} == {
            'up to 1 km': 12
        }
        pairs = make_report(table(), table(), relevance='place', by=['distance'])
        assert list(pairs.directions['s1->s2']['by']['distance']) == ['touching']


class TestLeak:
    def test_planted(self) -> None:
        # query i finds items i and i + 1 first; the first two places were trained on
        vectors = np.tile(np.eye(12) + np.roll(np.eye(12), 1, axis=1) / 2, (2, 1))
        both = table(vectors=vectors)
        area = both.frame.iloc[:2]
        report = make_report(
            both, both, relevance='place', k=[1], train_area=area, directions='cross'
        )
        leak = report.directions['s1->s2']['leak']
        assert leak == {
            'metres': 0.0,
            'k': 1,
            'queries': pytest.approx(2 / 12),
            'gallery': pytest.approx(2 / 12),
            'hits': pytest.approx(2 / 12),
        }
        wide = make_report(
            both, both, relevance='place', k=[12], train_area=area, train_metres=1e6
        )
        assert wide.directions['s1->s1']['leak']['hits'] == 1
        assert 'Within 1e+06 m of training ground: 1.0000' in wide.to_markdown()
        with pytest.raises(
            QueryError, match='train_metres=50 is counted from train_ar'
        ):
            make_report(both, both, relevance='place', k=[12], train_metres=50)


class TestProtocol:
    def test_published_values(self) -> None:
        csmae = get_protocol('ben14k-csmae')
        assert (csmae.query_split, csmae.archive_split) == ('val', 'test')
        assert (csmae.similarity, csmae.k) == ('cosine', (5, 10))
        assert {'f1@k', 'f1@k_of_means'} <= {*csmae.metrics}
        precursor = PROTOCOLS['ben14k-precursor']
        assert (precursor.query_split, precursor.similarity) == ('train', 'chi_square')
        assert precursor.k == (8, 16, 32, 64, 128, 1000)
        assert get_protocol('dsrsid').query_split == 'test'
        with pytest.raises(FrozenInstanceError):
            csmae.k = (1,)  # ty: ignore[invalid-assignment]
        with pytest.raises(
            QueryError, match="no protocol 'ben': choose one of ben14k-csmae"
        ):
            get_protocol('ben')

    def test_takes_its_splits_where_they_are_known(self) -> None:
        both = table(split=['val', 'test', 'train'] * 4)
        report = make_report(
            both, both, relevance='label:kind', protocol='ben14k-csmae'
        )
        assert report.counts == {
            'queries': {'s1': 4, 's2': 4},
            'archive': {'s1': 4, 's2': 4},
        }
        assert report.notes == ()
        assert report.protocol['name'] == 'ben14k-csmae'
        assert list(report.directions['s1->s2']['scores'])[:2] == ['f1@5', 'f1@10']
        with pytest.raises(ArchiveError, match="no row of the queries has split 'val'"):
            make_report(
                table(split='test'),
                both,
                relevance='label:kind',
                protocol='ben14k-csmae',
            )

    def test_one_split_of_pairs(self) -> None:
        both = table(split=['val', 'test', 'train'] * 4)
        mixed = make_report(both, both, relevance='place', directions='cross')
        assert mixed.counts['queries'] == {'s1': 12, 's2': 12}
        assert mixed.notes == tuple(
            f'among the {name} are rows of training (val 8, test 8, train 8), and all count: '
            'split takes those of one'
            for name in ('queries', 'archive')
        )
        report = make_report(
            both, both, relevance='place', directions='cross', split='test'
        )
        alone = both.select(np.flatnonzero(both.frame['split'] == 'test'))
        expected = make_report(alone, alone, relevance='place', directions='cross')
        assert report.directions == expected.directions
        assert (report.notes, expected.notes) == ((), ())
        assert report.protocol['query_split'] == 'test'
        with pytest.raises(ArchiveError, match='no column split in the archive, so no'):
            make_report(both, table(), relevance='place', split='test')
        with pytest.raises(
            ArchiveError, match="no row of the queries has split 'tst': found val"
        ):
            make_report(both, both, relevance='place', split='tst')
        numbered = table(split=[0, 1, 2] * 4)
        again = make_report(
            numbered, numbered, relevance='place', directions='cross', split='1'
        )
        assert again.directions == expected.directions

    def test_says_what_is_not_checked_or_changed(self) -> None:
        both = table(vectors=np.random.default_rng(0).uniform(size=(24, 8)))
        report = make_report(
            both, both, relevance='label:kind', protocol='ben14k-precursor', k=[5]
        )
        assert report.notes == (
            'the settings of ben14k-precursor were changed',
            'chi-square compared unit vectors; the published one raw features',
            "the queries have no column split: that all are 'train' is not checked",
            "the archive have no column split: that all are 'test' is not checked",
        )
        assert list(report.directions) == ['s1->s1', 's2->s2']

    def test_another_distance_is_a_change(self) -> None:
        both = table()
        assert with_distance('dsrsid', None) == 'dsrsid'
        assert with_distance(None, None) is None
        assert with_distance(None, 'euclidean') == Protocol(similarity='euclidean')
        for word, notes in (
            ('euclidean', ()),
            ('cosine', ('the settings of dsrsid were changed',)),
        ):
            report = make_report(
                both,
                both,
                relevance='label:kind',
                protocol=with_distance('dsrsid', word),
            )
            assert report.protocol['name'] == 'dsrsid'
            assert report.protocol['similarity'] == word
            assert report.notes[: len(notes)] == notes
            assert len(report.notes) == 2 + len(notes)
        # labels are scored as without a distance
        own = make_report(
            both, both, relevance='label:kind', protocol=with_distance(None, 'cosine')
        )
        assert own == make_report(both, both, relevance='label:kind')
        with pytest.raises(
            QueryError, match="'l1' is not a distance: choose one of cosine"
        ):
            with_distance(None, 'l1')

    def test_refuses(self) -> None:
        both = table(6)
        with pytest.raises(QueryError, match='judges by label, not by ground'):
            make_report(both, both, relevance='place', protocol='dsrsid')
        with pytest.raises(QueryError, match='these features hold negative numbers'):
            make_report(both, both, relevance='label:kind', protocol='ben14k-precursor')


class TestReport:
    def test_says_everything(self) -> None:
        both = table()
        report = make_report(
            both, both, relevance='label:kind', bootstrap=20, block=1500, by=['season']
        )
        data = json.loads(report.to_json())
        assert data['protocol']['ties'].startswith('mean over all orders')
        assert data['protocol']['exclude_self'] == 'same_modality'
        assert data['fingerprint']['archive'] == fingerprint(both)
        assert data['seed'] == 0
        assert data['bootstrap']['draws'] == 20
        assert {'torchgeo_cmr', 'python', 'numpy'} <= {*data['versions']}
        for found in data['directions'].values():
            assert found['queries'] + found['empty'] == found['gallery'] == 12
            for score in found['scores'].values():
                assert {*score} == {'value', 'chance', 'low', 'high'}
                assert score['low'] <= score['value'] <= score['high']
        page = report.to_markdown()
        for word in ('## s1->s2', '| measure | value | chance | 95 % |', 'By season'):
            assert word in page
        assert f'| sha256 of queries | {fingerprint(both)} |' in page
        # a breakdown shows the largest k only, so that it fits a page
        (head,) = {line for line in page.splitlines() if line.startswith('| season |')}
        assert ('recall@10' in head, 'recall@5' in head) == (True, False)

    def test_fingerprint_sees_ids_and_vectors(self) -> None:
        both = table(6)
        same = fingerprint(replace(both, frame=both.frame.copy()))
        assert fingerprint(both) == same
        moved = fingerprint(both.select(np.arange(len(both))[::-1]))
        other = fingerprint(table(6, seed=1))
        assert len({same, moved, other}) == 3

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'metrics': ['recall@5']}, "'recall@5' is not a measure: choose one of"),
            ({'metrics': ['f1@k']}, 'f1@k needs labels: name their column'),
            ({'by': ['class']}, 'class needs labels: name their column'),
            ({'by': ['year']}, "'year' is not a breakdown: choose one of class"),
            ({'k': [0]}, 'give whole numbers of at least 1'),
            ({'k': []}, 'give whole numbers of at least 1'),
            ({'bootstrap': -1}, 'is a whole number of at least 0'),
            ({'exclude_self': 'me'}, "'me' is not one of same_modality, all, none"),
            ({'protocol': Protocol(similarity='l1')}, "'l1' is not one of cosine"),  # ty: ignore[invalid-argument-type]
        ],
    )
    def test_refuses(self, options: dict[str, Any], message: str) -> None:
        both = table(6)
        with pytest.raises(QueryError, match=message):
            make_report(both, both, relevance='place', **options)

    def test_shapes_must_fit(self) -> None:
        both = table(6)
        with pytest.raises(ArchiveError, match=r'relevance is \(queries, items\)'):
            make_report(both, both, relevance=np.ones((2, 2), bool))
        few = both.vectors[:2]
        with pytest.raises(ArchiveError, match='one row for each row of their table'):
            make_report(both, both, relevance='place', features=(few, few))
        with pytest.raises(ArchiveError, match=r'relevance is \(queries, items\)'):
            evaluate(both, both, relevance=np.ones((2, 2), bool))


def test_one_number_and_one_word() -> None:
    one: Any = table()
    ask: Any = make_report
    short = ask(one, one, relevance='label:kind', k=5, metrics='recall@k')
    long = make_report(one, one, relevance='label:kind', k=(5,), metrics=('recall@k',))
    assert short.to_markdown() == long.to_markdown()
    score: Any = evaluate
    with pytest.raises(
        QueryError, match="relevance is 'place'; give a rule, such as s"
    ):
        score(one, one, relevance='place')
    with pytest.raises(
        ArchiveError, match=r'a str cannot be evaluated; .*load\(FOLDER'
    ):
        score('queries', 'archive', relevance=same_place)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'k': 2.5}, r'k is \(2\.5,\): give whole numbers of at least 1'),
        ({'k': True}, r'k is \(True,\): give whole'),
        ({'k': '10'}, r"k is \('1', '0'\): give whole"),
        ({'k': (5, 0)}, r'k is \(5, 0\): give whole'),
        ({'bootstrap': 1.5}, r'number of resamples is a whole number .*found 1\.5'),
        ({'bootstrap': 9, 'seed': -1}, r'the seed is a whole number .*found -1'),
        ({'relevance': [['1'] * 2] * 2}, r'real numbers, found <U1: convert it'),
        ({'relevance': np.eye(2).astype(object)}, 'real numbers, found object'),
        ({'relevance': np.eye(2) + 0j}, 'real numbers, found complex128'),
    ],
)
def test_what_is_no_number_gets_a_sentence(
    options: dict[str, Any], message: str
) -> None:
    frame = gpd.GeoDataFrame(
        {'patch_id': ['a', 'b'], 'modality': 's2'},
        geometry=shapely.box([9, 10], 46, [9.1, 10.1], 46.1),
        crs=4326,
    )
    table = EmbeddingTable.from_frame(frame, np.eye(2), space='one')
    settings: dict[str, Any] = {'relevance': 'near', **options}
    with pytest.raises(QueryError, match=message):
        make_report(table, table, **settings)
    found = make_report(table, table, relevance='near', k=np.array([1, 2]))
    assert json.loads(found.to_json())['protocol']['k'] == [1, 2]
    if 'k' in options and not isinstance(options['k'], tuple):
        with pytest.raises(QueryError, match='give whole numbers of at least 1'):
            evaluate(table, table, relevance=same_place, **options)
