"""Patches from means of pixels, against a loop over windows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely

from torchgeo_cmr.errors import OutputExistsError, RasterError
from torchgeo_cmr.table import EmbeddingTable, VectorRaster, from_pixels
from torchgeo_cmr.table.others import pixel_means
from torchgeo_cmr.table.others.vector_raster import Place

type Writer = Callable[..., Path]


@pytest.fixture
def path(write_raster: Writer) -> Path:
    data = np.random.default_rng(0).normal(size=(5, 33, 47))
    data[:, 8:16, 8:16] = np.nan
    data[:, 20, 20:30] = np.nan
    return write_raster('t.tif', data=data, bands=[*'abcde'])


@pytest.mark.parametrize('small', [False, True], ids=['whole', 'little memory'])
@pytest.mark.parametrize(
    ('size', 'stride', 'min_valid'),
    [
        (8, None, 0.5),
        (8, 4, 0.0),
        (5, 9, 1.0),
        pytest.param(1, None, 1.0, marks=pytest.mark.slow),
    ],
)
def test_equal_to_a_loop(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    stride: int | None,
    min_valid: float,
    small: bool,
) -> None:
    if small:
        monkeypatch.setattr(pixel_means, '_BLOCK', 4 * 5 * size * 3 * size)
        monkeypatch.setattr(pixel_means, '_PART', 7)
    with VectorRaster(path, time=2024) as raster:
        vectors = raster.read(Place(0, 0, *raster.shape)).astype(np.float64)
        table = from_pixels(
            raster, size, stride, modality='t', space='x', min_valid=min_valid
        )
    assert table is not None
    expected = {}
    step = stride or size
    for row in range(0, 33 - size + 1, step):
        for column in range(0, 47 - size + 1, step):
            window = vectors[row : row + size, column : column + size].reshape(-1, 5)
            good = window[np.isfinite(window[:, 0])]
            if len(good) and len(good) / size**2 >= min_valid:
                mean = good.mean(axis=0)
                name = f't:t.tif:{row}_{column}_{size}x{size}'
                expected[name] = mean / np.linalg.norm(mean), len(good) / size**2
    assert sorted(table.frame['patch_id']) == sorted(expected)
    for i, name in enumerate(table.frame['patch_id']):
        vector, share = expected[name]
        np.testing.assert_allclose(table.vectors[i], vector, atol=1e-5)
        assert table.frame['valid_fraction'][i] == share


def test_footprints_lie_on_the_grid(path: Path) -> None:
    with VectorRaster(path, time='2024') as raster:
        table = from_pixels(raster, 16, modality='t', space='x')
    assert table is not None
    (row,) = np.flatnonzero(table.frame['patch_id'] == 't:t.tif:16_16_16x16')
    last = table.frame.iloc[row]
    assert last['native_corners'].tolist() == [
        *(500_160, 4_999_840, 500_320, 4_999_840),
        *(500_320, 4_999_680, 500_160, 4_999_680),
    ]
    assert last['src_crs'] == 'EPSG:32632'
    ground = table.frame.geometry.to_crs(32632)
    np.testing.assert_allclose(ground.area, 160**2, rtol=1e-6)
    box = shapely.box(500_160, 4_999_680, 500_320, 4_999_840)
    assert ground.iloc[row].symmetric_difference(box).area < 1e-2
    assert last['time_end'].isoformat() == '2024-12-31T23:59:59.999999+00:00'


@pytest.mark.slow
def test_an_archive_in_parts(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_means, '_PART', 7)
    out = tmp_path / 'archive'
    with VectorRaster(path) as raster:
        table = from_pixels(raster, 4, modality='t', space='x')
        assert table is not None
        assert from_pixels(raster, 4, modality='t', space='x', out=out) is None
        again = EmbeddingTable.load(out)
        assert len([*out.glob('part-*')]) > 5
        assert again.frame['patch_id'].tolist() == table.frame['patch_id'].tolist()
        np.testing.assert_array_equal(again.vectors, table.vectors)
        assert again.record['pixels']['size'] == 4
        with pytest.raises(OutputExistsError, match='is there already'):
            from_pixels(raster, 8, modality='t', space='x', out=out)
        from_pixels(raster, 8, modality='t', space='x', out=out, overwrite=True)
        assert len(EmbeddingTable.load(out)) < len(again)
        with pytest.raises(RasterError, match='no window'):
            from_pixels(
                raster, 30, modality='t', space='x', out=tmp_path / 'b', min_valid=1.0
            )
    assert sorted(p.name for p in tmp_path.iterdir()) == ['archive', 't.tif']


def test_numbers_that_are_not_possible(path: Path) -> None:
    with VectorRaster(path) as raster:
        for size, stride, share in ((0, None, 0.5), (4, 0, 0.5), (4, 4, 1.5)):
            with pytest.raises(RasterError, match='give pixels from 1'):
                from_pixels(
                    raster, size, stride, modality='t', space='x', min_valid=share
                )
        with pytest.raises(RasterError, match='33 x 47 pixels, fewer than a window'):
            from_pixels(raster, 34, modality='t', space='x')
