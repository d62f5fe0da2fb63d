"""Shares of valid pixels are those of an independent reading, and cost little memory."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.embed.scenes.archive_plan import plan_scenes
from torchgeo_cmr.embed.scenes.patch_batches import read_item
from torchgeo_cmr.reading.cache import Cache, Masks
from torchgeo_cmr.reading.reader import SceneReader
from torchgeo_cmr.reading.validity import Validity
from torchgeo_cmr.scenes.scene import from_paths, scenes

type Writer = Callable[..., Path]

LAYOUTS = {
    'strips': {},
    'tiles': {'tiled': True, 'blockxsize': 128, 'blockysize': 128},
    'bands': {'tiled': True, 'blockxsize': 64, 'blockysize': 64, 'interleave': 'band'},
}


@pytest.fixture
def data() -> np.ndarray:
    """Two bands, each with holes of its own; a swath edge; whole and empty parts."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(1, 200, (2, 700, 1100))
    pixels[0, generator.random((700, 1100)) < 0.01] = 0
    pixels[:, :, :550] = generator.integers(1, 200, (2, 700, 550))
    row, column = np.mgrid[:700, :1100]
    pixels[1, row + column > 1500] = 0
    pixels[:, 600:, 300:420] = 0
    return pixels


def windows(count: int) -> list[tuple[int, int, int, int]]:
    generator = np.random.default_rng(1)
    corners = np.c_[
        generator.integers(-40, 690, count), generator.integers(-40, 1090, count)
    ]
    sizes = generator.integers(1, 200, (count, 2))
    return [tuple(window) for window in np.c_[corners, sizes].tolist()]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_as_counted_pixel_by_pixel(
    write_raster: Writer, data: np.ndarray, layout: str
) -> None:
    path = write_raster(
        'a.tif', data=data, bands='ab', dtype='uint8', nodata=0, **LAYOUTS[layout]
    )
    valid = np.zeros((900, 1400), bool)
    valid[100:800, 100:1200] = (data > 0).all(axis=0)
    (scene,) = scenes(from_paths(path))
    validity = Validity(SceneReader(scene))
    for window in windows(300):
        row, column, height, width = window
        inside = valid[row + 100 :, column + 100 :][:height, :width]
        assert validity.share(window) == pytest.approx(inside.sum() / (height * width))


def test_what_was_forgotten_is_looked_up_again(
    write_raster: Writer, data: np.ndarray
) -> None:
    path = write_raster('a.tif', data=data, bands='ab', dtype='uint8', nodata=0)
    (scene,) = scenes(from_paths(path))
    whole, small = Validity(SceneReader(scene)), Validity(SceneReader(scene))
    small.reader.cache._masks = Masks(40_000)
    for window in windows(60):
        assert small.share(window) == whole.share(window)
    assert small.reader.cache.masks._size <= 40_000
    assert len(pickle.dumps(whole)) < 5_000


def test_whole_numbers_without_nodata_are_not_read(
    write_raster: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scene,) = scenes(from_paths(write_raster('a.tif', dtype='uint16')))
    monkeypatch.setattr(rasterio, 'open', lambda _: pytest.fail('a file was opened'))
    validity = Validity(SceneReader(scene))
    assert validity.share((0, 0, 64, 64)) == 1
    assert validity.share((-32, 48, 64, 32)) == 0.25


def test_masks_make_way() -> None:
    masks = Masks(100)
    for i in range(20):
        masks.put(i, np.zeros(30, np.uint8))
        assert masks.get(i) is not None
    assert masks.get(16) is None
    assert [i for i in range(20) if masks.get(i) is not None] == [17, 18, 19]
    copy = pickle.loads(pickle.dumps(Cache()))
    assert copy.masks.get(19) is None


class TestTraining:
    """What the smallest share means is the same in training and in embedding."""

    @pytest.fixture
    def folder(self, write_raster: Writer, data: np.ndarray) -> Path:
        write_raster('a/a.tif', data=data, bands='ab', dtype='uint8', nodata=0)
        other = np.ones((1, 350, 550))
        other[:, 100:200, 300:] = np.nan
        return write_raster('b/b.tif', data=other, res=20).parents[1]

    @pytest.mark.parametrize('least', [0.0, 0.3, 0.5, 0.99, 1.0])
    def test_every_patch_has_its_share(self, folder: Path, least: float) -> None:
        data = PairedDataModule(
            {n: RasterDataset(folder / n) for n in 'ab'},
            patch_size=20,
            batch_size=8,
            length=80,
            block=2,
            min_valid=least,
            augment=False,
        )
        data.setup()
        loaders: dict[str, Any] = {
            'train': data.train_dataloader(),
            'test': data.test_dataloader(),
        }
        for loader in loaders.values():
            for batch in loader:
                for name in 'ab':
                    finite = batch[f'image_{name}'].isfinite().all(dim=1)
                    shares = finite.float().mean(dim=(1, 2))
                    if least > 0 or name == 'a':
                        assert (shares > 0).all()
                    assert (shares >= least - 1e-6).all()

    @pytest.mark.parametrize('least', [0.0, 0.5, 0.97, 1.0])
    def test_as_in_embedding(self, folder: Path, least: float) -> None:
        path = folder / 'a' / 'a.tif'
        (scene,) = scenes(from_paths(path))
        (item,) = plan_scenes([scene], 'a', 20).items
        kept = {
            tuple(window)
            for batch in read_item(item, min_valid=least)
            for window in batch.windows.tolist()
        }
        pairs = PairedDataset({n: from_paths(path) for n in 'ab'})
        for window in map(tuple, item.windows.tolist()):
            row, column, height, width = window
            x, y = 5e5 + 10 * column, 5e6 - 10 * row
            share = pairs.valid_share(0, (x, y - 10 * height, x + 10 * width, y))
            assert (share > 0 and share >= least) == (window in kept)

    def test_a_quality_mask_counts(self, write_raster: Writer) -> None:
        name = 'T32TNS_20240614T101559'
        for band in ('B02', 'B03'):
            write_raster(f's2/{name}_{band}_10m.tif', dtype='uint16')
        classes = np.full((1, 32, 32), 4)
        classes[:, :16] = 0
        classes[:, 16:, :16] = 9
        scl = write_raster(
            f's2/{name}_SCL_20m.tif', data=classes, res=20, dtype='uint8'
        )
        files = sorted(scl.parent.glob('*_10m.tif'))
        other = write_raster('b.tif', dtype='uint16')
        pairs = PairedDataset({'a': from_paths(files[:1]), 'b': from_paths(other)})
        # Missing above; cloud is valid, as in embedding.
        assert pairs.valid_share(0, (5e5, 5e6 - 640, 5e5 + 640, 5e6)) == 0.5
        assert pairs.valid_share(0, (5e5, 5e6 - 320, 5e5 + 640, 5e6)) == 0
        assert pairs.valid_share(0, (5e5, 5e6 - 640, 5e5 + 320, 5e6 - 320)) == 1
