"""BigEarthNet and BEN-14K as data modules: nothing to configure but the folder."""

from torchgeo_cmr.datamodules.chip_module import ChipDataModule, Statistics
from torchgeo_cmr.datasets import BEN14K, BigEarthNetPairs
from torchgeo_cmr.datasets.benchmarks.bigearthnet import Resampling, Version


class BigEarthNetPairsDataModule(ChipDataModule):
    """Training, validation and test pairs of BigEarthNet.

    Relations: :class:`~torchgeo_cmr.datasets.BigEarthNetPairs` three times.
    """

    def __init__(
        self,
        root: str = 'data',
        version: Version = 'v1',
        *,
        bands: dict[str, list[str]] | None = None,
        resampling: Resampling = 'bilinear',
        batch_size: int = 256,
        statistics: Statistics = 'bigearthnet',
        augment: bool = True,
        stat_samples: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new BigEarthNetPairsDataModule instance.

        Args:
            root: Folder of BigEarthNet.
            version: 'v1' (random splits on the patch grid) or 'v2' (geographic splits).
            bands: 's1' and 's2' -> names of the bands (default: VV, VH and the ten bands of
                10 and 20 m).
            resampling: How 20 and 60 m bands are brought to 10 m: 'bilinear' or 'bicubic'.
            batch_size: Pairs a batch, on each device.
            statistics: 'bigearthnet' for the published mean and deviation, 'sample' to take
                them from training pairs.
            augment: Whether training pairs are flipped.
            stat_samples: Training pairs from which statistics are taken.
            num_workers: Worker processes that read.
            seed: Seed of statistics.

        Raises:
            RasterError: If *statistics* is a word that nobody knows.
        """
        super().__init__(
            dataset_class=BigEarthNetPairs,
            dataset_kwargs={
                'root': root,
                'version': version,
                'bands': bands,
                'resampling': resampling,
            },
            batch_size=batch_size,
            statistics=statistics,
            augment=augment,
            stat_samples=stat_samples,
            num_workers=num_workers,
            seed=seed,
        )


class BEN14KDataModule(ChipDataModule):
    """The training, validation and test pairs of BEN-14K.

    Relations: :class:`~torchgeo_cmr.datasets.BEN14K` three times.
    """

    def __init__(
        self,
        root: str = 'data',
        *,
        bands: dict[str, list[str]] | None = None,
        resampling: Resampling = 'bilinear',
        check_counts: bool = True,
        batch_size: int = 256,
        statistics: Statistics = 'bigearthnet',
        augment: bool = True,
        stat_samples: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new BEN14KDataModule instance.

        Args:
            root: Folder of BigEarthNet v1.
            bands: As in :class:`BigEarthNetPairsDataModule`.
            resampling: Likewise.
            check_counts: Whether to insist on the published number of pairs.
            batch_size: Pairs a batch, on each device.
            statistics: As in :class:`BigEarthNetPairsDataModule`.
            augment: Likewise.
            stat_samples: Likewise.
            num_workers: Likewise.
            seed: Likewise.

        Raises:
            RasterError: If *statistics* is a word that nobody knows.
        """
        super().__init__(
            dataset_class=BEN14K,
            dataset_kwargs={
                'root': root,
                'bands': bands,
                'resampling': resampling,
                'check_counts': check_counts,
            },
            batch_size=batch_size,
            statistics=statistics,
            augment=augment,
            stat_samples=stat_samples,
            num_workers=num_workers,
            seed=seed,
        )


__all__ = ('BEN14KDataModule', 'BigEarthNetPairsDataModule')
