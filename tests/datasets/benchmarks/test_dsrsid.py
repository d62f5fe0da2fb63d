"""DSRSID: one file in several orders of axes, divided class by class."""

import pickle
import runpy
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import DatasetNotFoundError

from torchgeo_cmr.datasets import DSRSID
from torchgeo_cmr.datasets.benchmarks.dsrsid import _split
from torchgeo_cmr.errors import RasterError

FAKE = runpy.run_path(str(Path(__file__).parents[2] / 'data' / 'dsrsid' / 'data.py'))


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('dsrsid')
    FAKE['write'](path / 'DSRSID.mat', pairs=4)
    return path


class TestSamples:
    @pytest.mark.parametrize('order', ['matlab', 'reversed', 'last'])
    def test_axes_are_found(self, tmp_path: Path, order: str) -> None:
        FAKE['write'](tmp_path / 'DSRSID.mat', order=order)
        dataset = DSRSID(tmp_path)
        for index in range(len(dataset)):
            sample, row = dataset[index], int(dataset._rows[index])
            pan, ms, label = sample['image_pan'], sample['image_ms'], sample['label']
            assert (pan.shape, pan.dtype) == ((1, 256, 256), torch.float32)
            assert (ms.shape, ms.dtype) == ((4, 64, 64), torch.float32)
            assert label.dtype == torch.int64
            c = int(label) + 1
            assert c == row // 3 + 1
            # rows are rows: the upper left quarter is wider than high
            assert (pan[0, :64, :128] == c).all()
            assert float(pan[0, 100, 10]) == float(pan[0, 10, 200]) == row
            assert torch.equal(ms[:, 0, 0], 20.0 * torch.arange(4) + c)
            assert (ms[:, 5, 9] == 200).all()
            assert float(ms[0, 9, 5]) == c

    def test_one_modality(self, root: Path) -> None:
        dataset = DSRSID(root, modalities='ms')
        assert dataset.modalities == ('ms',)
        assert set(dataset[0]) == {'image_ms', 'label'}

    def test_what_is_known(self, root: Path) -> None:
        dataset = DSRSID(
            root / 'DSRSID.mat', 'test', transforms=lambda s: {'ms': s['image_ms']}
        )
        assert dataset.gsd == {'pan': 2, 'ms': 8}
        assert len(dataset.classes) == 8
        assert set(dataset[0]) == {'ms'}
        assert dataset.patch_id(0) == f'DSRSID.mat:{dataset._rows[0]:05d}'
        assert dataset.attributes(0) == {'label': 'aquafarm'}
        with pytest.raises(RasterError, match='comes without georeferencing'):
            dataset.footprints()
        plain = DSRSID(root)
        figure = plain.plot(plain[0])
        assert len(figure.axes) == 2

    def test_workers_open_the_file_for_themselves(self, root: Path) -> None:
        dataset = DSRSID(root)
        first = dataset[3]
        copy = pickle.loads(pickle.dumps(dataset))
        assert copy._file is None
        assert torch.equal(copy[3]['image_ms'], first['image_ms'])
        batches = list(DataLoader(dataset, batch_size=4, num_workers=1))
        assert torch.cat([b['label'] for b in batches]).tolist() == [
            int(x) for x in dataset.labels
        ]


