import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import torch
import torch.distributed as dist
from pyproj import CRS, Transformer
from shapely import Polygon, box, transform
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler
from torchgeo.datasets import RasterDataset, VectorDataset, stack_samples
from torchgeo.samplers import Units

from torchgeo_cmr.datasets.paired import PairedDataset, PairSlice
from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.samplers import Area, DisjointBatchSampler
from torchgeo_cmr.samplers.patch_area import Bounds, PatchKey

type Writer = Callable[..., Path]

TIME = pd.IntervalIndex.from_breaks(
    pd.to_datetime(['2024-01-01', '2024-01-02']), closed='both'
)[0]


def area(polygon: Polygon, zone: int = 0, epsg: int = 32632) -> Area:
    return Area(
        zone=zone,
        polygon=polygon,
        crs=CRS.from_epsg(epsg),
        time=TIME,
        origin=polygon.bounds[:2],
        res=(10, 10),
        size=8,
    )


def outline(key: PatchKey) -> Polygon:
    x, y = key[1][:2]
    return box(x.start, y.start, x.stop, y.stop)


def overlaps(batch: list[PatchKey]) -> int:
    pairs = itertools.combinations([outline(key) for key in batch], 2)
    return sum(a.intersection(b).area > 0 for a, b in pairs)


WIDE = box(500_000, 5_000_000, 504_000, 5_004_000)


