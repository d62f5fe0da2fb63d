import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
import torch
from lightning.pytorch import LightningModule, Trainer
from shapely import box
from torch import Tensor, nn
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets import GeoDataset, RasterDataset

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.errors import PairingError, RasterError
from torchgeo_cmr.samplers import DisjointBatchSampler
from torchgeo_cmr.samplers.patch_area import PatchKey

Writer = Callable[..., Path]


#: A trainer that writes nothing.
QUIET: Any = {
    'accelerator': 'cpu',
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
    'num_sanity_val_steps': 0,
}


@pytest.fixture
def members(write_raster: Writer) -> dict[str, GeoDataset]:
    """Two rasters on one grid; both hold the number of their pixel."""
    count = np.arange(256 * 256).reshape(1, 256, 256)
    a = write_raster('a.tif', data=count, bands=('a1',), dtype='int32')
    b = write_raster(
        'b.tif', data=np.concatenate([count, -count]), bands=('b1', 'b2'), dtype='int32'
    )
    return {'a': RasterDataset(a), 'b': RasterDataset(b)}


def outline(key: PatchKey) -> shapely.Polygon:
    x, y = key[1][:2]
    return box(x.start, y.start, x.stop, y.stop)


def drawn_keys(data: PairedDataModule) -> list[PatchKey]:
    sampler = data.train_dataloader().batch_sampler
    assert isinstance(sampler, DisjointBatchSampler)
    return [key for batch in sampler for key in batch]


