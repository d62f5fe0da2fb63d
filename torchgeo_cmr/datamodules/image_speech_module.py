"""Images and spoken words as loaders: held out by image and by voice."""

from typing import Any, Literal, cast, get_args

import torch
from torch.utils.data import Dataset, Subset
from torchgeo.datasets import DLRSDMultilabel, NonGeoDataset, UCMerced
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datamodules.indexed_module import IndexedDataModule
from torchgeo_cmr.datamodules.statistics import Moments
from torchgeo_cmr.datasets import ADVANCEPairs, ClassFolders, ImageSpeech, SpokenLabels
from torchgeo_cmr.datasets.holdout import SPLITS, hold_out
from torchgeo_cmr.datasets.spoken.spoken_labels import HoldOut
from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.speech import RATE

Layout = Literal['folders', 'ucmerced', 'dlrsd', 'advance']


class ImageSpeechDataModule(IndexedDataModule):
    """Images with the spoken names of their classes.

    Training draws for each image an utterance of one of its classes, anew in each epoch.
    Validation and test hold images and voices that training never met, every one at least
    once. Batches have ``image_image``, ``audio``, ``label`` and ``audio_label``.

    Relations: :class:`~torchgeo_cmr.datasets.ImageSpeech` for each split, or
    :class:`~torchgeo_cmr.datasets.ADVANCEPairs`.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from PIL import Image
        >>> from torchgeo_cmr.speech import write_wav
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, pitch in ('forest', 0.1), ('river', 0.2):
        ...         images, speech = (
        ...             Path(folder, 'images', name),
        ...             Path(folder, 'speech', name),
        ...         )
        ...         images.mkdir(parents=True)
        ...         speech.mkdir(parents=True)
        ...         for i in range(10):
        ...             Image.new('RGB', (64, 64), (20 * i, 90, 30)).save(
        ...                 images / f'{i}.png'
        ...             )
        ...             _ = write_wav(
        ...                 speech / f'voice{i}_0.wav', np.sin(np.arange(8000) * pitch)
        ...             )
        ...     data = ImageSpeechDataModule(
        ...         f'{folder}/images', f'{folder}/speech', batch_size=4
        ...     )
        ...     batch = next(iter(data.train_dataloader()))
        >>> data.classes, batch['image_image'].shape, batch['audio'].shape
        (('forest', 'river'), torch.Size([4, 3, 64, 64]), torch.Size([4, 1, 24000]))
    """

    remedy = 'choose a smaller batch_size, or repeat images'

    def __init__(
        self,
        images: str,
        audio: str | None = None,
        *,
        layout: Layout = 'folders',
        test_audio: str | None = None,
        classes: list[str] | None = None,
        size: int = 64,
        seconds: float = 1.5,
        hold_out: HoldOut = 'voice',
        image_shares: dict[str, float] | None = None,
        audio_shares: dict[str, float] | None = None,
        repeat: int = 1,
        **options: Any,
    ) -> None:
        """Initialize a new ImageSpeechDataModule instance.

        Args:
            images: Folder of the images.
            audio: Folder of the utterances, ``<class>/<voice>_<n>.wav``; none for 'advance',
                which has its own.
            layout: 'folders': one folder of images per class; 'ucmerced': TorchGeo's UCMerced
                with its published split; 'dlrsd': TorchGeo's DLRSDMultilabel, 17 labels for
                the same images, divided at random; 'advance': ADVANCE.
            test_audio: Folder of utterances to test on instead, such as recordings of people
                when training hears synthesised voices; *audio* is then divided between
                training and validation.
            classes: Names of the classes, which number the labels (default: all of the
                images; for 'folders', a choice of them).
            size: Height and width to which images are resized.
            seconds: Length of the sound.
            hold_out: 'voice': speakers of training are not in validation and test;
                'utterance': the utterances of each class are divided.
            image_shares: 'train', 'val' and 'test' -> share of each class, where the images
                have no published split (default: 0.7, 0.1 and 0.2).
            audio_shares: The same for voices or utterances (default: 10, 2 and 3 fifteenths).
            repeat: How often an epoch shows each training image, each time with another
                utterance.
            **options: *batch_size* (64), *augment* (images alone, sound is left as it is),
                *stat_samples* (256), *num_workers* and *seed*, as of
                :class:`~torchgeo_cmr.datamodules.indexed_module.IndexedDataModule`.

        Raises:
            PairingError: If *layout* is unknown, or sound is missing or not used.
        """
        super().__init__(ImageSpeech, **options)
        if layout not in get_args(Layout):
            raise PairingError(
                f'layout {layout!r} is not known: use one of {", ".join(get_args(Layout))}'
            )
        if (audio is None) != (layout == 'advance'):
            raise PairingError(
                'ADVANCE has its own sound: omit `audio`'
                if audio is not None
                else 'images need utterances: give `audio`, which torchgeo-cmr speak can make'
            )
        self.images, self.audio, self.test_audio = images, audio, test_audio
        self.layout: Layout = layout
        self.class_names = classes
        self.size, self.seconds = size, seconds
        self.unit: HoldOut = hold_out
        self.image_shares = image_shares or {'train': 0.7, 'val': 0.1, 'test': 0.2}
        self.audio_shares = audio_shares
        self.repeat = repeat
        self.parts: dict[str, ImageSpeech | ADVANCEPairs] = {}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return 'image', 'speech'

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        self.setup()
        return tuple(self.parts['train'].classes)

    def setup(self, stage: str | None = None) -> None:
        """Open images and sound and hold some out; does nothing the second time.

        Args:
            stage: Any stage of the trainer; all open the same datasets.

        Raises:
            AudioError: If a class is not spoken, or voices cannot be held out.
            PairingError: If images and speech do not have the same classes.
            RasterError: If the images are not there.
        """
        if self.parts:
            return
        parts: dict[str, ImageSpeech | ADVANCEPairs] = {}
        for split in SPLITS:
            if self.layout == 'advance':
                parts[split] = ADVANCEPairs(
                    self.images,
                    split,
                    size=self.size,
                    seconds=self.seconds,
                    seed=self.seed,
                )
                continue
            images = self._images(split)
            parts[split] = ImageSpeech(
                images,
                self._speech(split, _names(images)),
                pairing='random' if split == 'train' else 'each',
                size=self.size,
            )
        self.parts = parts
        self.source = parts['train']
        order = list(range(len(self.source))) * self.repeat
        self.train_dataset = Subset(self.source, order)
        self.val_dataset = cast(Dataset[Sample], parts['val'])
        self.test_dataset = cast(Dataset[Sample], parts['test'])
        self.predict_dataset = self.test_dataset

    def _images(self, split: str) -> NonGeoDataset | Subset[Any]:
        if self.layout == 'ucmerced':
            return UCMerced(self.images, cast(Any, split))
        if self.layout == 'dlrsd':
            dataset = DLRSDMultilabel(self.images)
            parts = hold_out([0] * len(dataset), self.image_shares, self.seed)
            return Subset(dataset, parts[split])
        return ClassFolders(
            self.images,
            self.class_names,
            split,
            shares=self.image_shares,
            seed=self.seed,
        )

    def _speech(self, split: str, names: tuple[str, ...]) -> SpokenLabels:
        shares = self.audio_shares
        if self.test_audio is not None:
            if split == 'test':
                return SpokenLabels(self.test_audio, names, seconds=self.seconds)
            shares = shares or {'train': 0.85, 'val': 0.15, 'test': 0.0}
        return SpokenLabels(
            cast(str, self.audio),
            names,
            cast(Any, split),
            seconds=self.seconds,
            hold_out=self.unit,
            shares=shares,
            seed=self.seed,
        )

    def describe(self) -> dict[str, dict[str, Any]]:
        """Describe each modality, from a seeded sample of training pairs.

        Returns:
            'image' and 'speech' -> ``bands`` (names), ``mean`` and ``std`` (one float per
            band), ``gsd`` (None, unknown), ``patch_size`` (pixels, or samples),
            ``units`` ('dn' or 'waveform') and ``nodata``; of speech also ``sample_rate`` and
            ``seconds``. Tasks store this in their checkpoints.
        """
        self.setup()
        if self._described is None:
            pixels, sound = Moments(), Moments()
            # Utterances are drawn, and every process has to draw the same.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                for sample in self._statistics_samples(self.source):
                    pixels.add(sample['image_image'].numpy())
                    sound.add(sample['audio'].numpy())
            self._described = {
                'image': {
                    'bands': ['R', 'G', 'B'],
                    'mean': pixels.mean(),
                    'std': pixels.std(),
                    'gsd': None,
                    'patch_size': self.size,
                    'units': 'dn',
                    'nodata': None,
                },
                'speech': {
                    'bands': ['audio'],
                    'mean': sound.mean(),
                    'std': sound.std(),
                    'gsd': None,
                    'patch_size': round(self.seconds * RATE),
                    'units': 'waveform',
                    'nodata': None,
                    'sample_rate': RATE,
                    'seconds': self.seconds,
                },
            }
        return self._described


def _names(images: Any) -> tuple[str, ...]:
    while isinstance(images, Subset):
        images = images.dataset
    return tuple(images.classes)


__all__ = ('ImageSpeechDataModule',)
