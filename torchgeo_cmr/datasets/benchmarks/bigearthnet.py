"""BigEarthNet as pairs: radar in float, bands by name, places from the files."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict, get_args

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchgeo.datasets import BigEarthNet, BigEarthNetV2, DatasetNotFoundError
from torchgeo.datasets.utils import Path as PathLike
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.benchmarks.chips import ChipPairs, channel_numbers, read_chip
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.typed_json import read_json

Version = Literal['v1', 'v2']
Split = Literal['train', 'val', 'test']
Resampling = Literal['bilinear', 'bicubic']

#: Band -> mean and standard deviation over the training patches of BigEarthNet-MM.
BIGEARTHNET_STATISTICS = {
    'VV': (-12.619993742, 5.115911778),
    'VH': (-19.290445977, 5.464428465),
    'B01': (340.76769064, 554.81258967),
    'B02': (429.9430203, 572.41639287),
    'B03': (614.21682446, 582.87945694),
    'B04': (590.23569706, 675.88746967),
    'B05': (950.68368468, 729.89827633),
    'B06': (1792.46290469, 1096.01480586),
    'B07': (2075.46795189, 1273.45393088),
    'B08': (2218.94553375, 1365.45589904),
    'B8A': (2266.46036911, 1356.13789355),
    'B09': (2246.0605464, 1302.3292881),
    'B11': (1594.42694882, 1079.19066363),
    'B12': (1009.32729131, 818.86747235),
}

_BANDS: dict[str, tuple[str, ...]] = {
    's1': ('VV', 'VH'),
    's2': tuple(b for b in BIGEARTHNET_STATISTICS if b.startswith('B')),
}
#: What the published methods use: without the two bands of 60 m.
_DEFAULT: dict[str, tuple[str, ...]] = {
    's1': ('VV', 'VH'),
    's2': ('B02', 'B03', 'B04', 'B08', 'B05', 'B06', 'B07', 'B8A', 'B11', 'B12'),
}
_SIZE = 120
_DATE = re.compile(r'_(\d{8})T')
_CURE = 'download it again'


class _Pair(TypedDict):
    corresponding_s2_patch: str


class _Labels(TypedDict):
    labels: list[str]


class BigEarthNetPairs(ChipPairs):
    """Sentinel-1 and Sentinel-2 patches of BigEarthNet, with 19 classes.

    The folders are those of TorchGeo's :class:`~torchgeo.datasets.BigEarthNet` (``'v1'``) and
    :class:`~torchgeo.datasets.BigEarthNetV2` (``'v2'``), which can download them. What is
    read is different: radar stays float32 (TorchGeo rounds decibels to whole numbers), bands
    have names and an order that you choose, and every patch knows its place.

    A sample has ``image_s1`` and ``image_s2``, (bands, 120, 120) float32, decibels and digital
    numbers (10,000 times reflectance), and ``label``, 19 zeros and ones, long, in TorchGeo's
    order of classes. A patch of v1 none of whose 43 classes has a successor among the 19 has
    no label: all zeros. The land cover map of v2 is not read.

    If you use this dataset in your research, please cite the following papers:

    * https://doi.org/10.1109/MGRS.2021.3089174 (v1)
    * https://arxiv.org/abs/2407.03653 (v2)

    Relations: :class:`~torchgeo_cmr.datasets.BEN14K` is a part of v1.
    """

    classes: ClassVar[tuple[str, ...]] = tuple(BigEarthNet.class_sets[19])

    def __init__(
        self,
        root: PathLike = 'data',
        split: Split | None = 'train',
        version: Version = 'v1',
        bands: Mapping[str, Sequence[str]] | None = None,
        resampling: Resampling = 'bilinear',
        directories: Mapping[str, str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new BigEarthNetPairs instance.

        Args:
            root: Folder that holds the two folders of patches and the lists of splits.
            split: 'train', 'val' or 'test'; None takes every pair there is, snow and clouds
                too, without a list (v1) or with all rows of it (v2).
            version: 'v1' (random splits on the patch grid) or 'v2' (geographic splits).
            bands: 's1' and 's2' -> names of the bands, in the order wanted; one of the two
                may be omitted, and is then not read. Default: VV, VH and the ten bands of
                10 and 20 m.
            resampling: How 20 and 60 m bands are brought to 10 m: 'bilinear' or 'bicubic'.
            directories: 's1' and 's2' -> name of the folder, if it is not the usual one.
            transforms: Called with each sample.

        Raises:
            DatasetNotFoundError: If a folder or a list is missing; the message names it.
            RasterError: If a band or an option is unknown, or the list holds no pair.
        """
        for name, given, known in (
            ('split', split, (*get_args(Split), None)),
            ('version', version, get_args(Version)),
            ('resampling', resampling, get_args(Resampling)),
        ):
            if given not in known:
                raise RasterError(
                    f'{name} must be one of {", ".join(map(str, known))}, found {given!r}'
                )
        chosen = {m: tuple(names) for m, names in (bands or _DEFAULT).items()}
        for modality, names in chosen.items():
            if modality not in _BANDS:
                raise RasterError(
                    f'BigEarthNet has the modalities s1 and s2, found {modality!r} in bands'
                )
            channel_numbers(modality, names, _BANDS[modality])
        self.bands = chosen
        self.units = {m: 'db' if m == 's1' else 'reflectance' for m in chosen}
        self.gsd = dict.fromkeys(chosen, 10.0)
        self.root = Path(root)
        self.split = split
        self.version = version
        self.resampling = resampling
        self.transforms = transforms
        usual = {
            'v1': {m: BigEarthNet.metadata[m]['directory'] for m in _BANDS},
            'v2': {m: BigEarthNetV2.dir_file_names[m] for m in _BANDS},
        }[version]
        self.directories = usual | dict(directories or {})
        for modality in ('s1', 's2'):
            self._there(self.root / self.directories[modality])
        #: One row per pair: 's1' and 's2' names, and for v2 the 'labels'.
        self.pairs = self._pairs().reset_index(drop=True)
        if self.pairs.empty:
            raise RasterError(
                f'no {split or "complete"} pair of BigEarthNet {version} is listed for '
                f'{self.root}: check the split and that the download is complete'
            )

    def _there(self, path: Path) -> Path:
        if not path.exists():
            theirs = 'BigEarthNet' if self.version == 'v1' else 'BigEarthNetV2'
            raise _MissingDataError(
                f'BigEarthNet {self.version} was not found: there is no {path}; give the '
                'folder that holds it as `root`, or let '
                f'torchgeo.datasets.{theirs}(root, download=True) download it'
            )
        return path

    def _pairs(self) -> pd.DataFrame:
        """Names of all pairs of the split, one row each."""
        return self._read_list(self.split)

    def _read_list(self, split: Split | None) -> pd.DataFrame:
        """Names of all pairs of a split, one row each."""
        if self.version == 'v2':
            table = pd.read_parquet(self._there(self.root / 'metadata.parquet'))
            if split is not None:
                name = BigEarthNetV2.split_map[split]
                table = table[table['split'] == name]
            table = table.rename(columns={'s1_name': 's1', 'patch_id': 's2'})
            return table[['s1', 's2', 'labels']]
        if split is not None:
            name = BigEarthNet.splits_metadata[split]['filename']
            return pd.read_csv(
                self._there(self.root / name),
                names=['s2', 's1'],
                header=None,
                dtype=str,
            )
        rows = []
        radar = self.root / self.directories['s1']
        for path in sorted(radar.glob('*/*_labels_metadata.json')):
            other = read_json(path, _Pair, _CURE, RasterError)['corresponding_s2_patch']
            if (self.root / self.directories['s2'] / other).is_dir():
                rows.append((path.parent.name, other))
        return pd.DataFrame(rows, columns=['s1', 's2'])

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read one pair.

        Args:
            index: Number of the pair.

        Returns:
            The sample described above.

        Raises:
            RasterError: If a file is missing or cannot be read.
        """
        sample: Sample = {}
        for modality, names in self.bands.items():
            paths = [self._file(index, modality, band) for band in names]
            sample[f'image_{modality}'] = torch.cat([self._read(p) for p in paths])
        sample['label'] = self._label(index)
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def _folder(self, index: int, modality: str) -> Path:
        name = str(self.pairs[modality].iloc[index])
        folder = self.root / self.directories[modality]
        if self.version == 'v2':
            # Patches of an acquisition share a folder; the patch adds row and column, and
            # in Sentinel-1 names the tile before them.
            folder /= name.rsplit('_', 3 if modality == 's1' else 2)[0]
        return folder / name

    def _file(self, index: int, modality: str, band: str) -> Path:
        folder = self._folder(index, modality)
        return folder / f'{folder.name}_{band}.tif'

    def _read(self, path: Path) -> Tensor:
        """Read a band as (1, 120, 120) float32."""
        pixels = read_chip(path)
        if pixels.shape[-2:] == (_SIZE, _SIZE):
            return pixels
        size = (_SIZE, _SIZE)
        return interpolate(
            pixels[None], size, mode=self.resampling, align_corners=False
        )[0]

    def _label(self, index: int) -> Tensor:
        if self.version == 'v2':
            numbers = [self.classes.index(n) for n in self.pairs['labels'].iloc[index]]
        else:
            folder = self._folder(index, 's2')
            path = folder / f'{folder.name}_labels_metadata.json'
            if not path.exists():
                raise RasterError(
                    f'there is no {path}: check that the download is complete'
                )
            named = read_json(path, _Labels, _CURE, RasterError)['labels']
            classes = BigEarthNet.class_sets[43]
            if unknown := {*named} - {*classes}:
                raise RasterError(
                    f'{path} names a class {min(unknown)!r:.80} that BigEarthNet does not have; {_CURE}'
                )
            old = [classes.index(name) for name in named]
            new = BigEarthNet.label_converter
            numbers = [new[number] for number in old if number in new]
        label = torch.zeros(len(self.classes), dtype=torch.long)
        label[numbers] = 1
        return label

    def labels(self) -> Tensor:
        """Return the labels of all pairs, without reading a pixel.

        Returns:
            Zeros and ones, shape (pairs, 19), long.
        """
        return torch.stack([self._label(index) for index in range(len(self))])

    def patch_id(self, index: int) -> str:
        """Return the name of the Sentinel-2 patch, which is unique.

        Args:
            index: Number of the pair.
        """
        return str(self.pairs['s2'].iloc[index])

    def georeference(self, index: int) -> Path:
        """Return the file that holds the place of a pair: its first band.

        Args:
            index: Number of the pair.
        """
        modality = 's2' if 's2' in self.bands else 's1'
        return self._file(index, modality, self.bands[modality][0])

    def attributes(self, index: int) -> dict[str, object]:
        """Return the names of both patches, their days (UTC) and their tile ('34TCS').

        Args:
            index: Number of the pair.
        """
        found: dict[str, object] = {}
        for modality in _BANDS:
            name = str(self.pairs[modality].iloc[index])
            found[f'{modality}_name'] = name
            # The time of day in the names is not always a time: T94161 exists.
            days = _DATE.search(name)
            day: Any = pd.Timestamp(days[1], tz='UTC') if days else pd.NaT
            found[f'{modality}_date'] = day
        found['tile'] = str(self.pairs['s1'].iloc[index]).rsplit('_', 3)[1]
        return found


class _MissingDataError(DatasetNotFoundError, RasterError):
    """A dataset is not where it was looked for; the message names the missing part."""

    def __init__(self, message: str) -> None:
        FileNotFoundError.__init__(self, message)


__all__ = ('BIGEARTHNET_STATISTICS', 'BigEarthNetPairs')
