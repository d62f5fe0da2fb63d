"""DSRSID: 80,000 pairs of panchromatic and multispectral patches of Gaofen-1."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor
from torchgeo.datasets import DatasetNotFoundError
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.benchmarks.chips import ChipPairs
from torchgeo_cmr.datasets.holdout import SPLITS
from torchgeo_cmr.errors import RasterError

if TYPE_CHECKING:
    import h5py

Modalities = Literal['both', 'pan', 'ms']

#: Pairs of each class that are held out; the rest is for training.
_HELD_OUT = {'val': 100, 'test': 400}
_PAIRS_A_CLASS = 10_000

#: Modality -> name in the file, bands, and pixels across.
_KEYS = {'pan': ('PAN_IMAGES', 1, 256), 'ms': ('MUL_IMAGES', 4, 64)}
_LABELS = 'LAND_COVER_TYPES'


class DSRSID(ChipPairs):
    """Panchromatic (2 m) and multispectral (8 m) patches of the same ground, 8 classes.

    The file ``DSRSID.mat`` is HDF5, about 6.6 GB, sorted by class; its authors' page gives
    it, it cannot be downloaded from here. Samples hold ``image_pan`` (1, 256, 256) and
    ``image_ms`` (4, 64, 64), float32 from 0 to 255, north up, and ``label``, int64 from 0 to 7.

    There is no published split. Ours is drawn for each class separately, with seed 0: 100
    pairs to validate, 400 to test, as many as the 4 per cent of the published code, and the
    rest, 9,500, to train. A file with fewer pairs of a class is divided in proportion.

    The order of the class names is that of the literature; the file has numbers only. The
    dataset knows no places.

    Published by Li et al. with SIDHCNN, IEEE TGRS 2018.

    Relations: :class:`~torchgeo_cmr.datamodules.DSRSIDDataModule` makes its batches.
    """

    filename = 'DSRSID.mat'

    #: Names of the classes 1 to 8 of the file, labels 0 to 7.
    classes = (
        'aquafarm',
        'cloud',
        'forest',
        'high building',
        'low building',
        'farm land',
        'river',
        'water',
    )

    def __init__(
        self,
        root: str | os.PathLike[str] = 'data',
        split: str = 'train',
        modalities: Modalities = 'both',
        transforms: Callable[[Sample], Sample] | None = None,
        checksum: bool = False,
        *,
        seed: int = 0,
    ) -> None:
        """Initialize a new DSRSID instance.

        Args:
            root: Folder that holds ``DSRSID.mat``, or the file.
            split: 'train', 'val' or 'test'.
            modalities: 'both', or 'pan' or 'ms' alone.
            transforms: Called with each sample.
            checksum: Whether to read the whole file once, which finds damage before training
                does; no checksum of it is published to compare with.
            seed: Seed of the split; ours is 0.

        Raises:
            DatasetNotFoundError: If the file is not there.
            RasterError: If it is another file, *split* or *modalities* is unknown, or the
                file is damaged.
        """
        if split not in SPLITS or modalities not in ('both', 'pan', 'ms'):
            raise RasterError(
                f'DSRSID has no split {split!r} of {modalities!r}: use train, val or test, '
                'and both, pan or ms'
            )
        self.root = os.fspath(root)
        self.path = Path(root)
        if self.path.is_dir():
            self.path = self.path / self.filename
        if not self.path.is_file():
            raise DatasetNotFoundError(self)
        names = tuple(_KEYS) if modalities == 'both' else (modalities,)
        # The file does not say which band is which.
        bands = {'pan': ('PAN',), 'ms': ('MS1', 'MS2', 'MS3', 'MS4')}
        self.bands = {m: bands[m] for m in names}
        self.units: Mapping[str, str | None] = dict.fromkeys(names, 'dn')
        self.gsd = {m: {'pan': 2.0, 'ms': 8.0}[m] for m in names}
        self.transforms = transforms
        self.split = split
        self._file: h5py.File | None = None
        with self._open() as file:
            self._missing(file)
            numbers = np.asarray(file[_LABELS]).ravel()
            #: Modality -> axes of (pair, band, row, column) in the file.
            self._axes = {
                m: _axes(file[_KEYS[m][0]].shape, len(numbers), m) for m in names
            }
        known = np.isin(numbers, np.arange(1, len(self.classes) + 1))
        if known.size == 0 or not known.all():
            raise RasterError(
                f'{self.path} has labels beyond 1 to {len(self.classes)}: it is not DSRSID'
            )
        labels = numbers.astype(np.int64) - 1
        self._rows = _split(labels, split, seed)
        if len(self._rows) == 0:
            raise RasterError(
                f'{self.path} has {len(labels)} pairs, which leaves none for {split}: three '
                'or more of each class can be divided'
            )
        #: Class of each pair of the split, int64.
        self.labels = torch.from_numpy(labels[self._rows])
        if checksum:
            for row in range(len(labels)):
                for m in names:
                    self._read(m, row)

    def _open(self) -> 'h5py.File':
        import h5py

        try:
            return h5py.File(self.path, 'r')
        except OSError as error:
            raise RasterError(
                f'{self.path} cannot be read as HDF5 ({error}): fetch the file again'
            ) from error

    def _missing(self, file: 'h5py.File') -> None:
        wanted = [*(_KEYS[m][0] for m in self.bands), _LABELS]
        absent = [name for name in wanted if not hasattr(file.get(name), 'shape')]
        if absent:
            raise RasterError(
                f'{self.path} has no {", ".join(absent)}, it holds '
                f'{", ".join(file) or "nothing"}: it is not DSRSID'
            )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind: each loader worker opens its own."""
        return {**self.__dict__, '_file': None}

    def __len__(self) -> int:
        """Return the number of pairs of the split."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Read one pair.

        Args:
            index: Number of the pair in the split.

        Returns:
            ``image_pan``, ``image_ms`` and ``label``.

        Raises:
            RasterError: If the file cannot be read there.
        """
        row = int(self._rows[index])
        sample: Sample = {f'image_{m}': self._read(m, row) for m in self._axes}
        sample['label'] = self.labels[index]
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def _read(self, modality: str, row: int) -> Tensor:
        """One patch, whatever the order of the axes in the file."""
        if self._file is None:
            self._file = self._open()
        key, axes = _KEYS[modality][0], self._axes[modality]
        where: list[slice | int] = [slice(None)] * 4
        where[axes[0]] = row
        try:
            pixels = np.asarray(cast(Any, self._file[key])[tuple(where)])
        except OSError as error:
            raise RasterError(
                f'{self.path} is damaged at pair {row} of {key}: fetch it again'
            ) from error
        # The axes that are left after the pair was picked out.
        kept = [axis - (axis > axes[0]) for axis in axes[1:]]
        image = np.ascontiguousarray(pixels.transpose(kept), np.float32)
        return torch.from_numpy(image)

    def patch_id(self, index: int) -> str:
        """Return the number of a pair in the file, from 0.

        Args:
            index: Number of the pair in the split.
        """
        return f'{self.filename}:{int(self._rows[index]):05d}'

    def attributes(self, index: int) -> dict[str, object]:
        """Return the class of a pair.

        Args:
            index: Number of the pair in the split.
        """
        return {'label': self.classes[int(self.labels[index])]}


