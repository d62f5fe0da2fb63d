import runpy
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
import torch
from pyproj import Transformer
from rasterio.enums import Resampling
from shapely import box
from torchgeo.datasets import BigEarthNet, BigEarthNetV2, DatasetNotFoundError

from torchgeo_cmr.datasets import BIGEARTHNET_STATISTICS, BigEarthNetPairs
from torchgeo_cmr.errors import RasterError

FAKE = runpy.run_path(
    str(Path(__file__).parents[2] / 'data' / 'bigearthnet' / 'data.py')
)
SHARED = Path(__file__).parents[4] / 'shared' / 'data' / 'bigearthnet_samples'
SERBIA = ('S2B_MSIL2A_20170825T093029', '34TEQ')
OTHER = ('S2A_MSIL2A_20170613T101031', '33UUP')
TWELVE = ('B01', 'B02', 'B03', 'B04', 'B05', 'B06')
TWELVE += ('B07', 'B08', 'B8A', 'B09', 'B11', 'B12')


@pytest.fixture(scope='module')
def v1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('v1')
    splits = {'train': 3, 'val': 1, 'test': 1}
    FAKE['write_v1'](root, {s: [(*OTHER, 1), (*SERBIA, n)] for s, n in splits.items()})
    return root


@pytest.fixture(scope='module')
def v2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('v2')
    FAKE['write_v2'](root)
    return root


class TestSamples:
    def test_radar_keeps_its_decimals(self, v1: Path) -> None:
        sample = BigEarthNetPairs(v1)[2]
        assert sample['image_s1'].dtype == torch.float32
        assert sample['image_s1'].shape == (2, 120, 120)
        # patch 2: TorchGeo gives -13 for -12.95
        assert torch.allclose(sample['image_s1'][0], torch.tensor(-12.95))
        assert torch.allclose(sample['image_s1'][1], torch.tensor(-19.55))
        theirs = BigEarthNet(v1, checksum=False)[2]['image']
        assert (theirs[1] == -13).all()

    def test_optical_and_label_are_those_of_torchgeo(self, v1: Path) -> None:
        ours = BigEarthNetPairs(v1, bands={'s1': ['VV'], 's2': TWELVE})
        theirs = BigEarthNet(v1, checksum=False)
        assert len(ours) == len(theirs) == 4
        for index in range(4):
            a, b = ours[index], theirs[index]
            assert torch.equal(a['label'], b['label'])
            # they round what is resampled to whole numbers
            assert (a['image_s2'] - b['image'][2:]).abs().max() <= 0.51
            for channel in (1, 2, 3, 7):
                assert torch.equal(a['image_s2'][channel], b['image'][2 + channel])

    def test_bands_come_in_the_order_asked(self, v1: Path) -> None:
        data = BigEarthNetPairs(v1, bands={'s2': ['B08', 'B02'], 's1': ['VH', 'VV']})
        assert data.modalities == ('s2', 's1')
        sample = data[0]
        names = FAKE['S2']
        levels = sample['image_s2'][:, 0, 0].tolist()
        assert levels == [names.index('B08'), names.index('B02')]
        assert sample['image_s1'][0, 0, 0] < sample['image_s1'][1, 0, 0]

    def test_default_is_ten_optical_bands(self, v1: Path) -> None:
        data = BigEarthNetPairs(v1)
        assert data.bands['s1'] == ('VV', 'VH')
        assert len(data.bands['s2']) == 10
        assert not {'B01', 'B09'} & set(data.bands['s2'])
        assert data.units == {'s1': 'db', 's2': 'reflectance'}

    def test_modality_left_out_is_not_read(self, v1: Path) -> None:
        sample = BigEarthNetPairs(v1, bands={'s1': ['VV']})[0]
        assert set(sample) == {'image_s1', 'label'}

    def test_bilinear_keeps_a_ramp(self, v1: Path) -> None:
        row = BigEarthNetPairs(v1, bands={'s2': ['B05']})[0]['image_s2'][0, 60]
        # one a coarse pixel is half a fine one; at the edges there is no neighbour
        assert torch.allclose(row[1:-1].diff(), torch.tensor(0.5))
        # the first fine pixel centre lies a quarter before the coarse one
        assert row[10] == FAKE['S2'].index('B05') + 4.75

    def test_bicubic_is_that_of_the_published_code(self, v1: Path) -> None:
        bands = {'s2': ['B05', 'B02']}
        soft = BigEarthNetPairs(v1, bands=bands)[0]['image_s2']
        cubic = BigEarthNetPairs(v1, bands=bands, resampling='bicubic')[0]['image_s2']
        assert torch.equal(soft[1], cubic[1])
        assert 0.01 < (soft[0] - cubic[0]).abs().max() < 0.2
        # coefficients of a = -0.75 a quarter off a pixel, on a ramp
        a, x = -0.75, torch.tensor([1.25, 0.25, 0.75, 1.75])
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        weights = torch.where(x <= 1, near, far)
        level = FAKE['S2'].index('B05') + torch.tensor([4.0, 5.0, 6.0, 7.0])
        assert cubic[0, 60, 11] == pytest.approx(float(weights @ level), abs=1e-4)

    def test_bilinear_is_that_of_gdal(self, v1: Path) -> None:
        data = BigEarthNetPairs(v1, bands={'s2': ['B01']})
        with rasterio.open(data.georeference(0)) as file:
            size, how = (120, 120), Resampling.bilinear
            theirs = file.read(1, out_shape=size, resampling=how)
        assert np.abs(data[0]['image_s2'][0].numpy() - theirs).max() <= 0.51

    def test_transforms_are_applied(self, v1: Path) -> None:
        data = BigEarthNetPairs(v1, transforms=lambda s: {'seen': s['label']})
        assert set(data[0]) == {'seen'}

    def test_class_without_successor_leaves_no_label(self, v1: Path) -> None:
        labels = BigEarthNetPairs(v1).labels()
        expected = torch.zeros(4, 19, dtype=torch.long)
        for row, numbers in enumerate(FAKE['NUMBERS']):
            expected[row, numbers] = 1
        assert torch.equal(labels, expected)
        assert labels[3].sum() == 0

    def test_plot(self, v1: Path) -> None:
        data = BigEarthNetPairs(v1)
        figure = data.plot(data[0], suptitle='pair')
        assert [axis.get_title() for axis in figure.axes] == ['s1', 's2']


