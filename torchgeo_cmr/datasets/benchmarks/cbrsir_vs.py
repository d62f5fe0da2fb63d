"""CBRSIR_VS: 26,901 pairs of aerial-like RGB patches and Sentinel-1 patches of ten classes."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.benchmarks.chips import ChipPairs, read_chip
from torchgeo_cmr.datasets.holdout import SPLITS, hold_out
from torchgeo_cmr.errors import RasterError

#: What files of patches end in.
_SUFFIXES = ('.tif', '.tiff', '.png', '.jpg', '.jpeg', '.bmp')
_BANDS = {'rgb': ('R', 'G', 'B'), 'sar': ('SAR',)}
_PAIRS, _CLASSES = 26_901, 10

#: Share of each class in train, val and test.
_SHARES = {'train': 0.7, 'val': 0.1, 'test': 0.2}


class CBRSIRVS(ChipPairs):
    """Optical (RGB, 1 m) and radar (Sentinel-1, 10 m) patches of the same ground, 10 classes.

    Known from papers: 26,901 pairs; RGB patches of 256 x 256, radar patches of 64 x 64; one
    of ten classes per pair. **Assumed**, for the layout is not documented: a folder for each
    modality with a folder for each class in it, and the same file name on both sides::

        root/rgb/<class>/<name>.png
        root/sar/<class>/<name>.png

    Names of the modality folders are an option, files may be GeoTIFF, PNG, JPEG or BMP, and
    their suffixes may differ. There is no published split: ours is drawn for each class with
    seed 0, 70 % to train, 10 % to validate, 20 % to test.

    Samples hold ``image_rgb`` (3, 256, 256) and ``image_sar`` (1, 64, 64), float32 with the
    numbers of the files, and ``label``, int64, by the alphabetical order of the class folders.

    Published by Sun et al. with MsEspH, IEEE TGRS 60, 2022.

    Relations: :class:`~torchgeo_cmr.datamodules.CBRSIRVSDataModule` makes its batches.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = 'data',
        split: str = 'train',
        directories: Mapping[str, str] | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
        check_counts: bool = True,
        *,
        seed: int = 0,
    ) -> None:
        """Initialize a new CBRSIRVS instance.

        Args:
            root: Folder that holds those of the modalities.
            split: 'train', 'val' or 'test'.
            directories: 'rgb' and 'sar' -> name of the folder, if it is another.
            transforms: Called with each sample.
            check_counts: Whether to insist on 26,901 pairs of ten classes. Only a part of the
                dataset has others.
            seed: Seed of the split; ours is 0.

        Raises:
            DatasetNotFoundError: If a folder of a modality is not there.
            RasterError: If *split* is unknown, a patch has no partner, or the numbers of pairs
                or classes are not the published ones.
        """
        if split not in SPLITS:
            raise RasterError(
                f'CBRSIR_VS has no split {split!r}: use {", ".join(SPLITS)}'
            )
        self.root, self.split, self.transforms = os.fspath(root), split, transforms
        self.bands = _BANDS
        self.units: Mapping[str, str | None] = {'rgb': 'dn', 'sar': 'dn'}
        self.gsd = {'rgb': 1.0, 'sar': 10.0}
        folders = {m: Path(root, (directories or {}).get(m, m)) for m in _BANDS}
        if not all(folder.is_dir() for folder in folders.values()):
            raise DatasetNotFoundError(self)
        files = {m: _files(folder) for m, folder in folders.items()}
        for this, other in (('rgb', 'sar'), ('sar', 'rgb')):
            if alone := sorted({*files[this]} - {*files[other]}):
                raise RasterError(
                    f'{len(alone)} patches of {folders[this]} have no partner of the same class '
                    f'and name in {folders[other]}, {"/".join(alone[0])} first: pairs go by '
                    'class and name; complete them or give directories='
                )
        names = sorted(files['rgb'])
        #: Names of the classes, in the order of the labels.
        self.classes = tuple(sorted({label for label, _ in names}))
        if check_counts and (len(names), len(self.classes)) != (_PAIRS, _CLASSES):
            raise RasterError(
                f'CBRSIR_VS has {_PAIRS:,} pairs of {_CLASSES} classes, found {len(names):,} of '
                f'{len(self.classes)} in {self.root}: check that it is complete, or pass '
                'check_counts=False if it is cut down on purpose'
            )
        chosen = hold_out([label for label, _ in names], _SHARES, seed)[split]
        if not chosen:
            raise RasterError(
                f'{self.root} holds {len(names)} pairs, which leaves none for {split}: three or '
                'more of each class can be divided'
            )
        self._names = [names[position] for position in chosen]
        self._paths = [{m: files[m][name] for m in _BANDS} for name in self._names]
        numbers = {label: number for number, label in enumerate(self.classes)}
        #: Class of each pair of the split, int64.
        self.labels = torch.tensor([numbers[label] for label, _ in self._names])
        self._sizes = {m: self._read(m, 0).shape for m in _BANDS}

    def __len__(self) -> int:
        """Return the number of pairs of the split."""
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Read one pair.

        Args:
            index: Number of the pair in the split.

        Returns:
            ``image_rgb``, ``image_sar`` and ``label``.

        Raises:
            RasterError: If a file cannot be read, or is of another size than the first.
        """
        sample: Sample = {f'image_{m}': self._read(m, index) for m in self.bands}
        for m, size in self._sizes.items():
            if (found := sample[f'image_{m}'].shape) != size:
                raise RasterError(
                    f'{self._paths[index][m]} is {found[1]} x {found[2]}, and the first patch '
                    f'of {m} {size[1]} x {size[2]}: give all of a modality one size'
                )
        sample['label'] = self.labels[index]
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def _read(self, modality: str, index: int) -> Tensor:
        path, count = self._paths[index][modality], len(_BANDS[modality])
        image = read_chip(path)
        # Grey pictures are often written as three equal bands.
        if count == 1 and len(image) == 3 and (image == image[:1]).all():
            image = image[:1]
        if len(image) != count:
            raise RasterError(
                f'{path} has {len(image)} bands, and a patch of {modality} has {count}: is '
                'it in the right folder?'
            )
        return image

    def patch_id(self, index: int) -> str:
        """Return class and name of a pair.

        Args:
            index: Number of the pair in the split.
        """
        return '/'.join(self._names[index])

    def georeference(self, index: int) -> Path:
        """Return the file that would hold the place of a pair: its optical patch.

        Args:
            index: Number of the pair in the split.
        """
        return self._paths[index]['rgb']

    def attributes(self, index: int) -> dict[str, object]:
        """Return the class of a pair.

        Args:
            index: Number of the pair in the split.
        """
        return {'label': self._names[index][0]}


def _files(folder: Path) -> dict[tuple[str, str], Path]:
    """Class and name, without suffix, of each patch -> its file."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.glob('*/*')):
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith('.'):
            twin = found.setdefault((path.parent.name, path.stem), path)
            if twin is not path:
                raise RasterError(
                    f'{twin} and {path} have one name but for the suffix: remove one'
                )
    return found


__all__ = ('CBRSIRVS',)
