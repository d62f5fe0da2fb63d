"""A spoken corpus that anyone can make: each label, by many voices, as WAV files."""

import csv
import json
import logging
import os
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchgeo_cmr.drafts import check_folder, claimed, new_draft, sweep
from torchgeo_cmr.errors import AudioError, OutputExistsError
from torchgeo_cmr.progress.bars import bar
from torchgeo_cmr.regular_files import check_regular
from torchgeo_cmr.speech.room import add_noise, reverberate
from torchgeo_cmr.speech.synthesizer import Engine, open_engine
from torchgeo_cmr.speech.wav import resample, write_wav
from torchgeo_cmr.typed_json import read_json

_LOG = logging.getLogger(__name__)
#: What ends like this is no label, but a list of them that is not there.
_LISTS = ('.txt', '.csv', '.tsv', '.json')

#: Voices that differ in accent and throat: language, then variant. None is a caricature.
VOICES = (
    'en-us',
    'en-us+f2',
    'en-us+f4',
    'en-us+m3',
    'en-us+m7',
    'en-gb',
    'en-gb+f3',
    'en-gb+m1',
    'en-gb+m5',
    'en-gb-x-rp+f1',
    'en-gb-x-rp+m2',
    'en-gb-scotland',
    'en-gb-scotland+f5',
    'en-gb-scotland+m4',
    'en-029+f2',
    'en-029+m6',
)

#: Columns of the manifest, in order.
_COLUMNS = (
    'file',
    'label',
    'words',
    'voice',
    'speed',
    'pitch',
    'snr',
    'reverb',
    'seed',
)

_SETTINGS, _MANIFEST, _LOCK = 'speak.json', 'manifest.csv', '.speak.lock'

#: In the settings while files are overwritten, some of which are still of earlier ones.
_HALF = 'overwriting'

#: What no name of a file has on every system, and bytes of the longest.
_FORBIDDEN, _LONGEST = '/\\:*?"<>|', 200

#: eSpeak NG puts next to no sound where it finds nothing to say.
_SHORTEST = 0.1


class _Take(NamedTuple):
    """How one file is made; all of it follows from the settings and its name."""

    file: str
    label: str
    words: str
    voice: str
    speed: int
    pitch: int
    snr: float | None
    reverb: float | None
    seed: int


def speak(
    labels: Mapping[str, str] | Iterable[str],
    out: str | PathLike[str],
    *,
    voices: Sequence[str] = VOICES,
    speeds: Sequence[int] = (130, 160, 190),
    pitches: Sequence[int] = (35, 50, 65),
    takes: int = 3,
    noise: tuple[float, float] | None = None,
    reverb: tuple[float, float] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
    engine: Engine | None = None,
) -> Path:
    """Synthesise every label with every voice, as 16 kHz mono WAV files.

    Files are ``<out>/<label>/<voice>_<n>.wav``, the layout that
    :class:`~torchgeo_cmr.datasets.SpokenLabels` reads, so recordings may be put next to them.
    ``manifest.csv`` records how each was made, ``speak.json`` with which settings. Files that
    exist already are kept, so the same call resumes where it was stopped.

    Each take draws its speed, pitch, noise and room at random; the draw depends on *seed*,
    label, voice and number alone, so more labels, voices or takes change nothing that is
    there. With the program ``espeak-ng`` the same seed gives the same bytes; with the library
    from PyPI it gives the same recipe, and sound that differs by less than one hears.

    Args:
        labels: Names of the classes; or name -> the words to say. Underscores and hyphens
            are read as spaces, and ``AnnualCrop`` as two words.
        out: Folder to write or to complete.
        voices: eSpeak NG voices, language and variant, such as ``'en-us+f3'``.
        speeds: Words a minute to draw from, 80 to 450.
        pitches: Pitches to draw from, 0 to 99.
        takes: Files per voice and label.
        noise: Lowest and highest ratio of speech to noise to draw from, in decibels (default:
            no noise).
        reverb: Shortest and longest reverberation to draw from, in seconds (default: none).
        seed: Seed of all draws.
        overwrite: Synthesise files that are there again, and allow other settings.
        progress: Show a bar on stderr where that is a terminal or a notebook.
        engine: What speaks (default: eSpeak NG, wherever it is).

    Returns:
        The manifest.

    Raises:
        AudioError: If eSpeak NG is missing or lacks a voice, a label cannot be spoken or be a
            folder's name, or a number is out of range.
        OutputExistsError: If *out* was begun with other settings, holds something else, or another
            process is writing to it.
    """
    words = _words(labels)
    _check(voices, speeds, pitches, takes, noise, reverb)
    engine = open_engine() if engine is None else engine
    settings: dict[str, Any] = {
        'speeds': list(speeds),
        'pitches': list(pitches),
        'noise': None if noise is None else list(noise),
        'reverb': None if reverb is None else list(reverb),
        'seed': seed,
        'engine': engine.name,
    }
    check_folder(out)
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f'{folder} is a file: name a folder to write to')
    busy = OutputExistsError(
        f'another process is speaking into {folder}: wait until it is done, or name another folder'
    )
    with claimed(folder / _LOCK, folder, busy):
        _begin(folder, settings, overwrite)
        plan = [
            _take(label, text, voice, number, settings)
            for label, text in words.items()
            for voice in voices
            for number in range(takes)
        ]
        missing = [t for t in plan if overwrite or not (folder / t.file).exists()]
        begun = len(plan) - len(missing)
        wanted = progress and bool(missing)
        with bar(len(plan), 'file', initial=begun, wanted=wanted) as shown:
            for take in missing:
                sound = _sound(engine, take)
                _check_begun(folder, ())
                write_wav(folder / take.file, sound)
                shown.update()
        _check_begun(folder, plan)
        if overwrite:
            _write_settings(folder / _SETTINGS, settings)
        manifest = _write_manifest(folder / _MANIFEST, plan)
    kept = f', {begun} were there already' if begun else ''
    files = 'file' if len(missing) == 1 else 'files'
    _LOG.info('%s: %d %s written%s', folder, len(missing), files, kept)
    return manifest


