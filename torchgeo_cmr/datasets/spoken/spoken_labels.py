"""Spoken labels: recorded or synthesised words, one folder a class."""

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchgeo.datasets import NonGeoDataset
from torchgeo.datasets.utils import Sample

from torchgeo_cmr.datasets.holdout import SPLITS, hold_out
from torchgeo_cmr.errors import AudioError
from torchgeo_cmr.speech import RATE, read_wav

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HoldOut = Literal['voice', 'utterance']
Split = Literal['train', 'val', 'test']

#: 10, 2 and 3 of 15 utterances: the corpus of CMIR-NET divided as our protocol does.
SHARES = {'train': 10 / 15, 'val': 2 / 15, 'test': 3 / 15}

#: Below this share of the loudest moment a recording counts as silence.
_SILENCE = 0.01


class Utterance(NamedTuple):
    """One file of a corpus."""

    path: Path
    label: str
    voice: str


class SpokenLabels(NonGeoDataset):
    """Utterances of class names, as 16 kHz mono sound of one length.

    The corpus is a folder of folders, ``<root>/<class>/<voice>_<n>.wav``, which is what
    :func:`torchgeo_cmr.speech.speak` writes and how recordings may be laid out; the voice is
    the name up to its last underscore, without the class if all names hold it. Or it is a manifest: a CSV file with the columns
    ``file`` (relative to *root*), ``label`` and, if speakers are to be held out, ``voice``.

    Samples hold ``audio`` of shape ``(1, samples)``, float32 from -1 to 1, silence at both
    ends removed and the rest in the middle, cut or padded with zeros to *seconds*; and
    ``audio_label``, int64.

    Relations: :class:`~torchgeo_cmr.datasets.ImageSpeech` pairs it with images.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        split: Split | None = None,
        *,
        manifest: str | os.PathLike[str] | None = None,
        seconds: float = 1.5,
        n_per_class: int | None = None,
        hold_out: HoldOut = 'voice',
        shares: Mapping[str, float] | None = None,
        seed: int = 0,
        transforms: Callable[[Sample], Sample] | None = None,
    ) -> None:
        """Initialize a new SpokenLabels instance.

        Args:
            root: Folder of the corpus.
            classes: Names wanted, which number the labels (default: all that are spoken, in
                alphabetical order). Case, spaces and signs may differ: ``StorageTanks`` is
                found as ``storage_tanks``. Others in the corpus are passed over.
            split: 'train', 'val' or 'test'; None for everything.
            manifest: CSV file that lists the utterances, instead of the folders.
            seconds: Length of every sample.
            n_per_class: At most so many utterances of a class, the first by name.
            hold_out: 'voice': a speaker is in one split only, whatever the word; 'utterance':
                each class is divided on its own, and speakers recur.
            shares: 'train', 'val' and 'test' -> share (default: 10, 2 and 3 fifteenths).
            seed: Seed of the split.
            transforms: Called with each sample.

        Raises:
            AudioError: If the corpus is not there or empty, a class is not spoken, in this
                split or at all, or a row of the manifest has no label or contradicts another.
        """
        if split not in (None, *SPLITS) or hold_out not in get_args(HoldOut):
            raise AudioError(
                f'split {split!r} with hold_out {hold_out!r} is not known: use train, val or '
                'test, and voice or utterance'
            )
        if seconds <= 0:
            raise AudioError(f'seconds is {seconds}: utterances last longer than 0')
        self.root = Path(root)
        found = self._listed(Path(manifest)) if manifest else self._walked()
        found = _respelt(found, classes or ())
        spoken = sorted({utterance.label for utterance in found})
        self.classes = tuple(spoken if classes is None else classes)
        self._check(spoken)
        kept = [utterance for utterance in found if utterance.label in self.classes]
        if n_per_class is not None:
            firsts: list[Utterance] = []
            for name in self.classes:
                firsts += [utterance for utterance in kept if utterance.label == name][
                    :n_per_class
                ]
            kept = firsts
        if split is not None:
            kept = self._split(kept, split, hold_out, shares or SHARES, seed)
        self.utterances = kept
        numbers = {name: number for number, name in enumerate(self.classes)}
        #: Class number of each utterance, int64.
        self.labels = torch.tensor([numbers[utterance.label] for utterance in kept])
        self.split = split
        self.seconds = seconds
        self.samples = round(seconds * RATE)
        self.transforms = transforms
        self._check([utterance.label for utterance in kept])

    def _walked(self) -> list[Utterance]:
        if not self.root.is_dir():
            raise AudioError(
                f'there is no folder {self.root}: make a corpus with torchgeo-cmr speak, or '
                'record one, a folder for each class'
            )
        files = sorted(
            path
            for path in self.root.glob('*/*')
            if path.suffix.lower() == '.wav' and not path.name.startswith('.')
        )
        if not files:
            raise AudioError(
                f'{self.root} holds no <class>/<voice>_<n>.wav: put each class into a folder '
                'of its name'
            )
        return _with_voices([Utterance(path, path.parent.name, '') for path in files])

    def _listed(self, manifest: Path) -> list[Utterance]:
        if not manifest.is_file():
            raise AudioError(f'there is no manifest {manifest}: check the path')
        try:
            text = manifest.read_text(encoding='utf-8-sig')
        except UnicodeDecodeError as error:
            raise AudioError(
                f'{manifest} is not text in UTF-8 ({error}): save the table as CSV in UTF-8'
            ) from error
        reader = csv.DictReader(io.StringIO(text))
        missing = {'file', 'label'} - set(reader.fieldnames or ())
        if missing:
            raise AudioError(
                f'{manifest} has no column {" or ".join(sorted(missing))}, it has '
                f'{", ".join(reader.fieldnames or ["nothing"])}: name the columns file, '
                'label and voice'
            )
        found: dict[str, Utterance] = {}
        for number, row in enumerate(reader, 2):
            name, label = (row['file'] or '').strip(), (row['label'] or '').strip()
            if not name or not label:
                raise AudioError(
                    f'line {number} of {manifest} has no {"label" if name else "file"}: '
                    'fill it in or take the line out'
                )
            voice = (row.get('voice') or '').strip()
            utterance = Utterance(self.root / name, label, voice)
            # A file that is listed twice would be in two splits.
            first = found.setdefault(os.path.normpath(utterance.path), utterance)
            if first[1:] != utterance[1:]:
                raise AudioError(
                    f'line {number} of {manifest} lists {name} again, with another label or voice '
                    f'({label}, {voice or "none"}) than before ({first.label}, '
                    f'{first.voice or "none"}): take one of the lines out'
                )
        if not found:
            raise AudioError(f'{manifest} lists no utterance: add some lines')
        return _with_voices([*found.values()])

    def _check(self, spoken: Sequence[str]) -> None:
        """Refuse classes without recordings."""
        silent = [name for name in self.classes if name not in spoken]
        if silent:
            raise AudioError(
                f'{self.root} does not speak {", ".join(silent)}'
                f'{self._where()}; it speaks {", ".join(sorted(set(spoken))) or "nothing"}: '
                'record the class, make it with torchgeo-cmr speak, or choose other classes'
            )

    def _where(self) -> str:
        split = getattr(self, 'split', None)
        return '' if split is None else f' in the {split} split'

    @staticmethod
    def _split(
        found: Sequence[Utterance],
        split: str,
        unit: HoldOut,
        shares: Mapping[str, float],
        seed: int,
    ) -> list[Utterance]:
        if unit == 'utterance':
            parts = hold_out([utterance.label for utterance in found], shares, seed)
            return [found[position] for position in parts[split]]
        voices = sorted({utterance.voice for utterance in found})
        if len(voices) < sum(share > 0 for share in shares.values()):
            raise AudioError(
                f'{len(voices)} voices ({", ".join(voices)}) cannot be held out from one '
                "another: add speakers, or divide by hold_out='utterance'"
            )
        parts = hold_out([0] * len(voices), shares, seed)
        chosen = {voices[position] for position in parts[split]}
        return [utterance for utterance in found if utterance.voice in chosen]

    @property
    def voices(self) -> tuple[str, ...]:
        """The speakers of this split, sorted."""
        return tuple(sorted({utterance.voice for utterance in self.utterances}))

    def __len__(self) -> int:
        """Return the number of utterances."""
        return len(self.utterances)

    def __getitem__(self, index: int) -> Sample:
        """Read one utterance.

        Args:
            index: Number of the utterance.

        Returns:
            ``audio`` (1, samples) and ``audio_label``.

        Raises:
            AudioError: If the file cannot be used.
        """
        sample: Sample = {
            'audio': read_audio(self.utterances[index].path, self.samples),
            'audio_label': self.labels[index],
        }
        if self.transforms is not None:
            sample = self.transforms(sample)
        return sample

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> 'Figure':
        """Plot the waveform of a sample.

        Args:
            sample: A sample of this dataset.
            show_titles: Whether to write the class above it.
            suptitle: Title of the figure.

        Returns:
            A figure with one panel, time in seconds.
        """
        import matplotlib.pyplot as plt

        figure, axis = plt.subplots(figsize=(6, 2), layout='constrained')
        sound = sample['audio'][0].numpy()
        axis.plot(np.arange(len(sound)) / RATE, sound, linewidth=0.5)
        axis.set_xlabel('seconds')
        if show_titles:
            axis.set_title(self.classes[int(sample['audio_label'])])
        if suptitle is not None:
            figure.suptitle(suptitle)
        return figure


def read_audio(path: str | os.PathLike[str], samples: int) -> Tensor:
    """Read a sound as a tensor of one length.

    Args:
        path: A WAV file of any rate and number of channels.
        samples: Length wanted, at 16 kHz.

    Returns:
        Shape (1, samples), float32: silence at both ends removed, the rest in the middle.

    Raises:
        AudioError: If the file cannot be used.
    """
    return torch.from_numpy(fit(trim(read_wav(path)), samples))[None]


def trim(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut off what is quieter than a hundredth of the loudest moment, at both ends."""
    loud = np.flatnonzero(np.abs(sound) > _SILENCE * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1] if len(loud) else sound


