"""Sound files: any WAV in, 16 kHz mono out, with a clear error for those that cannot be used."""

import io
import math
import os
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

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

#: Bytes of sound from which a header leaves the number open.
_OPEN = 0x7FFFF000


def read_wav(path: str | os.PathLike[str], rate: int = RATE) -> NDArray[np.float32]:
    """Read a WAV file as mono sound at one rate.

    PCM of 8, 16, 24 and 32 bits and floating point are read; channels are averaged; other
    rates are resampled with a polyphase filter. Where the header leaves the length of the sound
    open, as writers do that stream or were interrupted, all of it is read.

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
            found, data = wavfile.read(_with_lengths(path))
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


class _Samples(NamedTuple):
    """Where the samples of a file begin, and how many bytes they have by its header."""

    start: int
    size: int
    #: Bytes of one moment in all channels.
    frame: int
    #: Bytes of the whole by its header.
    whole: int
    order: Literal['little', 'big']


def _samples(path: Path) -> _Samples | None:
    """Read a header as far as the samples; None if they are not found."""
    frame = 1
    with path.open('rb') as file:
        head = file.read(12)
        if head[:4] not in (b'RIFF', b'RIFX'):
            return None
        order = 'little' if head[:4] == b'RIFF' else 'big'
        while len(chunk := file.read(8)) == 8:
            size, start = int.from_bytes(chunk[4:], order), file.tell()
            if chunk[:4] == b'data':
                whole = int.from_bytes(head[4:8], order)
                return _Samples(start, size, frame, whole, order)
            if chunk[:4] == b'fmt ':
                frame = int.from_bytes(file.read(14)[12:], order) or 1
            file.seek(start + size + size % 2)
    return None


def _with_lengths(path: Path) -> Path | io.BytesIO:
    """Give a file whose header leaves lengths open with those that it has.

    A writer that streams cannot go back to the header, and leaves 0 or the largest number; one
    that was interrupted leaves what it began with.
    """
    found = _samples(path)
    if found is None:
        return path
    size, rest = found.size, path.stat().st_size - found.start
    if size >= _OPEN or (
        size == 0 and rest >= found.frame and not _chunks(path, found)
    ):
        size = rest - rest % found.frame
    if size == found.size and found.whole:
        return path
    content = bytearray(path.read_bytes())
    content[4:8] = (len(content) - 8).to_bytes(4, found.order)
    content[found.start - 4 : found.start] = size.to_bytes(4, found.order)
    return io.BytesIO(content)


def _chunks(path: Path, found: _Samples) -> bool:
    """Say whether what follows an empty chunk of samples is other chunks up to the end."""
    with path.open('rb') as file:
        end, at = file.seek(0, os.SEEK_END), found.start
        while at + 8 <= end:
            file.seek(at)
            head = file.read(8)
            size = int.from_bytes(head[4:], found.order)
            if not (head[:4].isascii() and head[:4].decode().isprintable()):
                return False
            at += 8 + size + size % 2
    # The last byte, of an odd number, may be missing.
    return at in (end, end + 1)


def _declared(path: Path) -> int:
    """Bytes up to the end of the samples, by the file's own header; 0 if it does not say."""
    found = _samples(path)
    return 0 if found is None or found.size >= _OPEN else found.start + found.size


def _cut_short(path: Path) -> AudioError:
    return AudioError(
        f'{path} is cut short: its header promises more sound than it holds; copy it again'
    )


__all__ = ('RATE', 'read_wav', 'resample', 'write_wav')
