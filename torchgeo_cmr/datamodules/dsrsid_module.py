"""DSRSID as a data module: nothing to configure but the folder."""

from torchgeo_cmr.datamodules.chip_module import ChipDataModule
from torchgeo_cmr.datasets import DSRSID


class DSRSIDDataModule(ChipDataModule):
    """Panchromatic and multispectral pairs of DSRSID with their classes.

    Relations: :class:`~torchgeo_cmr.datasets.DSRSID` three times.
    """

    #: Names of the classes, in the order of the labels.
    classes = DSRSID.classes

    def __init__(
        self,
        root: str = 'data',
        *,
        batch_size: int = 128,
        augment: bool = True,
        stat_samples: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new DSRSIDDataModule instance.

        Args:
            root: Folder that holds ``DSRSID.mat``, or the file.
            batch_size: Pairs a batch, on each device.
            augment: Whether training pairs are flipped, both sensors alike.
            stat_samples: Training pairs from which mean and deviation are taken.
            num_workers: Worker processes that read; each opens the file for itself.
            seed: Seed of statistics. The split has its own and stays the same.
        """
        super().__init__(
            dataset_class=DSRSID,
            dataset_kwargs={'root': root},
            batch_size=batch_size,
            augment=augment,
            stat_samples=stat_samples,
            num_workers=num_workers,
            seed=seed,
        )


__all__ = ('DSRSIDDataModule',)
