"""SSL4EO-S12 as pairs: both sensors of a place in one season."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torchgeo.datasets import SSL4EOS12
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.benchmarks.chips import (
    ChipPairs,
    band_name,
    channel_numbers,
    read_chip,
)
from torchgeo_cmr.errors import PairingError, RasterError


class SSL4EOS12Pairs(ChipPairs):
    """SSL4EO-S12: Sentinel-1 and Sentinel-2 of one place in one season, unlabelled.

    TorchGeo opens one sensor at a time and draws seasons at random for each, so two datasets
    side by side would pair summer with winter. Here the acquisitions of a place are sorted by
    date in both, and the first goes with the first: of all pairings this has the smallest
    time between the partners.

    There are no splits; hold some places out with the data module's ``val_split``.

    If you use this dataset in your research, please cite the following paper:

    * https://arxiv.org/abs/2211.07044

    Relations: reads the files of two :class:`torchgeo.datasets.SSL4EOS12`.
    """

    def __init__(
        self,
        s1: SSL4EOS12,
        s2: SSL4EOS12,
        season: Literal[0, 1, 2, 3] | None = None,
        bands: Mapping[str, Sequence[str]] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new SSL4EOS12Pairs instance.

        Args:
            s1: The dataset opened with ``split='s1'``.
            s2: The dataset opened with ``split='s2c'`` or ``'s2a'``.
            season: Which acquisition of a place, in order of date; None draws one each time
                (from torch's generator, so that workers differ and seeds hold).
            bands: 's1' and 's2' -> names of the bands, as B01 to B12 (default: all).
            transforms: Called with each sample.

        Raises:
            PairingError: If the datasets are not of these two sensors, or share no place.
            RasterError: If a band is unknown.
        """
        if s1.split != 's1' or s2.split not in ('s2c', 's2a'):
            raise PairingError(
                "SSL4EOS12Pairs needs datasets with split='s1' and split='s2c' or 's2a', "
                f'found {s1.split!r} and {s2.split!r}'
            )
        self.datasets = {'s1': s1, 's2': s2}
        self.season = season
        self.transforms = transforms
        known = {
            m: {band_name(band): band for band in dataset.bands}
            for m, dataset in self.datasets.items()
        }
        self.bands = {m: tuple(b) for m, b in (bands or known).items()}
        self._names: dict[str, list[str]] = {}
        for modality, names in self.bands.items():
            if modality not in known:
                raise RasterError(
                    f'SSL4EO-S12 has the modalities s1 and s2, found {modality!r} in bands'
                )
            channel_numbers(modality, names, tuple(known[modality]))
            self._names[modality] = [known[modality][name] for name in names]
        units = {'s1': 'db', 's2': 'reflectance'}
        self.units = {m: units[m] for m in self.bands}
        self.gsd = dict.fromkeys(self.bands, 10.0)
        places = [
            {path.name for path in Path(d.root, d.split).iterdir() if path.is_dir()}
            for d in self.datasets.values()
        ]
        #: Names of the places that both sensors have, which need not be all of them.
        self.places = sorted(places[0] & places[1])
        if not self.places:
            raise PairingError(
                f'{Path(s1.root, s1.split)} and {Path(s2.root, s2.split)} have no place in '
                'common: check that they are parts of the same download'
            )

    def __len__(self) -> int:
        """Return the number of places."""
        return len(self.places)

    def acquisitions(self, index: int) -> list[dict[str, Path]]:
        """Return the acquisitions of a place as pairs of folders, in order of date.

        Args:
            index: Number of the place.

        Returns:
            Modality -> folder, one dictionary a season.

        Raises:
            PairingError: If the sensors have different numbers of acquisitions.
        """
        found = {
            m: sorted(Path(d.root, d.split, self.places[index]).iterdir(), key=_date)
            for m, d in self.datasets.items()
        }
        if len(found['s1']) != len(found['s2']):
            raise PairingError(
                f'place {self.places[index]} has {len(found["s1"])} acquisitions of s1 and '
                f'{len(found["s2"])} of s2, so seasons cannot be matched: check that the '
                'download is complete'
            )
        return [
            dict(zip(found, pair, strict=True))
            for pair in zip(*found.values(), strict=True)
        ]

    def __getitem__(self, index: int) -> Sample:
        """Read one pair.

        Args:
            index: Number of the place.

        Returns:
            ``image_s1`` and ``image_s2``, float32, (bands, 264, 264).

        Raises:
            PairingError: If seasons cannot be matched, or there is no such season.
            RasterError: If a file cannot be read.
        """
        seasons = self.acquisitions(index)
        number = self.season
        if number is None:
            number = int(torch.randint(len(seasons), ()))
        if not 0 <= number < len(seasons):
            raise PairingError(
                f'place {self.places[index]} has {len(seasons)} acquisitions: there is no '
                f'season {number}'
            )
        sample: Sample = {}
        for modality, names in self._names.items():
            folder, size = seasons[number][modality], self.datasets[modality].size
            files = [read_chip(folder / f'{name}.tif') for name in names]
            sample[f'image_{modality}'] = torch.cat([_sized(f, size) for f in files])
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def patch_id(self, index: int) -> str:
        """Return the name of a place.

        Args:
            index: Number of the place.
        """
        return self.places[index]

    def georeference(self, index: int) -> Path:
        """Return the file that holds the place: of its first acquisition.

        Args:
            index: Number of the place.
        """
        modality = self.modalities[-1]
        folder = self.acquisitions(index)[self.season or 0][modality]
        return folder / f'{self._names[modality][0]}.tif'


def _date(folder: Path) -> str:
    """Date in the name of an acquisition, as text that sorts."""
    for details in SSL4EOS12.metadata.values():
        if match := re.match(details['filename_regex'], folder.name):
            return match['date']
    raise PairingError(
        f'{folder} does not begin with a date as SSL4EO-S12 names acquisitions: move it '
        'out of the dataset'
    )


def _sized(image: Tensor, size: int) -> Tensor:
    """Bring a band to the size of the others, as TorchGeo does: nearest pixel."""
    if image.shape[-2:] == (size, size):
        return image
    return torch.nn.functional.interpolate(image[None], (size, size), mode='nearest')[0]


__all__ = ('SSL4EOS12Pairs',)
