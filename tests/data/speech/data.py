"""Speech without a voice: a distinct pattern of tones for each class, and broken files.

Class ``c`` is a chord of two tones, ``300 + 120 * c`` and ``900 + 200 * c`` Hz; a voice shifts
both by a few per cent. Images of a class are a grey of their own with a little noise.
"""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

RATE = 16_000


def tone(
    number: int, voice: int = 0, seconds: float = 0.5, rate: int = RATE
) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    shift = 1 + 0.03 * voice
    return 0.4 * (
        np.sin(2 * np.pi * (300 + 120 * number) * shift * time)
        + np.sin(2 * np.pi * (900 + 200 * number) * shift * time)
    )


def write_pcm(
    path: Path, sound: np.ndarray, *, rate: int = RATE, width: int = 2
) -> Path:
    """Write with the standard library: (samples,) or (samples, channels), 8 to 32 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    if width == 1:
        data = np.round(sound * 127 + 128).astype(np.uint8).tobytes()
    else:
        whole = np.round(sound * (2 ** (8 * width - 1) - 1)).astype('<i4')
        data = b''.join(v.tobytes()[:width] for v in whole.ravel())
    with wave.open(str(path), 'wb') as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def write_corpus(
    root: Path, classes: Sequence[str], voices: int, takes: int = 2
) -> None:
    for number, name in enumerate(classes):
        for voice in range(voices):
            for take in range(takes):
                sound = tone(number, voice) * (1 - 0.2 * take)
                write_pcm(root / name / f'voice{voice}_{take}.wav', sound)


def write_images(
    root: Path, classes: Sequence[str], count: int, size: int = 20
) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            grey = 40 + 30 * number + rng.integers(0, 9, (size, size, 3))
            Image.fromarray(grey.astype(np.uint8)).save(root / name / f'{i:02d}.png')
