"""An archive without places: searched by content, refused by area."""

from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, Where, at
from torchgeo_cmr.table import EmbeddingTable

WORLD = (-180.0, -90.0, 180.0, 90.0)


@pytest.fixture
def spoken() -> EmbeddingTable:
    frame = gpd.GeoDataFrame(
        {'patch_id': [f's:{i}' for i in range(20)], 'label': ['a', 'b'] * 10},
        geometry=[None] * 20,
        crs=4326,
    )
    vectors = np.random.default_rng(9).normal(size=(20, 16))
    return EmbeddingTable.from_frame(
        frame, vectors, space='abc', modality='speech', placeless=True
    )


def test_ranked_by_content(spoken: EmbeddingTable) -> None:
    found = RetrievalIndex(spoken).search(spoken.select([3]), k=4, exclude=None)
    scores = spoken.vectors @ spoken.vectors[3]
    assert found['patch_id'].tolist() == [f's:{i}' for i in np.argsort(-scores)[:4]]
    assert found.geometry.isna().all()
    assert found.crs.to_epsg() == 4326
    found = RetrievalIndex(spoken).search(
        spoken.select([3]), k=20, where=Where(where='label == "a"'), exclude=None
    )
    assert len(found) == 10


def test_no_area_no_position(spoken: EmbeddingTable) -> None:
    message = 'none of the 20 rows of the archive has a place, so it cannot be searched'
    where = Where(WORLD)
    for ask in (
        lambda: where.check(spoken),
        lambda: where.rows(spoken),
        lambda: RetrievalIndex(spoken).search(spoken.select([0]), where=where),
        lambda: at(spoken, 10, 45),
    ):
        with pytest.raises(QueryError, match=message):
            ask()


def test_a_mixed_archive_finds_by_area_what_has_a_place(
    spoken: EmbeddingTable, make: Callable[..., EmbeddingTable]
) -> None:
    placed = make(50)
    both = EmbeddingTable.concat([spoken, placed])
    assert Where(WORLD).rows(both).tolist() == list(range(20, 70))
    area = box(9.5, 44.5, 10.5, 45.5)
    wanted = Where(area, 'EPSG:4326').rows(placed) + 20
    assert Where(area, 'EPSG:4326').rows(both).tolist() == wanted.tolist()
    for predicate in ('within', 'contains', 'centroid'):
        rows = Where(area, 'EPSG:4326', predicate=predicate).rows(both)
        assert not set(rows.tolist()) & set(range(20))
    with pytest.raises(QueryError, match=r'lies within longitude 9\.'):
        Where((100, 0, 101, 1)).check(both)
    with pytest.raises(QueryError, match=r'no patch covers 100,1: .*longitude 9\.'):
        at(both, 100, 1)