def _axes(shape: tuple[int, ...], pairs: int, modality: str) -> tuple[int, ...]:
    """Find pair, band, row and column among the axes of an array.

    MATLAB writes columns first, so HDF5 shows its (row, column, band, pair) backwards; other
    writers keep (pair, band, row, column) or put bands last.
    """
    _, bands, size = _KEYS[modality]
    for axes, layout in (
        # Backwards MATLAB and plain channels-first have one shape: the file is MATLAB's.
        ((0, 1, 3, 2), (pairs, bands, size, size)),
        ((3, 2, 0, 1), (size, size, bands, pairs)),
        ((0, 3, 1, 2), (pairs, size, size, bands)),
    ):
        if shape == layout:
            return axes
    raise RasterError(
        f'{_KEYS[modality][0]} has the shape {shape}, which is not {pairs} patches of '
        f'{bands} x {size} x {size}: it is not DSRSID, or it was cut short'
    )


def _split(labels: np.ndarray, split: str, seed: int) -> np.ndarray:
    """Positions of a split, in the order of the file."""
    rng = np.random.default_rng(seed)
    chosen: list[np.ndarray] = []
    for number in np.unique(labels):
        order = rng.permutation(np.flatnonzero(labels == number))
        scale = len(order) / _PAIRS_A_CLASS
        val, test = (max(1, round(_HELD_OUT[s] * scale)) for s in ('val', 'test'))
        parts = {
            'val': order[:val],
            'test': order[val : val + test],
            'train': order[val + test :],
        }
        chosen.append(parts[split])
    return np.sort(np.concatenate(chosen))


__all__ = ('DSRSID',)