class TestSplit:
    def test_published_size(self) -> None:
        labels = np.repeat(np.arange(8), 10_000)
        parts = {s: _split(labels, s, 0) for s in ('train', 'val', 'test')}
        assert {s: len(rows) for s, rows in parts.items()} == {
            'train': 76_000,
            'val': 800,
            'test': 3_200,
        }
        assert len(np.unique(np.concatenate(list(parts.values())))) == 80_000
        for split, count in (('train', 9_500), ('val', 100), ('test', 400)):
            assert (np.bincount(labels[parts[split]]) == count).all()
        assert np.array_equal(parts['test'], _split(labels, 'test', 0))
        assert not np.array_equal(parts['test'], _split(labels, 'test', 1))

    def test_a_small_file(self, root: Path) -> None:
        parts = [DSRSID(root, split) for split in ('train', 'val', 'test')]
        assert [len(part) for part in parts] == [16, 8, 8]
        assert all(
            torch.bincount(p.labels).tolist() == [len(p) // 8] * 8 for p in parts
        )


class TestRefused:
    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError, match='root'):
            DSRSID(tmp_path)

    @pytest.mark.parametrize(
        'options', [{'split': 'dev'}, {'modalities': 'all'}], ids=['split', 'modality']
    )
    def test_unknown_words(self, root: Path, options: Any) -> None:
        with pytest.raises(RasterError, match='DSRSID has no split'):
            DSRSID(root, **options)

    def test_other_axes(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path / 'DSRSID.mat', order='wrong')
        with pytest.raises(
            RasterError, match='which is not 24 patches of 1 x 256 x 256'
        ):
            DSRSID(tmp_path)

    def test_other_files(self, tmp_path: Path) -> None:
        path = tmp_path / 'DSRSID.mat'
        path.write_text('no HDF5')
        with pytest.raises(RasterError, match='cannot be read as HDF5'):
            DSRSID(tmp_path)
        path.unlink()
        with h5py.File(path, 'w') as file:
            file['LAND_COVER_TYPES'] = np.ones((1, 3))
        with pytest.raises(
            RasterError, match='has no PAN_IMAGES, MUL_IMAGES, it holds'
        ):
            DSRSID(tmp_path)

    @pytest.mark.parametrize('label', [9, 0, 1.5, np.nan])
    def test_other_labels(self, tmp_path: Path, label: float) -> None:
        FAKE['write'](tmp_path / 'DSRSID.mat')
        with h5py.File(tmp_path / 'DSRSID.mat', 'a') as file:
            file['LAND_COVER_TYPES'][0, 0] = label
        with pytest.raises(RasterError, match='has labels beyond 1 to 8'):
            DSRSID(tmp_path)

    def test_labels_that_are_words(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path / 'DSRSID.mat')
        with h5py.File(tmp_path / 'DSRSID.mat', 'a') as file:
            count = file['LAND_COVER_TYPES'].size
            del file['LAND_COVER_TYPES']
            file['LAND_COVER_TYPES'] = np.array([b'river'] * count)
        with pytest.raises(RasterError, match='has labels beyond 1 to 8'):
            DSRSID(tmp_path)

    def test_a_group_is_no_array(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path / 'DSRSID.mat')
        with h5py.File(tmp_path / 'DSRSID.mat', 'a') as file:
            del file['PAN_IMAGES']
            file.create_group('PAN_IMAGES')
        with pytest.raises(RasterError, match='has no PAN_IMAGES, it holds'):
            DSRSID(tmp_path)

    def test_too_few_to_divide(self, tmp_path: Path) -> None:
        FAKE['write'](tmp_path / 'DSRSID.mat', pairs=1)
        with pytest.raises(
            RasterError, match='has 8 pairs, which leaves none for train'
        ):
            DSRSID(tmp_path)

    @pytest.mark.parametrize('share', [0, 0.5, 0.99])
    def test_cut_short(self, tmp_path: Path, share: float) -> None:
        path = FAKE['write'](tmp_path / 'DSRSID.mat')
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(RasterError, match=r'cannot be read as HDF5 .*fetch the'):
            DSRSID(tmp_path)

    def test_checksum_finds_damage(self, tmp_path: Path) -> None:
        path = FAKE['write'](tmp_path / 'DSRSID.mat')
        DSRSID(tmp_path, checksum=True)
        with h5py.File(path, 'a') as file:
            pixels = file['MUL_IMAGES'][:]
            del file['MUL_IMAGES']
            file.create_dataset(
                'MUL_IMAGES', data=pixels, chunks=(1, 4, 64, 64), fletcher32=True
            )
            chunk = file['MUL_IMAGES'].id.get_chunk_info(7)
        data = bytearray(path.read_bytes())
        data[chunk.byte_offset + 100] ^= 0xFF
        path.write_bytes(bytes(data))
        with pytest.raises(RasterError, match='is damaged at pair 7 of MUL_IMAGES'):
            DSRSID(tmp_path, checksum=True)
