"""From sound to the picture that a speech encoder looks at."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import FixedPrecision

__all__ = ('LogMel',)


class LogMel(FixedPrecision):
    r"""Logarithmic mel spectrogram, :math:`\log(mel + 0.01)`, in plain torch.

    A Hann window of 25 ms every 10 ms, magnitudes of its Fourier transform, triangular bands
    evenly spaced on the mel scale :math:`1127 \ln(1 + f / 700)`. Sound that is too long for
    *frames* is cut on both sides, sound that is too short is padded behind with silence.
    """

    window: Tensor
    bands: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        *,
        frames: int = 96,
        num_mels: int = 64,
        low: float = 125.0,
        high: float = 7500.0,
        offset: float = 0.01,
        level: float | None = None,
    ) -> None:
        """Initialize a new LogMel instance.

        Args:
            sample_rate: Samples per second.
            frames: Time steps of the result, 10 ms each.
            num_mels: Bands.
            low: Lower end of the lowest band in Hz.
            high: Upper end of the highest band in Hz, at most half of *sample_rate*.
            offset: Added before the logarithm.
            level: Root mean square to which each clip is scaled first, so that quiet
                recordings look like loud ones; None leaves the level alone. Silence stays
                silence.

        Raises:
            ValueError: If the bands do not fit the sample rate, or a number is out of range.
        """
        super().__init__()
        if not 0 <= low < high <= sample_rate / 2:
            raise ValueError(
                f'bands from {low:g} to {high:g} Hz do not fit sound of {sample_rate} samples '
                f'per second: stay between 0 and {sample_rate / 2:g} Hz'
            )
        if (
            min(frames, num_mels) < 1
            or offset <= 0
            or (level is not None and level <= 0)
        ):
            raise ValueError(
                'frames and num_mels are at least 1, offset and level above 0, found '
                f'{frames}, {num_mels}, {offset} and {level}'
            )
        self.sample_rate, self.frames, self.num_mels = sample_rate, frames, num_mels
        self.low, self.high, self.offset, self.level = low, high, offset, level
        self.length, self.hop = round(0.025 * sample_rate), round(0.01 * sample_rate)
        self.num_fft = 2 ** math.ceil(math.log2(self.length))
        window = torch.hann_window(self.length, dtype=torch.float32)
        self.register_buffer('window', window, persistent=False)
        self.register_buffer(
            'bands',
            mel_bands(self.num_fft, sample_rate, num_mels, low, high),
            persistent=False,
        )

    def extra_repr(self) -> str:
        """Show the settings in the model's print-out.

        Returns:
            The settings as ``name=value``.
        """
        return (
            f'sample_rate={self.sample_rate}, frames={self.frames}, '
            f'num_mels={self.num_mels}, low={self.low:g}, high={self.high:g}'
        )

    @property
    def samples(self) -> int:
        """Number of samples that the frames look at."""
        return self.length + (self.frames - 1) * self.hop

    def forward(self, sound: Tensor) -> Tensor:
        """Compute the spectrogram.

        Args:
            sound: Shape (..., 1, samples), floating, -1 to 1.

        Returns:
            Shape (..., 1, frames, num_mels), float32.

        Raises:
            ValueError: If there is not one channel, or no sample.
        """
        if sound.ndim < 2 or sound.shape[-2] != 1 or not sound.shape[-1]:
            raise ValueError(
                f'sound has shape (..., 1, samples), found {tuple(sound.shape)}: mix '
                'channels down to one'
            )
        with torch.autocast(sound.device.type, enabled=False):
            sound = sound.float()
            if self.level is not None:
                power = sound.square().mean(dim=-1, keepdim=True)
                sound = sound * self.level / power.clamp_min(1e-10).sqrt()
            sound = self._fit(sound)
            clips = sound.reshape(-1, sound.shape[-1]).unfold(1, self.length, self.hop)
            spectrum = torch.fft.rfft(clips * self.window, n=self.num_fft).abs()
            picture = torch.log(spectrum @ self.bands + self.offset)
        return picture.reshape(*sound.shape[:-1], self.frames, self.num_mels)

    def _fit(self, sound: Tensor) -> Tensor:
        """Cut the middle out, or pad behind."""
        spare = sound.shape[-1] - self.samples
        if spare <= 0:
            return F.pad(sound, (0, -spare))
        return sound.narrow(-1, spare // 2, self.samples)


def mel_bands(
    num_fft: int, sample_rate: int, num_mels: int, low: float, high: float
) -> Tensor:
    """Triangular bands on the mel scale.

    Args:
        num_fft: Length of the Fourier transform.
        sample_rate: Samples per second.
        num_mels: Bands.
        low: Lower end of the lowest band in Hz.
        high: Upper end of the highest band in Hz.

    Returns:
        Weight of each frequency in each band, 0 to 1, shape (num_fft // 2 + 1, num_mels).
    """
    steps = torch.arange(num_fft // 2 + 1, dtype=torch.float32)
    frequencies = steps * (sample_rate / num_fft)
    mels = 1127 * torch.log1p(frequencies / 700)
    ends = [1127 * math.log1p(f / 700) for f in (low, high)]
    edges = torch.linspace(ends[0], ends[1], num_mels + 2, dtype=torch.float32)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (mels[:, None] - left) / (middle - left)
    falling = (right - mels[:, None]) / (right - middle)
    return torch.minimum(rising, falling).clamp_min(0)
