"""Who is paired with whom: dates, undated scenes, zones, and how long that takes."""

import cProfile
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import CRS, Transformer
from torchgeo.datasets import RasterDataset, VectorDataset
from torchgeo.samplers import (
    GriddedPatchSampler,
    RandomPatchSampler,
    RandomTimedeltaSampler,
    SequentialPeriodSampler,
)

from torchgeo_cmr.datasets import PairedDataset
from torchgeo_cmr.datasets.listing import Listing, read_listing
from torchgeo_cmr.datasets.member import Member
from torchgeo_cmr.datasets.pairing import pair_scenes, solid
from torchgeo_cmr.datasets.zones import paired_zones
from torchgeo_cmr.errors import PairingError

Writer = Callable[..., Path]

X, Y = 500_000, 5_000_000


class Maybe(RasterDataset):
    """Files with a date in their name, and files without."""

    filename_glob = '*.tif'
    filename_regex = r'(?:.*_(?P<date>\d{8})|[^_]*)\.tif'

    def _filepath_to_timestamp(self, filepath: Any) -> Any:
        if re.search(r'_\d{8}', Path(str(filepath)).stem):
            return super()._filepath_to_timestamp(str(filepath))
        return pd.Timestamp.min, pd.Timestamp.max


@pytest.fixture
def dated(write_raster: Writer) -> Callable[..., Maybe]:
    def make(name: str, *files: str, **options: object) -> Maybe:
        for value, file in enumerate(files):
            data = np.full((1, 64, 64), float(value))
            path = write_raster(f'{name}/{file}.tif', data=data, **options)
        return Maybe(path.parent)

    return make


class TestUndated:
    @pytest.mark.parametrize('files', [('a', 'z_20240610'), ('b_20240610', 'z')])
    def test_loses_to_any_date(
        self, dated: Callable[..., Maybe], files: tuple[str, str]
    ) -> None:
        members = {'a': dated('a', 'a_20240614'), 'b': dated('b', *files)}
        (place,) = (i for i, file in enumerate(files) if '_' in file)
        for tolerance in (None, '5D'):
            paired = PairedDataset(members, tolerance=tolerance)
            sample = paired[paired.bounds]
            assert sample['image_b'].unique().tolist() == [place]
            assert sample['days_apart'].item() == pytest.approx(3, abs=1e-4)

    def test_fills_what_dates_leave(
        self, dated: Callable[..., Maybe], write_raster: Writer
    ) -> None:
        write_raster('b/x_20240614.tif', shape=(64, 32))
        members = {'a': dated('a', 'a_20240614'), 'b': dated('b', 'undated')}
        paired = PairedDataset(members)
        assert paired.index['days_apart'].isna().tolist() == [False, True]
        assert paired.index.geometry.area.tolist() == [320 * 640] * 2
        assert len(PairedDataset(members, tolerance='1D')) == 1

    def test_no_partner_within_the_tolerance_but_undated_ones(
        self, dated: Callable[..., Maybe]
    ) -> None:
        members = {
            'a': dated('a', 'a_20240614'),
            'b': dated('b', 'b_20240714', 'undated'),
        }
        with pytest.raises(PairingError, match=r'29 days apart and the tolerance is 5'):
            PairedDataset(members, tolerance='5D')


