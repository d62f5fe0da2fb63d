"""What an index lists is believed: TorchGeo's splits, pixel sizes, types and transforms."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401  (gives xarray its CRS accessor)
import shapely
import torch
import xarray as xr
from affine import Affine
from geopandas import GeoDataFrame
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from torchgeo.datasets import (
    GeoDataset,
    RasterDataset,
    VectorDataset,
    XarrayDataset,
    random_bbox_assignment,
    random_bbox_splitting,
    random_grid_cell_assignment,
    roi_split,
    time_series_split,
)

from torchgeo_cmr.datasets import PairedDataset
from torchgeo_cmr.datasets.listing import read_listing, row_scenes
from torchgeo_cmr.errors import PairingError, RasterError

Writer = Callable[..., Path]

X, Y = 500_000, 5_000_000


class Dated(RasterDataset):
    filename_glob = '*_*.tif'
    filename_regex = r'.*_(?P<date>\d{8})\.tif'


class Classes(RasterDataset):
    is_image = False


class Shapes(VectorDataset):
    filename_glob = '*_*.geojson'
    filename_regex = r'.*_(?P<date>\d{8})\.geojson'


class Cubic(RasterDataset):
    resampling = Resampling.cubic


def ground(dataset: GeoDataset) -> shapely.Geometry:
    return dataset.index.geometry.union_all()


def dates_of(paired: PairedDataset) -> list[str]:
    times: Any = paired.index.index
    return times.left.strftime('%Y%m%d').tolist()


def halves(width: float = 640, height: float = 640) -> list[shapely.Polygon]:
    return [
        shapely.box(X, Y - height, X + width / 2, Y),
        shapely.box(X + width / 2, Y - height, X + width, Y),
    ]


SPLITS = {
    'roi_split': lambda d: roi_split(d, halves()),
    'random_bbox_splitting': lambda d: random_bbox_splitting(d, [0.5, 0.5]),
    'random_grid_cell_assignment': lambda d: random_grid_cell_assignment(
        d, [0.5, 0.5], grid_size=4
    ),
}


class TestSplits:
    @pytest.mark.parametrize('split', SPLITS)
    def test_of_a_member(self, write_raster: Writer, split: str) -> None:
        a = RasterDataset(write_raster('a.tif'))
        b = RasterDataset(write_raster('b.tif'))
        parts = SPLITS[split](a)
        pairs = [PairedDataset({'a': part, 'b': b}) for part in parts]
        for part, paired in zip(parts, pairs, strict=True):
            lost = ground(part).symmetric_difference(ground(paired))
            assert lost.area == pytest.approx(0, abs=1)
        assert (ground(pairs[0]) & ground(pairs[1])).area == pytest.approx(0, abs=1)

    @pytest.mark.parametrize('split', SPLITS)
    def test_of_pairs(self, write_raster: Writer, split: str) -> None:
        paired = PairedDataset(
            {n: RasterDataset(write_raster(f'{n}.tif')) for n in ('a', 'b')}
        )
        paired[paired.bounds]
        for part in SPLITS[split](paired):
            x, y = ground(part).representative_point().coords[0]
            sample = part[x - 5 : x + 5, y - 5 : y + 5]
            assert sample['image_b'].isfinite().all()
            outside = shapely.box(X, Y - 640, X + 640, Y) - ground(part).buffer(20)
            x, y = outside.representative_point().coords[0]
            with pytest.raises(IndexError, match='no pair of scenes covers'):
                part[x - 5 : x + 5, y - 5 : y + 5]

    def test_files_in_another_crs_than_the_index(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif'), crs=CRS.from_epsg(4326))
        whole = read_listing('a', a)
        assert whole.scenes[0].clip is None
        x, y, _ = a.bounds
        middle = (x.start + x.stop) / 2
        west, east = roi_split(
            a,
            [
                shapely.box(x.start, y.start, middle, y.stop),
                shapely.box(middle, y.start, x.stop, y.stop),
            ],
        )
        clips: list[Any] = [
            read_listing('a', part).scenes[0].clip for part in (west, east)
        ]
        assert sum(clip.area for clip in clips) == pytest.approx(640**2, rel=1e-2)
        assert shapely.intersection(*clips).area < 1

    def test_true_footprints_of_products(self, write_raster: Writer) -> None:
        corner = shapely.Polygon([(X, Y), (X + 640, Y), (X, Y - 640)])

        class Footprints(RasterDataset):
            def footprint_from_datasource(self, datasource: object) -> shapely.Polygon:
                return corner

        a = Footprints(write_raster('a.tif'))
        paired = PairedDataset({'a': a, 'b': RasterDataset(write_raster('b.tif'))})
        assert ground(paired).equals(corner)

    def test_assigned_files(self, write_raster: Writer) -> None:
        for i in range(4):
            path = write_raster(f'a/{i}.tif', origin=(X + 640 * i, Y))
        a, b = RasterDataset(path.parent), RasterDataset(path.parent)
        one, other = random_bbox_assignment(a, [0.5, 0.5])
        listed = [
            {*PairedDataset({'a': p, 'b': b}).index.geometry} for p in (one, other)
        ]
        assert [len(part) for part in listed] == [2, 2]
        assert not listed[0] & listed[1]

    def test_dates(self, write_raster: Writer) -> None:
        for date in ('20240101', '20240601'):
            path = write_raster(f'a/x_{date}.tif')
        a = Dated(path.parent)
        _, _, t = a.bounds
        middle: Any = pd.Timestamp('2024-03-01')
        early, late = time_series_split(
            a, [pd.Interval(t.start, middle), pd.Interval(middle, t.stop)]
        )
        dates = [dates_of(PairedDataset({'a': part, 'b': a})) for part in (early, late)]
        assert dates == [['20240101'], ['20240601']]

    def test_ground_and_dates(self, write_raster: Writer) -> None:
        for date in ('20240101', '20240601'):
            path = write_raster(f'a/x_{date}.tif')
        a = Dated(path.parent)
        _, _, t = a.bounds
        middle: Any = pd.Timestamp('2024-03-01')
        times = [pd.Interval(t.start, middle), pd.Interval(middle, t.stop)]
        west = roi_split(a, halves())[0]
        late = time_series_split(a, times)[1]
        for part in (time_series_split(west, times)[1], roi_split(late, halves())[0]):
            paired = PairedDataset({'a': part, 'b': a})
            assert dates_of(paired) == ['20240601']
            assert ground(paired).equals(halves()[0])

    def test_a_split_without_files(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif'))
        (nothing,) = roi_split(a, [shapely.box(0, 0, 1, 1)])
        with pytest.raises(PairingError, match='a lists nothing'):
            PairedDataset({'a': nothing, 'b': a})

    def test_a_partner_that_is_split(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif'))
        b = roi_split(RasterDataset(write_raster('b.tif')), halves()[:1])[0]
        assert ground(PairedDataset({'a': a, 'b': b})).equals(halves()[0])


class TestPixels:
    @pytest.mark.parametrize('res', [20.0, 15.0, 5.0, (20.0, 10.0)])
    def test_stated_size(self, write_raster: Writer, res: float) -> None:
        path = write_raster('a.tif')
        a, b = RasterDataset(path, res=res), RasterDataset(path)
        paired = PairedDataset({'b': b, 'a': a})
        place = slice(X + 120, X + 480), slice(Y - 480, Y - 120)
        sample, twin = paired[place], a[(*place, slice(None))]
        assert paired.members['a'].res == a.res
        assert sample['image_a'].shape == twin['image'].shape
        assert sample['transform_a'][[0, 4]].tolist() == [a.res[0], -a.res[1]]
        # GDAL resamples whole files and windows alike but for their edges.
        inner = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(
            sample['image_a'][inner], twin['image'][inner].float(), atol=1, rtol=0
        )

    def test_first_modality_gives_the_lattice(self, write_raster: Writer) -> None:
        path = write_raster('a.tif')
        paired = PairedDataset(
            {'a': RasterDataset(path, res=20), 'b': RasterDataset(path)}
        )
        assert paired.res == (20, 20)
        assert paired.sizes(8) == {'a': 8, 'b': 16}

    def test_files_of_two_sizes_are_read_at_one(self, write_raster: Writer) -> None:
        write_raster('b/0.tif')
        b = write_raster('b/1.tif', res=20, shape=(32, 32), origin=(X + 640, Y)).parent
        a = write_raster('a.tif', shape=(64, 128))
        paired = PairedDataset({'a': RasterDataset(a), 'b': RasterDataset(b)})
        shapes = {
            paired[x : x + 160, Y - 160 : Y]['image_b'].shape for x in (X, X + 640)
        }
        assert shapes == {(1, 16, 16)}

    @pytest.mark.parametrize('angle', [5, 45, 100])
    def test_rotated_files_keep_their_size(
        self, write_raster: Writer, angle: float
    ) -> None:
        turned = (
            Affine.translation(X, Y) @ Affine.rotation(angle) @ Affine.scale(10, -10)
        )
        b = RasterDataset(write_raster('b.tif', transform=turned, shape=(100, 100)))
        a = write_raster('a.tif', shape=(400, 400), origin=(X - 2000, Y + 2000))
        paired = PairedDataset({'a': RasterDataset(a), 'b': b})
        assert paired.members['b'].res == pytest.approx((10, 10))
        assert paired.gsd('b') == pytest.approx(10)
        outline = [
            turned @ corner for corner in ((0, 0), (100, 0), (100, 100), (0, 100))
        ]
        assert ground(paired).equals_exact(shapely.Polygon(outline), 1e-3) or (
            ground(paired).symmetric_difference(shapely.Polygon(outline)).area < 1
        )
        # Pixels count 100 a row: their values say where they lie.
        x, y = shapely.centroid(ground(paired)).coords[0]
        x, y = round(x, -1), round(y, -1)
        image = paired[x - 80 : x + 80, y - 80 : y + 80]['image_b'][0]
        centres = np.meshgrid(x - 75 + 10 * np.arange(16), y + 75 - 10 * np.arange(16))
        columns, rows = ~turned @ tuple(centres)
        expected = (rows - 0.5) * 100 + columns - 0.5
        np.testing.assert_allclose(image, expected, atol=1.2)

    def test_one_size_at_all_latitudes(self, write_raster: Writer) -> None:
        move = Transformer.from_crs(4326, 32632, always_xy=True).transform
        for i, lat in enumerate((40.0, 55.0)):
            x, y = (round(v, -1) for v in move(9.0, lat))
            a = write_raster(f'a/{i}.tif', origin=(x, y), shape=(100, 100))
            b = write_raster(
                f'b/{i}.tif',
                crs='EPSG:4326',
                res=1e-4,
                origin=(8.99, lat + 0.01),
                shape=(300, 400),
            )
        paired = PairedDataset(
            {'a': RasterDataset(a.parent), 'b': RasterDataset(b.parent)}
        )
        shapes = set()
        for piece in paired.index.geometry:
            x, y = (round(v, -1) for v in shapely.centroid(piece).coords[0])
            sample = paired[x - 320 : x + 320, y - 320 : y + 320]
            shapes.add(tuple(sample['image_b'].shape[1:]))
            assert sample['transform_b'][0] == pytest.approx(paired.gsd('b'), rel=1e-6)
        size = paired.sizes(64)['b']
        assert shapes == {(size, size)}

    def test_a_global_partner(self, write_raster: Writer) -> None:
        world = RasterDataset(
            write_raster(
                'world.tif', crs='EPSG:4326', origin=(-180, 90), res=1, shape=(180, 360)
            )
        )
        paired = PairedDataset({'a': RasterDataset(write_raster('a.tif')), 'w': world})
        assert ground(paired).area == pytest.approx(640**2)
        # Row 44 (46 to 45 degrees north), column 188 or 189 (9 degrees east).
        value = paired[paired.bounds]['image_w'].mean().item()
        assert 44 * 360 + 187 < value < 45 * 360 + 190


class TestTypes:
    def test_classes_in_another_crs(self, write_raster: Writer) -> None:
        codes = np.random.default_rng(0).choice([10, 90], (1, 200, 200))
        left, top = Transformer.from_crs(32632, 4326, always_xy=True).transform(X, Y)
        path = write_raster(
            'c.tif',
            data=codes,
            dtype='uint8',
            crs='EPSG:4326',
            res=1e-4,
            origin=(left, top),
        )
        a = RasterDataset(write_raster('a.tif'))
        sample = PairedDataset({'a': a, 'c': Classes(path)})[
            X + 100 : X + 500, Y - 500 : Y - 100
        ]
        twin = Classes(path, crs=a.crs, res=10)[X + 100 : X + 500, Y - 500 : Y - 100]
        mask = sample['mask_c']
        assert (mask.dtype, mask.ndim) == (twin['mask'].dtype, twin['mask'].ndim)
        assert mask.unique().tolist() == [10, 90]

    @pytest.mark.parametrize(('bands', 'nodata'), [(1, 255), (1, None), (2, 0)])
    def test_classes_are_those_of_torchgeo(
        self, write_raster: Writer, bands: int, nodata: int | None
    ) -> None:
        codes = np.random.default_rng(0).choice([0, 7, 255], (bands, 64, 64))
        names = [f'b{i}' for i in range(bands)]
        path = write_raster(
            'c.tif', data=codes, dtype='uint8', nodata=nodata, bands=names
        )
        c = Classes(path)
        place = slice(X, X + 320), slice(Y - 320, Y)
        paired = PairedDataset({'a': RasterDataset(write_raster('a.tif')), 'c': c})
        mask, twin = paired[place]['mask_c'], c[place]['mask']
        assert mask.dtype == twin.dtype
        assert torch.equal(mask, twin)

    def test_masks_of_real_numbers(self, write_raster: Writer) -> None:
        class Heights(Classes):
            dtype = torch.float32

        path = write_raster('h.tif')
        sample = PairedDataset(
            {'a': RasterDataset(write_raster('a.tif')), 'h': Heights(path)}
        )[X : X + 100, Y - 100 : Y]
        assert sample['mask_h'].dtype == torch.float32
        assert sample['mask_h'].shape == (10, 10)

    def test_resampling_of_the_dataset(self, write_raster: Writer) -> None:
        data = np.random.default_rng(0).random((1, 64, 64))
        path = write_raster('b.tif', data=data)
        place = slice(X + 200, X + 400), slice(Y - 400, Y - 200)
        found = {
            kind: PairedDataset({'a': RasterDataset(path), 'b': kind(path, res=4)})[
                place
            ]
            for kind in (RasterDataset, Cubic)
        }
        twin = Cubic(path, res=4)[place]['image']
        assert (
            found[RasterDataset]['image_b'] - found[Cubic]['image_b']
        ).abs().max() > 0.1
        inner = (..., slice(5, -5), slice(5, -5))
        torch.testing.assert_close(
            found[Cubic]['image_b'][inner], twin[inner].float(), atol=2e-2, rtol=0
        )

    def test_resampling_that_gdal_cannot_warp(self, write_raster: Writer) -> None:
        class Gauss(RasterDataset):
            resampling = Resampling.gauss

        path = write_raster('a.tif')
        with pytest.raises(RasterError, match='b is resampled by gauss'):
            PairedDataset({'a': RasterDataset(path), 'b': Gauss(path)})

    def test_stacks_of_dates_are_refused(self, write_raster: Writer) -> None:
        path = write_raster('a.tif')
        with pytest.raises(PairingError, match='b was opened with time_series=True'):
            PairedDataset(
                {'a': RasterDataset(path), 'b': RasterDataset(path, time_series=True)}
            )

    def test_a_class_that_reads_in_its_own_way(self, write_raster: Writer) -> None:
        class Remapped(Classes):
            def __getitem__(self, index: Any) -> dict[str, torch.Tensor]:
                sample = super().__getitem__(index)
                return {**sample, 'mask': sample['mask'] + 1000}

        for i in (1, 2):
            data = np.full((1, 64, 64), i)
            path = write_raster(f'c/{i}.tif', data=data, dtype='uint8')
        paired = PairedDataset(
            {'c': Remapped(path.parent), 'a': RasterDataset(write_raster('a.tif'))}
        )
        assert [
            paired.members['c']
            .start([row], [(X, Y - 50, X + 50, Y)])()[0]['mask']
            .unique()
            for row in (0, 1)
        ] == [1001, 1002]

    def test_numbers_that_would_be_rounded(self, write_raster: Writer) -> None:
        ids = np.full((1, 64, 64), 2**24 + 1, np.uint32)
        members = {
            'a': RasterDataset(write_raster('a.tif')),
            'c': Classes(write_raster('c.tif', data=ids, dtype='uint32')),
        }
        paired = PairedDataset(members)
        with pytest.raises(RasterError, match='c has whole numbers of 16,777,216'):
            paired[X : X + 640, Y - 640 : Y]

    def test_large_number_for_missing_classes(self, write_raster: Writer) -> None:
        classes = np.full((1, 64, 64), 3, np.uint32)
        classes[:, :32] = 2**32 - 1
        path = write_raster('c.tif', data=classes, dtype='uint32', nodata=2**32 - 1)
        members = {'a': RasterDataset(write_raster('a.tif')), 'c': Classes(path)}
        sample = PairedDataset(members)[X : X + 640, Y - 640 : Y]
        assert sample['mask_c'].unique().tolist() == [3, 2**32 - 1]


class TestOwnReading:
    @pytest.mark.filterwarnings('ignore:The inplace keyword')
    @pytest.mark.parametrize('kind', ['and', 'or', 'shapes', 'pairs'])
    def test_of_one_day_alone(
        self, write_raster: Writer, tmp_path: Path, kind: str
    ) -> None:
        days = ['20240101', '20240102', '20240103']
        for i, day in enumerate(days):
            for name in ('a', 'b', 'c'):
                data = np.full((1, 64, 64), i + 1)
                write_raster(f'{name}_{day}.tif', data=data, dtype='uint8')
            shape = shapely.box(X, Y - 640, X + 640, Y)
            GeoDataFrame({'day': [i + 1]}, geometry=[shape], crs='EPSG:32632').to_file(
                tmp_path / f's_{day}.geojson'
            )
        a, b, c = (
            Dated([str(tmp_path / f'{name}_{day}.tif') for day in days])
            for name in ('a', 'b', 'c')
        )
        other = {
            'and': lambda: b & c,
            'or': lambda: b | c,
            'shapes': lambda: Shapes(
                tmp_path, crs=CRS.from_epsg(32632), res=10, label_name='day'
            ),
            'pairs': lambda: PairedDataset({'b': b, 'c': c}),
        }[kind]()
        paired = PairedDataset({'a': a, 'o': other})
        for i, time in enumerate(paired.index.index):
            sample = paired[X : X + 640, Y - 640 : Y, time.left : time.right]
            read = [v for k, v in sample.items() if k.startswith(('image', 'mask'))]
            assert len(read) > 1
            assert {float(x) for v in read for x in v.unique()} == {i + 1}


class TestTransforms:
    def test_members_see_what_torchgeo_gives(self, write_raster: Writer) -> None:
        seen = []

        def look(sample: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            seen.append(dict(sample))
            return {
                **sample,
                'index': sample['image'].mean(),
                'mask': sample['image'] > 1,
            }

        b = RasterDataset(write_raster('b.tif'), transforms=look)
        place = slice(X + 100, X + 200), slice(Y - 200, Y - 100)
        sample = PairedDataset({'a': RasterDataset(write_raster('a.tif')), 'b': b})[
            place
        ]
        b[place]
        ours, twin = seen
        assert ours.keys() == twin.keys()
        for key, value in twin.items():
            torch.testing.assert_close(ours[key], value, check_dtype=False)
        assert {'image_b', 'mask_b', 'index_b', 'transform_b'} <= sample.keys()
        assert not {'index_a', 'mask_a'} & sample.keys()

    def test_of_the_whole_sample(self, write_raster: Writer) -> None:
        members = {
            n: RasterDataset(
                write_raster(f'{n}.tif'),
                transforms=lambda s: {**s, 'image': s['image'] + 1},
            )
            for n in ('a', 'b')
        }

        def both(sample: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {**sample, 'sum': sample['image_a'] + sample['image_b']}

        paired = PairedDataset(members, transforms=both)
        sample = paired[X : X + 100, Y - 100 : Y]
        assert sample['sum'][0, 0, 1] == 4
        assert len(paired.__getitems__([paired.bounds] * 2)) == 2


class TestCubes:
    @pytest.fixture
    def cube(self, tmp_path: Path) -> Callable[..., XarrayDataset]:
        def make(*dates: str, crs: str = 'EPSG:32632', **options: Any) -> XarrayDataset:
            y = Y - 10 * (np.arange(64) + 0.5)
            x = X + 10 * (np.arange(64) + 0.5)
            values = np.ones((len(dates), 64, 64), np.float32)
            values *= 1 + np.arange(len(dates))[:, None, None]
            bands = {
                name: (('time', 'y', 'x'), values * 10**i)
                for i, name in enumerate(('B02', 'B03', 'SCL'))
            }
            place = tmp_path / 'cube.nc'
            xr.Dataset(
                bands, {'time': pd.to_datetime(dates), 'y': y, 'x': x}
            ).rio.write_crs(crs).to_netcdf(place)
            return XarrayDataset(place, data_vars=('B02', 'B03'), **options)

        return make

    @pytest.mark.parametrize('res', [10, 20, 15])
    def test_one_date_of_each_pair(
        self, write_raster: Writer, cube: Callable[..., XarrayDataset], res: float
    ) -> None:
        a = Dated(write_raster('a/a_20240614.tif').parent)
        c = cube('2024-01-01', '2024-06-12', '2024-12-01', res=res)
        paired = PairedDataset({'a': a, 'c': c}, tolerance='30D')
        assert paired.members['c'].bands == ('B02', 'B03')
        sample = paired[X + 180 : X + 480, Y - 480 : Y - 180]
        assert sample['image_c'].shape == (2, 300 // res, 300 // res)
        assert sample['image_c'].mean((1, 2)).tolist() == [2, 20]
        assert sample['days_apart'].item() == pytest.approx(1, abs=1e-4)

    def test_as_the_first_modality(
        self, write_raster: Writer, cube: Callable[..., XarrayDataset]
    ) -> None:
        b = Dated(write_raster('b/b_20240102.tif').parent)
        paired = PairedDataset({'c': cube('2024-01-01', '2024-06-12'), 'b': b})
        assert dates_of(paired) == ['20240101', '20240612']

    def test_in_another_crs(
        self, write_raster: Writer, cube: Callable[..., XarrayDataset]
    ) -> None:
        left, top = Transformer.from_crs(32632, 4326, always_xy=True).transform(X, Y)
        a = write_raster(
            'a.tif', crs='EPSG:4326', res=1e-4, origin=(left, top), shape=(60, 80)
        )
        paired = PairedDataset({'a': RasterDataset(a), 'c': cube('2024-01-01')})
        piece = paired.index.geometry.iloc[0].buffer(-3e-4).bounds
        sample = paired[piece[0] : piece[2], piece[1] : piece[3]]
        assert sample['image_c'].unique().tolist() == [1, 10]

    def test_dates_that_are_listed(self, cube: Callable[..., XarrayDataset]) -> None:
        c = cube('2024-01-01', '2024-06-12', '2024-12-01')
        _, _, t = c.bounds
        middle: Any = pd.Timestamp('2024-06-12')
        parts: list[Any] = time_series_split(
            c, [pd.Interval(t.start, middle), pd.Interval(middle, t.stop)]
        )
        found = [[s.part for s in row_scenes(part, 0)] for part in parts]
        assert found == [['2024-01-01'], ['2024-06-12', '2024-12-01']]


def test_what_can_be_read_again_is_not_pickled(write_raster: Writer) -> None:
    paired = PairedDataset(
        {n: RasterDataset(write_raster(f'{n}.tif')) for n in ('a', 'b')}
    )
    before = len(pickle.dumps(paired))
    for column in range(0, 640, 80):
        paired[X + column : X + column + 80, Y - 80 : Y]
    paired.valid_share(0, (X, Y - 320, X + 320, Y))
    assert len(pickle.dumps(paired)) == pytest.approx(before, rel=0.02)
    sample = pickle.loads(pickle.dumps(paired))[X : X + 80, Y - 80 : Y]
    assert sample['image_a'].isfinite().all()
