"""A corpus that follows from its seed, can be stopped, and is never mixed with another."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchgeo_cmr.errors import AudioError, OutputExistsError, QueryError
from torchgeo_cmr.speech import RATE, VOICES, read_labels, read_wav, speak

LABELS = ('river', 'mobile_home')
FEW: dict[str, Any] = {'voices': ('en', 'en-us+f3'), 'takes': 2, 'progress': False}


def rows(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(newline='') as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*.wav')
    }


def test_layout_and_manifest(tones: Any, tmp_path: Path) -> None:
    manifest = speak(LABELS, tmp_path / 'out', engine=tones, **FEW)
    assert manifest == tmp_path / 'out' / 'manifest.csv'
    found = rows(manifest)
    wanted = sorted(
        f'{label}/{voice}_{n}.wav'
        for label in LABELS
        for voice in FEW['voices']
        for n in range(2)
    )
    assert [row['file'] for row in found] == wanted
    assert sorted(contents(tmp_path / 'out')) == sorted(wanted)
    said = {(w, v, s, p) for w, v, s, p in tones.said}
    told = {(r['words'], r['voice'], int(r['speed']), int(r['pitch'])) for r in found}
    assert said == told
    assert {r['words'] for r in found} == {'river', 'mobile home'}
    assert len({r['seed'] for r in found}) == len(found)
    assert not any(r['snr'] or r['reverb'] for r in found)
    sound = read_wav(tmp_path / 'out' / wanted[0])
    assert len(sound) == pytest.approx(RATE * 60 / int(found[0]['speed']), abs=2)


def test_names_of_folders_are_said_as_words(tones: Any, tmp_path: Path) -> None:
    labels = {'AnnualCrop': 'AnnualCrop', 'sea_lake-2': 'sea_lake-2', 'a': 'McDonald'}
    speak(labels, tmp_path / 'out', engine=tones, **FEW)
    said = {said[0] for said in tones.said}
    assert said == {'Annual Crop', 'sea lake 2', 'McDonald'}


def test_speeds_and_pitches_vary(tones: Any, tmp_path: Path) -> None:
    speak(LABELS, tmp_path / 'out', engine=tones, takes=3, progress=False)
    assert len(tones.said) == 2 * 3 * len(VOICES)
    assert {said[2] for said in tones.said} == {130, 160, 190}
    assert {said[3] for said in tones.said} == {35, 50, 65}


def test_seed_decides(tones: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {'noise': (5, 20), 'reverb': (0.05, 0.2), **FEW}
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        speak(LABELS, tmp_path / name, engine=tones, seed=seed, **options)
    a, b, c = (contents(tmp_path / name) for name in 'abc')
    assert a == b
    assert all(a[name] != c[name] for name in a)
    found = rows(tmp_path / 'a' / 'manifest.csv')
    assert all(5 <= float(row['snr']) <= 20 for row in found)
    assert all(0.05 <= float(row['reverb']) <= 0.2 for row in found)


def test_more_of_anything_changes_nothing_that_is_there(
    tones: Any, tmp_path: Path
) -> None:
    out = tmp_path / 'out'
    speak(LABELS, out, engine=tones, **FEW)
    before = contents(out)
    more: dict[str, Any] = {**FEW, 'voices': (*FEW['voices'], 'en-gb'), 'takes': 3}
    manifest = speak((*LABELS, 'sea'), out, engine=tones, **more)
    after = contents(out)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(rows(manifest)) == 3 * 3 * 3
    # and fewer labels leave the others in the manifest
    assert len(rows(speak(('sea',), out, engine=tones, **FEW))) == 27


def test_stopped_and_gone_on(tones: Any, tmp_path: Path) -> None:
    speak(LABELS, tmp_path / 'whole', engine=tones, **FEW)
    tones.said.clear()
    tones.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        speak(LABELS, tmp_path / 'cut', engine=tones, **FEW)
    assert len(contents(tmp_path / 'cut')) == 3
    tones.stop_after = 10**6
    speak(LABELS, tmp_path / 'cut', engine=tones, **FEW)
    assert len(tones.said) == 8
    assert contents(tmp_path / 'cut') == contents(tmp_path / 'whole')


def test_noise_and_room_do_not_clip(tones: Any, tmp_path: Path) -> None:
    loud: dict[str, Any] = {**FEW, 'noise': (-20, -20), 'reverb': (0.3, 0.3)}
    speak(LABELS, tmp_path / 'out', engine=tones, **loud)
    for path in (tmp_path / 'out').rglob('*.wav'):
        sound = read_wav(path)
        # scaled down, not cut off: the top is touched once or twice
        assert np.sum(np.abs(sound) > 0.999) < 4


class TestRefused:
    def test_other_settings(self, tones: Any, tmp_path: Path) -> None:
        speak(LABELS, tmp_path, engine=tones, **FEW)
        with pytest.raises(
            OutputExistsError, match='was begun with seed = 0 and not 1'
        ):
            speak(LABELS, tmp_path, engine=tones, seed=1, **FEW)
        speak(LABELS, tmp_path, engine=tones, seed=1, overwrite=True, **FEW)
        assert json.loads((tmp_path / 'speak.json').read_text())['seed'] == 1

    def test_a_file_is_no_folder(self, tones: Any, tmp_path: Path) -> None:
        (tmp_path / 'out').write_text('x')
        with pytest.raises(OutputExistsError, match='out is a file: name a folder'):
            speak(LABELS, tmp_path / 'out', engine=tones, **FEW)

    def test_an_address_is_no_folder(self, tones: Any) -> None:
        with pytest.raises(QueryError, match='is an address, and results are written'):
            speak(LABELS, 's3://bucket/words', engine=tones, **FEW)

    def test_recordings_of_others(self, tones: Any, tmp_path: Path) -> None:
        (tmp_path / 'river').mkdir()
        (tmp_path / 'river' / 'me_0.wav').write_bytes(b'x')
        with pytest.raises(
            OutputExistsError, match='holds sound that was not made here'
        ):
            speak(LABELS, tmp_path, engine=tones, **FEW)
        assert not tones.said

    @pytest.mark.parametrize(
        ('labels', 'options', 'message'),
        [
            ([], {}, 'there is no label to speak'),
            (['a/b'], {}, "label 'a/b' cannot name a folder"),
            ([' '], {}, "' ' cannot be a label"),
            (['.hidden'], {}, "'.hidden' cannot be a label"),
            (['?'], {}, "label '\\?' cannot name a folder"),
            (
                {'what': '?'},
                {},
                "label 'what' gives no sound as '\\?'.*what=some words",
            ),
            (['a'], {'takes': 0}, '0 takes of 2 voices'),
            (['a'], {'voices': ('en', 'en')}, 'a voice is named twice: en, en'),
            (['a'], {'speeds': (20,)}, r'speeds are 80 to 450 .* found \[20\]'),
            (['a'], {'pitches': (120,)}, r'pitches are 0 to 99, found \[120\]'),
            (['a'], {'noise': (30, 10)}, 'noise goes from 30 down to 10 dB: swap them'),
            (['a'], {'reverb': (0.5, 0.1)}, 'reverberation takes 0 to 10 seconds'),
        ],
    )
    def test_in_a_sentence(
        self, tones: Any, tmp_path: Path, labels: Any, options: Any, message: str
    ) -> None:
        with pytest.raises(AudioError, match=message):
            speak(labels, tmp_path / 'out', engine=tones, **{**FEW, **options})


class TestLabels:
    def test_words_files_and_folders(self, tmp_path: Path) -> None:
        for name in ('runway', 'beach', '.git'):
            (tmp_path / 'images' / name).mkdir(parents=True)
        (tmp_path / 'images' / 'README.md').write_text('no class')
        listed = tmp_path / 'labels.txt'
        listed.write_text('# mine\n\nstoragetanks = storage tanks\nbeach\n')
        words = ['river', str(tmp_path / 'images'), str(listed), 'sea=the open sea']
        assert read_labels(words) == {
            'river': 'river',
            'beach': 'beach',
            'runway': 'runway',
            'storagetanks': 'storage tanks',
            'sea': 'the open sea',
        }

    def test_refused(self, tmp_path: Path) -> None:
        with pytest.raises(AudioError, match='has no sub-folders to take labels from'):
            read_labels([str(tmp_path)])
        with pytest.raises(AudioError, match="'a' is to be spoken as 'x' and as 'y'"):
            read_labels(['a=x', 'a=y'])
        for gone in ('labels.txt', 'a/labels.txt', 'LABELS.CSV'):
            with pytest.raises(AudioError, match=f'there is no {gone} to take labels'):
                read_labels(['river', gone])
        assert read_labels(['b=either/or']) == {'b': 'either/or'}
        with pytest.raises(AudioError, match='there is no label to speak'):
            read_labels([])
        (tmp_path / 'tanks.wav').write_bytes(b'\xff\xfe\x91')
        with pytest.raises(AudioError, match=r'tanks.wav is not text in UTF-8'):
            read_labels([str(tmp_path / 'tanks.wav')])


def test_one_process_at_a_time_speaks_into_a_folder(
    tones: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one speaks another is refused, whatever it would say, and nothing is mixed."""
    refused = []

    def say(*words: Any) -> Any:
        for more in ({}, {'overwrite': True, 'noise': (0, 1)}):
            with pytest.raises(OutputExistsError, match='another process is speaking'):
                speak(['sea'], tmp_path / 'out', engine=tones, **FEW, **more)
            refused.append(more)
        return real(*words)

    speak(LABELS, tmp_path / 'whole', engine=tones, **FEW)
    real = tones.say
    monkeypatch.setattr(tones, 'say', say)
    speak(LABELS, tmp_path / 'out', engine=tones, **FEW)
    assert refused
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')
    monkeypatch.undo()
    speak(['sea'], tmp_path / 'out', engine=tones, **FEW)
    labels = {row['label'] for row in rows(tmp_path / 'out' / 'manifest.csv')}
    assert labels == {'sea', *LABELS}
    assert not list((tmp_path / 'out').glob('.*'))


def test_overwriting_that_was_stopped_is_refused_until_it_is_done(
    tones: Any, tmp_path: Path
) -> None:
    """Half of the sound is without the noise that the settings name."""
    out = tmp_path / 'out'
    noisy: dict[str, Any] = {**FEW, 'noise': (0, 1)}
    speak(LABELS, out, engine=tones, **FEW)
    tones.stop_after = len(tones.said) + 3
    with pytest.raises(KeyboardInterrupt):
        speak(LABELS, out, engine=tones, overwrite=True, **noisy)
    tones.stop_after = 10**6
    for settings in (FEW, noisy):
        with pytest.raises(OutputExistsError, match='sound of two settings: run that'):
            speak(LABELS, out, engine=tones, **settings)
    speak(LABELS, out, engine=tones, overwrite=True, **noisy)
    speak(LABELS, out, engine=tones, **noisy)
    speak(LABELS, tmp_path / 'whole', engine=tones, **noisy)
    assert contents(out) == contents(tmp_path / 'whole')