class TestZones:
    @pytest.fixture
    def files(self, write_raster: Writer) -> Callable[..., dict[str, RasterDataset]]:
        """Two places of zone 33; the second modality has its second file in zone 32."""
        move = Transformer.from_crs(32633, 32632, always_xy=True).transform
        x, y = 330_000.0, 4_655_040.0
        there = tuple(round(v, -1) for v in move(x, y + 20_000))

        def make(
            *own: str, dates: tuple[str, str] = ('', '')
        ) -> dict[str, RasterDataset]:
            options = {'crs': 'EPSG:32633', 'shape': (256, 256)}
            write_raster(f'a/p1{dates[0]}.tif', origin=(x, y), **options)
            a = write_raster(f'a/p2{dates[0]}.tif', origin=(x, y + 20_000), **options)
            b = write_raster(f'b/z{dates[1]}.tif', origin=there, shape=(256, 256))
            for name in own:
                origin = (x, y + 20_000 if 'p2' in name else y)
                write_raster(f'b/{name}.tif', origin=origin, **options)
            return {'a': Maybe(a.parent), 'b': Maybe(b.parent)}

        return make

    def test_adding_a_file_never_removes_pairs(
        self, files: Callable[..., dict[str, RasterDataset]]
    ) -> None:
        (one,) = paired_zones(files())
        (both,) = paired_zones(files('p1'))
        assert [len(one), len(both)] == [1, 2]
        before, after = (z.index.geometry.union_all() for z in (one, both))
        assert (before - after).area < 1
        shapes = set()
        for piece in both.index.geometry:
            x, y = shapely.centroid(piece).coords[0]
            shapes.add(both[x : x + 160, y : y + 160]['image_b'].shape)
        assert shapes == {(1, 16, 16)}

    def test_own_files_come_first(
        self, files: Callable[..., dict[str, RasterDataset]]
    ) -> None:
        (zone,) = paired_zones(files('p1', 'p2'))
        scenes = [zone.members['b'].scene(i) for i in zone.index['b']]
        assert not any(scene.warped for scene in scenes if scene)

    def test_own_files_beyond_the_tolerance_hide_none(
        self, files: Callable[..., dict[str, RasterDataset]]
    ) -> None:
        members = files('p2_20240701', dates=('_20240101', '_20240102'))
        (zone,) = paired_zones(members, '5D')
        assert len(zone) == 1
        scene = zone.members['b'].scene(int(zone.index['b'].iloc[0]))
        assert scene is not None
        assert scene.warped

    def test_two_zones_have_one_pixel_size(self, write_raster: Writer) -> None:
        for name in ('a', 'b'):
            write_raster(f'{name}/1.tif', res=10)
            path = write_raster(f'{name}/2.tif', crs='EPSG:32633', res=20)
        members = {n: RasterDataset(path.parents[1] / n) for n in ('a', 'b')}
        zones = paired_zones(members)
        assert [z.crs.to_epsg() for z in zones] == [32632, 32633]
        assert [z.res for z in zones] == [(10, 10)] * 2
        assert members['a'].crs.to_epsg() == 32632
        assert len(members['a']) == 2

    @pytest.mark.slow
    def test_a_stated_crs_is_one_zone(self, write_raster: Writer) -> None:
        write_raster('a/1.tif')
        path = write_raster('a/2.tif', crs='EPSG:32633')
        for code in (32633, 3035):
            a = RasterDataset(path.parent, crs=CRS.from_epsg(code))
            assert [z.crs.to_epsg() for z in paired_zones({'a': a, 'b': a})] == [code]
        assert len(paired_zones({'a': RasterDataset(path.parent), 'b': a})) == 2

    def test_names_are_checked(self, write_raster: Writer) -> None:
        with pytest.raises(PairingError, match='at least two modalities'):
            paired_zones({'a': RasterDataset(write_raster('a.tif'))})


class TestAntimeridian:
    """Zone 60 goes on over 180 degrees, where a raster in degrees may end or begin."""

    WIDTH = 1e-4

    def planted(self, write_raster: Writer, west: float) -> dict[str, RasterDataset]:
        """Two rasters around 180 E, 17 S, whose pixels are their own coordinates."""
        change = Transformer.from_crs('EPSG:4326', 'EPSG:32760', always_xy=True)
        x, y = (round(v, -1) for v in change.transform(179.98, -16.99))
        rows, columns = np.mgrid[:300, :500] + 0.5
        utm = np.stack([columns * 10, rows * 10])
        degrees = np.stack([columns, rows]) * self.WIDTH
        write_raster(
            'utm/1.tif', data=utm, crs='EPSG:32760', origin=(x, y), bands=('x', 'y')
        )
        write_raster(
            'degrees/1.tif',
            data=degrees[:, :, :300],
            crs='EPSG:4326',
            origin=(west, -17.0),
            res=self.WIDTH,
            bands=('x', 'y'),
        )
        self.corners = {'utm': (x, y), 'degrees': (west, -17.0)}
        root = write_raster('unused.tif').parent
        return {name: RasterDataset(root / name) for name in ('utm', 'degrees')}

    @pytest.mark.parametrize('west', [179.985, 180.0, -179.999, -180.01, 179.965])
    @pytest.mark.parametrize('order', [('utm', 'degrees'), ('degrees', 'utm')])
    def test_both_show_the_same_ground(
        self, write_raster: Writer, west: float, order: tuple[str, str]
    ) -> None:
        members = self.planted(write_raster, west)
        paired = PairedDataset({name: members[name] for name in order})
        (piece,) = paired.index.geometry
        width, height = paired.res
        left, _, right, _ = piece.bounds
        assert (right - left) / width > 100
        middle = piece.representative_point()
        x0, y0 = middle.x - 16 * width, middle.y - 16 * height
        sample = paired[x0 : x0 + 32 * width, y0 : y0 + 32 * height]
        places = {}
        for name, (x, y) in self.corners.items():
            pixels = sample[f'image_{name}'].numpy().astype(float)
            assert np.isfinite(pixels).all()
            places[name] = pixels[0].mean() + x, y - pixels[1].mean()
        # The middle of both patches is one place, to within their rounding to pixels.
        change = Transformer.from_crs('EPSG:4326', 'EPSG:32760', always_xy=True)
        moved = change.transform(*places['degrees'])
        assert np.hypot(*np.subtract(moved, places['utm'])) < 15