class TestDisjointBatchSampler:
    def test_no_two_patches_of_a_batch_overlap(self) -> None:
        sampler = DisjointBatchSampler([area(WIDE)], 128, length=1280, generator=0)
        batches = list(sampler)
        assert [len(batch) for batch in batches] == [128] * 10
        assert sum(overlaps(batch) for batch in batches) == 0
        # the check itself can fail: batches of independent draws do overlap
        assert (
            overlaps(
                [batch[0] for batch in batches] + [batch[1] for batch in batches] * 2
            )
            > 0
        )

    def test_two_dates_of_one_place_do_not_meet(self) -> None:
        sampler = DisjointBatchSampler(
            [area(WIDE), area(WIDE)], 64, length=640, generator=0
        )
        assert sum(overlaps(batch) for batch in sampler) == 0

    def test_two_zones_over_one_ground_do_not_meet(self) -> None:
        there = Transformer.from_crs(32632, 32633)
        moved = transform(
            WIDE.segmentize(100), lambda xy: np.stack(there.transform(*xy.T), axis=-1)
        )
        sampler = DisjointBatchSampler(
            [area(WIDE), area(moved, zone=1, epsg=32633)], 64, length=640, generator=0
        )
        back = Transformer.from_crs(32633, 32632)

        def on_ground(key: PatchKey) -> Polygon:
            shape = outline(key)
            if key[0] == 0:
                return shape
            return transform(shape, lambda xy: np.stack(back.transform(*xy.T), axis=-1))

        zones = set()
        for batch in sampler:
            zones |= {key[0] for key in batch}
            shapes = [on_ground(key) for key in batch]
            for a, b in itertools.combinations(shapes, 2):
                assert a.intersection(b).area < 1
        assert zones == {0, 1}

    def test_is_a_batch_sampler(self) -> None:
        assert isinstance(DisjointBatchSampler([area(WIDE)], 4), BatchSampler)

    def test_epochs_differ_and_repeat_by_seed(self) -> None:
        one, two, other = (
            DisjointBatchSampler([area(WIDE)], 8, length=16, generator=seed)
            for seed in (1, 1, 2)
        )
        first, second = list(one), list(one)
        assert first != second
        assert first == list(two)
        assert first != list(other)
        two.set_epoch(1)
        assert list(two) == second

    def test_epoch_of_an_injected_sampler_counts(self) -> None:
        injected = DistributedSampler(range(4), num_replicas=1, rank=0)  # ty: ignore[invalid-argument-type]
        sampler = DisjointBatchSampler(
            [area(WIDE)], 8, length=16, generator=0, sampler=injected
        )
        first = list(sampler)
        assert list(sampler) == first
        injected.set_epoch(1)
        assert list(sampler) != first

    def test_default_length_covers_the_ground_once(self) -> None:
        sampler = DisjointBatchSampler([area(WIDE)], 10, generator=0)
        assert sampler.length == 50 * 50
        assert len(sampler) == 250
        assert len(list(sampler)) == 250

    def test_draws_are_uniform_over_areas(self) -> None:
        small = box(600_000, 5_000_000, 601_000, 5_004_000)
        keys = [
            k
            for b in DisjointBatchSampler(
                [area(WIDE), area(small)], 10, length=2000, generator=0
            )
            for k in b
        ]
        share = np.mean([k[1][0].start >= 600_000 for k in keys])
        # 1 of 5 parts of the ground, less at the edges where no patch can start
        assert 0.15 < share < 0.25

    def test_full_ground_shortens_the_batch_with_one_warning(self) -> None:
        tight = box(0, 0, 320, 320)
        sampler = DisjointBatchSampler([area(tight)], 16, length=64, generator=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            batches = list(sampler)
        assert len(caught) == 1
        assert 'fit side by side' in str(caught[0].message)
        assert all(4 <= len(batch) <= 16 for batch in batches)
        assert sum(overlaps(batch) for batch in batches) == 0

    def test_each_chip_once_an_epoch(self) -> None:
        chips = [area(box(80 * i, 0, 80 * i + 80, 80)) for i in range(23)]
        sampler = DisjointBatchSampler(chips, 5, drop_last=False)
        for _ in range(2):
            batches = list(sampler)
            assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
            assert len({outline(key).wkt for batch in batches for key in batch}) == 23
        assert len(DisjointBatchSampler(chips, 5)) == 4

    def test_overlapping_chips_wait_for_the_next_batch(self) -> None:
        chips = [
            area(box(0, 0, 80, 80)),
            area(box(40, 0, 120, 80)),
            area(box(500, 0, 580, 80)),
        ]
        sampler = DisjointBatchSampler(chips, 2, drop_last=False)
        for _ in range(5):
            batches = list(sampler)
            assert sorted(len(batch) for batch in batches) == [1, 2]
            assert sum(overlaps(batch) for batch in batches) == 0

    def test_chips_and_places_without_room_for_a_patch(self) -> None:
        """As where another sensor shows a part of some chips only."""
        chips = [area(box(100 * i, 0, 100 * i + 80, 80)) for i in range(10)]
        cut = [area(box(100 * i, 200, 100 * i + 80, 250)) for i in range(10)]
        for length in (None, 64):
            sampler = DisjointBatchSampler(
                [*cut, *chips], 4, length=length, drop_last=False, generator=0
            )
            drawn = [outline(key).wkt for batch in sampler for key in batch]
            assert len(drawn) == len(set(drawn)) == 10
            ground = shapely.union_all([chip.polygon for chip in chips])
            assert shapely.union_all(shapely.from_wkt(drawn)).equals(ground)
        with pytest.raises(PairingError, match='no patch fits into the training'):
            DisjointBatchSampler(cut, 4)

    def test_chips_and_a_scene_without_a_valid_pixel(self) -> None:
        chips = [area(box(100 * i, 0, 100 * i + 80, 80)) for i in range(10)]
        scene = replace(area(WIDE), valid=lambda bounds: 0.0)
        sampler = DisjointBatchSampler([scene, *chips], 4, length=64, drop_last=False)
        with pytest.warns(UserWarning, match='epochs are of the chips alone'):
            assert len(sampler) == 3
        drawn = [outline(key).wkt for batch in sampler for key in batch]
        assert len(drawn) == len(set(drawn)) == 10
        alone = DisjointBatchSampler([scene], 4, length=64)
        with (
            pytest.warns(UserWarning, match='only 0 of 4 patches'),
            pytest.raises(PairingError, match='no patch could be placed'),
        ):
            list(alone)

    def test_chips_and_scenes_together(self) -> None:
        chips = [area(box(80 * i, 0, 80 * i + 80, 80)) for i in range(10)]
        sampler = DisjointBatchSampler([*chips, area(WIDE)], 6, length=20, generator=0)
        keys = [outline(key).bounds for batch in sampler for key in batch]
        assert len(keys) == 30
        assert sum(bounds[1] == 0 for bounds in keys) == 10

    @pytest.mark.parametrize(
        ('count', 'empty', 'drop_last', 'sizes'),
        [
            (64, 0, True, [16] * 4),
            (64, 32, True, [16] * 2),
            (64, 31, True, [16] * 2),
            (64, 31, False, [16, 16, 1]),
            (64, 60, True, [4]),
            (10, 0, True, [10]),
        ],
    )
    def test_as_many_batches_as_it_says(
        self, count: int, empty: int, drop_last: bool, sizes: list[int]
    ) -> None:
        looks = []

        def valid(bounds: Bounds) -> float:
            looks.append(bounds)
            return float(bounds[0] >= 80 * empty)

        chips = [
            replace(area(box(80 * i, 0, 80 * i + 80, 80)), valid=valid, min_valid=0.5)
            for i in range(count)
        ]
        sampler = DisjointBatchSampler(chips, 16, drop_last=drop_last)
        for _ in range(2):
            assert [len(batch) for batch in sampler] == sizes
            assert len(sampler) == len(sizes)
        assert len(looks) == count

    def test_only_empty_chips(self) -> None:
        chip = replace(area(box(0, 0, 80, 80)), valid=lambda _: 0.0)
        sampler = DisjointBatchSampler([chip], 16)
        for use in (len, list):
            with pytest.raises(PairingError, match='none of 1 chips has enough valid'):
                use(sampler)

    def test_length_limits_chips(self) -> None:
        chips = [area(box(80 * i, 0, 80 * i + 80, 80)) for i in range(50)]
        sampler = DisjointBatchSampler(chips, 8, length=24, generator=0)
        first, second = ({k[1][0].start for b in sampler for k in b} for _ in range(2))
        assert len(sampler) == 3
        assert len(first) == len(second) == 24
        assert first != second

    def test_nothing_fits(self) -> None:
        for areas in ([], [area(box(0, 0, 70, 500))]):
            with pytest.raises(PairingError, match=r'no patch fits .* smaller patch_s'):
                DisjointBatchSampler(areas, 4)

    def test_nothing_valid(self) -> None:
        empty = replace(area(WIDE), valid=lambda _: 0.0, min_valid=0.5)
        with (
            pytest.warns(UserWarning, match='side by side'),
            pytest.raises(PairingError, match='lower min_valid'),
        ):
            list(DisjointBatchSampler([empty], 4, length=8, generator=0))

    def test_batch_size(self) -> None:
        with pytest.raises(ValueError, match='batch_size is 0'):
            DisjointBatchSampler([area(WIDE)], 0)


class Dated(RasterDataset):
    filename_regex = r'.*_(?P<date>\d{8}T\d{6})'
    date_format = '%Y%m%dT%H%M%S'


@pytest.fixture
def member(write_raster: Writer) -> Dated:
    """Two dates of one place, apart from one another by half of it."""
    count = np.arange(128 * 128).reshape(1, 128, 128)
    for date, east in (('20240601T101010', 5e5), ('20240611T101010', 500_640)):
        path = write_raster(
            f'a/a_{date}.tif', data=count, dtype='int32', origin=(east, 5e6)
        )
    return Dated(path.parent)


class TestDataset:
    """Any dataset of TorchGeo, by the conventions of TorchGeo's own samplers."""

    def test_rasters_through_a_loader(self, member: Dated) -> None:
        sampler = DisjointBatchSampler(
            member, size=16, batch_size=8, length=64, generator=0
        )
        assert len(sampler) == 8
        loader = DataLoader(
            member, batch_sampler=sampler, collate_fn=stack_samples, num_workers=0
        )
        batches = list(loader)
        assert [batch['image'].shape for batch in batches] == [(8, 1, 16, 16)] * 8
        for batch in batches:
            # Pixels of the files themselves: rows of consecutive numbers.
            assert (batch['image'].diff(dim=-1) == 1).all()
        keys = [key for batch in sampler for key in batch]
        assert len({t.start for _, _, t in keys}) == 2
        for batch in sampler:
            assert overlaps([(0, key) for key in batch]) == 0

    def test_pairs_name_their_row(self, member: Dated) -> None:
        pairs = PairedDataset({'a': member, 'b': member})
        sampler = DisjointBatchSampler(pairs, size=8, batch_size=4, generator=0)
        batch = next(iter(sampler))
        assert all(isinstance(key, PairSlice) for key in batch)
        (sample, *_) = pairs.__getitems__(batch)
        assert torch.equal(sample['image_a'], sample['image_b'])
        assert sample['image_a'].shape == (1, 8, 8)

    @pytest.mark.filterwarnings('ignore:The inplace keyword')  # TorchGeo uses it
    def test_vectors_and_intersections(self, member: Dated, tmp_path: Path) -> None:
        ground = gpd.GeoSeries([box(5e5, 4_999_000, 501_000, 5e6)], crs='EPSG:32632')
        ground.to_file(tmp_path / 'v.gpkg')
        vectors = VectorDataset(tmp_path / 'v.gpkg', res=(10, 10))
        for dataset in (vectors, member & vectors, member | vectors):
            sampler = DisjointBatchSampler(dataset, size=16, batch_size=4, length=8)
            for batch in sampler:
                assert len(batch) == 4
                sample = dataset[batch[0]]
                found = [sample[key] for key in ('image', 'mask') if key in sample]
                assert found
                assert all(pixels.shape[-2:] == (16, 16) for pixels in found)

    def test_sizes_and_units(self, member: Dated) -> None:
        settings = {'batch_size': 2, 'length': 2, 'generator': 0}
        for size, units, expected in (
            (16, Units.PIXELS, (160, 160)),
            ((8, 16), Units.PIXELS, (160, 80)),
            (320.0, Units.CRS, (320, 320)),
            ((80, 240), Units.CRS, (240, 80)),
        ):
            sampler = DisjointBatchSampler(member, size=size, units=units, **settings)  # ty: ignore[invalid-argument-type]
            for x, y, _ in next(iter(sampler)):
                assert (x.stop - x.start, y.stop - y.start) == expected

    def test_roi_and_toi(self, member: Dated) -> None:
        roi = box(5e5, 4_999_300, 501_100, 4_999_900)
        times = pd.to_datetime(['2024-06-05', '2024-07-01'])
        toi = pd.IntervalIndex.from_breaks(times, closed='both')[0]
        options: dict[str, Any] = {
            'size': 8,
            'batch_size': 4,
            'length': 40,
            'generator': 1,
        }
        keys = [
            k
            for b in DisjointBatchSampler(member, roi=roi, toi=toi, **options)
            for k in b
        ]
        assert len(keys) > 4
        for key in keys:
            assert roi.covers(outline((0, key)))
            assert key[2].start >= pd.Timestamp(2024, 6, 11)
        zoned = pd.Interval(
            *(t.tz_localize('Europe/Rome') for t in times), closed='both'
        )
        first = next(iter(DisjointBatchSampler(member, roi=roi, toi=zoned, **options)))
        assert first == keys[: len(first)]
        with pytest.raises(PairingError, match='no row of the dataset lies in roi'):
            DisjointBatchSampler(member, roi=box(0, 0, 1, 1), **options)

    def test_generators(self, member: Dated) -> None:
        def draw(generator: Any) -> list[Any]:
            return list(
                DisjointBatchSampler(member, size=8, batch_size=4, generator=generator)
            )

        assert draw(3) == draw(3) != draw(4)
        assert draw(np.random.default_rng(3)) == draw(np.random.default_rng(3))
        assert draw(np.random.SeedSequence(3)) == draw(np.random.SeedSequence(3))
        torch_too = [draw(torch.Generator().manual_seed(3)) for _ in range(2)]
        assert torch_too[0] == torch_too[1]
        assert draw(None) != draw(None)

    @pytest.mark.slow
    def test_plot(self, member: Dated) -> None:
        sampler = DisjointBatchSampler(member, size=8, batch_size=4, length=12)
        animation = sampler.plot()
        html = animation.to_jshtml()
        assert html.count('data:image/png') == 3
        there = Transformer.from_crs(32632, 32633)
        east = transform(WIDE, lambda xy: np.stack(there.transform(*xy.T), axis=-1))
        two = DisjointBatchSampler([area(WIDE), area(east, 1, 32633)], 8, length=8)
        assert two.plot().to_jshtml()

    def test_refused(self, member: Dated) -> None:
        with pytest.raises(ValueError, match='size is missing'):
            DisjointBatchSampler(member, 8)
        with pytest.raises(ValueError, match='size is 3 CRS: a patch needs a pixel'):
            DisjointBatchSampler(member, 8, size=3, units=Units.CRS)
        wrong: Any = 'crs'
        with pytest.raises(TypeError, match="units is 'crs': give Units"):
            DisjointBatchSampler(member, 8, size=80, units=wrong)
        with pytest.raises(ValueError, match='length is 0: it must be at least 1'):
            DisjointBatchSampler(member, 8, size=8, length=0)


def draw(rank: int, folder: str) -> None:
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    for name, generator in (('fixed', 0), ('random', None)):
        sampler = DisjointBatchSampler([area(WIDE)], 16, length=64, generator=generator)
        lines = [[outline(key).wkt for key in batch] for batch in sampler]
        Path(folder, f'{name}_{rank}.txt').write_text(
            '\n'.join(' | '.join(line) for line in lines)
        )
    dist.destroy_process_group()


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_disjoint
test_disjoint.draw(int(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.slow
def test_two_processes_share_one_disjoint_batch(tmp_path: Path) -> None:
    here = Path(__file__).parent
    forked.run_together(*(('-c', SCRIPT, here, rank, tmp_path) for rank in (0, 1)))
    shares = {
        name: [
            [
                line.split(' | ')
                for line in (tmp_path / f'{name}_{rank}.txt').read_text().splitlines()
            ]
            for rank in (0, 1)
        ]
        for name in ('fixed', 'random')
    }
    whole = DisjointBatchSampler([area(WIDE)], 32, length=64, generator=0)
    for expected, left, right in zip(whole, *shares['fixed'], strict=True):
        assert len(left) == len(right) == 16
        assert {outline(key).wkt for key in expected} == {*left, *right}
    # Without a seed they agree on one.
    for left, right in zip(*shares['random'], strict=True):
        drawn = [shapely.from_wkt(wkt) for wkt in (*left, *right)]
        assert len(drawn) == 32
        for one, other in itertools.combinations(drawn, 2):
            assert one.intersection(other).area == 0
    assert shares['random'] != shares['fixed']


class TestGather:
    def test_groups_are_near_and_batches_stay_disjoint(self) -> None:
        sampler = DisjointBatchSampler(
            [area(WIDE)], 64, length=640, gather=8, generator=0
        )
        spans = []
        for batch in sampler:
            assert len(batch) == 64
            assert overlaps(batch) == 0
            corners = np.array([outline(key).bounds[:2] for key in batch])
            spans += [np.ptp(g, axis=0).max() for g in corners.reshape(8, 8, 2)]
        # a square with room for four groups is 2 * 8 ** 0.5 patches wide; a group that
        # finds no more room in its square goes on elsewhere
        near = np.array(spans) <= 2 * 8**0.5 * 80
        assert near.mean() > 0.8

    @pytest.mark.slow
    def test_ground_is_still_covered_evenly(self) -> None:
        sampler = DisjointBatchSampler(
            [area(WIDE)], 64, length=12_800, gather=8, generator=0
        )
        keys = [key for batch in sampler for key in batch]
        centres = np.array([outline(key).centroid.coords[0] for key in keys])
        inner = centres[(np.abs(centres - (502_000, 5_002_000)) < 1_600).all(axis=1)]
        counts, _, _ = np.histogram2d(*inner.T, bins=4)
        assert counts.min() > 0.7 * counts.mean()

    @pytest.mark.slow
    def test_a_batch_tells_less_than_its_size_says(self) -> None:
        # what is lost in randomness: variance of the mean of a smooth field over a batch
        def spread(gather: int) -> float:
            sampler = DisjointBatchSampler(
                [area(WIDE)], 64, length=64 * 150, gather=gather, generator=0
            )
            means = [
                np.mean([np.sin(outline(key).centroid.x / 300) for key in batch])
                for batch in sampler
            ]
            return float(np.var(means))

        assert 2 < spread(8) / spread(1) < 8.5

    def test_group_without_room_goes_elsewhere(self) -> None:
        small = [
            area(box(500_000 + x, 5_000_000, 500_120 + x, 5_000_080))
            for x in range(0, 8_000, 400)
        ]
        (batch,) = DisjointBatchSampler(small, 16, length=16, gather=8, generator=0)
        assert len(batch) == 16
        assert overlaps(batch) == 0

    def test_a_group_of_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match='gather is 0: it must be at least 1'):
            DisjointBatchSampler([area(WIDE)], 8, gather=0)