class TestSplits:
    def test_no_train_and_test_patch_touch(
        self, members: dict[str, GeoDataset]
    ) -> None:
        data = PairedDataModule(
            members, patch_size=8, block=4, length=3000, batch_size=32
        )
        data.setup('fit')
        drawn = shapely.union_all([outline(k) for k in drawn_keys(data)])
        test = shapely.union_all([outline(key) for key in data.places('test')])
        val = shapely.union_all([outline(key) for key in data.places('val')])
        assert drawn.distance(test) >= 80 - 1e-6
        assert drawn.distance(val) >= 80 - 1e-6
        assert val.distance(test) >= 80 - 1e-6
        # nearly all of the training ground is reached
        ground = data.ground('train').to_crs('EPSG:32632').union_all()
        assert drawn.area > 0.8 * ground.area

    def test_test_grid_fills_its_ground(self, members: dict[str, GeoDataset]) -> None:
        data = PairedDataModule(members, patch_size=8, block=4, test_split=0.25)
        keys = data.places('test')
        ground = data.ground('test').to_crs('EPSG:32632').union_all()
        assert len(keys) * 80**2 == pytest.approx(ground.area, rel=1e-6)
        assert len({outline(key).wkt for key in keys}) == len(keys)

    def test_place_is_seen_once_whatever_its_dates(self, write_raster: Writer) -> None:
        class Dated(RasterDataset):
            filename_regex = r'.*_(?P<date>\d{8})\.tif'

        for name, dates in {
            'a': ('20240101', '20240601'),
            'b': ('20240102', '20240602'),
        }.items():
            for date in dates:
                write_raster(f'{name}/{name}_{date}.tif', shape=(128, 128))
        folder = write_raster('c.tif').parent
        data = PairedDataModule(
            {n: Dated(folder / n) for n in ('a', 'b')},
            patch_size=8,
            block=4,
            batch_size=8,
        )
        outlines = [outline(key).wkt for key in data.places('test')]
        assert len(outlines) == len(set(outlines)) > 0
        dates = {k[1][2].start for k in drawn_keys(data)}
        assert len(dates) == 2

    def test_two_zones_stay_in_their_grids(self, write_raster: Writer) -> None:
        for name in ('a', 'b'):
            write_raster(
                f'{name}/1.tif', shape=(128, 128), data=np.full((1, 128, 128), 1.0)
            )
            write_raster(
                f'{name}/2.tif', crs='EPSG:32633', data=np.full((1, 128, 128), 2.0)
            )
        folder = write_raster('c.tif').parent
        data = PairedDataModule(
            {n: RasterDataset(folder / n) for n in ('a', 'b')}, patch_size=8, block=4
        )
        data.setup('fit')
        assert [zone.crs.to_epsg() for zone in data.zones] == [32632, 32633]
        seen = set()
        for batch in data.train_dataloader():
            values = batch['image_a'].flatten(1)
            assert torch.equal(values.amin(1), values.amax(1))
            assert torch.equal(batch['image_a'], batch['image_b'])
            seen |= set(values[:, 0].tolist())
        assert seen == {1.0, 2.0}
        assert len(data.ground('train')) == 2

    @pytest.mark.parametrize('stating', ['EPSG:32632', 'EPSG:32633'])
    def test_the_zone_that_states_a_scale_describes_it(
        self, write_raster: Writer, stating: str
    ) -> None:
        for name, crs in itertools.product('ab', ('EPSG:32632', 'EPSG:32633')):
            path = write_raster(
                f'{name}/{crs[-2:]}.tif', shape=(64, 64), crs=crs, dtype='uint16'
            )
            if crs == stating:
                with rasterio.open(path, 'r+') as file:
                    file.scales = [1e-4] * file.count
        data = PairedDataModule(
            {n: RasterDataset(path.parents[1] / n) for n in 'ab'}, patch_size=8, block=2
        )
        assert all(set(each['scale']) == {1e-4} for each in data.describe().values())

    def test_ready_made_splits(self, write_raster: Writer) -> None:
        def pair(east: float) -> dict[str, GeoDataset]:
            return {
                n: RasterDataset(
                    write_raster(
                        f'{n}{east}.tif', origin=(5e5 + east, 5e6), shape=(40, 40)
                    )
                )
                for n in ('a', 'b')
            }

        data = PairedDataModule(
            train=pair(0), test=pair(5000), patch_size=10, batch_size=4
        )
        data.setup('fit')
        assert len(data.places('test')) == 16
        assert all(outline(key).bounds[0] >= 505_000 for key in data.places('test'))
        assert all(k[1][0].start < 501_000 for k in drawn_keys(data))
        assert data.val_dataloader() == []
        assert data.modalities == ('a', 'b')

    def test_chips_are_used_whole(self, write_raster: Writer) -> None:
        for name in ('a', 'b'):
            for i, j in itertools.product(range(6), range(6)):
                write_raster(
                    f'{name}/{i}{j}.tif',
                    shape=(16, 16),
                    origin=(5e5 + 160 * i, 5e6 - 160 * j),
                )
        folder = write_raster('c.tif').parent
        data = PairedDataModule(
            {n: RasterDataset(folder / n) for n in ('a', 'b')},
            patch_size=16,
            block=2,
            batch_size=2,
            val_split=0,
        )
        data.setup('fit')
        keys = drawn_keys(data)
        trained, tested = (
            {outline(k).wkt for k in ks} for ks in (keys, data.places('test'))
        )
        assert len(keys) == len(trained) > 0
        assert len(tested) > 0
        near = shapely.union_all([shapely.from_wkt(w) for w in trained])
        assert (
            near.distance(shapely.union_all([shapely.from_wkt(w) for w in tested])) > 0
        )


