"""Sound files: any WAV in, 16 kHz mono out, with a clear error for those that cannot be used."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

from torchgeo_cmr.drafts import new_draft
from torchgeo_cmr.errors import AudioError

#: Samples per second of everything that is embedded.
RATE = 16_000

#: Rates outside this range cannot be a recording of speech.
_SLOWEST, _FASTEST = 4_000, 768_000

#: Floating-point sound may exceed 1 where it is to be turned down, by this much at most.
_LOUDEST = 32.0


def read_wav(path: str | os.PathLike[str], rate: int = RATE) -> NDArray[np.float32]:
    """Read a WAV file as mono sound at one rate.

    PCM of 8, 16, 24 and 32 bits and floating point are read; channels are averaged; other
    rates are resampled with a polyphase filter.

    Args:
        path: The file.
        rate: Samples per second to return.

    Returns:
        Samples of shape ``(samples,)``, within -1 to 1 for PCM.

    Raises:
        AudioError: If the file is missing, empty, cut short, silent throughout, or not WAV.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_wav(
        ...         Path(folder) / 'tone.wav', np.sin(np.arange(8000)), 8000
        ...     )
        ...     sound = read_wav(path)
        >>> sound.shape, sound.dtype
        ((16000,), dtype('float32'))
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f'there is no sound file {path}: check the path')
    if path.stat().st_size == 0:
        raise AudioError(f'{path} is empty (0 bytes): record or copy it again')
    try:
        with warnings.catch_warnings():
            # What scipy warns of is a file that ends early, or chunks it may skip.
            warnings.filterwarnings('error', message='Reached EOF prematurely')
            warnings.filterwarnings('ignore', category=wavfile.WavFileWarning)
            found, data = wavfile.read(path)
    except wavfile.WavFileWarning as error:
        raise _cut_short(path) from error
    except Exception as error:  # scipy lets struct, numpy and index errors through
        if _is_wav(path) and not isinstance(error, ValueError):
            raise _cut_short(path) from error
        if _is_wav(path) and 'incomplete' in str(error).lower():
            raise _cut_short(path) from error
        raise AudioError(
            f'{path} is not a WAV file that can be read ({error}): convert it to PCM WAV'
        ) from error
    if data.size == 0:
        raise AudioError(f'{path} holds no samples: record or copy it again')
    if _declared(path) > path.stat().st_size:
        raise _cut_short(path)
    if not _SLOWEST <= found <= _FASTEST:
        raise AudioError(
            f'{path} gives {found} samples per second as its rate, which is not plausible: '
            'convert it to 16 kHz PCM WAV'
        )
    return resample(_mono(path, _to_float(data)), int(found), rate)


def _mono(path: Path, sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average channels, and refuse what is no sound."""
    if not np.isfinite(sound).all():
        raise AudioError(f'{path} holds samples that are not numbers: convert it again')
    peak = float(np.abs(sound).max())
    if peak == 0:
        raise AudioError(f'{path} is silent from end to end: record it again')
    if peak > _LOUDEST:
        raise AudioError(
            f'{path} holds floating-point samples up to {peak:g}, which go from -1 to 1 in WAV: '
            'divide them by the largest number of what they were, such as 32768'
        )
    if sound.ndim == 1:
        return sound
    mean = sound.mean(axis=1)
    if not mean.any():
        raise AudioError(
            f'{path} has channels that cancel each other out, one being the inverse of the '
            'other: keep one of them'
        )
    return mean


def resample(sound: ArrayLike, found: int, rate: int = RATE) -> NDArray[np.float32]:
    """Bring sound to another rate with a polyphase filter, which does not alias.

    Args:
        sound: Samples of shape ``(samples,)``.
        found: Their rate, samples per second.
        rate: Rate to return.

    Returns:
        ``ceil(samples * rate / found)`` samples.

    Examples:
        >>> resample(np.zeros(44_100), 44_100).shape
        (16000,)
    """
    given = np.asarray(sound, dtype=np.float32)
    if found == rate:
        return given
    common = math.gcd(found, rate)
    return resample_poly(given, rate // common, found // common).astype(np.float32)


def write_wav(path: str | os.PathLike[str], sound: ArrayLike, rate: int = RATE) -> Path:
    """Write mono sound as 16-bit PCM; the file appears when it is complete.

    Args:
        path: File to write; one that is there is replaced, parents are made.
        sound: Samples of shape ``(samples,)`` from -1 to 1; louder ones are clipped.
        rate: Samples per second.

    Returns:
        The path.
    """
    path = Path(path)
    samples = np.clip(np.asarray(sound, dtype=np.float64), -1, 1) * 32767
    with new_draft(path, overwrite=True) as draft:
        wavfile.write(draft, rate, np.round(samples).astype(np.int16))
    return path


def _to_float(data: NDArray[Any]) -> NDArray[np.float32]:
    """Scale PCM to -1..1; 8 bits are unsigned around 128, 24 come in the top of 32."""
    if data.dtype == np.uint8:
        return np.divide(data.astype(np.float32) - 128, 128, dtype=np.float32)
    if data.dtype.kind == 'i':
        return np.divide(data, 2.0 ** (8 * data.dtype.itemsize - 1)).astype(np.float32)
    return data.astype(np.float32)


def _is_wav(path: Path) -> bool:
    with path.open('rb') as file:
        head = file.read(12)
    return head[:4] in (b'RIFF', b'RIFX', b'RF64') and head[8:] in (b'WAVE', b'')


def _declared(path: Path) -> int:
    """Bytes up to the end of the samples, by the file's own header; 0 if it does not say."""
    with path.open('rb') as file:
        if file.read(4) != b'RIFF':
            return 0
        file.seek(12)
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], 'little')
            if head[:4] == b'data':
                # A writer that streams cannot go back, and leaves the largest number.
                return 0 if size >= 0x7FFFF000 else file.tell() + size
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0


def _cut_short(path: Path) -> AudioError:
    return AudioError(
        f'{path} is cut short: its header promises more sound than it holds; copy it again'
    )


__all__ = ('RATE', 'read_wav', 'resample', 'write_wav')
