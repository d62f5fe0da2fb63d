"""A loader that reads the next batch while the current one is used, without workers."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.reading.threads import one_early

#: What waits for a batch that is being read.
type Finish = Callable[[], list[Sample]]


class EarlyLoader(DataLoader[Sample]):
    """Lets its dataset ``start`` a batch before the previous one is used.

    With worker processes it is a plain loader: they read ahead anyway.
    """

    def __iter__(self) -> Iterator[Any]:  # ty: ignore[incompatible-method-override]
        """Go through the batches of an epoch."""
        if self.num_workers > 0:
            return super().__iter__()
        loader = DataLoader(
            _Started(),
            batch_sampler=_Starts(self),  # ty: ignore[invalid-argument-type]
            collate_fn=self.collate_fn,
            pin_memory=self.pin_memory,
            generator=self.generator,
        )
        return iter(loader)


class _Starts:
    """Batches of a loader, each started one step early."""

    def __init__(self, loader: EarlyLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Finish]:
        dataset: Any = self.loader.dataset
        batches: Any = self.loader.batch_sampler
        return one_early(dataset.start(batch) for batch in batches)


class _Started(Dataset[Sample]):
    """Batches that were started before."""

    def __getitems__(self, finish: Finish) -> list[Sample]:
        return finish()
