"""Benchmarks as data modules: nothing to configure but the folder."""

from typing import Any

from torchgeo.datasets import NonGeoDataset

from torchgeo_cmr.datamodules.chip_module import ChipDataModule, Statistics
from torchgeo_cmr.datasets import BEN14K, CBRSIRVS, DSRSID, BigEarthNetPairs
from torchgeo_cmr.datasets.benchmarks.bigearthnet import Resampling, Version


class BenchmarkDataModule(ChipDataModule):
    """Training, validation and test pairs of one benchmark, which knows its splits."""

    def __init__(
        self,
        dataset_class: type[NonGeoDataset],
        dataset_kwargs: dict[str, Any],
        *,
        batch_size: int = 256,
        statistics: Statistics = 'bigearthnet',
        augment: bool = True,
        stat_samples: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new BenchmarkDataModule instance.

        Args:
            dataset_class: Class of which one instance is made for each split.
            dataset_kwargs: Arguments of all three.
            batch_size: Pairs per batch, on each device.
            statistics: 'bigearthnet' for the published mean and deviation, 'sample' to take
                them from training pairs.
            augment: Whether training pairs are flipped, both sensors alike.
            stat_samples: Training pairs from which statistics are taken.
            num_workers: Worker processes that read; each opens the files for itself.
            seed: Seed of statistics. The split of the benchmark stays the same.

        Raises:
            RasterError: If *statistics* is unknown.
        """
        super().__init__(
            dataset_class=dataset_class,
            dataset_kwargs=dataset_kwargs,
            statistics=statistics,
            batch_size=batch_size,
            augment=augment,
            stat_samples=stat_samples,
            num_workers=num_workers,
            seed=seed,
        )


class BigEarthNetPairsDataModule(BenchmarkDataModule):
    """Training, validation and test pairs of BigEarthNet.

    Relations: :class:`~torchgeo_cmr.datasets.BigEarthNetPairs` three times.

    Examples:
        >>> bands = {'s1': ['VV', 'VH'], 's2': ['B04', 'B08']}
        >>> data = BigEarthNetPairsDataModule('data', 'v2', bands=bands, num_workers=4)
        >>> data.batch_size, data.statistics
        (256, 'bigearthnet')
    """

    def __init__(
        self,
        root: str = 'data',
        version: Version = 'v1',
        *,
        bands: dict[str, list[str]] | None = None,
        resampling: Resampling = 'bilinear',
        **options: Any,
    ) -> None:
        """Initialize a new BigEarthNetPairsDataModule instance.

        Args:
            root: Folder of BigEarthNet.
            version: 'v1' (random splits on the patch grid) or 'v2' (geographic splits).
            bands: 's1' and 's2' -> names of the bands (default: VV, VH and the ten bands of
                10 and 20 m).
            resampling: How 20 and 60 m bands are brought to 10 m: 'bilinear' or 'bicubic'.
            **options: *batch_size* (256), *statistics* ('bigearthnet', or 'sample' to take
                them from training pairs), *augment*, *stat_samples*, *num_workers* and *seed*,
                as of :class:`ChipDataModule`.

        Raises:
            RasterError: If *statistics* is unknown.
        """
        fixed = {
            'root': root,
            'version': version,
            'bands': bands,
            'resampling': resampling,
        }
        super().__init__(BigEarthNetPairs, fixed, **options)


class BEN14KDataModule(BenchmarkDataModule):
    """The training, validation and test pairs of BEN-14K.

    Relations: :class:`~torchgeo_cmr.datasets.BEN14K` three times.

    Examples:
        >>> data = BEN14KDataModule('data', batch_size=128, statistics='sample')
        >>> data.batch_size, data.statistics
        (128, 'sample')
    """

    def __init__(
        self,
        root: str = 'data',
        *,
        bands: dict[str, list[str]] | None = None,
        resampling: Resampling = 'bilinear',
        check_counts: bool = True,
        held_out_tile: str | None = None,
        **options: Any,
    ) -> None:
        """Initialize a new BEN14KDataModule instance.

        Args:
            root: Folder of BigEarthNet v1.
            bands: As in :class:`BigEarthNetPairsDataModule`.
            resampling: As in :class:`BigEarthNetPairsDataModule`.
            check_counts: Whether to insist on the published number of pairs.
            held_out_tile: Tile that is left out of training and tested on alone ('34TCS').
            **options: As in :class:`BigEarthNetPairsDataModule`.

        Raises:
            RasterError: If *statistics* is unknown.
        """
        fixed = {
            'root': root,
            'bands': bands,
            'resampling': resampling,
            'check_counts': check_counts,
            'held_out_tile': held_out_tile,
        }
        super().__init__(BEN14K, fixed, **options)


class DSRSIDDataModule(BenchmarkDataModule):
    """Panchromatic and multispectral pairs of DSRSID with their classes.

    Relations: :class:`~torchgeo_cmr.datasets.DSRSID` three times.

    Examples:
        >>> data = DSRSIDDataModule('data/DSRSID.mat')
        >>> data.batch_size, len(data.classes)
        (128, 8)
    """

    #: Names of the classes, in the order of the labels.
    classes = DSRSID.classes

    def __init__(
        self, root: str = 'data', *, batch_size: int = 128, **options: Any
    ) -> None:
        """Initialize a new DSRSIDDataModule instance.

        Args:
            root: Folder that holds ``DSRSID.mat``, or the file.
            batch_size: Pairs per batch, on each device.
            **options: *augment*, *stat_samples*, *num_workers* and *seed*, as of
                :class:`ChipDataModule`.
        """
        super().__init__(
            DSRSID,
            {'root': root},
            batch_size=batch_size,
            statistics='sample',
            **options,
        )


class CBRSIRVSDataModule(BenchmarkDataModule):
    """Optical and radar pairs of CBRSIR_VS with their classes.

    Relations: :class:`~torchgeo_cmr.datasets.CBRSIRVS` three times.

    Examples:
        >>> data = CBRSIRVSDataModule('data/cbrsir_vs', check_counts=False)
        >>> data.batch_size, data.statistics
        (128, 'sample')
    """

    def __init__(
        self,
        root: str = 'data',
        *,
        directories: dict[str, str] | None = None,
        check_counts: bool = True,
        batch_size: int = 128,
        **options: Any,
    ) -> None:
        """Initialize a new CBRSIRVSDataModule instance.

        Args:
            root: Folder that holds those of the modalities.
            directories: 'rgb' and 'sar' -> name of the folder, if it is another.
            check_counts: Whether to insist on the published number of pairs.
            batch_size: Pairs per batch, on each device.
            **options: *augment*, *stat_samples*, *num_workers* and *seed*, as of
                :class:`ChipDataModule`.
        """
        fixed = {'root': root, 'directories': directories, 'check_counts': check_counts}
        super().__init__(
            CBRSIRVS, fixed, batch_size=batch_size, statistics='sample', **options
        )


__all__ = (
    'BEN14KDataModule',
    'BigEarthNetPairsDataModule',
    'CBRSIRVSDataModule',
    'DSRSIDDataModule',
)
