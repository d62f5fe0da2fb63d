"""Any WAV becomes 16 kHz mono; what cannot be used is told in one sentence."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

from torchgeo_cmr.errors import AudioError, CMRError
from torchgeo_cmr.speech import RATE, read_wav, resample, write_wav

FAKE = runpy.run_path(str(Path(__file__).parents[1] / 'data' / 'speech' / 'data.py'))
REAL = Path(__file__).parents[3] / 'shared' / 'data' / 'speech_commands'


def peak(sound: np.ndarray) -> float:
    """Strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * RATE / len(sound))


def sine(hertz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


class TestConverted:
    @pytest.mark.parametrize('width', [1, 2, 3, 4])
    def test_every_depth_gives_the_same_sound(self, tmp_path: Path, width: int) -> None:
        wanted = sine(500, RATE)
        path = FAKE['write_pcm'](tmp_path / 'a.wav', wanted, width=width)
        sound = read_wav(path)
        assert (sound.dtype, sound.shape) == (np.float32, wanted.shape)
        assert np.abs(sound - wanted).max() < (0.01 if width == 1 else 1e-4)

    @pytest.mark.parametrize('rate', [8_000, 11_025, 22_050, 44_100, 48_000])
    def test_every_rate_keeps_pitch_and_length(self, tmp_path: Path, rate: int) -> None:
        path = FAKE['write_pcm'](tmp_path / 'a.wav', sine(500, rate), rate=rate)
        sound = read_wav(path)
        assert len(sound) == pytest.approx(RATE / 2, abs=2)
        assert peak(sound) == pytest.approx(500, abs=3)
        # away from the ends, where the filter meets silence
        middle = sound[1000:-1000]
        assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / 2**0.5, rel=0.01)

    def test_what_16_khz_cannot_hold_does_not_alias(self) -> None:
        sound = resample(sine(11_000, 48_000), 48_000)
        assert np.abs(sound[500:-500]).max() < 0.02

    def test_stereo_is_averaged(self, tmp_path: Path) -> None:
        left, right = sine(400, RATE), sine(900, RATE)
        both = np.stack([left, right], axis=1)
        sound = read_wav(FAKE['write_pcm'](tmp_path / 'a.wav', both))
        assert np.abs(sound - (left + right) / 2).max() < 1e-4

    def test_floating_point(self, tmp_path: Path) -> None:
        wanted = sine(400, RATE).astype(np.float32)
        wavfile.write(tmp_path / 'a.wav', RATE, wanted)
        assert np.array_equal(read_wav(tmp_path / 'a.wav'), wanted)

    def test_a_stream_that_does_not_know_its_length(self, tmp_path: Path) -> None:
        path = FAKE['write_pcm'](tmp_path / 'a.wav', sine(400, RATE))
        whole = path.read_bytes()
        path.write_bytes(whole[:40] + (0x7FFFFFFF).to_bytes(4, 'little') + whole[44:])
        assert len(read_wav(path)) == RATE / 2

    @pytest.mark.parametrize('whole', [None, 0, 0xFFFFFFFF])
    @pytest.mark.parametrize('size', [0, 0xFFFFFFFF])
    @pytest.mark.parametrize('channels', [1, 2])
    def test_a_header_that_leaves_lengths_open(
        self, tmp_path: Path, size: int, whole: int | None, channels: int
    ) -> None:
        wanted = np.stack([sine(400, RATE)] * channels, axis=1)
        path = FAKE['write_pcm'](tmp_path / 'a.wav', wanted)
        content = bytearray(path.read_bytes())
        if whole is not None:
            content[4:8] = whole.to_bytes(4, 'little')
        content[40:44] = size.to_bytes(4, 'little')
        # A writer that was killed leaves a moment that is not whole.
        path.write_bytes(content + b'\x05')
        sound = read_wav(path)
        assert sound.shape == (RATE // 2,)
        assert np.abs(sound - sine(400, RATE)).max() < 1e-4

    def test_the_length_of_the_whole_may_be_open_alone(self, tmp_path: Path) -> None:
        path = FAKE['write_pcm'](tmp_path / 'a.wav', sine(400, RATE))
        content = path.read_bytes()
        note = b'LIST\x05\x00\x00\x00abcde'
        path.write_bytes(content[:4] + bytes(4) + content[8:] + note)
        assert read_wav(path).shape == (RATE // 2,)

    def test_written_and_read(self, tmp_path: Path) -> None:
        path = write_wav(tmp_path / 'deep' / 'a.wav', sine(400, RATE) * 3)
        sound = read_wav(path)
        assert np.abs(sound).max() == pytest.approx(1, abs=1e-3)
        assert [p.name for p in path.parent.iterdir()] == ['a.wav']


def empty(path: Path) -> None:
    path.write_bytes(b'')


def no_samples(path: Path) -> None:
    FAKE['write_pcm'](path, np.zeros(0))


def no_samples_but_notes(path: Path) -> None:
    no_samples(path)
    note = b'LIST\x05\x00\x00\x00abcde'
    path.write_bytes(path.read_bytes() + note)


def text(path: Path) -> None:
    path.write_text('this is a letter and no sound')


def mp3(path: Path) -> None:
    path.write_bytes(b'ID3\x04' + bytes(500))


def silence(path: Path) -> None:
    FAKE['write_pcm'](path, np.zeros(100))


def truncated(path: Path) -> None:
    FAKE['write_pcm'](path, sine(400, RATE))
    path.write_bytes(path.read_bytes()[:2001])


def stump(path: Path) -> None:
    FAKE['write_pcm'](path, sine(400, RATE))
    path.write_bytes(path.read_bytes()[:30])


def frozen(path: Path) -> None:
    FAKE['write_pcm'](path, sine(400, RATE), rate=3)


def not_finite(path: Path) -> None:
    wavfile.write(path, RATE, np.full(10, np.nan, np.float32))


def cancelling(path: Path) -> None:
    sound = sine(400, RATE)
    wavfile.write(path, RATE, np.stack([sound, -sound], axis=1).astype(np.float32))


def unscaled(path: Path) -> None:
    wavfile.write(path, RATE, (sine(400, RATE) * 32768).astype(np.float32))


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (cancelling, 'has channels that cancel each other out.*: keep one of them'),
        (unscaled, r'samples up to \d+.*from -1 to 1 in WAV: divide them by .* 32768'),
        (empty, r'is empty \(0 bytes\): record or copy it again'),
        (no_samples, 'holds no samples: record or copy it again'),
        (no_samples_but_notes, 'holds no samples'),
        (text, 'is not a WAV file that can be read .*convert it to PCM WAV'),
        (mp3, 'is not a WAV file that can be read'),
        (silence, 'is silent from end to end'),
        (truncated, 'is cut short: its header promises more sound than it holds'),
        (stump, 'a.wav is (cut short|not a WAV file that can be read)'),
        (frozen, 'gives 3 samples per second as its rate, which is not'),
        (not_finite, 'holds samples that are not numbers'),
    ],
)
def test_broken_sound_is_refused_in_a_sentence(
    tmp_path: Path, spoil: Callable[[Path], Any], message: str
) -> None:
    path = tmp_path / 'a.wav'
    spoil(path)
    with pytest.raises(AudioError, match=message) as caught:
        read_wav(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CMRError, match=r'there is no sound file .*none.wav'):
        read_wav(tmp_path / 'none.wav')


@pytest.mark.skipif(not REAL.is_dir(), reason='the shared recordings are not here')
def test_real_recordings() -> None:
    files = sorted(REAL.glob('*/*.wav'))
    sounds = [read_wav(path) for path in files]
    assert len(files) == 109
    assert all(0.2 < len(sound) / RATE <= 1.01 for sound in sounds)
    assert all(0 < np.abs(sound).max() <= 1 for sound in sounds)
