"""CBRSIR_VS: pairs by class and name, our split, and what is refused."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.transform import from_origin
from torch import nn
from torchgeo.datasets import DatasetNotFoundError

from torchgeo_cmr.datamodules import CBRSIRVSDataModule
from torchgeo_cmr.datasets import CBRSIRVS
from torchgeo_cmr.embed import embed_pairs
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.evaluate import make_report
from torchgeo_cmr.table import EmbeddingTable
from torchgeo_cmr.tasks import InfoNCE

FAKE = runpy.run_path(str(Path(__file__).parents[2] / 'data' / 'cbrsir_vs' / 'data.py'))
SPLITS = ('train', 'val', 'test')


def opened(root: Path, split: str = 'train', **options: Any) -> CBRSIRVS:
    return CBRSIRVS(root, split, check_counts=False, **options)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAKE['write'](tmp_path_factory.mktemp('cbrsir_vs'))


@pytest.mark.parametrize('split', SPLITS)
def test_both_pictures_are_of_one_pair(root: Path, split: str) -> None:
    data = opened(root, split)
    for index in range(len(data)):
        sample, (name, number) = data[index], data.patch_id(index).split('/')
        label = data.classes.index(name)
        assert int(sample['label']) == int(data.labels[index]) == label
        assert data.attributes(index) == {'label': name}
        rgb, sar = sample['image_rgb'], sample['image_sar']
        assert (rgb.dtype, rgb.shape) == (torch.float32, (3, 256, 256))
        assert (sar.dtype, sar.shape) == (torch.float32, (1, 64, 64))
        assert rgb[:, 0, 0].tolist() == [20 * label + b for b in range(3)]
        assert sar[0, 0, 0] == 100 + label
        assert rgb[0, 3, 5] == sar[0, 2, 1] == int(number)


def test_each_class_is_divided_and_each_pair_is_in_one_split(root: Path) -> None:
    parts = {split: opened(root, split) for split in SPLITS}
    counts = {s: torch.bincount(d.labels).tolist() for s, d in parts.items()}
    assert counts == {'train': [7] * 3, 'val': [1] * 3, 'test': [2] * 3}
    names = [d.patch_id(i) for d in parts.values() for i in range(len(d))]
    assert len({*names}) == 30
    again, other = opened(root, 'test'), opened(root, 'test', seed=1)
    assert again._names == parts['test']._names != other._names


def test_other_folders_suffixes_and_grey_in_three_bands(tmp_path: Path) -> None:
    FAKE['write'](tmp_path, ('a', 'b'), 3, folders=('VIS', 'S1'))
    for path in (tmp_path / 'S1').glob('*/*.png'):
        Image.open(path).convert('RGB').save(path.with_suffix('.bmp'))
        path.unlink()
    data = opened(tmp_path, directories={'rgb': 'VIS', 'sar': 'S1'})
    assert data[0]['image_sar'].shape == (1, 64, 64)
    assert data[0]['image_sar'][0, 0, 0] == 100


def test_places_where_the_files_have_them(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r'so bridge/.* has no place on the ground'):
        opened(root).footprints([0])
    assert opened(root).footprints([0], placeless=True).geometry.isna().all()
    for folder, count, size in (('rgb', 3, 256), ('sar', 1, 64)):
        for k in range(3):
            path = tmp_path / folder / 'port' / f'{k}.tif'
            path.parent.mkdir(parents=True, exist_ok=True)
            options = {'count': count, 'width': size, 'height': size, 'dtype': 'uint8'}
            corner = from_origin(500_000, 4_000_000, 256 / size, 256 / size)
            with rasterio.open(
                path, 'w', 'GTiff', crs='EPSG:32650', transform=corner, **options
            ) as file:
                file.write(np.full((count, size, size), k, np.uint8))
    where = opened(tmp_path, 'test').footprints()
    assert where['src_crs'].tolist() == ['EPSG:32650']
    assert where['label'].tolist() == ['port']


class TestRefused:
    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError, match='root'):
            CBRSIRVS(tmp_path)

    def test_split(self, root: Path) -> None:
        with pytest.raises(RasterError, match="CBRSIR_VS has no split 'dev'"):
            opened(root, 'dev')

    def test_a_part_of_it(self, root: Path) -> None:
        with pytest.raises(
            RasterError, match='26,901 pairs of 10 classes, found 30 of 3'
        ):
            CBRSIRVS(root)

    def test_a_patch_without_partner(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path, ('a', 'b'), 3)
        (tmp_path / 'sar' / 'b' / '001.png').unlink()
        with pytest.raises(
            RasterError, match=r'1 patches of .*rgb have no partner .*b/001'
        ):
            opened(tmp_path)

    def test_two_files_of_one_name(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path, ('a', 'b'), 3)
        (tmp_path / 'sar' / 'b' / '001.jpg').write_bytes(b'')
        with pytest.raises(RasterError, match='have one name but for the suffix'):
            opened(tmp_path)

    def test_too_few_to_divide(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path, ('a', 'b'), 1)
        with pytest.raises(RasterError, match='2 pairs, which leaves none for test'):
            opened(tmp_path, 'test')

    def test_modalities_mixed_up_and_sizes(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path, ('a', 'b'), 3)
        with pytest.raises(RasterError, match='has 1 bands, and a patch of rgb has 3'):
            opened(tmp_path, directories={'rgb': 'sar', 'sar': 'rgb'})
        data = opened(tmp_path)
        size = Image.new('L', (32, 64))
        size.save(tmp_path / 'sar' / f'{data.patch_id(1)}.png')
        with pytest.raises(
            RasterError, match='is 64 x 32, and the first patch of sar 64'
        ):
            data[1]
        (tmp_path / 'sar' / f'{data.patch_id(1)}.png').write_bytes(b'not a picture')
        with pytest.raises(RasterError, match='cannot be read'):
            data[1]


def test_from_folder_to_report(root: Path, tmp_path: Path) -> None:
    data = CBRSIRVSDataModule(str(root), check_counts=False, batch_size=8)
    spec = data.describe()
    assert {m: s['gsd'] for m, s in spec.items()} == {'rgb': 1, 'sar': 10}
    channels = {'rgb': 3, 'sar': 1}
    model: Any = {
        m: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n, 4))
        for m, n in channels.items()
    }
    options = {k: {m: s[k] for m, s in spec.items()} for k in ('mean', 'std')}
    task = InfoNCE(channels, model=model, output_dim=4, **options)  # ty: ignore
    for m in channels:
        embed_pairs(task, data, m, splits='test', out=tmp_path / m)
    both = EmbeddingTable.concat([EmbeddingTable.load(tmp_path / m) for m in channels])
    report = make_report(both, both, relevance='label:label', protocol='cbrsir-vs')
    assert {*report.directions} == {'rgb->rgb', 'rgb->sar', 'sar->rgb', 'sar->sar'}
    for found in report.directions.values():
        assert found['queries'] == 6
        assert [*found['scores']] == ['map', 'precision@5']
    # its class has one other patch of five in the same modality
    same = report.directions['rgb->rgb']['scores']['precision@5']
    assert same['value'] == same['chance'] == pytest.approx(1 / 5)
