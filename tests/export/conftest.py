"""A small archive, a search in it, and scenes to take pictures from."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from torchgeo_cmr.export import make_record
from torchgeo_cmr.search import RetrievalIndex, Where
from torchgeo_cmr.search.results import make_result
from torchgeo_cmr.table import EmbeddingTable

type Make = Callable[..., EmbeddingTable]
type Build = Callable[..., gpd.GeoDataFrame]
type Qgis = Callable[..., dict[str, Any]]


@pytest.fixture(scope='session')
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


@pytest.fixture(scope='session')
def _found(make: Make) -> gpd.GeoDataFrame:
    return RetrievalIndex(make('s2')).search(make('s1', 2), 3)


@pytest.fixture
def hits(_found: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Three hits for each of two s1 queries."""
    return _found.copy()


@pytest.fixture
def record_of(make: Make) -> Callable[..., dict[str, Any]]:
    """Make the record of a search in n patches."""

    def build(
        *,
        n: int = 6,
        k: int = 3,
        where: Where | None = None,
        results: gpd.GeoDataFrame | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        archive, queries = make('s2', n), make('s1', 2)
        if results is None:
            results = RetrievalIndex(archive).search(queries, k, where=where)
        return make_record(
            results,
            archives={'archive': archive},
            queries=queries,
            where=where,
            k=k,
            **more,
        )

    return build


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


@pytest.fixture
def result() -> Build:
    """Build the result of one query from boxes in any CRS, best first."""

    def build(
        boxes: Sequence[Sequence[float]],
        crs: int = 32632,
        scores: Sequence[float] | None = None,
        **columns: object,
    ) -> gpd.GeoDataFrame:
        corners = [
            np.array([w, n, e, n, e, s, w, s], dtype=np.float64) for w, s, e, n in boxes
        ]
        frame = gpd.GeoDataFrame(
            {
                'patch_id': [f's2:a.tif:{i}_0_32x32' for i in range(len(boxes))],
                'source': 'a.tif',
                'time_start': pd.Timestamp('2024-06-01T10:30Z'),
                'time_end': pd.Timestamp('2024-06-01T10:31Z'),
                'src_crs': f'EPSG:{crs}',
                'native_corners': corners,
                **columns,
            },
            geometry=[shapely.box(*b) for b in boxes],
            crs=crs,
        )
        table = EmbeddingTable.from_frame(
            frame, np.ones((len(boxes), 2)), space='abc', modality='s2'
        )
        falling = np.linspace(0.9, 0.1, len(boxes)) if scores is None else scores
        ranks = np.arange(1, len(boxes) + 1, dtype=np.int32)
        return make_result(table.frame, ['q'] * len(boxes), ranks, np.array(falling))

    return build


@pytest.fixture(scope='session')
def qgis(qgis_python: str, tmp_path_factory: pytest.TempPathFactory) -> Qgis:
    """Run a job of ``qgis_render.py`` in the Python of QGIS; skip where there is none."""
    # QGIS leaves temporary folders behind.
    env = {**os.environ, 'TMPDIR': str(tmp_path_factory.mktemp('qgis'))}

    def run(path: Path, **job: object) -> dict[str, Any]:
        script = Path(__file__).with_name('qgis_render.py')
        done = subprocess.run(
            [
                qgis_python,
                str(script),
                json.dumps({'path': str(path), **job}, default=str),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=env,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