def fit(sound: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Cut the middle out of a sound, or put it in the middle of silence."""
    spare = len(sound) - samples
    if spare >= 0:
        start = spare // 2
        return np.ascontiguousarray(sound[start : start + samples])
    out = np.zeros(samples, np.float32)
    start = -spare // 2
    out[start : start + len(sound)] = sound
    return out


def _respelt(found: Sequence[Utterance], classes: Sequence[str]) -> list[Utterance]:
    """Name utterances as the classes are, where only case, spaces or signs differ."""
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(_plain(name), []).append(name)
    out = []
    for utterance in found:
        names = spellings.get(_plain(utterance.label), [])
        known = utterance.label in classes or len(names) != 1
        out.append(utterance if known else utterance._replace(label=names[0]))
    return out


def _plain(name: str) -> str:
    """The letters and digits of a name."""
    return ''.join(filter(str.isalnum, name.casefold()))


def _with_voices(found: Sequence[Utterance]) -> list[Utterance]:
    """Name the speakers that are not stated: the file's name up to its last underscore.

    Where all of these begin or end with the class, as in ``seven_ann_3.wav``, it is taken off, or
    each class would have speakers of its own.
    """
    names = [
        utterance.path.stem.rpartition('_')[0] or utterance.path.stem
        for utterance in found
    ]
    guessed = [not utterance.voice for utterance in found]
    shorter = [
        _without_class(name, utterance.label)
        for name, utterance in zip(names, found, strict=True)
    ]
    if all(less for less, guess in zip(shorter, guessed, strict=True) if guess):
        names = shorter
    return [
        utterance._replace(voice=utterance.voice or name)
        for utterance, name in zip(found, names, strict=True)
    ]


def _without_class(name: str, label: str) -> str:
    """Take a class off one end of a name; empty if it is at neither, or nothing else is there."""
    word, lower = label.casefold().replace(' ', '_'), name.casefold()
    if lower.startswith(f'{word}_'):
        return name[len(word) + 1 :]
    return name[: -len(word) - 1] if lower.endswith(f'_{word}') else ''


__all__ = ('SHARES', 'SpokenLabels', 'Utterance', 'read_audio')
