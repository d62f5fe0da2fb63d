"""Patches on native grids of two UTM zones, with vectors whose order is known."""

from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal

from torchgeo_cmr.table import EmbeddingTable


@pytest.fixture
def frame() -> gpd.GeoDataFrame:
    """Twelve patches of 320 m in EPSG:32632, with one column of each kind."""
    n = 12
    boxes = [
        shapely.box(
            6e5 + 320 * (i % 4),
            5e6 + 320 * (i // 4),
            6e5 + 320 * (i % 4 + 1),
            5e6 + 320 * (i // 4 + 1),
        )
        for i in range(n)
    ]
    corners = [
        np.array(
            [
                b.bounds[0],
                b.bounds[3],
                b.bounds[2],
                b.bounds[3],
                b.bounds[2],
                b.bounds[1],
                b.bounds[0],
                b.bounds[1],
            ]
        )
        for b in boxes
    ]
    return gpd.GeoDataFrame(
        {
            'patch_id': [
                f's2:scene.tif:{i // 4 * 32}_{i % 4 * 32}_32x32' for i in range(n)
            ],
            'source': 'scene.tif',
            'time_start': pd.to_datetime(
                ['2024-06-01T10:30:00.123456Z'] * 6 + [None] * 6
            ),
            'src_crs': 'EPSG:32632',
            'native_corners': [*corners[:8], None, None, None, None],
            'cloud': np.linspace(0, 100, n),
            'word': ['a', None] * 6,
            'count': pd.array([1, None] * 6, dtype='Int64'),
            'flag': [True, False] * 6,
            'class': pd.Categorical(['field', 'water', 'field'] * 4),
            'labels': [['x'], ['y', 'z']] * 6,
            'small': np.arange(n, dtype=np.int16),
        },
        geometry=boxes,
        crs='EPSG:32632',
        index=range(100, 100 + n),
    )


@pytest.fixture
def vectors() -> np.ndarray:
    """Twelve float64 vectors of length 5, not of unit norm."""
    return np.random.default_rng(0).normal(size=(12, 5)) * 7


@pytest.fixture
def assert_same() -> Callable[[EmbeddingTable, EmbeddingTable], None]:
    """Compare two tables, bit for bit."""

    def compare(a: EmbeddingTable, b: EmbeddingTable) -> None:
        pd.testing.assert_frame_equal(pd.DataFrame(a.frame), pd.DataFrame(b.frame))
        assert_geodataframe_equal(a.frame, b.frame)
        assert a.frame.index.equals(b.frame.index)
        assert (
            shapely.to_wkb(a.frame.geometry.to_numpy())
            == shapely.to_wkb(b.frame.geometry.to_numpy())
        ).all()
        assert a.vectors.dtype == b.vectors.dtype == np.float32
        assert a.vectors.tobytes() == b.vectors.tobytes()
        assert (a.metric, a.record) == (b.metric, b.record)

    return compare
