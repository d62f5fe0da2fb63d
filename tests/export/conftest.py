"""A small archive, a search in it, and scenes to take pictures from."""

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.search import RetrievalIndex
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., EmbeddingTable]


@pytest.fixture
def make() -> Make:
    """Make a table of patches of 320 m in EPSG:32632."""

    def build(modality: str, n: int = 6, **columns: object) -> EmbeddingTable:
        boxes = [
            shapely.box(5e5 + 320 * i, 5e6 - 320, 5e5 + 320 * (i + 1), 5e6)
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
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [
                    f'{modality}:{modality}.tif:0_{32 * i}_32x32' for i in range(n)
                ],
                'source': f'{modality}.tif',
                'time_start': pd.Timestamp('2024-06-01T10:30Z'),
                'time_end': pd.Timestamp('2024-06-01T10:30:00.5Z'),
                'src_crs': 'EPSG:32632',
                'native_corners': corners,
                **columns,
            },
            geometry=boxes,
            crs=32632,
        )
        vectors = np.random.default_rng(len(modality)).normal(size=(n, 4))
        gsd = 10.0
        names = ('VV', 'VH') if modality == 's1' else ('B02', 'B03', 'B04')
        record = {
            'sources': {
                f'{modality}.tif': [
                    [f'{modality}.tif', i + 1, name, gsd]
                    for i, name in enumerate(names)
                ]
            }
        }
        return EmbeddingTable.from_frame(
            frame, vectors, space='abc', modality=modality, record=record
        )

    return build


@pytest.fixture
def hits(make: Make) -> gpd.GeoDataFrame:
    """Three hits for each of two s1 queries."""
    return RetrievalIndex(make('s2')).search(make('s1', 2), 3)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Write s1.tif (VV, VH in dB) and s2.tif (B02, B03, B04): pixel value = column, plus 1000 a band."""
    import rasterio
    from affine import Affine

    column = np.broadcast_to(np.arange(192, dtype=np.float32), (64, 192))
    for name, bands, dtype in (('s1', 2, 'float32'), ('s2', 3, 'uint16')):
        pixels = np.stack([column + 1000 * b for b in range(bands)]).astype(dtype)
        with rasterio.open(
            tmp_path / f'{name}.tif',
            'w',
            driver='GTiff',
            width=192,
            height=64,
            count=bands,
            dtype=dtype,
            crs='EPSG:32632',
            transform=Affine(10, 0, 5e5, 0, -10, 5e6),
        ) as file:
            file.write(pixels)
    return tmp_path
