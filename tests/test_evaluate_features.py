"""Published distances on raw features: a column, zero rows, and rankings by hand."""

from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from torchgeo_cmr.errors import ArchiveError, QueryError
from torchgeo_cmr.evaluate import Protocol, feature_report, make_report, raw_features
from torchgeo_cmr.metrics.functional import (
    LabelTruth,
    chi_square,
    mean_over_queries,
    score_ranking,
)
from torchgeo_cmr.table import EmbeddingTable


def table(modality: str, kinds: list[str], **columns: Any) -> EmbeddingTable:
    number = len(kinds)
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{modality}:{i}' for i in range(number)],
            'kind': kinds,
            **columns,
        },
        geometry=[box(i, 0, i + 0.01, 0.01) for i in range(number)],
        crs=4326,
    )
    vectors = np.random.default_rng(number).normal(size=(number, 4))
    return EmbeddingTable.from_frame(frame, vectors, space='one', modality=modality)


def histograms(number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=(number, 6))


class TestRawFeatures:
    def test_lists_or_lengths(self) -> None:
        lists = table('s1', ['a'] * 3, raw=list(np.arange(6.0).reshape(3, 2)))
        assert raw_features(lists, 'raw').tolist() == [[0, 1], [2, 3], [4, 5]]
        lengths = table('s1', ['a'] * 3, raw=[2.0, 0.0, 1.0])
        expected = lengths.vectors * [[2], [0], [1]]
        np.testing.assert_allclose(raw_features(lengths, 'raw'), expected)

    @pytest.mark.parametrize(
        'values',
        [
            ['a', 'b'],
            [[1.0], [1.0, 2.0]],
            [[1.0], None],
            [1.0, np.nan],
            [[1.0, np.inf], [1.0, 2.0]],
            [[[1.0, 2.0]], [[1.0, 2.0]]],
        ],
    )
    def test_refuses_other_columns(self, values: list[Any]) -> None:
        with pytest.raises(
            ArchiveError, match="column 'raw' must hold a list of numbers"
        ):
            raw_features(table('s1', ['a', 'b'], raw=values), 'raw')
        with pytest.raises(ArchiveError, match="no column 'more' of features: found"):
            raw_features(table('s1', ['a', 'b'], raw=values), 'more')


class TestFeatureReport:
    @pytest.mark.parametrize('distance', ['chi_square', 'euclidean', 'cosine'])
    def test_loop_twin(self, distance: Any) -> None:
        q, a = histograms(9, 0), histograms(30, 1)
        kinds = [list('abc' * 3), list('abc' * 10)]
        tables = [
            table(name, kind, raw=list(raw))
            for name, kind, raw in zip(('s1', 's2'), kinds, (q, a), strict=True)
        ]
        report = feature_report(
            *tables,
            relevance='label:kind',
            column='raw',
            protocol=Protocol(similarity=distance),
            metrics=['map'],
        )
        apart = {
            'chi_square': chi_square(q, a),
            'euclidean': np.linalg.norm(q[:, None] - a, axis=2),
            'cosine': -(q @ a.T) / np.linalg.norm(a, axis=1),
        }[distance]
        values = []
        for row, order in enumerate(np.argsort(apart, axis=1).tolist()):
            ranks = [r for r, i in enumerate(order, 1) if i % 3 == row % 3]
            values.append(np.mean([n / r for n, r in enumerate(ranks, 1)]))
        found = report.directions['s1->s2']['scores']['map']['value']
        assert found == pytest.approx(mean_over_queries(values).mean)
        assert report.protocol['features'] == 'column raw'
        assert report.counts['zero features'] == {'queries': 0, 'archive': 0}

    def test_zero_features_are_counted_and_left_out(self) -> None:
        q, a = histograms(6, 0), histograms(12, 1)
        q[4] = a[0] = a[7] = 0
        kinds = [list('ab' * 3), list('ab' * 6)]
        tables = [
            table(name, kind, raw=list(raw))
            for name, kind, raw in zip(('s1', 's2'), kinds, (q, a), strict=True)
        ]
        options: dict[str, Any] = {
            'protocol': Protocol(similarity='chi_square'),
            'metrics': ['map', 'mean_rank'],
        }
        report = feature_report(
            *tables, relevance='label:kind', column='raw', **options
        )
        assert report.counts == {
            'queries': {'s1': 5},
            'archive': {'s2': 10},
            'zero features': {'queries': 1, 'archive': 2},
        }
        found = report.directions['s1->s2']
        assert (found['queries'], found['empty'], found['gallery']) == (5, 0, 10)
        some, rest = np.delete(np.arange(6), 4), np.delete(np.arange(12), [0, 7])
        scored = score_ranking(
            q[some],
            a[rest],
            LabelTruth(some % 2, rest % 2),
            names=['map', 'mean_rank'],
            similarity=lambda u, v: -chi_square(u, v),
        ).means()
        for name, mean in scored.items():
            assert found['scores'][name]['value'] == pytest.approx(mean.mean)
        # a table of relevance belongs to all rows
        same = np.array(kinds[0])[:, None] == np.array(kinds[1])
        by_table = feature_report(*tables, relevance=same, column='raw', **options)
        assert by_table.directions == report.directions
        assert 'zero features queries 1, archive 2' in report.to_markdown()

    def test_refuses(self) -> None:
        one = table('s1', ['a'] * 2, raw=list(np.ones((2, 3))))
        other = table('s2', ['a'] * 2, raw=list(np.ones((2, 4))))
        options: dict[str, Any] = {'relevance': 'label:kind', 'column': 'raw'}
        with pytest.raises(
            ArchiveError, match='have 3 numbers and those of the archive 4'
        ):
            feature_report(one, other, **options)
        none = table('s2', ['a'] * 2, raw=list(np.zeros((2, 3))))
        with pytest.raises(
            ArchiveError, match="features of the archive in column 'raw' are"
        ):
            feature_report(one, none, **options)
        signed = table('s2', ['a'] * 2, raw=list(-np.ones((2, 3))))
        with pytest.raises(QueryError, match='these features hold negative numbers'):
            feature_report(
                one, signed, protocol=Protocol(similarity='chi_square'), **options
            )
        with pytest.raises(
            ArchiveError, match='0 queries and 2 items have a feature of'
        ):
            make_report(
                one,
                none,
                relevance='label:kind',
                features=(np.ones((2, 3)), np.zeros((2, 3))),
            )