class TestBatches:
    def test_modalities_show_one_place_and_flip_together(
        self, members: dict[str, GeoDataset]
    ) -> None:
        data = PairedDataModule(members, patch_size=8, block=4, batch_size=16)
        flipped = []

        class Probe(LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(1))

            def training_step(self, batch: dict[str, Tensor]) -> Tensor:
                assert batch['image_a'].shape == (16, 1, 8, 8)
                assert torch.equal(batch['image_a'][:, 0], batch['image_b'][:, 0])
                assert torch.equal(batch['image_a'], -batch['image_b'][:, 1:])
                step = batch['image_a'][:, 0, 0, 1] - batch['image_a'][:, 0, 0, 0]
                flipped.extend(step.tolist())
                return self.weight.sum()

            def validation_step(self, batch: dict[str, Tensor]) -> None:
                step = batch['image_a'][:, 0, 0, 1] - batch['image_a'][:, 0, 0, 0]
                assert (step == 1).all()

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=0)

        trainer = Trainer(max_steps=4, **QUIET)
        trainer.fit(Probe(), data)
        assert set(flipped) == {1.0, -1.0}

    def test_patches_without_data_are_left_out(self, write_raster: Writer) -> None:
        data = np.ones((1, 256, 256))
        data[0, :128] = 0
        a = RasterDataset(write_raster('a.tif', data=data, nodata=0))
        b = RasterDataset(write_raster('b.tif', shape=(256, 256)))
        module = PairedDataModule(
            {'a': a, 'b': b},
            patch_size=8,
            block=4,
            min_valid=0.9,
            length=400,
            batch_size=16,
        )
        module.setup('fit')
        shares = [
            float(torch.isfinite(patch).float().mean())
            for batch in module.train_dataloader()
            for patch in batch['image_a']
        ]
        assert min(shares) >= 0.7
        assert np.mean(shares) > 0.98
        for batch in module.test_dataloader():
            assert torch.isfinite(batch['image_a']).float().mean() > 0.9

    def test_workers_read_the_same(self, members: dict[str, GeoDataset]) -> None:
        batches = []
        for workers in (0, 1):
            data = PairedDataModule(
                members,
                patch_size=8,
                block=4,
                batch_size=8,
                length=16,
                num_workers=workers,
            )
            data.setup('fit')
            batches.append([batch['image_b'] for batch in data.train_dataloader()])
        for one, other in zip(*batches, strict=True):
            assert torch.equal(one, other)

    def test_predict_covers_all_splits(self, members: dict[str, GeoDataset]) -> None:
        data = PairedDataModule(members, patch_size=8, block=4, batch_size=64)
        data.setup('predict')
        total = sum(len(batch['bounds']) for batch in data.predict_dataloader())
        assert total == sum(len(data.places(s)) for s in ('train', 'val', 'test'))

    @pytest.mark.filterwarnings('ignore:.*overfit')
    @pytest.mark.filterwarnings('ignore:.*does not have many workers')
    def test_overfitting_repeats_one_batch(
        self, members: dict[str, GeoDataset]
    ) -> None:
        seen: dict[str, list[Tensor]] = {'train': [], 'val': []}

        class Probe(LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(1))

            def training_step(self, batch: dict[str, Tensor]) -> Tensor:
                seen['train'].append(batch['bounds'])
                return self.weight.sum()

            def validation_step(self, batch: dict[str, Tensor]) -> None:
                seen['val'].append(batch['bounds'])

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        data = PairedDataModule(members, patch_size=8, block=4, batch_size=8, length=64)
        trainer = Trainer(max_epochs=3, overfit_batches=1, **QUIET)
        trainer.fit(Probe(), data)
        for batches in seen.values():
            assert len(batches) == 3
            assert all(torch.equal(batch, batches[0]) for batch in batches)

    def test_loaders_set_the_data_up(self, members: dict[str, GeoDataset]) -> None:
        for split in ('train', 'val', 'test', 'predict'):
            data = PairedDataModule(members, patch_size=8, block=4, batch_size=8)
            assert len(getattr(data, f'{split}_dataloader')()) > 0

    def test_plot(self, members: dict[str, GeoDataset]) -> None:
        data = PairedDataModule(members, patch_size=8, block=4)
        data.setup('fit')
        (key,) = data.places('test')[:1]
        figure = data.plot(data.zones[key[0]][key[1]])
        assert len(figure.axes) == 2

    def test_is_a_torchgeo_data_module(self, members: dict[str, GeoDataset]) -> None:
        assert isinstance(PairedDataModule(members), BaseDataModule)


