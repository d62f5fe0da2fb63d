"""What the data modules have in common whose samples have a number."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchgeo.datamodules import BaseDataModule
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules.flips import Flips
from torchgeo_cmr.errors import PairingError, check_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class IndexedDataModule(BaseDataModule):
    """Batches of pairs that exist as such: shuffled to train on, in order to judge by."""

    #: What to do if the training pairs do not fill a batch.
    remedy = 'choose a smaller batch_size'

    def __init__(
        self,
        dataset_class: Any,
        *,
        batch_size: int = 64,
        augment: bool = True,
        stat_samples: int = 256,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        """Initialize a new IndexedDataModule instance.

        Args:
            dataset_class: Class of the datasets.
            batch_size: Pairs per batch, on each device.
            augment: Whether training images are flipped, those of one pair alike.
            stat_samples: Training pairs from which statistics are taken.
            num_workers: Worker processes that read.
            seed: Seed of splits and statistics.
        """
        super().__init__(dataset_class, batch_size, num_workers)
        self.stat_samples = stat_samples
        check_seed(seed, PairingError)
        self.seed = seed
        #: Training dataset before anything is held out or repeated; None before :meth:`setup`.
        self.source: Any = None
        self._described: dict[str, dict[str, Any]] | None = None
        # Pixels leave as they are: the task knows the statistics of each modality.
        self.aug = nn.Identity()
        if augment:
            self.train_aug = Flips()

    def _statistics_samples(self, dataset: Dataset[Sample]) -> Iterator[Sample]:
        """Read pairs from which statistics are taken, the same in every process."""
        train = cast(Subset[Sample], dataset)
        generator = np.random.default_rng(self.seed)
        count = min(self.stat_samples, len(train))
        for index in np.sort(generator.choice(len(train), count, replace=False)):
            yield train[int(index)]

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return shuffled training pairs in whole batches.

        Raises:
            PairingError: If they do not fill one.
        """
        self.setup('fit')
        train = cast(Subset[Sample], self.train_dataset)
        size = self.train_batch_size or self.batch_size
        if len(train) < size:
            raise PairingError(
                f'{len(train)} training pairs do not fill one batch of {size}: '
                f'{self.remedy}'
            )
        return self._loader(train, size, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        """Return the validation pairs in order; nothing if there are none."""
        self.setup('validate')
        if self.val_dataset is None:
            return []
        return self._loader(self.val_dataset, self.val_batch_size)

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return the test pairs in order.

        Raises:
            PairingError: If there are none.
        """
        self.setup('test')
        if self.test_dataset is None:
            raise PairingError(
                'there are no test pairs: give `test`, or a test_split to hold some out'
            )
        return self._loader(self.test_dataset, self.test_batch_size)

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Return the pairs to embed, in order."""
        self.setup('predict')
        dataset = cast(Dataset[Sample], self.predict_dataset)
        return self._loader(dataset, self.predict_batch_size)

    def _loader(
        self, dataset: Dataset[Sample], batch_size: int | None, **kwargs: Any
    ) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=batch_size or self.batch_size,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            **kwargs,
        )

    def plot(self, *args: Any, **kwargs: Any) -> 'Figure':
        """Plot a sample with the method of the training dataset."""
        self.setup('fit')
        return self.source.plot(*args, **kwargs)


__all__ = ('IndexedDataModule',)
