import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torchgeo.datasets import (
    SEN12MS,
    EuroSAT,
    GeoDataset,
    MMEarth,
    RasterDataset,
    So2Sat,
    TreeSatAI,
)
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datasets import NonGeoPairs
from torchgeo_cmr.errors import PairingError, RasterError

DATA = Path(__file__).parents[2] / 'data'
TERRAMESH = Path(__file__).parents[4] / 'shared' / 'data' / 'terramesh_samples'


def write(name: str, *args: Any) -> None:
    runpy.run_path(str(DATA / name / 'data.py'))['write'](*args)


@pytest.fixture(scope='module')
def sen12ms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('sen12ms')
    write('sen12ms', root)
    return root


class TestSEN12MS:
    def test_channels_are_split(self, sen12ms: Path) -> None:
        pairs = NonGeoPairs(SEN12MS(sen12ms, checksum=False))
        assert pairs.modalities == ('s1', 's2')
        assert pairs.bands['s2'][:3] == ('B01', 'B02', 'B03')
        assert pairs.units['s1'] == 'db'
        sample = pairs[1]
        assert sample['image_s1'][:, 0, 0].tolist() == [0.25, 1.25]
        assert sample['image_s2'][:, 0, 0].tolist() == list(range(2, 15))
        assert all(sample[f'image_{m}'].dtype == torch.float32 for m in ('s1', 's2'))

    def test_label_is_the_commonest_class(self, sen12ms: Path) -> None:
        pairs = NonGeoPairs(SEN12MS(sen12ms, checksum=False))
        assert [int(pairs[i]['label']) for i in range(2)] == [7, 8]

    def test_subset_in_another_order(self, sen12ms: Path) -> None:
        theirs = SEN12MS(sen12ms, bands=('B04', 'VH', 'B02', 'VV'), checksum=False)
        sample = NonGeoPairs(theirs, bands={'s1': ['VV', 'VH'], 's2': ['B02']})[0]
        assert sample['image_s1'][:, 0, 0].tolist() == [0.25, 1.25]
        assert sample['image_s2'][:, 0, 0].tolist() == [3]

    def test_places(self, sen12ms: Path) -> None:
        pairs = NonGeoPairs(SEN12MS(sen12ms, checksum=False))
        frame = pairs.footprints()
        assert list(frame['src_crs']) == ['EPSG:32633'] * 2
        assert frame['native_corners'][1][:2].tolist() == [300_080, 5_000_000.5]
        assert frame['patch_id'][0] == 'ROIs1158_spring_lc_1_p1.tif'

    def test_one_sensor_is_no_pair(self, sen12ms: Path) -> None:
        theirs = SEN12MS(sen12ms, bands=SEN12MS.BAND_SETS['s1'], checksum=False)
        with pytest.raises(PairingError, match='opened with s1 of its sensors'):
            NonGeoPairs(theirs)

    @pytest.mark.parametrize(
        ('arguments', 'told'),
        [
            ({'bands': {'s3': ['VV']}}, 'has the modalities s1, s2, found s3'),
            ({'bands': {'s1': ['HH']}}, 'choose each at most once from VV, VH'),
            ({'units': {'s1': 'decibel'}}, 'units are one of db.*found decibel'),
        ],
    )
    def test_unknown_words(
        self, sen12ms: Path, arguments: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(RasterError, match=told):
            NonGeoPairs(SEN12MS(sen12ms, checksum=False), **arguments)


class FakeSo2Sat(So2Sat):
    """What TorchGeo makes of an HDF5 file, without the file."""

    def __init__(self) -> None:
        self.bands = So2Sat.all_band_names
        self.s1_band_names = list(So2Sat.all_s1_band_names)
        self.s2_band_names = list(So2Sat.all_s2_band_names)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        image = torch.arange(18.0).reshape(18, 1, 1).expand(18, 4, 4)
        return {'image': image, 'label': torch.tensor(index)}


class FakeMMEarth(MMEarth):
    """Likewise."""

    def __init__(self) -> None:
        self.modalities = ('sentinel1_asc', 'sentinel2', 'biome')
        self.modality_bands = {
            'sentinel2': ['B8', 'B2', 'B8A'],
            'sentinel1_asc': ['VV', 'VH'],
            'biome': ['biome'],
        }

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        # channels in the order of the class, whatever the order asked
        return {
            'image_sentinel1_asc': torch.arange(2.0).reshape(2, 1, 1),
            'image_sentinel2': torch.tensor([2.0, 8.5, 8.0]).reshape(3, 1, 1),
            'biome': torch.tensor(3),
        }


class TestOthers:
    def test_so2sat(self) -> None:
        pairs = NonGeoPairs(FakeSo2Sat(), bands={'s1': ['S1_B8'], 's2': ['B12', 'B02']})
        sample = pairs[1]
        assert sample['image_s1'][:, 0, 0].tolist() == [7]
        assert sample['image_s2'][:, 0, 0].tolist() == [17, 8]
        assert sample['label'] == 1
        assert {m: len(b) for m, b in NonGeoPairs(FakeSo2Sat()).bands.items()} == {
            's1': 8,
            's2': 10,
        }
        with pytest.raises(RasterError, match=r'So2Sat:0 lies.*images and labels work'):
            pairs.footprints()

    def test_mmearth(self) -> None:
        pairs = NonGeoPairs(FakeMMEarth())
        assert pairs.bands == {'s1': ('VV', 'VH'), 's2': ('B02', 'B8A', 'B08')}
        sample = pairs[0]
        assert set(sample) == {'image_s1', 'image_s2'}
        assert sample['image_s2'].flatten().tolist() == [2, 8.5, 8]
        picked = NonGeoPairs(FakeMMEarth(), bands={'s1': ['VH'], 's2': ['B08']})[0]
        assert picked['image_s2'].flatten().tolist() == [8]

    def test_so2sat_of_its_files(self, tmp_path: Path) -> None:
        pytest.importorskip('h5py', reason='So2Sat is HDF5')
        write('so2sat', tmp_path)
        pairs = NonGeoPairs(So2Sat(tmp_path, checksum=False))
        sample = pairs[1]
        assert sample['image_s1'].shape == (8, 32, 32)
        assert sample['image_s1'][:, 0, 0].tolist() == list(range(8))
        assert sample['image_s2'][:, 0, 0].tolist() == list(range(100, 110))
        assert pairs.bands['s2'][-2:] == ('B11', 'B12')
        assert sample['label'] == 1
        assert len(pairs) == 2

    def test_mmearth_of_its_files(self, tmp_path: Path) -> None:
        pytest.importorskip('h5py', reason='MMEarth is HDF5')
        write('mmearth', tmp_path)
        names = ['sentinel1_asc', 'sentinel1_desc', 'sentinel2']
        dataset = MMEarth(tmp_path, subset='MMEarth64', modalities=names)
        bands = {'s1_desc': ['VH'], 's1': ['VH', 'VV'], 's2': ['B08', 'B8A', 'B02']}
        pairs = NonGeoPairs(dataset, bands=bands)
        assert len(pairs) == 4
        images = {m: pairs[3][f'image_{m}'][:, 0, 0].tolist() for m in bands}
        # TorchGeo standardises; the number of the channel is left, and B8A comes before B8
        assert images == {'s1_desc': [5], 's1': [1, 0], 's2': [8, 7, 1]}

    def test_treesatai(self, tmp_path: Path) -> None:
        write('treesatai', tmp_path)
        pairs = NonGeoPairs(
            TreeSatAI(tmp_path), bands={'aerial': ['R', 'G', 'B'], 's2': ['B04', 'B09']}
        )
        sample = pairs[0]
        assert sample['image_aerial'].shape == (3, 24, 24)
        assert sample['image_aerial'][:, 0, 0].tolist() == [3, 1, 2]
        assert sample['image_s2'][:, 0, 0].tolist() == [2, 11]
        assert sample['label'].nonzero().flatten().tolist() == [0, 13]
        assert pairs.gsd == {'aerial': 0.2, 's2': 10}
        assert NonGeoPairs(TreeSatAI(tmp_path)).units['s1'] is None
        corners = pairs.footprints()['native_corners'][0]
        assert (corners[4] - corners[0], corners[1] - corners[5]) == (60, 60)

    def test_transforms_see_the_rearranged_sample(self) -> None:
        pairs = NonGeoPairs(
            FakeSo2Sat(), transforms=lambda s: {f'new_{k}': v for k, v in s.items()}
        )
        assert set(pairs[0]) == {'new_image_s1', 'new_image_s2', 'new_label'}

    def test_unknown_dataset(self) -> None:
        class Other(EuroSAT):
            def __init__(self) -> None:
                pass

        with pytest.raises(PairingError, match='Other is not known to hold pairs'):
            NonGeoPairs(Other())


@pytest.mark.skipif(not TERRAMESH.is_dir(), reason='the shared samples are not here')
def test_terramesh_samples_are_pairs() -> None:
    # GeoTIFFs of one grid in two zones: the ordinary road, no class of their own
    members: dict[str, GeoDataset] = {
        's1': RasterDataset(TERRAMESH / 'S1RTC'),
        's2': RasterDataset(TERRAMESH / 'S2L2A'),
    }
    data = PairedDataModule(
        train=members, patch_size=224, batch_size=2, units={'s1': 'db'}
    )
    data.setup('fit')
    (batch,) = data.train_dataloader()
    assert batch['image_s1'].shape == (2, 2, 224, 224)
    assert batch['image_s2'].shape == (2, 12, 224, 224)
    zones = {zone.crs.to_epsg() for zone in data.zones}
    assert zones == {32736, 32616}
    described = data.describe()
    assert described['s1']['bands'] == ['VV', 'VH']
    assert described['s1']['units'] == 'db'
