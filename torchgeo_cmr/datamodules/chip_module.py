"""Pairs of chips as loaders: splits as the benchmark has them, the same flips for all."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules.indexed_module import IndexedDataModule
from torchgeo_cmr.datamodules.split import SPLITS, check_shares
from torchgeo_cmr.datamodules.statistics import Moments, check_units
from torchgeo_cmr.datasets import BIGEARTHNET_STATISTICS
from torchgeo_cmr.errors import PairingError, RasterError
from torchgeo_cmr.scenes.bands import is_radar
from torchgeo_cmr.scenes.units import unit_of

Statistics = Literal['sample', 'bigearthnet']


class ChipDataModule(IndexedDataModule):
    """Batches of a benchmark whose pairs are cut already.

    Takes :class:`~torchgeo_cmr.datasets.ChipPairs`, or any dataset without georeferencing
    whose samples hold ``image_<modality>``. Splits are the benchmark's own; a share of the
    training pairs can be held out where it has none, at random and not by place.

    Training pairs are shuffled and flipped, all modalities alike, and the incomplete last
    batch is dropped, because a contrastive loss depends on the size of the batch.

    Relations: :class:`~torchgeo_cmr.datamodules.PairedDataModule` draws patches from scenes.

    Examples:
        >>> import torch
        >>> class Pairs(NonGeoDataset):
        ...     def __len__(self):
        ...         return 10
        ...
        ...     def __getitem__(self, index):
        ...         return {
        ...             'image_pan': torch.rand(1, 8, 8),
        ...             'image_ms': torch.rand(4, 2, 2),
        ...         }
        >>> data = ChipDataModule(Pairs(), val_split=0.2, batch_size=4)
        >>> data.modalities, len(data.train_dataloader()), len(data.val_dataloader())
        (('pan', 'ms'), 2, 1)
    """

    def __init__(
        self,
        train: NonGeoDataset | None = None,
        val: NonGeoDataset | None = None,
        test: NonGeoDataset | None = None,
        *,
        dataset_class: type[NonGeoDataset] | None = None,
        dataset_kwargs: dict[str, Any] | None = None,
        splits: dict[str, str] | None = None,
        val_split: float = 0.0,
        test_split: float = 0.0,
        statistics: Statistics = 'sample',
        bands: dict[str, list[str]] | None = None,
        units: dict[str, str] | None = None,
        gsd: dict[str, float] | None = None,
        **options: Any,
    ) -> None:
        """Initialize a new ChipDataModule instance.

        Args:
            train: Training pairs.
            val: Validation pairs.
            test: Test pairs.
            dataset_class: Instead of *train*, *val* and *test*: class of which one instance
                is made for each split, with ``split=`` and *dataset_kwargs*.
            dataset_kwargs: Further arguments of *dataset_class*.
            splits: Split -> what *dataset_class* calls it (default: train, val and test by
                these names). An omitted split has no dataset.
            val_split: Share of the training pairs to validate on, if there are no *val*.
            test_split: Share of the training pairs to test on, if there are no *test*.
            statistics: 'sample' takes mean and deviation from a seeded sample of training
                pairs, 'bigearthnet' those of the training patches of BigEarthNet-MM, by
                name of band.
            bands: Modality -> names of its channels, for a dataset that does not know them.
            units: Modality -> 'db', 'power', 'amplitude', 'reflectance' or 'dn', where the
                dataset does not know it.
            gsd: Modality -> width of a pixel in metres, where the dataset does not know it.
            **options: *batch_size* (64), *augment*, *stat_samples* (256), *num_workers* and
                *seed*, as of :class:`~torchgeo_cmr.datamodules.indexed_module.IndexedDataModule`.

        Raises:
            PairingError: If neither *train* nor *dataset_class* is given, or both are, or
                the shares leave nothing to train on.
            RasterError: If *statistics* or one of *units* is unknown.
        """
        super().__init__(dataset_class or NonGeoDataset, **options)
        if (train is None) == (dataset_class is None):
            raise PairingError(
                'give either `train` (with `val` and `test` if you have them) or '
                '`dataset_class`, not both or none'
            )
        check_shares(val_split, test_split)
        if statistics not in get_args(Statistics):
            raise RasterError(
                f"statistics must be 'sample' or 'bigearthnet', found {statistics!r}"
            )
        check_units(units or {})
        self.given = {'train': train, 'val': val, 'test': test}
        self.dataset_kwargs = dict(dataset_kwargs or {})
        self.splits = splits or {split: split for split in SPLITS}
        self.shares = {'val': val_split, 'test': test_split}
        self.statistics = statistics
        self.stated = {'bands': bands or {}, 'units': units or {}, 'gsd': gsd or {}}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return tuple(self._known('bands')) or tuple(self._images(self._first()))

    def setup(self, stage: str | None = None) -> None:
        """Open the datasets and hold pairs out; does nothing the second time.

        Args:
            stage: Any stage of the trainer; all open the same datasets.

        Raises:
            PairingError: If there is no training pair.
        """
        if self.source is not None:
            return
        parts: dict[str, Dataset[Sample] | None] = dict(self.given)
        if self.given['train'] is None:
            make = cast(Any, self.dataset_class)
            parts = {
                split: make(split=name, **self.dataset_kwargs)
                for split, name in self.splits.items()
            }
        source = cast(NonGeoDataset, parts['train'])
        if not len(source):
            raise PairingError(
                'the training dataset is empty: check its root and split'
            )
        # A split that the benchmark does not have is the front of a shuffled list.
        order = np.random.default_rng(self.seed).permutation(len(source))
        for split in ('test', 'val'):
            if parts.get(split) is None and self.shares[split] > 0:
                count = max(1, round(self.shares[split] * len(source)))
                parts[split] = Subset(source, np.sort(order[:count]).tolist())
                order = order[count:]
        if len(order) == 0:
            raise PairingError(
                f'{len(source)} training pairs are too few to hold any out: lower '
                'val_split and test_split'
            )
        if len(order) < len(source):
            parts['train'] = Subset(source, np.sort(order).tolist())
        self.source = source
        self.train_dataset = parts['train']
        self.val_dataset = parts.get('val')
        self.test_dataset = parts.get('test')
        present = [parts[split] for split in SPLITS if parts.get(split) is not None]
        self.predict_dataset = ConcatDataset(cast(list[Dataset[Sample]], present))

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe each modality, from a seeded sample of training pairs.

        Returns:
            Modality -> ``bands`` (names), ``mean`` and ``std`` (one float per band, over
            valid pixels), ``gsd`` (metres, None if unknown), ``patch_size`` (pixels across),
            ``units`` and ``nodata``. Tasks store this in their checkpoints.

        Raises:
            RasterError: If the scale of radar bands is unknown, a modality has another
                number of channels than names, or a band is not one of BigEarthNet's.
        """
        self.setup()
        if self._described is None:
            first = self._first()
            images = {m: first[f'image_{m}'] for m in self.modalities}
            bands = {m: self._bands(m, len(image)) for m, image in images.items()}
            units = {m: self._units(m, names) for m, names in bands.items()}
            mean, std = self._moments(bands)
            self._described = {
                m: {
                    'bands': bands[m],
                    'mean': mean[m],
                    'std': std[m],
                    'gsd': self._known('gsd').get(m),
                    'patch_size': int(image.shape[-1]),
                    'units': units[m],
                    'nodata': None,
                }
                for m, image in images.items()
            }
        return self._described

    def _moments(
        self, bands: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        if self.statistics == 'bigearthnet':
            for modality, names in bands.items():
                unknown = [n for n in names if n not in BIGEARTHNET_STATISTICS]
                if unknown:
                    raise RasterError(
                        f'{modality} has the bands {", ".join(unknown)}, for which '
                        "BigEarthNet has no statistics: use statistics='sample'"
                    )
            known = BIGEARTHNET_STATISTICS
            return (
                {m: [known[name][0] for name in names] for m, names in bands.items()},
                {m: [known[name][1] for name in names] for m, names in bands.items()},
            )
        sums = {modality: Moments() for modality in bands}
        for sample in self._statistics_samples(cast(Any, self.train_dataset)):
            for modality, moments in sums.items():
                moments.add(sample[f'image_{modality}'].numpy())
        for modality, moments in sums.items():
            moments.check(modality, self._units(modality, bands[modality]))
        return (
            {m: moments.mean() for m, moments in sums.items()},
            {m: moments.std() for m, moments in sums.items()},
        )

    def _first(self) -> Sample:
        self.setup()
        sample = cast(Subset[Sample], self.train_dataset)[0]
        if not self._images(sample):
            raise PairingError(
                f'a sample of {type(self.source).__name__} holds '
                f'{", ".join(sample) or "nothing"} but no image_<modality>: see NonGeoPairs '
                'for what can be rearranged'
            )
        return sample

    @staticmethod
    def _images(sample: Mapping[str, Any]) -> list[str]:
        return [k.removeprefix('image_') for k in sample if k.startswith('image_')]

    def _known(self, what: str) -> dict[str, Any]:
        """What the user states, and otherwise what the dataset knows, by modality."""
        self.setup()
        known = getattr(self.source, what, None)
        return {**(known if isinstance(known, Mapping) else {}), **self.stated[what]}

    def _bands(self, modality: str, count: int) -> list[str]:
        names = list(self._known('bands').get(modality, ()))
        if names and len(names) != count:
            raise RasterError(
                f'{modality} has {count} channels and the bands {", ".join(names)}: give '
                'as many names as there are channels'
            )
        return names or [f'band_{i + 1}' for i in range(count)]

    def _units(self, modality: str, names: Sequence[str]) -> str | None:
        unit = self._known('units').get(modality)
        if unit is not None or not any(map(is_radar, names)):
            return unit
        unit = unit_of(names, np.dtype(np.float32))
        if unit is None:
            raise RasterError(
                f"the scale of {modality}'s radar bands is unknown: state the units of "
                f'{modality}, {modality}=db (in YAML units: {{{modality}: db}}; or power, or '
                'amplitude), since a guess would be wrong for most'
            )
        return unit


__all__ = ('ChipDataModule',)
