"""BEN-14K: the part of BigEarthNet on which cross-modal retrieval is compared."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, get_args

import pandas as pd
from torchgeo.datasets.utils import Path as PathLike
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.benchmarks.bigearthnet import (
    BigEarthNetPairs,
    Resampling,
    Split,
)
from torchgeo_cmr.errors import RasterError


class BEN14K(BigEarthNetPairs):
    """The 14,832 pairs over Serbia in summer on which cross-modal retrieval is compared.

    They are the pairs of BigEarthNet v1 whose Sentinel-2 name begins with one of five
    acquisitions; no list is shipped, the split lists that TorchGeo downloads are filtered.
    For the training split this rule is known to give the list of the precursor of SS-CM-RSIR;
    for the other two the number of pairs of each acquisition is compared.

    The three splits lie interleaved on one grid of patches, so test patches have neighbours
    among the training patches and scores are optimistic. ``BigEarthNetPairs(version='v2')``
    has geographic splits; *held_out_tile* judges on one tile and trains on the other four.

    Relations: a part of :class:`~torchgeo_cmr.datasets.BigEarthNetPairs`.
    """

    #: Acquisition that Sentinel-2 names begin with -> tile in the Sentinel-1 names, and
    #: number of pairs in train, val and test.
    acquisitions: ClassVar[dict[str, tuple[str, dict[str, int]]]] = {
        'S2B_MSIL2A_20170825T093029': (
            '34TEQ',
            {'train': 2789, 'val': 1289, 'test': 1300},
        ),
        'S2A_MSIL2A_20170803T094031': (
            '34TCR',
            {'train': 2557, 'val': 1150, 'test': 1168},
        ),
        'S2B_MSIL2A_20170802T092029': (
            '34TFN',
            {'train': 1461, 'val': 690, 'test': 699},
        ),
        'S2A_MSIL2A_20170827T092031': (
            '34TFQ',
            {'train': 586, 'val': 252, 'test': 263},
        ),
        'S2B_MSIL2A_20170719T094029': (
            '34TCS',
            {'train': 368, 'val': 127, 'test': 133},
        ),
    }

    def __init__(
        self,
        root: PathLike = 'data',
        split: Split = 'train',
        bands: Mapping[str, Sequence[str]] | None = None,
        resampling: Resampling = 'bilinear',
        directories: Mapping[str, str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        check_counts: bool = True,
        held_out_tile: str | None = None,
    ) -> None:
        """Initialize a new BEN14K instance.

        Args:
            root: Folder of BigEarthNet v1, as for TorchGeo's ``BigEarthNet``.
            split: 'train' (7,761 pairs), 'val' (3,508) or 'test' (3,563).
            bands: As in :class:`BigEarthNetPairs`.
            resampling: As in :class:`BigEarthNetPairs`.
            directories: As in :class:`BigEarthNetPairs`.
            transforms: As in :class:`BigEarthNetPairs`.
            check_counts: Whether to insist on the number of pairs of each acquisition and
                on their tiles. Only lists cut down for a trial have others.
            held_out_tile: One of the five tiles, such as '34TCS', none of whose pairs is used
                to train or validate; the test pairs are then all of that tile, from all
                three lists (628 of 34TCS), and no others.

        Raises:
            DatasetNotFoundError: If a folder or a list is missing; the message names it.
            RasterError: If a band or an option is unknown, or the lists are not those of
                BigEarthNet v1.
        """
        self.check_counts = check_counts
        self.held_out_tile = held_out_tile
        tiles = [tile for tile, _ in self.acquisitions.values()]
        if held_out_tile is not None and held_out_tile not in tiles:
            raise RasterError(
                f'BEN-14K has the tiles {", ".join(tiles)}, found {held_out_tile!r} to hold out'
            )
        if split is None:
            raise RasterError('BEN14K needs a split: train, val or test, found None')
        super().__init__(
            root,
            split,
            'v1',
            bands,
            resampling=resampling,
            directories=directories,
            transforms=transforms,
        )

    def _pairs(self) -> pd.DataFrame:
        if self.held_out_tile is None:
            return self._listed(self.split)
        if self.split != 'test':
            pairs = self._listed(self.split)
            return pairs[~self._in_tile(pairs)]
        every = pd.concat([self._listed(split) for split in get_args(Split)])
        return every[self._in_tile(every)]

    def _in_tile(self, pairs: pd.DataFrame) -> pd.Series:
        return pairs['s1'].str.contains(f'_{self.held_out_tile}_', regex=False)

    def _listed(self, split: Split | None) -> pd.DataFrame:
        """Pairs of one list that are of the five acquisitions."""
        pairs = super()._read_list(split)
        acquisition = pairs['s2'].str.split('_').str[:3].str.join('_')
        pairs = pairs[acquisition.isin(list(self.acquisitions))]
        if self.check_counts and split is not None:
            for name, (tile, counts) in self.acquisitions.items():
                rows = pairs[acquisition[pairs.index] == name]
                count = int(rows['s1'].str.contains(f'_{tile}_', regex=False).sum())
                if count != counts[split] or len(rows) != count:
                    raise RasterError(
                        f'BEN-14K has {counts[split]} {split} pairs of {name} in '
                        f'tile {tile}, found {len(rows)} of which {count} in that tile: '
                        'the split lists are not those of BigEarthNet v1; fetch them again, '
                        'or pass check_counts=False if they are cut down on purpose'
                    )
        return pairs


__all__ = ('BEN14K',)
