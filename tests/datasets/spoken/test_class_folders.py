"""Images in folders of classes."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from torchgeo_cmr.datasets import ClassFolders
from torchgeo_cmr.datasets.spoken.class_folders import read_image
from torchgeo_cmr.errors import RasterError

FAKE = runpy.run_path(str(Path(__file__).parents[2] / 'data' / 'speech' / 'data.py'))
REAL = Path(__file__).parents[4] / 'shared' / 'data' / 'ucmerced_rgb'
CLASSES = ('beach', 'forest', 'river')


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('images')
    FAKE['write_images'](path, CLASSES, 10)
    (path / 'README.md').write_text('no class')
    return path


def test_samples(root: Path) -> None:
    dataset = ClassFolders(root)
    assert (len(dataset), dataset.classes) == (30, CLASSES)
    sample = dataset[25]
    assert sample['image'].shape == (3, 20, 20)
    assert sample['image'].dtype == torch.float32
    # class 2 is a grey of 100 and up to 8 of noise
    assert 100 <= float(sample['image'].min()) <= float(sample['image'].max()) <= 108
    assert int(sample['label']) == 2
    assert dataset.plot(sample).axes[0].get_title() == 'river'


def test_splits(root: Path) -> None:
    parts = [ClassFolders(root, split=s) for s in ('train', 'val', 'test')]
    assert [torch.bincount(p.labels).tolist() for p in parts] == [
        [7] * 3,
        [1] * 3,
        [2] * 3,
    ]
    files = [set(part.files) for part in parts]
    assert len(set.union(*files)) == 30


def test_a_choice_of_classes_resized(root: Path) -> None:
    dataset = ClassFolders(root, ('river', 'beach'), size=8)
    assert len(dataset) == 20
    assert dataset[0]['image'].shape == (3, 8, 8)
    assert int(dataset[0]['label']) == 1
    assert float(dataset[0]['image'].mean()) == pytest.approx(44, abs=1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'classes': ['lake']}, 'has no images of lake; it has beach, forest, river'),
        ({'split': 'all'}, "split 'all' is not known"),
    ],
)
def test_refused(root: Path, options: Any, message: str) -> None:
    with pytest.raises(RasterError, match=message):
        ClassFolders(root, **options)


def test_nothing_and_broken(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match='holds no <class>/<image>'):
        ClassFolders(tmp_path)
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'x.jpg').write_text('no picture')
    with pytest.raises(RasterError, match=r'x.jpg cannot be read as an image'):
        ClassFolders(tmp_path)[0]


@pytest.mark.skipif(not REAL.is_dir(), reason='the shared samples are not here')
def test_real_images() -> None:
    dataset = ClassFolders(REAL, size=64)
    assert (len(dataset), len(dataset.classes)) == (315, 21)
    images = torch.stack([dataset[i]['image'] for i in range(0, 315, 50)])
    assert images.shape[1:] == (3, 64, 64)
    assert 0 <= float(images.min()) < float(images.max()) <= 255


def test_16_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    values = np.array([[0, 257, 2570], [25700, 51400, 65535]], dtype=np.uint16)
    for name in ('x.png', 'x.tif'):
        Image.fromarray(values).save(tmp_path / name)
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image[1], [[0, 1, 10], [100, 200, 255]])
    Image.fromarray(values.astype(np.float32)).save(tmp_path / 'f.tif')
    with pytest.raises(RasterError, match='convert it to 8 or 16 bits'):
        read_image(tmp_path / 'f.tif')