class TestDescribe:
    def test_statistics_of_valid_training_pixels(self, write_raster: Writer) -> None:
        generator = np.random.default_rng(0)
        values = generator.normal(
            [[[5.0]], [[-3.0]]], [[[2.0]], [[0.5]]], (2, 256, 256)
        )
        holes = generator.random((256, 256)) < 0.1
        values[:, holes] = -9999
        a = write_raster('a.tif', data=values, nodata=-9999, bands=('B03', 'B08'))
        b = write_raster('b.tif', data=np.ones((1, 128, 128)), res=20, bands=('x',))
        module = PairedDataModule(
            {'a': RasterDataset(a), 'b': RasterDataset(b)}, patch_size=16, block=4
        )
        told = module.describe()
        assert told['a']['bands'] == ['B03', 'B08']
        np.testing.assert_allclose(told['a']['mean'], [5, -3], atol=0.05)
        np.testing.assert_allclose(told['a']['std'], [2, 0.5], rtol=0.02)
        assert (told['a']['gsd'], told['b']['gsd']) == (10, 20)
        assert (told['a']['patch_size'], told['b']['patch_size']) == (16, 8)
        assert (told['a']['units'], told['a']['nodata']) == ('reflectance', -9999)
        # a constant band is neither divided by zero nor blown up
        assert (told['b']['mean'], told['b']['std']) == ([1.0], [1.0])
        assert module.describe() is told

    def test_unknown_radar_scale_is_an_error(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif', shape=(128, 128), bands=('VV',)))
        members: dict[str, GeoDataset] = {'s1': a, 'b': a}
        with pytest.raises(RasterError, match='state the units of s1, s1=db'):
            PairedDataModule(members, patch_size=8, block=4).describe()
        told = PairedDataModule(
            members, patch_size=8, block=4, units={'s1': 'db', 'b': 'db'}
        ).describe()
        assert told['s1']['units'] == 'db'

    @pytest.mark.parametrize(
        ('band', 'dtype', 'units'),
        [
            ('vv', 'float32', None),
            ('Gamma0_VV', 'float32', None),
            ('VV', 'uint16', None),
            ('VV_dB', 'float32', 'db'),
            ('S1_VV_linear', 'float32', 'power'),
            ('elevation', 'float32', 'dn'),
        ],
    )
    def test_names_say_the_scale_or_nothing(
        self, write_raster: Writer, band: str, dtype: str, units: str | None
    ) -> None:
        path = write_raster('a.tif', shape=(128, 128), bands=(band,), dtype=dtype)
        members: dict[str, GeoDataset] = {m: RasterDataset(path) for m in ('s1', 'b')}
        module = PairedDataModule(members, patch_size=8, block=4)
        if units is None:
            with pytest.raises(RasterError, match='state the units of s1, s1=db'):
                module.describe()
        else:
            assert module.describe()['s1']['units'] == units

    def test_no_modality_is_blamed_for_the_holes_of_another(
        self, write_raster: Writer
    ) -> None:
        values = np.random.default_rng(0).normal(0, 1, (1, 256, 256))
        a = write_raster('a.tif', data=values)
        b = write_raster('b.tif', data=np.full_like(values, np.nan))
        data = PairedDataModule(
            {'a': RasterDataset(a), 'b': RasterDataset(b)}, patch_size=8
        )
        with pytest.raises(RasterError, match=r'less than 0\.5 of .* of a or of b are'):
            data.describe()

    def test_masks_of_classes_have_none(
        self, members: dict[str, GeoDataset], write_raster: Writer
    ) -> None:
        class Classes(RasterDataset):
            is_image = False

        path = write_raster('c.tif', data=np.ones((1, 256, 256)), dtype='uint8')
        data = PairedDataModule(members | {'c': Classes(path)}, patch_size=8, block=4)
        assert list(data.describe()) == ['a', 'b']

    def test_stated_units_do_not_contradict_the_files(
        self, write_raster: Writer
    ) -> None:
        path = write_raster('a.tif', shape=(128, 128), bands=('VV_dB',))
        members: dict[str, GeoDataset] = {m: RasterDataset(path) for m in ('s1', 'b')}
        module = PairedDataModule(members, patch_size=8, units={'s1': 'power'})
        with pytest.raises(
            RasterError, match='state that they are in db: omit the units'
        ):
            module.describe()

    def test_degrees_become_metres(self, write_raster: Writer) -> None:
        a = RasterDataset(
            write_raster(
                'a.tif', crs='EPSG:4326', origin=(9, 45), res=1e-4, shape=(256, 256)
            )
        )
        told = PairedDataModule({'a': a, 'b': a}, patch_size=8, block=4).describe()
        assert told['a']['gsd'] == pytest.approx(11.1, abs=0.1)


class TestBadInput:
    def test_neither_or_both(self, members: dict[str, GeoDataset]) -> None:
        for options in ({}, {'datasets': members, 'train': members}):
            with pytest.raises(PairingError, match='not both or none'):
                PairedDataModule(**options)  # ty: ignore[invalid-argument-type]

    @pytest.mark.parametrize(
        ('units', 'message'),
        [
            (
                {'a': 'decibels'},
                "a cannot be in 'decibels': units are one of db, power",
            ),
            ({'s3': 'db'}, "units are given for 's3', but the modalities are a, b"),
        ],
    )
    def test_units(
        self, members: dict[str, GeoDataset], units: dict[str, str], message: str
    ) -> None:
        with pytest.raises(RasterError, match=message):
            PairedDataModule(members, units=units)

    @pytest.mark.parametrize(
        'wrong',
        [
            {'patch_size': 0},
            {'patch_size': (8, -1)},
            {'block': 0},
            {'margin': -1},
            {'min_valid': -0.1},
            {'min_valid': 2},
            {'seed': -1},
            {'batch_size': 0},
            {'length': 0},
            {'gather': 0},
            {'stat_patches': 0},
        ],
        ids=str,
    )
    def test_numbers(
        self, members: dict[str, GeoDataset], wrong: dict[str, Any]
    ) -> None:
        with pytest.raises(PairingError, match=f'{next(iter(wrong))} is'):
            PairedDataModule(members, **wrong)

    def test_splits_of_other_modalities(self, members: dict[str, GeoDataset]) -> None:
        val = {'a': members['a'], 'c': members['b']}
        with pytest.raises(PairingError, match='val has the modalities a, c, but'):
            PairedDataModule(train=members, val=val)
        with pytest.raises(PairingError, match='not given as `train`'):
            PairedDataModule(members, val=members)

    def test_splits_in_another_order(self, members: dict[str, GeoDataset]) -> None:
        val = {name: members[name] for name in ('b', 'a')}
        data = PairedDataModule(train=members, val=val, patch_size=8)
        data.setup('validate')
        assert [zone.modalities for zone in data.zones] == [('a', 'b'), ('a', 'b')]

    def test_shares(self, members: dict[str, GeoDataset]) -> None:
        with pytest.raises(PairingError, match='leave nothing to train on'):
            PairedDataModule(members, val_split=0.5, test_split=0.5)

    def test_no_common_ground(self, write_raster: Writer) -> None:
        a = RasterDataset(write_raster('a.tif'))
        b = RasterDataset(write_raster('b.tif', origin=(600_000, 5e6)))
        with pytest.raises(PairingError, match='no common ground'):
            PairedDataModule({'a': a, 'b': b}).setup('fit')

    def test_patch_larger_than_the_ground(self, members: dict[str, GeoDataset]) -> None:
        data = PairedDataModule(members, patch_size=200)
        data.setup('fit')
        with pytest.raises(PairingError, match='no test patch of 200 pixels'):
            data.test_dataloader()
        with pytest.raises(PairingError, match='no train patch of 200 pixels'):
            data.describe()
