"""One object for a plain and for a re-ranked search: the same rows as each, and its rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import HubFree, Ranking, RetrievalIndex, Where, rerank

type Make = Callable[..., Any]


def test_it_finds_what_the_search_finds(make: Make) -> None:
    index, queries = RetrievalIndex(make(60)), make(60).select([3, 9])
    where = Where(during=(None, '2024-06-01'))
    every: list[dict[str, Any]] = [
        {'k': 4},
        {'k': 4, 'calibrated': True},
        {'k': 4, 'exclude': None},
    ]
    for options in every:
        found = Ranking(**options).find(index, queries, where)
        assert_geodataframe_equal(found, index.search(queries, where=where, **options))
    found = Ranking(k=0, min_score=0.1).find(index, queries)
    assert_geodataframe_equal(found, index.search(queries, None, min_score=0.1))


def test_it_finds_what_rerank_finds(make: Make, tmp_path: Path) -> None:
    index, queries = RetrievalIndex(make(60)), make(60).select([3, 9])
    found = Ranking(k=4, spacing=15_000, min_score=-1).find(index, queries)
    expected = rerank(index, queries, 4, spacing=15_000, min_score=-1)
    assert_geodataframe_equal(found, expected)
    reference = make(30)
    expected = rerank(HubFree(index, reference, method='softmax'), queries, 4)
    reference.save(tmp_path / 'archive')
    for hubs in (reference, RetrievalIndex(reference), tmp_path / 'archive'):
        found = Ranking(k=4, hubs=hubs, hubs_method='softmax').find(index, queries)
        assert_geodataframe_equal(found, expected)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'k': 0}, 'k is 0: give at least 1 hit per query'),
        ({'k': -2, 'min_score': 0.5}, 'k is -2'),
        ({'hubs_method': 'softmax'}, 'hubs_method softmax needs hubs'),
        (
            {'approximate': True, 'distinct': 0.9},
            'approximate does not go with distinct',
        ),
        ({'calibrated': True, 'hubs': 'a'}, 'calibrated does not go with hubs'),
        (
            {'k': 0, 'min_score': 0.5, 'spacing': 5},
            'k 0 finds all by their bare scores',
        ),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Ranking(**options)
