"""Footprints that are flush with an area lie within it."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely import box

from torchgeo_cmr.search import Where
from torchgeo_cmr.table import EmbeddingTable


def grid(
    crs: str, x: float, y: float, side: float, n: int
) -> tuple[EmbeddingTable, shapely.Geometry]:
    """Fill a square with n x n patches."""
    i, j = (a.ravel() for a in np.meshgrid(range(n), range(n)))
    west, south = x + i * side, y + j * side
    frame = gpd.GeoDataFrame(
        {'patch_id': [f'p{k:04d}' for k in range(n * n)]},
        geometry=shapely.box(west, south, west + side, south + side),
        crs=crs,
    )
    table = EmbeddingTable.from_frame(frame, np.ones((n * n, 1)))
    return table, box(x, y, x + n * side, y + n * side)


@pytest.mark.parametrize(
    ('crs', 'x', 'y', 'side', 'n'),
    [
        ('EPSG:32632', 3e5, 5e6, 320, 20),
        ('EPSG:32632', 6.2e5, 5e6, 320, 20),
        ('EPSG:32632', 3e5, 8.4e6, 10_240, 6),
        ('EPSG:32633', 4e5, 6.6e6, 109_800, 2),
        ('EPSG:32601', 3e5, 7e6, 2_560, 8),
        ('EPSG:3413', -8e4, -8e4, 2e4, 8),
        ('EPSG:3035', 4.3e6, 3e6, 2_560, 8),
        ('EPSG:2263', 9.8e5, 1.9e5, 1_000, 6),
        ('EPSG:4326', 9.0, 45.0, 0.01, 20),
        ('EPSG:4258', 9.0, 45.0, 0.01, 20),
        ('EPSG:4326', 179.9, -17.0, 0.01, 20),
    ],
)
def test_all_of_a_grid(crs: str, x: float, y: float, side: float, n: int) -> None:
    table, square = grid(crs, x, y, side, n)
    assert len(Where(square, crs, predicate='within').rows(table)) == n * n
    assert len(Where(square, crs, min_overlap=1).rows(table)) == n * n
    # Half of the first column, and no more than half.
    half = box(x - side, y, x + side / 2, y + n * side)
    assert len(Where(half, crs, min_overlap=0.5).rows(table)) == n
    assert len(Where(half, crs, min_overlap=0.51).rows(table)) == 0
    one = box(x + side, y + side, x + 2 * side, y + 2 * side)
    rows = Where(one, crs, predicate='contains').rows(table)
    assert rows.tolist() == [n + 1]


@pytest.mark.parametrize('crs', ['EPSG:32632', 'EPSG:3035'])
@pytest.mark.parametrize(('less', 'flush'), [(0.004, 16), (0.1, 4)])
def test_millimetres_are_flush_and_a_hand_is_not(
    crs: str, less: float, flush: int
) -> None:
    """Older versions of PROJ are off by a part of a millimetre on the way back."""
    x, y = {'EPSG:32632': (3e5, 5e6), 'EPSG:3035': (4.3e6, 3e6)}[crs]
    table, square = grid(crs, x, y, 320, 4)
    short = shapely.buffer(square, -less, join_style='mitre')
    assert len(Where(short, crs, predicate='within').rows(table)) == flush
    assert len(Where(short, crs, min_overlap=1).rows(table)) == flush