def read_labels(words: Iterable[str]) -> dict[str, str]:
    """Find labels in what a user typed.

    Args:
        words: Each is a label; ``label=words to say``; a text file with one of these a line
            (empty lines and lines that begin with ``#`` are passed over); or a folder, whose
            sub-folders are the labels, such as a set of images by class.

    Returns:
        Label -> words to say, in order, each label once.

    Raises:
        AudioError: If there is no label, one has two different wordings, or a file is not there
            or no text in UTF-8.
    """
    lines: list[str] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            found = sorted(p.name for p in path.iterdir() if p.is_dir())
            lines += [name for name in found if not name.startswith('.')]
            if not found:
                raise AudioError(
                    f'{path} has no sub-folders to take labels from: name labels, or a file '
                    'with one per line'
                )
        elif path.exists():
            check_regular(path, AudioError)
            lines += _lines(path)
        elif path.suffix.lower() in _LISTS:
            raise AudioError(f'there is no {word} to take labels from: check the path')
        else:
            lines.append(word)
    labels: dict[str, str] = {}
    for line in map(str.strip, lines):
        if not line or line.startswith('#'):
            continue
        label, _, text = (part.strip() for part in line.partition('='))
        text = text or label
        if labels.setdefault(label, text) != text:
            raise AudioError(
                f'label {label!r} is to be spoken as {labels[label]!r} and as {text!r}: '
                'choose one'
            )
    if not labels:
        raise AudioError('there is no label to speak: name at least one')
    return labels


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise AudioError(
            f'{path} is not text in UTF-8 ({error}): give a text file with a label per line'
        ) from error


