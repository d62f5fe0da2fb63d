"""Lightning restarts loaders for distributed training; batches must stay disjoint."""

from collections.abc import Callable
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from shapely import box
from torch import Tensor, nn
from torchgeo.datasets import RasterDataset

from torchgeo_cmr.datamodules import PairedDataModule

type Writer = Callable[..., Path]


class Probe(LightningModule):
    """Writes down the ground that each process is given, step by step."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: dict[str, Tensor], step: int) -> Tensor:
        # The first band holds the easting, the second the northing, in pixels.
        corners = batch['image_a'][:, :, 0, 0].numpy()
        name = f'{self.current_epoch}_{step}_{self.global_rank}.npy'
        np.save(Path(self.folder, name), corners)
        return self.weight.sum()

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


#: Its ranks are forks of a process that has imported torch, and done nothing with it.
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_distributed
test_distributed.train(*sys.argv[2:])
"""


def train(raster: str, folder: str) -> None:
    a = RasterDataset(raster)
    data = PairedDataModule(
        {'a': a, 'b': a}, patch_size=8, block=4, batch_size=8, length=64, augment=False
    )
    trainer = Trainer(
        max_epochs=2,
        accelerator='cpu',
        devices=2,
        strategy='ddp_fork',
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Probe(folder), data)


@pytest.mark.slow
def test_ddp_shares_one_disjoint_batch(write_raster: Writer, tmp_path: Path) -> None:
    y, x = np.mgrid[:256, :256]
    raster = write_raster('a.tif', data=np.stack([x, y]), bands=('x', 'y'))
    folder = tmp_path / 'seen'
    folder.mkdir()
    done = forked.run('-c', SCRIPT, Path(__file__).parent, raster, folder)
    assert done.returncode == 0, done.stderr
    epochs = []
    for epoch in (0, 1):
        corners = []
        for step in range(4):
            shares = [np.load(folder / f'{epoch}_{step}_{rank}.npy') for rank in (0, 1)]
            assert [len(share) for share in shares] == [8, 8]
            outlines = [box(x, y, x + 8, y + 8) for x, y in np.concatenate(shares)]
            for i, one in enumerate(outlines):
                assert all(one.intersection(other).area == 0 for other in outlines[:i])
            corners.append(np.concatenate(shares))
        epochs.append(np.concatenate(corners))
    first, second = epochs
    assert not np.array_equal(first, second)
