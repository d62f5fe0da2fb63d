"""Small tables by name, whose parts tell them apart."""

from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.table import EmbeddingTable


@pytest.fixture
def make() -> Callable[..., EmbeddingTable]:
    """Make a table whose ids, source and vectors are those of a name."""

    def make(
        name: str, n: int = 3, *, space: str = 'abc', dim: int = 4
    ) -> EmbeddingTable:
        frame = gpd.GeoDataFrame(
            {'patch_id': [f'{name}:{i}' for i in range(n)], 'source': name},
            geometry=[shapely.box(i, 0, i + 1, 1) for i in range(n)],
            crs=4326,
        )
        record = {'model': 'm', 'sources': {name: [[f'{name}.tif', 1, 'B02', 10.0]]}}
        return EmbeddingTable.from_frame(
            frame,
            np.random.default_rng(len(name)).normal(size=(n, dim)),
            space=space,
            record=record,
        )

    return make