def _words(labels: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Check labels, which become names of folders."""
    pairs = (
        labels.items()
        if isinstance(labels, Mapping)
        else ((name, name) for name in labels)
    )
    words = {}
    for label, text in pairs:
        if not label.strip() or label != label.strip() or label.startswith('.'):
            raise AudioError(f'{label!r} cannot be a label: it names a folder')
        if set(label) & set(_FORBIDDEN) or not label.isprintable():
            raise AudioError(
                f'label {label!r:.80} cannot name a folder: drop {" ".join(_FORBIDDEN)} and '
                'control characters'
            )
        if len(label.encode()) > _LONGEST:
            raise AudioError(
                f'label {label[:40]!r}... cannot name a folder: it has more than {_LONGEST} '
                'bytes'
            )
        if text == label:  # a voice would stumble over AnnualCrop
            text = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', label)
        words[label] = text.replace('_', ' ').replace('-', ' ').strip()
    if not words:
        raise AudioError('there is no label to speak: name at least one')
    return words


def _check(
    voices: Sequence[str],
    speeds: Sequence[int],
    pitches: Sequence[int],
    takes: int,
    noise: tuple[float, float] | None,
    reverb: tuple[float, float] | None,
) -> None:
    """Refuse what eSpeak NG would silently bend into its range."""
    if takes < 1 or not voices or not speeds or not pitches:
        raise AudioError(
            f'{takes} takes of {len(voices)} voices, {len(speeds)} speeds and {len(pitches)} '
            'pitches leave nothing to speak: give at least one of each'
        )
    for voice in voices:
        if set(voice) & set(_FORBIDDEN) or not voice.isprintable():
            raise AudioError(
                f'voice {voice!r:.80} is part of a file name: drop {" ".join(_FORBIDDEN)} and '
                'control characters'
            )
    if len(set(voices)) < len(voices):
        raise AudioError(f'a voice is named twice: {", ".join(voices)}')
    if not all(80 <= speed <= 450 for speed in speeds):
        raise AudioError(f'speeds are 80 to 450 words a minute, found {list(speeds)}')
    if not all(0 <= pitch <= 99 for pitch in pitches):
        raise AudioError(f'pitches are 0 to 99, found {list(pitches)}')
    if noise is not None and noise[0] > noise[1]:
        raise AudioError(f'noise goes from {noise[0]} down to {noise[1]} dB: swap them')
    if reverb is not None and not 0 <= reverb[0] <= reverb[1] <= 10:
        raise AudioError(
            f'reverberation takes 0 to 10 seconds, the shorter first, found {list(reverb)}'
        )


def _begin(folder: Path, settings: Mapping[str, Any], overwrite: bool) -> None:
    """Record the settings, or see that the folder was begun with the same."""
    record = folder / _SETTINGS
    if record.exists():
        check_regular(record, OutputExistsError)
        known = read_json(record, dict[str, Any], 'name another folder', AudioError)
        differs = [name for name in settings if known.get(name) != settings[name]]
        if known.get(_HALF) and not overwrite:
            raise OutputExistsError(
                f'{folder} was to be overwritten by a run that was stopped, and holds sound of two '
                'settings: run that again with overwrite, or name another folder'
            )
        if differs and not overwrite:
            name = differs[0]
            raise OutputExistsError(
                f'{folder} was begun with {name} = {known.get(name)!s:.80} and not '
                f'{settings[name]}: name another folder, or overwrite it'
            )
    elif folder.is_dir() and any(folder.rglob('*.wav')):
        raise OutputExistsError(
            f'{folder} holds sound that was not made here: name another folder'
        )
    _write_settings(record, {**settings, _HALF: True} if overwrite else settings)
    for place in (folder, *(p for p in folder.iterdir() if p.is_dir())):
        sweep(place)


def _write_settings(record: Path, settings: Mapping[str, Any]) -> None:
    with new_draft(record, overwrite=True) as draft:
        draft.write_text(json.dumps(dict(settings), indent=1) + '\n', encoding='utf-8')


def _check_begun(folder: Path, plan: Iterable[_Take]) -> None:
    """See that the folder, and what was written into it, is still there."""
    for name in (_SETTINGS, *(take.file for take in plan)):
        if not (folder / name).exists():
            raise AudioError(
                f'{folder / name} was removed while the corpus was written: run the same again'
            )


def _take(
    label: str, words: str, voice: str, number: int, settings: Mapping[str, Any]
) -> _Take:
    # A checksum and not hash(): that changes from process to process.
    name = f'{settings["seed"]}/{label}/{voice}/{number}'
    seed = zlib.crc32(name.encode())
    rng = np.random.default_rng(seed)
    noise, reverb = settings['noise'], settings['reverb']
    return _Take(
        file=f'{label}/{voice}_{number}.wav',
        label=label,
        words=words,
        voice=voice,
        speed=int(rng.choice(settings['speeds'])),
        pitch=int(rng.choice(settings['pitches'])),
        snr=None if noise is None else round(float(rng.uniform(*noise)), 2),
        reverb=None if reverb is None else round(float(rng.uniform(*reverb)), 3),
        seed=seed,
    )


def _sound(engine: Engine, take: _Take) -> NDArray[np.float32]:
    sound, rate = engine.say(take.words, take.voice, take.speed, take.pitch)
    if len(sound) < _SHORTEST * rate or not sound.any():
        raise AudioError(
            f'label {take.label!r} gives no sound as {take.words!r}: give words for it, as in '
            f'{take.label}=some words'
        )
    sound = resample(sound, rate)
    rng = np.random.default_rng([take.seed, 1])
    if take.reverb:
        sound = reverberate(sound, take.reverb, rng)
    if take.snr is not None:
        sound = add_noise(sound, take.snr, rng)
    # Echo and noise may exceed full scale; a quieter file is better than a clipped one.
    peak = float(np.abs(sound).max())
    return sound if peak <= 1 else sound / peak


def _write_manifest(path: Path, plan: Sequence[_Take]) -> Path:
    """Write how files were made, and keep the rows of others that are still there."""
    rows = {take.file: [*map(_cell, take)] for take in plan}
    if path.exists():
        check_regular(path, OutputExistsError)
        try:
            with path.open(newline='', encoding='utf-8') as file:
                known, *others = csv.reader(file)
        except (ValueError, csv.Error) as error:
            raise OutputExistsError(
                f'{path} is not the table of a spoken corpus ({error}): move it'
            ) from error
        if tuple(known) == _COLUMNS:
            for row in others:
                if len(row) == len(_COLUMNS) and os.path.exists(path.parent / row[0]):
                    rows.setdefault(row[0], row)
    with (
        new_draft(path, overwrite=True) as draft,
        draft.open('w', newline='', encoding='utf-8') as file,
    ):
        writer = csv.writer(file, lineterminator='\n')
        writer.writerows([_COLUMNS, *(rows[name] for name in sorted(rows))])
    return path


def _cell(value: object) -> str:
    return '' if value is None else str(value)


__all__ = ('VOICES', 'read_labels', 'speak')
