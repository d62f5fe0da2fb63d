"""A made archive: places, times and attributes that a loop can check."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., EmbeddingTable]


@pytest.fixture(scope='session')
def make() -> Make:
    """Make a table of n random patches round 10 E, 45 N."""

    def build(n: int, dim: int, seed: int, **columns: object) -> EmbeddingTable:
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(9, 11, n), rng.uniform(44, 46, n)
        start = pd.Timestamp('2024-01-01', tz='UTC') + pd.to_timedelta(
            rng.integers(0, 360, n), unit='D'
        )
        start = start.to_series(index=range(n))
        start[rng.random(n) < 0.1] = pd.NaT
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [f'p{i:04d}' for i in rng.permutation(n)],
                'source': rng.choice(['x', 'y', 'z'], n),
                'time_start': start,
                'time_end': start + pd.Timedelta(hours=1),
                'cloud': np.where(rng.random(n) < 0.2, np.nan, rng.uniform(0, 100, n)),
                **columns,
            },
            geometry=shapely.box(x, y, x + 0.05, y + 0.05),
            crs=4326,
        )
        return EmbeddingTable.from_frame(
            frame, rng.normal(size=(n, dim)), space='abc', modality='s2'
        )

    # Most tests ask for the same few tables: each is made once.
    plain = cache(build)

    def copied(
        n: int = 300, dim: int = 16, *, seed: int = 0, **columns: object
    ) -> EmbeddingTable:
        if columns:
            return build(n, dim, seed, **columns)
        made = plain(n, dim, seed)
        return replace(made, frame=made.frame.copy(), record={**made.record})

    return copied
