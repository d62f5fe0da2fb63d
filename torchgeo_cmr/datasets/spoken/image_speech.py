"""Images and the spoken names of what they show."""

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils.data import Subset
from torchgeo.datasets import ADVANCE, DLRSDMultilabel, NonGeoDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.holdout import hold_out
from torchgeo_cmr.datasets.spoken.class_folders import read_image, resized
from torchgeo_cmr.datasets.spoken.spoken_labels import SpokenLabels, read_audio
from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.speech import RATE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pairing = Literal['random', 'each', 'all']


class ImageSpeech(NonGeoDataset):
    """Images, each with an utterance of one of its classes.

    Samples hold ``image_image`` (bands, height, width), float32, raw; ``audio`` (1, samples);
    ``label`` of the image, int64, or multi-hot float32 of shape (classes,); and
    ``audio_label``, int64, the class that is spoken.

    There are three ways to pair: ``'random'`` draws a class of the image and an utterance of
    it anew each time (to train on); ``'each'`` takes every image and every utterance at least
    once, in as few pairs as that needs (to judge by: the order is fixed, and who is in excess
    meets the others in turn); ``'all'`` enumerates every image with each of its classes.

    Split by image *and* by voice: give it an image set and a :class:`SpokenLabels` of the
    same split.

    Relations: :class:`~torchgeo_cmr.datamodules.ImageSpeechDataModule` makes the splits.
    """

    def __init__(
        self,
        images: NonGeoDataset | Subset[Any],
        speech: SpokenLabels,
        *,
        pairing: Pairing = 'random',
        size: int | None = None,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new ImageSpeech instance.

        Args:
            images: Dataset of ``image`` and ``label``: :class:`ClassFolders`, TorchGeo's
                ``UCMerced`` or ``DLRSDMultilabel``, or a subset of one.
            speech: Utterances; its classes number the labels of the images.
            pairing: 'random', 'each' or 'all'.
            size: Height and width to which images are resized (default: as they are).
            transforms: Called with each sample.

        Raises:
            PairingError: If the images have other classes than the speech, or no label.
        """
        if pairing not in get_args(Pairing):
            raise PairingError(
                f"pairing {pairing!r} is not known: use 'random', 'each' or 'all'"
            )
        names = classes_of(images)
        if names and tuple(names) != speech.classes:
            raise PairingError(
                f'the images have the classes {", ".join(names)} and the speech '
                f'{", ".join(speech.classes)}: open the speech with the classes of the images'
            )
        self.images, self.speech = images, speech
        self.classes = speech.classes
        self.pairing = pairing
        self.size = size
        self.transforms = transforms
        #: Labels of the images: int64 (n,), or float32 multi-hot (n, classes).
        self.labels = labels_of(images)
        self._by_class = [
            torch.nonzero(speech.labels == c).flatten().tolist()
            for c in range(len(self.classes))
        ]
        self._positives = [self._classes(i) for i in range(len(self.labels))]
        empty = [i for i, found in enumerate(self._positives) if not found]
        if empty:
            raise PairingError(
                f'image {empty[0]} has no label that could be spoken: remove it'
            )
        #: Image and utterance of each pair, where they are fixed.
        self._pairs: list[tuple[int, int]] = []
        if pairing == 'all':
            self._pairs = self._every_label()
        elif pairing == 'each':
            self._pairs = self._every_item()

    def _every_label(self) -> list[tuple[int, int]]:
        """Each image once with each of its classes, utterances of a class in turn."""
        turns = [cycle(found) for found in self._by_class]
        return [
            (image, next(turns[c]))
            for image, found in enumerate(self._positives)
            for c in found
        ]

    def _every_item(self) -> list[tuple[int, int]]:
        """Each image, then each utterance that is left, with what has its class."""
        turns = [cycle(found) for found in self._by_class]
        left = [len(found) for found in self._by_class]
        pairs: list[tuple[int, int]] = []
        shown: list[list[int]] = [[] for _ in self.classes]
        for image, found in enumerate(self._positives):
            # The class of which most has not been heard yet.
            c = max(found, key=lambda c: left[c])
            left[c] -= 1
            pairs.append((image, next(turns[c])))
            for positive in found:
                shown[positive].append(image)
        for c, count in enumerate(left):
            images = cycle(shown[c])
            # A class without an image has nothing to meet its utterances.
            for _ in range(count if shown[c] else 0):
                pairs.append((next(images), next(turns[c])))
        return pairs

    def _classes(self, index: int) -> list[int]:
        label = self.labels[index]
        return torch.nonzero(label).flatten().tolist() if label.ndim else [int(label)]

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self._pairs) if self._pairs else len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Args:
            index: Number of the sample.

        Returns:
            Image and utterance with their labels.

        Raises:
            AudioError: If a sound file cannot be used.
            RasterError: If an image cannot be read.
        """
        if self._pairs:
            image, utterance = self._pairs[index]
        else:
            image = index
            found = self._positives[image]
            choice = self._by_class[found[_draw(len(found))]]
            utterance = choice[_draw(len(choice))]
        sample = {**self._image(image), **self.speech[utterance]}
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def _image(self, index: int) -> Sample:
        image = self.images[index]['image'].float()
        if self.size is not None:
            image = resized(image, self.size)
        return {'image_image': image, 'label': self.labels[index]}

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> 'Figure':
        """Plot the image of a sample above the waveform of its utterance."""
        return _plot(sample, self.classes, show_titles, suptitle)


class ADVANCEPairs(NonGeoDataset):
    """ADVANCE: aerial images, each with the sound recorded at its place.

    Takes TorchGeo's ``ADVANCE`` for the files and reads the sound itself, so that rate and
    scale are known. The benchmark has no published split: each class is divided at random.
    Samples are those of :class:`ImageSpeech`; both labels are the class of the scene. The
    places of the recordings are not in the files.
    """

    def __init__(
        self,
        root: str = 'data',
        split: str | None = None,
        *,
        size: int | None = None,
        seconds: float = 10.0,
        seed: int = 0,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new ADVANCEPairs instance.

        Args:
            root: Folder of ADVANCE, with ``vision`` and ``sound``.
            split: 'train' (0.7 of each class), 'val' (0.1) or 'test' (0.2); None for all.
            size: Height and width to which images are resized (default: as they are).
            seconds: Length of the sound; the middle is taken.
            seed: Seed of the split.
            transforms: Called with each sample.

        Raises:
            DatasetNotFoundError: If the dataset is not there.
            PairingError: If images and sounds do not belong together, file by file.
        """
        dataset = ADVANCE(root)
        self.classes = dataset.classes
        # TorchGeo pairs the two lists in order, and drops what one of them has beyond the other
        found = {
            kind: len(list(Path(root, kind).glob(f'*/*.{suffix}')))
            for kind, suffix in (('vision', 'jpg'), ('sound', 'wav'))
        }
        if len(set(found.values())) > 1:
            raise PairingError(
                f'{root} has {found["vision"]} images and {found["sound"]} sounds: a file is '
                'missing, extract the dataset again'
            )
        for files in dataset.files:
            names = [_stem(files[kind]) for kind in ('image', 'audio')]
            if names[0] != names[1]:
                raise PairingError(
                    f'image {files["image"]} meets the sound {files["audio"]}: a file is '
                    'missing, extract the dataset again'
                )
        files = dataset.files
        if split is not None:
            shares = {'train': 0.7, 'val': 0.1, 'test': 0.2}
            parts = hold_out([f['cls'] for f in files], shares, seed)
            if split not in parts:
                raise PairingError(
                    f'split {split!r} is not known: use train, val or test'
                )
            files = [files[position] for position in parts[split]]
        self.files = files
        self.labels = torch.tensor([dataset.class_to_idx[f['cls']] for f in files])
        self.size = size
        self.samples = round(seconds * RATE)
        self.transforms = transforms

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Read one pair.

        Args:
            index: Number of the pair.

        Returns:
            The sample described above.
        """
        files, label = self.files[index], self.labels[index]
        sample: Sample = {
            'image_image': read_image(files['image'], self.size),
            'audio': read_audio(files['audio'], self.samples),
            'label': label,
            'audio_label': label,
        }
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> 'Figure':
        """Plot the image of a sample above its waveform."""
        return _plot(sample, self.classes, show_titles, suptitle)


def classes_of(images: Any) -> tuple[str, ...]:
    """Names of the classes of an image dataset or a subset of one; none if it has none."""
    while isinstance(images, Subset):
        images = images.dataset
    return tuple(getattr(images, 'classes', ()))


def labels_of(images: Any) -> Tensor:
    """Labels of an image dataset, without reading pixels where it can be done.

    Args:
        images: :class:`ClassFolders`, a TorchGeo dataset, or a subset.

    Returns:
        int64 of shape (n,), or float32 multi-hot of shape (n, classes).
    """
    if isinstance(images, Subset):
        return labels_of(images.dataset)[torch.as_tensor(list(images.indices))]
    known = getattr(images, 'labels', getattr(images, 'targets', None))
    if known is None and isinstance(images, DLRSDMultilabel):
        known = [images._load_target(i).tolist() for i in range(len(images))]
    if known is None:
        known = [images[i]['label'].tolist() for i in range(len(images))]
    labels = torch.as_tensor(known)
    return labels.float() if labels.ndim == 2 else labels.long()


def _draw(count: int) -> int:
    """One of so many, from torch's generator: workers and seeds are Lightning's."""
    return int(torch.randint(count, ()))


def _stem(path: str) -> tuple[str, ...]:
    """Class and name of a file, without its suffix."""
    *_, folder, name = path.replace('\\', '/').split('/')
    return folder, name.rpartition('.')[0]


def _plot(
    sample: Sample, classes: Sequence[str], show_titles: bool, suptitle: str | None
) -> 'Figure':
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(
        2, figsize=(4, 5), height_ratios=(4, 1), layout='constrained'
    )
    above.imshow(sample['image_image'][:3].permute(1, 2, 0).numpy() / 255)
    above.set_axis_off()
    sound = sample['audio'][0].numpy()
    below.plot([i / RATE for i in range(len(sound))], sound, linewidth=0.5)
    below.set_xlabel('seconds')
    if show_titles:
        label = sample['label']
        found = torch.nonzero(label).flatten().tolist() if label.ndim else [int(label)]
        above.set_title(', '.join(classes[c] for c in found))
        below.set_title(classes[int(sample['audio_label'])])
    if suptitle is not None:
        figure.suptitle(suptitle)
    return figure


__all__ = ('ADVANCEPairs', 'ImageSpeech', 'classes_of', 'labels_of')
