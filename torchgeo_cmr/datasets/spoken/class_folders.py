"""Images of classes, one folder a class: the plainest data set there is."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.holdout import SPLITS, hold_out
from torchgeo_cmr.datasets.plots import panels
from torchgeo_cmr.errors import RasterError
from torchgeo_cmr.regular_files import check_regular

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Files that are treated as images.
SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp')

#: What they may hold, by Pillow's names.
_FORMATS = ('JPEG', 'PNG', 'TIFF', 'BMP', 'WEBP')

SHARES = {'train': 0.7, 'val': 0.1, 'test': 0.2}


class ClassFolders(NonGeoDataset):
    """Colour images in ``<root>/<class>/``, without a place.

    Samples hold ``image`` of shape ``(3, height, width)``, float32 from 0 to 255, and
    ``label``, int64. Each class is divided into training, validation and test on its own, at
    random; give each split its own *root* and no *split* if that is done already.

    Relations: TorchGeo's ``UCMerced`` and its like bring their own splits and may be used
    wherever this may.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        split: str | None = None,
        *,
        size: int | None = None,
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new ClassFolders instance.

        Args:
            root: Folder of the class folders.
            classes: Names wanted, which number the labels (default: all folders that hold
                images, in alphabetical order).
            split: 'train', 'val' or 'test'; None for everything.
            size: Height and width to which images are resized (default: as they are).
            shares: 'train', 'val' and 'test' -> share of each class (default: 0.7, 0.1, 0.2).
            seed: Seed of the split.
            transforms: Called with each sample.

        Raises:
            RasterError: If there are no images, a class has none, or *split* is unknown.
        """
        if split not in (None, *SPLITS):
            raise RasterError(f'split {split!r} is not known: use train, val or test')
        self.root = Path(root)
        files = sorted(
            path
            for path in self.root.glob('*/*')
            if path.suffix.lower() in SUFFIXES and not path.name.startswith('.')
        )
        if not files:
            raise RasterError(
                f'{self.root} holds no <class>/<image>: put the images of each class into a '
                'folder of its name'
            )
        present = sorted({path.parent.name for path in files})
        self.classes = tuple(present if classes is None else classes)
        missing = [name for name in self.classes if name not in present]
        if missing:
            raise RasterError(
                f'{self.root} has no images of {", ".join(missing)}; it has '
                f'{", ".join(present)}: choose among these'
            )
        files = [path for path in files if path.parent.name in self.classes]
        if split is not None:
            parts = hold_out(
                [path.parent.name for path in files], shares or SHARES, seed
            )
            files = [files[position] for position in parts[split]]
        self.files = files
        numbers = {name: number for number, name in enumerate(self.classes)}
        #: Class number of each image, int64.
        self.labels = torch.tensor([numbers[path.parent.name] for path in files])
        self.size = size
        self.transforms = transforms

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Read one image.

        Args:
            index: Number of the image.

        Returns:
            ``image`` and ``label``.

        Raises:
            RasterError: If the file cannot be read.
        """
        sample: Sample = {
            'image': read_image(self.files[index], self.size),
            'label': self.labels[index],
        }
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> 'Figure':
        """Plot a sample.

        Args:
            sample: A sample of this dataset.
            show_titles: Whether to write its class above it.
            suptitle: Title of the figure.

        Returns:
            A figure with one panel.
        """
        name = self.classes[int(sample['label'])]
        return panels(
            {name: (sample['image'], ('R', 'G', 'B'))},
            show_titles=show_titles,
            suptitle=suptitle,
        )


def read_image(path: str | os.PathLike[str], size: int | None = None) -> Tensor:
    """Read an image in colour, whatever its format.

    Args:
        path: A JPEG, PNG, TIFF or other file that Pillow reads.
        size: Height and width wanted (default: those of the file).

    Returns:
        Shape (3, height, width), float32 from 0 to 255; 16 bits are scaled to that, divided by
        257.

    Raises:
        RasterError: If the file cannot be read.
    """
    try:
        check_regular(path, RasterError)
        # Pillow goes by what a file holds: of PostScript it would run an interpreter.
        with Image.open(path, formats=_FORMATS) as file:
            pixels = np.array(_eight_bits(file).convert('RGB'))
    except RasterError:
        raise
    except (
        Exception
    ) as error:  # Pillow lets struct, index and many other errors through
        raise RasterError(
            f'{path} cannot be read as an image ({error}): replace or remove the file'
        ) from error
    image = torch.from_numpy(pixels).permute(2, 0, 1).float()
    return image if size is None else resized(image, size)


def _eight_bits(file: Image.Image) -> Image.Image:
    """Scale 16-bit grey values to 8 bits, where Pillow would cut them off at 255.

    Pillow itself scales colours of 16 bits. Grey values of more bits, or that are not whole
    numbers, have no white that a file could mean.
    """
    if file.mode.startswith('I;16') or (file.mode == 'I' and file.format == 'PNG'):
        values = np.asarray(file, dtype=np.float64)
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if file.mode in ('I', 'F'):
        raise ValueError(
            f'its numbers ({file.mode}) have no white: convert it to 8 or 16 bits'
        )
    return file


def resized(image: Tensor, size: int) -> Tensor:
    """Resize an image (bands, height, width) to a square, averaging where it shrinks."""
    if image.shape[-2:] == (size, size):
        return image
    return interpolate(
        image[None], (size, size), mode='bilinear', align_corners=False, antialias=True
    )[0]


__all__ = ('SUFFIXES', 'ClassFolders', 'read_image', 'resized')
