"""Paired datasets of several zones as one."""

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.utils.data import Dataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.label_map import LabelFromMask
from torchgeo_cmr.datasets.paired import PairedDataset
from torchgeo_cmr.samplers.patch_area import PatchKey


class Patches(Dataset[Sample]):
    """All zones as one dataset, addressed by zone number and slice.

    Args:
        zones: Paired datasets.
        labels: Map from which each sample gets its ``label``.
    """

    def __init__(
        self, zones: Sequence[PairedDataset], labels: LabelFromMask | None = None
    ) -> None:
        """Initialize a new Patches instance."""
        self.zones = list(zones)
        self.labels = labels

    def __len__(self) -> int:
        """Return the number of pairs of scenes."""
        return sum(len(zone) for zone in self.zones)

    def __getitem__(self, index: PatchKey) -> Sample:
        """Read one patch."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indexes: Sequence[PatchKey]) -> list[Sample]:
        """Read a batch."""
        return self.start(indexes)()

    def start(self, indexes: Sequence[PatchKey]) -> Callable[[], list[Sample]]:
        """Begin to read a batch zone by zone; its order is kept."""
        inside: dict[int, list[int]] = {}
        for i, (zone, _) in enumerate(indexes):
            inside.setdefault(zone, []).append(i)
        coming = [
            (places, self.zones[zone].start([indexes[i][1] for i in places]))
            for zone, places in inside.items()
        ]

        def finish() -> list[Sample]:
            samples: dict[int, Sample] = {}
            for places, read in coming:
                samples |= zip(places, read(), strict=True)
            if self.labels is not None:
                for i, (zone, place) in enumerate(indexes):
                    samples[i]['label'] = self._label(zone, place)
            return [samples[i] for i in range(len(indexes))]

        return finish

    def _label(self, zone: int, place: tuple[slice, slice, slice]) -> Tensor:
        x, y, _ = place
        bounds = (x.start, y.start, x.stop, y.stop)
        assert self.labels is not None
        label = self.labels(bounds, self.zones[zone].crs)
        if label is None:
            raise IndexError(f'the map of classes does not cover {bounds}')
        return label


class ListedPatches(Dataset[Sample]):
    """Patches by their number in a list, in whose order any sampler of torch can go.

    Lightning replaces a list of keys by samplers of its own, for ``overfit_batches`` and for
    several processes.

    Args:
        patches: What reads them.
        keys: Their keys.
    """

    def __init__(self, patches: Patches, keys: Sequence[PatchKey]) -> None:
        """Initialize a new ListedPatches instance."""
        self.patches, self.keys = patches, list(keys)

    def __len__(self) -> int:
        """Return the number of patches."""
        return len(self.keys)

    def __getitem__(self, index: int) -> Sample:
        """Read one patch."""
        return self.patches[self.keys[index]]

    def __getitems__(self, indexes: Sequence[int]) -> list[Sample]:
        """Read a batch."""
        return self.start(indexes)()

    def start(self, indexes: Sequence[int]) -> Callable[[], list[Sample]]:
        """Begin to read a batch."""
        return self.patches.start([self.keys[i] for i in indexes])
