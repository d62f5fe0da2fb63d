"""An encoder of speech: raw sound in, one feature vector a clip out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchgeo_cmr.transforms import LogMel

from .encoder import build_encoder

__all__ = ('SpeechEncoder',)

WIDTHS = (32, 64, 128, 128)


class SpeechEncoder(nn.Module):
    """Encode spoken words.

    The log-mel front end is part of the network, so that a checkpoint takes raw sound. What
    looks at the spectrogram is a small network of convolutions, or any timm model for
    one channel. The small one takes mean and maximum over time, so that it does not matter
    when a word is spoken. In training, stripes of time and of pitch are masked
    (SpecAugment, https://arxiv.org/abs/1904.08779), for voices differ there.

    Examples:
        >>> encoder = SpeechEncoder(feature_dim=16).eval()
        >>> encoder(torch.zeros(2, 1, 16_000)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        sample_rate: int = 16_000,
        frames: int = 96,
        num_mels: int = 64,
        widths: Sequence[int] = WIDTHS,
        level: float | None = 0.1,
        feature_dim: int = 128,
        dropout: float = 0.5,
        mask_frames: int = 12,
        mask_mels: int = 8,
    ) -> None:
        """Initialize a new SpeechEncoder instance.

        Args:
            model: Name of a timm model; None for the small network.
            sample_rate: Samples per second of the input.
            frames: Time steps of 10 ms that are looked at.
            num_mels: Bands of pitch.
            widths: Channels of each convolution of the small network, which halves time and
                pitch; a timm model has its own.
            level: Root mean square to which clips are scaled; None does not scale them.
            feature_dim: Number of features.
            dropout: Share of features that are dropped in training.
            mask_frames: Longest stripe of time that is masked in training; 0 masks none.
            mask_mels: Widest stripe of pitch that is masked in training; 0 masks none.

        Raises:
            ValueError: If the model is unknown, or a number is out of range.
        """
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(
                f'widths are the channels of one convolution or more, found {widths}'
            )
        self.front = LogMel(sample_rate, frames=frames, num_mels=num_mels, level=level)
        self.norm = nn.BatchNorm2d(1)
        self.masks = (mask_frames, mask_mels)
        if model is None:
            layers: list[nn.Module] = []
            before = 1
            for width in widths:
                layers += [
                    nn.Conv2d(before, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.MaxPool2d(2, ceil_mode=True),
                ]
                before = width
            self.network = nn.Sequential(*layers, _OverTime())
            pitches = -(-self.front.num_mels // 2 ** len(widths))
            width = 2 * before * pitches
        else:
            self.network = build_encoder(model, 1, modality='speech')
            width = int(self.network.num_features)  # ty: ignore[invalid-argument-type]
        self.num_features = feature_dim
        self.features = nn.Sequential(
            nn.Linear(width, feature_dim), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, sound: Tensor) -> Tensor:
        """Encode a batch.

        Args:
            sound: Shape (batch, 1, samples), floating, -1 to 1.

        Returns:
            Features, shape (batch, feature_dim), at least 0.

        Raises:
            ValueError: If there is not one channel, or no sample.
        """
        picture = self.norm(self.front(sound).to(self.norm.weight.dtype))
        if self.training:
            for dim, widest in zip((2, 3), self.masks, strict=True):
                picture = mask_stripes(picture, dim, widest)
        return self.features(self.network(picture))


class _OverTime(nn.Module):
    """Mean and maximum over time of every channel and pitch."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (batch, channels, time, pitch) to (batch, 2 * channels * pitch)."""
        return torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1).flatten(1)


def mask_stripes(picture: Tensor, dim: int, widest: int) -> Tensor:
    """Set one stripe of each picture to 0, the mean of a normalised spectrogram.

    Args:
        picture: Shape (batch, 1, time, pitch).
        dim: Along which dimension, 2 or 3.
        widest: Width that a stripe has at most.

    Returns:
        Same shape, a new tensor.
    """
    size, num = picture.shape[dim], len(picture)
    if not widest:
        return picture
    device = picture.device
    width = torch.randint(widest + 1, (num, 1), device=device)
    start = (torch.rand(num, 1, device=device) * (size - width).clamp_min(0)).long()
    place = torch.arange(size, device=device)
    kept = ~((place >= start) & (place < start + width))
    shape = (num, 1, size, 1) if dim == 2 else (num, 1, 1, size)
    return picture * kept.view(shape).to(picture.dtype)
