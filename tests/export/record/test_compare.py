"""What a comparison of two records says."""

import copy
from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np

from torchgeo_cmr.export import compare_records
from torchgeo_cmr.search import Where

Build = Callable[..., dict[str, Any]]


def test_same(record_of: Build) -> None:
    assert compare_records(record_of(), record_of()) == (True, [])


def test_archive_grew(record_of: Build) -> None:
    same, told = compare_records(record_of(), record_of(n=7))
    assert not same
    assert told[0].startswith('archive archive: 6 rows, ')
    assert ' -> 7 rows, ' in told[0]
    assert told[-1].startswith('rows: 6 -> 6; row ')


def test_archive_grew_where_nobody_looked(record_of: Build) -> None:
    west = Where((8.9, 45, 9.013, 46), predicate='within')
    one, other = record_of(where=west), record_of(n=7, where=west)
    same, told = compare_records(one, other)
    assert same
    assert len(told) == 1


def test_another_archive(record_of: Build) -> None:
    one, other = record_of(), record_of()
    other['archives'][0]['name'] = 'elsewhere'
    assert compare_records(one, other) == (
        True,
        [
            'archive archive: is not searched now',
            'archive elsewhere: was not searched before',
        ],
    )


def test_weights_filters_versions(record_of: Build) -> None:
    one = record_of()
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


def test_the_first_row_that_differs(record_of: Build, hits: gpd.GeoDataFrame) -> None:
    other = hits.copy()
    other.loc[4, 'score'] = np.nextafter(
        np.float32(other.loc[4, 'score']), np.float32(1)
    )
    same, told = compare_records(record_of(), record_of(results=other))
    assert not same
    row = hits.iloc[4]
    start = f'rows: 6 -> 6; row 5 was {row["patch_id"]} at rank {row["rank"]} of'
    assert told[0].startswith(start)
    assert told[1].startswith('vectors, queries and filters are the same: footprints')


def test_fewer_rows(record_of: Build, hits: gpd.GeoDataFrame) -> None:
    same, told = compare_records(record_of(), record_of(results=hits.head(4)))
    assert not same
    assert told[0] == 'rows: 6 -> 4; the first 4 are the same'


def test_a_score_that_prints_alike(record_of: Build, hits: gpd.GeoDataFrame) -> None:
    """Double precision below that of the ranking does not count."""
    other = hits.copy()
    other['score'] += 1e-12
    assert compare_records(record_of(), record_of(results=other))[0]
