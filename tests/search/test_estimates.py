"""What an archive takes: bytes are those of real files, times follow from stated rates."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import QueryError
from torchgeo_cmr.search import RetrievalIndex, capacity
from torchgeo_cmr.table import EmbeddingTable


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob('*') if file.is_file())


@pytest.mark.slow
@pytest.mark.parametrize('dim', [32, 256])
def test_bytes_are_those_of_files(tmp_path: Path, dim: int) -> None:
    n = 20_000
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 9, n)
    frame = gpd.GeoDataFrame(
        {'patch_id': [f's2:scene.tif:{i:06d}' for i in range(n)], 'modality': 's2'},
        geometry=shapely.box(x, 40, x + 0.01, 40.01),
        crs=4326,
    )
    table = EmbeddingTable.from_frame(frame, rng.normal(size=(n, dim)), space='w')
    ways = {way.name: way for way in capacity(n, dim, memory=1e9, read=1e10)}
    folder = table.save(tmp_path / 'archive')
    expected = ways['archive folder, loaded whole'].disk
    assert size(folder) == pytest.approx(expected, rel=0.2)
    RetrievalIndex.build(folder, tmp_path / 'index')
    expected = ways['index folder, float32 with codes'].disk
    assert size(tmp_path / 'index') == pytest.approx(expected, rel=0.2)
    RetrievalIndex.build(folder, tmp_path / 'plain', codes=False)
    expected = ways['index folder, float32 without codes'].disk
    assert size(tmp_path / 'plain') == pytest.approx(expected, rel=0.2)


@pytest.mark.slow
def test_all_grows_with_patches_and_memory_decides_what_fits() -> None:
    small, large = (capacity(n, 256, memory=2e9, read=1e10) for n in (10**6, 10**8))
    for one, other in zip(small, large, strict=True):
        assert other.disk == pytest.approx(100 * one.disk)
        assert other.seconds == pytest.approx(100 * one.seconds)
        assert other.setup == pytest.approx(100 * one.setup)
        assert other.filtered < other.seconds
    assert all(way.fits for way in small)
    # 10^8 patches: only bits of them are left in two gigabytes.
    assert [way.name for way in large if way.fits] == []
    fits = [way.name for way in capacity(10**8, 256, memory=4e9) if way.fits]
    assert fits == ['index folder, binary (not exact)']


def test_postgresql_is_left_out_where_it_keeps_no_such_vectors() -> None:
    for dim, there in ((16_000, True), (16_001, False)):
        names = [way.name for way in capacity(10, dim, memory=1e9, read=1e10)]
        assert ('PostgreSQL' in names) is there


def test_this_machine_is_measured_if_nothing_is_said() -> None:
    ways = capacity(10**6, 256)
    assert all(0 < way.seconds < 60 for way in ways)
    assert any(way.fits for way in ways)


@pytest.mark.parametrize(('patches', 'dim'), [(0, 8), (5, 0), (-1, 8)])
def test_none_is_refused(patches: int, dim: int) -> None:
    with pytest.raises(QueryError, match='at least one of each'):
        capacity(patches, dim)