class TestVersion2:
    def test_same_as_torchgeo_but_unrounded(self, v2: Path) -> None:
        ours = BigEarthNetPairs(v2, version='v2', bands={'s1': ['VH', 'VV']})
        theirs = BigEarthNetV2(v2, checksum=False)
        assert len(ours) == len(theirs) == 2
        for index in range(2):
            assert torch.equal(ours[index]['label'], theirs._load_target(index))
            rounded = theirs._load_image(index, 's1')
            assert torch.equal(ours[index]['image_s1'].round(), rounded)

    def test_splits(self, v2: Path) -> None:
        def names(split: Any) -> list[str]:
            data = BigEarthNetPairs(v2, split, 'v2')
            return [data.patch_id(i) for i in range(len(data))]

        parts = [names(s) for s in ('train', 'val', 'test')]
        assert [len(part) for part in parts] == [2, 1, 1]
        assert sorted(chain(*parts)) == sorted(names(None))


class TestFootprints:
    def test_native_corners_are_float64(self, v1: Path) -> None:
        frame = BigEarthNetPairs(v1).footprints()
        assert list(frame['index']) == [0, 1, 2, 3]
        assert frame.crs == 'EPSG:4326'
        assert set(frame['src_crs']) == {'EPSG:32634'}
        top, left, right = 5_000_000.25, 401_200.0, 402_400.0
        bottom = top - 1200
        corners = frame['native_corners'][1]
        assert corners.dtype == np.float64
        assert corners.tolist() == [left, top, right, top, right, bottom, left, bottom]
        assert float(np.float32(top)) != top

    def test_outline_lies_where_the_file_does(self, v1: Path) -> None:
        frame = BigEarthNetPairs(v1).footprints([2, 0])
        assert list(frame['index']) == [2, 0]
        lonlat = Transformer.from_crs(32634, 4326, always_xy=True)
        corner = lonlat.transform(402_400, 5_000_000.25)
        found = shapely.get_coordinates(frame.geometry.iloc[0])[0]
        assert found == pytest.approx(corner, abs=1e-10)

    def test_names_and_days(self, v1: Path) -> None:
        row = BigEarthNetPairs(v1).footprints([1]).iloc[0]
        assert row['patch_id'] == row['s2_name'] == 'S2B_MSIL2A_20170825T093029_0_1'
        assert row['s1_name'].endswith('34TEQ_0_1')
        assert str(row['s2_date'].date()) == '2017-08-25'

    def test_none_asked(self, v1: Path) -> None:
        frame = BigEarthNetPairs(v1).footprints([])
        assert len(frame) == 0
        assert frame.crs == 'EPSG:4326'

    def test_without_crs_only_the_place_is_missing(self, tmp_path: Path) -> None:
        FAKE['write_v1'](tmp_path, {'train': [(*OTHER, 1)]}, crs=None)
        data = BigEarthNetPairs(tmp_path)
        assert data[0]['image_s2'].shape == (10, 120, 120)
        with pytest.raises(RasterError, match=r'has no CRS.*cannot be found by area'):
            data.footprints()


