"""PAN and MS at any ratio of resolutions, with labels from a map of classes."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import rasterio
import torch
from rasterio.windows import from_bounds
from torch.utils.data import DataLoader

from torchgeo_cmr.datamodules import PairedDataModule
from torchgeo_cmr.datamodules.patches import Patches
from torchgeo_cmr.datasets import LabelFromMask, SyntheticLandscape
from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.scenes.scene import from_paths

REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'panms_landsat_navarra'

type Writer = Callable[..., Path]


@pytest.mark.parametrize(
    ('fine', 'coarse', 'ratio'),
    [(15.0, 30.0, 2), (0.5, 2.0, 4), (1.0, 3.0, 3), (2.0, 8.0, 4), (0.5, 1.25, 2.5)],
)
def test_any_ratio(
    write_raster: Writer, fine: float, coarse: float, ratio: float
) -> None:
    """PAN pixels are numbered; MS holds the mean of those below it."""
    size, patch = 600, 60
    rows, columns = np.mgrid[0:size, 0:size]
    pan = (1000 * rows + columns).astype(float)[None]
    small = round(size / ratio)
    ms_rows, ms_columns = (np.mgrid[0:small, 0:small] + 0.5) * ratio - 0.5
    ms = np.stack([1000 * ms_rows + ms_columns] * 4)
    data = PairedDataModule(
        {
            'pan': from_paths(write_raster('pan.tif', data=pan, res=fine)),
            'ms': from_paths(write_raster('ms.tif', data=ms, res=coarse, bands='BGRN')),
        },
        patch_size=patch,
        batch_size=4,
        block=1,
        augment=False,
    )
    data.setup()
    spec = data.describe()
    assert (spec['pan']['gsd'], spec['ms']['gsd']) == (fine, coarse)
    assert spec['ms']['patch_size'] == patch / ratio
    batch = next(iter(data.train_dataloader()))
    assert batch['image_pan'].shape == (4, 1, patch, patch)
    assert batch['image_ms'].shape == (4, 4, patch / ratio, patch / ratio)
    # the same ground: within the half MS pixel by which a patch snaps to its grid
    means = [batch[f'image_{m}'][:, 0].double().mean(dim=(1, 2)) for m in ('pan', 'ms')]
    assert ((means[0] - means[1]).abs() < 1001 * ratio / 2 + 1).all()
    assert means[0].std() > 10_000


@pytest.fixture(scope='module')
def world(tmp_path_factory: pytest.TempPathFactory) -> SyntheticLandscape:
    folder = tmp_path_factory.mktemp('world')
    return SyntheticLandscape(folder, size=384, sensors=('pan', 'ms'))


class TestLabels:
    def data(
        self, world: SyntheticLandscape, labels: LabelFromMask
    ) -> PairedDataModule:
        return PairedDataModule(
            {'pan': from_paths(world.pan), 'ms': from_paths(world.ms)},
            patch_size=32,
            batch_size=8,
            block=2,
            labels=labels,
        )

    def test_the_truth_of_the_synthetic_world(self, world: SyntheticLandscape) -> None:
        labels = LabelFromMask(world.files('truth'))
        data = self.data(world, labels)
        data.setup()
        assert data.classes == world.class_names
        batch = next(iter(data.train_dataloader()))
        assert (batch['label'].dtype, batch['label'].shape) == (torch.int64, (8,))
        assert len(set(batch['label'].tolist())) > 1
        flipped = data.train_aug(batch)  # ty: ignore[not-callable]
        assert torch.equal(flipped['label'], batch['label'])
        # equal to what lies in the file below each test patch
        keys = data.places('test')
        found = torch.cat([b['label'] for b in data.test_dataloader()]).tolist()
        assert len(found) == len(keys) > 5
        for (zone, (x, y, _)), label in zip(keys, found, strict=True):
            crs = data.zones[zone].crs
            for path in world.files('truth'):
                with rasterio.open(path) as file:
                    if file.crs.to_epsg() != crs.to_epsg():
                        continue
                    window = from_bounds(
                        x.start, y.start, x.stop, y.stop, file.transform
                    )
                    codes = file.read(1, window=window)
            assert int(np.bincount(codes.ravel(), minlength=12)[1:].argmax()) == label

    def test_several_labels(self, world: SyntheticLandscape) -> None:
        labels = LabelFromMask(world.files('truth'), rule='share', share=0.2)
        data = self.data(world, labels)
        data.setup()
        batch = next(iter(data.val_dataloader()))
        assert batch['label'].shape[1] == 11
        assert (batch['label'].sum(1) >= 1).all()

    def test_patches_without_a_label_are_left_out(
        self, world: SyntheticLandscape
    ) -> None:
        whole = self.data(world, LabelFromMask(world.files('truth')))
        part = self.data(world, LabelFromMask(world.files('truth')[:1], min_known=1))
        counts = []
        for data in (whole, part):
            data.setup()
            counts.append(sum(len(data.places(s)) for s in ('train', 'val', 'test')))
        # the map of one of two scenes
        assert 0 < counts[1] < 0.7 * counts[0]
        for batch in part.test_dataloader():
            assert 'label' in batch

    def test_without_a_smallest_share_labels_are_needed_still(
        self, world: SyntheticLandscape
    ) -> None:
        data = PairedDataModule(
            {'pan': from_paths(world.pan), 'ms': from_paths(world.ms)},
            patch_size=32,
            batch_size=4,
            block=2,
            min_valid=0,
            labels=LabelFromMask(world.files('truth')[:1], min_known=1),
        )
        data.setup()
        for loader in (data.train_dataloader(), data.test_dataloader()):
            assert all(len(batch['label']) > 0 for batch in loader)

    def test_what_a_spawned_worker_is_sent(self, world: SyntheticLandscape) -> None:
        data = self.data(world, LabelFromMask(world.files('truth')))
        key = data.places('test')[0]
        here = cast(Patches, data.train_dataset)[key]
        sent = pickle.dumps(data.train_dataset)
        there = pickle.loads(sent)[key]
        assert here['label'] == there['label']
        assert torch.equal(here['image_ms'], there['image_ms'])
        # Neither decoded pixels nor what is known of them.
        assert len(sent) < 100_000

    @pytest.mark.slow
    @pytest.mark.parametrize('method', ['fork', 'spawn'])
    def test_workers(self, world: SyntheticLandscape, method: str) -> None:
        """Maps that were open when workers started are opened anew in each of them."""
        data = self.data(world, LabelFromMask(world.files('truth')))
        data.setup()
        here = list(data.test_dataloader())
        there = DataLoader(
            cast(Patches, data.test_dataset),
            batch_size=8,
            sampler=data.places('test'),
            # One that imports all anew shows the same.
            num_workers=1 if method == 'spawn' else 2,
            multiprocessing_context=method,
            collate_fn=data.collate_fn,
        )
        for one, other in zip(here, there, strict=True):
            assert torch.equal(one['label'], other['label'])
            assert torch.equal(one['image_ms'], other['image_ms'])

    def test_a_map_of_elsewhere(
        self, world: SyntheticLandscape, write_raster: Writer
    ) -> None:
        far = write_raster(
            'far.tif', data=np.ones((1, 8, 8)), dtype='uint8', origin=(0, 0)
        )
        data = self.data(world, LabelFromMask(far))
        data.setup()
        with pytest.raises(PairingError, match='no test patch of 32 pixels'):
            data.test_dataloader()


@pytest.mark.skipif(not REAL.is_dir(), reason='the shared samples are not here')
def test_landsat() -> None:
    data = PairedDataModule(
        {m: from_paths(REAL / f'{m}_example.tif') for m in ('pan', 'ms')},
        patch_size=64,
        batch_size=4,
        block=2,
    )
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch['image_pan'].shape == (4, 1, 64, 64)
    assert batch['image_ms'].shape == (4, 4, 32, 32)
    # PAN spans green and red: their mean, at half the resolution, looks like it
    pan = torch.nn.functional.avg_pool2d(batch['image_pan'], 2)[:, 0]
    ms = batch['image_ms'][:, :2].mean(dim=1)
    together = torch.stack([pan.flatten(), ms.flatten()])
    assert float(torch.corrcoef(together)[0, 1]) > 0.8
