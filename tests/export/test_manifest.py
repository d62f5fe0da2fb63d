"""The record of a search, its manifest, and what a comparison of two of them says."""

import copy
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr import __version__
from torchgeo_cmr.errors import OutputExistsError, QueryError
from torchgeo_cmr.export import (
    compare_records,
    make_record,
    read_manifest,
    write_manifest,
)
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.table import EmbeddingTable

Make = Callable[..., EmbeddingTable]


def record_of(
    make: Make,
    *,
    n: int = 6,
    k: int = 3,
    where: Where | None = None,
    results: gpd.GeoDataFrame | None = None,
) -> dict[str, Any]:
    archive, queries = make('s2', n), make('s1', 2)
    if results is None:
        results = RetrievalIndex(archive).search(queries, k, where=where)
    return make_record(
        results, archives={'archive': archive}, queries=queries, where=where, k=k
    )


def test_what_it_says(make: Make, hits: gpd.GeoDataFrame) -> None:
    where = Where(
        shapely.box(8, 45, 10, 46),
        'EPSG:4326',
        during=('2024-06-01', datetime(2024, 7, 1)),
        where='valid_fraction > 0.5 or valid_fraction is None',
        undated=True,
    )
    record = record_of(make, where=where)
    assert record['filters'].pop('area') == shapely.box(8, 45, 10, 46).wkt
    assert record['filters'] == {
        'geometry': shapely.box(8, 45, 10, 46).wkt,
        'crs': 'EPSG:4326',
        'during': ['2024-06-01', '2024-07-01T00:00:00'],
        'where': 'valid_fraction > 0.5 or valid_fraction is None',
        'undated': True,
    }
    assert record['space'] == 'abc'
    assert record['seed'] is None
    assert record['versions']['torchgeo_cmr'] == __version__
    assert record['archives'][0]['rows'] == 6
    assert record['rows']['count'] == len(record['rows']['first']) == len(hits)
    assert (
        record['rows']['first'][0][:3]
        == hits.iloc[0][['query_id', 'rank', 'patch_id']].tolist()
    )
    assert set(record['scenes']) == {'s1', 's2'}
    assert json.loads(json.dumps(record)) == record
    assert record_of(make)['filters'] == {}


@pytest.mark.parametrize(
    ('area', 'told'),
    [
        ((8, 45, 10, 46), [8, 45, 10, 46]),
        (gpd.GeoSeries([shapely.box(8, 45, 10, 46)], crs=4326), '1 features'),
        (np.array([8.0, 45.0, 10.0, 46.0]).tolist(), [8, 45, 10, 46]),
    ],
)
def test_areas_are_plain_values(make: Make, area: Any, told: Any) -> None:
    assert record_of(make, where=Where(area))['filters']['geometry'] == told


def test_manifest_read_back(make: Make, tmp_path: Path) -> None:
    record = record_of(make)
    path = write_manifest(record, tmp_path / 'hits.json')
    read = read_manifest(path)
    assert read == {name: value for name, value in record.items() if name != 'scenes'}
    assert compare_records(record, read) == (True, [])
    with pytest.raises(OutputExistsError, match='is there already'):
        write_manifest(record, path)
    with pytest.raises(QueryError, match='cannot be written as JSON'):
        write_manifest({'x': object()}, tmp_path / 'x.json')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'cannot be read as a manifest'),
        ('{', 'cannot be read as a manifest'),
        ('[]', 'is no manifest of a search; name the .json'),
        ('{"format": "other"}', 'is no manifest of a search'),
        (
            '{"format": "torchgeo_cmr.search", "version": 2}',
            'has version 2 but this torchgeo_cmr reads up to 1; install a newer',
        ),
    ],
)
def test_no_manifest(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / 'a.json'
    if text is not None:
        path.write_text(text)
    with pytest.raises(QueryError, match=message):
        read_manifest(path)


class TestCompare:
    def test_same(self, make: Make) -> None:
        assert compare_records(record_of(make), record_of(make)) == (True, [])

    def test_archive_grew(self, make: Make) -> None:
        same, told = compare_records(record_of(make), record_of(make, n=7))
        assert not same
        assert told[0].startswith('archive archive: 6 rows, ')
        assert ' -> 7 rows, ' in told[0]
        assert told[-1].startswith('rows: 6 -> 6; row ')

    def test_archive_grew_where_nobody_looked(self, make: Make) -> None:
        west = Where((8.9, 45, 9.013, 46), predicate='within')
        one, other = record_of(make, where=west), record_of(make, n=7, where=west)
        same, told = compare_records(one, other)
        assert same
        assert len(told) == 1

    def test_another_archive(self, make: Make) -> None:
        one, other = record_of(make), record_of(make)
        other['archives'][0]['name'] = 'elsewhere'
        assert compare_records(one, other) == (
            True,
            [
                'archive archive: is not searched now',
                'archive elsewhere: was not searched before',
            ],
        )

    def test_weights_filters_versions(self, make: Make) -> None:
        one = record_of(make)
        other = copy.deepcopy(one)
        other['space'], other['k'] = 'xyz', 4
        other['filters'] = {'undated': True}
        other['versions']['numpy'] = '9.9'
        other['query']['sha256'] = '0' * 64
        same, told = compare_records(one, other)
        assert same
        assert told == [
            'weights: abc -> xyz',
            f'queries: 2 rows, {one["query"]["sha256"][:12]} -> 2 rows, 000000000000',
            "filters: {} -> {'undated': True}",
            'k: 3 -> 4',
            f'version of numpy: {np.__version__} -> 9.9',
        ]

    def test_the_first_row_that_differs(
        self, make: Make, hits: gpd.GeoDataFrame
    ) -> None:
        other = hits.copy()
        other.loc[4, 'score'] = np.nextafter(
            np.float32(other.loc[4, 'score']), np.float32(1)
        )
        same, told = compare_records(record_of(make), record_of(make, results=other))
        assert not same
        row = hits.iloc[4]
        start = f'rows: 6 -> 6; row 5 was {row["patch_id"]} at rank {row["rank"]} of'
        assert told[0].startswith(start)
        assert told[1].startswith(
            'vectors, queries and filters are the same: footprints'
        )

    def test_fewer_rows(self, make: Make, hits: gpd.GeoDataFrame) -> None:
        same, told = compare_records(
            record_of(make), record_of(make, results=hits.head(4))
        )
        assert not same
        assert told[0] == 'rows: 6 -> 4; the first 4 are the same'

    def test_a_score_that_prints_alike(
        self, make: Make, hits: gpd.GeoDataFrame
    ) -> None:
        """Double precision below that of the ranking does not count."""
        other = hits.copy()
        other['score'] += 1e-12
        assert compare_records(record_of(make), record_of(make, results=other))[0]
