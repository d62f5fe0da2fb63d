"""The record of a search: what it says of archives, filters, options and rows."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr import __version__
from torchgeo_cmr.search import Where

Build = Callable[..., dict[str, Any]]


def test_what_it_says(record_of: Build, hits: gpd.GeoDataFrame) -> None:
    where = Where(
        shapely.box(8, 45, 10, 46),
        'EPSG:4326',
        during=('2024-06-01', datetime(2024, 7, 1)),
        where='valid_fraction > 0.5 or valid_fraction is None',
        undated=True,
    )
    record = record_of(where=where)
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
    assert record_of()['filters'] == {}


@pytest.mark.parametrize(
    ('area', 'told'),
    [
        ((8, 45, 10, 46), [8, 45, 10, 46]),
        (gpd.GeoSeries([shapely.box(8, 45, 10, 46)], crs=4326), '1 features'),
        (np.array([8.0, 45.0, 10.0, 46.0]).tolist(), [8, 45, 10, 46]),
    ],
)
def test_areas_are_plain_values(record_of: Build, area: Any, told: Any) -> None:
    assert record_of(where=Where(area))['filters']['geometry'] == told
