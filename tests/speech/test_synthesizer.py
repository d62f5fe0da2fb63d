"""eSpeak NG, as it is found: library or program."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from torchgeo_cmr.errors import AudioError
from torchgeo_cmr.speech import VOICES
from torchgeo_cmr.speech import synthesizer as module
from torchgeo_cmr.speech.synthesizer import Engine, open_engine

PROGRAM = shutil.which('espeak-ng')


@pytest.fixture(params=['library', 'program'])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    if request.param == 'library':
        pytest.importorskip('espeakng_loader', reason='the extra speech is not here')
        monkeypatch.setattr(module.shutil, 'which', lambda name: None)
    elif PROGRAM is None:
        pytest.skip('the program espeak-ng is not here')
    return open_engine()


def test_it_speaks(engine: Engine) -> None:
    assert engine.name.startswith('eSpeak NG')
    sound, rate = engine.say('storage tanks', 'en-us+f3', 160, 50)
    assert sound.dtype == np.float32
    assert 0.6 < len(sound) / rate < 2
    assert 0.1 < np.abs(sound).max() <= 1


def test_speed_and_pitch_are_heard(engine: Engine) -> None:
    slow, fast = (engine.say('river', 'en', s, 50)[0] for s in (90, 300))
    assert len(slow) > 1.5 * len(fast)

    def pitch(height: int) -> float:
        """Median over the louder frames of the lag at which they repeat themselves."""
        sound, rate = engine.say('moon', 'en', 100, height)
        width, least, most = rate // 20, rate // 350, rate // 60
        frames = [sound[i : i + width] for i in range(0, len(sound) - width, width)]
        loud = sorted(frames, key=lambda f: -np.sum(f**2))[: len(frames) // 2]
        lags = []
        for frame in loud:
            echo = np.correlate(frame, frame, 'full')[width - 1 :]
            lags.append(least + np.argmax(echo[least:most]))
        return rate / float(np.median(lags))

    assert pitch(90) > 1.2 * pitch(10)


def test_words_that_look_like_options_are_spoken(engine: Engine) -> None:
    sound, rate = engine.say('--version', 'en', 160, 50)
    assert len(sound) > 0.3 * rate


def test_a_voice_that_is_not_there(engine: Engine) -> None:
    with pytest.raises(AudioError, match='nonsense'):
        engine.say('river', 'nonsense', 160, 50)


def test_without_espeak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module.shutil, 'which', lambda name: None)
    monkeypatch.setitem(sys.modules, 'espeakng_loader', None)
    with pytest.raises(
        AudioError, match=r'eSpeak NG is not here.*torchgeo-cmr\[speech\]'
    ):
        open_engine()


@pytest.mark.parametrize('voice', VOICES)
def test_each_usual_voice_speaks(engine: Engine, voice: str) -> None:
    sound, rate = engine.say('river', voice, 160, 50)
    assert len(sound) > 0.2 * rate
