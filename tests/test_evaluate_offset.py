"""Time between what asks and what answers: rules that limit it, reports by it."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.evaluate import Rule, days_between, make_report, within_days
from torchgeo_cmr.table import EmbeddingTable


def make(days: list[float | None], modality: str, hours: float = 0) -> EmbeddingTable:
    """One place a row, side by side; taken so many days after New Year, for some hours."""
    start = [
        pd.NaT
        if d is None
        else pd.Timestamp('2024-01-01', tz='UTC') + pd.Timedelta(days=d)
        for d in days
    ]
    frame = gpd.GeoDataFrame(
        {
            'patch_id': [f'{modality}:{i}' for i in range(len(days))],
            'time_start': pd.Series(start, dtype='datetime64[us, UTC]'),
            'time_end': pd.Series(start, dtype='datetime64[us, UTC]')
            + pd.Timedelta(hours=hours),
        },
        geometry=[shapely.box(i, 0, i + 0.01, 0.01) for i in range(len(days))],
        crs=4326,
    )
    return EmbeddingTable.from_frame(frame, np.eye(len(days)), modality=modality)


def test_days_are_between_the_ends() -> None:
    queries, archive = make([0, 10, None], 's1', hours=12), make([3, 10.25, None], 's2')
    expected = [[2.5, 9.75, np.nan], [7, 0, np.nan], [np.nan] * 3]
    np.testing.assert_allclose(days_between(queries, archive), expected)
    assert within_days(queries, archive, 2.5).tolist() == [
        [True, False, False],
        [False, True, False],
        [False, False, False],
    ]
    with pytest.raises(QueryError, match=r'days must be 0 or more \(found -1\)'):
        within_days(queries, archive, -1)


def test_a_rule_may_limit_the_days() -> None:
    rule = Rule.parse('place+days:5')
    assert rule == Rule('place', 0.5, days=5)
    assert str(rule).endswith('IoU of at least 0.5, taken at most 5 days apart')
    queries, archive = make([0, 0, 0], 's1'), make([0, 5, 6], 's2')
    assert rule(queries, archive).tolist() == np.diag([True, True, False]).tolist()
    assert Rule.parse('place>=0.3+days:.5').value == 0.3
    assert Rule.parse('near:2+days:1').value == 2
    assert Rule.parse('distance:100+days:1').days == 1
    with pytest.raises(QueryError, match='is not a rule of relevance'):
        Rule.parse('place+days:')
    # A column may be called anything.
    assert Rule.parse('label:a+days:3') == Rule('any', column='a+days:3')


def test_a_report_by_days() -> None:
    queries = make([0, 0, 0, 0, None], 's1')
    archive = make([0, 0.5, 4, 400, 1], 's2')
    report = make_report(queries, archive, relevance='place', k=[1], by=['days'])
    groups = report.directions['s1->s2']['by']['days']
    assert {name: group['queries'] for name, group in groups.items()} == {
        'at the same time': 1,
        'up to 1 day': 1,
        '1 to 5 days': 1,
        'over 365 days': 1,
        'undated': 1,
    }
    limited = make_report(queries, archive, relevance='place+days:5', k=[1])
    assert limited.directions['s1->s2']['queries'] == 3
    assert limited.directions['s1->s2']['empty'] == 2