# TorchGeo uses what pandas deprecates.
@pytest.mark.filterwarnings('ignore:The inplace keyword')
class TestAsTorchGeo:
    @pytest.fixture
    def paired(self, write_raster: Writer) -> PairedDataset:
        return PairedDataset(
            {n: RasterDataset(write_raster(f'{n}.tif')) for n in ('a', 'b')}
        )

    def test_crs_can_be_set(self, paired: PairedDataset) -> None:
        before = paired.bounds
        paired.crs = CRS.from_epsg(4326)
        assert paired.index.crs == paired.crs == CRS.from_epsg(4326)
        assert paired.bounds != before
        assert paired.bounds[0].step == pytest.approx(1.07e-4, rel=0.05)
        west, south, east, north = paired.index.geometry.iloc[0].buffer(-4e-4).bounds
        sample = paired[west:east, south:north]
        assert sample['image_a'].shape == sample['image_b'].shape
        assert sample['image_b'].isfinite().all()
        # Pixels count 64 a row downwards, whatever the CRS.
        assert np.diff(sample['image_a'][0].mean(1)).min() > 40
        paired.crs = CRS.from_epsg(32632)
        assert paired.res == pytest.approx((10, 10), rel=0.1)

    def test_res_can_be_set(self, paired: PairedDataset) -> None:
        paired.res = np.float32(20)  # ty: ignore[invalid-assignment]
        sample = paired[X : X + 160, Y - 160 : Y]
        assert sample['image_a'].shape == (1, 8, 8)
        assert sample['image_b'].shape == (1, 16, 16)

    def test_a_slice_that_asks_for_other_pixels(self, paired: PairedDataset) -> None:
        with pytest.raises(
            PairingError, match=r'pixels of 20 x 20.0?, but every|20 x 20'
        ):
            paired[X : X + 160 : 20, Y - 160 : Y : 20]

    @pytest.mark.parametrize('first', [True, False])
    def test_and(
        self, paired: PairedDataset, write_raster: Writer, first: bool
    ) -> None:
        other = RasterDataset(write_raster('c.tif', shape=(32, 32)))
        both = paired & other if first else other & paired
        sample = both[X + 20 : X + 100, Y - 100 : Y - 20]
        assert {'image', 'image_a', 'image_b'} <= sample.keys()
        assert sample['image'].shape == (1, 8, 8)
        for place in GriddedPatchSampler(both, size=8):
            assert both[place]['image_a'].shape == (1, 8, 8)

    @pytest.mark.parametrize('first', [True, False])
    def test_and_in_another_crs(
        self, paired: PairedDataset, write_raster: Writer, first: bool
    ) -> None:
        left, top = Transformer.from_crs(32632, 4326, always_xy=True).transform(X, Y)
        other = RasterDataset(
            write_raster('c.tif', crs='EPSG:4326', res=1e-4, origin=(left, top))
        )
        both = paired & other if first else other & paired
        assert both.crs == (paired if first else other).crs
        (place, *_) = GriddedPatchSampler(both, size=16)
        sample = both[place]
        assert sample['image'].shape[1:] == sample['image_a'].shape[1:] == (16, 16)

    def test_or(self, paired: PairedDataset, write_raster: Writer) -> None:
        other = PairedDataset(
            {
                n: RasterDataset(write_raster(f'{n}2.tif', origin=(X + 640, Y)))
                for n in ('a', 'b')
            }
        )
        both = paired | other
        assert len(both) == 2
        for x in (X, X + 640):
            assert both[x : x + 80, Y - 80 : Y]['image_b'].shape == (1, 8, 8)

    @pytest.mark.parametrize('units', ['pixels', 'crs'])
    def test_samplers(self, paired: PairedDataset, units: str) -> None:
        from torchgeo.samplers import Units

        options: Any = {'units': Units.PIXELS if units == 'pixels' else Units.CRS}
        size = 16 if units == 'pixels' else 160
        for sampler in (
            RandomPatchSampler(paired, size=size, length=4, **options),
            GriddedPatchSampler(paired, size=size, **options),
        ):
            for place in sampler:
                assert paired[place]['image_b'].shape == (1, 16, 16)

    def test_samplers_of_time(self, dated: Callable[..., Maybe]) -> None:
        days = [f'x_2024060{i}' for i in (1, 3, 5)]
        paired = PairedDataset({'a': dated('a', *days), 'b': dated('b', *days)})
        for sampler in (
            GriddedPatchSampler(paired, size=32)
            @ SequentialPeriodSampler(paired, freq='D'),
            RandomPatchSampler(paired, size=16, length=4)
            @ RandomTimedeltaSampler(
                paired, delta=cast(Any, pd.Timedelta(days=3)), length=4
            ),
        ):
            for place in sampler:
                try:
                    sample = paired[place]
                except IndexError:
                    continue
                assert sample['image_a'].mean() == sample['image_b'].mean()

    def test_members_that_are_not_files_of_pixels(
        self, paired: PairedDataset, write_raster: Writer, tmp_path: Path
    ) -> None:
        import geopandas as gpd

        shape = gpd.GeoSeries([shapely.box(X, Y - 320, X + 640, Y)], crs='EPSG:32632')
        shape.to_crs(4326).to_file(tmp_path / 'v.gpkg')
        vectors = VectorDataset(tmp_path / 'v.gpkg', res=1e-4)
        a = RasterDataset(write_raster('a.tif'))
        pairs = PairedDataset(
            {'a': a, 'v': vectors, 'both': a & RasterDataset(a.paths)}
        )
        sample = pairs[X + 100 : X + 200, Y - 200 : Y - 100]
        assert sample['image_both'].shape == (2, 10, 10)
        assert sample['mask_v'].unique().tolist() == [1]


