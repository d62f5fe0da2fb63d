import pickle
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import rioxarray  # noqa: F401  (gives xarray its CRS accessor)
import shapely
import torch
import xarray as xr
from pyproj import Transformer
from rasterio.warp import transform_bounds
from torchgeo.datasets import RasterDataset, XarrayDataset
from torchgeo.samplers import GriddedPatchSampler

from torchgeo_cmr.datasets.paired import PairedDataset, PairSlice
from torchgeo_cmr.errors import PairingError

Writer = Callable[..., Path]


class Dated(RasterDataset):
    filename_glob = '*_*.tif'
    filename_regex = r'.*_(?P<date>\d{8})\.tif'


def place(
    paired: PairedDataset, xmin: float, ymin: float, width: float
) -> tuple[slice, slice]:
    return slice(xmin, xmin + width), slice(ymin, ymin + width)


class TestPairs:
    def test_each_modality_keeps_its_resolution(self, write_raster: Writer) -> None:
        pan = RasterDataset(write_raster('pan.tif', shape=(80, 80), res=5))
        ms = RasterDataset(
            write_raster('ms.tif', shape=(20, 20), res=20, bands=('r', 'g'))
        )
        paired = PairedDataset({'pan': pan, 'ms': ms})
        sample = paired[place(paired, 500_080, 4_999_800, 160)]
        assert sample['image_pan'].shape == (1, 32, 32)
        assert sample['image_ms'].shape == (2, 8, 8)
        # pixel (row 8, column 16) of 80 x 80 counts 8 * 80 + 16
        assert sample['image_pan'][0, 0, 0] == (400 - 360) / 5 * 80 + 16
        assert sample['image_ms'][0, 0, 0] == 2 * 20 + 4
        assert paired.sizes(32) == {'pan': 32, 'ms': 8}
        assert sample['transform_ms'][:6].tolist() == [
            20,
            0,
            500_080,
            0,
            -20,
            4_999_960,
        ]

    def test_members_are_never_changed(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif'))
        x, y = Transformer.from_crs(32632, 32633).transform(500_000, 5_000_000)
        b = RasterDataset(
            write_raster(
                'b.tif',
                crs='EPSG:32633',
                origin=(x - 3e3, y + 3e3),
                res=30,
                shape=(200, 200),
            )
        )
        before = (b.crs, b.res, b.index.copy())
        paired = PairedDataset({'a': a, 'b': b})
        paired[place(paired, 500_000, 4_999_500, 100)]
        assert (b.crs, b.res) == before[:2]
        pd.testing.assert_frame_equal(pd.DataFrame(b.index), pd.DataFrame(before[2]))

    def test_other_crs_shows_the_same_ground(self, write_raster: Writer) -> None:
        # Both hold their own northing in kilometres: the values must agree on the ground.
        y = 5_000_000 - 10 * (np.arange(200) + 0.5)
        a = write_raster('a.tif', data=np.tile(y[:, None] / 1e3, (1, 200))[None])
        lat = 45.16 - 1e-4 * (np.arange(400) + 0.5)
        lon = 9 + 1e-4 * (np.arange(400) + 0.5)
        northing = Transformer.from_crs(4326, 32632, always_xy=True).transform(
            *np.meshgrid(lon, lat)
        )[1]
        b = write_raster(
            'b.tif',
            crs='EPSG:4326',
            origin=(9, 45.16),
            res=1e-4,
            data=northing[None] / 1e3,
        )
        paired = PairedDataset({'a': RasterDataset(a), 'b': RasterDataset(b)})
        sample = paired[place(paired, 500_600, 4_998_800, 300)]
        ours, other = sample['image_a'][0], sample['image_b'][0]
        assert ours.shape == (30, 30)
        # 1e-4 degrees are about 11 m: still its own resolution, not that of the first.
        assert other.shape[0] in (31, 32, 33, 34, 35, 36)
        assert abs(float(ours.mean() - other.mean())) < 0.006
        assert float(ours[0].mean() - ours[-1].mean()) == pytest.approx(0.29, abs=1e-3)
        assert float(other[0].mean() - other[-1].mean()) == pytest.approx(
            0.29, abs=0.02
        )

    def test_nodata_is_nan(self, write_raster: Writer) -> None:
        data = np.ones((1, 64, 64))
        data[0, :32] = 0
        a = RasterDataset(write_raster('a.tif', data=data, nodata=0, dtype='uint16'))
        paired = PairedDataset({'a': a, 'b': RasterDataset(write_raster('b.tif'))})
        image = paired[place(paired, 500_000, 5_000_000 - 640, 640)]['image_a'][0]
        assert torch.isnan(image[:32]).all()
        assert (image[32:] == 1).all()
        bounds = (500_000, 4_999_360, 500_640, 5_000_000)
        assert paired.valid_share(0, bounds) == pytest.approx(0.5)
        assert paired.valid_share(0, (500_000, 4_999_680, 500_320, 5_000_000)) == 0
        assert paired.valid_share(0, (500_000, 4_999_360, 500_320, 4_999_680)) == 1

    def test_member_transforms_are_applied(self, write_raster: Writer) -> None:
        a = RasterDataset(
            write_raster('a.tif'),
            transforms=lambda s: {**s, 'image': s['image'] * 0 + 7},
        )
        paired = PairedDataset({'a': a, 'b': RasterDataset(write_raster('b.tif'))})
        assert (paired[place(paired, 500_000, 4_999_500, 100)]['image_a'] == 7).all()

    def test_three_modalities(self, write_raster: Writer) -> None:
        members = {n: RasterDataset(write_raster(f'{n}.tif')) for n in ('a', 'b', 'c')}
        paired = PairedDataset(members)
        sample = paired[place(paired, 500_000, 4_999_500, 100)]
        assert {'image_a', 'image_b', 'image_c'} <= set(sample)

    def test_works_with_torchgeo_samplers(self, write_raster: Writer) -> None:
        paired = PairedDataset(
            {n: RasterDataset(write_raster(f'{n}.tif')) for n in ('a', 'b')}
        )
        slices = list(GriddedPatchSampler(paired, size=32))
        assert len(slices) == 4
        assert paired[slices[0]]['image_b'].shape == (1, 32, 32)

    def test_xarray_member(self, tmp_path: Path, write_raster: Writer) -> None:
        y = 5_000_000 - 10 * (np.arange(64) + 0.5)
        x = 500_000 + 10 * (np.arange(64) + 0.5)
        cube = xr.Dataset(
            {'v': (('time', 'y', 'x'), np.ones((1, 64, 64), np.float32))},
            {'time': pd.to_datetime(['2024-01-01']), 'y': y, 'x': x},
        ).rio.write_crs('EPSG:32632')
        cube.to_netcdf(tmp_path / 'v.nc')
        paired = PairedDataset(
            {
                'a': RasterDataset(write_raster('a.tif')),
                'v': XarrayDataset(tmp_path / 'v.nc'),
            }
        )
        assert paired[place(paired, 500_000, 4_999_500, 100)]['image_v'].shape[-2:] == (
            10,
            10,
        )

    def test_plot(self, write_raster: Writer) -> None:
        paired = PairedDataset(
            {n: RasterDataset(write_raster(f'{n}.tif')) for n in ('a', 'b')}
        )
        sample = paired[place(paired, 500_000, 4_999_500, 100)]
        figure = paired.plot(sample, suptitle='both')
        assert [axis.get_title() for axis in figure.axes] == ['a', 'b']
        assert figure.get_suptitle() == 'both'


class TestTime:
    @pytest.fixture
    def dated(self, write_raster: Writer) -> Callable[..., Dated]:
        def make(name: str, *dates: str, **options: object) -> Dated:
            value = iter(range(1, 99))
            for date in dates:
                data = np.full((1, 64, 64), float(next(value)))
                file = write_raster(f'{name}/{name}_{date}.tif', data=data, **options)
            return Dated(file.parent)

        return make

    def test_nearest_date_is_paired(self, dated: Callable[..., Dated]) -> None:
        a = dated('a', '20240101', '20240601')
        b = dated('b', '20231001', '20240103', '20240525', '20241231')
        paired = PairedDataset({'a': a, 'b': b})
        assert len(paired.index) == 2
        values = [
            paired[
                slice(5e5, 5e5 + 100),
                slice(4_999_500, 4_999_600),
                slice(t.left, t.right),
            ]['image_b'].mean()
            for t in paired.index.index
        ]
        assert values == [2, 3]

    def test_tolerance_refuses_what_is_too_far(
        self, dated: Callable[..., Dated]
    ) -> None:
        a, b = dated('a', '20240101'), dated('b', '20240110')
        for tolerance in (
            '9D',
            '9d',
            '9 d',
            '8d 24h',
            '8d24H',
            '1w2d',
            'P9D',
            '9 days',
        ):
            assert len(PairedDataset({'a': a, 'b': b}, tolerance=tolerance)) == 1
        with pytest.raises(
            PairingError, match=r'no date: the nearest .* are 8 days apart .* is 1 day;'
        ):
            PairedDataset({'a': a, 'b': b}, tolerance='1D')

    def test_gaps_of_the_nearest_are_filled_by_the_next(
        self, dated: Callable[..., Dated], write_raster: Writer
    ) -> None:
        a = dated('a', '20240101')
        write_raster('b/b_20240102.tif', shape=(64, 32), data=np.full((1, 64, 32), 1.0))
        b = Dated(
            write_raster('b/b_20240301.tif', data=np.full((1, 64, 64), 2.0)).parent
        )
        paired = PairedDataset({'a': a, 'b': b})
        assert len(paired) == 2
        areas = paired.index.geometry.area.tolist()
        assert areas == pytest.approx([320 * 640] * 2)
        assert shapely.intersection(*paired.index.geometry).area == 0

    def test_undated_fails_every_tolerance(
        self, dated: Callable[..., Dated], write_raster: Writer
    ) -> None:
        members = {
            'a': RasterDataset(write_raster('plain.tif')),
            'b': dated('b', '20240110'),
        }
        assert len(PairedDataset(members)) == 1
        with pytest.raises(PairingError, match='a has no date and so fails every'):
            PairedDataset(members, tolerance='1D')

    @pytest.mark.parametrize('bad', ['soon', 'NaT', '5', 5, 1.5])
    def test_tolerance_must_be_a_time_span(
        self, dated: Callable[..., Dated], bad: Any
    ) -> None:
        a = dated('a', '20240101')
        with pytest.raises(PairingError, match=f'{bad!r} is not a time span'):
            PairedDataset({'a': a, 'b': a}, tolerance=bad)

    def test_tolerance_is_not_negative(self, dated: Callable[..., Dated]) -> None:
        a = dated('a', '20240101')
        with pytest.raises(PairingError, match='never negative'):
            PairedDataset({'a': a, 'b': a}, tolerance='-1D')


class TestBadInput:
    def test_one_modality(self, write_raster: Writer) -> None:
        with pytest.raises(PairingError, match='at least two modalities, 1 given'):
            PairedDataset({'a': RasterDataset(write_raster('a.tif'))})

    def test_name(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif'))
        with pytest.raises(PairingError, match="'S-1' cannot name a modality"):
            PairedDataset({'S-1': a, 'b': a})

    @pytest.mark.parametrize('bad', ['folder', None, []])
    def test_what_is_no_dataset(self, write_raster: Writer, bad: Any) -> None:
        a = RasterDataset(write_raster('a.tif'))
        with pytest.raises(PairingError, match=f'b is {type(bad).__name__}, but pairs'):
            PairedDataset({'a': a, 'b': bad})

    def test_no_common_ground_says_how_far(self, write_raster: Writer) -> None:
        a = Dated(write_raster('a_20240101.tif'))
        b = Dated(write_raster('b_20240111.tif', origin=(510_640, 5_000_000)))
        with pytest.raises(PairingError, match=r'10,000 metres apart .* dates 9 days'):
            PairedDataset({'a': a, 'b': b})

    @pytest.mark.parametrize('crs', ['EPSG:32633', 'EPSG:32750'])
    def test_what_lies_too_far_to_be_measured_is_named_by_its_place(
        self, write_raster: Writer, crs: str
    ) -> None:
        a = RasterDataset(write_raster('a.tif'))
        b = RasterDataset(write_raster('b.tif', crs=crs))
        with pytest.raises(PairingError) as caught:
            PairedDataset({'a': a, 'b': b})
        ours, theirs = re.findall(
            r'longitude (-?[\d.]+), latitude (-?[\d.]+)', str(caught.value)
        )
        assert [float(degrees) for degrees in ours] == [9.0, 45.15]
        with rasterio.open(b.files[0]) as file:
            west, south, east, north = transform_bounds(
                file.crs, 'EPSG:4326', *file.bounds
            )
        assert float(theirs[0]) == pytest.approx((west + east) / 2, abs=0.01)
        assert float(theirs[1]) == pytest.approx((south + north) / 2, abs=0.01)

    def test_touching_is_not_common_ground(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif'))
        b = RasterDataset(write_raster('b.tif', origin=(500_640, 5_000_000)))
        with pytest.raises(PairingError, match='no common ground'):
            PairedDataset({'a': a, 'b': b})

    def test_outside(self, write_raster: Writer) -> None:
        paired = PairedDataset(
            {n: RasterDataset(write_raster(f'{n}.tif')) for n in ('a', 'b')}
        )
        with pytest.raises(IndexError, match='no pair of scenes covers'):
            paired[place(paired, 600_000, 4_999_500, 100)]


def test_pairs_say_how_many_days_lie_between(
    write_raster: Writer, tmp_path: Path
) -> None:
    class Dated(RasterDataset):
        filename_glob = '*.tif'
        filename_regex = r'.*_(?P<date>\d{8}T\d{6})'
        date_format = '%Y%m%dT%H%M%S'

    write_raster('a/x_20240601T000000.tif')
    write_raster('b/x_20240603T120000.tif')
    write_raster('b/x_20240701T000000.tif')
    paired = PairedDataset({'a': Dated(tmp_path / 'a'), 'b': Dated(tmp_path / 'b')})
    # A moment lasts until the end of its second.
    (apart,) = paired.index['days_apart']
    assert apart == pytest.approx(2.5, abs=2e-5)
    x, y, t = paired.bounds
    sample = paired[x.start : x.start + 160, y.start : y.start + 160, t]
    assert sample['days_apart'].item() == pytest.approx(apart)
    undated = PairedDataset(
        {'a': Dated(tmp_path / 'a'), 'b': RasterDataset(tmp_path / 'b')}
    )
    assert undated.index['days_apart'].isna().all()


def test_datasets_may_share_what_they_keep(write_raster: Writer) -> None:
    one, other = (
        PairedDataset(
            {m: RasterDataset([write_raster(f'{i}{m}.tif')]) for m in ('s1', 's2')}
        )
        for i in range(2)
    )
    other.share(one)
    x, y, _ = other.bounds
    for pairs in (one, other):
        place = slice(x.start, x.start + 80), slice(y.start, y.start + 80)
        assert pairs[place]['image_s1'].isfinite().all()
    members = [m for pairs in (one, other) for m in pairs.members.values()]
    assert len({id(r.cache) for m in members for r in m.readers.values()}) == 1


def test_dates_may_be_those_of_python(write_raster: Writer) -> None:
    pairs = PairedDataset(
        {m: RasterDataset([write_raster(f'{m}.tif')]) for m in ('s1', 's2')}
    )
    x, y, t = pairs.bounds
    days = slice(datetime(2024, 1, 1), datetime(2024, 1, 2))
    assert torch.equal(pairs[x, y, days]['image_s1'], pairs[x, y, t]['image_s1'])


def test_bounds_are_those_of_torchgeo(write_raster: Writer) -> None:
    pairs = PairedDataset(
        {m: RasterDataset([write_raster(f'{m}.tif')]) for m in ('s1', 's2')}
    )
    x, y, t = pairs.bounds
    for place in (
        (x, y, t),
        (slice(x.start, x.start + 80), slice(y.start, y.start + 80)),
    ):
        expected = pairs._slice_to_tensor(place)
        assert torch.equal(pairs[place]['bounds'], expected)
        assert pairs[place]['bounds'].dtype == expected.dtype


def test_a_pair_slice_is_read_from_the_pair_that_it_names(write_raster: Writer) -> None:
    # Two products of one moment on one place: bounds and dates cannot tell them apart.
    for name, value in (('p1', 1.0), ('p2', 2.0)):
        write_raster(f'a/{name}/t_20240614.tif', data=np.full((1, 40, 40), value))
    write_raster('b/t_20240614.tif', data=np.full((1, 40, 40), 3.0))
    folder = write_raster('c/t_20240614.tif', shape=(40, 40)).parents[1]
    paired = PairedDataset({'a': Dated(folder / 'a'), 'b': Dated(folder / 'b')})
    x, y, t = paired.bounds
    x, y = slice(x.start, x.start + 80), slice(y.start, y.start + 80)
    for row, path in enumerate(Dated(folder / 'a').index['filepath']):
        key = PairSlice(row, x, y, t)
        scene = paired.scenes_at(key)['a']
        assert scene is not None
        assert scene.path == path
        assert paired[key]['image_a'].unique().tolist() == [1.0 if 'p1' in path else 2]
    both = paired.__getitems__([PairSlice(1, x, y, t), (x, y, t)])
    assert [s['image_a'][0, 0, 0].item() for s in both] == [2, 1]
    for row in (2, -1):
        with pytest.raises(IndexError, match=f'pair {row} is not in a dataset of 2'):
            paired[PairSlice(row, x, y, t)]


def test_a_pair_slice_is_a_slice_with_a_row() -> None:
    place = slice(0, 80, 10), slice(5, 85, 10), slice(1, 2, 1)
    key = PairSlice(3, *place)
    x, y, t = key
    assert (x, y, t, key.row) == (*place, 3)
    assert key == place
    assert key != PairSlice(4, *place)
    again = pickle.loads(pickle.dumps(key))
    assert (again, again.row) == (key, 3)
    assert len({key, again, place}) == 1