class TestRefusals:
    def test_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError, match=r'no .*BigEarthNet-S1-v1\.0'):
            BigEarthNetPairs(tmp_path)
        with pytest.raises(RasterError, match=r'BigEarthNetV2\(root, download=True\)'):
            BigEarthNetPairs(tmp_path, version='v2')

    def test_missing_list_is_named(self, tmp_path: Path) -> None:
        FAKE['write_v1'](tmp_path, {'train': [(*OTHER, 1)]})
        assert len(BigEarthNetPairs(tmp_path)) == 1
        with pytest.raises(DatasetNotFoundError, match=r'no .*bigearthnet-val\.csv'):
            BigEarthNetPairs(tmp_path, 'val')

    def test_missing_files_are_named(self, tmp_path: Path) -> None:
        FAKE['write_v1'](tmp_path, {'train': [(*OTHER, 1)]})
        data = BigEarthNetPairs(tmp_path)
        next(tmp_path.rglob('*_B02.tif')).unlink()
        with pytest.raises(RasterError, match=r'B02\.tif cannot be read'):
            data[0]
        next((tmp_path / 'BigEarthNet-v1.0').rglob('*.json')).unlink()
        with pytest.raises(RasterError, match=r'there is no .*labels_metadata\.json'):
            data.labels()

    def test_empty_list(self, tmp_path: Path) -> None:
        FAKE['write_v1'](tmp_path, {'train': [(*OTHER, 1)], 'val': []})
        with pytest.raises(RasterError, match='no val pair of BigEarthNet v1'):
            BigEarthNetPairs(tmp_path, 'val')

    @pytest.mark.parametrize(
        ('arguments', 'told'),
        [
            ({'split': 'dev'}, 'split must be one of train, val, test, None'),
            ({'version': 'v3'}, 'version must be one of v1, v2'),
            ({'resampling': 'cubic'}, 'resampling must be one of bilinear, bicubic'),
            ({'bands': {'s3': ['VV']}}, "found 's3' in bands"),
            ({'bands': {'s2': ['B10']}}, 'choose each at most once from B01'),
            ({'bands': {'s1': ['VV', 'VV']}}, 'at most once'),
            ({'bands': {'s1': []}}, r'bands \(none\)'),
        ],
    )
    def test_unknown_words(
        self, v1: Path, arguments: Mapping[str, Any], told: str
    ) -> None:
        with pytest.raises(RasterError, match=told):
            BigEarthNetPairs(v1, **arguments)


def test_statistics_know_every_band() -> None:
    assert set(BIGEARTHNET_STATISTICS) == {'VV', 'VH', *TWELVE}
    assert BIGEARTHNET_STATISTICS['B8A'] == (2266.46036911, 1356.13789355)
    assert BIGEARTHNET_STATISTICS['VH'] == (-19.290445977, 5.464428465)


@pytest.mark.skipif(not SHARED.is_dir(), reason='the shared samples are not here')
class TestRealPatches:
    @pytest.fixture
    def data(self) -> BigEarthNetPairs:
        folders = {'s1': 'S1', 's2': 'S2'}
        return BigEarthNetPairs(SHARED, None, directories=folders)

    def test_pairs_are_found_by_their_metadata(self, data: BigEarthNetPairs) -> None:
        assert len(data) == 3
        for s1, s2 in data.pairs.itertuples(index=False):
            assert s1.split('_')[-2:] == s2.split('_')[-2:]

    def test_samples(self, data: BigEarthNetPairs) -> None:
        labels = [data[i]['label'].nonzero().flatten().tolist() for i in range(3)]
        assert [[data.classes[n] for n in label] for label in labels] == [
            ['Arable land', 'Pastures'],
            [
                'Coniferous forest',
                'Mixed forest',
                'Transitional woodland, shrub',
                'Inland wetlands',
                'Inland waters',
            ],
            ['Arable land', 'Coniferous forest', 'Mixed forest'],
        ]
        radar = data[0]['image_s1']
        assert radar.isfinite().all()
        assert (radar != radar.round()).float().mean() > 0.99
        # VV is stronger than VH over land
        assert radar[0].mean() > radar[1].mean()

    def test_places(self, data: BigEarthNetPairs) -> None:
        frame = data.footprints()
        assert list(frame['src_crs']) == ['EPSG:32629', 'EPSG:32635', 'EPSG:32635']
        assert frame['native_corners'][0][:2].tolist() == [643_200, 5_798_040]
        # Ireland, and twice Finland
        assert frame.geometry[:1].within(box(-8, 52, -6, 53)).all()
        assert frame.geometry[1:].within(box(29, 62, 32, 63)).all()
        radar = BigEarthNetPairs(
            SHARED, None, bands={'s1': ['VV']}, directories=data.directories
        ).footprints()
        assert (radar.geometry == frame.geometry).all()