class TestCost:
    def test_pairing_is_not_quadratic(self) -> None:
        spent, memory = {}, {}
        for count in (500, 4000):
            side = int(np.ceil(count**0.5))
            rows, columns = np.divmod(np.arange(count), side)
            x, y = columns * 1200.0, -rows * 1200.0
            outlines = shapely.box(x, y - 1200, x + 1200, y)
            day = pd.IntervalIndex.from_arrays(
                *([pd.Timestamp(f'2024-06-0{d}')] * count for d in (1, 2)),
                closed='both',
            )
            members = []
            for name in ('a', 'b'):
                member = Member.__new__(Member)
                member.listing = Listing.__new__(Listing)
                member.listing.__dict__ |= {
                    'times': day,
                    'rows': np.arange(count),
                    'foreign': None,
                }
                member.name, member.res = name, (10.0, 10.0)
                member.outlines = outlines
                members.append(member)
            profile = cProfile.Profile()
            tracemalloc.start()
            found = profile.runcall(pair_scenes, members[0], members[1:], None)
            memory[count] = tracemalloc.get_traced_memory()[1] / count
            tracemalloc.stop()
            calls = sum(entry.callcount for entry in profile.getstats())
            spent[count] = calls / count
            assert (found.entries[:, 0] == found.entries[:, 1]).all()
            assert len(found.pieces) == count
        # Calls and bytes, not seconds: a busy machine must not fail this.
        assert spent[4000] < 1.5 * spent[500]
        assert memory[4000] < 1.5 * memory[500]

    def test_files_are_listed_once(
        self, write_raster: Writer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torchgeo_cmr.scenes.scene as module

        looked: list[str] = []
        real = module.assemble

        def count(*args: Any, **options: Any) -> Any:
            looked.append(str(options['path']))
            return real(*args, **options)

        monkeypatch.setattr(module, 'assemble', count)
        for i in range(3):
            a = write_raster(f'a/{i}.tif', origin=(X + 640 * i, Y)).parent
        paired_zones({'a': RasterDataset(a), 'b': RasterDataset(a)})
        assert len(looked) == 6


@pytest.mark.parametrize(
    ('geometry', 'area'),
    [
        (shapely.box(0, 0, 10, 10), 100),
        (shapely.box(0, 0, 0.5, 1000), 0),
        (shapely.LineString([(0, 0), (5, 5)]), 0),
        (
            shapely.MultiPolygon(
                [shapely.box(0, 0, 9, 9), shapely.box(20, 0, 20.1, 90)]
            ),
            81,
        ),
        (shapely.Polygon([(0, 0), (100, 100), (100, 100.5), (0, 0.5)]), 0),
        (shapely.Polygon([(0, 0), (100, 0), (0, 100)]), 5000),
        (shapely.GeometryCollection([shapely.Point(1, 1), shapely.box(0, 0, 3, 3)]), 9),
    ],
)
def test_slivers_hold_no_pixel(geometry: shapely.Geometry, area: float) -> None:
    assert solid(geometry, 0.5).area == pytest.approx(area)


def test_a_listing_can_be_cut(write_raster: Writer) -> None:
    for i in range(3):
        a = write_raster(f'a/{i}.tif', origin=(X + 640 * i, Y)).parent
    some = read_listing('a', RasterDataset(a)).select(np.array([True, False, True]))
    assert len(some) == len(some.scenes) == len(some.times) == 2
    assert some.rows.tolist() == [0, 2]
