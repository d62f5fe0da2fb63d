"""Simulated recording conditions: noise and reverberation."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import fftconvolve

from torchgeo_cmr.speech.wav import RATE


def add_noise(
    sound: ArrayLike, snr: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add pink noise, whose power falls with frequency as that of wind and rooms does.

    Args:
        sound: Samples of shape ``(samples,)``.
        snr: Power of the sound over that of the noise, in decibels.
        rng: Where chance comes from.

    Returns:
        Samples of the same shape. Silence stays silent: it has no power to compare with.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> add_noise(np.sin(np.arange(1600)), 10, rng).shape
        (1600,)
    """
    given = np.asarray(sound, dtype=np.float64)
    power = np.mean(given**2)
    spectrum = np.fft.rfft(rng.standard_normal(len(given)))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    # The lowest bin is a constant offset, not noise.
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, len(given))
    loud = np.mean(noise**2)
    if loud == 0:
        return given.astype(np.float32)
    return (given + noise * np.sqrt(power / loud / 10 ** (snr / 10))).astype(np.float32)


def reverberate(
    sound: ArrayLike, seconds: float, rng: np.random.Generator, *, rate: int = RATE
) -> NDArray[np.float32]:
    """Let sound ring in a room: convolve it with noise that dies away.

    The echo is exponentially decaying Gaussian noise, the model of a diffuse field; it starts
    with the direct sound and holds as much energy as that.

    Args:
        sound: Samples of shape ``(samples,)``.
        seconds: Reverberation time: until the echo is 60 decibels below its start. 0 changes
            nothing.
        rng: Where chance comes from.
        rate: Samples per second.

    Returns:
        ``samples + round(seconds * rate)`` samples, with the power of the sound given.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> reverberate(np.sin(np.arange(1600)), 0.5, rng).shape
        (9600,)
    """
    given = np.asarray(sound, dtype=np.float64)
    length = round(seconds * rate)
    if length < 1:
        return given.astype(np.float32)
    # 60 decibels are a factor of 1000 in amplitude.
    fall = 1000.0 ** (-np.arange(1, length + 1) / length)
    echo = rng.standard_normal(length) * fall
    echo /= np.sqrt(np.sum(echo**2))
    wet = fftconvolve(given, np.concatenate([[1.0], echo]))
    before, after = np.sum(given**2), np.sum(wet**2)
    return (wet * np.sqrt(before / max(after, 1e-30))).astype(np.float32)


__all__ = ('add_noise', 'reverberate')
